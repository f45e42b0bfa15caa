//! Which dead letters are meant: flags, and what they say of a letter.
//!
//! It is handed a place, a key and a [`Letter`], and answers with the first flag that leaves the letter out.
//! **Invariant:** pure but for the parser of a duration ago, which asks the clock once.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::ids::{HandlerId, TopicName};
use crate::key_letters::LetterPlace;
use crate::letter::Letter;
use crate::moment::{Moment, MomentError};
use crate::outcome::FailureKind;

/// Flags that choose among the letters of a topic; those that are given must all fit.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Which letters")]
pub(super) struct FilterArgs {
    /// Those of records with this key
    #[arg(long, value_name = "TEXT")]
    pub key: Option<String>,

    /// Those of this kind of failure; may be repeated
    #[arg(long, value_name = "KIND", value_parser = kinds())]
    pub kind: Vec<FailureKind>,

    /// Those given up at this time or later: 2026-01-31T02:00:00Z, or a duration ago such as 2h or 7d
    #[arg(long, value_name = "TIME")]
    pub since: Option<Since>,

    /// Those given up before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<Since>,

    /// The one at this place of the dead-letter topic, as `list` prints it; may be repeated
    #[arg(long, value_name = "PARTITION@OFFSET")]
    pub at: Vec<Place>,

    /// Those of records of this topic
    #[arg(long, value_name = "TOPIC")]
    pub from_topic: Option<TopicName>,

    /// Those of records of this partition of their topic
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub from_partition: Option<i32>,

    /// Those of records with these offsets in their partition, both ends included: 17, 10-20 or 10-
    #[arg(long, value_name = "FIRST-LAST", requires = "from_partition")]
    pub from_offsets: Option<Offsets>,

    /// No more than this many of them, in the order of partitions and offsets
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
}

impl FilterArgs {
    /// Returns the first flag that leaves a letter out, as it was written; the limit is not looked at.
    pub(super) fn mismatch(
        &self,
        place: Place,
        key: Option<&[u8]>,
        letter: &Letter,
    ) -> Option<&'static str> {
        let offsets = self.from_offsets.as_ref();
        let fits = [
            (
                "--key",
                self.key
                    .as_ref()
                    .is_none_or(|text| key == Some(text.as_bytes())),
            ),
            (
                "--kind",
                self.kind.is_empty() || self.kind.contains(&letter.kind),
            ),
            (
                "--since",
                self.since.is_none_or(|since| letter.time_ms >= since.0),
            ),
            (
                "--until",
                self.until.is_none_or(|until| letter.time_ms < until.0),
            ),
            ("--at", self.at.is_empty() || self.at.contains(&place)),
            (
                "--from-topic",
                self.from_topic
                    .as_ref()
                    .is_none_or(|topic| topic.as_str() == letter.topic),
            ),
            (
                "--from-partition",
                self.from_partition
                    .is_none_or(|partition| partition == letter.partition),
            ),
            (
                "--from-offsets",
                offsets.is_none_or(|offsets| offsets.contains(letter.offset)),
            ),
        ];
        fits.into_iter()
            .find_map(|(flag, fits)| (!fits).then_some(flag))
    }

    /// Returns whether no flag but `--key` is given.
    pub(super) fn is_key_only(&self) -> bool {
        *self
            == Self {
                key: self.key.clone(),
                ..Self::default()
            }
    }

    /// Returns whether `count` letters are all that was asked for.
    pub(super) fn is_enough(&self, count: u64) -> bool {
        self.limit.is_some_and(|limit| count >= limit)
    }
}

fn kinds() -> impl TypedValueParser<Value = FailureKind> {
    PossibleValuesParser::new(FailureKind::ALL.map(FailureKind::as_str))
        .try_map(|text| text.parse::<FailureKind>())
}

/// Returns whether a letter is one of a handler, or of any where none is named.
pub(super) fn is_of(handler: Option<&HandlerId>, letter: &Letter) -> bool {
    handler.is_none_or(|handler| *handler == letter.handler)
}

/// A place in the dead-letter topic, written `partition@offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    /// The partition, counted from 0.
    pub partition: i32,
    /// The offset in the partition.
    pub offset: i64,
}

impl LetterPlace for Place {
    fn is_behind(self, other: Self) -> bool {
        self.partition == other.partition && self.offset > other.offset
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As a whole, so that a width applies.
        f.pad(&format!("{}@{}", self.partition, self.offset))
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('@');
        match parts.map(|(partition, offset)| (partition.parse(), offset.parse())) {
            Some((Ok(partition @ 0..), Ok(offset @ 0..))) => Ok(Self { partition, offset }),
            _ => Err("expected PARTITION@OFFSET, such as 0@17".to_owned()),
        }
    }
}

/// Offsets from a first to a last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offsets {
    first: i64,
    last: i64,
}

impl Offsets {
    fn contains(&self, offset: i64) -> bool {
        (self.first..=self.last).contains(&offset)
    }
}

impl FromStr for Offsets {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = match text.split_once('-') {
            None => text.parse().ok().map(|offset| (offset, offset)),
            Some((first, "")) => first.parse().ok().map(|first| (first, i64::MAX)),
            Some((first, last)) => first.parse().ok().zip(last.parse().ok()),
        };
        match parsed {
            Some((first @ 0.., last)) if first <= last => Ok(Self { first, last }),
            _ => Err("expected an offset or a range of them, such as 17, 10-20 or 10-".to_owned()),
        }
    }
}

/// A time in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Since(pub(super) i64);

impl FromStr for Since {
    type Err = MomentError;

    /// Reads a time, or how long ago it was, with or without a minus sign.
    fn from_str(text: &str) -> Result<Self, MomentError> {
        let moment: Moment = if text.contains('-') {
            text.parse()?
        } else {
            format!("-{text}").parse().map_err(|_| MomentError::Form)?
        };
        Ok(Self(moment.unix_ms(SystemTime::now())))
    }
}

#[cfg(test)]
mod tests;
