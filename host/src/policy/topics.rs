//! Topics as manifests declare them.
//!
//! **Invariant:** what is not said is `None`, or not in the map: nothing is compared with it.

use std::collections::BTreeMap;

use crate::ids::TopicName;

/// The setting of a topic that says what becomes of old records: `delete`, `compact` or both, with a comma between them.
pub const CLEANUP_POLICY: &str = "cleanup.policy";
/// The setting of a topic that says how long records are kept, in milliseconds; below 0 for good.
pub const RETENTION_MS: &str = "retention.ms";

/// A topic that is to exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredTopic {
    /// Its name.
    pub name: TopicName,
    /// What it is to be like.
    pub spec: TopicSpec,
}

/// What a topic is to be like.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct TopicSpec {
    /// Partitions; none leaves them to the brokers.
    pub partitions: Option<i32>,
    /// Replicas of each partition; none leaves them to the number of brokers.
    pub replication: Option<i32>,
    /// Settings of the topic by Kafka's names.
    pub config: BTreeMap<String, String>,
}
