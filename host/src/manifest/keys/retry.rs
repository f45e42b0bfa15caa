//! The keys of `[retry]`, and once more for each kind of failure in `[retry.on.<kind>]`.
//!
//! **Invariant:** a key of a kind holds what the key of `[retry]` with its name holds, and is that one's value where it
//! is left out.

use super::{DAY_MS, millis};
use crate::manifest::key::{Key, Kind};
use crate::outcome::FailureKind;
use crate::policy::{Backoff, KindPolicy};

/// The keys of one table.
#[derive(Debug)]
pub(crate) struct RetryKeys {
    pub(crate) max_attempts: Key,
    pub(crate) max_age_ms: Key,
    pub(crate) backoff: Key,
    pub(crate) initial_ms: Key,
    pub(crate) max_ms: Key,
    pub(crate) multiplier: Key,
    pub(crate) jitter: Key,
    pub(crate) delays_ms: Key,
}

/// The keys of `[retry]`.
pub(crate) static RETRY: RetryKeys = RetryKeys {
    max_attempts: Key {
        path: "retry.max-attempts",
        kind: Kind::Whole {
            unit: "attempts",
            min: 1,
            max: 1_000_000,
            default: Some(KindPolicy::DEFAULT.max_attempts as u64),
        },
        doc: "Attempts for one record, the first one included.",
    },
    max_age_ms: Key {
        path: "retry.max-age-ms",
        kind: Kind::Whole {
            unit: "milliseconds",
            min: 1,
            // Nobody waits longer for one partition.
            max: 30 * DAY_MS,
            default: None,
        },
        doc: "Time from the begin of a record's first attempt after which it is not tried again. A wait that would end \
              later is not begun.",
    },
    backoff: Key {
        path: "retry.backoff",
        kind: Kind::Choice {
            words: &["exponential", "fixed", "fibonacci", "list"],
        },
        doc: "How the waits between attempts follow one another: each is `multiplier` times the one before, all are the \
              same, each is the sum of the two before, or they are those of `delays-ms`.",
    },
    initial_ms: Key {
        path: "retry.initial-ms",
        kind: Kind::Whole {
            unit: "milliseconds",
            min: 0,
            max: DAY_MS,
            default: Some(millis(Backoff::DEFAULT.initial)),
        },
        doc: "The first wait; every wait where `backoff` is `fixed`. A `list` has its own.",
    },
    max_ms: Key {
        path: "retry.max-ms",
        kind: Kind::Whole {
            unit: "milliseconds",
            min: 0,
            max: DAY_MS,
            default: Some(millis(Backoff::DEFAULT.max)),
        },
        doc: "The longest wait; a `list` is not bound by it.",
    },
    multiplier: Key {
        path: "retry.multiplier",
        kind: Kind::Real {
            min: 1.0,
            max: 100.0,
            default: Backoff::DEFAULT.multiplier,
        },
        doc: "Factor from one wait to the next where `backoff` is `exponential`.",
    },
    jitter: Key {
        path: "retry.jitter",
        kind: Kind::Real {
            min: 0.0,
            max: 1.0,
            default: Backoff::DEFAULT.jitter,
        },
        doc: "Part of each wait that is left to chance, so that records that failed together do not return together.",
    },
    delays_ms: Key {
        path: "retry.delays-ms",
        kind: Kind::Wholes {
            unit: "milliseconds",
            min: 0,
            max: DAY_MS,
            example: "[100, 1000, 60000]",
        },
        doc: "The wait after each attempt where `backoff` is `list`; the last one repeats.",
    },
};

/// The shortest waits that are passed in topics.
pub(crate) const TOPIC_DELAYS_MS: Key = Key {
    path: "retry.topic-delays-ms",
    kind: Kind::Wholes {
        unit: "milliseconds",
        min: 1000,
        max: DAY_MS,
        example: "[60000, 3600000]",
    },
    doc: "Waits from which on a record waits in a topic of Kafka, not in memory: `<group>.retry.1m` and `<group>.retry.1h` \
          here, each for waits from its delay up to the next one. Only for `ordering = \"none\"` and a handler with a \
          group of its own. The topics must exist, or brokers make them.",
};

/// Makes the keys of `[retry.on.<kind>]`.
macro_rules! keys_on {
    ($name:ident, $kind:literal) => {
        pub(super) static $name: RetryKeys = RetryKeys {
            max_attempts: like(
                concat!("retry.on.", $kind, ".max-attempts"),
                &RETRY.max_attempts,
            ),
            max_age_ms: like(
                concat!("retry.on.", $kind, ".max-age-ms"),
                &RETRY.max_age_ms,
            ),
            backoff: like(concat!("retry.on.", $kind, ".backoff"), &RETRY.backoff),
            initial_ms: like(
                concat!("retry.on.", $kind, ".initial-ms"),
                &RETRY.initial_ms,
            ),
            max_ms: like(concat!("retry.on.", $kind, ".max-ms"), &RETRY.max_ms),
            multiplier: like(
                concat!("retry.on.", $kind, ".multiplier"),
                &RETRY.multiplier,
            ),
            jitter: like(concat!("retry.on.", $kind, ".jitter"), &RETRY.jitter),
            delays_ms: like(concat!("retry.on.", $kind, ".delays-ms"), &RETRY.delays_ms),
        };
    };
}

const fn like(path: &'static str, key: &'static Key) -> Key {
    Key {
        path,
        kind: Kind::Like { key },
        doc: key.doc,
    }
}

keys_on!(ON_RETRY, "retry");
keys_on!(ON_OTHER, "other");
keys_on!(ON_TRAP, "trap");
keys_on!(ON_DEADLINE, "deadline");
keys_on!(ON_MEMORY, "memory");

/// The kinds of failures that have a table. A `reject` is not tried again by the manifest, nor is an output that Kafka
/// refused.
pub(crate) static ON: [(FailureKind, &RetryKeys); 5] = [
    (FailureKind::Retry, &ON_RETRY),
    (FailureKind::Other, &ON_OTHER),
    (FailureKind::Trap, &ON_TRAP),
    (FailureKind::Deadline, &ON_DEADLINE),
    (FailureKind::Memory, &ON_MEMORY),
];

/// What the tables of [`ON`] do, as Markdown.
pub(crate) const ON_DOC: &str = "How records are tried again after a failure of this kind; what is left out is as in \
                                 `[retry]`.";
