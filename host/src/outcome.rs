//! What a guest did with a record, and what the host makes of it: the enums that the whole flow matches on.
//!
//! **Invariant:** an [`Outcome`] says what happened, a [`Settlement`] says what to do; only `settle` turns one into
//! the other.

use std::str::FromStr;
use std::time::Duration;

/// What the hooks of one attempt did with a record.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The handler hook succeeded; its outbox shall be sent.
    Handled,
    /// `did-receive` dropped the record.
    Filtered,
    /// A hook failed; its outbox is dropped.
    Failed(Failure),
}

/// What kind of failure it was. The texts are part of the dead letter's headers and of the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FailureKind {
    /// The hook asked to be called again.
    Retry,
    /// The hook refused the record for good.
    Reject,
    /// The hook failed.
    Other,
    /// The guest trapped.
    Trap,
    /// The hook did not return in time.
    Deadline,
    /// The guest asked for more memory than it may have.
    Memory,
    /// Kafka refused an emitted record for good.
    Emit,
    /// None of its own: a record before it with the same key failed. No attempt ends so, only a dead letter says it.
    Parked,
    /// No handler of the group takes the record. No attempt ends so.
    Unmatched,
    /// Handlers have passed the record on too often. No attempt ends so.
    Loop,
}

impl FailureKind {
    /// All kinds, in the order of their declaration.
    pub const ALL: [Self; 10] = [
        Self::Retry,
        Self::Reject,
        Self::Other,
        Self::Trap,
        Self::Deadline,
        Self::Memory,
        Self::Emit,
        Self::Parked,
        Self::Unmatched,
        Self::Loop,
    ];

    /// Returns the kind's name in headers, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Reject => "reject",
            Self::Other => "other",
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::Emit => "emit",
            Self::Parked => "parked",
            Self::Unmatched => "unmatched",
            Self::Loop => "loop",
        }
    }
}

/// A text is the name of no kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {}", FailureKind::ALL.map(FailureKind::as_str).join(", "))]
pub struct UnknownKind;

impl FromStr for FailureKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(UnknownKind)
    }
}

/// Bytes of an error that a line of the log and a dead letter have.
pub(crate) const EXCERPT_BYTES_MAX: usize = 4096;

/// Returns the beginning of a text, no longer than that, cut between characters.
pub(crate) fn excerpt(text: &str, bytes_max: usize) -> &str {
    let end = text.floor_char_boundary(bytes_max);
    text.get(..end).unwrap_or_default()
}

/// One failed attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// What kind of failure.
    pub kind: FailureKind,
    /// The error in words.
    pub message: String,
    /// The wait that the guest asked for.
    pub retry_after: Option<Duration>,
    /// The step of a pipeline that failed, as `pipeline/step`.
    pub step: Option<String>,
    /// What is done about it, where the manifest says that of the step.
    pub settlement: Option<Settlement>,
}

impl Failure {
    /// Makes a failure without a wish for a retry.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            retry_after: None,
            step: None,
            settlement: None,
        }
    }

    /// Returns the error in words, as much of it as a line of the log and a dead letter have: guests may say anything.
    pub fn excerpt(&self) -> &str {
        excerpt(&self.message, EXCERPT_BYTES_MAX)
    }
}

/// What an error hook answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Accept the failure and go on.
    Resume,
    /// Try again.
    Retry,
    /// Dead-letter the record and go on.
    DeadLetter,
    /// Stop the partition at this record.
    Halt,
}

/// What the host does about a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// Attempt the record again after a wait.
    Retry {
        /// How long to wait first.
        after: Duration,
    },
    /// Write the record to the dead-letter topic, then go on.
    DeadLetter,
    /// Write the record to the dead-letter topic, and those of its key that come after it.
    Park,
    /// Count the record as skipped and go on.
    Skip,
    /// Stop the partition at this record.
    Halt,
}

impl Settlement {
    /// Returns whether there is no attempt after it.
    pub fn is_last(self) -> bool {
        !matches!(self, Self::Retry { .. })
    }
}

/// How a record's life ended, as it is counted and as `on-finished` is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The handler succeeded.
    Handled,
    /// `did-receive` dropped it.
    Filtered,
    /// Its failure was accepted.
    Skipped,
    /// It went to the dead-letter topic.
    DeadLettered,
    /// The partition stopped at it.
    Halted,
    /// It waits in a topic for its next attempt, and ends when it has come back.
    Deferred,
    /// A later record of its batch has its key, and only the last one counts.
    Compacted,
    /// It followed a record of its key to the dead-letter topic, unhandled.
    Parked,
    /// No handler takes it, and it was left behind.
    Unmatched,
}

impl Ending {
    /// All endings, in the order of their declaration.
    pub const ALL: [Self; 9] = [
        Self::Handled,
        Self::Filtered,
        Self::Skipped,
        Self::DeadLettered,
        Self::Halted,
        Self::Deferred,
        Self::Compacted,
        Self::Parked,
        Self::Unmatched,
    ];

    /// Returns the ending's name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Handled => "handled",
            Self::Filtered => "filtered",
            Self::Skipped => "skipped",
            Self::DeadLettered => "dead_lettered",
            Self::Halted => "halted",
            Self::Deferred => "deferred",
            Self::Compacted => "compacted",
            Self::Parked => "parked",
            Self::Unmatched => "unmatched",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_error_is_cut_between_characters_for_the_log() {
        let failure = |text: &str| Failure::new(FailureKind::Other, text.repeat(3000));
        assert_eq!(failure("a").excerpt().len(), 3000);
        assert_eq!(failure("ab").excerpt().len(), EXCERPT_BYTES_MAX);
        let cut = failure("→").excerpt().to_owned();
        assert_eq!(cut.len(), EXCERPT_BYTES_MAX / 3 * 3);
        assert!(cut.chars().all(|it| it == '→'));
    }
}
