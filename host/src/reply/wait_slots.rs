//! How many guests of the host may wait for others at once.
//!
//! **Invariant:** guests that wait, or have waited and are not let in yet, never take all places for instances.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One for each guest of the host that may wait, be it for a response or for a receipt.
#[derive(Debug, Clone)]
pub(crate) struct WaitSlots {
    free: Arc<Semaphore>,
    /// Whether the host has one place only, of which nothing can be left for others.
    is_single: bool,
}

/// The right to wait. Held until the guest is at work again.
pub(crate) type WaitSlot = OwnedSemaphorePermit;

impl WaitSlots {
    /// `instances_max` is how many instances may live at once; a guest that waits keeps its own.
    pub(super) fn new(instances_max: u32) -> Self {
        let instances_max = usize::try_from(instances_max).unwrap_or(usize::MAX);
        // Those who are waited for may live on this host as well.
        let slots = instances_max - instances_max.div_ceil(4);
        Self {
            free: Arc::new(Semaphore::new(slots)),
            is_single: instances_max == 1,
        }
    }

    /// Takes the right to wait; the error says why there is none left.
    pub(crate) fn take(&self) -> Result<WaitSlot, String> {
        let slot = Arc::clone(&self.free).try_acquire_owned();
        slot.map_err(|_| "three of four instances of the host wait (instances-max)".to_owned())
    }

    /// As [`Self::take`], of a guest that waits for Kafka, which needs no instance to answer: where there is one place only, it
    /// may wait there.
    pub(crate) fn take_for_receipt(&self) -> Result<Option<WaitSlot>, String> {
        if self.is_single {
            return Ok(None);
        }
        self.take().map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_four_places_is_left_for_others() {
        for (instances_max, slots) in [(1, 0), (2, 1), (4, 3), (5, 3), (100, 75)] {
            let all = WaitSlots::new(instances_max);
            let taken: Vec<_> = (0..slots).map(|_| all.take().unwrap()).collect();
            assert!(all.take().is_err(), "of {instances_max}");
            drop(taken);
            assert_eq!(all.take().is_ok(), slots > 0);
            let kept: Vec<_> = (0..slots).map(|_| all.take().unwrap()).collect();
            assert_eq!(all.take_for_receipt().is_ok(), instances_max == 1);
            drop(kept);
            assert!(all.take_for_receipt().is_ok());
        }
    }
}
