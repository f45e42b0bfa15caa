//! Consumers that read partitions without being members of a group.
//!
//! Handed the settings of a group's consumer, makes those of a client that joins nothing and commits nothing.
//! **Invariant:** no setting that means something to a member only reaches such a client.

use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::ids::TopicName;

/// Settings of a consumer that mean something to a member of a group only, or would hide the topic.
pub(crate) const OF_MEMBERS: [&str; 6] = [
    "group.protocol",
    "group.remote.assignor",
    "group.instance.id",
    "partition.assignment.strategy",
    "topic.blacklist",
    "statistics.interval.ms",
];

/// Keeps the last thing that went wrong with a connection.
#[derive(Debug, Default)]
pub(crate) struct Troubles(Mutex<Option<String>>);

impl Troubles {
    /// Takes note of something that went wrong.
    pub(crate) fn note(&self, what: String) {
        *self.0.lock() = Some(what);
    }

    /// Takes what went wrong since the last call.
    pub(crate) fn take(&self) -> Option<String> {
        self.0.lock().take()
    }
}

impl ClientContext for Troubles {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        crate::telemetry::log_kafka(level, facility, message);
    }

    fn error(&self, _error: KafkaError, reason: &str) {
        self.note(reason.to_owned());
    }
}

impl ConsumerContext for Troubles {}

/// Makes the settings of a reader. `name` stands where librdkafka wants that of a group; it is never joined.
pub(crate) fn reader(mut config: ClientConfig, name: &str) -> ClientConfig {
    for key in OF_MEMBERS {
        config.remove(key);
    }
    config
        // librdkafka assigns partitions only to a client with a group's name.
        .set("group.id", name)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false");
    config
}

/// Returns how many partitions a topic has; 0 where it does not exist.
pub(crate) fn partitions(
    consumer: &BaseConsumer<Troubles>,
    topic: &TopicName,
    timeout: Duration,
) -> Result<i32, String> {
    let name = topic.as_str();
    let metadata = consumer
        .fetch_metadata(Some(name), timeout)
        .map_err(|error| error.to_string())?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == name) else {
        return Ok(0);
    };
    match found.error().map(RDKafkaErrorCode::from) {
        None => Ok(found.partitions().len().try_into().unwrap_or_default()),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::LeaderNotAvailable) => {
            Ok(0)
        }
        Some(code) => Err(code.to_string()),
    }
}
