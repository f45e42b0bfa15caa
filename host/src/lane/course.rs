//! What a lane does for pipelines beside leasing instances: it lets records into them, and holds what they are to send.
//!
//! **Invariant:** what a pipeline is to send is sent with its record, before what hooks emitted about that.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Lane, Stopped};
use crate::catalog::{Course, Deployed};
use crate::guest::{Admitted, Lent};
use crate::outbox::Outbox;
use crate::vitals::Doing;

impl Lane {
    /// Waits until the handler may run one more instance on this host, and its pipeline, if it is one, may have one more
    /// record. To be held for the attempt.
    pub(crate) async fn admit_to(
        &mut self,
        handler: &Deployed,
        course: Option<&Course>,
    ) -> Result<(Option<OwnedSemaphorePermit>, Admitted), Stopped> {
        // In this order, so that nobody who has the handler's permit waits for a pipeline's.
        let entry = match course.and_then(|course| course.permits.as_ref()) {
            Some(permits) => Some(self.entry_of(permits).await?),
            None => None,
        };
        Ok((entry, self.admit(handler).await?))
    }

    /// Waits until a pipeline may have one more record. The lane counts as one that waits for others meanwhile, so that the
    /// partition has another one for records of others.
    async fn entry_of(
        &mut self,
        permits: &Arc<Semaphore>,
    ) -> Result<OwnedSemaphorePermit, Stopped> {
        if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
            return Ok(permit);
        }
        let hand = Arc::clone(&self.hand);
        let _awaiting = hand.await_response();
        let entry = self.permit_of(permits).await;
        hand.note(Doing::Handling);
        entry
    }

    /// Waits for a permit; the places of the lane's instances are given up meanwhile if others need them.
    pub(super) async fn permit_of(
        &mut self,
        permits: &Arc<Semaphore>,
    ) -> Result<OwnedSemaphorePermit, Stopped> {
        if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
            return Ok(permit);
        }
        let stop = self.stop.clone();
        self.hand.note(Doing::Permit);
        let permit = tokio::select! {
            biased;
            () = stop.set() => Err(Stopped),
            // Nobody closes the semaphore.
            permit = Arc::clone(permits).acquire_owned() => permit.map_err(|_| Stopped),
            never = self.lend_place() => match never {},
        };
        self.hand.note(Doing::Handling);
        permit
    }

    /// Returns what gives back the lane's permit while an answer is waited for.
    pub(crate) fn lent(&self) -> Lent {
        self.lent.clone()
    }

    /// Returns how often the record in hand was passed on.
    pub(crate) fn hops(&self) -> u32 {
        self.hops.in_hand()
    }

    /// Takes what a pipeline is to send.
    pub(crate) fn pipe(&mut self, outputs: &Outbox) {
        // This outbox has no bounds; those of the handler were kept before.
        for emit in outputs.iter() {
            let _ = self.piped.push(&emit);
        }
    }

    /// Puts what pipelines are to send before what the hooks emitted.
    pub(super) fn join_piped(&mut self) {
        if self.piped.is_empty() {
            return;
        }
        for emit in self.outbox.iter() {
            let _ = self.piped.push(&emit);
        }
        self.outbox.clear();
        std::mem::swap(&mut self.outbox, &mut self.piped);
    }
}
