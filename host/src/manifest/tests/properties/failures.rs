//! What many failures lead to, as the naive reader has it.

use std::time::Duration;

use super::{Line, Naive};
use crate::canary::{CanaryPolicy, Trial};
use crate::policy::{BreakerPolicy, ProbationPolicy};

const TRIAL_RECORD: &str = "deploy.trial-record";
const PROBATION_RECORDS: &str = "deploy.probation-records";

/// Leaves out what needs a probation or a trial where there is none, and a trial beside what excludes it.
pub(super) fn without_lone_probation(mut lines: Vec<Line>) -> Vec<Line> {
    let has = |wanted: &str| lines.iter().any(|(path, _)| path.starts_with(wanted));
    let (is_canary, is_bulk) = (has("deploy.canary"), has("bulk."));
    let is_named = lines.iter().any(|(path, _)| *path == "deploy.canary");
    if is_canary && is_named && !is_bulk {
        lines.retain(|(path, _)| *path != "deploy.shadow");
        return lines;
    }
    lines.retain(|(path, _)| !path.starts_with("deploy.canary"));
    if lines.contains(&("deploy.shadow", "true".to_owned())) {
        lines.retain(|(path, _)| {
            !path.starts_with("deploy.")
                || *path == TRIAL_RECORD
                || !is_bulk && *path == "deploy.shadow"
        });
    }
    if !lines.iter().any(|(path, _)| *path == PROBATION_RECORDS) {
        lines.retain(|(path, _)| {
            !path.starts_with("deploy.") || [TRIAL_RECORD, "deploy.shadow"].contains(path)
        });
    }
    lines
}

impl Naive<'_> {
    pub(super) fn breaker(&self) -> Option<BreakerPolicy> {
        let is_given = self.0.iter().any(|(path, _)| path.starts_with("breaker."));
        is_given.then(|| BreakerPolicy {
            failure_share: self.text("breaker.failure-share", "0.5").parse().unwrap(),
            window_records: self.number("breaker.window-records", 100),
            pause: self.millis("breaker.pause-ms", 30_000),
        })
    }

    pub(super) fn trial_record(&self) -> Option<String> {
        Some(self.text(TRIAL_RECORD, "")).filter(|name| !name.is_empty())
    }

    pub(super) fn probation(&self) -> Option<ProbationPolicy> {
        let time: Duration = self.millis("deploy.probation-ms", 60_000);
        if self.trial().is_some() {
            return None;
        }
        Some(ProbationPolicy {
            records: self.text(PROBATION_RECORDS, "").parse().ok()?,
            time,
            failure_share: self.text("deploy.failure-share", "0.05").parse().unwrap(),
        })
    }

    pub(super) fn trial(&self) -> Option<Trial> {
        if self.text("deploy.shadow", "false") == "true" {
            return Some(Trial::Shadow);
        }
        let share = self.text("deploy.canary", "");
        let time = self.text("deploy.canary-ms", "").parse().ok();
        Some(Trial::Canary(CanaryPolicy {
            share: share.parse().ok()?,
            time: time.map(Duration::from_millis),
            slower: self.text("deploy.canary-slower", "1.5").parse().unwrap(),
            probation: ProbationPolicy {
                records: self.text(PROBATION_RECORDS, "1000").parse().unwrap(),
                time: self.millis("deploy.probation-ms", 60_000),
                failure_share: self.text("deploy.failure-share", "0.05").parse().unwrap(),
            },
        }))
    }
}
