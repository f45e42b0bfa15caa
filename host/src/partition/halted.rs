//! What a partition's task does about records at which it halted: it waits for another revision of the handler.

use std::collections::VecDeque;

use super::PartitionTask;
use crate::flight::{Cargo, Started};

impl PartitionTask {
    /// Notes that the lane goes no further than these records under the handler that served it last.
    pub(super) fn hold(&mut self, cargo: Cargo) {
        self.halted_by = self.lane.serving().cloned();
        self.halted.push(cargo);
        // A refused output is told late, so records that came first may be held last.
        self.halted.sort_by_key(first_offset);
        self.show_halt(self.halted.first().and_then(first_offset));
    }

    fn show_halt(&self, offset: Option<i64>) {
        self.lane.vitals().set_halted(offset.is_some());
        if let Some(stats) = self.lane.stats() {
            stats.halted_at.set(offset.unwrap_or(-1));
        }
    }

    /// Takes note of a lane that halted by itself.
    pub(super) fn note_halt(&mut self) {
        if let Some(offset) = self.parallel.halted_at() {
            self.halted_by = self.parallel.halted_by();
            self.show_halt(Some(offset));
        }
    }

    /// Returns the offset of the record that holds the partition.
    pub(super) fn halted_at(&self) -> Option<i64> {
        let own = self.halted.first().and_then(first_offset);
        own.or_else(|| self.parallel.halted_at())
    }

    pub(super) fn is_halted(&self) -> bool {
        !self.halted.is_empty() || self.parallel.halted_at().is_some()
    }

    /// Lets the halted records be delivered again once another revision serves; waits until then.
    pub(super) async fn serve_halted(&mut self) {
        self.lane.route();
        let serving = self.lane.serving();
        if serving.is_none() || serving == self.halted_by.as_ref() {
            return self.wait_for_change().await;
        }
        self.show_halt(None);
        let halted = std::mem::take(&mut self.halted).into_iter();
        let mut first: VecDeque<Started> = halted.flatten().collect();
        first.append(&mut self.waiting);
        self.waiting = first;
        self.parallel.go_on();
    }
}

fn first_offset(cargo: &Cargo) -> Option<i64> {
    cargo.first().map(|first| first.record.offset())
}
