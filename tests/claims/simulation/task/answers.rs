//! What becomes of a batch of which the handler names the records that failed.
//!
//! **Invariant:** each record that was named is decided about by itself; those to be tried again go together.

use kafka_wasm_host::outcome::{Ending, Failure, Settlement};
use kafka_wasm_host::settle::BatchSettlement;

use super::super::broker::Place;
use super::super::guest;
use super::super::scene::{Bug, Scene};
use super::super::truth::Held;
use super::attempt::{Call, Delivered, wait_ms};
use super::{Batch, Cargo, Task};

impl Task {
    /// Settles the records of a batch but those that were named, and decides about each of these.
    pub(super) fn settle_each(
        &mut self,
        scene: &mut Scene,
        call: Call,
        mut rest: Batch,
        failed: Vec<(Place, Failure)>,
    ) -> Held<Delivered> {
        let attempt = call.attempt;
        let is_named = |place: Place| failed.iter().any(|(named, _)| *named == place);
        scene.truth.named(&failed);
        let (bad, good): (Cargo, Cargo) =
            (call.cargo.into_iter()).partition(|started| is_named(started.place));
        if good.is_empty() {
            self.outbox.clear();
        } else {
            scene.note("a batch goes on without some of its records");
            self.finish(scene, &good, attempt.number, Ending::Handled)?;
        }
        let (mut again, mut until_ms) = (Cargo::new(), 0);
        let mut left = bad.into_iter().zip(failed);
        while let Some((started, (_, failure))) = left.next() {
            scene.note(failure.kind.as_str());
            let cargo = vec![started];
            let one = Call { cargo, attempt };
            let verdict = guest::on_error(scene, &mut self.outbox, attempt.number);
            let decided = self.decide(scene, &one, &failure, verdict)?;
            // One record is not halved, and where there are batches no key is parked.
            let (BatchSettlement::All(settlement), Call { cargo, .. }) = (decided, one) else {
                continue;
            };
            match settlement {
                Settlement::Retry { after } => {
                    self.outbox.clear();
                    until_ms = until_ms.max(scene.now_ms + wait_ms(scene, after));
                    if scene.bug != Some(Bug::ForgetsTheNamed) {
                        again.extend(cargo);
                    }
                }
                Settlement::Skip => self.finish(scene, &cargo, attempt.number, Ending::Skipped)?,
                Settlement::DeadLetter => {
                    self.finish(scene, &cargo, attempt.number, Ending::DeadLettered)?;
                }
                Settlement::Halt | Settlement::Park => {
                    self.outbox.clear();
                    again.extend(cargo);
                    again.extend(left.map(|(started, _)| started));
                    return Ok(Delivered::Halted(again, rest));
                }
            }
        }
        if again.is_empty() {
            return Ok(Delivered::On(rest));
        }
        if again.len() > 1 {
            scene.note("some records of a batch are tried again together");
        }
        if scene.bug == Some(Bug::RepeatsTheUnnamed) {
            again.extend(good);
            again.sort_by_key(|started| started.place);
        }
        let cargo = again;
        rest.again(Call { cargo, attempt }.into_part());
        Ok(Delivered::Later(rest, until_ms))
    }
}
