//! How records leave a task: their outputs, their dead letters, and what Kafka says about them.
//!
//! **Invariant:** a record is complete when all that was sent for it is written, or is part of the transaction.

use std::collections::VecDeque;

use kafka_wasm_host::outcome::{Ending, FailureKind, Settlement};
use kafka_wasm_host::settle::exhausted;

use super::super::broker::Sent;
use super::super::guest;
use super::super::scene::{Bug, Scene};
use super::super::truth::{Claim, End, Held, hold};
use super::{Batch, Cargo, Place, Started, Task};

/// Settled records whose outputs are not all reported.
#[derive(Debug)]
pub(super) struct Flight {
    number: usize,
    cargo: Cargo,
    ending: Ending,
    attempts: u32,
    /// What is to be made part of the transaction.
    unsent: VecDeque<Sent>,
    /// Outputs that are not reported, or not sent.
    waiting: usize,
    has_letter: bool,
    was_refused: bool,
}

impl Task {
    /// Sends the outputs of settled records on their way, and their letters where they are given up.
    pub(super) fn finish(
        &mut self,
        scene: &mut Scene,
        cargo: &Cargo,
        attempts: u32,
        ending: Ending,
    ) -> Held {
        if ending != Ending::DeadLettered {
            return self.send_off(
                scene,
                (cargo.clone(), ending),
                attempts,
                (End::Done, Vec::new()),
            );
        }
        let letter = |started: &Started| Self::letter(scene, *started, attempts);
        let letters = cargo.iter().map(letter).collect();
        self.send_off(
            scene,
            (cargo.clone(), ending),
            attempts,
            (End::Dead, letters),
        )
    }

    /// Sends what the guest emitted, and these records after it.
    pub(super) fn send_off(
        &mut self,
        scene: &mut Scene,
        (cargo, ending): (Cargo, Ending),
        attempts: u32,
        (end, more): (End, Vec<Sent>),
    ) -> Held {
        let (epoch, places) = (self.epoch, places(&cargo));
        let is_success = matches!(ending, Ending::Handled | Ending::Filtered);
        for emit in self.outbox.iter() {
            let is_ours = guest::is_of(&emit, attempts, !is_success);
            hold(Claim::Outbox, is_ours, || {
                format!("{places:?} send what a failed attempt emitted")
            })?;
        }
        let has_letter = !more.is_empty();
        let emits = self.outbox.iter().map(|_| Sent::Emit);
        let all: VecDeque<Sent> = emits.chain(more).collect();
        self.outbox.clear();
        let number = scene.truth.settled(epoch, &places, all.len(), end)?;
        scene.say(|| format!("epoch {epoch}: {places:?} are {ending:?}, sent: {all:?}"));
        if all.is_empty() || scene.bug == Some(Bug::CompletesUnacknowledged) {
            self.complete(scene, &cargo, ending);
        }
        if all.is_empty() {
            return Ok(());
        }
        self.doom(scene, number, (&cargo, attempts), has_letter);
        let waiting = all.len();
        let mut unsent = VecDeque::new();
        if scene.scenario.is_exactly_once {
            unsent = all;
        } else {
            for sent in all {
                scene.broker.send(self.host, epoch, number, sent);
            }
        }
        self.flights.push(Flight {
            number,
            cargo,
            ending,
            attempts,
            unsent,
            waiting,
            has_letter,
            was_refused: false,
        });
        Ok(())
    }

    /// Takes note that Kafka will refuse an output of these records, if it will.
    fn doom(
        &self,
        scene: &mut Scene,
        flight: usize,
        (cargo, attempts): (&Cargo, u32),
        has_letter: bool,
    ) {
        let entry =
            |started: &Started| scene.broker.partitions[self.partition].records[started.place.1];
        // What is large goes out when it was handled; the letters are small enough.
        let is_doomed = !has_letter && cargo.iter().any(|started| entry(started).is_large);
        if is_doomed && scene.scenario.refuses_large {
            let offsets = cargo.iter().map(|started| entry(started).offset).collect();
            scene
                .doomed
                .insert(flight, (self.partition, offsets, attempts));
        }
    }

    /// Whether a lane is between two outputs of a record, which all belong into one transaction.
    pub(in super::super) fn is_sending(&self, scene: &Scene) -> bool {
        scene.scenario.is_exactly_once && !self.flights.is_empty()
    }

    /// Makes an output part of the transaction; with the last one its records are complete.
    pub(in super::super) fn send(&mut self, scene: &mut Scene) {
        let flight = &mut self.flights[0];
        let sent = flight.unsent.pop_front();
        scene.transactions[self.host].extend(sent.map(|sent| (flight.number, sent)));
        flight.waiting -= 1;
        if flight.waiting == 0 {
            let flight = self.flights.remove(0);
            self.complete(scene, &flight.cargo, flight.ending);
        }
    }

    fn complete(&mut self, scene: &mut Scene, cargo: &Cargo, ending: Ending) {
        for started in cargo {
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
    }

    pub(super) fn halt(&mut self, scene: &mut Scene, mut cargo: Cargo, rest: Batch) {
        self.tell_halt(scene, &cargo);
        cargo.extend(rest.into_records().map(|(started, _)| started));
        self.halted.push(cargo);
        self.halted.extend(self.again.drain(..));
    }

    pub(super) fn tell_halt(&mut self, scene: &mut Scene, cargo: &Cargo) {
        let (epoch, places) = (self.epoch, places(cargo));
        scene.note(Ending::Halted.as_str());
        scene.say(|| format!("epoch {epoch}: {places:?} halt"));
        for place in places {
            scene.truth.halted(epoch, place);
        }
        self.revision = scene.revision;
    }

    /// Is told about one output of a flight.
    pub(in super::super) fn landed(&mut self, scene: &mut Scene, number: usize, is_written: bool) {
        let Some(at) = (self.flights.iter()).position(|flight| flight.number == number) else {
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
                self.complete(scene, &flight.cargo, flight.ending);
            }
        }
    }

    /// Kafka refused an output for good; later records may have been handled since.
    pub(super) fn settle_refused(&mut self, scene: &mut Scene, flight: Flight) -> Held {
        scene.note("an output was refused");
        let (attempts, has_letter) = (flight.attempts, flight.has_letter);
        if let Some(cargo) = self.settle_unwritten(scene, flight.cargo, attempts, has_letter)? {
            self.halt(scene, cargo, Batch::new([].into_iter().collect(), None));
        }
        Ok(())
    }

    /// Settles records of which an output was refused; returns those at which the lane halts.
    pub(super) fn settle_unwritten(
        &mut self,
        scene: &mut Scene,
        cargo: Cargo,
        attempts: u32,
        was_letter: bool,
    ) -> Held<Option<Cargo>> {
        let settlement = if was_letter {
            Settlement::Halt
        } else {
            exhausted(scene.scenario.on_exhausted)
        };
        match settlement {
            Settlement::DeadLetter => self.finish(scene, &cargo, attempts, Ending::DeadLettered)?,
            Settlement::Skip => self.finish(scene, &cargo, attempts, Ending::Skipped)?,
            Settlement::Park => self.park(scene, &cargo, attempts, FailureKind::Emit)?,
            Settlement::Halt | Settlement::Retry { .. } => return Ok(Some(cargo)),
        }
        Ok(None)
    }

    /// Stores what may be committed, if it is news.
    pub(in super::super) fn store(&mut self, scene: &mut Scene) -> Held {
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

fn places(cargo: &[Started]) -> Vec<Place> {
    cargo.iter().map(|started| started.place).collect()
}
