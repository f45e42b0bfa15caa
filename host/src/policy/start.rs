//! Where a group begins that has no committed position.
//!
//! **Invariant:** what is displayed can be parsed again to the same value.

use std::fmt;
use std::str::FromStr;

use crate::moment::{Moment, MomentError};

/// What comes before the number of an offset.
const OFFSET: &str = "offset:";

/// Where reading begins in a partition of which the group has committed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// At the oldest record that the broker still has.
    #[default]
    Earliest,
    /// At the records that arrive from now on.
    Latest,
    /// At the first record whose timestamp is not before this; where there is none, at the end.
    Time(Moment),
    /// At this offset, in each partition.
    Offset(i64),
}

/// Why a text is no [`Start`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// It looks like none of the forms.
    #[error("expected \"earliest\", \"latest\", a point in time or an offset")]
    Form,
    /// It looks like a point in time and is none.
    #[error("{0}")]
    Time(MomentError),
    /// What follows `offset:` is no offset.
    #[error("{0:?} is no offset: expected a whole number from 0, as in \"offset:1200\"")]
    Offset(String),
}

impl FromStr for Start {
    type Err = StartError;

    fn from_str(text: &str) -> Result<Self, StartError> {
        match text {
            "earliest" => return Ok(Self::Earliest),
            "latest" => return Ok(Self::Latest),
            _ => {}
        }
        if let Some(number) = text.strip_prefix(OFFSET) {
            return match number.parse() {
                Ok(offset @ 0..) => Ok(Self::Offset(offset)),
                _ => Err(StartError::Offset(number.to_owned())),
            };
        }
        text.parse().map(Self::Time).map_err(|error| match error {
            MomentError::Form => StartError::Form,
            error => StartError::Time(error),
        })
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::Time(moment) => moment.fmt(f),
            Self::Offset(offset) => write!(f, "{OFFSET}{offset}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_written_again() {
        for (text, start) in [
            ("earliest", Start::Earliest),
            ("latest", Start::Latest),
            ("1970-01-01T00:00:01Z", Start::Time(Moment::At(1000))),
            ("offset:0", Start::Offset(0)),
            ("offset:1200", Start::Offset(1200)),
        ] {
            assert_eq!(text.parse(), Ok(start));
            assert_eq!(start.to_string(), text);
        }
        assert!(matches!("-2h".parse(), Ok(Start::Time(Moment::Ago(_)))));
    }

    #[test]
    fn what_looks_like_a_form_and_is_none_says_which() {
        let why = |text: &str| text.parse::<Start>().unwrap_err();
        assert_eq!(why("earlist"), StartError::Form);
        assert_eq!(why("1200"), StartError::Form);
        assert_eq!(why("offset:-1"), StartError::Offset("-1".to_owned()));
        assert_eq!(why("offset:"), StartError::Offset(String::new()));
        assert!(matches!(why("-2"), StartError::Time(_)));
        assert!(matches!(why("2026-01-31"), StartError::Time(_)));
    }
}
