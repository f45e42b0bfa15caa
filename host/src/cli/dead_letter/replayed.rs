//! Which letters of a topic were replayed already, as the topic of replays tells.
//!
//! It is handed a topic that it reads to its end, and keeps 24 bytes for each replay that it still holds.
//! **Invariant:** a letter counts as replayed only where place and time of death agree, so that a topic which was made
//! anew, and counts its offsets from 0 again, is not mistaken for the old one.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use super::filter::Place;
use super::topics::Session;
use crate::ids::TopicName;
use crate::letter::{Letter, replay_of};

/// The letters of one dead-letter topic that were replayed.
#[derive(Debug, Default)]
pub(super) struct Replayed(HashSet<(Place, i64)>);

impl Replayed {
    /// Reads the topic of replays, where there is one.
    pub(super) fn read(
        session: &Session<'_>,
        replays: &TopicName,
        letters: &TopicName,
    ) -> anyhow::Result<Self> {
        let mut replayed = HashSet::new();
        if let Some(topic) = session.find(replays)? {
            topic.read(|record| {
                let of = replay_of(&record.headers).filter(|of| *of.topic == *letters.as_str());
                if let Some((of, letter)) = of.zip(Letter::parse(&record.headers).ok()) {
                    let place = Place {
                        partition: of.partition,
                        offset: of.offset,
                    };
                    replayed.insert((place, letter.time_ms));
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(Self(replayed))
    }

    /// Returns whether a letter was replayed.
    pub(super) fn contains(&self, place: Place, letter: &Letter) -> bool {
        self.0.contains(&(place, letter.time_ms))
    }
}

/// The letters of one key that were replayed, each with the time it was written, by the offset of its record.
#[derive(Debug, Default)]
pub(super) struct ReplayedOfKey(HashMap<i64, Vec<(Place, i64)>>);

impl ReplayedOfKey {
    /// Takes note of a letter that was replayed.
    pub(super) fn add(&mut self, place: Place, letter: &Letter) {
        let of_record = self.0.entry(letter.offset).or_default();
        of_record.push((place, letter.time_ms));
    }

    /// Returns whether any letter of the record at this offset was replayed.
    pub(super) fn has_record(&self, offset: i64) -> bool {
        self.0.contains_key(&offset)
    }

    /// Returns whether a letter was replayed, or one of the same record that was written later.
    ///
    /// Times are those of the hosts that wrote, whose clocks may differ or be set: a letter behind another one in its
    /// partition is later, whatever they say.
    pub(super) fn covers(&self, place: Place, letter: &Letter) -> bool {
        let of_record = self.0.get(&letter.offset);
        of_record.into_iter().flatten().any(|(other, time_ms)| {
            let is_behind = place.partition == other.partition && place.offset > other.offset;
            letter.time_ms <= *time_ms && !is_behind
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::FailureKind;

    const NOON_MS: i64 = 1_517_400_000_000;
    const HOUR_MS: i64 = 3_600_000;

    fn letter(of_offset: i64, time_ms: i64) -> Letter {
        Letter {
            topic: "orders".to_owned(),
            partition: 3,
            offset: of_offset,
            timestamp_ms: None,
            handler: "acme/orders".parse().unwrap(),
            revision: String::new(),
            attempts: 5,
            kind: FailureKind::Trap,
            error: String::new(),
            time_ms,
        }
    }

    fn at(partition: i32, offset: i64) -> Place {
        Place { partition, offset }
    }

    #[test]
    fn a_replay_covers_its_letter_and_older_ones_of_the_record() {
        let mut replayed = ReplayedOfKey::default();
        replayed.add(at(0, 20), &letter(7, NOON_MS));
        assert!(replayed.covers(at(0, 20), &letter(7, NOON_MS)));
        assert!(replayed.covers(at(0, 10), &letter(7, NOON_MS - HOUR_MS)));
        assert!(replayed.covers(at(1, 90), &letter(7, NOON_MS - HOUR_MS)));
        assert!(!replayed.covers(at(0, 10), &letter(8, NOON_MS - HOUR_MS)));
        // The topic was made anew, and counts from 0 again.
        assert!(!replayed.covers(at(0, 3), &letter(7, NOON_MS + HOUR_MS)));
    }

    #[test]
    fn a_record_that_failed_again_is_not_covered_though_the_clock_was_set_back() {
        let mut replayed = ReplayedOfKey::default();
        replayed.add(at(0, 20), &letter(7, NOON_MS + 2 * HOUR_MS));
        assert!(!replayed.covers(at(0, 21), &letter(7, NOON_MS)));
        replayed.add(at(0, 21), &letter(7, NOON_MS));
        assert!(replayed.covers(at(0, 21), &letter(7, NOON_MS)));
        assert!(replayed.covers(at(0, 20), &letter(7, NOON_MS + 2 * HOUR_MS)));
    }
}
