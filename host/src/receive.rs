//! The way of a record through the middleware, before it is known whose it is.
//!
//! Handed a record that a lane is about to carry; gives it back when all of the middleware has seen it, or tells how its
//! delivery ended.
//! **Invariant:** what is through is not seen again, and after a failure the record goes on where it was.

use std::sync::Arc;

use tokio::time::Instant;

use crate::catalog::{Chain, Deployed};
use crate::deliver::{Delivered, Job, give_up_cut, settle};
use crate::flight::{Attempt, Passage, Started, Within};
use crate::guest::{Reception, Stage};
use crate::lane::{Lane, Stopped, follow_parked};
use crate::outcome::{Ending, Failure, Settlement};
use crate::record::Changed;

/// How far a record came.
enum Passed {
    Through(Option<Box<Changed>>),
    Dropped,
    Failed {
        place: usize,
        changed: Option<Box<Changed>>,
        failure: Failure,
        begun: Instant,
    },
}

/// Lets a record through the middleware; else tells how its delivery ended.
pub(crate) async fn receive(lane: &mut Lane, mut job: Job) -> Result<Job, Delivered> {
    lane.count_from(std::slice::from_ref(&job.started));
    if job.started.is_received() {
        return Ok(job);
    }
    let Some(first) = lane.behind_middleware() else {
        // What is gone by now leaves nothing behind.
        job.started.passage = Passage::Before;
        lane.ledger.hold(&mut job.started);
        return Ok(job);
    };
    // A record that nobody is to handle now is not shown to anybody.
    job = follow_parked(lane, &first, job).await?;
    if let Some(until) = lane.awaits_verdict(&first, &job.started) {
        return Err(Delivered::Later(job, until));
    }
    let (place, changed, failed) = resume(&mut job.started, &first.middleware);
    let passed = pass_through(lane, &first, &job.started, place, changed).await;
    lane.recycle_stages(&first);
    match passed {
        Err(Stopped) => Err(Delivered::Stopped),
        Ok(Passed::Through(changed)) => {
            job.started.passage = Passage::Through(changed);
            lane.ledger.hold(&mut job.started);
            Ok(job)
        }
        Ok(Passed::Dropped) => {
            // Nobody has handled it, so it says nothing of whether a handler that pauses may go on.
            let finished = lane.finish(&first, job.started, Ending::Filtered, None);
            Err(finished.await.into())
        }
        Ok(Passed::Failed {
            place,
            changed,
            failure,
            begun,
        }) => {
            let attempt = Attempt::after(failed, begun);
            job.started.passage = Passage::Within(Box::new(Within {
                chain: first.middleware.id.clone(),
                place,
                changed,
                failed: Some(attempt),
            }));
            lane.ledger.hold(&mut job.started);
            Err(fail(lane, &first, job, &failure, attempt).await)
        }
    }
}

/// Takes up where a record is on its way. It begins anew where the middleware is another one by now.
fn resume(started: &mut Started, chain: &Chain) -> (usize, Option<Box<Changed>>, Option<Attempt>) {
    let before = started.returned.as_ref().map(|it| Attempt::before(it));
    match std::mem::take(&mut started.passage) {
        Passage::Within(within) if within.chain == chain.id => {
            (within.place, within.changed, within.failed.or(before))
        }
        _ => (0, None, before),
    }
}

async fn pass_through(
    lane: &mut Lane,
    first: &Deployed,
    started: &Started,
    place: usize,
    mut changed: Option<Box<Changed>>,
) -> Result<Passed, Stopped> {
    let topic = Arc::clone(lane.topic());
    let original = started.original(&topic);
    for (place, stage) in first.middleware.stages.iter().enumerate().skip(place) {
        let begun = Instant::now();
        let reception = match lane.lease_stage(&first.id, stage).await? {
            Ok((instance, _)) => {
                let begun = Instant::now();
                match &changed {
                    Some(changed) => instance.receive(&changed.view(&original), begun).await,
                    None => instance.receive(&original, begun).await,
                }
            }
            Err(failure) => Err(failure),
        };
        stage.note(&reception, begun.elapsed());
        match reception {
            Ok(Reception::Pass) => {}
            Ok(Reception::Change(record)) => changed = Some(Box::new(record)),
            Ok(Reception::Drop) => return Ok(Passed::Dropped),
            Err(failure) => {
                let failure = named(stage, failure);
                return Ok(Passed::Failed {
                    place,
                    changed,
                    failure,
                    begun,
                });
            }
        }
    }
    Ok(Passed::Through(changed))
}

/// Says in which middleware a record failed.
fn named(stage: &Stage, mut failure: Failure) -> Failure {
    failure.message = format!("middleware {}: {}", stage.name, failure.message);
    failure
}

/// Decides about a record that failed on its way, by the policy of the handler that speaks for the partition. The attempts
/// count for themselves: those of whoever handles the record begin later.
async fn fail(
    lane: &mut Lane,
    first: &Deployed,
    job: Job,
    failure: &Failure,
    attempt: Attempt,
) -> Delivered {
    let Job { started, failed } = job;
    lane.attempts = attempt.number;
    let settlement = {
        let topic = Arc::clone(lane.topic());
        let view = started.view(&topic);
        lane.decide(first, failure, attempt, &view).await
    };
    let Ok(settlement) = settlement else {
        return Delivered::Stopped;
    };
    let is_written = matches!(settlement, Settlement::DeadLetter | Settlement::Park);
    if is_written && let Some(failure) = lane.cut(first, &started) {
        // Its letter may be what goes round.
        let failed = Some(attempt);
        return give_up_cut(lane, first, Job { started, failed }, failure).await;
    }
    match settle(lane, first, started, failure, attempt, settlement).await {
        Delivered::Later(Job { started, .. }, at) => Delivered::Later(Job { started, failed }, at),
        Delivered::Halted(mut cargo) => {
            // Its attempts begin anew under whatever serves next, as a handler's do.
            for started in &mut cargo {
                if let Passage::Within(within) = &mut started.passage {
                    within.failed = None;
                }
            }
            Delivered::Halted(cargo)
        }
        delivered => delivered,
    }
}
