//! What many failures lead to, as the naive reader has it.

use std::time::Duration;

use super::{Line, Naive};
use crate::policy::{BreakerPolicy, ProbationPolicy};

const TRIAL_RECORD: &str = "deploy.trial-record";
const PROBATION_RECORDS: &str = "deploy.probation-records";

/// Leaves out what needs a probation where there is none.
pub(super) fn without_lone_probation(mut lines: Vec<Line>) -> Vec<Line> {
    if !lines.iter().any(|(path, _)| *path == PROBATION_RECORDS) {
        lines.retain(|(path, _)| !path.starts_with("deploy.") || *path == TRIAL_RECORD);
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
        Some(ProbationPolicy {
            records: self.text(PROBATION_RECORDS, "").parse().ok()?,
            time,
            failure_share: self.text("deploy.failure-share", "0.05").parse().unwrap(),
        })
    }
}
