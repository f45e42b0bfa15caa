//! What a partition's task tells of how far it is, for a run that ends by itself.

use std::sync::Arc;

use parking_lot::Mutex;

use super::PartitionTask;
use crate::catch_up::Standing;

/// How a partition stands, as its task said last.
pub(crate) type Told = Arc<Mutex<Standing>>;

impl PartitionTask {
    /// Says how the partition stands after what was stored last.
    pub(super) fn tell_standing(&self) {
        let mut told = self.told.lock();
        // What was caught up once stays so: later records are not waited for.
        if *told != Standing::CaughtUp {
            *told = self.standing();
        }
    }

    /// Says that no handler reads the topic now.
    pub(super) fn tell_unread(&self) {
        let mut told = self.told.lock();
        if *told != Standing::CaughtUp {
            *told = Standing::Unread;
        }
    }

    fn standing(&self) -> Standing {
        let Some(end) = self.queue.first_end() else {
            return Standing::Behind;
        };
        let is_past = |offset: i64| offset >= end;
        let is_stored = self.latest.as_ref().map(|latest| latest.offset);
        // Behind the last record there may be offsets without one, as transactions and compaction leave them.
        let is_read = self.queue.end_reached().filter(|_| self.ledger.open() == 0);
        if is_stored.is_some_and(is_past) || is_read.is_some_and(is_past) {
            return Standing::CaughtUp;
        }
        if let Some(offset) = self.halted_at() {
            return Standing::Halted(offset);
        }
        if self.lane.is_paused() {
            return Standing::Paused;
        }
        Standing::Behind
    }
}
