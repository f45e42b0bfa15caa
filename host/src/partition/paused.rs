//! What a partition's task does while somebody has paused a handler of its topic: nothing, until that is over.
//!
//! What is in hand is finished, and its position stored. What was taken waits where it is; nothing more is, so that
//! librdkafka stops to fetch.
//! **Invariant:** no record is handed over from the next one on, whichever handler of the topic it is for, and none is lost
//! or repeated by that.

use tokio::time::{Instant, sleep_until};

use super::{PartitionTask, STORE_EVERY, pause};
use crate::catalog;

impl PartitionTask {
    /// Takes note of whether a handler is paused.
    pub(super) fn note_pause(&mut self) {
        let is_paused = self.lane.is_paused();
        if is_paused {
            // Whatever else held them may have let them go.
            self.parallel.hold(true);
        } else if self.is_paused {
            self.parallel.hold(false);
        }
        if is_paused != self.is_paused {
            self.is_paused = is_paused;
            self.lane.vitals().set_paused(is_paused);
        }
    }

    /// Waits until something was deployed, paused or resumed, or an output was acknowledged or refused. Meanwhile no memory
    /// is held for the handler.
    pub(super) async fn stand_paused(&mut self) {
        self.lane.rest();
        let (catalog, ledger) = (self.lane.catalog(), &self.ledger);
        // Of lanes beside this one nobody tells that they are done.
        let look = (!self.parallel.is_unused()).then(|| Instant::now() + STORE_EVERY);
        let event = async {
            tokio::select! {
                () = catalog::changed(catalog) => {}
                () = ledger.changed() => {}
                () = async {
                    match look {
                        Some(at) => sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                } => {}
            }
        };
        pause(&mut self.lane, event).await;
    }
}
