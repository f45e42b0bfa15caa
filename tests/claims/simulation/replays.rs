//! The command that replays a parked key: it has the key held, writes its letters to the partition of replays, waits for
//! the group, and has the key unparked.
//!
//! It sees nothing but Kafka, and may die at any moment. Which letters it writes is the product's decision.
//! **Invariant:** everything that it asks of hosts it asks by markers.

use kafka_wasm_host::key_letters::{Latest, Replayed};
use kafka_wasm_host::marker::{MarkerKey, Request, Says, Slot, State, Want};

use super::broker::{Letter, Place, Sent};
use super::scenario::{self, Entry, Scenario};
use super::scene::{Bug, Reader, Scene};
use super::truth::Held;

/// The topic of the records, and that of replays.
const TOPICS: [&str; 2] = ["orders", "replay"];

/// The topic of a partition, and its number there.
pub(super) fn name(scenario: &Scenario, partition: usize) -> (String, i32) {
    if scenario.is_replay(partition) {
        (TOPICS[1].to_owned(), 0)
    } else {
        (TOPICS[0].to_owned(), partition as i32)
    }
}

/// The key of a record as markers name it.
pub(super) fn slot(scene: &Scene, (partition, index): Place) -> Option<Slot> {
    let entry = &scene.broker.partitions[partition].records[index];
    let from = entry.replayed.map(|replayed| replayed.from.0);
    Some(Slot {
        of: from.map(|from| name(&scene.scenario, from)),
        key: entry.key?.to_be_bytes().to_vec(),
    })
}

/// The partition of the records of a key, and the number that is the key.
pub(super) fn key_of(partition: usize, slot: &Slot) -> (usize, usize) {
    let from = slot.of.as_ref().map(|of| of.1 as usize);
    let key = slot
        .key
        .iter()
        .fold(0, |key, byte| key << 8 | usize::from(*byte));
    (from.unwrap_or(partition), key)
}

/// What the command waits for.
#[derive(Debug, Clone, Copy)]
enum Stage {
    /// The owner of the partition, to hold the key.
    Hold,
    /// The group, to settle what was replayed of the key before.
    Before(i64),
    /// The group, to settle what this command replays.
    Replays(i64),
    /// The owner, to take note of the end.
    End,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) partition: usize,
    slot: Slot,
    pub(super) session: u32,
    stage: Stage,
    reader: Reader,
    /// The last parked record when the key was held.
    last: i64,
    /// When it asked last.
    asked_ms: u64,
    gives_up_ms: u64,
}

/// Lists the keys that are parked.
pub(super) fn parked(scene: &Scene) -> Vec<(usize, Slot)> {
    let mut reader = Reader::default();
    reader.read(&scene.broker.markers, usize::MAX);
    let states = reader.markers.states().into_iter();
    states
        .filter(|(place, _, _)| place.0 == TOPICS[0])
        .map(|(place, slot, _)| (place.1 as usize, slot.clone()))
        .collect()
}

impl Command {
    /// Asks for a key to be held.
    pub(super) fn begin(scene: &mut Scene, session: u32, (partition, slot): (usize, Slot)) -> Self {
        let patience_ms = scene.dice.between(500, 5000) as u64;
        let mut command = Self {
            partition,
            slot,
            session,
            stage: Stage::Hold,
            reader: Reader::default(),
            last: -1,
            asked_ms: scene.now_ms,
            gives_up_ms: scene.now_ms + patience_ms,
        };
        scene.note("a replay begins");
        command.ask(scene, Want::Hold);
        command
    }

    /// Does what is next; returns whether the command is over.
    pub(super) fn advance(&mut self, scene: &mut Scene) -> Held<bool> {
        self.reader.read(&scene.broker.markers, usize::MAX);
        let state = self.state(scene);
        let session = self.session.to_string();
        let held = state
            .as_ref()
            .filter(|state| state.session.as_ref() == Some(&session))
            .map(|state| state.last);
        let is_held = match (self.stage, held) {
            (Stage::Hold, Some(last)) => {
                self.last = last;
                true
            }
            // If the hold had ended and begun again, more records may have followed.
            (_, held) => held == Some(self.last),
        };
        let is_late = scene.now_ms > self.gives_up_ms;
        if !matches!(self.stage, Stage::End) && scene.now_ms >= self.asked_ms + self.every_ms(scene)
        {
            self.ask(scene, Want::Hold);
        }
        match self.stage {
            Stage::Hold if is_held => self.stage = Stage::Before(self.replayed_until(scene)),
            Stage::Hold if is_late => return Ok(self.is_in_vain(scene)),
            Stage::Before(_) | Stage::Replays(_) if !is_held => return Ok(self.is_in_vain(scene)),
            Stage::Before(last) if self.is_settled(scene, last) => {
                self.stage = Stage::Replays(self.write(scene));
            }
            Stage::Replays(last)
                if self.is_settled(scene, last) || scene.bug == Some(Bug::UnparksTooSoon) =>
            {
                self.judge(scene);
            }
            Stage::End if !is_held => {
                if state.is_none() {
                    self.mark(scene, self.request(), None);
                }
                return Ok(true);
            }
            Stage::End if is_late => return Ok(self.is_in_vain(scene)),
            _ => {}
        }
        Ok(false)
    }

    fn is_in_vain(&self, scene: &mut Scene) -> bool {
        scene.note("a replay ends in vain");
        scene.say(|| format!("replay {} ends in vain", self.session));
        true
    }

    fn every_ms(&self, scene: &Scene) -> u64 {
        scene.scenario.lease_ms / 4
    }

    fn state(&self, scene: &Scene) -> Option<State> {
        let (topic, partition) = name(&scene.scenario, self.partition);
        let mut markers = self.reader.markers.of(&topic, partition);
        markers.states.remove(&self.slot)
    }

    fn mark(&self, scene: &mut Scene, says: Says, value: Option<Vec<u8>>) {
        let place = name(&scene.scenario, self.partition);
        let slot = self.slot.clone();
        let key = MarkerKey { place, slot, says }.encode();
        scene.broker.keep(&Sent::Marker((key, value)));
    }

    fn request(&self) -> Says {
        Says::Request(self.session.to_string())
    }

    fn ask(&mut self, scene: &mut Scene, want: Want) {
        self.asked_ms = scene.now_ms;
        let request = Request {
            session: self.session.to_string(),
            want,
            lease_ms: scene.scenario.lease_ms,
            last: (want == Want::Unpark).then_some(self.last),
        };
        scene.say(|| format!("replay {} asks: {want:?} {:?}", self.session, self.slot));
        self.mark(scene, self.request(), Some(request.encode()));
    }

    /// Whether the group has committed that it settled everything up to this offset of the partition of replays.
    fn is_settled(&self, scene: &Scene, last: i64) -> bool {
        replays(scene).is_some_and(|at| scene.broker.partitions[at].committed.offset > last)
    }

    /// The records of the partition of replays that are of the key.
    fn of_key<'a>(&self, scene: &'a Scene) -> impl Iterator<Item = &'a Entry> {
        let (partition, key) = key_of(self.partition, &self.slot);
        let at = replays(scene).into_iter();
        let all = at.flat_map(|at| &scene.broker.partitions[at].records);
        all.filter(move |entry| {
            let from = entry.replayed.map(|replayed| replayed.from.0);
            (from, entry.key) == (Some(partition), Some(key as u64))
        })
    }

    fn replayed_until(&self, scene: &Scene) -> i64 {
        self.of_key(scene).last().map_or(-1, |entry| entry.offset)
    }

    /// The letters that are to be replayed, each with its number.
    fn letters(&self, scene: &Scene) -> Vec<(usize, Letter)> {
        let offset = |(partition, index): Place| {
            let records: &Vec<Entry> = &scene.broker.partitions[partition].records;
            records[index].offset
        };
        let mut before = Replayed::default();
        for replayed in self.of_key(scene).filter_map(|entry| entry.replayed) {
            before.note(replayed.letter, offset(replayed.from), replayed.time_ms);
        }
        if scene.bug == Some(Bug::ReplaysTwice) {
            before = Replayed::default();
        }
        let (partition, key) = key_of(self.partition, &self.slot);
        let mut latest = Latest::default();
        for (number, letter) in scene.broker.letters.iter().enumerate() {
            let entry = &scene.broker.partitions[letter.from.0].records[letter.from.1];
            let is_its = (letter.from.0, entry.key) == (partition, Some(key as u64));
            if is_its && !before.has(number, entry.offset, letter.time_ms) {
                latest.add(number, entry.offset, letter.time_ms, (number, *letter));
            }
        }
        latest.into_letters().collect()
    }

    /// Writes the letters in one transaction; returns the last offset.
    fn write(&self, scene: &mut Scene) -> i64 {
        let mut letters = self.letters(scene);
        if scene.bug == Some(Bug::ReplaysOutOfOrder) {
            letters.reverse();
        }
        scene.say(|| format!("replay {} writes {letters:?}", self.session));
        let Some(at) = replays(scene) else { return -1 };
        for (number, letter) in letters {
            let entry = scene.broker.partitions[letter.from.0].records[letter.from.1];
            let log = &mut scene.broker.partitions[at];
            let entry = Entry {
                offset: log.records.last().map_or(0, |last| last.offset + 1),
                replayed: Some(scenario::Replayed {
                    from: letter.from,
                    letter: number,
                    time_ms: letter.time_ms,
                    attempts: letter.attempts,
                    session: self.session,
                }),
                ..entry
            };
            log.records.push(entry);
            log.visible = log.records.len();
            scene.note("a letter is replayed");
            let number = scene.scenario.number(&entry);
            scene.truth.replayed(&entry, number);
        }
        self.replayed_until(scene)
    }

    /// Has the key unparked, unless a letter failed again.
    fn judge(&mut self, scene: &mut Scene) {
        self.reader.read(&scene.broker.markers, usize::MAX);
        let place = name(&scene.scenario, self.partition);
        let session = Some(self.session.to_string());
        let states = self.reader.markers.states().into_iter();
        let failed = states
            .filter(|(at, slot, state)| {
                at.0 == TOPICS[1]
                    && slot.of.as_ref() == Some(&place)
                    && slot.key == self.slot.key
                    && state.session == session
            })
            .map(|(at, slot, _)| (at.clone(), slot.clone()))
            .next();
        self.stage = Stage::End;
        match failed {
            Some((place, slot)) if scene.bug != Some(Bug::UnparksAfterAFailure) => {
                scene.note("a replay fails again");
                let says = Says::State;
                let key = MarkerKey { place, slot, says }.encode();
                scene.broker.keep(&Sent::Marker((key, None)));
                self.mark(scene, self.request(), None);
            }
            _ => self.ask(scene, Want::Unpark),
        }
    }
}

fn replays(scene: &Scene) -> Option<usize> {
    scene.scenario.replays
}
