//! How what a new revision makes of records compares with what the one that serves made of them.
//!
//! Handed what both made of one record, says how they differ and keeps count.
//! **Invariant:** nothing of a record is told but its place, and of outputs only their topics and digests; of the differences
//! only the first are kept.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::ids::hex;
use crate::record::Emit;

/// Differences that are kept.
const KEPT_MAX: usize = 10;
/// Bytes of a digest that are kept and told.
const DIGEST_BYTES: usize = 6;

/// What a key or a value is recognized by; none where it is null.
type Digest = Option<[u8; DIGEST_BYTES]>;

/// What an output is recognized by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    topic: Box<str>,
    key: Digest,
    value: Digest,
}

impl Output {
    /// Takes that of an output.
    pub fn of(emit: &Emit<'_>) -> Self {
        Self {
            topic: emit.topic.into(),
            key: digest(emit.key),
            value: digest(emit.value),
        }
    }
}

fn digest(bytes: Option<&[u8]>) -> Digest {
    let all = Sha256::digest(bytes?);
    all.first_chunk().copied()
}

/// What a revision made of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    /// It handled it, with these outputs.
    Outputs(Vec<Output>),
    /// It filtered it out.
    Filtered,
    /// It failed, so; of the word only that there is one is compared.
    Failed(&'static str),
}

/// The first thing in which two revisions differ over a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// They came to another end.
    Ending { was: String, is: String },
    /// Another number of outputs.
    Count { was: usize, is: usize },
    /// The output at this place, counted from 1, goes to another topic.
    Topic { at: usize, was: String, is: String },
    /// It has another key.
    Key { at: usize, was: String, is: String },
    /// It has another value.
    Value { at: usize, was: String, is: String },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ending { was, is } => write!(f, "{is} instead of {was}"),
            Self::Count { was, is } => write!(f, "{is} outputs instead of {was}"),
            Self::Topic { at, was, is } => {
                write!(f, "output {at} goes to {is} instead of {was}")
            }
            Self::Key { at, was, is } => {
                write!(f, "output {at} has the key {is} instead of {was}")
            }
            Self::Value { at, was, is } => {
                write!(f, "output {at} has the value {is} instead of {was}")
            }
        }
    }
}

/// Returns the first thing in which what a new revision made of a record differs from what the one that serves made of it.
pub fn difference(was: &Made, is: &Made) -> Option<Difference> {
    let (was, is) = match (was, is) {
        (Made::Outputs(was), Made::Outputs(is)) => (was, is),
        (Made::Failed(_), Made::Failed(_)) | (Made::Filtered, Made::Filtered) => return None,
        (was, is) => {
            let (was, is) = (ending(was), ending(is));
            return Some(Difference::Ending { was, is });
        }
    };
    if was.len() != is.len() {
        let (was, is) = (was.len(), is.len());
        return Some(Difference::Count { was, is });
    }
    let differing = |(at, (was, is)): (usize, (&Output, &Output))| {
        let at = at + 1;
        if was.topic != is.topic {
            let (was, is) = (was.topic.to_string(), is.topic.to_string());
            return Some(Difference::Topic { at, was, is });
        }
        if was.key != is.key {
            let (was, is) = (told(was.key), told(is.key));
            return Some(Difference::Key { at, was, is });
        }
        (was.value != is.value).then(|| Difference::Value {
            at,
            was: told(was.value),
            is: told(is.value),
        })
    };
    was.iter().zip(is).enumerate().find_map(differing)
}

fn ending(made: &Made) -> String {
    match made {
        Made::Outputs(outputs) => format!("handled with {} outputs", outputs.len()),
        Made::Filtered => "filtered".to_owned(),
        Made::Failed(kind) => format!("failed ({kind})"),
    }
}

fn told(digest: Digest) -> String {
    digest.map_or_else(|| "null".to_owned(), |digest| hex(&digest))
}

/// A difference, and over which record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differing {
    /// The record's topic, partition and offset.
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// The first difference.
    pub what: Difference,
}

/// What was seen of a shadow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Records of which both made the same.
    pub equal: u64,
    /// Records of which they did not.
    pub differing: u64,
    /// Records that the shadow did not see, since it had enough to do.
    pub skipped: u64,
    /// The first differences.
    pub first: Vec<Differing>,
}

impl Comparison {
    /// Takes note of what both made of a record, which lies here.
    pub fn compare(&mut self, (topic, partition, offset): (&str, i32, i64), was: &Made, is: &Made) {
        let Some(what) = difference(was, is) else {
            self.equal += 1;
            return;
        };
        self.differing += 1;
        if self.first.len() < KEPT_MAX {
            self.first.push(Differing {
                topic: topic.to_owned(),
                partition,
                offset,
                what,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Parts = (String, Option<Vec<u8>>, Option<Vec<u8>>);

    fn output((topic, key, value): &Parts) -> Output {
        Output::of(&Emit {
            topic,
            key: key.as_deref(),
            value: value.as_deref(),
            headers: Vec::new(),
            partition: None,
            timestamp_ms: None,
        })
    }

    fn outputs(all: &[Parts]) -> Made {
        Made::Outputs(all.iter().map(output).collect())
    }

    fn parts(topic: &str, key: &str, value: &str) -> Parts {
        let bytes = |text: &str| Some(text.as_bytes().to_vec());
        (topic.to_owned(), bytes(key), bytes(value))
    }

    #[test]
    fn the_first_difference_is_told_without_what_is_in_it() {
        let was = outputs(&[parts("a", "k", "v"), parts("b", "k", "v")]);
        let tell = |is: &Made| difference(&was, is).map(|it| it.to_string());
        let two = |second: Parts| outputs(&[parts("a", "k", "v"), second]);
        assert_eq!(tell(&two(parts("b", "k", "v"))), None);
        let told = [
            tell(&two(parts("c", "k", "w"))),
            tell(&two(("b".to_owned(), None, None))),
            tell(&two(parts("b", "k", "secret"))),
            tell(&outputs(&[])),
            tell(&Made::Failed("trap")),
            tell(&Made::Filtered),
        ];
        assert_eq!(
            told.map(Option::unwrap),
            [
                "output 2 goes to c instead of b",
                "output 2 has the key null instead of 8254c329a928",
                "output 2 has the value 2bb80d537b1d instead of 4c94485e0c21",
                "0 outputs instead of 2",
                "failed (trap) instead of handled with 2 outputs",
                "filtered instead of handled with 2 outputs",
            ]
        );
        assert_eq!(
            difference(&Made::Failed("trap"), &Made::Failed("other")),
            None
        );
        assert_eq!(difference(&Made::Filtered, &Made::Filtered), None);
    }

    #[test]
    fn all_are_counted_and_the_first_ones_kept() {
        let mut it = Comparison::default();
        for offset in 0..20 {
            it.compare(("a", 1, offset), &Made::Filtered, &Made::Failed("trap"));
            it.compare(("a", 1, offset), &Made::Filtered, &Made::Filtered);
        }
        assert_eq!((it.equal, it.differing), (20, 20));
        let offsets: Vec<i64> = it.first.iter().map(|it| it.offset).collect();
        assert_eq!(offsets, (0..10).collect::<Vec<_>>());
    }

    fn some_outputs() -> impl Strategy<Value = Vec<Parts>> {
        let bytes = || proptest::option::of(proptest::collection::vec(0u8..2, 0..2));
        proptest::collection::vec(("[ab]", bytes(), bytes()), 0..3)
    }

    proptest! {
        /// They are equal exactly where the outputs themselves are.
        #[test]
        fn equal_is_what_has_the_same_parts(was in some_outputs(), is in some_outputs()) {
            let found = difference(&outputs(&was), &outputs(&is));
            prop_assert_eq!(found.is_none(), was == is);
        }
    }
}
