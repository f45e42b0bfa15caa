//! What a partition's task does where several lanes handle its records: it takes them up, as many as may be under way, and
//! sees that there are lanes.
//!
//! **Invariant:** no more is taken than `in-flight-records` allow, nor than the map of what is complete has room for.

use std::hash::BuildHasher as _;

use tokio::time::sleep_until;

use super::PartitionTask;
use super::returned::due;
use crate::catalog::{self, Deployed};
use crate::deliver::Job;
use crate::policy::Ordering;

impl PartitionTask {
    /// Keeps the lanes busy and takes more while there is room.
    pub(super) async fn serve_parallel(&mut self, handler: &Deployed) {
        if handler.parks() && !self.tend_parked(handler).await {
            return;
        }
        let manifest = &handler.manifest;
        let limits = &manifest.limits;
        // A lane whose handler waits for a response does not count, nor one whose record waits for its pipeline.
        let lanes_max = manifest.concurrency.unwrap_or(1) + self.lane.vitals().awaiting();
        let is_key = manifest.ordering == Ordering::Key;
        let room = (limits.in_flight_records, limits.in_flight_bytes);
        let has_room = self.ledger.has_open_room(room.0, room.1);
        let taken = if has_room { self.take() } else { 0 };
        let is_bulk = self.hands_batches(handler);
        let bulk = is_bulk.then(|| manifest.bulk.unwrap_or_default().within(limits));
        let again = self.retry.take().map(|(again, _)| again.into_jobs());
        let jobs = again
            .into_iter()
            .flatten()
            .chain(self.waiting.drain(..).map(Job::from));
        let (hasher, vitals) = (&self.hasher, self.lane.vitals());
        let arrivals = jobs.map(|job| {
            let key = job.started.record.key().filter(|_| is_key);
            let due = due(&job.started, vitals);
            (key.map(|key| hasher.hash_one(key)), due, job)
        });
        self.parallel.add(arrivals, bulk);
        let is_full = self.parallel.tend(&self.lane, lanes_max);
        if !is_full {
            self.lane.vitals().has_enough();
        }
        if taken > 0 {
            return;
        }
        let catalog = self.lane.catalog();
        let (queue, ledger, is_held) = (&self.queue, &self.ledger, !self.taken.is_empty());
        let more = async {
            if !has_room {
                ledger.open_room(room.0, room.1).await;
            } else if is_held && ledger.suspects().is_some() {
                // Every record that is settled may make the map shorter.
                ledger.fewer_open().await;
            } else if is_held {
                // Some of them would not be worth the look, and there is one from time to time anyway.
                ledger.open_room(ledger.open(), usize::MAX).await;
            } else {
                queue.filled().await;
            }
        };
        tokio::select! {
            biased;
            () = self.lane.stop.set() => {}
            () = self.parallel.news() => {}
            () = self.lane.vitals().awaiting_more() => {}
            () = more => {}
            () = self.ledger.changed() => {}
            () = catalog::changed(catalog) => {}
            () = sleep_until(self.store_due) => {}
        }
    }

    /// Takes back what no lane has begun, and waits for the others.
    pub(super) async fn wait_for_lanes(&mut self) {
        let held = self.parallel.take_held();
        self.waiting.extend(held.into_iter().map(|job| job.started));
        self.waiting
            .make_contiguous()
            .sort_by_key(|started| started.record.offset());
        if self.parallel.is_empty() {
            return;
        }
        tokio::select! {
            biased;
            () = self.lane.stop.set() => {}
            () = self.parallel.news() => {}
            () = sleep_until(self.store_due) => {}
        }
    }
}
