//! How outputs are written, and what becomes of refused ones, as the naive reader has it.

use super::{Line, Naive};
use crate::policy::{Backoff, BackoffKind};
use crate::publish::{Publish, Repeat};

/// What becomes of refused outputs.
const PUBLISH_RETRY: &str = "publish.retry.";
const PUBLISH_LETTERS: &str = "publish.dead-letter-topic";

/// Leaves what becomes of refused outputs out where it does not go together with the rest, and makes its waits fit.
pub(super) fn without_lone_remedies(mut lines: Vec<Line>) -> Vec<Line> {
    let policy = Naive(&lines);
    let is_taken = policy.text(PUBLISH_LETTERS, "") == policy.text("dead-letter-topic", "none");
    if is_taken {
        lines.retain(|(path, _)| *path != PUBLISH_LETTERS);
    }
    let policy = Naive(&lines);
    let is_excluded =
        policy.text("delivery", "") == "exactly-once" || policy.text("multi", "") == "all";
    let delay = policy.number("publish.retry.delay-ms", 1000);
    let max = policy.number("publish.retry.max-delay-ms", 60_000);
    if is_excluded {
        let is_remedy = |path: &str| path.starts_with(PUBLISH_RETRY) || path == PUBLISH_LETTERS;
        lines.retain(|(path, _)| !is_remedy(path));
    } else if delay > max {
        lines.retain(|(path, _)| *path != "publish.retry.max-delay-ms");
        lines.push(("publish.retry.max-delay-ms", delay.to_string()));
    }
    lines
}

impl Naive<'_> {
    pub(super) fn publish(&self) -> Publish {
        let is_given = |path: &str| self.0.iter().any(|(given, _)| *given == path);
        let text = |path: &str| is_given(path).then(|| self.text(path, ""));
        let is_repeated = self
            .0
            .iter()
            .any(|(path, _)| path.starts_with(PUBLISH_RETRY));
        Publish {
            key_from: text("publish.key-from").map(|pointer| pointer.parse().unwrap()),
            retry: is_repeated.then(|| Repeat {
                attempts: self.text("publish.retry.attempts", "5").parse().unwrap(),
                backoff: Backoff {
                    kind: match self.text("publish.retry.backoff", "").as_str() {
                        "fixed" => BackoffKind::Fixed,
                        "fibonacci" => BackoffKind::Fibonacci,
                        _ => BackoffKind::Exponential,
                    },
                    initial: self.millis("publish.retry.delay-ms", 1000),
                    max: self.millis("publish.retry.max-delay-ms", 60_000),
                    multiplier: 2.0,
                    jitter: 0.0,
                },
            }),
            dead_letter: text(PUBLISH_LETTERS).map(|topic| topic.parse().unwrap()),
        }
    }
}
