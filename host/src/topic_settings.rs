//! What brokers say about the settings of topics.
//!
//! Handed the settings of a client and the topics; asks once. A topic that does not exist, and brokers that do not answer
//! or may not tell, leave the answer empty.
//! **Invariant:** what was not said is never guessed.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;

use crate::ids::TopicName;
use crate::manifest::kafka::{Side, side};
use crate::policy::{CLEANUP_POLICY, RETENTION_MS};

/// How long a broker may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What is known of a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TopicSettings {
    /// `cleanup.policy`: `delete`, `compact` or both, with a comma between them.
    pub(crate) cleanup_policy: Option<String>,
    /// `retention.ms`; below 0 records are kept for good.
    pub(crate) retention_ms: Option<i64>,
}

/// Asks for the settings of topics.
pub(crate) async fn topic_settings(
    settings: &BTreeMap<String, String>,
    topics: &[&TopicName],
) -> BTreeMap<TopicName, TopicSettings> {
    let Ok(admin) = admin(settings) else {
        return BTreeMap::new();
    };
    let configs = topic_configs(&admin, topics, TIMEOUT).await;
    let found = configs.into_iter().map(|(topic, mut config)| {
        let found = TopicSettings {
            cleanup_policy: config.remove(CLEANUP_POLICY),
            retention_ms: config
                .remove(RETENTION_MS)
                .and_then(|text| text.parse().ok()),
        };
        (topic, found)
    });
    found.collect()
}

/// Asks for all settings of topics by their names, those that are the brokers' included.
pub(crate) async fn topic_configs(
    admin: &AdminClient<DefaultClientContext>,
    topics: &[&TopicName],
    timeout: Duration,
) -> BTreeMap<TopicName, BTreeMap<String, String>> {
    let asked: Vec<ResourceSpecifier<'_>> = topics
        .iter()
        .map(|topic| ResourceSpecifier::Topic(topic.as_str()))
        .collect();
    let options = AdminOptions::new().request_timeout(Some(timeout));
    let answers = admin.describe_configs(&asked, &options).await;
    // In the order in which they were asked for.
    let answers = answers.unwrap_or_default().into_iter().zip(topics);
    answers
        .filter_map(|(answer, topic)| {
            let entries = answer.ok()?.entries.into_iter();
            let config: BTreeMap<String, String> = entries
                .filter_map(|entry| Some((entry.name, entry.value?)))
                .collect();
            // A refusal comes as an answer without settings.
            (!config.is_empty()).then(|| (TopicName::clone(topic), config))
        })
        .collect()
}

/// Makes an admin client of the settings of any client.
pub(crate) fn admin(
    settings: &BTreeMap<String, String>,
) -> Result<AdminClient<DefaultClientContext>, KafkaError> {
    client_config(settings, |key| side(key) != Some(Side::Consumer)).create()
}

/// Makes the configuration of a client of those settings that it takes.
pub(crate) fn client_config(
    settings: &BTreeMap<String, String>,
    takes: impl Fn(&str) -> bool,
) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (key, value) in settings.iter().filter(|(key, _)| takes(key)) {
        config.set(key, value);
    }
    config
}
