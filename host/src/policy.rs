//! The words in which a handler says how it wants to be run.
//!
//! Values come from the manifest, where they were checked, and are handed to the modules that act on them. The
//! defaults stand here once; the manifest's table of keys takes them from here.
//! **Invariant:** plain data: nothing here parses, waits or decides.

mod retry;
mod returns;
mod start;
mod topics;

use std::time::Duration;

pub use self::retry::{Backoff, BackoffKind, KindPolicy, RetryPolicy};
pub use self::returns::ReturnTopics;
pub use self::start::{Start, StartError};
pub use self::topics::{CLEANUP_POLICY, DeclaredTopic, RETENTION_MS, TopicSpec};
use crate::ids::TopicName;
pub use crate::pattern::{PatternError, TopicPattern};

const MIB: usize = 1 << 20;

/// Which topics a handler reads.
#[derive(Debug, Clone, PartialEq)]
pub enum Subscription {
    /// Topics by name, in the order of the manifest.
    Topics(Vec<TopicName>),
    /// Every topic that a pattern matches, also those that appear later.
    Pattern(TopicPattern),
}

impl Subscription {
    /// Returns whether a record of `topic` is for the handler.
    pub fn matches(&self, topic: &str) -> bool {
        match self {
            Self::Topics(topics) => topics.iter().any(|name| name.as_str() == topic),
            Self::Pattern(pattern) => pattern.matches(topic),
        }
    }

    /// Returns what `rd_kafka_subscribe` takes: names as they are, a pattern as a regular expression that begins with `^`.
    ///
    /// A pattern may bring in more topics than [`Self::matches`] accepts, see [`Self::kafka_ignored`].
    pub fn kafka_names(&self) -> Vec<String> {
        match self {
            Self::Topics(topics) => topics.iter().map(ToString::to_string).collect(),
            Self::Pattern(pattern) => vec![pattern.kafka_regex().to_owned()],
        }
    }

    /// Returns regular expressions of the topics that [`Self::kafka_names`] may bring in and that are not wanted.
    ///
    /// They fit librdkafka's `topic.blacklist`, which hides the topics from the whole client: leave out those that
    /// another handler of the same group names. A broker that resolves patterns itself (KIP-848) does not see the
    /// setting, so records still go through [`Self::matches`].
    pub fn kafka_ignored(&self) -> Vec<String> {
        match self {
            Self::Topics(_) => Vec::new(),
            Self::Pattern(pattern) => pattern.kafka_ignored(),
        }
    }
}

/// Which records of a partition wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ordering {
    /// All: they are handled one after the other.
    #[default]
    Partition,
    /// Those with equal keys; others, and those without a key, are handled in parallel.
    Key,
    /// None.
    None,
}

/// What a record's outputs and its position have to do with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    /// The position is committed after its outputs were acknowledged; after a crash they may be written again.
    #[default]
    AtLeastOnce,
    /// Outputs and positions are committed together, in one transaction of the group on a host.
    ExactlyOnce {
        /// How often.
        interval: Duration,
    },
}

/// How often transactions are committed where the manifest says nothing, in milliseconds.
pub const TRANSACTION_INTERVAL_MS: u64 = 100;

/// Where responses to the requests of a handler arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseRoute {
    /// The topic.
    pub topic: TopicName,
    /// What has to stand under `event` in the value, a JSON object; none where every record may be a response.
    pub event: Option<String>,
}

/// How long one instance of the component lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// As long as its lane: the instance keeps its memory from record to record.
    #[default]
    Lane,
    /// For one record: the next one finds fresh memory.
    Record,
}

/// What becomes of a record whose attempts are used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnExhausted {
    /// It is written to the dead-letter topic.
    #[default]
    DeadLetter,
    /// It is counted and left behind.
    Skip,
    /// Its partition stops before it, until the handler is replaced or the host restarted.
    Halt,
    /// It is written to the dead-letter topic, and later records of its key follow it there, unhandled.
    Park,
}

/// Bounds of one handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of linear memory that one instance may have.
    pub memory_bytes: usize,
    /// Time that one call of a hook may take.
    pub deadline: Duration,
    /// Records of one partition that were taken up and whose outputs Kafka has not acknowledged.
    pub in_flight_records: usize,
    /// Bytes of these records and their outputs.
    pub in_flight_bytes: usize,
    /// Records that one invocation may emit.
    pub outbox_records: usize,
    /// Bytes that one invocation may emit.
    pub outbox_bytes: usize,
    /// Requests that may wait for their responses at once, on each host.
    pub pending_requests: usize,
}

impl Limits {
    /// What holds where the manifest says nothing.
    pub const DEFAULT: Self = Self {
        memory_bytes: 64 * MIB,
        deadline: Duration::from_secs(1),
        in_flight_records: 5000,
        in_flight_bytes: 16 * MIB,
        outbox_records: 10_000,
        outbox_bytes: 16 * MIB,
        pending_requests: 1000,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// When a batch for the bulk hook is full, and when there are batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bulk {
    /// Records in one batch.
    pub max_records: usize,
    /// Bytes in one batch; a single larger record makes a batch of its own.
    pub max_bytes: usize,
    /// Time that the first record of a batch waits for more.
    pub max_wait: Duration,
    /// Whether only the last record of each key is handed over.
    pub compact: bool,
    /// How far a partition lags behind where batches begin and end; none where there are always batches.
    pub by_lag: Option<LagBounds>,
}

/// Between which lags a partition's records go from one by one to batches, and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LagBounds {
    /// Records that wait when batches begin.
    pub enter_records: u64,
    /// Records that wait when they end; at most as many.
    pub exit_records: u64,
}

impl Bulk {
    /// What holds where the manifest says nothing.
    pub const DEFAULT: Self = Self {
        max_records: 500,
        max_bytes: 4 * MIB,
        max_wait: Duration::from_millis(100),
        compact: false,
        by_lag: None,
    };

    /// Returns what a batch is where no more than `limits` allow are taken up: a larger one would wait for records that
    /// do not come.
    #[must_use]
    pub fn within(self, limits: &Limits) -> Self {
        Self {
            max_records: self.max_records.min(limits.in_flight_records),
            max_bytes: self.max_bytes.min(limits.in_flight_bytes),
            ..self
        }
    }
}

impl Default for Bulk {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// When a handler pauses because too many of its records fail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BreakerPolicy {
    /// It pauses when more than this share of the last records could not be handled.
    pub failure_share: f64,
    /// How many records these are.
    pub window_records: usize,
    /// How long it pauses before one record is tried again.
    pub pause: Duration,
}

impl BreakerPolicy {
    /// What holds for the keys that a table `[breaker]` leaves out.
    pub const DEFAULT: Self = Self {
        failure_share: 0.5,
        window_records: 100,
        pause: Duration::from_secs(30),
    };
}

/// When a new revision has proven itself, and when the one before it comes back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProbationPolicy {
    /// It has proven itself when so many records came to their end under it.
    pub records: u64,
    /// And when so much time has passed since the first of them, if they are fewer.
    pub time: Duration,
    /// The share of them that may fail.
    pub failure_share: f64,
}

impl ProbationPolicy {
    /// What holds for the keys that are left out beside `deploy.probation-records`.
    pub const DEFAULT: Self = Self {
        records: 1000,
        time: Duration::from_mins(1),
        failure_share: 0.05,
    };
}

/// Instances of a handler that one host runs at once where records of a partition do not wait for each other and the
/// manifest says nothing.
pub const CONCURRENCY: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_topics_matches_these_names_only() {
        let topics = Subscription::Topics(vec!["orders".parse().unwrap(), "a.b".parse().unwrap()]);
        assert!(topics.matches("orders"));
        assert!(!topics.matches("orders2"));
        assert!(!topics.matches("aXb"));
        assert_eq!(topics.kafka_names(), ["orders", "a.b"]);
        assert!(topics.kafka_ignored().is_empty());
    }

    #[test]
    fn a_pattern_matches_what_it_subscribes_to_less_what_is_ignored() {
        let pattern = TopicPattern::glob("orders.*")
            .unwrap()
            .except(&"orders.dead-letter".parse().unwrap());
        let pattern = Subscription::Pattern(pattern);
        assert!(pattern.matches("orders.eu"));
        assert!(!pattern.matches("orders.dead-letter"));
        assert_eq!(pattern.kafka_names(), [r"^orders\..*$"]);
        assert_eq!(pattern.kafka_ignored(), ["^__", r"^orders\.dead-letter$"]);
    }
}
