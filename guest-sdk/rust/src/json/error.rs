//! Why JSON cannot be read, and what that means for the record.
//!
//! It is handed the errors of the host and owns their way to [`Error`].
//!
//! **Invariant:** what the value is to blame for rejects the record; no attempt would end otherwise.

use std::fmt;

use crate::bindings::imports::kafka::handler::json::{ReadError, SelectionError};
use crate::{Error, other, reject};

/// Why JSON cannot be read.
///
/// By `?` it becomes an [`Error::Reject`] where the value is to blame, as another attempt would
/// not help; where the handler is to blame it becomes an [`Error::Other`]. To choose that itself it
/// is no [`std::error::Error`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonError {
    /// The running hook has no single record.
    NoMessage,
    /// The record is a tombstone.
    Tombstone,
    /// The value is not JSON, or is nested too deeply.
    Invalid {
        /// Where, in bytes from 0.
        at: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The value, or what was to be given of it, is too large.
    TooLarge {
        /// The largest size, in bytes.
        limit_bytes: u64,
    },
    /// What a pointer names is not what was asked for.
    Unexpected {
        /// The pointer.
        pointer: String,
        /// What was asked for.
        expected: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// What was given as a pointer is none.
    Pointer {
        /// What was given.
        pointer: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The instance has as many selections, or pointers in them, as it may; which limit.
    TooMany(String),
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMessage => f.write_str("this hook has no single record"),
            Self::Tombstone => f.write_str("the record has no value: it is a tombstone"),
            Self::Invalid { reason, .. } => write!(f, "the value is not JSON: {reason}"),
            Self::TooLarge { limit_bytes } => {
                write!(f, "the JSON is too large: the limit is {limit_bytes} bytes")
            }
            Self::Unexpected {
                pointer,
                expected,
                found,
            } => write!(f, "at `{pointer}` the value has {found}, not {expected}"),
            Self::Pointer { pointer, reason } => {
                write!(f, "`{pointer}` is no JSON pointer: {reason}")
            }
            Self::TooMany(limit) => write!(f, "too much is selected: {limit}"),
        }
    }
}

impl From<JsonError> for Error {
    fn from(error: JsonError) -> Self {
        let reason = error.to_string();
        match error {
            JsonError::NoMessage | JsonError::Pointer { .. } | JsonError::TooMany(_) => {
                other(reason)
            }
            JsonError::Tombstone
            | JsonError::Invalid { .. }
            | JsonError::TooLarge { .. }
            | JsonError::Unexpected { .. } => reject(reason),
        }
    }
}

impl From<ReadError> for JsonError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NoMessage => Self::NoMessage,
            ReadError::Tombstone => Self::Tombstone,
            ReadError::Invalid(fault) => Self::Invalid {
                at: fault.at,
                reason: fault.reason,
            },
            ReadError::TooLarge(limit_bytes) => Self::TooLarge { limit_bytes },
            ReadError::Pointer(misplaced) => Self::Pointer {
                pointer: misplaced.pointer,
                reason: misplaced.reason,
            },
        }
    }
}

impl From<SelectionError> for JsonError {
    fn from(error: SelectionError) -> Self {
        match error {
            SelectionError::Pointer(misplaced) => Self::Pointer {
                pointer: misplaced.pointer,
                reason: misplaced.reason,
            },
            SelectionError::TooMany(limit) => Self::TooMany(limit),
        }
    }
}
