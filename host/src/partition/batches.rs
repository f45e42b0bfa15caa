//! How a partition's task makes batches of what waits.

use tokio::time::{Instant, sleep_until};

use super::PartitionTask;
use crate::bulk::deliver_bulk;
use crate::compact::is_last_of_its_key;
use crate::flight::{Cargo, Started};
use crate::outcome::Ending;
use crate::policy::Bulk;

impl PartitionTask {
    /// Hands the next batch over, once it is full or its first record has waited long enough.
    pub(super) async fn serve_bulk(&mut self, bulk: Bulk) {
        if let Some((job, _)) = self.retry.take() {
            // It waited alone under another revision; now it is one of a batch.
            self.waiting.push_front(job.started);
        }
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
        let mut cargo = Cargo::new();
        let mut bytes = 0;
        while cargo.len() < bulk.max_records {
            let first = self.waiting.front();
            let size = first.map_or(0, Started::size_bytes);
            let is_suspect = first.is_some_and(|first| self.is_suspect(first));
            if !cargo.is_empty() && (bytes + size > bulk.max_bytes || is_suspect) {
                break;
            }
            let Some(started) = self.waiting.pop_front() else {
                break;
            };
            bytes += size;
            cargo.push(started);
            if is_suspect {
                break;
            }
        }
        if bulk.compact {
            cargo = self.compact(cargo);
        }
        if cargo.is_empty() {
            return;
        }
        let delivered = deliver_bulk(&mut self.lane, cargo).await;
        self.accept(delivered);
    }

    /// Returns whether the record was part of a batch of which Kafka refused an output; alone it shows whether it was its own.
    fn is_suspect(&self, started: &Started) -> bool {
        let suspects = self.ledger.suspects();
        suspects.is_some_and(|suspects| suspects.look(started.record.offset()).is_some())
    }

    fn batch_is_full(&self, bulk: &Bulk) -> bool {
        self.waiting.len() >= bulk.max_records
            || self.waiting.iter().map(Started::size_bytes).sum::<usize>() >= bulk.max_bytes
    }

    /// Settles the records of which the batch has a later one with the same key; returns the others.
    fn compact(&self, cargo: Cargo) -> Cargo {
        let last = is_last_of_its_key(cargo.iter().map(|started| started.record.key()));
        let (mut kept, mut older) = (Cargo::new(), Cargo::new());
        for (started, is_last) in cargo.into_iter().zip(last) {
            if is_last {
                kept.push(started);
            } else {
                older.push(started);
            }
        }
        self.ledger.complete(&older);
        if let Some(stats) = self.lane.stats() {
            stats.ended(Ending::Compacted, older.len());
        }
        kept
    }
}
