//! The model of one partition's task: the product's flow with every wait turned into a step of its own.
//!
//! The decisions are the product's: its watermark, its `settle` and `retry`, its outbox, the parts of a batch. Only what
//! does IO is replaced.
//! **Invariant:** does nothing but in [`Task::advance`] and [`Task::landed`], so a crash may fall between any two.

mod answers;
mod attempt;
mod flights;
mod lanes;
mod parked;

use std::collections::VecDeque;

use kafka_wasm_host::offset_map::{CommitPoint, OffsetMap};
use kafka_wasm_host::outbox::Outbox;
use kafka_wasm_host::parts::Parts;
use kafka_wasm_host::policy::Ordering;
use kafka_wasm_host::watermark::{Ticket, Watermark};

use super::broker::{Epoch, Place};
use super::scene::{Bug, Scene};
use super::truth::Held;
use attempt::{Attempt, Call, Delivered, Entered};
use flights::Flight;
use lanes::Lanes;
use parked::Keys;

/// A record that was taken up.
#[derive(Debug, Clone, Copy)]
struct Started {
    ticket: Ticket,
    place: Place,
}

/// The records of one invocation: one, or a batch.
type Cargo = Vec<Started>;
/// Records on their way to their settlement.
type Batch = Parts<Started, Attempt>;

/// Where what is at hand is.
#[derive(Debug)]
enum Lane {
    Idle,
    /// In the guest, and what comes after it.
    Inside(Call, Batch),
    /// The time of the next attempt.
    Waiting(Batch, u64),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) epoch: Epoch,
    pub(super) host: usize,
    pub(super) partition: usize,
    /// The revocation began: drain and end.
    pub(super) is_stopping: bool,
    pub(super) stored: Option<CommitPoint>,
    watermark: Watermark,
    /// What earlier owners completed above the position from which this one began.
    earlier: Option<OffsetMap>,
    /// What a planted bug takes for the position.
    highest: Option<i64>,
    /// The next record of the log to fetch.
    next: usize,
    /// Everything before this offset is complete or was taken.
    taken_until: i64,
    lane: Lane,
    /// Where not all records keep their order.
    lanes: Lanes,
    /// Where keys are parked.
    keys: Keys,
    /// Where a planted bug puts records that are tried again.
    aside: Option<Lane>,
    outbox: Outbox,
    flights: Vec<Flight>,
    refused: VecDeque<Flight>,
    halted: Vec<Cargo>,
    /// Halted records on their way through the replaced handler.
    again: VecDeque<Cargo>,
    revision: u32,
}

impl Task {
    pub(super) fn new(host: usize, partition: usize, scene: &mut Scene) -> Self {
        let log = &scene.broker.partitions[partition];
        let next = log
            .records
            .partition_point(|entry| entry.offset < log.committed.offset);
        let taken_until = log.committed.offset;
        let earlier = OffsetMap::decode(&log.committed.metadata, taken_until);
        if matches!(earlier, Ok(Some(_))) {
            scene.note("a map is taken over");
        }
        Self {
            epoch: scene.truth.assigned(partition),
            host,
            partition,
            is_stopping: false,
            stored: None,
            watermark: Watermark::default(),
            earlier: earlier.unwrap_or_default(),
            highest: None,
            next,
            taken_until,
            lane: Lane::Idle,
            lanes: Lanes::default(),
            keys: Keys::default(),
            aside: None,
            outbox: Outbox::new(scene.scenario.outbox_max, 1 << 10),
            flights: Vec::new(),
            refused: VecDeque::new(),
            halted: Vec::new(),
            again: VecDeque::new(),
            revision: scene.revision,
        }
    }

    /// The next offset to read after a restart.
    pub(super) fn position(&self, scene: &Scene) -> Option<i64> {
        match scene.bug {
            Some(Bug::StoresTheHighest) => self.highest,
            _ => self.watermark.position(),
        }
    }

    /// What may be committed, `None` before the first record was taken up or completed.
    pub(super) fn point(&self, scene: &Scene) -> Option<CommitPoint> {
        let is_mapped = scene.scenario.has_map || self.earlier.is_some();
        if !is_mapped || scene.bug == Some(Bug::StoresTheHighest) {
            return self.position(scene).map(CommitPoint::from);
        }
        let base = self.watermark.oldest().or(self.watermark.position())?;
        if scene.bug == Some(Bug::MapsWhatIsOpen) && self.watermark.span() > 1 {
            let log = &scene.broker.partitions[self.partition].records;
            let all = base + 1..log[self.next - 1].offset + 1;
            return Some(CommitPoint::from(OffsetMap::from_runs(base, [all])));
        }
        let runs = self.watermark.settled_runs();
        let map = match &self.earlier {
            Some(earlier) if scene.bug != Some(Bug::ForgetsEarlierMaps) => {
                OffsetMap::joined(base, runs, earlier)
            }
            _ => OffsetMap::from_runs(base, runs),
        };
        Some(CommitPoint::from(map))
    }

    /// How many records are held against the limit.
    pub(super) fn load(&self, scene: &Scene) -> usize {
        match scene.scenario.ordering {
            Ordering::Partition => self.watermark.span(),
            Ordering::Key | Ordering::None => self.watermark.open(),
        }
    }

    /// The time at which a waiting record is tried again.
    pub(super) fn timer_ms(&self) -> Option<u64> {
        match (&self.lane, &self.aside) {
            (Lane::Waiting(_, at_ms), _) | (Lane::Idle, Some(Lane::Waiting(_, at_ms))) => {
                Some(*at_ms)
            }
            _ => self.lanes.schedule.next_time(),
        }
    }

    pub(super) fn is_halted(&self) -> bool {
        !self.halted.is_empty() || !self.lanes.halts.is_empty()
    }

    /// Whether nothing happens here any more unless something new comes from outside.
    pub(super) fn is_at_rest(&self, scene: &Scene) -> bool {
        let all = scene.broker.partitions[self.partition].visible;
        matches!(self.lane, Lane::Idle)
            && self.aside.is_none()
            && self.lanes.is_at_rest(self.is_halted())
            && self.flights.is_empty()
            && self.refused.is_empty()
            && self.again.is_empty()
            && !self.is_stopping
            && (self.next == all || self.is_halted())
            && self.stored == self.point(scene)
    }

    /// Does what is next; returns whether the task ended.
    pub(super) fn advance(&mut self, scene: &mut Scene) -> Held<bool> {
        if self.is_sending(scene) && scene.dice.chance(70) {
            self.send(scene);
            return Ok(false);
        }
        if scene.scenario.ordering != Ordering::Partition {
            return self.advance_lanes(scene);
        }
        match std::mem::replace(&mut self.lane, Lane::Idle) {
            Lane::Inside(call, rest) => {
                let delivered = self.leave(scene, call, rest)?;
                self.accept(scene, delivered)?;
            }
            Lane::Waiting(batch, _) if self.is_stopping => {
                scene.note("stopped while waiting for a retry");
                scene.say(|| format!("{batch:?} is given up"));
            }
            Lane::Waiting(batch, at_ms) if at_ms <= scene.now_ms => self.go_in(scene, batch)?,
            waiting @ Lane::Waiting(..) => self.lane = waiting,
            Lane::Idle => return self.serve(scene),
        }
        Ok(false)
    }

    fn go_in(&mut self, scene: &mut Scene, batch: Batch) -> Held {
        match self.enter(scene, batch)? {
            Entered::Inside(call, rest) => self.lane = Lane::Inside(call, rest),
            Entered::Settled => {}
            Entered::Halted(cargo, rest) => self.halt(scene, cargo, rest),
        }
        Ok(())
    }

    fn accept(&mut self, scene: &mut Scene, delivered: Delivered) -> Held {
        match delivered {
            Delivered::On(rest) => self.go_in(scene, rest)?,
            Delivered::Later(batch, at_ms) => {
                let waiting = Lane::Waiting(batch, at_ms);
                if scene.bug == Some(Bug::GoesOnDuringARetry) && self.aside.is_none() {
                    self.aside = Some(waiting);
                } else {
                    self.lane = waiting;
                }
            }
            Delivered::Halted(cargo, rest) => self.halt(scene, cargo, rest),
        }
        Ok(())
    }

    fn serve(&mut self, scene: &mut Scene) -> Held<bool> {
        // The flow looks at refusals between batches of its queue, not between any two records.
        let is_time = self.is_stopping || self.is_halted() || scene.dice.chance(50);
        if let Some(flight) = is_time.then(|| self.refused.pop_front()).flatten() {
            self.settle_refused(scene, flight)?;
        } else if self.is_stopping {
            let is_quiet = self.flights.is_empty() && self.refused.is_empty();
            if is_quiet {
                self.store(scene)?;
            }
            return Ok(is_quiet);
        } else if self.is_halted() {
            if self.revision < scene.revision {
                scene.note("halted records are delivered again");
                self.revision = scene.revision;
                self.again.extend(self.halted.drain(..));
            }
        } else if let Some(cargo) = self.again.pop_front() {
            self.go_in(scene, Batch::new(cargo.into_iter().collect(), None))?;
        } else if let Some(aside) = self.aside.take_if(|_| scene.dice.chance(50)) {
            self.lane = aside;
        } else {
            let cargo = self.gather(scene)?;
            if !cargo.is_empty() {
                self.revision = scene.revision;
                self.go_in(scene, Batch::new(cargo.into_iter().collect(), None))?;
            }
        }
        Ok(false)
    }

    /// Takes up the next record, or with it those that make up its batch.
    fn gather(&mut self, scene: &mut Scene) -> Held<Cargo> {
        let mut cargo = Cargo::new();
        let most = scene.scenario.bulk.unwrap_or(1);
        for _ in 0..scene.dice.between(1, most) {
            cargo.extend(self.fetch(scene)?);
        }
        Ok(cargo)
    }

    /// Takes up the next record of the log that an earlier owner did not complete.
    fn fetch(&mut self, scene: &mut Scene) -> Held<Option<Started>> {
        let has_room = self.load(scene) < scene.scenario.in_flight_max;
        let log = &scene.broker.partitions[self.partition];
        if !has_room && scene.bug != Some(Bug::IgnoresTheLimit) {
            scene.note("waited for room");
            return Ok(None);
        }
        if self.next == log.visible {
            return Ok(None);
        }
        let offset = log.records[self.next].offset;
        let started = Started {
            ticket: self.watermark.start(offset),
            place: (self.partition, self.next),
        };
        self.next += 1;
        self.taken_until = offset + 1;
        self.earlier.take_if(|map| map.end() <= offset);
        let is_known = (self.earlier.as_ref()).is_some_and(|map| map.contains(offset));
        if is_known && scene.bug != Some(Bug::ForgetsTheMap) {
            scene.note("a record was completed before");
            self.watermark.complete(started.ticket);
            scene.truth.skipped(self.epoch, started.place)?;
            return Ok(None);
        }
        Ok(Some(started))
    }
}
