//! What a text of a record is compared with: an exact text, a prefix or a glob.
//!
//! Handed the text of a manifest, gives a matcher for topics, events and values of headers.
//! **Invariant:** two matchers are equal exactly where they match the same texts, however they were written.

use std::fmt;
use std::str::FromStr;

use super::TEXT_BYTES_MAX;
use super::glob::{Glob, canonical};

/// Why a text is not a matcher.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatcherError {
    /// The pattern is empty; only [`Matcher::exact`] stands for the empty text.
    #[error("the pattern is empty")]
    Empty,
    /// The text is over-long.
    #[error("the text has {bytes} bytes, more than {max}")]
    TooLong {
        /// What it has.
        bytes: usize,
        /// What it may have, [`TEXT_BYTES_MAX`].
        max: usize,
    },
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Matcher(Kind);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kind {
    Exact(Box<str>),
    /// A glob with its only wildcard, `*`, at the end; without that.
    Prefix(Box<str>),
    Glob(Box<Glob>),
}

impl Matcher {
    /// Makes one that matches `text` alone, whatever characters that has.
    ///
    /// # Errors
    /// [`MatcherError::TooLong`].
    pub fn exact(text: &str) -> Result<Self, MatcherError> {
        check_length(text)?;
        Ok(Self(Kind::Exact(text.into())))
    }

    /// Reads a pattern: `*` is any run of characters, also none, `?` is one character, and all others are themselves.
    /// Without a wildcard it matches only itself.
    ///
    /// # Errors
    /// Any [`MatcherError`].
    pub fn pattern(source: &str) -> Result<Self, MatcherError> {
        if source.is_empty() {
            return Err(MatcherError::Empty);
        }
        check_length(source)?;
        if !source.contains(['*', '?']) {
            return Self::exact(source);
        }
        let source = canonical(source);
        let kind = match source.strip_suffix('*') {
            Some(prefix) if !prefix.contains(['*', '?']) => Kind::Prefix(prefix.into()),
            _ => Kind::Glob(Box::new(Glob::new(source.into()))),
        };
        Ok(Self(kind))
    }

    /// Returns whether it matches the whole of `text`.
    pub fn matches(&self, text: &str) -> bool {
        match &self.0 {
            Kind::Exact(exact) => **exact == *text,
            Kind::Prefix(prefix) => text.starts_with(&**prefix),
            Kind::Glob(glob) => glob.matches(text),
        }
    }

    /// Returns whether the bytes are UTF-8 and it matches that text.
    pub fn matches_bytes(&self, bytes: &[u8]) -> bool {
        match &self.0 {
            Kind::Exact(exact) => exact.as_bytes() == bytes,
            Kind::Prefix(prefix) if !bytes.starts_with(prefix.as_bytes()) => false,
            _ => str::from_utf8(bytes).is_ok_and(|text| self.matches(text)),
        }
    }

    /// Returns whether it surely matches every text that begins with `prefix`.
    pub fn matches_all_from(&self, prefix: &str) -> bool {
        matches!(&self.0, Kind::Prefix(own) if prefix.starts_with(&**own))
    }

    /// Returns the text if there is only one that matches.
    pub fn as_exact(&self) -> Option<&str> {
        match &self.0 {
            Kind::Exact(exact) => Some(exact),
            _ => None,
        }
    }

    /// Returns the runs of characters that each text has which matches, some of them empty.
    pub(super) fn literals(&self) -> impl Iterator<Item = &str> {
        let (text, wildcards): (_, &[char]) = match &self.0 {
            Kind::Exact(text) | Kind::Prefix(text) => (&**text, &[]),
            Kind::Glob(glob) => (glob.source(), &['*', '?']),
        };
        text.split(wildcards)
    }
}

impl FromStr for Matcher {
    type Err = MatcherError;

    /// Reads a [`Matcher::pattern`].
    fn from_str(source: &str) -> Result<Self, MatcherError> {
        Self::pattern(source)
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Exact(text) => f.write_str(text),
            Kind::Prefix(text) => write!(f, "{text}*"),
            Kind::Glob(glob) => f.write_str(glob.source()),
        }
    }
}

/// What is asked of a header.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HeaderMatcher {
    /// That the record has it, whatever its value, also null and bytes that are no text.
    Present,
    /// That a value of it is text, and matches.
    Text(Matcher),
}

impl HeaderMatcher {
    /// Returns whether a value is as asked; `None` is Kafka's null.
    pub fn matches(&self, value: Option<&[u8]>) -> bool {
        match self {
            Self::Present => true,
            Self::Text(matcher) => value.is_some_and(|value| matcher.matches_bytes(value)),
        }
    }
}

fn check_length(text: &str) -> Result<(), MatcherError> {
    let (bytes, max) = (text.len(), TEXT_BYTES_MAX);
    if bytes > max {
        return Err(MatcherError::TooLong { bytes, max });
    }
    Ok(())
}
