//! One attempt of a record: into the guest, out of it, and what is decided then.
//!
//! **Invariant:** the decision is the product's.

use std::time::Duration;

use kafka_wasm_host::outcome::{Ending, Failure, FailureKind, Outcome, Settlement, Verdict};
use kafka_wasm_host::settle::{Tried, settle};

use super::super::guest;
use super::super::scene::{Bug, Scene};
use super::super::truth::Held;
use super::{Started, Task};

/// How an attempt ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum Delivered {
    Settled,
    /// The next attempt and its time.
    Later(Started, u32, u64),
    Halted(Started),
}

impl Task {
    /// Calls the guest.
    pub(super) fn enter(&mut self, scene: &mut Scene, started: &mut Started, attempt: u32) -> Held {
        if attempt == 1 {
            started.first_ms = scene.now_ms;
        }
        let (epoch, place) = (self.epoch, started.place);
        scene.say(|| format!("epoch {epoch}: {place:?} enters, attempt {attempt}"));
        scene.truth.entered(epoch, place, attempt, scene.now_ms)
    }

    /// The guest returns.
    pub(super) fn leave(
        &mut self,
        scene: &mut Scene,
        started: Started,
        attempt: u32,
    ) -> Held<Delivered> {
        let outcome = guest::handle(scene, &mut self.outbox, started.place, attempt);
        scene.truth.left(self.epoch, started.place);
        scene.say(|| {
            format!(
                "epoch {}: {:?} leaves: {outcome:?}",
                self.epoch, started.place
            )
        });
        let ending = match outcome {
            Outcome::Handled => Ending::Handled,
            Outcome::Filtered => Ending::Filtered,
            Outcome::Failed(failure) => return self.fail(scene, started, attempt, &failure),
        };
        self.finish(scene, started, attempt, ending)?;
        Ok(Delivered::Settled)
    }

    fn fail(
        &mut self,
        scene: &mut Scene,
        started: Started,
        attempt: u32,
        failure: &Failure,
    ) -> Held<Delivered> {
        scene.note(failure.kind.as_str());
        if scene.bug != Some(Bug::SendsWhatFailed) {
            self.outbox.clear();
        }
        let verdict = guest::on_error(scene, &mut self.outbox, attempt);
        let ending = match self.decide(scene, started, (failure, attempt, verdict))? {
            Settlement::Retry { after } => {
                self.outbox.clear();
                let after_ms = match scene.bug {
                    Some(Bug::RetriesAtOnce) => 0,
                    // Rounded up: a timer never fires early.
                    _ => after.as_micros().div_ceil(1000) as u64,
                };
                let at_ms = scene.now_ms + after_ms;
                return Ok(Delivered::Later(started, attempt + 1, at_ms));
            }
            Settlement::Halt => {
                self.outbox.clear();
                return Ok(Delivered::Halted(started));
            }
            Settlement::Skip => Ending::Skipped,
            Settlement::DeadLetter | Settlement::Park => Ending::DeadLettered,
        };
        self.finish(scene, started, attempt, ending)?;
        Ok(Delivered::Settled)
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
}
