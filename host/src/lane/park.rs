//! What a lane does about parked keys: records of such a key follow it to the dead letters, unhandled, or wait.
//!
//! A marker of the key travels in the flight of each dead letter, so that a record is complete only when both are written.
//! **Invariant:** a key is parked before the lane takes the next record, and a record of a parked key is never handled.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Lane, Stopped};
use crate::catalog::Deployed;
use crate::dead_letter::Reason;
use crate::deliver::{Delivered, Job, give_up_cut};
use crate::flight::{Cargo, Started};
use crate::marker::{MarkerKey, Says, Slot, State};
use crate::moment::now_ms;
use crate::outcome::{Ending, Failure, FailureKind};
use crate::parked::{Look, News};
use crate::parking::ParkedKeys;
use crate::record::Emit;

/// How long a record waits before it looks whether its key is free again.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What a log line shows of a key.
const KEY_CHARS_MAX: usize = 80;

/// Lets a record through whose key is not parked; else tells how its delivery ended.
pub(crate) async fn follow_parked(
    lane: &mut Lane,
    handler: &Deployed,
    job: Job,
) -> Result<Job, Delivered> {
    if lane.parked().len() == 0 || !handler.parks() {
        return Ok(job);
    }
    let Some(slot) = slot(&job.started) else {
        return Ok(job);
    };
    let (session, offset) = (session(&job.started), first_offset(&job.started));
    match lane.parked().look(&slot, session, offset) {
        Look::Free => Ok(job),
        Look::Waits => Err(Delivered::Later(job, Instant::now() + LOOK_EVERY)),
        Look::Lies => {
            let cargo = Cargo::from_iter([job.started]);
            lane.send_off(handler, cargo, Ending::Parked, None).await;
            Err(Delivered::Settled)
        }
        Look::Follows => {
            if let Some(failure) = lane.cut(handler, &job.started) {
                // Its letter may be what goes round.
                return Err(give_up_cut(lane, handler, job, failure).await);
            }
            let failure = Failure::new(
                FailureKind::Parked,
                "a record before it with the same key could not be handled",
            );
            let attempts = job
                .started
                .returned
                .as_ref()
                .map_or(0, |it| it.letter.attempts);
            lane.mark(handler, &job.started, FailureKind::Parked);
            let cargo = Cargo::from_iter([job.started]);
            let reason = Reason::last(&failure, attempts);
            lane.send_off(handler, cargo, Ending::Parked, Some(reason))
                .await;
            Err(Delivered::Settled)
        }
    }
}

impl Lane {
    /// Returns whether records may be given up by parking their keys: those that are parked already take no more room.
    pub(crate) fn may_park(&self, cargo: &[Started]) -> bool {
        let is_parked = |started| slot(started).is_some_and(|slot| self.parked().has(&slot));
        self.parked().has_room() || cargo.iter().all(is_parked)
    }

    /// Gives a record up and parks its key, if it has one.
    pub(crate) async fn park(
        &mut self,
        handler: &Deployed,
        started: Started,
        reason: Reason<'_>,
    ) -> Result<(), Stopped> {
        self.mark(handler, &started, reason.failure.kind);
        self.finish(handler, started, Ending::DeadLettered, Some(reason))
            .await
    }

    /// Parks the key of a record, and puts the marker beside the dead letter that is about to be written.
    pub(crate) fn mark(&mut self, handler: &Deployed, started: &Started, kind: FailureKind) {
        let Some(slot) = slot(started) else {
            return;
        };
        let offset = first_offset(started);
        let like = State {
            handler: handler.id.to_string(),
            first: offset,
            last: offset,
            error_kind: kind.as_str().to_owned(),
            time_ms: now_ms(),
            session: session(started).map(str::to_owned),
        };
        let (state, is_new) = self.parked().park(&slot, &like);
        if is_new {
            self.tell(
                handler,
                &slot,
                "key parked: its later records follow it to the dead letters",
            );
        }
        self.push_marker(slot, Says::State, Some(&state.encode()));
    }

    /// Writes down what is new about parked keys. The records of nobody wait for it.
    pub(crate) async fn write_news(&mut self, handler: &Deployed, news: Vec<(Slot, News)>) {
        let mut unparked = Vec::new();
        for (slot, news) in news {
            match news {
                News::State(state) => {
                    let what = match &state.session {
                        Some(_) => "key held: its later records wait while it is replayed",
                        None => "the replay of the key has ended: it is parked as before",
                    };
                    self.tell(handler, &slot, what);
                    self.push_marker(slot, Says::State, Some(&state.encode()));
                }
                News::Unparked => {
                    self.tell(
                        handler,
                        &slot,
                        "key unparked: its records are handled again",
                    );
                    self.push_marker(slot.clone(), Says::State, None);
                    unparked.push(slot);
                }
                News::NoRequest(session) => {
                    self.push_marker(slot, Says::Request(session), None);
                }
            }
        }
        // A flight of its own: these are no outputs of a record.
        self.send_off(handler, Cargo::new(), Ending::Parked, None)
            .await;
        // Only now: what is written when one of its records fails again must come after this.
        for slot in unparked {
            self.parked().unparked(&slot);
        }
    }

    /// Returns the parked keys of the partition.
    pub(crate) fn parked(&self) -> &Arc<ParkedKeys> {
        &self.place.parked
    }

    fn push_marker(&mut self, slot: Slot, says: Says, value: Option<&[u8]>) {
        let Some(topic) = self.parked().marker_topic() else {
            // The manifest was refused where there is none.
            return;
        };
        let place = self.parked().place();
        let key = MarkerKey { place, slot, says }.encode();
        // This outbox has no bounds.
        let _ = self.letters.push(&Emit {
            topic: topic.as_str(),
            key: Some(&key),
            value,
            headers: Vec::new(),
            partition: None,
            timestamp_ms: None,
        });
    }

    fn tell(&self, handler: &Deployed, slot: &Slot, what: &'static str) {
        let key: String = String::from_utf8_lossy(&slot.key)
            .chars()
            .take(KEY_CHARS_MAX)
            .collect();
        tracing::info!(
            tenant = %handler.id.tenant,
            handler = %handler.id.name,
            topic = &*self.place.topic,
            partition = self.place.partition,
            key,
            "{what}"
        );
    }
}

/// Returns the key of a record where it may be parked: one without a key has no later ones, and a dead letter that is
/// replayed by itself was overtaken long ago.
fn slot(started: &Started) -> Option<Slot> {
    let key = started.record.key()?.to_vec();
    let of = match &started.returned {
        Some(returned) => {
            returned.session.as_ref()?;
            let letter = &returned.letter;
            Some((letter.topic.clone(), letter.partition))
        }
        None => None,
    };
    Some(Slot { of, key })
}

fn session(started: &Started) -> Option<&str> {
    started.returned.as_ref()?.session.as_deref()
}

/// Returns the offset that the record had first.
fn first_offset(started: &Started) -> i64 {
    let returned = started.returned.as_ref();
    returned.map_or(started.record.offset(), |it| it.letter.offset)
}
