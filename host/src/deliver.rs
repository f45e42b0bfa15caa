//! The story of an attempt: receive, route, admit, lease, invoke, settle, flush, complete. Read this first.
//!
//! Handed a record by its partition's task or by one of its parallel lanes; returns when the record is settled, or must
//! wait for something that only the caller can wait for.
//! **Invariant:** one revision of the handler serves an attempt, and nothing is sent for an attempt that failed, except
//! what its error hook emitted.

use std::sync::Arc;

use tokio::time::Instant;

use crate::catalog::Deployed;
use crate::course::attempt_course;
use crate::dead_letter::Reason;
use crate::flight::{Attempt, Cargo, Passage, Started};
use crate::lane::{
    Lane, Next, Stopped, follow_parked, note_failed, note_failed_before, note_refused, paused_until,
};
use crate::outcome::{Ending, Failure, FailureKind, Outcome, Settlement};
use crate::parked::KEYS_MAX;
use crate::receive::receive;
use crate::route::{EventCall, OnUnmatched, Unmatched};
use crate::routes::Call;
use crate::settle::exhausted;
use crate::suspects::Refusal;

/// A record on its way to its settlement, with what earlier attempts left.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) started: Started,
    /// The attempt that failed last.
    pub(crate) failed: Option<Attempt>,
}

impl From<Started> for Job {
    fn from(started: Started) -> Self {
        let failed = started.returned.as_ref().map(|it| Attempt::before(it));
        Self { started, failed }
    }
}

/// How a delivery ended.
#[derive(Debug)]
pub(crate) enum Delivered {
    /// The records are settled; they complete when their outputs are acknowledged.
    Settled,
    /// The record is to be tried again, not before this time. Nothing is held for it meanwhile.
    Later(Job, Instant),
    /// No handler serves the topic now; the records were not touched.
    Unrouted(Cargo),
    /// The lane stops at these records until the handler is replaced.
    Halted(Cargo),
    /// The partition goes; the records stay unsettled for whoever reads it next.
    Stopped,
}

impl From<Result<(), Stopped>> for Delivered {
    /// Of records that were to be settled.
    fn from(settled: Result<(), Stopped>) -> Self {
        match settled {
            Ok(()) => Self::Settled,
            Err(Stopped) => Self::Stopped,
        }
    }
}

/// Carries one record through an attempt, to its settlement or to the wait for the next attempt, in sight of others.
pub(crate) async fn deliver(lane: &mut Lane, job: Job) -> Delivered {
    let offset = job.started.record.offset();
    lane.hand.take(offset);
    let mut delivered = carry(lane, job).await;
    // Each handler that takes the record has it once.
    while let Some(started) = lane.handed_on() {
        delivered = carry(lane, Job::from(started)).await;
    }
    lane.turn_back();
    if let Delivered::Later(_, at) = &delivered {
        lane.vitals().wait(offset, *at);
    }
    lane.hand.put_down();
    delivered
}

async fn carry(lane: &mut Lane, job: Job) -> Delivered {
    if lane.route().is_none() {
        return Delivered::Unrouted(Cargo::from_iter([job.started]));
    }
    if let Some(until) = lane.held_until() {
        return Delivered::Later(job, until);
    }
    let job = match receive(lane, job).await {
        Ok(job) => job,
        Err(delivered) => return delivered,
    };
    let (handler, call) = match lane.next_for(&job.started) {
        Next::Handler(handler, call) => (handler, call),
        Next::Nobody(why, unmatched) => {
            return leave_unmatched(lane, job.started, why, unmatched).await;
        }
        Next::Done => {
            lane.settle_parts(job.started).await;
            return Delivered::Settled;
        }
    };
    let job = match let_through(lane, &handler, job).await {
        Ok(job) => job,
        Err(delivered) => return delivered,
    };
    attempt(lane, &handler, job, &call).await
}

/// Lets the handler whose turn it is have the record once, and does what follows from that.
async fn attempt(lane: &mut Lane, handler: &Deployed, job: Job, call: &Call) -> Delivered {
    let Job {
        mut started,
        failed,
    } = job;
    let course = call.course(handler);
    let Ok(_permits) = lane.admit_to(handler, course).await else {
        return Delivered::Stopped;
    };
    lane.attempts = failed.map_or(0, |failed| failed.number) + 1;
    lane.note_handed(1);
    let attempted = match course {
        Some(course) => attempt_course(lane, handler, course, &mut started).await,
        None => attempt_one(lane, handler, &started, call.event()).await,
    };
    if let Ok((outcome @ (Outcome::Handled | Outcome::Filtered), _)) = &attempted {
        lane.show(handler, &started, call.event(), outcome);
    }
    let (failure, begun) = match attempted {
        Err(Stopped) => return Delivered::Stopped,
        Ok((Outcome::Handled, _)) => return end(lane, handler, started, Ending::Handled).await,
        Ok((Outcome::Filtered, _)) => return end(lane, handler, started, Ending::Filtered).await,
        Ok((Outcome::Failed(failure), begun)) => (failure, begun),
    };
    let attempt = Attempt::after(failed, begun);
    let settlement = {
        let topic = Arc::clone(lane.topic());
        let view = started.view(&topic);
        lane.decide(handler, &failure, attempt, &view).await
    };
    match settlement {
        Ok(settlement) => {
            if settlement.is_last() {
                lane.show_failed(handler, &started, call.event(), &failure);
            }
            settle(lane, handler, started, &failure, attempt, settlement).await
        }
        Err(Stopped) => Delivered::Stopped,
    }
}

/// Lets a record through that is to be handled now; else tells how its delivery ended.
async fn let_through(lane: &mut Lane, handler: &Deployed, job: Job) -> Result<Job, Delivered> {
    let job = follow_parked(lane, handler, job).await?;
    if let Some(failure) = lane.cut(handler, &job.started) {
        return Err(give_up_cut(lane, handler, job, failure).await);
    }
    let held = lane.awaits_verdict(handler, &job.started);
    if let Some(until) = held.or_else(|| paused_until(handler)) {
        return Err(Delivered::Later(job, until));
    }
    match lane.refusal_of(handler, &job.started) {
        Some(refusal) => {
            let cargo = Cargo::from_iter([job.started]);
            Err(give_up_refused(lane, handler, cargo, &refusal).await)
        }
        None => Ok(job),
    }
}

/// Ends the life of a record that an attempt has succeeded with.
async fn end(lane: &mut Lane, handler: &Deployed, started: Started, ending: Ending) -> Delivered {
    lane.note_handled(handler);
    lane.finish(handler, started, ending, None).await.into()
}

/// Does what was decided about a failed attempt.
pub(crate) async fn settle(
    lane: &mut Lane,
    handler: &Deployed,
    mut started: Started,
    failure: &Failure,
    attempt: Attempt,
    settlement: Settlement,
) -> Delivered {
    let again = |started| Job {
        started,
        failed: Some(attempt),
    };
    if settlement.is_last()
        && let Some((failed, until)) = put_off(lane, handler, &mut started, attempt)
    {
        lane.forget_outputs();
        return Delivered::Later(Job { started, failed }, until);
    }
    if settlement.is_last() {
        lane.note_given_up(handler);
    }
    match settlement {
        Settlement::Retry { after } => {
            if let Some(topic) = handler.manifest.return_topics.for_wait(after) {
                let reason = Reason {
                    failure,
                    attempts: attempt.number,
                    wait: Some((topic, attempt.deferral(after))),
                };
                lane.defer(handler, started, reason).await;
                return Delivered::Settled;
            }
            lane.unchange(handler, &mut started);
            Delivered::Later(again(started), Instant::now() + after)
        }
        Settlement::Skip => {
            let finished = lane.finish(handler, started, Ending::Skipped, None);
            finished.await.into()
        }
        Settlement::DeadLetter => {
            let reason = Reason::last(failure, attempt.number);
            let finished = lane.finish(handler, started, Ending::DeadLettered, Some(reason));
            finished.await.into()
        }
        Settlement::Park if lane.may_park(std::slice::from_ref(&started)) => {
            let reason = Reason::last(failure, attempt.number);
            lane.park(handler, started, reason).await.into()
        }
        Settlement::Halt | Settlement::Park => {
            if settlement == Settlement::Park {
                tracing::error!("{KEYS_MAX} keys of the partition are parked, and no more may be");
            }
            let cargo = Cargo::from_iter([started]);
            match lane.finish_halted(handler, &cargo).await {
                Ok(()) => halt(lane, handler, cargo, failure),
                Err(Stopped) => Delivered::Stopped,
            }
        }
    }
}

/// Returns until when a record waits that is about to be given up, if it does, and the attempts that count then.
fn put_off(
    lane: &Lane,
    handler: &Deployed,
    started: &mut Started,
    attempt: Attempt,
) -> Option<(Option<Attempt>, Instant)> {
    if let Some(until) = lane.hold(handler, started) {
        let before = started.returned.as_ref();
        return Some((before.map(|it| Attempt::before(it)), until));
    }
    let until = match started.passage {
        Passage::Within(_) => note_failed_before(handler),
        Passage::Before | Passage::Through(_) => note_failed(handler),
    };
    Some((Some(attempt), until?))
}

/// Settles a record that no handler takes.
async fn leave_unmatched(
    lane: &mut Lane,
    started: Started,
    why: Unmatched,
    unmatched: OnUnmatched,
) -> Delivered {
    let Some(first) = lane.route() else {
        return Delivered::Unrouted(Cargo::from_iter([started]));
    };
    if unmatched == OnUnmatched::DeadLetter
        && let Some(failure) = lane.cut(&first, &started)
    {
        // Its letter may be what goes round.
        return give_up_cut(lane, &first, Job::from(started), failure).await;
    }
    let cargo = Cargo::from_iter([started]);
    let failure = Failure::new(FailureKind::Unmatched, why.to_string());
    lane.attempts = 0;
    match unmatched {
        OnUnmatched::Skip => {
            lane.send_off(&first, cargo, Ending::Unmatched, None).await;
            Delivered::Settled
        }
        OnUnmatched::DeadLetter => {
            lane.note_unmatched(&first, &failure, &cargo);
            let reason = Reason::last(&failure, 0);
            lane.send_off(&first, cargo, Ending::DeadLettered, Some(reason))
                .await;
            Delivered::Settled
        }
        OnUnmatched::Halt => {
            lane.note_unmatched(&first, &failure, &cargo);
            halt(lane, &first, cargo, &failure)
        }
    }
}

/// Settles records of which Kafka refused an output for good, for each handler whose output it was.
pub(crate) async fn deliver_refused(
    lane: &mut Lane,
    mut cargo: Cargo,
    refusals: &[Refusal],
) -> Delivered {
    let mut delivered = Delivered::Settled;
    lane.count_from(&cargo);
    for (at, refusal) in refusals.iter().enumerate() {
        let is_followed = at + 1 < refusals.len();
        let Some(handler) = lane.turn_to_blamed(refusal, &cargo, is_followed) else {
            return Delivered::Unrouted(cargo);
        };
        delivered = give_up_refused(lane, &handler, cargo, refusal).await;
        match lane.handed_on() {
            Some(started) => cargo = Cargo::from_iter([started]),
            None => break,
        }
    }
    lane.turn_back();
    delivered
}

/// Settles records of which Kafka refused an output for good. The hook has long returned and later records were handled,
/// so there is no attempt after this one.
async fn give_up_refused(
    lane: &mut Lane,
    handler: &Deployed,
    cargo: Cargo,
    refusal: &Refusal,
) -> Delivered {
    let failure = Failure::new(FailureKind::Emit, refusal.reason.as_str());
    lane.attempts = refusal.attempts;
    note_refused(handler);
    let settlement = if refusal.is_letter {
        Settlement::Halt
    } else {
        exhausted(handler.manifest.on_exhausted)
    };
    give_up(lane, handler, cargo, &failure, settlement).await
}

/// Settles a record that handlers have passed on too often.
pub(crate) async fn give_up_cut(
    lane: &mut Lane,
    handler: &Deployed,
    Job { started, failed }: Job,
    mut failure: Failure,
) -> Delivered {
    lane.attempts = failed.map_or(0, |failed| failed.number);
    let mut settlement = exhausted(handler.manifest.on_exhausted);
    let is_written = matches!(settlement, Settlement::DeadLetter | Settlement::Park);
    if is_written && lane.letter_goes_round(handler, &started) {
        let topic = &handler.manifest.dead_letter_topic;
        failure.message = format!(
            "{}; it was cut before, and handlers read {topic}, so its dead letter would go round for ever (give the handler \
             another dead-letter-topic)",
            failure.message
        );
        settlement = Settlement::Halt;
    }
    let cargo = Cargo::from_iter([started]);
    give_up(lane, handler, cargo, &failure, settlement).await
}

/// Settles records without another attempt.
async fn give_up(
    lane: &mut Lane,
    handler: &Deployed,
    cargo: Cargo,
    failure: &Failure,
    settlement: Settlement,
) -> Delivered {
    let topic = Arc::clone(lane.topic());
    let first = cargo.first().map(|first| first.view(&topic));
    lane.note_failure(handler, failure, lane.attempts, first.as_ref());
    let given_up = Reason::last(failure, lane.attempts);
    let (ending, reason) = match settlement {
        Settlement::DeadLetter => (Ending::DeadLettered, Some(given_up)),
        Settlement::Skip => (Ending::Skipped, None),
        Settlement::Park if lane.may_park(&cargo) => {
            for started in cargo {
                lane.mark(handler, &started, failure.kind);
                let cargo = Cargo::from_iter([started]);
                lane.send_off(handler, cargo, Ending::DeadLettered, Some(given_up))
                    .await;
            }
            return Delivered::Settled;
        }
        Settlement::Halt | Settlement::Park | Settlement::Retry { .. } => {
            return halt(lane, handler, cargo, failure);
        }
    };
    lane.send_off(handler, cargo, ending, reason).await;
    Delivered::Settled
}

/// One attempt: leases an instance and lets it handle the record. Also tells when the instance was called.
async fn attempt_one(
    lane: &mut Lane,
    handler: &Deployed,
    started: &Started,
    event: Option<&EventCall>,
) -> Result<(Outcome, Instant), Stopped> {
    let topic = Arc::clone(lane.topic());
    let view = started.view(&topic);
    let leased = lane.lease_patiently(handler).await?;
    let begun = Instant::now();
    let (instance, patience) = match leased {
        Ok(leased) => leased,
        Err(failure) => return Ok((Outcome::Failed(failure), begun)),
    };
    let Ok(outcome) = patience.with(instance.handle(&view, event, begun)).await else {
        lane.rest();
        return Err(Stopped);
    };
    let took = instance.returned().saturating_duration_since(begun);
    lane.clock = begun + took;
    lane.took = took;
    if let Some(stats) = lane.stats() {
        stats.invoke.observe(took);
    }
    Ok((outcome, begun))
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
        error = failure.excerpt(),
        "the partition is halted until the handler is replaced or the host restarted"
    );
    Delivered::Halted(cargo)
}
