//! The keys of the table `[breaker]`.

use super::{DAY_MS, millis};
use crate::manifest::key::{Key, Kind};
use crate::policy::BreakerPolicy;

pub(crate) const BREAKER_SHARE: Key = Key {
    path: "breaker.failure-share",
    kind: Kind::Real {
        min: 0.01,
        max: 0.99,
        default: BreakerPolicy::DEFAULT.failure_share,
    },
    doc: "With a table `[breaker]` the handler pauses when more than this share of its last records could not be handled.",
};
pub(crate) const BREAKER_WINDOW: Key = Key {
    path: "breaker.window-records",
    kind: Kind::Whole {
        unit: "records",
        min: 1,
        max: 100_000,
        default: Some(BreakerPolicy::DEFAULT.window_records as u64),
    },
    doc: "How many records these are, on each host.",
};
pub(crate) const BREAKER_PAUSE_MS: Key = Key {
    path: "breaker.pause-ms",
    kind: Kind::Whole {
        unit: "milliseconds",
        min: 100,
        max: DAY_MS,
        default: Some(millis(BreakerPolicy::DEFAULT.pause)),
    },
    doc: "How long it pauses before one record is tried again.",
};
