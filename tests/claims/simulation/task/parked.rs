//! What a task does about parked keys: it reads which there are before the first record is taken up, lets their records
//! follow them to the dead letters, and answers who replays one.
//!
//! Which keys are parked, and what becomes of their records, is the product's decision.
//! **Invariant:** a marker of the key is sent before each dead letter.

use kafka_wasm_host::marker::{MarkerKey, Request, Says, Slot, State};
use kafka_wasm_host::outcome::{Ending, FailureKind};
use kafka_wasm_host::parked::{Look, News, Parked};

use super::super::broker::{Letter, Place, Sent};
use super::super::replays::{name, slot};
use super::super::scenario::Entry;
use super::super::scene::{Bug, Scene};
use super::super::truth::{End, Held};
use super::{Batch, Cargo, Started, Task};

/// How long a record waits before it looks whether its key is free again, in milliseconds.
const LOOK_EVERY_MS: u64 = 50;

/// The parked keys of the partition.
#[derive(Debug, Default)]
pub(super) struct Keys {
    keys: Parked<u64>,
    /// How many markers there were when the task asked for them.
    asked: Option<usize>,
    is_restored: bool,
    /// The markers that were looked at last.
    seen: u64,
}

/// What becomes of a record before the guest is asked.
pub(super) enum Passed {
    /// The guest is asked.
    Free(Batch),
    Waits(Batch, u64),
    /// It is on its way to the dead letters, or lies there.
    Settled,
}

fn entry(scene: &Scene, (partition, index): Place) -> &Entry {
    &scene.broker.partitions[partition].records[index]
}

/// Where a record was first.
fn first_place(scene: &Scene, place: Place) -> Place {
    let replayed = entry(scene, place).replayed;
    replayed.map_or(place, |replayed| replayed.from)
}

fn session(scene: &Scene, started: Started) -> Option<String> {
    let replayed = entry(scene, started.place).replayed?;
    Some(replayed.session.to_string())
}

impl Task {
    /// Brings the parked keys up to date; returns whether it is known which there are.
    pub(super) fn tend_parked(&mut self, scene: &mut Scene) -> Held<bool> {
        if scene.scenario.replays.is_none() {
            return Ok(true);
        }
        if !self.keys.is_restored {
            self.restore(scene);
            return Ok(self.keys.is_restored);
        }
        let (now, next) = (scene.now_ms, self.watermark.oldest());
        let complete_below = match scene.bug {
            Some(Bug::AnswersTooSoon) => i64::MAX,
            _ => next.unwrap_or(self.taken_until),
        };
        let reader = &scene.readers[self.host];
        let (topic, partition) = name(&scene.scenario, self.partition);
        let markers =
            (self.keys.seen != reader.version).then(|| reader.markers.of(&topic, partition));
        self.keys.seen = reader.version;
        let until = |request: &Request| now + request.lease_ms;
        let keys = &mut self.keys.keys;
        let mut news = keys.tend(markers.as_ref(), now, until, || Some(complete_below));
        // The product keeps them in no order, and a seed plays the same run everywhere.
        news.sort_by(|(one, _), (other, _)| one.cmp(other));
        if !news.is_empty() {
            self.write_news(scene, news)?;
        }
        Ok(true)
    }

    fn restore(&mut self, scene: &mut Scene) {
        let there = match scene.bug {
            Some(Bug::RestoresTooSoon) => 0,
            _ => scene.broker.markers.len(),
        };
        let reader = &scene.readers[self.host];
        if reader.next < *self.keys.asked.get_or_insert(there) {
            scene.note("a partition waits for the parked keys");
            return;
        }
        self.keys.is_restored = true;
        if scene.bug == Some(Bug::RestoresNothing) {
            return;
        }
        let (topic, partition) = name(&scene.scenario, self.partition);
        let markers = reader.markers.of(&topic, partition);
        let mut states: Vec<(&Slot, &State)> = markers.states.iter().collect();
        states.sort_by_key(|(slot, _)| *slot);
        for (slot, state) in states {
            scene.truth.restored(self.partition, slot);
            scene.say(|| format!("epoch {}: {slot:?} is parked: {state:?}", self.epoch));
            scene.note("a parked key is taken over");
        }
        let until_ms = scene.now_ms + scene.scenario.lease_ms;
        self.keys.keys.restore(markers, until_ms);
    }

    /// Lets a record through whose key is not parked.
    pub(super) fn follow_parked(&mut self, scene: &mut Scene, batch: Batch) -> Held<Passed> {
        let started = batch.first().filter(|_| scene.scenario.replays.is_some());
        let Some((started, slot)) = started.and_then(|it| Some((*it, slot(scene, it.place)?)))
        else {
            return Ok(Passed::Free(batch));
        };
        let session = session(scene, started);
        let (partition, index) = first_place(scene, started.place);
        let offset = scene.broker.partitions[partition].records[index].offset;
        let look = (self.keys.keys).look(&slot, session.as_deref(), offset, scene.now_ms);
        let place = started.place;
        match look {
            Look::Free => Ok(Passed::Free(batch)),
            Look::Follows if scene.bug == Some(Bug::HandlesTheParked) => Ok(Passed::Free(batch)),
            Look::Waits if scene.bug == Some(Bug::LetsTheWaitingGo) => Ok(Passed::Free(batch)),
            Look::Waits => {
                scene.note("a record waits for a replay");
                scene.truth.waits(self.epoch, place);
                Ok(Passed::Waits(batch, scene.now_ms + LOOK_EVERY_MS))
            }
            Look::Lies => {
                scene.note("a record lies in the dead letters");
                scene.truth.passes(self.epoch, place)?;
                let cargo = vec![started];
                self.send_off(scene, (cargo, Ending::Parked), 0, (End::Lies, Vec::new()))?;
                Ok(Passed::Settled)
            }
            Look::Follows => {
                scene.truth.passes(self.epoch, place)?;
                let attempts = entry(scene, place).replayed.map_or(0, |it| it.attempts);
                let cargo = vec![started];
                self.give_up(
                    scene,
                    cargo,
                    attempts,
                    (Ending::Parked, FailureKind::Parked),
                )?;
                Ok(Passed::Settled)
            }
        }
    }

    /// Gives records up and parks their keys, if they have any.
    pub(super) fn park(
        &mut self,
        scene: &mut Scene,
        cargo: &Cargo,
        attempts: u32,
        kind: FailureKind,
    ) -> Held {
        for started in cargo {
            let cargo = vec![*started];
            self.give_up(scene, cargo, attempts, (Ending::DeadLettered, kind))?;
        }
        Ok(())
    }

    fn give_up(
        &mut self,
        scene: &mut Scene,
        cargo: Cargo,
        attempts: u32,
        (ending, kind): (Ending, FailureKind),
    ) -> Held {
        let Some(started) = cargo.first().copied() else {
            return Ok(());
        };
        let marker = self.mark(scene, started, kind);
        let end = match &marker {
            Some(_) if ending == Ending::Parked => End::Followed,
            Some(_) => End::Parked,
            None => End::Dead,
        };
        let is_written = scene.bug != Some(Bug::ForgetsToMark);
        let mut more: Vec<Sent> = marker.filter(|_| is_written).into_iter().collect();
        more.push(Self::letter(scene, started, attempts));
        self.send_off(scene, (cargo, ending), attempts, (end, more))
    }

    /// Parks the key of a record; returns the marker that goes before its dead letter.
    fn mark(&mut self, scene: &mut Scene, started: Started, kind: FailureKind) -> Option<Sent> {
        let slot = slot(scene, started.place)?;
        let (partition, index) = first_place(scene, started.place);
        let offset = scene.broker.partitions[partition].records[index].offset;
        let like = State {
            handler: "acme/orders".to_owned(),
            first: offset,
            last: offset,
            error_kind: kind.as_str().to_owned(),
            time_ms: scene.now_ms as i64,
            session: session(scene, started),
        };
        let state = self.keys.keys.park(&slot, &like, scene.now_ms);
        Some(self.marker(scene, slot, Says::State, Some(state.encode())))
    }

    fn marker(&self, scene: &Scene, slot: Slot, says: Says, value: Option<Vec<u8>>) -> Sent {
        let place = name(&scene.scenario, self.partition);
        Sent::Marker((MarkerKey { place, slot, says }.encode(), value))
    }

    /// Returns the dead letter of a record.
    pub(super) fn letter(scene: &Scene, started: Started, attempts: u32) -> Sent {
        Sent::Letter(Letter {
            from: first_place(scene, started.place),
            attempts,
            time_ms: scene.now_ms as i64,
        })
    }

    /// Writes down what is new about parked keys.
    fn write_news(&mut self, scene: &mut Scene, news: Vec<(Slot, News)>) -> Held {
        let (mut markers, mut unparked) = (Vec::new(), Vec::new());
        for (slot, news) in news {
            scene.say(|| format!("epoch {}: {slot:?}: {news:?}", self.epoch));
            let (says, value) = match news {
                News::State(state) => {
                    let is_held = state.session.is_some();
                    scene.note(if is_held {
                        "a key is held"
                    } else {
                        "a hold ends"
                    });
                    (Says::State, Some(state.encode()))
                }
                News::Unparked => {
                    scene.note("a key is unparked");
                    unparked.push(slot.clone());
                    (Says::State, None)
                }
                News::NoRequest(session) => (Says::Request(session), None),
            };
            markers.push(self.marker(scene, slot, says, value));
        }
        let nothing = (Cargo::new(), Ending::Parked);
        self.send_off(scene, nothing, 0, (End::Done, markers))?;
        while self.is_sending(scene) {
            self.send(scene);
        }
        for slot in unparked {
            scene.truth.unparked(self.partition, &slot);
            self.keys.keys.unparked(&slot);
        }
        Ok(())
    }
}
