//! One attempt of a record or a batch: into the guest, out of it, and what is decided then.
//!
//! **Invariant:** the decision is the product's.

use std::time::Duration;

use kafka_wasm_host::outcome::{Ending, Failure, FailureKind, Outcome, Settlement, Verdict};
use kafka_wasm_host::parts::Part;
use kafka_wasm_host::settle::{BatchSettlement, Tried, settle, settle_batch};
use kafka_wasm_host::suspects::Suspicion;

use super::super::guest::{self, Answer};
use super::super::scene::{Bug, Scene};
use super::super::truth::Held;
use super::{Batch, Cargo, Place, Task};

/// One attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    /// Which one it is, from 1.
    pub(super) number: u32,
    /// When the first one began.
    pub(super) first_ms: u64,
}

/// What is in the guest.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) cargo: Cargo,
    pub(super) attempt: Attempt,
}

impl Call {
    pub(super) fn places(&self) -> Vec<Place> {
        self.cargo.iter().map(|started| started.place).collect()
    }

    pub(super) fn into_part(self) -> Part<super::Started, Attempt> {
        Part {
            records: self.cargo.into_iter().collect(),
            failed: Some(self.attempt),
        }
    }
}

/// What became of the next parts of a batch.
#[derive(Debug)]
pub(super) enum Entered {
    /// One is in the guest, the others come after it.
    Inside(Call, Batch),
    /// Nothing of them is left.
    Settled,
    /// The lane stops at these records; others come after them.
    Halted(Cargo, Batch),
}

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum Delivered {
    /// The next part may follow, if there is one.
    On(Batch),
    /// What is to be tried again, and when.
    Later(Batch, u64),
    /// The lane stops at these records; others come after them.
    Halted(Cargo, Batch),
}

impl Task {
    /// Calls the guest with the next part, if there is one. A record that had an output refused does not come so far.
    pub(super) fn enter(&mut self, scene: &mut Scene, mut batch: Batch) -> Held<Entered> {
        let Part { records, failed } = loop {
            let Some(part) = batch.next(|started| self.suspicion(scene, started).is_some()) else {
                return Ok(Entered::Settled);
            };
            let [only] = part.records.as_slice() else {
                break part;
            };
            let Some(attempts) = self.blamed(scene, only) else {
                break part;
            };
            scene.note("a record is given up for an output that was refused");
            scene.truth.blamed(self.epoch, only.place)?;
            let cargo = vec![*only];
            if let Some(cargo) = self.settle_unwritten(scene, cargo, attempts, false)? {
                return Ok(Entered::Halted(cargo, batch));
            }
        };
        let attempt = Attempt {
            number: failed.map_or(0, |failed| failed.number) + 1,
            first_ms: failed.map_or(scene.now_ms, |failed| failed.first_ms),
        };
        let cargo = records.into_iter().collect();
        let call = Call { cargo, attempt };
        let (epoch, places) = (self.epoch, call.places());
        scene.say(|| {
            format!(
                "epoch {epoch}: {places:?} enter, attempt {}",
                attempt.number
            )
        });
        scene
            .truth
            .entered(epoch, &places, attempt.number, scene.now_ms)?;
        Ok(Entered::Inside(call, batch))
    }

    fn suspicion(&self, scene: &Scene, started: &super::Started) -> Option<Suspicion> {
        let (partition, index) = started.place;
        let offset = scene.broker.partitions[partition].records[index].offset;
        scene.suspects[self.host][partition].look(offset)
    }

    /// The attempts of a record that had an output of its own refused.
    fn blamed(&self, scene: &mut Scene, started: &super::Started) -> Option<u32> {
        match self.suspicion(scene, started)? {
            Suspicion::Refused(refusals) => refusals.first().map(|refusal| refusal.attempts),
            Suspicion::Batch => {
                scene.note("a suspect is handed over alone");
                (scene.bug == Some(Bug::BlamesTheBatch)).then_some(1)
            }
        }
    }

    /// The guest returns.
    pub(super) fn leave(&mut self, scene: &mut Scene, call: Call, rest: Batch) -> Held<Delivered> {
        let (epoch, places) = (self.epoch, call.places());
        let number = call.attempt.number;
        let answer = guest::handle(scene, &mut self.outbox, &places, number);
        scene.say(|| format!("epoch {epoch}: {places:?} leave: {answer:?}"));
        let culprits: Vec<Place> = match &answer {
            Answer::All(_, culprit) => culprit.iter().copied().collect(),
            Answer::Each(failed) => failed.iter().map(|(place, _)| *place).collect(),
        };
        scene.truth.left(epoch, &places, &culprits);
        let ending = match answer {
            Answer::All(Outcome::Handled, _) => Ending::Handled,
            Answer::All(Outcome::Filtered, _) => Ending::Filtered,
            Answer::All(Outcome::Failed(failure), _) => {
                return self.fail(scene, call, rest, &failure);
            }
            Answer::Each(failed) => return self.settle_each(scene, call, rest, failed),
        };
        self.finish(scene, &call.cargo, number, ending)?;
        Ok(Delivered::On(rest))
    }

    fn fail(
        &mut self,
        scene: &mut Scene,
        call: Call,
        mut rest: Batch,
        failure: &Failure,
    ) -> Held<Delivered> {
        scene.note(failure.kind.as_str());
        if scene.bug != Some(Bug::SendsWhatFailed) {
            self.outbox.clear();
        }
        let number = call.attempt.number;
        let verdict = guest::on_error(scene, &mut self.outbox, number);
        let settlement = match self.decide(scene, &call, failure, verdict)? {
            BatchSettlement::Halve => {
                self.outbox.clear();
                scene.note("a batch is halved");
                halve(scene, call, &mut rest);
                return Ok(Delivered::On(rest));
            }
            BatchSettlement::All(settlement) => settlement,
        };
        match settlement {
            Settlement::Retry { after } => {
                self.outbox.clear();
                rest.again(call.into_part());
                return Ok(Delivered::Later(rest, scene.now_ms + wait_ms(scene, after)));
            }
            Settlement::Halt => {
                self.outbox.clear();
                return Ok(Delivered::Halted(call.cargo, rest));
            }
            Settlement::Skip => self.finish(scene, &call.cargo, number, Ending::Skipped)?,
            Settlement::DeadLetter => {
                self.finish(scene, &call.cargo, number, Ending::DeadLettered)?;
            }
            Settlement::Park => self.park(scene, &call.cargo, number, failure.kind)?,
        }
        Ok(Delivered::On(rest))
    }

    /// Lets the product decide about a failed attempt.
    pub(super) fn decide(
        &self,
        scene: &mut Scene,
        call: &Call,
        failure: &Failure,
        verdict: Option<Verdict>,
    ) -> Held<BatchSettlement> {
        let Attempt { number, first_ms } = call.attempt;
        let age_ms = match scene.bug {
            Some(Bug::ForgetsTheAge) => 0,
            _ => scene.now_ms - first_ms,
        };
        let tried = Tried {
            attempts: number,
            age: Duration::from_millis(age_ms),
        };
        let (retry, on_exhausted) = (&scene.scenario.retry, scene.scenario.on_exhausted);
        let attempts_max = retry.on(failure.kind).max_attempts;
        let unit = scene.dice.unit();
        let settlement = settle(failure, tried, retry, on_exhausted, verdict, unit);
        let settlement = match scene.bug {
            Some(Bug::GivesUpTheWhole) => BatchSettlement::All(settlement),
            _ => settle_batch(settlement, verdict, call.cargo.len()),
        };
        scene.truth.decided(
            (self.epoch, &call.places()),
            (failure, number, verdict),
            settlement,
            scene.now_ms,
        )?;
        let wanted_again = match verdict {
            Some(verdict) => verdict == Verdict::Retry,
            None => failure.kind != FailureKind::Reject,
        };
        let is_again = matches!(settlement, BatchSettlement::All(Settlement::Retry { .. }));
        if wanted_again && !is_again {
            scene.note(if number < attempts_max {
                "no time was left"
            } else {
                "no attempt was left"
            });
        }
        Ok(settlement)
    }
}

/// Milliseconds until the next attempt.
pub(super) fn wait_ms(scene: &Scene, after: Duration) -> u64 {
    match scene.bug {
        Some(Bug::RetriesAtOnce) => 0,
        // Rounded up: a timer never fires early.
        _ => after.as_micros().div_ceil(1000) as u64,
    }
}

/// Puts the halves of a failed batch before what comes after it.
fn halve(scene: &Scene, call: Call, rest: &mut Batch) {
    let Part { records, failed } = call.into_part();
    match scene.bug {
        Some(Bug::ForgetsAHalf) => {
            let first = records.len() / 2;
            let records = records.into_iter().take(first).collect();
            rest.again(Part { records, failed });
        }
        Some(Bug::RepeatsAHalf) => {
            let whole = records.clone();
            let first = records.len() / 2;
            let records = records.into_iter().take(first).collect();
            rest.again(Part {
                records: whole,
                failed,
            });
            rest.again(Part { records, failed });
        }
        Some(Bug::PeelsOneByOne) => {
            for started in records.into_iter().rev() {
                let records = std::iter::once(started).collect();
                rest.again(Part { records, failed });
            }
        }
        _ => rest.halve(Part { records, failed }),
    }
}
