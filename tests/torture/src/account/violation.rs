//! What can be wrong, in words that name the record and its places.
//!
//! **Invariant:** each kind says enough to find the record in the topics and in the logs.

use std::fmt;

use super::{Id, Place};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Violation {
    /// Kafka or the producer is at fault, or the account's own reading.
    Input {
        id: Id,
        place: Place,
        why: &'static str,
    },
    /// Neither output nor dead letter.
    Lost {
        id: Id,
        place: Place,
        is_committed: bool,
    },
    /// An output that belongs to no input.
    Unknown { id: Id, place: Place, source: Place },
    /// Out again although it may not be, or so late that what was done long ago was done again.
    Repeated {
        id: Id,
        place: Place,
        source: Place,
        after_ms: i64,
    },
    /// Out for the first time behind a later one of its key.
    Reordered { id: Id, place: Place, behind: u64 },
    /// Handled although every attempt fails.
    Handled { id: Id, place: Place },
    /// A dead letter of a record that recovers.
    Buried { id: Id, place: Place },
    /// A dead letter that says something else than what happened.
    Letter { id: Id, place: Place, why: String },
    /// Emitted by an attempt that failed.
    EmittedByAFailure { id: Id },
    /// A partition that was not committed to its end.
    Uncommitted {
        partition: i32,
        position: i64,
        end: i64,
        /// Outputs of its records that are not committed.
        emitted: usize,
    },
    /// A host did what no host should do.
    Host(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]@{}", self.partition, self.offset)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} #{}", self.key, self.sequence)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input { id, place, why } => write!(f, "input      {id} at input{place}: {why}"),
            Self::Lost {
                id,
                place,
                is_committed,
            } => {
                let committed = if *is_committed { "" } else { "not " };
                write!(f, "lost       {id} at input{place}, {committed}committed")
            }
            Self::Unknown { id, place, source } => write!(
                f,
                "unknown    {id} at output{place}: nothing like it went in at input{source}"
            ),
            Self::Repeated {
                id,
                place,
                source,
                after_ms,
            } => {
                let after = *after_ms as f64 / 1000.0;
                write!(
                    f,
                    "repeated   {id} at {place}, of input{source}, {after:.1} s after the first"
                )
            }
            Self::Reordered { id, place, behind } => {
                write!(f, "reordered  {id} at {place}, behind #{behind}")
            }
            Self::Handled { id, place } => {
                write!(f, "handled    {id} at input{place}, which always fails")
            }
            Self::Buried { id, place } => {
                write!(f, "buried     {id} at input{place}, which recovers")
            }
            Self::Letter { id, place, why } => {
                write!(f, "letter     {id} at letters{place}: {why}")
            }
            Self::EmittedByAFailure { id } => write!(f, "emitted    {id} by a failed attempt"),
            Self::Uncommitted {
                partition,
                position,
                end,
                emitted,
            } => write!(
                f,
                "uncommitted  input[{partition}] at {position} of {end}; {emitted} outputs of what is not committed"
            ),
            Self::Host(what) => write!(f, "host       {what}"),
        }
    }
}
