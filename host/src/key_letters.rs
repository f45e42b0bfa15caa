//! Which dead letters of a parked key are to be replayed.
//!
//! Handed what the topic of replays and the topic of dead letters hold of the key; `P` is a place in the latter. Times are
//! when a letter was written, in milliseconds since the Unix epoch.
//! **Invariant:** of each record at most one letter is replayed, its last one, and none that was replayed before or is
//! older than one that was.

use std::collections::{BTreeMap, HashMap};

/// Where a letter lies.
pub trait LetterPlace: Copy + Ord {
    /// Returns whether it lies behind `other` in the same partition, and so was written later, whatever the times say.
    fn is_behind(self, other: Self) -> bool;
}

/// The letters of one partition, counted.
impl LetterPlace for usize {
    fn is_behind(self, other: Self) -> bool {
        self > other
    }
}

/// What was replayed of a key: letters with the times they were written at, by the offset of their record.
#[derive(Debug)]
pub struct Replayed<P>(HashMap<i64, Vec<(P, i64)>>);

impl<P> Default for Replayed<P> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<P: LetterPlace> Replayed<P> {
    /// Takes note of a replay of the letter at `place`; `offset` is that of its record.
    pub fn note(&mut self, place: P, offset: i64, time_ms: i64) {
        self.0.entry(offset).or_default().push((place, time_ms));
    }

    /// Returns whether any letter of the record at `offset` was replayed.
    pub fn has_record(&self, offset: i64) -> bool {
        self.0.contains_key(&offset)
    }

    /// Returns whether a letter, or one that was written later of the same record, was replayed.
    ///
    /// Times are those of the hosts that wrote, whose clocks may differ or be set: one that lies behind is later.
    pub fn has(&self, place: P, offset: i64, time_ms: i64) -> bool {
        let of_record = self.0.get(&offset).into_iter().flatten();
        let mut of_record = of_record.copied();
        of_record.any(|(other, newest_ms)| time_ms <= newest_ms && !place.is_behind(other))
    }
}

/// The last letter of each record of a key.
#[derive(Debug)]
pub struct Latest<P, T>(BTreeMap<i64, ((i64, P), T)>);

impl<P, T> Default for Latest<P, T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<P: Ord, T> Latest<P, T> {
    /// Takes up the letter at `place`; after a crash a record may have been given up twice.
    pub fn add(&mut self, place: P, offset: i64, time_ms: i64, letter: T) {
        let age = (time_ms, place);
        let is_latest = self.0.get(&offset).is_none_or(|(other, _)| *other < age);
        if is_latest {
            self.0.insert(offset, (age, letter));
        }
    }

    /// Returns the letters in the order of their records.
    pub fn into_letters(self) -> impl Iterator<Item = T> {
        self.0.into_values().map(|(_, letter)| letter)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_record_is_replayed_by_its_last_letter_unless_that_was_replayed(
            letters in proptest::collection::vec((0i64..6, 0i64..9), 0..20), done in 0usize..20,
        ) {
            // A letter's place tells its age where times are equal.
            let all: Vec<(usize, i64, i64)> = letters.iter().enumerate().map(|(place, it)| (place, it.0, it.1)).collect();
            let mut replayed = Replayed::default();
            for (place, offset, time_ms) in all.iter().take(done) {
                replayed.note(*place, *offset, *time_ms);
            }
            let mut latest = Latest::default();
            for (place, offset, time_ms) in &all {
                if !replayed.has(*place, *offset, *time_ms) {
                    latest.add(*place, *offset, *time_ms, *place);
                }
            }
            let got: Vec<usize> = latest.into_letters().collect();
            let offsets: BTreeSet<i64> = all.iter().map(|it| it.1).collect();
            let expected: Vec<usize> = offsets.into_iter().filter_map(|offset| {
                let of = all.iter().filter(|it| it.1 == offset);
                let replayed = || of.clone().filter(|it| it.0 < done);
                let left = of.clone().filter(|it| !replayed().any(|other| it.0 <= other.0 && it.2 <= other.2));
                left.max_by_key(|it| (it.2, it.0)).map(|it| it.0)
            }).collect();
            prop_assert_eq!(got, expected);
        }
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    struct At(i32, i64);

    impl LetterPlace for At {
        fn is_behind(self, other: Self) -> bool {
            self.0 == other.0 && self.1 > other.1
        }
    }

    #[test]
    fn a_record_that_failed_again_is_not_replayed_already_though_the_clock_was_set_back() {
        let mut replayed = Replayed::default();
        replayed.note(At(0, 20), 7, 1_000);
        assert!(replayed.has(At(0, 20), 7, 1_000) && replayed.has_record(7));
        assert!(replayed.has(At(0, 10), 7, 900), "older");
        assert!(!replayed.has(At(0, 30), 7, 900), "behind it");
        assert!(
            replayed.has(At(1, 30), 7, 900),
            "of another partition, where the times decide"
        );
        assert!(!replayed.has(At(0, 20), 8, 1_000) && !replayed.has_record(8));
    }
}
