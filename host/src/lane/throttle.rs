//! How a lane waits where its tenant has used more by the second than it may.
//!
//! It does so before its next record, so nothing is in hand meanwhile: no permit, and a place only until somebody wants it.
//! **Invariant:** only lanes of the tenant wait, and what they were told to stop for comes first.

use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep_until};

use super::Lane;
use crate::rate::Rate;

/// A lane waits at least so long, so that many lanes that wait do not take turns at every record.
const WAIT_MIN: Duration = Duration::from_millis(20);
/// And at most so much longer: who wakes first is not always the same lane.
const SPREAD: Duration = Duration::from_millis(40);
/// It looks again so often, since what is owed may be forgiven.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A lane that waits longer gives up its instance.
const REST_ABOVE: Duration = Duration::from_secs(1);

impl Lane {
    /// Takes note that the handler is handed so many records.
    pub(crate) fn note_handed(&self, records: usize) {
        self.meter.spend(Rate::Records, records as u64);
    }

    /// Takes note of what is in the outbox, which is about to be sent.
    pub(super) fn note_emitted(&self) {
        self.meter
            .emitted(self.outbox.len(), self.outbox.size_bytes());
    }

    /// Returns until when no record may be begun, if the tenant has used more than it may.
    pub(crate) fn owes_until(&self) -> Option<Instant> {
        self.meter.owes_until()
    }

    /// Waits for some of the time until `due`, or for `event`; the caller looks again afterwards.
    pub(crate) async fn sit_out(&mut self, due: Instant, event: impl Future<Output = ()>) {
        let began = Instant::now();
        if due > began + REST_ABOVE {
            self.rest();
        }
        let until = due.clamp(began + WAIT_MIN, began + LOOK_EVERY) + spread();
        // Said anew each time: what is owed may be forgiven.
        self.place.vitals.hold_back(until + LOOK_EVERY);
        let (stop, place_wanted) = (self.stop.clone(), self.place_wanted());
        let wait = async {
            tokio::select! {
                biased;
                () = stop.set() => {}
                () = event => {}
                () = sleep_until(until) => {}
            }
        };
        tokio::pin!(wait);
        tokio::select! {
            biased;
            () = &mut wait => {}
            () = place_wanted => {
                self.rest();
                wait.await;
            }
        }
        self.meter.waited(began.elapsed());
    }
}

/// A part of the spread that differs from call to call.
fn spread() -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    SPREAD * (now.map_or(0, |now| now.subsec_micros()) % 1_000) / 1_000
}
