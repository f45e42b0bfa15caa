//! What brokers say of topics, and topics that they are asked to make.
//!
//! Handed the settings of a client; asks when it is told to, and makes what a plan says.
//! **Invariant:** asking changes nothing: no topic comes into being by being asked for, also where brokers make topics at
//! their first use.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{
    AdminOptions, NewPartitions, NewTopic as Request, TopicReplication, TopicResult,
};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;

use crate::groupless::{Troubles, reader};
use crate::ids::TopicName;
use crate::manifest::kafka::{Side, side};
use crate::topic_settings::{admin, client_config, topic_configs};
use crate::topics::{Cluster, Found, NewTopic, Raise, Seen, Wanted};

/// Where librdkafka wants the name of a group; it is never joined.
const NO_GROUP: &str = "kafka-wasm-host.topics";

/// Why brokers cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// librdkafka refuses the settings.
    #[error("librdkafka does not start with these settings: {0}")]
    Settings(#[source] KafkaError),
    /// Nobody answered.
    #[error(
        "no broker answered within {} s ({reason}): is Kafka up, and are the address and the security settings right?",
        timeout.as_secs()
    )]
    NoAnswer {
        /// How long was waited for an answer.
        timeout: Duration,
        /// What librdkafka says.
        reason: String,
    },
}

/// See the module.
#[derive(Debug)]
pub(crate) struct TopicAdmin {
    settings: BTreeMap<String, String>,
    timeout: Duration,
}

impl TopicAdmin {
    /// `timeout` is for each question.
    pub(crate) fn new(settings: BTreeMap<String, String>, timeout: Duration) -> Self {
        Self { settings, timeout }
    }

    /// Asks what these topics are like, and for the settings of those that are compared.
    pub(crate) async fn look(
        &self,
        topics: &BTreeMap<TopicName, Wanted>,
    ) -> Result<Cluster, Error> {
        let timeout = self.timeout;
        // A producer's question for a topic would make it where brokers allow that.
        let config = client_config(&self.settings, |key| side(key) != Some(Side::Producer));
        let mut config = reader(config, NO_GROUP);
        config.set("allow.auto.create.topics", "false");
        let names: Vec<TopicName> = topics.keys().cloned().collect();
        let told = tokio::task::spawn_blocking(move || metadata(&config, &names, timeout)).await;
        let mut cluster = told.unwrap_or_else(|error| {
            Err(Error::NoAnswer {
                timeout,
                reason: error.to_string(),
            })
        })?;
        let found = cluster.topics.iter();
        let found: Vec<TopicName> = found
            .filter(|(name, seen)| {
                let is_compared = topics.get(*name).is_some_and(Wanted::compares_any);
                matches!(seen, Seen::Found(_)) && is_compared
            })
            .map(|(name, _)| name.clone())
            .collect();
        if found.is_empty() {
            return Ok(cluster);
        }
        let names: Vec<&TopicName> = found.iter().collect();
        let admin = admin(&self.settings).map_err(Error::Settings)?;
        let mut configs = topic_configs(&admin, &names, timeout).await;
        for (name, seen) in &mut cluster.topics {
            if let Seen::Found(found) = seen {
                found.config = configs.remove(name);
            }
        }
        Ok(cluster)
    }

    /// Has topics made, or with `is_trial` only asks whether they could be. Returns why those could not that are not there
    /// afterwards.
    pub(crate) async fn create(
        &self,
        topics: &[NewTopic],
        is_trial: bool,
    ) -> BTreeMap<TopicName, String> {
        let requests: Vec<Request<'_>> = topics
            .iter()
            .map(|topic| {
                // -1 leaves the number to the brokers (KIP-464).
                let partitions = topic.partitions.unwrap_or(-1);
                let replication = TopicReplication::Fixed(topic.replication);
                let request = Request::new(topic.name.as_str(), partitions, replication);
                let config = topic.config.iter();
                config.fold(request, |request, (key, value)| request.set(key, value))
            })
            .collect();
        if requests.is_empty() {
            return BTreeMap::new();
        }
        let options = self.options().validate_only(is_trial);
        let results = match admin(&self.settings) {
            Ok(admin) => admin.create_topics(&requests, &options).await,
            Err(error) => Err(error),
        };
        failures(topics.iter().map(|topic| &topic.name), results, |code| {
            // Somebody else was faster, another host for example.
            code == RDKafkaErrorCode::TopicAlreadyExists
        })
    }

    /// Adds partitions; returns why that failed.
    pub(crate) async fn raise(&self, raises: &[Raise]) -> BTreeMap<TopicName, String> {
        let requests: Vec<NewPartitions<'_>> = raises
            .iter()
            .filter_map(|raise| {
                let partitions = usize::try_from(raise.partitions).ok()?;
                Some(NewPartitions::new(raise.name.as_str(), partitions))
            })
            .collect();
        if requests.is_empty() {
            return BTreeMap::new();
        }
        let results = match admin(&self.settings) {
            Ok(admin) => admin.create_partitions(&requests, &self.options()).await,
            Err(error) => Err(error),
        };
        failures(raises.iter().map(|raise| &raise.name), results, |_| false)
    }

    fn options(&self) -> AdminOptions {
        AdminOptions::new()
            .operation_timeout(Some(self.timeout))
            .request_timeout(Some(self.timeout))
    }
}

/// Asks for the topics one by one: of a topic that a user may not see, a list of all says nothing.
fn metadata(
    config: &ClientConfig,
    topics: &[TopicName],
    timeout: Duration,
) -> Result<Cluster, Error> {
    let asker: BaseConsumer<Troubles> = config
        .create_with_context(Troubles::default())
        .map_err(Error::Settings)?;
    let mut cluster = Cluster::default();
    for topic in topics {
        let answer = asker.fetch_metadata(Some(topic.as_str()), timeout);
        let metadata = answer.map_err(|error| {
            // What went wrong with connections waits in a queue.
            while asker.poll(Duration::from_millis(20)).is_some() {}
            let reason = asker.context().take();
            Error::NoAnswer {
                timeout,
                reason: reason.unwrap_or_else(|| error.to_string()),
            }
        })?;
        cluster.brokers = count(metadata.brokers().len());
        let mut found = metadata.topics().iter();
        let found = found.find(|found| found.name() == topic.as_str());
        cluster
            .topics
            .insert(topic.clone(), found.map_or(Seen::Missing, seen));
    }
    Ok(cluster)
}

fn seen(topic: &MetadataTopic) -> Seen {
    match topic.error().map(RDKafkaErrorCode::from) {
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            Seen::Missing
        }
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
            Seen::Untold("this user may not see it (Describe on the topic is needed)".to_owned())
        }
        Some(code) => Seen::Untold(code.to_string()),
        None => {
            let partitions = topic.partitions();
            let replicas = partitions.iter().map(|one| one.replicas().len()).min();
            Seen::Found(Found {
                partitions: count(partitions.len()),
                replication: count(replicas.unwrap_or(0)),
                config: None,
            })
        }
    }
}

fn count(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Reads the answers, which are in the order of the topics.
fn failures<'a>(
    topics: impl Iterator<Item = &'a TopicName>,
    results: Result<Vec<TopicResult>, KafkaError>,
    is_fine: impl Fn(RDKafkaErrorCode) -> bool,
) -> BTreeMap<TopicName, String> {
    match results {
        Ok(results) => {
            let failed = results.into_iter().filter_map(|result| {
                let (name, code) = result.err()?;
                Some((name.parse().ok()?, code))
            });
            failed
                .filter(|(_, code)| !is_fine(*code))
                .map(|(name, code)| (name, explain(code)))
                .collect()
        }
        Err(error) => {
            let why = format!(
                "{error} (the embedded broker of serve --dev cannot be asked for topics, it makes them at their first use)"
            );
            topics.map(|name| (name.clone(), why.clone())).collect()
        }
    }
}

/// Says why a topic could not be made, with what helps.
fn explain(code: RDKafkaErrorCode) -> String {
    let hint = match code {
        RDKafkaErrorCode::TopicAuthorizationFailed
        | RDKafkaErrorCode::ClusterAuthorizationFailed => {
            "the Kafka user needs Create on the topic or the cluster, and Alter on the topic to add partitions"
        }
        RDKafkaErrorCode::InvalidReplicationFactor => {
            "there are fewer brokers than `replication` asks for, or the brokers ask for more replicas"
        }
        RDKafkaErrorCode::InvalidConfig => {
            "`config` has a setting that Kafka does not have for topics, or a value that it does not take"
        }
        RDKafkaErrorCode::PolicyViolation => {
            "the brokers have a create.topic.policy.class.name that refuses it"
        }
        _ => return code.to_string(),
    };
    format!("{code} ({hint})")
}
