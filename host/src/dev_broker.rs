//! The Kafka broker inside the process, for a first try and for tests: no server to install.
//!
//! It is librdkafka's mock cluster, which speaks Kafka's protocol on 127.0.0.1, so that other processes can use it too.
//! Limits: records live in memory and are gone at the end; a partition keeps its newest 5 MiB or 100,000 batches and
//! drops older ones silently; there is no admin API (an admin call waits for its timeout), no compaction, no access
//! control, and transactions do not hide anything from readers.
//! **Invariant:** the broker lives exactly as long as the [`DevBroker`].

use std::ffi::CStr;
use std::fmt;

use rdkafka::bindings;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer, ProducerContext};

/// Partitions of a topic that comes to life by its first use. Librdkafka fixes the number.
pub const AUTO_CREATED_PARTITIONS: i32 = 4;

/// More partitions than a first try needs, few enough for the memory of the process.
const PARTITIONS_MAX: i32 = 1000;

/// What consumers of the embedded broker should set, so that groups settle in tenths of a second.
///
/// A member that comes or goes is noticed after about the session timeout less one second.
const CLIENT_SETTINGS: &[(&str, &str)] = &[
    ("session.timeout.ms", "1500"),
    ("heartbeat.interval.ms", "200"),
    ("partition.assignment.strategy", "cooperative-sticky"),
    ("topic.metadata.refresh.interval.ms", "1000"),
    // A handler's topic may not exist yet when the handler starts.
    ("allow.auto.create.topics", "true"),
    ("fetch.wait.max.ms", "50"),
    ("fetch.queue.backoff.ms", "5"),
];

/// Why the embedded broker does not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Librdkafka did not start it.
    #[error("failed to start the embedded broker")]
    Start(#[source] KafkaError),
    /// Librdkafka started a client, but no broker with it.
    #[error("librdkafka was built without its mock cluster")]
    NotBuiltIn,
    /// There is a topic of that name.
    #[error("topic {topic} exists already")]
    TopicExists {
        /// The topic.
        topic: String,
    },
    /// A topic has at least one partition, and librdkafka ends the process where it is asked for fewer.
    #[error("topic {topic} cannot have {partitions} partitions (expected 1 to {PARTITIONS_MAX})")]
    Partitions {
        /// The topic.
        topic: String,
        /// The partitions asked for.
        partitions: i32,
    },
    /// The topic could not be created.
    #[error("failed to create topic {topic} with {partitions} partitions")]
    CreateTopic {
        /// The topic.
        topic: String,
        /// The partitions asked for.
        partitions: i32,
        /// What librdkafka says.
        #[source]
        source: KafkaError,
    },
}

/// A running embedded broker; dropping it stops the broker.
pub struct DevBroker {
    // The mock cluster belongs to this client, which sends nothing itself.
    owner: BaseProducer<Quiet>,
    bootstrap: String,
}

impl DevBroker {
    /// Starts a broker on a free port of 127.0.0.1.
    pub fn start() -> Result<Self, Error> {
        let owner: BaseProducer<Quiet> = ClientConfig::new()
            .set("test.mock.num.brokers", "1")
            .set("client.id", "dev-broker")
            .create_with_context(Quiet)
            .map_err(Error::Start)?;
        let bootstrap = prepare_cluster(&owner)?;
        Ok(Self { owner, bootstrap })
    }

    /// Returns the address for `bootstrap.servers`, `127.0.0.1:port`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Returns the librdkafka settings with which consumer groups react fast on this broker.
    pub fn client_settings(&self) -> &'static [(&'static str, &'static str)] {
        CLIENT_SETTINGS
    }

    /// Creates a topic. Without it, a topic is created at its first use, with [`AUTO_CREATED_PARTITIONS`].
    pub fn create_topic(&self, topic: &str, partitions: i32) -> Result<(), Error> {
        if !(1..=PARTITIONS_MAX).contains(&partitions) {
            return Err(Error::Partitions {
                topic: topic.to_owned(),
                partitions,
            });
        }
        let cluster = self
            .owner
            .client()
            .mock_cluster()
            .ok_or(Error::NotBuiltIn)?;
        cluster
            .create_topic(topic, partitions, 1)
            .map_err(|source| match source {
                KafkaError::MockCluster(RDKafkaErrorCode::TopicAlreadyExists) => {
                    Error::TopicExists {
                        topic: topic.to_owned(),
                    }
                }
                source => Error::CreateTopic {
                    topic: topic.to_owned(),
                    partitions,
                    source,
                },
            })
    }
}

impl fmt::Debug for DevBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevBroker")
            .field("bootstrap", &self.bootstrap)
            .finish_non_exhaustive()
    }
}

/// Makes groups form at once and returns the address.
#[expect(
    unsafe_code,
    reason = "the wrapper of the mock cluster cannot set the delay of the group's first rebalance"
)]
fn prepare_cluster(owner: &BaseProducer<Quiet>) -> Result<String, Error> {
    // SAFETY: the client's handle is valid while `owner` is borrowed; the call only reads a field of it.
    let cluster = unsafe { bindings::rd_kafka_handle_mock_cluster(owner.client().native_ptr()) };
    if cluster.is_null() {
        return Err(Error::NotBuiltIn);
    }
    // SAFETY: `cluster` is not null and belongs to `owner`, which outlives this call; the setter takes the cluster's lock.
    unsafe { bindings::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0) };
    // SAFETY: `cluster` is valid as above; the text is NUL-terminated, lives as long as the cluster and is copied here.
    let bootstrap = unsafe { CStr::from_ptr(bindings::rd_kafka_mock_cluster_bootstraps(cluster)) };
    Ok(bootstrap.to_string_lossy().into_owned())
}

/// Keeps what librdkafka says about its mock at the level of details.
struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "dev_broker", facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "dev_broker", %error, "{reason}");
    }
}

impl ProducerContext for Quiet {
    type DeliveryOpaque = ();

    fn delivery(&self, _result: &DeliveryResult<'_>, (): ()) {}
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::producer::BaseRecord;
    use tokio::time::Instant;

    use super::*;

    fn partitions(broker: &DevBroker, topic: &str) -> i32 {
        let client: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", broker.bootstrap())
            .create()
            .unwrap();
        let metadata = client
            .client()
            .fetch_metadata(Some(topic), Duration::from_secs(5))
            .unwrap();
        metadata.topics()[0].partitions().len().try_into().unwrap()
    }

    #[test]
    fn topics_have_the_partitions_asked_for() {
        let broker = DevBroker::start().unwrap();
        broker.create_topic("seven", 7).unwrap();
        assert_eq!(partitions(&broker, "seven"), 7);
        assert_eq!(partitions(&broker, "by-use"), AUTO_CREATED_PARTITIONS);
        assert!(matches!(
            broker.create_topic("seven", 7),
            Err(Error::TopicExists { .. })
        ));
        assert!(matches!(
            broker.create_topic("none", 0),
            Err(Error::Partitions { .. })
        ));
        assert!(matches!(
            broker.create_topic("no\0name", 1),
            Err(Error::CreateTopic { .. })
        ));
    }

    #[test]
    fn a_group_forms_without_the_usual_three_seconds() {
        let broker = DevBroker::start().unwrap();
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", broker.bootstrap())
            .create()
            .unwrap();
        producer
            .send(BaseRecord::<(), _>::to("first").payload("hello"))
            .unwrap();
        producer.flush(Duration::from_secs(5)).unwrap();

        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", broker.bootstrap());
        config
            .set("group.id", "fast")
            .set("auto.offset.reset", "earliest");
        config.extend(
            broker
                .client_settings()
                .iter()
                .map(|&(key, value)| (key.to_owned(), value.to_owned())),
        );
        let consumer: BaseConsumer = config.create().unwrap();
        let start = Instant::now();
        consumer.subscribe(&["first"]).unwrap();
        while consumer.poll(Duration::from_millis(50)).is_none() {
            assert!(
                start.elapsed() < Duration::from_millis(2500),
                "no record yet"
            );
        }
    }
}
