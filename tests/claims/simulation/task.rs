//! The model of one partition's task: the product's flow with every wait turned into a step of its own.
//!
//! The decisions are the product's: its watermark, its `settle` and `retry`, its outbox. Only what does IO is replaced.
//! **Invariant:** does nothing but in [`Task::advance`] and [`Task::landed`], so a crash may fall between any two.

use std::collections::VecDeque;
use std::time::Duration;

use kafka_wasm_host::outbox::Outbox;
use kafka_wasm_host::outcome::{Ending, Failure, FailureKind, Outcome, Settlement, Verdict};
use kafka_wasm_host::settle::{Tried, exhausted, settle};
use kafka_wasm_host::watermark::{Ticket, Watermark};

use super::broker::{Epoch, Place};
use super::guest;
use super::scene::{Bug, Scene};
use super::truth::{Claim, Held, hold};

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
    pub(super) stored: Option<i64>,
    watermark: Watermark,
    /// What a planted bug takes for the position.
    highest: Option<i64>,
    /// The next record of the log to fetch.
    next: usize,
    lane: Lane,
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
            .partition_point(|(offset, _)| *offset < log.committed);
        Self {
            epoch: scene.truth.assigned(partition),
            host,
            partition,
            is_stopping: false,
            stored: None,
            watermark: Watermark::default(),
            highest: None,
            next,
            lane: Lane::Idle,
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

    pub(super) fn span(&self) -> usize {
        self.watermark.span()
    }

    /// The time at which a waiting record is tried again.
    pub(super) fn timer_ms(&self) -> Option<u64> {
        match (&self.lane, &self.aside) {
            (Lane::Waiting(_, _, at_ms), _) | (Lane::Idle, Some(Lane::Waiting(_, _, at_ms))) => {
                Some(*at_ms)
            }
            _ => None,
        }
    }

    pub(super) fn is_halted(&self) -> bool {
        !self.halted.is_empty()
    }

    /// Whether nothing happens here any more unless something new comes from outside.
    pub(super) fn is_at_rest(&self, scene: &Scene) -> bool {
        let all = scene.broker.partitions[self.partition].visible;
        matches!(self.lane, Lane::Idle)
            && self.aside.is_none()
            && self.flights.is_empty()
            && self.refused.is_empty()
            && self.again.is_empty()
            && !self.is_stopping
            && (self.next == all || self.is_halted())
            && self.stored == self.position(scene)
    }

    /// Does what is next; returns whether the task ended.
    pub(super) fn advance(&mut self, scene: &mut Scene) -> Held<bool> {
        match std::mem::replace(&mut self.lane, Lane::Idle) {
            Lane::Inside(started, attempt) => self.leave(scene, started, attempt)?,
            Lane::Waiting(started, ..) if self.is_stopping => {
                scene.note("stopped while waiting for a retry");
                scene.say(|| format!("{:?} is given up", started.place));
            }
            Lane::Waiting(started, attempt, at_ms) if at_ms <= scene.now_ms => {
                self.enter(scene, started, attempt)?;
            }
            waiting @ Lane::Waiting(..) => self.lane = waiting,
            Lane::Idle => return self.serve(scene),
        }
        Ok(false)
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
            self.enter(scene, started, 1)?;
        } else if let Some(aside) = self.aside.take_if(|_| scene.dice.chance(50)) {
            self.lane = aside;
        } else {
            self.fetch(scene)?;
        }
        Ok(false)
    }

    fn fetch(&mut self, scene: &mut Scene) -> Held {
        let has_room = self.watermark.span() < scene.scenario.in_flight_max;
        let log = &scene.broker.partitions[self.partition];
        if !has_room && scene.bug != Some(Bug::IgnoresTheLimit) {
            scene.note("waited for room");
            return Ok(());
        }
        if self.next == log.visible {
            return Ok(());
        }
        let started = Started {
            ticket: self.watermark.start(log.records[self.next].0),
            place: (self.partition, self.next),
            first_ms: scene.now_ms,
        };
        self.next += 1;
        self.revision = scene.revision;
        self.enter(scene, started, 1)
    }

    fn enter(&mut self, scene: &mut Scene, mut started: Started, attempt: u32) -> Held {
        if attempt == 1 {
            started.first_ms = scene.now_ms;
        }
        scene.say(|| {
            format!(
                "epoch {}: {:?} enters, attempt {attempt}",
                self.epoch, started.place
            )
        });
        scene
            .truth
            .entered(self.epoch, started.place, attempt, scene.now_ms)?;
        self.lane = Lane::Inside(started, attempt);
        Ok(())
    }

    fn leave(&mut self, scene: &mut Scene, started: Started, attempt: u32) -> Held {
        let outcome = guest::handle(scene, &mut self.outbox, started.place, attempt);
        scene.truth.left(self.epoch);
        scene.say(|| {
            format!(
                "epoch {}: {:?} leaves: {outcome:?}",
                self.epoch, started.place
            )
        });
        match outcome {
            Outcome::Handled => self.finish(scene, started, attempt, Ending::Handled),
            Outcome::Filtered => self.finish(scene, started, attempt, Ending::Filtered),
            Outcome::Failed(failure) => self.fail(scene, started, attempt, &failure),
        }
    }

    fn fail(
        &mut self,
        scene: &mut Scene,
        started: Started,
        attempt: u32,
        failure: &Failure,
    ) -> Held {
        scene.note(failure.kind.as_str());
        if scene.bug != Some(Bug::SendsWhatFailed) {
            self.outbox.clear();
        }
        let verdict = guest::on_error(scene, &mut self.outbox, attempt);
        let settlement = self.decide(scene, started, (failure, attempt, verdict))?;
        match settlement {
            Settlement::Retry { after } => {
                self.outbox.clear();
                let after_ms = match scene.bug {
                    Some(Bug::RetriesAtOnce) => 0,
                    // Rounded up: a timer never fires early.
                    _ => after.as_micros().div_ceil(1000) as u64,
                };
                let waiting = Lane::Waiting(started, attempt + 1, scene.now_ms + after_ms);
                if scene.bug == Some(Bug::GoesOnDuringARetry) && self.aside.is_none() {
                    self.aside = Some(waiting);
                } else {
                    self.lane = waiting;
                }
                Ok(())
            }
            Settlement::Skip => self.finish(scene, started, attempt, Ending::Skipped),
            Settlement::DeadLetter | Settlement::Park => {
                self.finish(scene, started, attempt, Ending::DeadLettered)
            }
            Settlement::Halt => {
                self.outbox.clear();
                self.halt(scene, started);
                Ok(())
            }
        }
    }

    /// Lets the product decide about a failed attempt.
    fn decide(
        &self,
        scene: &mut Scene,
        started: Started,
        (failure, attempt, verdict): (&Failure, u32, Option<Verdict>),
    ) -> Held<Settlement> {
        let age_ms = match scene.bug {
            Some(Bug::ForgetsTheAge) => 0,
            _ => scene.now_ms - started.first_ms,
        };
        let tried = Tried {
            attempts: attempt,
            age: Duration::from_millis(age_ms),
        };
        let (retry, on_exhausted) = (&scene.scenario.retry, scene.scenario.on_exhausted);
        let attempts_max = retry.on(failure.kind).max_attempts;
        let unit = scene.dice.unit();
        let settlement = settle(failure, tried, retry, on_exhausted, verdict, unit);
        scene.truth.decided(
            (self.epoch, started.place),
            (failure, attempt, verdict),
            settlement,
            scene.now_ms,
        )?;
        let wanted_again = match verdict {
            Some(verdict) => verdict == Verdict::Retry,
            None => failure.kind != FailureKind::Reject,
        };
        if wanted_again && !matches!(settlement, Settlement::Retry { .. }) {
            scene.note(if attempt < attempts_max {
                "no time was left"
            } else {
                "no attempt was left"
            });
        }
        Ok(settlement)
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
            (0..outputs).for_each(|_| scene.broker.send(self.epoch, number));
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

    fn complete(&mut self, scene: &mut Scene, started: Started, ending: Ending) {
        scene.note(ending.as_str());
        self.watermark.complete(started.ticket);
        let (partition, index) = started.place;
        let offset = scene.broker.partitions[partition].records[index].0;
        self.highest = self.highest.max(Some(offset + 1));
        if scene.bug != Some(Bug::EndsUncounted) || ending != Ending::Skipped {
            scene.truth.counted(started.place, ending);
        }
    }

    fn halt(&mut self, scene: &mut Scene, started: Started) {
        scene.note(Ending::Halted.as_str());
        scene.say(|| format!("epoch {}: {:?} halts", self.epoch, started.place));
        scene.truth.counted(started.place, Ending::Halted);
        self.halted.push(started);
        self.halted.extend(self.again.drain(..));
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

    /// Stores the position for the next commit, if it moved.
    pub(super) fn store(&mut self, scene: &mut Scene) -> Held {
        let position = self.position(scene);
        if let Some(position) = position.filter(|_| self.stored != position) {
            scene.truth.stored(self.epoch, position)?;
            self.stored = Some(position);
        }
        Ok(())
    }
}
