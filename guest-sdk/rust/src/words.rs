//! The names of the enums, as the WIT package, the manifest and the metrics write them.
//!
//! It is handed an enum of the bindings and owns only its text.
//!
//! **Invariant:** names are kebab-case and the same everywhere.

use std::fmt;

use crate::{FailureKind, Outcome, Verdict};

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Retry => "retry",
            Self::Reject => "reject",
            Self::Other => "other",
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Resume => "resume",
            Self::Retry => "retry",
            Self::DeadLetter => "dead-letter",
            Self::Halt => "halt",
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Handled => "handled",
            Self::Filtered => "filtered",
            Self::Skipped => "skipped",
            Self::DeadLettered => "dead-lettered",
            Self::Halted => "halted",
        })
    }
}
