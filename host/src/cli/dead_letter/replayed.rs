//! Which letters of a topic were replayed already, as the topic of replays tells.
//!
//! It is handed a topic that it reads to its end, and keeps 24 bytes for each replay that it still holds.
//! **Invariant:** a letter counts as replayed only where place and time of death agree, so that a topic which was made
//! anew, and counts its offsets from 0 again, is not mistaken for the old one.

use std::collections::HashSet;
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
