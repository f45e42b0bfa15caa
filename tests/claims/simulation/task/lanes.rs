//! The lanes of a partition whose records do not all keep their order.
//!
//! The product's schedule says which record may be handled next; a lane takes it and tells how it ended.
//! **Invariant:** who is inside holds a turn of the schedule.

use kafka_wasm_host::schedule::{Schedule, Turn};

use super::super::scene::{Bug, Scene};
use super::super::truth::Held;
use super::attempt::Delivered;
use super::{Started, Task};

/// A record and its next attempt.
type Work = (Started, u32);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    pub(super) schedule: Schedule<Work, u64>,
    inside: Vec<Turn<Work>>,
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
            let turn = self.lanes.inside.swap_remove(scene.dice.below(inside));
            self.leave_lane(scene, turn)?;
            return Ok(false);
        }
        let is_time = self.is_stopping || self.is_halted() || scene.dice.chance(50);
        if let Some(flight) = is_time.then(|| self.refused.pop_front()).flatten() {
            self.settle_refused(scene, &flight)?;
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
            self.take_up(scene)?;
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
            scene.truth.taken(self.epoch, started.place);
            let key = Self::key(scene, &started);
            self.lanes.schedule.add(key, (started, 1));
        }
        Ok(())
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
            return scene.truth.idled(self.epoch);
        };
        let (mut started, attempt) = item;
        if is_waiting {
            scene.note("a record goes while another waits");
        }
        if !self.lanes.inside.is_empty() {
            scene.note("several lanes are busy");
        }
        self.enter(scene, &mut started, attempt)?;
        let item = (started, attempt);
        self.lanes.inside.push(Turn { key, item });
        Ok(())
    }

    fn leave_lane(&mut self, scene: &mut Scene, Turn { key, item }: Turn<Work>) -> Held {
        let delivered = self.leave(scene, item.0, item.1)?;
        let schedule = &mut self.lanes.schedule;
        match delivered {
            Delivered::Settled => schedule.end(key),
            Delivered::Later(started, attempt, at_ms) => {
                let item = (started, attempt);
                if scene.bug == Some(Bug::OvertakesARetry) {
                    schedule.end(key);
                    schedule.add_at(at_ms, item);
                } else {
                    schedule.again(Turn { key, item }, at_ms);
                }
            }
            Delivered::Halted(started) => {
                self.tell_halt(scene, started);
                let item = (started, 1);
                self.lanes.halts.push(Turn { key, item });
            }
        }
        Ok(())
    }

    /// Lets the replaced handler have the records at which the lanes stopped.
    fn go_on(&mut self, scene: &mut Scene) {
        if self.revision == scene.revision {
            return;
        }
        scene.note("halted records are delivered again");
        for started in std::mem::take(&mut self.halted) {
            scene.truth.taken(self.epoch, started.place);
            let key = Self::key(scene, &started);
            self.lanes.schedule.add(key, (started, 1));
        }
        for turn in std::mem::take(&mut self.lanes.halts) {
            self.lanes.schedule.again(turn, scene.now_ms);
        }
    }
}
