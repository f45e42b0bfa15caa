//! What a partition's task does about outputs that Kafka refused for good.

use std::sync::Arc;

use super::PartitionTask;
use crate::catalog::Deployed;
use crate::dead_letter::Reason;
use crate::deliver::halt;
use crate::flight::{Cargo, Flight, FlightKind, Purpose};
use crate::outcome::{Ending, Failure, FailureKind, Settlement};
use crate::settle::exhausted;

impl PartitionTask {
    /// Deals with flights of which Kafka refused an output for good.
    pub(super) async fn settle_refused(&mut self) {
        for flight in self.ledger.take_refused() {
            let failure = Failure::new(FailureKind::Emit, flight.refusal());
            let cargo = flight.unload();
            let Some(handler) = self.lane.route() else {
                self.hold(cargo);
                continue;
            };
            self.settle_refused_one(&handler, &flight, cargo, &failure)
                .await;
        }
    }

    async fn settle_refused_one(
        &mut self,
        handler: &Deployed,
        flight: &Flight,
        cargo: Cargo,
        failure: &Failure,
    ) {
        let FlightKind {
            purpose, attempts, ..
        } = flight.kind();
        self.lane.attempts = attempts;
        let topic = Arc::clone(self.lane.topic());
        let first = cargo.first().map(|first| first.view(&topic));
        self.lane
            .note_failure(handler, failure, attempts, first.as_ref());
        let settlement = match purpose {
            // The hook has long returned and later records were handled, so there is no attempt after this one.
            Purpose::Outputs => exhausted(handler.manifest.on_exhausted),
            Purpose::DeadLetter => Settlement::Halt,
        };
        let reason = Reason::last(failure, attempts);
        match settlement {
            Settlement::DeadLetter => {
                self.lane
                    .send_off(handler, cargo, Ending::DeadLettered, Some(reason))
                    .await;
            }
            Settlement::Skip => {
                self.lane
                    .send_off(handler, cargo, Ending::Skipped, None)
                    .await;
            }
            Settlement::Halt | Settlement::Retry { .. } => {
                let delivered = halt(&self.lane, handler, cargo, failure);
                self.accept(delivered);
            }
        }
    }
}
