//! The table `[deploy]`: how a new revision comes to serve.
//!
//! **Invariant:** there is no probation unless the manifest says how many records it takes, and none beside a trial.

use std::time::Duration;

use super::components::file_name;
use super::key::Key;
use super::{Reader, keys::deploy as keys};
use crate::canary::{CanaryPolicy, KeyShare, Trial};
use crate::pipeline::Pipeline;
use crate::policy::ProbationPolicy;

/// What `[deploy]` says: the probation of a new revision, the record that it has to handle before, and how it is tried beside the
/// one that serves.
type Deploy = (Option<ProbationPolicy>, Option<String>, Option<Trial>);

/// Reads how a new revision comes to serve.
pub(super) fn deploy(reader: &mut Reader<'_>, pipelines: &[Pipeline]) -> Deploy {
    let (probation, trial) = tried(reader);
    can_be_split(reader, trial, pipelines);
    (probation, trial_record(reader), trial)
}

fn tried(reader: &mut Reader<'_>) -> (Option<ProbationPolicy>, Option<Trial>) {
    if let Some(share) = reader.parsed(&keys::CANARY) {
        return (None, canary(reader, share));
    }
    // Where it is there and is no share, no more need be said.
    if reader.offset(&keys::CANARY).is_none() {
        let lone = [&keys::CANARY_MS, &keys::CANARY_SLOWER];
        refuse(
            reader,
            &lone,
            "there is no canary without deploy.canary (add it, or leave this key out)",
        );
    }
    if reader.flag(&keys::SHADOW) != Some(true) {
        return (probation(reader), None);
    }
    let keys = [
        &keys::PROBATION_RECORDS,
        &keys::PROBATION_MS,
        &keys::FAILURE_SHARE,
    ];
    refuse(
        reader,
        &keys,
        "a shadow's failures harm nobody, so it is on no probation (leave this key out, or deploy.shadow)",
    );
    (None, Some(Trial::Shadow))
}

fn canary(reader: &mut Reader<'_>, share: KeyShare) -> Option<Trial> {
    if reader.flag(&keys::SHADOW) == Some(true) {
        let what = "a new revision has a share of the keys, or sees all of them and its outputs are thrown away (leave out \
                    deploy.canary, or this key)";
        refuse(reader, &[&keys::SHADOW], what);
        return None;
    }
    let default = ProbationPolicy::DEFAULT;
    let time = reader.whole_given(&keys::CANARY_MS);
    let slower = reader.real_given(&keys::CANARY_SLOWER);
    let records = reader.whole_given(&keys::PROBATION_RECORDS);
    let failure_share = reader.real_given(&keys::FAILURE_SHARE);
    Some(Trial::Canary(CanaryPolicy {
        share,
        time: time.map(Duration::from_millis),
        slower: slower.unwrap_or(CanaryPolicy::SLOWER),
        probation: ProbationPolicy {
            records: records.unwrap_or(default.records),
            time: Duration::from_millis(reader.whole(&keys::PROBATION_MS)),
            failure_share: failure_share.unwrap_or(default.failure_share),
        },
    }))
}

/// Sees that single records can be handed to the one revision or the other.
fn can_be_split(reader: &mut Reader<'_>, trial: Option<Trial>, pipelines: &[Pipeline]) {
    let key = match trial {
        None => return,
        Some(Trial::Canary(_)) => &keys::CANARY,
        Some(Trial::Shadow) => &keys::SHADOW,
    };
    let why = if reader.has_table("bulk") {
        "a batch has records of many keys, so [bulk] and a trial of revisions exclude each other (leave one of them out)"
    } else if !pipelines.is_empty() {
        "the steps of a pipeline are not tried beside those of another revision, so [[pipeline]] and this key exclude each other \
         (leave one of them out)"
    } else {
        return;
    };
    refuse(reader, &[key], why);
}

/// Notes a problem with each of these keys that is there.
fn refuse(reader: &mut Reader<'_>, keys: &[&Key], what: &str) {
    for key in keys {
        if let Some(offset) = reader.offset(key) {
            reader.problem(key, Some(offset), what);
        }
    }
}

/// Reads how a new revision proves itself; none where it need not.
fn probation(reader: &mut Reader<'_>) -> Option<ProbationPolicy> {
    let records = reader.whole_given(&keys::PROBATION_RECORDS);
    let time = reader.whole(&keys::PROBATION_MS);
    let failure_share = reader.real_given(&keys::FAILURE_SHARE);
    if records.is_none() {
        let lone = [&keys::PROBATION_MS, &keys::FAILURE_SHARE];
        refuse(
            reader,
            &lone,
            "there is no probation without deploy.probation-records (add it, or leave this key out)",
        );
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
