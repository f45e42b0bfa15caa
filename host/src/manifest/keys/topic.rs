//! The keys of a table `[[topic]]`.
//!
//! **Invariant:** every key of the tables is in [`TOPIC_KEYS`], once.

use crate::manifest::key::{Key, Kind};

/// A hundred years in milliseconds: longer times are mistakes of units, or meant to be for ever.
const RETENTION_MS_MAX: u64 = 3_155_760_000_000;

/// The keys of one table `[[topic]]`.
pub(crate) static TOPIC_KEYS: &[&Key] = &[
    &NAME,
    &STREAMS,
    &PARTITIONS,
    &REPLICATION,
    &RETENTION_MS,
    &CLEANUP,
    &CONFIG,
];

pub(crate) const TOPIC: Key = Key {
    path: "topic",
    kind: Kind::Rows { keys: TOPIC_KEYS },
    doc: "Topics that are to exist, read by the handler or not: what `topics plan` compares and `topics apply` creates.",
};
pub(crate) const NAME: Key = Key {
    path: "name",
    kind: Kind::Text {
        what: "a topic name",
        default: "",
    },
    doc: "The topic. One of `name` and `streams` must be given.",
};
pub(crate) const STREAMS: Key = Key {
    path: "streams",
    kind: Kind::Texts {
        what: "topic names",
        example: "[\"orders.eu\", \"orders.us\"]",
    },
    doc: "Several topics that are all declared as this table says.",
};
pub(crate) const PARTITIONS: Key = Key {
    path: "partitions",
    kind: Kind::Whole {
        unit: "partitions",
        min: 1,
        max: 100_000,
        default: None,
    },
    doc: "Left out, it is the brokers' `num.partitions`, and any number is as declared.",
};
pub(crate) const REPLICATION: Key = Key {
    path: "replication",
    kind: Kind::Whole {
        unit: "replicas",
        min: 1,
        max: 1000,
        default: None,
    },
    doc: "Replicas of each partition. Left out, it is 3, or the number of brokers where there are fewer, and any number is \
          as declared.",
};
pub(crate) const RETENTION_MS: Key = Key {
    path: "retention-ms",
    kind: Kind::Whole {
        unit: "milliseconds",
        min: 1,
        max: RETENTION_MS_MAX,
        default: None,
    },
    doc: "How long records are kept: `retention.ms` of the topic. For ever is `config.\"retention.ms\" = -1`.",
};
pub(crate) const CLEANUP: Key = Key {
    path: "cleanup",
    kind: Kind::Choice {
        words: &["delete", "compact", "compact,delete"],
    },
    doc: "What becomes of old records: `cleanup.policy` of the topic.",
};
pub(crate) const CONFIG: Key = Key {
    path: "config",
    kind: Kind::Table { clients: None },
    doc: "Any other settings that Kafka has for a topic, by their names.",
};
