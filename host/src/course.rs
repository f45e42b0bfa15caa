//! One attempt of a pipeline: its steps, one after the other.
//!
//! Handed a record whose turn a pipeline has; says what became of it, and leaves in the lane what is to be sent.
//! **Invariant:** nothing of an attempt that failed is sent but requests, and what a step did that is not repeatable is
//! kept for the next attempt.

mod ask;

use std::borrow::Cow;
use std::sync::Arc;

use tokio::time::Instant;
use tracing::Instrument as _;

use self::ask::Asking;
use crate::catalog::{Course, Deployed, Station};
use crate::flight::{Halfway, Kept, Started};
use crate::guest::Stage;
use crate::lane::{Lane, Stopped};
use crate::outbox::Outbox;
use crate::outcome::{Failure, FailureKind, Outcome, Settlement};
use crate::pipeline::{Action, OnStepError, Progress, Work, with_event};
use crate::publish::{Unwritable, key_for};
use crate::record::{Changed, RecordView};

/// Lets a record through the steps of a pipeline. Also tells when the first one began.
pub(crate) async fn attempt_course(
    lane: &mut Lane,
    handler: &Deployed,
    course: &Course,
    started: &mut Started,
) -> Result<(Outcome, Instant), Stopped> {
    let halfway = started.halfway.take();
    let halfway = halfway.filter(|it| it.is_of(&handler.revision, &course.name));
    let mut run = Run::new(handler, course, halfway.map(|it| it.progress));
    let patience = lane.patience(handler, course);
    let begun = Instant::now();
    let ran = {
        let topic = Arc::clone(lane.topic());
        let record = started.view(&topic);
        patience.with(run.through(lane, &record)).await
    };
    let Ok(ran) = ran else {
        lane.rest();
        return Err(Stopped);
    };
    lane.recycle_stages(handler);
    let outcome = ran?;
    let took = begun.elapsed();
    lane.clock = begun + took;
    if let Some(stats) = lane.stats() {
        stats.invoke.observe(took);
    }
    if let Outcome::Failed(_) = outcome {
        started.halfway = run.halfway();
        lane.ledger.hold(started);
    } else {
        lane.pipe(&run.outputs);
    }
    Ok((outcome, begun))
}

/// How a record leaves a step.
enum Passed {
    /// For the next one.
    On,
    /// The pipeline ends here, well.
    Finished,
    /// The pipeline ends here, and the record is left out.
    Dropped,
}

type Step<T = Passed> = Result<Result<T, Failure>, Stopped>;

/// An attempt on its way.
struct Run<'a> {
    handler: &'a Deployed,
    course: &'a Course,
    progress: Progress<Kept>,
    /// The record as it is now, once it is not the one that was begun with.
    changed: Option<Changed>,
    /// What is to be sent when all steps have succeeded.
    outputs: Outbox,
}

impl<'a> Run<'a> {
    fn new(handler: &'a Deployed, course: &'a Course, progress: Option<Progress<Kept>>) -> Self {
        let progress = progress.unwrap_or_default();
        let limits = &handler.manifest.limits;
        let (changed, outputs) = match progress.kept() {
            Some(kept) => (kept.changed.clone(), kept.outputs.clone()),
            None => (
                None,
                Outbox::new(limits.outbox_records, limits.outbox_bytes),
            ),
        };
        Self {
            handler,
            course,
            progress,
            changed,
            outputs,
        }
    }

    /// Returns what the next attempt goes on from, if it is not the beginning.
    fn halfway(self) -> Option<Box<Halfway>> {
        (self.progress.start() > 0).then(|| {
            Box::new(Halfway {
                revision: self.handler.revision.clone(),
                pipeline: Arc::clone(&self.course.name),
                progress: self.progress,
            })
        })
    }

    async fn through(
        &mut self,
        lane: &mut Lane,
        original: &RecordView<'_>,
    ) -> Result<Outcome, Stopped> {
        let course = self.course;
        let stations = course.stations.iter().enumerate();
        for (place, station) in stations.skip(self.progress.start()) {
            let on_error = station.step.on_error;
            let goes_on = on_error == OnStepError::GoOn;
            let before = goes_on.then(|| (self.changed.clone(), self.outputs.mark()));
            let begun = Instant::now();
            let span = self.span(station, original);
            let passed = self.station(lane, station, original).instrument(span);
            let passed = passed.await?;
            station.duration.observe(begun.elapsed());
            match (passed, before) {
                (Ok(Passed::On), _) => {
                    let (changed, outputs) = (self.changed.as_ref(), &self.outputs);
                    let is_repeatable = station.step.is_repeatable;
                    self.progress
                        .succeeded(place, is_repeatable, || Kept::of(changed, outputs));
                }
                (Ok(Passed::Finished), _) => return Ok(Outcome::Handled),
                (Ok(Passed::Dropped), _) => return Ok(Outcome::Filtered),
                (Err(failure), Some((changed, mark))) => {
                    let failure = self.named(station, failure);
                    lane.note_failure(self.handler, &failure, lane.attempts, Some(original));
                    self.changed = changed;
                    self.outputs.rewind(mark);
                }
                (Err(failure), None) => return Ok(Outcome::Failed(self.named(station, failure))),
            }
        }
        Ok(Outcome::Handled)
    }

    fn span(&self, station: &Station, record: &RecordView<'_>) -> tracing::Span {
        tracing::debug_span!(
            "step",
            tenant = %self.handler.id.tenant,
            handler = %self.handler.id.name,
            pipeline = %self.course.name,
            step = %station.step.name,
            topic = record.topic,
            partition = record.partition,
            offset = record.offset,
        )
    }

    /// Says in which step a record failed, and what the manifest says of that.
    fn named(&self, station: &Station, mut failure: Failure) -> Failure {
        let (pipeline, step) = (&self.course.name, &station.step.name);
        failure.message = format!("pipeline {pipeline}, step {step}: {}", failure.message);
        failure.step = Some(format!("{pipeline}/{step}"));
        failure.settlement = match station.step.on_error {
            OnStepError::Retry | OnStepError::GoOn => None,
            OnStepError::Skip => Some(Settlement::Skip),
            OnStepError::DeadLetter => Some(Settlement::DeadLetter),
            OnStepError::Halt => Some(Settlement::Halt),
        };
        failure
    }

    /// Does one step: its work, then its pipe.
    async fn station(
        &mut self,
        lane: &mut Lane,
        station: &Station,
        original: &RecordView<'_>,
    ) -> Step {
        let passed = match (&station.step.work, &station.stage) {
            (Some(Work::BuiltIn(step)), _) => match step.apply(self.message(original)) {
                Ok(message) => {
                    let is_there = message.is_some();
                    self.changed = message.or_else(|| self.changed.take());
                    Ok(if is_there {
                        Passed::On
                    } else {
                        Passed::Dropped
                    })
                }
                Err(why) => Err(Failure::new(FailureKind::Reject, why)),
            },
            (Some(Work::Component(work)), Some(stage)) => {
                self.component(lane, stage, &work.arguments, original)
                    .await?
            }
            _ => Ok(Passed::On),
        };
        match (passed, &station.step.pipe) {
            (Ok(Passed::On), Some(pipe)) => self.act(lane, pipe.action(), original).await,
            (passed, _) => Ok(passed),
        }
    }

    /// Lets a component change the message, then decide about it, as far as it has hooks for both.
    async fn component(
        &mut self,
        lane: &mut Lane,
        stage: &Arc<Stage>,
        arguments: &str,
        original: &RecordView<'_>,
    ) -> Step {
        let (transforms, decides) = stage.component.is_step();
        if transforms {
            let (instance, beside) = match lane.lease_stage(&self.handler.id, stage).await? {
                Ok(leased) => leased,
                Err(failure) => return Ok(Err(failure)),
            };
            let answer = beside
                .lent_during(instance.transform(&self.lent(original), arguments))
                .await;
            let emitted = instance.take_outbox();
            match answer.and_then(|answer| self.take_in(&emitted).map(|()| answer)) {
                Ok(Some(message)) => self.changed = Some(message),
                Ok(None) => return Ok(Ok(Passed::Dropped)),
                Err(failure) => return Ok(Err(failure)),
            }
        }
        if !decides {
            return Ok(Ok(Passed::On));
        }
        let (instance, beside) = match lane.lease_stage(&self.handler.id, stage).await? {
            Ok(leased) => leased,
            Err(failure) => return Ok(Err(failure)),
        };
        let answer = beside
            .lent_during(instance.decide(&self.lent(original), arguments))
            .await;
        let emitted = instance.take_outbox();
        let actions = match answer.and_then(|answer| self.take_in(&emitted).map(|()| answer)) {
            Ok(actions) => actions,
            Err(failure) => return Ok(Err(failure)),
        };
        for action in actions {
            match self.act(lane, action, original).await? {
                Ok(Passed::On) => {}
                passed => return Ok(passed),
            }
        }
        Ok(Ok(Passed::On))
    }

    async fn act(&mut self, lane: &mut Lane, action: Action, original: &RecordView<'_>) -> Step {
        match action {
            Action::Pipe { topic, event } => {
                let done = self.pipe(&topic, event.as_deref(), original);
                return Ok(done.map(|()| Passed::On));
            }
            Action::Ask(question) => {
                let sent = self.sent(&question.topic, question.event.as_deref(), original);
                let message = match sent {
                    Ok(message) => message,
                    Err(failure) => return Ok(Err(failure)),
                };
                let asking = Asking {
                    lent: lane.lent(),
                    hops: lane.hops(),
                    handler: self.handler,
                };
                let answer = tokio::select! {
                    biased;
                    answer = asking.ask(&message, &question) => answer,
                    never = lane.lend_place() => match never {},
                };
                match answer {
                    Ok(answer) => self.changed = Some(answer),
                    Err(failure) => return Ok(Err(failure)),
                }
            }
            Action::Replace(message) => self.changed = Some(message),
            Action::Finish => return Ok(Ok(Passed::Finished)),
            Action::Drop => return Ok(Ok(Passed::Dropped)),
        }
        Ok(Ok(Passed::On))
    }

    /// Puts the message, as it is now, to what is to be sent.
    fn pipe(
        &mut self,
        topic: &str,
        event: Option<&str>,
        original: &RecordView<'_>,
    ) -> Result<(), Failure> {
        let message = self.sent(topic, event, original)?;
        let pushed = self.outputs.push(&message.emit(topic));
        pushed.map_err(|full| Failure::new(FailureKind::Other, full.to_string()))
    }

    /// Returns the message as it is sent to a topic.
    fn sent(
        &self,
        topic: &str,
        event: Option<&str>,
        original: &RecordView<'_>,
    ) -> Result<Changed, Failure> {
        let mut message = self.message(original);
        if let Some(event) = event {
            let source = &self.handler.manifest.routing.source;
            let named = with_event(&mut message, source, event);
            named.map_err(|error| Failure::new(FailureKind::Reject, error.to_string()))?;
        }
        let setup = &self.handler.setup;
        let (key_from, max_bytes) = (setup.key_from.as_ref(), setup.message_max_bytes);
        let key = key_for(&message.emit(topic), key_from, max_bytes, &setup.grants);
        let key = key.map_err(|why| unwritable(&why))?;
        if let Some(key) = key.map(Cow::into_owned) {
            message.key = Some(key);
        }
        Ok(message)
    }

    /// Takes in what a component emitted by itself.
    fn take_in(&mut self, emitted: &Outbox) -> Result<(), Failure> {
        for emit in emitted.iter() {
            let pushed = self.outputs.push(&emit);
            pushed.map_err(|full| other(full.to_string()))?;
        }
        Ok(())
    }

    fn message(&self, original: &RecordView<'_>) -> Changed {
        let changed = self.changed.clone();
        changed.unwrap_or_else(|| Changed::from(original))
    }

    fn lent<'r>(&'r self, original: &RecordView<'r>) -> RecordView<'r> {
        match &self.changed {
            Some(changed) => changed.view(original),
            None => original.clone(),
        }
    }
}

fn other(what: String) -> Failure {
    Failure::new(FailureKind::Other, what)
}

/// Says that a record cannot be sent. Where it goes may be another topic next time; what it consists of stays.
fn unwritable(why: &Unwritable) -> Failure {
    let kind = match why {
        Unwritable::Topic(_) => FailureKind::Other,
        Unwritable::NoKey(_) | Unwritable::TooLarge { .. } => FailureKind::Reject,
    };
    Failure::new(kind, why.to_string())
}
