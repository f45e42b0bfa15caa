//! The keys by which a handler says how its outputs are written.

use super::{DAY_MS, millis};
use crate::manifest::key::{Key, Kind};
use crate::publish::Repeat;

pub(crate) const KEY_FROM: Key = Key {
    path: "publish.key-from",
    kind: Kind::Text {
        what: "a JSON pointer such as \"/id\"",
        default: "",
    },
    doc: "Where the key of a record that is emitted without one stands in its own value, a JSON document: a text, a number, \
          true or false under this JSON pointer (RFC 6901). A value that has none of them there is not emitted.",
};
pub(crate) const ATTEMPTS: Key = Key {
    path: "publish.retry.attempts",
    kind: Kind::Whole {
        unit: "attempts",
        min: 1,
        max: 1_000_000,
        default: Some(Repeat::DEFAULT.attempts as u64),
    },
    doc: "With a table `[publish.retry]`, how often an output is sent that Kafka refuses and may take later, the first time \
          included.",
};
pub(crate) const BACKOFF: Key = Key {
    path: "publish.retry.backoff",
    kind: Kind::Choice {
        words: &["exponential", "fixed", "fibonacci"],
    },
    doc: "How the waits in between follow one another: each is twice the one before, all are the same, or each is the sum of \
          the two before.",
};
pub(crate) const DELAY_MS: Key = Key {
    path: "publish.retry.delay-ms",
    kind: Kind::Whole {
        unit: "milliseconds",
        min: 0,
        max: DAY_MS,
        default: Some(millis(Repeat::DEFAULT.backoff.initial)),
    },
    doc: "The first wait.",
};
pub(crate) const MAX_DELAY_MS: Key = Key {
    path: "publish.retry.max-delay-ms",
    kind: Kind::Whole {
        unit: "milliseconds",
        min: 0,
        max: DAY_MS,
        default: Some(millis(Repeat::DEFAULT.backoff.max)),
    },
    doc: "The longest wait.",
};
pub(crate) const DEAD_LETTER_TOPIC: Key = Key {
    path: "publish.dead-letter-topic",
    kind: Kind::Text {
        what: "a topic name, or a pattern of one such as \"{topic}.dlq\"",
        default: "",
    },
    doc: "Topic of the outputs that Kafka refuses for good; `{topic}` stands for the one that refused them. Left out, the \
          record that emitted them is given up.",
};
