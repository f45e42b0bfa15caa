//! What a lane lends to its instance, so that a guest which waits for others gives back meanwhile what they may need.
//!
//! **Invariant:** a guest runs only while its lane has the permit that it lent, except between the end of a wait and its
//! being let in again.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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

    /// Takes the permit back before its attempt is over; returns what there is another one of, if there was any.
    pub(crate) fn give_back(&self) -> Option<Arc<Semaphore>> {
        let permit = self.permit.lock().take()?;
        Some(Arc::clone(permit.semaphore()))
    }

    /// Waits for a permit in place of the one that was given back. Nobody waits for a place who has one, so it comes.
    pub(crate) async fn lend_again(&self, semaphore: Arc<Semaphore>) {
        self.note(Doing::Permit);
        // Nobody closes the semaphore.
        let permit = semaphore.acquire_owned().await.ok();
        *self.permit.lock() = permit;
    }

    /// Waits without the permit, then for the permit.
    pub(crate) async fn wait<T>(&self, wait: impl Future<Output = T>) -> T {
        let semaphore = self.give_back();
        let result = {
            let _awaiting = self.hand.as_ref().map(|hand| hand.await_response());
            wait.await
        };
        if let Some(semaphore) = semaphore {
            self.lend_again(semaphore).await;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_permit_that_is_given_back_is_free_for_others_until_it_is_lent_again() {
        let permits = Arc::new(Semaphore::new(1));
        let lent = Lent::default();
        assert!(lent.give_back().is_none());
        let admitted = lent.admit(Arc::clone(&permits).try_acquire_owned().ok());
        assert_eq!(permits.available_permits(), 0);
        let semaphore = lent.give_back().unwrap();
        assert!(lent.give_back().is_none());
        let other = Arc::clone(&permits).try_acquire_owned().unwrap();
        let again = tokio::spawn({
            let lent = lent.clone();
            async move { lent.lend_again(semaphore).await }
        });
        tokio::task::yield_now().await;
        assert!(!again.is_finished());
        drop(other);
        again.await.unwrap();
        assert_eq!(permits.available_permits(), 0);
        drop(admitted);
        assert_eq!(permits.available_permits(), 1);
    }
}
