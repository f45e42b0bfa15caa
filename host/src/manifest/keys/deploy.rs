//! The keys of the table `[deploy]`.

use super::{DAY_MS, millis};
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
