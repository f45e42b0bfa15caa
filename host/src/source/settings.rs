//! What a consumer is made of.
//!
//! Handed settings by name, gives librdkafka's configuration: the host's defaults, then the users' settings, then what
//! the host depends on.
//! **Invariant:** what the host depends on is set last, so that nobody overrides it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use super::protocol::Protocol;
use super::transactions::Transactions;
use crate::api_versions::ApiVersions;
use crate::manifest::kafka::GROUP_PROTOCOL;
use crate::policy::Start;

/// What a consumer is made of: users' settings first, the host's own last, so that they cannot be overridden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConsumerSettings {
    pub(crate) group: String,
    /// librdkafka keys from the command line, host.toml and the manifest, lowest authority first.
    pub(crate) kafka: BTreeMap<String, String>,
    /// Where reading begins in a partition without a committed position.
    pub(crate) start: Start,
    /// Whether the partition queues are told when reading comes to the end.
    pub(crate) tells_ends: bool,
    /// How outputs and positions are committed together, where delivery is exactly once.
    pub(crate) transactions: Option<TransactionSettings>,
}

/// What the transactions of a group are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TransactionSettings {
    /// librdkafka keys for the producer, as those of the consumer.
    pub(crate) kafka: BTreeMap<String, String>,
    /// How often a transaction is committed.
    pub(crate) interval: Duration,
}

impl ConsumerSettings {
    /// Returns whether the consumer is the same member of its group after a restart (KIP-345).
    pub(crate) fn is_static(&self) -> bool {
        self.kafka.contains_key("group.instance.id")
    }

    /// Makes the transactions that the settings ask for.
    pub(crate) fn transactions(&self) -> Option<Arc<Transactions>> {
        let TransactionSettings { kafka, interval } = self.transactions.as_ref()?;
        let instance = self.kafka.get("group.instance.id").map(String::as_str);
        let transactions = Transactions::new(kafka.clone(), &self.group, instance, *interval);
        Some(Arc::new(transactions))
    }

    /// Returns the configuration of a consumer that speaks this protocol.
    pub(super) fn client_config(&self, protocol: Protocol) -> ClientConfig {
        let mut config = ClientConfig::new();
        // Lines of this level come only from what the setting `debug` names.
        config.set_log_level(RDKafkaLogLevel::Debug);
        // Defaults that users may change. Split queues are bounded one by one: 4 MiB a partition, not 64.
        config
            .set("queued.min.messages", "10000")
            .set("queued.max.messages.kbytes", "4096")
            .set("fetch.message.max.bytes", "1048576")
            // A reader that is faster than the broker waits this long before it asks again; the default is 1 s.
            .set("fetch.queue.backoff.ms", "5")
            .set("auto.commit.interval.ms", "1000")
            .set("topic.metadata.refresh.interval.ms", "10000")
            .set("statistics.interval.ms", "5000");
        if protocol == Protocol::Classic {
            config.set("partition.assignment.strategy", "cooperative-sticky");
            if self.transactions.is_some() {
                // After a crash the partitions move on within seconds; the default is 45 s.
                config.set("session.timeout.ms", "10000");
            }
        }
        for (key, value) in &self.kafka {
            config.set(key, value);
        }
        config.set(GROUP_PROTOCOL, protocol.name());
        if protocol == Protocol::Auto {
            ApiVersions::ask(&mut config);
        }
        // With a time or an offset this is for a position whose record the broker no longer has.
        let reset = match self.start {
            Start::Latest => "latest",
            Start::Earliest | Start::Time(_) | Start::Offset(_) => "earliest",
        };
        config
            .set("group.id", &self.group)
            .set("auto.offset.reset", reset)
            .set(
                "enable.auto.commit",
                self.transactions.is_none().to_string(),
            )
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", self.tells_ends.to_string());
        if self.transactions.is_some() {
            config.set("isolation.level", "read_committed");
        }
        config
    }
}
