//! How a partition's task makes batches of what waits.

use tokio::time::{Instant, sleep_until};

use super::PartitionTask;
use super::handing::Again;
use crate::bulk::{Batch, Carried, deliver_bulk};
use crate::flight::{Cargo, Started};
use crate::policy::Bulk;

impl PartitionTask {
    /// Hands the next batch over, once it is full or its first record has waited long enough.
    pub(super) async fn serve_bulk(&mut self, bulk: Bulk) {
        let deadline = Instant::now() + bulk.max_wait;
        while !self.batch_is_full(&bulk) && !self.lane.stop.is_set() {
            // The queue tells of a record only where it was found empty.
            if self.take() > 0 {
                continue;
            }
            tokio::select! {
                biased;
                () = self.lane.stop.set() => return,
                () = sleep_until(deadline) => break,
                () = self.queue.filled() => {}
            }
        }
        if self.ledger.is_held() {
            // While it was gathered, an output was refused that no other may pass.
            return;
        }
        let mut cargo = Cargo::new();
        let mut bytes = 0;
        while cargo.len() < bulk.max_records {
            let size = self.waiting.front().map_or(0, Started::size_bytes);
            if !cargo.is_empty() && bytes + size > bulk.max_bytes {
                break;
            }
            let Some(started) = self.waiting.pop_front() else {
                break;
            };
            bytes += size;
            cargo.push(started);
        }
        if cargo.is_empty() {
            return;
        }
        self.carry(Batch::new(cargo)).await;
    }

    /// Carries a batch as far as it comes.
    pub(super) async fn carry(&mut self, batch: Batch) {
        match deliver_bulk(&mut self.lane, batch).await {
            Carried::Done(delivered) => {
                self.accept(delivered);
            }
            Carried::Later(batch, at) => self.retry = Some((Again::Together(batch), at)),
        }
    }

    fn batch_is_full(&self, bulk: &Bulk) -> bool {
        self.waiting.len() >= bulk.max_records
            || self.waiting.iter().map(Started::size_bytes).sum::<usize>() >= bulk.max_bytes
    }
}
