//! The keys of `handler.toml`.
//!
//! The only list of them: the reader, the messages, the JSON Schema and the documentation are made from it. Defaults
//! come from `policy.rs`.
//! **Invariant:** every key that the manifest reads is in [`KEYS`], once.

pub(crate) mod breaker;
pub(crate) mod component;
pub(crate) mod deploy;
pub(crate) mod middleware;
pub(crate) mod pipeline;
pub(crate) mod publish;
pub(crate) mod response;
pub(crate) mod retry;
pub(crate) mod route;
pub(crate) mod tenant;
pub(crate) mod topic;

use std::time::Duration;

use crate::manifest::kafka::Clients;
use crate::manifest::key::{Key, Kind};
use crate::policy::{self, Bulk, Limits};

const MIB: usize = 1 << 20;
/// An hour in milliseconds: longer deadlines are mistakes of units.
const HOUR_MS: u64 = 3_600_000;
/// More records than a partition holds.
const LAG_MAX: u64 = 1_000_000_000_000;
/// A day in milliseconds.
const DAY_MS: u64 = 86_400_000;

/// Lists keys, and between them those of tables like `[retry]`.
macro_rules! list {
    ([$($before:ident,)*] [$($table:path,)*] [$($after:ident,)*]) => {
        &[
            $(&$before,)*
            $(
                &$table.max_attempts,
                &$table.max_age_ms,
                &$table.backoff,
                &$table.initial_ms,
                &$table.max_ms,
                &$table.multiplier,
                &$table.jitter,
                &$table.delays_ms,
            )*
            $(&$after,)*
        ]
    };
}

/// All keys, in the order of the documentation.
pub(crate) static KEYS: &[&Key] = list!(
    [
        COMPONENT,
        DIGEST,
        TOPICS,
        PATTERN,
        REGEX,
        GROUP,
        START,
        ORDERING,
        CONCURRENCY,
        DELIVERY,
        TRANSACTION_INTERVAL_MS,
        SIDE_EFFECTS,
        ISOLATION,
        DEAD_LETTER_TOPIC,
        ON_EXHAUSTED,
        MEMORY_MIB,
        DEADLINE_MS,
        IN_FLIGHT_RECORDS,
        IN_FLIGHT_MIB,
        OUTBOX_RECORDS,
        OUTBOX_MIB,
        PENDING_REQUESTS,
    ]
    [
        retry::RETRY,
        retry::ON_RETRY,
        retry::ON_OTHER,
        retry::ON_TRAP,
        retry::ON_DEADLINE,
        retry::ON_MEMORY,
    ]
    [
        RETRY_TOPIC_DELAYS_MS,
        BULK_RECORDS,
        BULK_BYTES,
        BULK_WAIT_MS,
        BULK_COMPACT,
        BULK_ENTER_LAG,
        BULK_EXIT_LAG,
        BREAKER_SHARE,
        BREAKER_WINDOW,
        BREAKER_PAUSE_MS,
        TRIAL_RECORD,
        PROBATION_RECORDS,
        PROBATION_MS,
        FAILURE_SHARE,
        CANARY,
        CANARY_MS,
        CANARY_SLOWER,
        SHADOW,
        MIDDLEWARE,
        ROUTE,
        EVENT_SOURCE,
        MULTI,
        UNMATCHED,
        MAX_HOPS,
        PIPELINE,
        RESPONSE,
        KEY_FROM,
        PUBLISH_ATTEMPTS,
        PUBLISH_BACKOFF,
        PUBLISH_DELAY_MS,
        PUBLISH_MAX_DELAY_MS,
        PUBLISH_DEAD_LETTER_TOPIC,
        TOPIC,
        CONFIG,
        KAFKA_CONSUMER,
        KAFKA_PRODUCER,
    ]
);

use breaker::{BREAKER_PAUSE_MS, BREAKER_SHARE, BREAKER_WINDOW};
use component::{COMPONENT, DIGEST};
use deploy::{
    CANARY, CANARY_MS, CANARY_SLOWER, FAILURE_SHARE, PROBATION_MS, PROBATION_RECORDS, SHADOW,
    TRIAL_RECORD,
};
use middleware::MIDDLEWARE;
use pipeline::PIPELINE;
use publish::{
    ATTEMPTS as PUBLISH_ATTEMPTS, BACKOFF as PUBLISH_BACKOFF,
    DEAD_LETTER_TOPIC as PUBLISH_DEAD_LETTER_TOPIC, DELAY_MS as PUBLISH_DELAY_MS, KEY_FROM,
    MAX_DELAY_MS as PUBLISH_MAX_DELAY_MS,
};
use response::RESPONSE;
use retry::TOPIC_DELAYS_MS as RETRY_TOPIC_DELAYS_MS;
use route::{EVENT_SOURCE, MAX_HOPS, MULTI, ROUTE, UNMATCHED};
use topic::TOPIC;

pub(crate) const TOPICS: Key = Key {
    path: "topics",
    kind: Kind::Texts {
        what: "topic names",
        example: "[\"orders\"]",
    },
    doc: "Topics to read. One of `topics`, `pattern` and `regex` must be given.",
};
pub(crate) const PATTERN: Key = Key {
    path: "pattern",
    kind: Kind::Text {
        what: "a pattern of topic names such as \"orders.*\"",
        default: "",
    },
    doc: "Topics to read, also those that appear later: `*` is any run of characters, `?` is one. Topics that begin \
          with `__` and the handler's own dead-letter topic are left out.",
};
pub(crate) const REGEX: Key = Key {
    path: "regex",
    kind: Kind::Text {
        what: "a regular expression such as 'orders\\.(eu|us)'",
        default: "",
    },
    doc: "As `pattern`, as a regular expression that must match the whole name.",
};
pub(crate) const GROUP: Key = Key {
    path: "group",
    kind: Kind::Text {
        what: "the name of a consumer group",
        default: "`<tenant>.<handler>`",
    },
    doc: "Consumer group. Handlers that name the same group share one consumer.",
};
pub(crate) const START: Key = Key {
    path: "start",
    kind: Kind::Text {
        what: "\"earliest\", \"latest\", a time such as \"2026-01-31T00:00:00Z\" or \"-2h\", or \"offset:1200\"",
        default: "`\"earliest\"`",
    },
    doc: "Where a group begins in a partition of which it has no committed position: at the oldest record, at what \
          arrives from now on, at the first record of a time or later, or at an offset.",
};
pub(crate) const DELIVERY: Key = Key {
    path: "delivery",
    kind: Kind::Choice {
        words: &["at-least-once", "exactly-once"],
    },
    doc: "Whether what a record emits is committed together with its position, in transactions: readers of committed \
          records then see it once, whatever fails. Equal for all handlers of a group.",
};
pub(crate) const TRANSACTION_INTERVAL_MS: Key = Key {
    path: "transaction-interval-ms",
    kind: Kind::Whole {
        unit: "milliseconds",
        min: 5,
        max: 5000,
        default: Some(policy::TRANSACTION_INTERVAL_MS),
    },
    doc: "How often a transaction is committed, with `delivery = \"exactly-once\"`. What is emitted becomes visible then.",
};
pub(crate) const SIDE_EFFECTS: Key = Key {
    path: "side-effects",
    kind: Kind::Choice {
        words: &["refused", "allowed"],
    },
    doc: "With `delivery = \"exactly-once\"`, whether the component may do what no transaction takes back, such as asking \
          others with emit-with-response, or sending at once with emit-and-wait.",
};
pub(crate) const ORDERING: Key = Key {
    path: "ordering",
    kind: Kind::Choice {
        words: &["partition", "key", "none"],
    },
    doc: "Which records of a partition wait for each other: all of them, those with equal keys, or none.",
};
pub(crate) const CONCURRENCY: Key = Key {
    path: "concurrency",
    kind: Kind::Whole {
        unit: "instances",
        min: 1,
        max: 10_000,
        default: None,
    },
    doc: "Instances of the component that one host runs at once. Left out, it is 16, and with \
          `ordering = \"partition\"` one for each partition.",
};
pub(crate) const ISOLATION: Key = Key {
    path: "isolation",
    kind: Kind::Choice {
        words: &["lane", "record"],
    },
    doc: "How long an instance of the component lives: `lane` reuses it for the next record, `record` gives every \
          record fresh memory.",
};
pub(crate) const DEAD_LETTER_TOPIC: Key = Key {
    path: "dead-letter-topic",
    kind: Kind::Text {
        what: "a topic name",
        default: "`<group>.dead-letter`",
    },
    doc: "Topic that receives the records which could not be handled.",
};
pub(crate) const ON_EXHAUSTED: Key = Key {
    path: "on-exhausted",
    kind: Kind::Choice {
        words: &["dead-letter", "skip", "halt", "park"],
    },
    doc: "What becomes of a record whose attempts are used up: it goes to the dead-letter topic, is left behind, \
          stops its partition, or goes to the dead-letter topic together with all later records of its key \
          (`park`, only for `ordering = \"key\"` and a handler with a group of its own).",
};

pub(crate) const MEMORY_MIB: Key = Key {
    path: "limits.memory-mib",
    kind: Kind::Whole {
        unit: "MiB",
        min: 1,
        max: 4096,
        default: Some((Limits::DEFAULT.memory_bytes / MIB) as u64),
    },
    doc: "Linear memory of one instance.",
};
pub(crate) const DEADLINE_MS: Key = Key {
    path: "limits.deadline-ms",
    kind: Kind::Whole {
        unit: "milliseconds",
        min: 1,
        max: HOUR_MS,
        default: Some(millis(Limits::DEFAULT.deadline)),
    },
    doc: "Time that one call of the component may take.",
};
pub(crate) const IN_FLIGHT_RECORDS: Key = Key {
    path: "limits.in-flight-records",
    kind: Kind::Whole {
        unit: "records",
        min: 1,
        max: 100_000,
        default: Some(Limits::DEFAULT.in_flight_records as u64),
    },
    doc: "Records per partition that are taken up and whose outputs Kafka has not acknowledged yet.",
};
pub(crate) const IN_FLIGHT_MIB: Key = Key {
    path: "limits.in-flight-mib",
    kind: Kind::Whole {
        unit: "MiB",
        min: 1,
        max: 1024,
        default: Some((Limits::DEFAULT.in_flight_bytes / MIB) as u64),
    },
    doc: "Size of these records and their outputs, per partition.",
};
pub(crate) const OUTBOX_RECORDS: Key = Key {
    path: "limits.outbox-records",
    kind: Kind::Whole {
        unit: "records",
        min: 1,
        max: 1_000_000,
        default: Some(Limits::DEFAULT.outbox_records as u64),
    },
    doc: "Records that one call may emit.",
};
pub(crate) const OUTBOX_MIB: Key = Key {
    path: "limits.outbox-mib",
    kind: Kind::Whole {
        unit: "MiB",
        min: 1,
        max: 1024,
        default: Some((Limits::DEFAULT.outbox_bytes / MIB) as u64),
    },
    doc: "Size of what one call may emit.",
};

pub(crate) const PENDING_REQUESTS: Key = Key {
    path: "limits.pending-requests",
    kind: Kind::Whole {
        unit: "requests",
        min: 1,
        max: 100_000,
        default: Some(Limits::DEFAULT.pending_requests as u64),
    },
    doc: "Requests that may wait for their responses at once, on each host; and as many records that wait for their receipts.",
};

pub(crate) const BULK_RECORDS: Key = Key {
    path: "bulk.max-records",
    kind: Kind::Whole {
        unit: "records",
        min: 1,
        max: 100_000,
        default: Some(Bulk::DEFAULT.max_records as u64),
    },
    doc: "Records in one batch of the bulk hook.",
};
pub(crate) const BULK_BYTES: Key = Key {
    path: "bulk.max-bytes",
    kind: Kind::Whole {
        unit: "bytes",
        min: 1,
        max: 1 << 30,
        default: Some(Bulk::DEFAULT.max_bytes as u64),
    },
    doc: "Size of one batch; a single larger record makes a batch of its own.",
};
pub(crate) const BULK_WAIT_MS: Key = Key {
    path: "bulk.max-wait-ms",
    kind: Kind::Whole {
        unit: "milliseconds",
        min: 0,
        max: 600_000,
        default: Some(millis(Bulk::DEFAULT.max_wait)),
    },
    doc: "Time that the first record of a batch waits for more.",
};

pub(crate) const BULK_COMPACT: Key = Key {
    path: "bulk.compact",
    kind: Kind::Flag {
        default: Bulk::DEFAULT.compact,
    },
    doc: "Whether a batch has only the last record of each key. Those before it are settled without being handled.",
};

pub(crate) const BULK_ENTER_LAG: Key = Key {
    path: "bulk.enter-lag",
    kind: Kind::Whole {
        unit: "records",
        min: 1,
        max: LAG_MAX,
        default: None,
    },
    doc: "With this key and `exit-lag`, a partition's records come one by one until so many of them wait. Left out, they \
          always come in batches.",
};
pub(crate) const BULK_EXIT_LAG: Key = Key {
    path: "bulk.exit-lag",
    kind: Kind::Whole {
        unit: "records",
        min: 0,
        max: LAG_MAX,
        default: None,
    },
    doc: "They come one by one again when no more than so many wait.",
};

pub(crate) const CONFIG: Key = Key {
    path: "config",
    kind: Kind::Table { clients: None },
    doc: "Any keys, for the component: it reads them as text. One may be named instead: `{ env = \"NAME\" }` or \
          `{ file = \"NAME\" }`.",
};
pub(crate) const KAFKA_CONSUMER: Key = Key {
    path: "kafka.consumer",
    kind: Kind::Table {
        clients: Some(Clients::HandlerConsumer),
    },
    doc: "Settings of librdkafka for the consumer, except those that the host depends on.",
};
pub(crate) const KAFKA_PRODUCER: Key = Key {
    path: "kafka.producer",
    kind: Kind::Table {
        clients: Some(Clients::HandlerProducer),
    },
    doc: "Settings of librdkafka for the producer, except those that the host depends on.",
};

#[expect(
    clippy::cast_possible_truncation,
    reason = "the defaults are at most a day"
)]
const fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}
