//! What a lane lends to its instance, so that a guest which waits for others gives back meanwhile what they may need.
//!
//! **Invariant:** a guest runs only while its lane has the permit that it lent, except between the end of a wait and its
//! being let in again.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;

use crate::vitals::{Doing, OpenHand};

type Permit = Arc<Mutex<Option<OwnedSemaphorePermit>>>;

/// See the module. A trial run has nothing of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lent {
    /// The right to run, where the handler may only run so many instances.
    permit: Permit,
    hand: Option<Arc<OpenHand>>,
}

/// A permit that is lent for an attempt; taken back when dropped.
#[derive(Debug)]
pub(crate) struct Admitted(Option<Permit>);

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some(permit) = &self.0 {
            *permit.lock() = None;
        }
    }
}

impl Lent {
    /// Makes what a lane with this hand lends.
    pub(crate) fn of(hand: Arc<OpenHand>) -> Self {
        Self {
            permit: Permit::default(),
            hand: Some(hand),
        }
    }

    /// Lends a permit for an attempt; none where the handler needs none, which costs nothing.
    pub(crate) fn admit(&self, permit: Option<OwnedSemaphorePermit>) -> Admitted {
        Admitted(permit.map(|permit| {
            *self.permit.lock() = Some(permit);
            Arc::clone(&self.permit)
        }))
    }

    /// Waits without the permit, then for the permit.
    pub(crate) async fn wait<T>(&self, wait: impl Future<Output = T>) -> T {
        let permit = self.permit.lock().take();
        let semaphore = permit.map(|permit| Arc::clone(permit.semaphore()));
        let result = {
            let _awaiting = self.hand.as_ref().map(|hand| hand.await_response());
            wait.await
        };
        if let Some(semaphore) = semaphore {
            self.note(Doing::Permit);
            // Nobody closes the semaphore.
            let permit = semaphore.acquire_owned().await.ok();
            *self.permit.lock() = permit;
        }
        self.note(Doing::Handling);
        result
    }

    fn note(&self, doing: Doing) {
        if let Some(hand) = &self.hand {
            hand.note(doing);
        }
    }
}
