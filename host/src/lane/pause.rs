//! How a handler pauses, by command or while too many of its records fail, and how records wait for the verdict on a new
//! revision.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Lane;
use crate::breaker::{Admission, Breaker};
use crate::catalog::{Deployed, Proving, Spot};
use crate::flight::{Passage, Started};
use crate::probation::Standing;

impl Lane {
    /// Returns until when a record waits that failed under a revision of which it is not decided whether it stays, or that
    /// goes.
    pub(crate) fn awaits_verdict(&self, handler: &Deployed, started: &Started) -> Option<Instant> {
        handler.proving.as_ref()?.held(|| self.spot(started))
    }

    /// Tells the probation, if there is one, that a record is about to be given up. Returns until when it waits instead, if
    /// it does; its attempts begin anew then.
    pub(crate) fn hold(&self, handler: &Deployed, started: &mut Started) -> Option<Instant> {
        let until = handler.proving.as_ref()?.failed(self.spot(started))?;
        self.begin_anew(started);
        Some(until)
    }

    /// Lets the middleware see a record that is tried again as it was, where the revision that serves next may be the one
    /// before, with other middleware.
    pub(crate) fn unchange(&self, handler: &Deployed, started: &mut Started) {
        let proving = handler.proving.as_ref();
        let may_go = proving.is_some_and(|it| it.standing() != Standing::Passed);
        if may_go && matches!(started.passage, Passage::Through(Some(_))) {
            self.begin_anew(started);
        }
    }

    fn begin_anew(&self, started: &mut Started) {
        // Other handlers have had it already as it is.
        if started.parts.is_empty() {
            started.passage = Passage::Before;
            self.ledger.hold(started);
        }
    }

    fn spot(&self, started: &Started) -> Spot {
        let topic = Arc::clone(self.topic());
        (topic, self.partition(), started.record.offset())
    }
}

/// A record that meets a handler that somebody has paused is looked at again after so long; before that, its partition
/// stands.
const PAUSED_FOR: Duration = Duration::from_millis(50);

impl Lane {
    /// Returns until when nothing may begin, if somebody has paused a handler of the topic.
    pub(crate) fn held_until(&self) -> Option<Instant> {
        self.is_paused.then(|| Instant::now() + PAUSED_FOR)
    }
}

/// Returns until when no attempt may begin, if the handler pauses.
pub(crate) fn paused_until(handler: &Deployed) -> Option<Instant> {
    let admission = handler.breaker.as_ref()?.lock().admit(Instant::now());
    match admission {
        Admission::Go => None,
        Admission::Probe => {
            tracing::info!(tenant = %handler.id.tenant, handler = %handler.id.name, "the paused handler tries one record");
            None
        }
        Admission::Wait(until) => Some(until),
    }
}

impl Lane {
    /// Takes note that a record was handled.
    pub(crate) fn note_handled(&self, handler: &Deployed) {
        if let Some(proving) = &handler.proving {
            proving.handled(self.took);
        }
        if let Some(beside) = self.tried_beside(handler) {
            beside.beside(Some(self.took));
        }
        let has_closed = handler
            .breaker
            .as_ref()
            .is_some_and(|breaker| breaker.lock().handled());
        if has_closed {
            tracing::info!(tenant = %handler.id.tenant, handler = %handler.id.name, "the paused handler goes on");
        }
    }

    /// Takes note that a record is given up, where another revision is compared with the handler's.
    pub(crate) fn note_given_up(&self, handler: &Deployed) {
        if let Some(beside) = self.tried_beside(handler) {
            beside.beside(None);
        }
    }

    /// Returns the trial of another revision beside this one, if there is one.
    fn tried_beside(&self, handler: &Deployed) -> Option<&Proving> {
        let trial = self.routes.as_ref()?.trial(&handler.id)?;
        let is_other = trial.handler.revision != handler.revision;
        trial.handler.proving.as_ref().filter(|_| is_other)
    }
}

/// Tells the breaker that a record is about to be given up. Returns until when it shall wait instead, if it shall.
pub(crate) fn note_failed(handler: &Deployed) -> Option<Instant> {
    tell(handler, Breaker::failed)
}

/// As [`note_failed`], of a record that failed on its way to the handler: it says nothing of what the handler tries.
pub(crate) fn note_failed_before(handler: &Deployed) -> Option<Instant> {
    tell(handler, Breaker::failed_before)
}

/// Tells the breaker that a record is given up after it was handled: Kafka refused an output. Others may have to wait then.
pub(crate) fn note_refused(handler: &Deployed) {
    if let Some(proving) = &handler.proving {
        proving.refused();
    }
    tell(handler, Breaker::refused);
}

fn tell(
    handler: &Deployed,
    failure: impl FnOnce(&mut Breaker<Instant>, Instant) -> Option<Instant>,
) -> Option<Instant> {
    let (was_open, until) = {
        let mut breaker = handler.breaker.as_ref()?.lock();
        (breaker.is_open(), failure(&mut breaker, Instant::now())?)
    };
    if !was_open {
        tracing::error!(
            tenant = %handler.id.tenant,
            handler = %handler.id.name,
            "too many records fail: the handler pauses, and tries one now and then"
        );
    }
    Some(until)
}
