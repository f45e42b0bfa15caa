//! What a partition's task does about outputs that Kafka refused for good.
//!
//! Handed flights that landed refused. A batch is asked for its guilty: each of its records is handed over alone, and what
//! it emits then is compared with what was refused and not sent, since the outputs of the others are in Kafka already.
//! **Invariant:** a record is settled as innocent only where every refused output is known to be another's.

use std::collections::{BTreeMap, BTreeSet};

use super::PartitionTask;
use crate::bulk::attempt_bulk;
use crate::catalog::Deployed;
use crate::deliver::deliver_refused;
use crate::flight::{Cargo, Flight, Started};
use crate::guest::BulkOutcome;
use crate::lane::{Lane, Stopped};
use crate::record::Fingerprint;
use crate::suspects::Refusal;

/// Outputs that were refused, and why.
type Refused = BTreeMap<Fingerprint, String>;

impl PartitionTask {
    /// Deals with flights of which Kafka refused an output for good.
    pub(super) async fn settle_refused(&mut self) {
        for flight in self.ledger.take_refused() {
            if self.takes_to_mend(&flight) {
                continue;
            }
            let (cargo, refusal) = (flight.unload_refused(), flight.as_refusal());
            if cargo.len() <= 1 || refusal.is_letter {
                self.give_up(cargo, &flight.refusals()).await;
            } else {
                self.settle_refused_batch(&flight, cargo, refusal).await;
            }
        }
    }

    async fn give_up(&mut self, cargo: Cargo, refusals: &[Refusal]) {
        let delivered = deliver_refused(&mut self.lane, cargo, refusals).await;
        self.accept(delivered);
    }

    /// Gives up those records of a batch whose own outputs were refused, or all where some of these are no record's own.
    async fn settle_refused_batch(&mut self, flight: &Flight, cargo: Cargo, refusal: Refusal) {
        let refused: Refused = flight.take_refused_outputs().into_iter().collect();
        let blame = match self.lane.route() {
            Some(handler) if handler.component.takes().batches => {
                blame(&mut self.lane, &handler, &cargo, &refused).await
            }
            _ => Ok(None),
        };
        if !self.parallel.is_unused() {
            // Where others do the work, nobody asks this lane for the place of its instance.
            self.lane.rest();
        }
        let reasons = match blame {
            // Who reads the partition next meets the batch again.
            Err(Stopped) => return,
            Ok(None) => return self.give_up(cargo, &[refusal]).await,
            Ok(Some(reasons)) => reasons,
        };
        let (mut innocent, mut guilty) = (Cargo::new(), Vec::new());
        for (started, reason) in cargo.into_iter().zip(reasons) {
            match reason {
                None => innocent.push(started),
                Some(reason) => guilty.push((started, reason)),
            }
        }
        self.ledger.complete(&innocent);
        if let Some(stats) = self.lane.stats() {
            stats.ended(flight.ending(), innocent.len());
        }
        for (started, reason) in guilty {
            let refusal = Refusal {
                reason,
                ..refusal.clone()
            };
            self.give_up(Cargo::from_iter([started]), &[refusal]).await;
        }
    }
}

/// Returns for each record why an output of its own was refused, if one was; `None` where a refused output is no record's
/// own, as that of a sum over the batch.
async fn blame(
    lane: &mut Lane,
    handler: &Deployed,
    cargo: &[Started],
    refused: &Refused,
) -> Result<Option<Vec<Option<String>>>, Stopped> {
    let _permit = lane.admit(handler).await?;
    let mut unknown: BTreeSet<Fingerprint> = refused.keys().copied().collect();
    let mut reasons = Vec::with_capacity(cargo.len());
    for started in cargo {
        lane.hand.take(started.record.offset());
        let outcome = attempt_bulk(lane, handler, std::slice::from_ref(started)).await;
        lane.hand.put_down();
        let outputs = lane.drop_outputs(handler);
        let is_well = matches!(outcome?, BulkOutcome::Handled { failed, .. } if failed.is_empty());
        let own = if is_well { outputs } else { Vec::new() };
        for output in &own {
            unknown.remove(output);
        }
        let reason = own.iter().find_map(|output| refused.get(output));
        reasons.push(reason.cloned());
    }
    Ok(unknown.is_empty().then_some(reasons))
}
