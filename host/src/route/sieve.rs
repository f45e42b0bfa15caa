//! What a record cannot match, told in the time of a few comparisons.
//!
//! A text leaves marks in a set of 256, one for each two bytes that follow each other in it; so does a header, by its
//! name and by its value. A rule needs the marks of its literal characters. Handed both, says whether the rule is worth
//! a look.
//! **Invariant:** a record that a rule matches has all marks that the rule needs; the reverse need not hold.

use std::ops::BitOr;

use super::matcher::{HeaderMatcher, Matcher};
use crate::record::Header;

/// Odd, with bits all over: the golden ratio's, as Knuth multiplies with (The Art of Computer Programming, 6.4).
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
const WORDS: usize = 4;

/// What a mark is of. Each spreads its marks in its own way, so that they are not taken for each other.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// A text of the topic.
    Topic = 1,
    /// A text of the event.
    Event = 2,
    /// The name of a header.
    Name = 3,
    /// A header with its value.
    Value = 4,
}

/// The marks of a record, or those that a rule needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Marks([u64; WORDS]);

impl Marks {
    /// Returns those of a text, which is a topic or an event.
    pub(super) fn of_text(part: Part, text: &str) -> Self {
        let mut marks = Self::default();
        marks.add_text(part, text);
        marks
    }

    /// Returns those of a record's headers.
    pub(super) fn of_headers(headers: &[Header<'_>]) -> Self {
        let mut marks = Self::default();
        for header in headers {
            let name = gist(header.key.as_bytes());
            marks.add_name(name);
            if let Some(value) = header.value {
                marks.add_value(name, value);
            }
        }
        marks
    }

    /// Returns those that each text has which matches.
    pub(super) fn needed_by_text(part: Part, matcher: &Matcher) -> Self {
        let mut marks = Self::default();
        for literal in matcher.literals() {
            marks.add_text(part, literal);
        }
        marks
    }

    /// Returns those that the headers of each record have which has one as asked.
    pub(super) fn needed_by_header(name: &str, condition: &HeaderMatcher) -> Self {
        let mut marks = Self::default();
        let name = gist(name.as_bytes());
        marks.add_name(name);
        if let HeaderMatcher::Text(matcher) = condition
            && let Some(value) = matcher.as_exact()
        {
            marks.add_value(name, value.as_bytes());
        }
        marks
    }

    /// Returns whether all of these are among `others`.
    pub(super) fn are_in(&self, others: &Self) -> bool {
        let pairs = self.0.iter().zip(&others.0);
        pairs.fold(0, |missing, (needed, there)| missing | (needed & !there)) == 0
    }

    fn add_text(&mut self, part: Part, text: &str) {
        let bytes = text.as_bytes();
        for (first, second) in bytes.iter().zip(bytes.iter().skip(1)) {
            self.add(part, (u64::from(*first) << 8) | u64::from(*second));
        }
    }

    /// Adds the mark of a header with the [`gist`] `name`.
    fn add_name(&mut self, name: u64) {
        self.add(Part::Name, name);
    }

    fn add_value(&mut self, name: u64, value: &[u8]) {
        self.add(Part::Value, name.rotate_left(32) ^ gist(value));
    }

    fn add(&mut self, part: Part, number: u64) {
        let place = (number ^ ((part as u64) << 16)).wrapping_mul(SPREAD);
        if let Some(word) = self.0.get_mut((place >> 62) as usize) {
            *word |= 1 << ((place >> 56) & 63);
        }
    }
}

impl BitOr for Marks {
    type Output = Self;

    fn bitor(mut self, other: Self) -> Self {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word |= other;
        }
        self
    }
}

/// Returns a number for the bytes, by their length and the last eight alone, since a value may be large.
fn gist(bytes: &[u8]) -> u64 {
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let last = bytes.last_chunk().map(|last| u64::from_le_bytes(*last));
    let fewer = || {
        bytes
            .iter()
            .fold(0, |last, byte| (last << 8) | u64::from(*byte))
    };
    last.unwrap_or_else(fewer) ^ length.rotate_right(8)
}
