//! The story of a record: route, lease, invoke, settle, flush, complete. Read this first.
//!
//! Handed a record by its partition's task; returns when the record is settled, or must wait for something that only
//! the task can wait for.
//! **Invariant:** one revision of the handler serves all attempts of a record, and nothing is sent for an attempt that
//! failed, except what its error hook emitted.

use std::sync::Arc;

use tokio::time::Instant;

use crate::catalog::Deployed;
use crate::dead_letter::Reason;
use crate::flight::{Cargo, Started};
use crate::lane::{Lane, Stopped};
use crate::outcome::{Ending, Failure, Outcome, Settlement};

/// How a delivery ended.
#[derive(Debug)]
pub(crate) enum Delivered {
    /// The records are settled; they complete when their outputs are acknowledged.
    Settled,
    /// No handler serves the topic now; the records were not touched.
    Unrouted(Cargo),
    /// The lane stops at these records until the handler is replaced.
    Halted(Cargo),
    /// The partition goes; the records stay unsettled for whoever reads it next.
    Stopped,
}

/// Carries one record from its queue to its settlement.
pub(crate) async fn deliver(lane: &mut Lane, started: Started) -> Delivered {
    let Some(handler) = lane.route() else {
        return Delivered::Unrouted(Cargo::from_iter([started]));
    };
    for attempt in 1.. {
        let failure = match attempt_one(lane, &handler, &started).await {
            Err(Stopped) => return Delivered::Stopped,
            Ok(Outcome::Handled) => {
                lane.finish(&handler, started, Ending::Handled, None).await;
                return Delivered::Settled;
            }
            Ok(Outcome::Filtered) => {
                lane.finish(&handler, started, Ending::Filtered, None).await;
                return Delivered::Settled;
            }
            Ok(Outcome::Failed(failure)) => failure,
        };
        let topic = Arc::clone(lane.topic());
        let view = started.record.view(&topic);
        let Ok(settlement) = lane.decide(&handler, &failure, attempt, &view).await else {
            return Delivered::Stopped;
        };
        match settlement {
            Settlement::Retry { after } => {
                if lane.wait(after).await.is_err() {
                    return Delivered::Stopped;
                }
            }
            Settlement::Skip => {
                lane.finish(&handler, started, Ending::Skipped, None).await;
                return Delivered::Settled;
            }
            Settlement::DeadLetter => {
                let reason = Reason {
                    failure: &failure,
                    attempts: attempt,
                };
                lane.finish(&handler, started, Ending::DeadLettered, Some(reason))
                    .await;
                return Delivered::Settled;
            }
            Settlement::Halt => {
                let cargo = Cargo::from_iter([started]);
                lane.finish_halted(&handler, &cargo).await;
                return halt(lane, &handler, cargo, &failure);
            }
        }
    }
    Delivered::Stopped
}

/// One attempt: leases an instance and lets it handle the record.
async fn attempt_one(
    lane: &mut Lane,
    handler: &Deployed,
    started: &Started,
) -> Result<Outcome, Stopped> {
    let topic = Arc::clone(lane.topic());
    let view = started.record.view(&topic);
    let instance = match lane.lease(handler).await? {
        Ok(instance) => instance,
        Err(failure) => return Ok(Outcome::Failed(failure)),
    };
    let begun = Instant::now();
    let outcome = instance.handle(&view, begun).await;
    if let Some(stats) = lane.stats() {
        stats.invoke.observe(begun.elapsed());
    }
    Ok(outcome)
}

/// Notes loudly that a lane stops at these records.
pub(crate) fn halt(lane: &Lane, handler: &Deployed, cargo: Cargo, failure: &Failure) -> Delivered {
    if let Some(stats) = lane.stats() {
        stats.ended(Ending::Halted, cargo.len());
    }
    tracing::error!(
        tenant = %handler.id.tenant,
        handler = %handler.id.name,
        topic = &**lane.topic(),
        partition = lane.partition(),
        offset = cargo.first().map_or(-1, |started| started.record.offset()),
        kind = failure.kind.as_str(),
        error = failure.message,
        "the partition is halted until the handler is replaced or the host restarted"
    );
    Delivered::Halted(cargo)
}
