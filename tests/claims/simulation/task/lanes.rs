//! The lanes of a partition whose records do not all keep their order.
//!
//! The product's schedule says which record may be handled next; a lane takes it, where there are batches with others
//! that may go together with it, and tells how it ended.
//! **Invariant:** who is inside holds a turn of the schedule.

use kafka_wasm_host::schedule::{Enough, KeyHash, Schedule, Turn};

use super::super::scene::{Bug, Scene};
use super::super::truth::Held;
use super::attempt::{Attempt, Call, Delivered, Entered};
use super::parked::Passed;
use super::{Batch, Cargo, Started, Task};

/// How long the first record of a batch waits for more, in milliseconds.
const GATHER_MS: u64 = 100;

/// What a lane carries at once.
#[derive(Debug)]
pub(super) struct Work {
    batch: Batch,
    /// Nobody has tried it, so it may go together with others.
    is_new: bool,
}

/// What is in the guest, with the key that it holds and what comes after it.
#[derive(Debug)]
struct Inside {
    key: Option<KeyHash>,
    call: Call,
    rest: Batch,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    pub(super) schedule: Schedule<Work, u64>,
    inside: Vec<Inside>,
    /// Where lanes stopped.
    pub(super) halts: Vec<Turn<Work>>,
}

impl Lanes {
    /// Whether no lane has anything to do before the handler is replaced, or more records come.
    pub(super) fn is_at_rest(&self, is_halted: bool) -> bool {
        self.inside.is_empty() && (self.schedule.is_empty() || is_halted)
    }
}

impl Task {
    /// Does what is next where there are several lanes; returns whether the task ended.
    pub(super) fn advance_lanes(&mut self, scene: &mut Scene) -> Held<bool> {
        let inside = self.lanes.inside.len();
        if inside > 0 && scene.dice.chance(50) {
            let inside = self.lanes.inside.swap_remove(scene.dice.below(inside));
            self.leave_lane(scene, inside)?;
            return Ok(false);
        }
        let is_time = self.is_stopping || self.is_halted() || scene.dice.chance(50);
        if let Some(flight) = is_time.then(|| self.refused.pop_front()).flatten() {
            self.settle_refused(scene, flight)?;
        } else if self.is_stopping {
            let is_quiet = inside == 0 && self.flights.is_empty() && self.refused.is_empty();
            if is_quiet {
                if self.lanes.schedule.next_time().is_some() {
                    scene.note("stopped while waiting for a retry");
                }
                self.store(scene)?;
            }
            return Ok(is_quiet);
        } else if self.is_halted() {
            self.go_on(scene);
        } else if scene.dice.chance(50) {
            if self.tend_parked(scene)? {
                self.take_up(scene)?;
            }
        } else {
            self.work(scene)?;
        }
        Ok(false)
    }

    fn key(scene: &Scene, started: &Started) -> Option<u64> {
        let (partition, index) = started.place;
        let entry = &scene.broker.partitions[partition].records[index];
        let number = scene.scenario.number(entry);
        number.filter(|_| scene.bug != Some(Bug::LetsTwoOfAKeyIn))
    }

    /// Takes up the next record of the log, behind all others of its key.
    fn take_up(&mut self, scene: &mut Scene) -> Held {
        if let Some(started) = self.fetch(scene)? {
            let until_ms = scene.scenario.bulk.map_or(0, |_| scene.now_ms + GATHER_MS);
            scene.truth.taken(self.epoch, started.place, until_ms);
            self.add(scene, started, until_ms);
        }
        Ok(())
    }

    fn add(&mut self, scene: &Scene, started: Started, until_ms: u64) {
        let key = Self::key(scene, &started);
        let (partition, index) = started.place;
        let replayed = scene.broker.partitions[partition].records[index].replayed;
        let failed = replayed.map(|replayed| Attempt {
            number: replayed.attempts,
            first_ms: scene.now_ms,
        });
        let work = Work {
            batch: Batch::new([started].into_iter().collect(), failed),
            is_new: true,
        };
        match scene.scenario.bulk {
            Some(records) => {
                // Records have no size here.
                let bytes = usize::MAX;
                let enough = Enough { records, bytes };
                self.lanes.schedule.gather(key, (work, 0), until_ms, enough);
            }
            None => self.lanes.schedule.add(key, work),
        }
    }

    /// A lane takes the next record that may be handled.
    fn work(&mut self, scene: &mut Scene) -> Held {
        if self.lanes.inside.len() >= scene.scenario.lanes() {
            return Ok(());
        }
        let schedule = &mut self.lanes.schedule;
        let is_waiting = schedule
            .next_time()
            .is_some_and(|at_ms| at_ms > scene.now_ms);
        let may_go = !is_waiting || scene.bug != Some(Bug::WaitsWithOthers);
        let turn = may_go.then(|| schedule.next(scene.now_ms)).flatten();
        let Some(Turn { key, item }) = turn else {
            return scene.truth.idled(self.epoch, scene.now_ms);
        };
        if is_waiting {
            scene.note("a record goes while another waits");
        }
        if !self.lanes.inside.is_empty() {
            scene.note("several lanes are busy");
        }
        let item = self.with_others(scene, key, item);
        let Work { batch, .. } = item;
        match self.follow_parked(scene, batch)? {
            Passed::Free(batch) => self.go_into_lane(scene, key, batch),
            Passed::Waits(batch, at_ms) => {
                let is_new = true;
                let item = Work { batch, is_new };
                self.lanes.schedule.again(Turn { key, item }, at_ms);
                Ok(())
            }
            Passed::Settled => {
                self.lanes.schedule.end(key);
                Ok(())
            }
        }
    }

    /// Adds the records that may go together with a new one, where there are batches.
    fn with_others(&mut self, scene: &mut Scene, key: Option<KeyHash>, first: Work) -> Work {
        let Some(most) = scene.scenario.bulk.filter(|_| first.is_new) else {
            return first;
        };
        let key_of = |work: &Work| {
            let (partition, index) = work.batch.first()?.place;
            scene.broker.partitions[partition].records[index].key
        };
        let first_key = key_of(&first);
        let is_like = |other: &Work| key.is_none() || key_of(other) == first_key;
        let schedule = &mut self.lanes.schedule;
        let others = schedule.more(key, most - 1, |other| other.is_new && is_like(other));
        let all = std::iter::once(first).chain(others);
        let records = all.flat_map(|work| work.batch.into_records());
        let mut cargo: Cargo = records.map(|(started, _)| started).collect();
        cargo.sort_by_key(|started| started.place);
        for started in &cargo {
            scene.truth.gathered(self.epoch, started.place);
        }
        Work {
            batch: Batch::new(cargo.into_iter().collect(), None),
            is_new: false,
        }
    }

    fn go_into_lane(&mut self, scene: &mut Scene, key: Option<KeyHash>, batch: Batch) -> Held {
        match self.enter(scene, batch)? {
            Entered::Inside(call, rest) => self.lanes.inside.push(Inside { key, call, rest }),
            Entered::Settled => self.lanes.schedule.end(key),
            Entered::Halted(cargo, rest) => self.halt_lane(scene, key, cargo, rest),
        }
        Ok(())
    }

    fn leave_lane(&mut self, scene: &mut Scene, Inside { key, call, rest }: Inside) -> Held {
        let is_new = false;
        match self.leave(scene, call, rest)? {
            Delivered::On(rest) => return self.go_into_lane(scene, key, rest),
            Delivered::Later(batch, at_ms) => {
                let item = Work { batch, is_new };
                if scene.bug == Some(Bug::OvertakesARetry) {
                    self.lanes.schedule.end(key);
                    self.lanes.schedule.add_at(at_ms, item);
                } else {
                    self.lanes.schedule.again(Turn { key, item }, at_ms);
                }
            }
            Delivered::Halted(cargo, rest) => self.halt_lane(scene, key, cargo, rest),
        }
        Ok(())
    }

    fn halt_lane(
        &mut self,
        scene: &mut Scene,
        key: Option<KeyHash>,
        mut cargo: Cargo,
        rest: Batch,
    ) {
        self.tell_halt(scene, &cargo);
        cargo.extend(rest.into_records().map(|(started, _)| started));
        let batch = Batch::new(cargo.into_iter().collect(), None);
        let is_new = false;
        let item = Work { batch, is_new };
        self.lanes.halts.push(Turn { key, item });
    }

    /// Lets the replaced handler have the records at which the lanes stopped.
    fn go_on(&mut self, scene: &mut Scene) {
        if self.revision == scene.revision {
            return;
        }
        scene.note("halted records are delivered again");
        for started in std::mem::take(&mut self.halted).into_iter().flatten() {
            let until_ms = scene.scenario.bulk.map_or(0, |_| scene.now_ms + GATHER_MS);
            scene.truth.taken(self.epoch, started.place, until_ms);
            self.add(scene, started, until_ms);
        }
        for turn in std::mem::take(&mut self.lanes.halts) {
            self.lanes.schedule.again(turn, scene.now_ms);
        }
    }
}
