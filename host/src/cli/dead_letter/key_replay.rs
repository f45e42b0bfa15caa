//! `dead-letter replay` of a parked key: all of its letters in the order of their records, while later records wait.
//!
//! It is handed a parked key. The host that reads the key's partition holds later records back and says so; the letters
//! are written to the topic of replays; when the group has handled them, the host is asked to unpark the key.
//! **Invariant:** the key is unparked only when every letter of it was settled without failing again; whatever else ends
//! a replay leaves the key parked.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::Instant;

use super::filter::Place;
use super::parked::{ParkedKey, ParkedTopic};
use super::print;
use super::replay_topic::make_topic;
use super::request::Requests;
use super::topics::Session;
use super::writer::Writer;
use super::{ReachArgs, letters};
use crate::cli::connect::{Troubles, explain_config};
use crate::ids::{GroupId, HandlerId, TopicName};
use crate::key_letters::{Latest, Replayed};
use crate::letter::{Letter, replay_of};
use crate::marker::{Slot, State};
use crate::moment::now_ms;
use crate::record::{RecordView, lend_headers, own_headers};

/// How long one question for the group's positions may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where a replay of keys reads and writes.
pub(super) struct KeyReplay<'a> {
    pub(super) session: &'a Session<'a>,
    pub(super) reach: &'a ReachArgs,
    pub(super) handler: &'a HandlerId,
    pub(super) group: &'a GroupId,
    pub(super) letter_topic: &'a TopicName,
    pub(super) replay_topic: &'a TopicName,
    pub(super) parked: &'a mut ParkedTopic,
    /// Whether a key is replayed also without the letter of its first failure.
    pub(super) despite_gap: bool,
}

/// How the replay of a key ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The key is unparked.
    Unparked,
    /// A letter failed again; the key is parked as before.
    FailedAgain,
}

/// A letter that is kept until all of its key are known.
struct Kept {
    topic: String,
    place: Place,
    letter: Letter,
    timestamp_ms: Option<i64>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Kept {
    fn of(record: &RecordView<'_>, place: Place, letter: Letter) -> Self {
        Self {
            topic: record.topic.to_owned(),
            place,
            letter,
            timestamp_ms: record.timestamp_ms,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: own_headers(&record.headers),
        }
    }

    fn view(&self) -> RecordView<'_> {
        RecordView {
            topic: &self.topic,
            partition: self.place.partition,
            offset: self.place.offset,
            timestamp_ms: self.timestamp_ms,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: lend_headers(&self.headers),
        }
    }
}

/// What was replayed of a key.
#[derive(Default)]
struct Before {
    replayed: Replayed<Place>,
    /// The last offset in each partition of the topic of replays.
    last: BTreeMap<i32, i64>,
}

impl KeyReplay<'_> {
    /// Prints the letters that would be replayed. Returns how many these are.
    pub(super) fn print(&self, key: &ParkedKey, out: &mut dyn Write) -> anyhow::Result<u64> {
        let before = self.before(key)?;
        let kept = self.letters(key, &before)?;
        self.session.console.clear();
        for one in &kept {
            print::line(out, one.place, &one.letter, Some(false))?;
        }
        Ok(kept.len() as u64)
    }

    /// Replays a key and unparks it.
    pub(super) fn run(&mut self, key: &ParkedKey, writer: &mut Writer) -> anyhow::Result<Ended> {
        let name = key.name();
        let id = format!("{}-{}", now_ms(), std::process::id());
        let mut requests = Requests::hold(self.reach, &self.parked.name, key, &id)?;
        let Some(held) = self.wait_for_hold(key, &id)? else {
            return self.unparked_by_another(key, &mut requests);
        };
        // What was replayed of the key before may have failed again, and then it is among the letters.
        let before = self.before(key)?;
        if !self.wait_for_group(key, &held, &before.last)? {
            return self.unparked_by_another(key, &mut requests);
        }
        let kept = self.letters(key, &before)?;
        self.session.console.clear();
        if let Some(first) = self.gap(key, &before, &kept) {
            requests.withdraw()?;
            bail!(
                "{name} failed first at offset {first}, and that dead letter is no longer in {}: it was purged, or the topic's \
                 retention is over. The key stays parked; --despite-gap replays what is left and unparks it",
                self.letter_topic
            );
        }
        self.write(&kept, writer, &id)?;
        if !self.wait_for_group(key, &held, &writer.last())? {
            return self.unparked_by_another(key, &mut requests);
        }
        self.parked.read_to_end()?;
        let console = self.session.console;
        if let Some((place, slot, state)) = self.failed_again(key, &id) {
            requests.forget(place, slot)?;
            requests.withdraw()?;
            self.wait_for_end(key, &held, |state| state.is_some())?;
            console.say(&format!(
                "{name} failed again at offset {} ({}): it stays parked, and what came after it is in the dead letters again",
                state.first, state.error_kind
            ));
            return Ok(Ended::FailedAgain);
        }
        requests.unpark(held.last)?;
        self.wait_for_end(key, &held, |state| state.is_none())?;
        requests.withdraw()?;
        console.say(&format!(
            "replayed {} of {name} and unparked it",
            letters(kept.len() as u64)
        ));
        Ok(Ended::Unparked)
    }

    /// Another replay took over from this one and unparked the key, when all that this one had written was settled.
    fn unparked_by_another(
        &self,
        key: &ParkedKey,
        requests: &mut Requests,
    ) -> anyhow::Result<Ended> {
        requests.withdraw()?;
        self.session.console.say(&format!(
            "{} is not parked any more: another replay has unparked it",
            key.name()
        ));
        Ok(Ended::Unparked)
    }

    fn state(&self, key: &ParkedKey) -> Option<State> {
        let (topic, partition) = &key.place;
        let mut markers = self.parked.markers.of(topic, *partition);
        markers.states.remove(&key.slot())
    }

    /// Returns whether the key is held as it was in `held`. If the hold had ended and begun again, more records may have
    /// followed to the dead letters.
    fn is_held(&self, key: &ParkedKey, held: &State) -> bool {
        self.state(key)
            .is_some_and(|state| (&state.session, state.last) == (&held.session, held.last))
    }

    /// Waits until the host says that all parked records lie in the dead letters and later ones wait; returns what it says,
    /// or none where the key was unparked meanwhile.
    fn wait_for_hold(&mut self, key: &ParkedKey, id: &str) -> anyhow::Result<Option<State>> {
        let deadline = Instant::now() + self.reach.timeout;
        loop {
            match self.state(key) {
                Some(state) if state.session.as_deref() != Some(id) => {}
                answered => return Ok(answered),
            }
            if Instant::now() > deadline {
                bail!(
                    "no host of group {} has answered within {:?} (--timeout); {} stays parked: does one serve {} now, is the \
                     partition not halted, and is no record before the parked ones tried again for that long?",
                    self.group,
                    self.reach.timeout,
                    key.name(),
                    self.handler
                );
            }
            self.parked.read_some();
        }
    }

    /// Waits until the host has written how the replay ends.
    fn wait_for_end(
        &mut self,
        key: &ParkedKey,
        held: &State,
        is_end: impl Fn(Option<&State>) -> bool,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + self.reach.timeout;
        loop {
            if !self.is_held(key, held) {
                if is_end(self.state(key).as_ref()) {
                    return Ok(());
                }
                bail!("{}", lost(key));
            }
            if Instant::now() > deadline {
                bail!(
                    "no host of group {} has taken note of the end of the replay",
                    self.group
                );
            }
            self.parked.read_some();
        }
    }

    /// Waits until the group has settled everything up to these offsets of the topic of replays; returns whether the key is
    /// still parked.
    fn wait_for_group(
        &mut self,
        key: &ParkedKey,
        held: &State,
        last: &BTreeMap<i32, i64>,
    ) -> anyhow::Result<bool> {
        if last.is_empty() {
            return Ok(true);
        }
        let config = self.reach.connect.config(
            &[],
            &[
                ("group.id", self.group.as_str()),
                ("enable.auto.commit", "false"),
            ],
        )?;
        let consumer: BaseConsumer<Troubles> = config
            .create_with_context(Troubles::default())
            .map_err(explain_config)?;
        let mut told_at = Instant::now() + self.reach.timeout;
        loop {
            let left = self.unsettled(&consumer, last)?;
            if left == 0 {
                return Ok(true);
            }
            self.parked.read_some();
            if !self.is_held(key, held) {
                if self.state(key).is_none() {
                    return Ok(false);
                }
                bail!("{}", lost(key));
            }
            if Instant::now() > told_at {
                told_at = Instant::now() + self.reach.timeout;
                self.session.console.say(&format!(
                    "still waiting until group {} has settled what was replayed of {}; later records of the key wait, too",
                    self.group,
                    key.name()
                ));
            }
        }
    }

    /// Returns in how many partitions the group has not come so far.
    fn unsettled(
        &self,
        consumer: &BaseConsumer<Troubles>,
        last: &BTreeMap<i32, i64>,
    ) -> anyhow::Result<usize> {
        let topic = self.replay_topic.as_str();
        let mut question = TopicPartitionList::with_capacity(last.len());
        for partition in last.keys() {
            question.add_partition(topic, *partition);
        }
        let failed = || format!("cannot ask for the positions of group {}", self.group);
        let committed = consumer
            .committed_offsets(question, TIMEOUT)
            .with_context(failed)?;
        let mut unsettled = 0;
        for element in committed.elements() {
            element.error().with_context(failed)?;
            let last = last.get(&element.partition()).copied().unwrap_or(-1);
            let is_settled = matches!(element.offset(), Offset::Offset(offset) if offset > last);
            unsettled += usize::from(!is_settled);
        }
        Ok(unsettled)
    }

    /// Reads what was replayed of a key.
    fn before(&self, key: &ParkedKey) -> anyhow::Result<Before> {
        let mut before = Before::default();
        let Some(topic) = self.session.find(self.replay_topic)? else {
            return Ok(before);
        };
        topic.read(|record| {
            if record.key == Some(key.key.as_slice()) {
                before.last.insert(record.partition, record.offset);
                let of = replay_of(&record.headers)
                    .filter(|of| *of.topic == *self.letter_topic.as_str());
                if let Some((of, letter)) = of.zip(Letter::parse(&record.headers).ok())
                    && is_of_place(key, &letter)
                {
                    let (partition, offset) = (of.partition, of.offset);
                    let place = Place { partition, offset };
                    before.replayed.note(place, letter.offset, letter.time_ms);
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(before)
    }

    /// Reads the letters of a key that were not replayed, one for each record, in the order of the records.
    fn letters(&self, key: &ParkedKey, before: &Before) -> anyhow::Result<Vec<Kept>> {
        let mut latest = Latest::default();
        let topic = self.session.letters(self.letter_topic)?;
        topic.read(|record| {
            if record.key != Some(key.key.as_slice()) {
                return Ok(ControlFlow::Continue(()));
            }
            let place = Place {
                partition: record.partition,
                offset: record.offset,
            };
            let letter = Letter::parse(&record.headers).ok();
            let letter = letter.filter(|letter| {
                letter.handler == *self.handler
                    && is_of_place(key, letter)
                    && !before.replayed.has(place, letter.offset, letter.time_ms)
            });
            if let Some(letter) = letter {
                let (offset, time_ms) = (letter.offset, letter.time_ms);
                latest.add(place, offset, time_ms, Kept::of(record, place, letter));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(latest.into_letters().collect())
    }

    /// Returns the offset of the key's first failure where its letter is gone and was never replayed.
    fn gap(&self, key: &ParkedKey, before: &Before, kept: &[Kept]) -> Option<i64> {
        let first = self.state(key).filter(|_| !self.despite_gap)?.first;
        let is_there =
            before.replayed.has_record(first) || kept.iter().any(|one| one.letter.offset == first);
        (!is_there).then_some(first)
    }

    fn write(&self, kept: &[Kept], writer: &mut Writer, id: &str) -> anyhow::Result<()> {
        if kept.is_empty() {
            return Ok(());
        }
        let topic = self.session.letters(self.letter_topic)?;
        make_topic(self.session, self.replay_topic, topic.bounds.len())?;
        writer.session = Some(id.to_owned());
        for one in kept {
            writer.write(&one.view())?;
        }
        writer.commit()
    }

    /// Returns where a replay of this session failed, and the state that it left there.
    fn failed_again(&self, key: &ParkedKey, id: &str) -> Option<((String, i32), Slot, State)> {
        let states = self.parked.markers.states().into_iter();
        states
            .filter(|(place, slot, state)| {
                place.0 == self.replay_topic.as_str()
                    && slot.of.as_ref() == Some(&key.place)
                    && slot.key == key.key
                    && state.session.as_deref() == Some(id)
            })
            .map(|(place, slot, state)| (place.clone(), slot.clone(), state.clone()))
            .next()
    }
}

fn is_of_place(key: &ParkedKey, letter: &Letter) -> bool {
    (letter.topic.as_str(), letter.partition) == (key.place.0.as_str(), key.place.1)
}

/// The host no longer holds the key for this replay.
fn lost(key: &ParkedKey) -> String {
    format!(
        "{} is no longer held for this replay, since it was not asked for in time or another replay has begun; it stays \
         parked, and replaying again goes on with what is left",
        key.name()
    )
}
