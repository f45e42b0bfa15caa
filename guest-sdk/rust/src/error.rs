//! Why a hook could not do its work, and the short ways to say so.
//!
//! It is handed any error of the user's code and owns the three answers that the host knows:
//! retry, reject, other.
//!
//! **Invariant:** no cause is lost: the text of an error names its whole chain of sources.

use std::fmt;
use std::time::Duration;

use crate::bindings::imports::kafka::handler::types::{HandlerError, RetryRequest};

/// What a hook returns; `Result` alone means `Result<(), Error>`.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// Why a hook could not do its work. Nothing that the hook emitted is sent.
///
/// Any [`std::error::Error`] becomes [`Error::Other`] by `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Try this record again later, within the attempts that the manifest allows.
    Retry {
        /// How long to wait before, in whole milliseconds; `None` leaves it to the manifest.
        after: Option<Duration>,
        /// Why, in words for a person.
        reason: String,
    },
    /// This record can never be handled: dead-letter it now. The reason, in words for a person.
    Reject(String),
    /// Anything else: the manifest's `[retry]` policy decides. The reason, in words for a person.
    Other(String),
}

/// An [`Error::Reject`]: this record can never be handled.
pub fn reject(reason: impl Into<String>) -> Error {
    Error::Reject(reason.into())
}

/// An [`Error::Retry`] after the manifest's backoff.
pub fn retry(reason: impl Into<String>) -> Error {
    Error::Retry {
        after: None,
        reason: reason.into(),
    }
}

/// An [`Error::Retry`] after a pause of its own.
pub fn retry_after(after: Duration, reason: impl Into<String>) -> Error {
    Error::Retry {
        after: Some(after),
        reason: reason.into(),
    }
}

/// An [`Error::Other`]: the manifest's policy decides.
pub fn other(reason: impl Into<String>) -> Error {
    Error::Other(reason.into())
}

impl Error {
    /// The reason alone, without the kind.
    pub fn reason(&self) -> &str {
        match self {
            Self::Retry { reason, .. } | Self::Reject(reason) | Self::Other(reason) => reason,
        }
    }

    fn into_reason(self) -> String {
        match self {
            Self::Retry { reason, .. } | Self::Reject(reason) | Self::Other(reason) => reason,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

// `Error` itself is no `std::error::Error`: that would forbid this conversion.
impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            // Many errors already repeat their source in their own text.
            if !text.contains(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        Self::Other(text)
    }
}

impl From<Error> for HandlerError {
    fn from(error: Error) -> Self {
        match error {
            Error::Retry { after, reason } => Self::Retry(RetryRequest {
                delay_ms: after.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
                reason,
            }),
            Error::Reject(reason) => Self::Reject(reason),
            Error::Other(reason) => Self::Other(reason),
        }
    }
}

/// Decides, at the place where an error appears, what it means for the record.
///
/// ```
/// use kafka_wasm_guest::{Result, ResultExt};
///
/// fn on_message(text: String) -> Result {
///     let _amount: u32 = text.parse().or_reject()?;
///     Ok(())
/// }
///
/// assert_eq!(on_message("7".into()), Ok(()));
/// assert_eq!(on_message("?".into()).unwrap_err().reason(), "invalid digit found in string");
/// ```
pub trait ResultExt<T> {
    /// An error dead-letters the record.
    fn or_reject(self) -> Result<T>;

    /// An error asks for another attempt, after the manifest's backoff.
    fn or_retry(self) -> Result<T>;

    /// An error asks for another attempt after `delay`.
    fn or_retry_after(self, delay: Duration) -> Result<T>;
}

impl<T, E: Into<Error>> ResultExt<T> for std::result::Result<T, E> {
    fn or_reject(self) -> Result<T> {
        self.map_err(|error| Error::Reject(error.into().into_reason()))
    }

    fn or_retry(self) -> Result<T> {
        self.map_err(|error| Error::Retry {
            after: None,
            reason: error.into().into_reason(),
        })
    }

    fn or_retry_after(self, delay: Duration) -> Result<T> {
        self.map_err(|error| Error::Retry {
            after: Some(delay),
            reason: error.into().into_reason(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(std::num::ParseIntError);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("no amount")
        }
    }

    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    fn failing() -> std::result::Result<(), Outer> {
        "x".parse::<u8>().map(drop).map_err(Outer)
    }

    #[test]
    fn any_error_becomes_other_with_its_whole_source_chain() {
        fn hook() -> Result {
            failing()?;
            Ok(())
        }
        assert_eq!(
            hook(),
            Err(other("no amount: invalid digit found in string"))
        );
    }

    #[test]
    fn the_extension_chooses_the_kind_and_keeps_the_text() {
        let text = "no amount: invalid digit found in string";
        assert_eq!(failing().or_reject(), Err(reject(text)));
        assert_eq!(failing().or_retry(), Err(retry(text)));
        let second = Duration::from_secs(1);
        assert_eq!(
            failing().or_retry_after(second),
            Err(retry_after(second, text))
        );
        assert_eq!(
            Err::<(), _>(retry("again")).or_reject(),
            Err(reject("again"))
        );
    }

    #[test]
    fn a_retry_reaches_the_host_in_milliseconds() {
        let wire = HandlerError::from(retry_after(Duration::from_millis(1500), "busy"));
        let HandlerError::Retry(request) = wire else {
            panic!("{wire:?}")
        };
        assert_eq!(
            (request.delay_ms, request.reason.as_str()),
            (Some(1500), "busy")
        );
    }
}
