//! The table `[deploy]`: how a new revision comes to serve.
//!
//! **Invariant:** there is no probation unless the manifest says how many records it takes.

use std::time::Duration;

use super::components::file_name;
use super::{Reader, keys::deploy as keys};
use crate::policy::ProbationPolicy;

/// Reads how a new revision proves itself, and which record it is tried with.
pub(super) fn deploy(reader: &mut Reader<'_>) -> (Option<ProbationPolicy>, Option<String>) {
    (probation(reader), trial_record(reader))
}

/// Reads how a new revision proves itself; none where it need not.
fn probation(reader: &mut Reader<'_>) -> Option<ProbationPolicy> {
    let records = reader.whole_given(&keys::PROBATION_RECORDS);
    let time = reader.whole(&keys::PROBATION_MS);
    let failure_share = reader.real_given(&keys::FAILURE_SHARE);
    if records.is_none() {
        for key in [&keys::PROBATION_MS, &keys::FAILURE_SHARE] {
            if let Some(offset) = reader.offset(key) {
                let what = "there is no probation without deploy.probation-records (add it, or leave this key out)";
                reader.problem(key, Some(offset), what);
            }
        }
    }
    Some(ProbationPolicy {
        records: records?,
        time: Duration::from_millis(time),
        failure_share: failure_share.unwrap_or(ProbationPolicy::DEFAULT.failure_share),
    })
}

/// Reads the name of the record that a revision is tried with.
fn trial_record(reader: &mut Reader<'_>) -> Option<String> {
    file_name(reader, &keys::TRIAL_RECORD, ".json", "the record")
}
