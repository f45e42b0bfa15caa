//! The keys of the table `[deploy]`.

use super::{DAY_MS, millis};
use crate::canary::CanaryPolicy;
use crate::manifest::key::{Key, Kind};
use crate::policy::ProbationPolicy;

pub(crate) const TRIAL_RECORD: Key = Key {
    path: "deploy.trial-record",
    kind: Kind::Text {
        what: "the file name of a record, ending in .json",
        default: "",
    },
    doc: "Record beside the manifest that each new revision has to handle before it serves, see [Trial \
          record](#trial-record).",
};
pub(crate) const PROBATION_RECORDS: Key = Key {
    path: "deploy.probation-records",
    kind: Kind::Whole {
        unit: "records",
        min: 1,
        max: 1_000_000_000,
        default: None,
    },
    doc: "A new revision of the handler has proven itself after so many records, on each host. Until then no record is given up: \
          those that fail wait for the verdict, and when too many fail the revision before it comes back by itself and handles them.",
};
pub(crate) const PROBATION_MS: Key = Key {
    path: "deploy.probation-ms",
    kind: Kind::Whole {
        unit: "milliseconds",
        min: 100,
        max: DAY_MS,
        default: Some(millis(ProbationPolicy::DEFAULT.time)),
    },
    doc: "The verdict comes after this time since its first record, if there are fewer.",
};
pub(crate) const FAILURE_SHARE: Key = Key {
    path: "deploy.failure-share",
    kind: Kind::Real {
        min: 0.0,
        max: 0.99,
        default: ProbationPolicy::DEFAULT.failure_share,
    },
    doc: "The share of these records that may fail. One more, and the revision before it comes back at once.",
};
pub(crate) const CANARY: Key = Key {
    path: "deploy.canary",
    kind: Kind::Text {
        what: "a share of the keys such as \"10%\"",
        default: "",
    },
    doc: "A new revision of the handler gets only this share of the keys, the same ones on each host, until it is promoted or rolled \
          back; the revision before has all others, and records without a key. Records that fail under the new one wait for the \
          verdict, `deploy.probation-ms` at most; when more than `deploy.failure-share` of them fail, beyond the share that fails \
          under the old one (counted of `deploy.probation-records` where there were fewer, 1000 when left out), the old one comes \
          back by itself and handles them.",
};
pub(crate) const CANARY_MS: Key = Key {
    path: "deploy.canary-ms",
    kind: Kind::Whole {
        unit: "milliseconds",
        min: 100,
        max: 30 * DAY_MS,
        default: None,
    },
    doc: "The canary is promoted by itself after this time since its first record, if no more of its records failed than may and \
          they took no longer than `deploy.canary-slower` allows; else it is rolled back. Without it, `promote` and `rollback` decide.",
};
pub(crate) const CANARY_SLOWER: Key = Key {
    path: "deploy.canary-slower",
    kind: Kind::Real {
        min: 1.0,
        max: 1000.0,
        default: CanaryPolicy::SLOWER,
    },
    doc: "How many times as long as under the old revision a record may take on the mean for the canary to be promoted by itself. \
          Less than a millisecond more is never too long.",
};
pub(crate) const SHADOW: Key = Key {
    path: "deploy.shadow",
    kind: Kind::Flag { default: false },
    doc: "A new revision of the handler sees each record after the one that serves has handled it; what it emits is compared with what \
          was sent and thrown away. `status` shows the differences, until `promote` lets it serve or `rollback` ends it.",
};
