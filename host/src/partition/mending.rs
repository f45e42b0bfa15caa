//! What a partition's task does about refused outputs that need not be the end of their records.
//!
//! They are sent again when their wait is over, in the order of their records, or go to a topic for refused outputs. From the
//! refusal on, and until all of that is acknowledged, no other record of the partition is begun, so that no later output
//! passes them. Nothing is sent again before all else has landed: what it is refused of may come first.
//! **Invariant:** a record whose output is to be mended stays open until the output, or what goes in its place, is
//! acknowledged, or the record is given up.

use tokio::time::{Instant, sleep_until};

use super::{PartitionTask, REST_ABOVE, STORE_EVERY, pause};
use crate::flight::{Cargo, Flight, Repair};
use crate::ids::HandlerId;

/// What waits until it is sent.
#[derive(Debug, Default)]
pub(super) struct Mending {
    waiting: Vec<(Option<HandlerId>, Cargo, Repair)>,
    /// When all of it is sent.
    due: Option<Instant>,
    /// Whether the lanes were told not to begin another record.
    is_holding: bool,
}

impl PartitionTask {
    /// Takes up a flight that landed refused; returns whether its records need not be given up.
    pub(super) fn takes_to_mend(&mut self, flight: &Flight) -> bool {
        let handler = self.lane.handler_of(flight.handler());
        let Some(repair) = handler.and_then(|it| flight.repair(&it.manifest.publish)) else {
            return false;
        };
        let cargo = flight.unload();
        if self.lane.stop.is_set() {
            // Whoever reads the partition next handles the records again.
            return true;
        }
        let due = Instant::now() + repair.wait;
        for started in &cargo {
            self.lane.vitals().wait(started.record.offset(), due);
        }
        tracing::warn!(
            topic = &**self.lane.topic(),
            partition = self.lane.partition(),
            offset = cargo.first().map_or(-1, |started| started.record.offset()),
            outputs = repair.outputs.len(),
            repeated = repair.repeated,
            wait_ms = crate::duration::millis(repair.wait),
            error = repair.reason,
            "kafka refused outputs; they are sent again, or go to the topic for refused outputs"
        );
        let mending = &mut self.mending;
        mending.due = Some(mending.due.map_or(due, |other| other.max(due)));
        let handler = flight.handler().cloned();
        mending.waiting.push((handler, cargo, repair));
        true
    }

    /// Returns whether refused outputs wait, are under way again, or are yet to be dealt with. As long as that is so, lanes begin
    /// no other record, and parked keys are tended here.
    pub(super) async fn is_mending(&mut self) -> bool {
        let is_mending = !self.mending.waiting.is_empty() || self.ledger.is_held();
        if is_mending && !self.mending.is_holding {
            self.hold_lanes(true);
        }
        if self.mending.is_holding {
            self.tend_parked_meanwhile().await;
        }
        if !is_mending && self.mending.is_holding {
            self.hold_lanes(false);
        }
        is_mending
    }

    fn hold_lanes(&mut self, is_holding: bool) {
        self.mending.is_holding = is_holding;
        self.parallel.hold(is_holding);
    }

    /// Sends what has waited long enough, or waits.
    pub(super) async fn mend(&mut self) {
        // Once it is due, it only waits for what is under way.
        let due = self.mending.due.filter(|due| *due > Instant::now());
        if self.mending.due.is_some() && due.is_none() && self.ledger.is_quiet() {
            return self.send_mended().await;
        }
        self.note_wait();
        if due.is_some_and(|due| due > Instant::now() + REST_ABOVE) {
            self.lane.rest();
        }
        // Who replays a key of the partition asks meanwhile, too.
        let look = (self.lane.parked().len() > 0).then(|| Instant::now() + STORE_EVERY);
        let at = due.into_iter().chain(look).min();
        let ledger = &self.ledger;
        let event = async {
            match at {
                None => ledger.changed().await,
                Some(at) => tokio::select! {
                    () = ledger.changed() => {}
                    () = sleep_until(at) => {}
                },
            }
        };
        pause(&mut self.lane, event).await;
    }

    /// Notes that the oldest record waits on purpose, also where its turn would have come and nothing of it is refused.
    fn note_wait(&self) {
        let (oldest, _, has_outputs) = self.ledger.front();
        if let (Some(due), Some(oldest), false) = (self.mending.due, oldest, has_outputs) {
            self.lane.vitals().wait(oldest, due);
        }
    }

    async fn send_mended(&mut self) {
        self.mending.due = None;
        let mut waiting = std::mem::take(&mut self.mending.waiting);
        let first = |cargo: &Cargo| cargo.first().map(|started| started.record.offset());
        waiting.sort_by_key(|(_, cargo, _)| first(cargo));
        for (handler, cargo, repair) in waiting {
            match self.lane.handler_of(handler.as_ref()) {
                Some(handler) => self.lane.mend(&handler, cargo, repair).await,
                // Whoever has the topic next handles the records.
                None => self.hold(cargo),
            }
        }
    }
}
