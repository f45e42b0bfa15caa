//! The places that instances take: the host runs so many at once and no more.
//!
//! Handed out in the order in which they were asked for. A lane that keeps an instance for its next record gives it up
//! when others wait.
//! **Invariant:** whoever waits for a place gets one after at most one record of those that have one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// A shortage that lasts is told this often.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// See the module.
#[derive(Debug)]
pub(crate) struct Places {
    max: usize,
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// A lane that does nothing is asked for its place.
    asked: Notify,
    told: Mutex<Option<Instant>>,
}

/// A taken place; free again when dropped.
pub(crate) type Place = OwnedSemaphorePermit;

/// Counts one who waits, as long as it does.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Places {
    pub(crate) fn new(max: u32) -> Self {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        Self {
            max,
            free: Arc::new(Semaphore::new(max)),
            waiting: AtomicUsize::new(0),
            asked: Notify::new(),
            told: Mutex::new(None),
        }
    }

    /// Takes a place, waiting for one in turn; none is there only when the host ends.
    pub(crate) async fn take(&self) -> Option<Place> {
        if let Some(place) = self.try_take() {
            return Some(place);
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        self.tell();
        self.asked.notify_one();
        Arc::clone(&self.free).acquire_owned().await.ok()
    }

    /// Takes a place if one is free.
    pub(crate) fn try_take(&self) -> Option<Place> {
        Arc::clone(&self.free).try_acquire_owned().ok()
    }

    fn tell(&self) {
        let mut told = self.told.lock();
        if told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            *told = Some(Instant::now());
            tracing::warn!(
                instances_max = self.max,
                "all instances that the host may run are in use; partitions wait for each other (instances-max)"
            );
        }
    }

    /// Returns whether somebody waits for a place.
    pub(crate) fn is_short(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Waits until the place of one that does nothing is asked for.
    pub(crate) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Returns how many places are taken, and how many there are.
    pub(crate) fn taken(&self) -> (usize, usize) {
        (
            self.max - self.free.available_permits().min(self.max),
            self.max,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_place_goes_to_who_waited_longest() {
        let places = Arc::new(Places::new(1));
        let first = places.take().await.unwrap();
        assert!(!places.is_short());
        let waits = |places: Arc<Places>| tokio::spawn(async move { places.take().await.unwrap() });
        let second = waits(Arc::clone(&places));
        places.asked().await;
        let third = waits(Arc::clone(&places));
        places.asked().await;
        assert!(places.is_short());
        assert_eq!(places.taken(), (1, 1));
        drop(first);
        let second = second.await.unwrap();
        assert!(!third.is_finished());
        drop(second);
        drop(third.await.unwrap());
        assert!(!places.is_short());
    }
}
