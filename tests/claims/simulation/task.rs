//! The model of one partition's task: the product's flow with every wait turned into a step of its own.
//!
//! The decisions are the product's: its watermark, its `settle` and `retry`, its outbox. Only what does IO is replaced.
//! **Invariant:** does nothing but in [`Task::advance`] and [`Task::landed`], so a crash may fall between any two.

mod attempt;
mod lanes;

use std::collections::VecDeque;

use kafka_wasm_host::offset_map::{CommitPoint, OffsetMap};
use kafka_wasm_host::outbox::Outbox;
use kafka_wasm_host::outcome::{Ending, Settlement};
use kafka_wasm_host::policy::Ordering;
use kafka_wasm_host::settle::exhausted;
use kafka_wasm_host::watermark::{Ticket, Watermark};

use super::broker::{Epoch, Place};
use super::guest;
use super::scene::{Bug, Scene};
use super::truth::{Claim, Held, hold};
use attempt::Delivered;
use lanes::Lanes;

/// A record that was taken up.
#[derive(Debug, Clone, Copy)]
struct Started {
    ticket: Ticket,
    place: Place,
    /// When the first attempt began.
    first_ms: u64,
}

/// Where the record at hand is.
#[derive(Debug)]
enum Lane {
    Idle,
    Inside(Started, u32),
    /// The next attempt and its time.
    Waiting(Started, u32, u64),
}

/// A settled record whose outputs are not all reported.
#[derive(Debug)]
struct Flight {
    number: usize,
    started: Started,
    ending: Ending,
    waiting: usize,
    was_refused: bool,
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
    lane: Lane,
    /// Where not all records keep their order.
    lanes: Lanes,
    /// Where a planted bug puts records that are tried again.
    aside: Option<Lane>,
    outbox: Outbox,
    flights: Vec<Flight>,
    refused: VecDeque<Flight>,
    halted: Vec<Started>,
    /// Halted records on their way through the replaced handler.
    again: VecDeque<Started>,
    revision: u32,
}

impl Task {
    pub(super) fn new(host: usize, partition: usize, scene: &mut Scene) -> Self {
        let log = &scene.broker.partitions[partition];
        let next = log
            .records
            .partition_point(|entry| entry.offset < log.committed.offset);
        let earlier = OffsetMap::decode(&log.committed.metadata, log.committed.offset);
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
            lane: Lane::Idle,
            lanes: Lanes::default(),
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
            (Lane::Waiting(_, _, at_ms), _) | (Lane::Idle, Some(Lane::Waiting(_, _, at_ms))) => {
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
            Lane::Inside(started, attempt) => {
                let delivered = self.leave(scene, started, attempt)?;
                self.accept(scene, delivered);
            }
            Lane::Waiting(started, ..) if self.is_stopping => {
                scene.note("stopped while waiting for a retry");
                scene.say(|| format!("{:?} is given up", started.place));
            }
            Lane::Waiting(started, attempt, at_ms) if at_ms <= scene.now_ms => {
                self.go_in(scene, started, attempt)?;
            }
            waiting @ Lane::Waiting(..) => self.lane = waiting,
            Lane::Idle => return self.serve(scene),
        }
        Ok(false)
    }

    fn go_in(&mut self, scene: &mut Scene, mut started: Started, attempt: u32) -> Held {
        self.enter(scene, &mut started, attempt)?;
        self.lane = Lane::Inside(started, attempt);
        Ok(())
    }

    fn accept(&mut self, scene: &mut Scene, delivered: Delivered) {
        match delivered {
            Delivered::Settled => {}
            Delivered::Later(started, attempt, at_ms) => {
                let waiting = Lane::Waiting(started, attempt, at_ms);
                if scene.bug == Some(Bug::GoesOnDuringARetry) && self.aside.is_none() {
                    self.aside = Some(waiting);
                } else {
                    self.lane = waiting;
                }
            }
            Delivered::Halted(started) => self.halt(scene, started),
        }
    }

    fn serve(&mut self, scene: &mut Scene) -> Held<bool> {
        // The flow looks at refusals between batches of its queue, not between any two records.
        let is_time = self.is_stopping || self.is_halted() || scene.dice.chance(50);
        if let Some(flight) = is_time.then(|| self.refused.pop_front()).flatten() {
            self.settle_refused(scene, &flight)?;
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
        } else if let Some(started) = self.again.pop_front() {
            self.go_in(scene, started, 1)?;
        } else if let Some(aside) = self.aside.take_if(|_| scene.dice.chance(50)) {
            self.lane = aside;
        } else if let Some(started) = self.fetch(scene)? {
            self.revision = scene.revision;
            self.go_in(scene, started, 1)?;
        }
        Ok(false)
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
            first_ms: scene.now_ms,
        };
        self.next += 1;
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

    /// Sends a settled record's outputs on their way, or completes it where it has none.
    fn finish(
        &mut self,
        scene: &mut Scene,
        started: Started,
        attempt: u32,
        ending: Ending,
    ) -> Held {
        let is_success = matches!(ending, Ending::Handled | Ending::Filtered);
        for emit in self.outbox.iter() {
            let is_ours = guest::is_of(&emit, attempt, !is_success);
            hold(Claim::Outbox, is_ours, || {
                format!("{:?} sends what a failed attempt emitted", started.place)
            })?;
        }
        let outputs = self.outbox.len() + usize::from(ending == Ending::DeadLettered);
        self.outbox.clear();
        let number = scene.truth.settled(self.epoch, started.place, outputs)?;
        scene.say(|| {
            format!(
                "epoch {}: {:?} is {ending:?}, {outputs} outputs",
                self.epoch, started.place
            )
        });
        if outputs == 0 || scene.bug == Some(Bug::CompletesUnacknowledged) {
            self.complete(scene, started, ending);
        }
        if outputs > 0 {
            if !scene.scenario.is_exactly_once {
                (0..outputs).for_each(|_| scene.broker.send(self.epoch, number));
            }
            self.flights.push(Flight {
                number,
                started,
                ending,
                waiting: outputs,
                was_refused: false,
            });
        }
        Ok(())
    }

    /// Whether a lane is between two outputs of a record, which all belong into one transaction.
    pub(super) fn is_sending(&self, scene: &Scene) -> bool {
        scene.scenario.is_exactly_once && !self.flights.is_empty()
    }

    /// Makes an output part of the transaction; with the last one its record is complete.
    pub(super) fn send(&mut self, scene: &mut Scene) {
        scene.transactions[self.host].push(self.flights[0].number);
        self.flights[0].waiting -= 1;
        if self.flights[0].waiting == 0 {
            let flight = self.flights.remove(0);
            self.complete(scene, flight.started, flight.ending);
        }
    }

    fn complete(&mut self, scene: &mut Scene, started: Started, ending: Ending) {
        scene.note(ending.as_str());
        self.watermark.complete(started.ticket);
        scene.truth.completed(self.epoch, started.place);
        let (partition, index) = started.place;
        let offset = scene.broker.partitions[partition].records[index].offset;
        self.highest = self.highest.max(Some(offset + 1));
        if scene.bug != Some(Bug::EndsUncounted) || ending != Ending::Skipped {
            scene.truth.counted(started.place);
        }
    }

    fn halt(&mut self, scene: &mut Scene, started: Started) {
        self.tell_halt(scene, started);
        self.halted.push(started);
        self.halted.extend(self.again.drain(..));
    }

    fn tell_halt(&mut self, scene: &mut Scene, started: Started) {
        scene.note(Ending::Halted.as_str());
        scene.say(|| format!("epoch {}: {:?} halts", self.epoch, started.place));
        scene.truth.halted(self.epoch, started.place);
        self.revision = scene.revision;
    }

    /// Is told about one output of a flight.
    pub(super) fn landed(&mut self, scene: &mut Scene, number: usize, is_written: bool) {
        let Some(at) = self
            .flights
            .iter()
            .position(|flight| flight.number == number)
        else {
            return;
        };
        let flight = &mut self.flights[at];
        flight.waiting -= 1;
        flight.was_refused |= !is_written && scene.bug != Some(Bug::ForgetsARefusal);
        if flight.waiting == 0 {
            let flight = self.flights.remove(at);
            if flight.was_refused {
                self.refused.push_back(flight);
            } else {
                self.complete(scene, flight.started, flight.ending);
            }
        }
    }

    /// Kafka refused an output for good; later records may have been handled since.
    fn settle_refused(&mut self, scene: &mut Scene, flight: &Flight) -> Held {
        scene.note("an output was refused");
        let settlement = match flight.ending {
            Ending::DeadLettered => Settlement::Halt,
            _ => exhausted(scene.scenario.on_exhausted),
        };
        match settlement {
            Settlement::DeadLetter | Settlement::Park => {
                self.finish(scene, flight.started, 1, Ending::DeadLettered)
            }
            Settlement::Skip => self.finish(scene, flight.started, 1, Ending::Skipped),
            Settlement::Halt | Settlement::Retry { .. } => {
                self.halt(scene, flight.started);
                Ok(())
            }
        }
    }

    /// Stores what may be committed, if it is news.
    pub(super) fn store(&mut self, scene: &mut Scene) -> Held {
        if scene.scenario.is_exactly_once {
            // The transaction collects them.
            return Ok(());
        }
        let point = self
            .point(scene)
            .filter(|point| self.stored.as_ref() != Some(point));
        if let Some(point) = point {
            scene.truth.stored(self.epoch, &point)?;
            self.stored = Some(point);
        }
        Ok(())
    }
}
