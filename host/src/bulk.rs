//! The story of a batch: as that of a record, with an answer for each record where the handler gives one.
//!
//! Handed a batch by its partition's task or by one of its parallel lanes. Records that the hook names as failed are
//! decided about one by one; those that shall be tried again make up the next batch, in their order. A batch that goes on
//! failing as a whole is halved until the records that make it fail are alone.
//! **Invariant:** a record of a batch is settled once, in its order, and one that is tried again is not sent on its way
//! before.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::catalog::Deployed;
use crate::compact::is_last_of_its_key;
use crate::dead_letter::Reason;
use crate::deliver::{Delivered, Job, deliver_refused, give_up_cut, halt};
use crate::flight::{Attempt, Cargo, Started};
use crate::guest::BulkOutcome;
use crate::lane::{Lane, Stopped};
use crate::outcome::{Ending, Failure, Settlement};
use crate::parts::{Part, Parts};
use crate::receive::receive;
use crate::settle::BatchSettlement;

/// A batch on its way to the settlement of all of its records.
#[derive(Debug)]
pub(crate) struct Batch {
    parts: Parts<Started, Attempt>,
}

impl Batch {
    /// Makes a batch of these records.
    pub(crate) fn new(cargo: Cargo) -> Self {
        let failed = last_attempt(&cargo);
        Self {
            parts: Parts::new(cargo, failed),
        }
    }

    /// Makes a batch of one record, with the attempts that it has had.
    pub(crate) fn of(Job { started, failed }: Job) -> Self {
        Self {
            parts: Parts::new(Cargo::from_iter([started]), failed),
        }
    }

    /// Takes it apart into its records, in their order.
    pub(crate) fn into_jobs(self) -> Vec<Job> {
        let records = self.parts.into_records();
        records
            .map(|(started, failed)| Job { started, failed })
            .collect()
    }

    /// Returns how many records it has.
    pub(crate) fn count(&self) -> usize {
        self.parts.count()
    }

    /// Returns the offset of the first record.
    pub(crate) fn offset(&self) -> Option<i64> {
        Some(self.parts.first()?.record.offset())
    }
}

/// Returns the last attempt of the record that was tried most, if any came back.
fn last_attempt(cargo: &[Started]) -> Option<Attempt> {
    let returned = cargo.iter().filter_map(|started| started.returned.as_ref());
    let most = returned.max_by_key(|returned| returned.letter.attempts)?;
    Some(Attempt::before(most))
}

/// How far a batch came.
#[derive(Debug)]
pub(crate) enum Carried {
    /// To its end, or to where only the caller can help.
    Done(Delivered),
    /// To records that are to be tried again, not before this time. Nothing is held for them meanwhile.
    Later(Batch, Instant),
}

/// What is left of a part after an attempt.
enum Left {
    /// Nothing: every record is settled.
    Nothing,
    /// These records are to be tried again after a wait.
    Again(Cargo, Duration),
    /// These wait for the verdict on a new revision, and their attempts begin anew.
    Held(Cargo, Instant),
    /// One of these records makes the others fail.
    Halves(Cargo),
    /// The delivery ends here.
    End(Delivered),
}

/// Carries a batch to the settlement of each of its records, or to where some are to be tried again.
pub(crate) async fn deliver_bulk(lane: &mut Lane, batch: Batch) -> Carried {
    let Some(handler) = lane.route() else {
        let nothing_carried = Delivered::Unrouted(Cargo::new());
        return Carried::Done(with_rest(nothing_carried, batch.parts));
    };
    carry(lane, &handler, batch).await
}

/// Adds the parts that were not carried to the records that are given back.
fn with_rest(delivered: Delivered, parts: Parts<Started, Attempt>) -> Delivered {
    let rest = parts.into_records().map(|(started, _)| started);
    match delivered {
        Delivered::Halted(mut cargo) => {
            cargo.extend(rest);
            Delivered::Halted(cargo)
        }
        Delivered::Unrouted(mut cargo) => {
            cargo.extend(rest);
            Delivered::Unrouted(cargo)
        }
        delivered => delivered,
    }
}

/// Carries a batch until its records are settled or some are to be tried again later, in sight of others.
pub(crate) async fn carry(lane: &mut Lane, handler: &Deployed, batch: Batch) -> Carried {
    if let Some(until) = lane.held_until() {
        return Carried::Later(batch, until);
    }
    if let Some(offset) = batch.offset() {
        lane.hand.take(offset);
    }
    let carried = match receive_all(lane, batch).await {
        Ok(batch) => carry_parts(lane, handler, batch).await,
        Err(carried) => carried,
    };
    if let Carried::Later(batch, at) = &carried
        && let Some(offset) = batch.offset()
    {
        lane.vitals().wait(offset, *at);
    }
    lane.hand.put_down();
    carried
}

/// Lets the records through the middleware, one by one. The batch waits for those that are to be tried again there.
async fn receive_all(lane: &mut Lane, batch: Batch) -> Result<Batch, Carried> {
    if !lane.has_middleware() || batch.parts.all(Started::is_received) {
        return Ok(batch);
    }
    let (mut cargo, mut failed, mut wait) = (Cargo::new(), None, None);
    let mut jobs = batch.into_jobs().into_iter();
    while let Some(job) = jobs.next() {
        failed = failed.or(job.failed);
        match receive(lane, job).await {
            Ok(job) => cargo.push(job.started),
            Err(Delivered::Settled) => {}
            Err(Delivered::Later(job, at)) => {
                wait = wait.max(Some(at));
                cargo.push(job.started);
            }
            Err(Delivered::Stopped) => return Err(Carried::Done(Delivered::Stopped)),
            Err(Delivered::Halted(here) | Delivered::Unrouted(here)) => {
                cargo.extend(here);
                cargo.extend(jobs.map(|job| job.started));
                return Err(Carried::Done(Delivered::Halted(cargo)));
            }
        }
    }
    if cargo.is_empty() {
        return Err(Carried::Done(Delivered::Settled));
    }
    let parts = Parts::new(cargo, failed);
    match wait {
        Some(at) => Err(Carried::Later(Batch { parts }, at)),
        None => Ok(Batch { parts }),
    }
}

async fn carry_parts(lane: &mut Lane, handler: &Deployed, Batch { mut parts }: Batch) -> Carried {
    // Of a record that was part of a batch of which Kafka refused an output only a batch of its own shows whether it was
    // its.
    let max_hops = handler.manifest.routing.max_hops;
    while let Some(part) = parts.next(|started| started.hops > max_hops || lane.is_suspect(started))
    {
        let Part {
            records: cargo,
            failed,
        } = part;
        let cargo = match settle_lone(lane, handler, cargo, failed).await {
            Ok(cargo) => cargo,
            Err(Delivered::Settled) => continue,
            Err(delivered) => return Carried::Done(with_rest(delivered, parts)),
        };
        lane.count_from(&cargo);
        let mut held = cargo.iter();
        if let Some(until) = held.find_map(|started| lane.awaits_verdict(handler, started)) {
            let records = cargo;
            parts.again(Part { records, failed });
            return Carried::Later(Batch { parts }, until);
        }
        let Ok(_permit) = lane.admit(handler).await else {
            return Carried::Done(Delivered::Stopped);
        };
        let cargo = if failed.is_none() && handler.manifest.bulk.is_some_and(|bulk| bulk.compact) {
            compact(lane, cargo)
        } else {
            cargo
        };
        let attempt = Attempt::after(failed, Instant::now());
        lane.attempts = attempt.number;
        lane.note_handed(cargo.len());
        let left = match attempt_bulk(lane, handler, &cargo).await {
            Err(Stopped) => return Carried::Done(Delivered::Stopped),
            Ok(BulkOutcome::Handled { filtered, failed }) => {
                settle_each(lane, handler, cargo, &filtered, failed, attempt).await
            }
            Ok(BulkOutcome::Failed(failure)) => {
                settle_whole(lane, handler, cargo, &failure, attempt).await
            }
        };
        let failed = Some(attempt);
        match left {
            Ok(Left::Nothing) => {}
            Ok(Left::Again(mut cargo, after)) => {
                for started in &mut cargo {
                    lane.unchange(handler, started);
                }
                let records = cargo;
                parts.again(Part { records, failed });
                return Carried::Later(Batch { parts }, Instant::now() + after);
            }
            Ok(Left::Held(records, until)) => {
                parts.again(Part {
                    records,
                    failed: None,
                });
                return Carried::Later(Batch { parts }, until);
            }
            Ok(Left::Halves(records)) => parts.halve(Part { records, failed }),
            Ok(Left::End(delivered)) => return Carried::Done(with_rest(delivered, parts)),
            Err(Stopped) => return Carried::Done(Delivered::Stopped),
        }
    }
    Carried::Done(Delivered::Settled)
}

/// Lets records through that are to be handled; else tells how the delivery of the only one ended.
async fn settle_lone(
    lane: &mut Lane,
    handler: &Deployed,
    mut cargo: Cargo,
    failed: Option<Attempt>,
) -> Result<Cargo, Delivered> {
    let [only] = cargo.as_slice() else {
        return Ok(cargo);
    };
    if let Some(failure) = lane.cut(handler, only) {
        lane.count_from(&cargo);
        return match cargo.pop() {
            Some(started) => {
                let job = Job { started, failed };
                Err(give_up_cut(lane, handler, job, failure).await)
            }
            None => Ok(cargo),
        };
    }
    match lane.refusal_of(handler, only) {
        Some(refusal) => Err(deliver_refused(lane, cargo, &[refusal]).await),
        None => Ok(cargo),
    }
}

/// Settles the records of which the batch has a later one with the same key; returns the others.
fn compact(lane: &Lane, cargo: Cargo) -> Cargo {
    let last = is_last_of_its_key(cargo.iter().map(Started::key));
    let (mut kept, mut older) = (Cargo::new(), Cargo::new());
    for (started, is_last) in cargo.into_iter().zip(last) {
        if is_last {
            kept.push(started);
        } else {
            older.push(started);
        }
    }
    lane.ledger.complete(&older);
    if let Some(stats) = lane.stats() {
        stats.ended(Ending::Compacted, older.len());
    }
    kept
}

/// One attempt of a batch: leases an instance and lets it handle the records.
pub(crate) async fn attempt_bulk(
    lane: &mut Lane,
    handler: &Deployed,
    cargo: &[Started],
) -> Result<BulkOutcome, Stopped> {
    let topic = Arc::clone(lane.topic());
    let records: Vec<_> = cargo.iter().map(|started| started.view(&topic)).collect();
    let (instance, patience) = match lane.lease_patiently(handler).await? {
        Ok(leased) => leased,
        Err(failure) => return Ok(BulkOutcome::Failed(failure)),
    };
    let begun = Instant::now();
    let Ok(outcome) = patience.with(instance.handle_bulk(&records, begun)).await else {
        lane.rest();
        return Err(Stopped);
    };
    if let Some(stats) = lane.stats() {
        stats.invoke.observe(begun.elapsed());
    }
    Ok(outcome)
}

/// The whole batch failed: one decision for all of its records, or a look at its halves.
async fn settle_whole(
    lane: &mut Lane,
    handler: &Deployed,
    mut cargo: Cargo,
    failure: &Failure,
    attempt: Attempt,
) -> Result<Left, Stopped> {
    let settlement = {
        let topic = Arc::clone(lane.topic());
        let records: Vec<_> = cargo.iter().map(|started| started.view(&topic)).collect();
        lane.decide_bulk(handler, failure, attempt, &records)
            .await?
    };
    let reason = Reason::last(failure, attempt.number);
    let settlement = match settlement {
        BatchSettlement::Halve => return Ok(Left::Halves(cargo)),
        BatchSettlement::All(settlement) => settlement,
    };
    if settlement.is_last()
        && let Some(until) = hold_all(lane, handler, &mut cargo)
    {
        return Ok(Left::Held(cargo, until));
    }
    Ok(match settlement {
        Settlement::Retry { after } => Left::Again(cargo, after),
        Settlement::Halt => {
            lane.finish_halted(handler, &cargo).await?;
            Left::End(halt(lane, handler, cargo, failure))
        }
        Settlement::Skip => {
            lane.finish_all(handler, cargo, Ending::Skipped, None)
                .await?;
            Left::Nothing
        }
        // A manifest cannot have both parked keys and batches.
        Settlement::DeadLetter | Settlement::Park => {
            lane.finish_all(handler, cargo, Ending::DeadLettered, Some(reason))
                .await?;
            Left::Nothing
        }
    })
}

/// As [`Lane::hold`], of all records of a batch.
fn hold_all(lane: &mut Lane, handler: &Deployed, cargo: &mut [Started]) -> Option<Instant> {
    let told = cargo.iter_mut().map(|started| lane.hold(handler, started));
    let until = told.max().flatten()?;
    lane.forget_outputs();
    Some(until)
}

/// The hook answered record by record.
async fn settle_each(
    lane: &mut Lane,
    handler: &Deployed,
    cargo: Cargo,
    filtered: &[usize],
    failed: Vec<(usize, Failure)>,
    attempt: Attempt,
) -> Result<Left, Stopped> {
    let mut failed = failed.into_iter().peekable();
    let mut filtered = filtered.iter().peekable();
    let (mut good, mut dropped, mut bad) = (Cargo::new(), Cargo::new(), Vec::new());
    for (place, started) in cargo.into_iter().enumerate() {
        if let Some((_, failure)) = failed.next_if(|(failed, _)| *failed == place) {
            bad.push((started, failure));
        } else if filtered.next_if_eq(&&place).is_some() {
            dropped.push(started);
        } else {
            good.push(started);
        }
    }
    // The outputs of the batch go with the records that were handled, or with the dropped ones if there are no other.
    if good.is_empty() && dropped.is_empty() {
        // Nothing was handled, so there is nothing that they would be the outputs of.
        lane.forget_outputs();
    }
    if let Some(proving) = &handler.proving {
        proving.handled_all(good.len() + dropped.len());
    }
    lane.finish_all(handler, good, Ending::Handled, None)
        .await?;
    lane.finish_all(handler, dropped, Ending::Filtered, None)
        .await?;
    settle_failed(lane, handler, bad, attempt).await
}

/// Decides about each record that the hook named.
async fn settle_failed(
    lane: &mut Lane,
    handler: &Deployed,
    failed: Vec<(Started, Failure)>,
    attempt: Attempt,
) -> Result<Left, Stopped> {
    let topic = Arc::clone(lane.topic());
    let (mut again, mut wait, mut held) = (Cargo::new(), Duration::ZERO, None);
    let mut failed = failed.into_iter();
    while let Some((mut started, failure)) = failed.next() {
        let settlement = {
            let view = started.view(&topic);
            lane.decide(handler, &failure, attempt, &view).await?
        };
        let reason = Reason::last(&failure, attempt.number);
        if settlement.is_last()
            && let Some(until) = hold_all(lane, handler, std::slice::from_mut(&mut started))
        {
            held = held.max(Some(until));
            again.push(started);
            continue;
        }
        match settlement {
            Settlement::Retry { after } => {
                wait = wait.max(after);
                again.push(started);
            }
            Settlement::Skip => {
                lane.finish(handler, started, Ending::Skipped, None).await?;
            }
            Settlement::DeadLetter | Settlement::Park => {
                lane.finish(handler, started, Ending::DeadLettered, Some(reason))
                    .await?;
            }
            Settlement::Halt => {
                lane.finish_halted(handler, std::slice::from_ref(&started))
                    .await?;
                again.push(started);
                again.extend(failed.map(|(started, _)| started));
                return Ok(Left::End(halt(lane, handler, again, &failure)));
            }
        }
    }
    Ok(match held {
        _ if again.is_empty() => Left::Nothing,
        Some(until) => Left::Held(again, until.max(Instant::now() + wait)),
        None => Left::Again(again, wait),
    })
}
