//! The task of one assigned partition: takes records from the queue, lets them be delivered, stores positions.
//!
//! It does not take while too much is under way: that is the whole back-pressure.
//! **Invariant:** ends only when told to, and when it ends by itself everything it started is settled or given up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::bulk::deliver_bulk;
use crate::catalog::{self, Deployed};
use crate::dead_letter::Reason;
use crate::deliver::{Delivered, deliver, halt};
use crate::flight::{Cargo, Flight, Ledger, Purpose, Started};
use crate::ids::Revision;
use crate::lane::Lane;
use crate::outcome::{Ending, Failure, FailureKind, Settlement};
use crate::policy::{Bulk, Limits};
use crate::settle::exhausted;
use crate::source::{PartitionQueue, Record};

/// Records that are taken from the queue at once.
const TAKE_MAX: usize = 500;
/// How often an idle task brings its gauges up to date.
const IDLE: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub(crate) struct PartitionTask {
    queue: PartitionQueue,
    lane: Lane,
    ledger: Arc<Ledger>,
    /// Taken from the queue, not delivered.
    waiting: VecDeque<Started>,
    /// Room for what the queue gives, reused.
    taken: Vec<Record>,
    /// Records at which the lane halted, and the revision that did, if any: another one gets them again.
    halted: Vec<Cargo>,
    halted_by: Option<Revision>,
    stored: Option<i64>,
}

impl PartitionTask {
    pub(crate) fn new(queue: PartitionQueue, lane: Lane) -> Self {
        let ledger = Arc::clone(&lane.ledger);
        Self {
            queue,
            lane,
            ledger,
            waiting: VecDeque::new(),
            taken: Vec::new(),
            halted: Vec::new(),
            halted_by: None,
            stored: None,
        }
    }

    /// Serves the partition until the stop signal, then waits for what is under way.
    pub(crate) async fn run(mut self) {
        while !self.lane.stop.is_set() {
            self.serve().await;
            self.store();
            // Give other partitions of this thread their turn.
            tokio::task::yield_now().await;
        }
        self.waiting.clear();
        while !self.ledger.is_quiet() {
            self.settle_refused().await;
            self.ledger.changed_or_quiet().await;
        }
        self.store();
        self.lane.close().await;
    }

    async fn serve(&mut self) {
        self.settle_refused().await;
        if !self.halted.is_empty() {
            return self.serve_halted().await;
        }
        let Some(handler) = self.lane.route() else {
            return self.wait_for_change().await;
        };
        if !self.has_room(&handler.manifest.limits) {
            return self.wait_for_room(&handler.manifest.limits).await;
        }
        if self.waiting.is_empty() && self.take() == 0 {
            return self.idle().await;
        }
        if handler.is_bulk() {
            self.serve_bulk(handler.manifest.bulk.unwrap_or_default())
                .await;
        } else {
            self.serve_singles(&handler.manifest.limits).await;
        }
    }

    /// Takes what the queue has; returns how many records wait now.
    fn take(&mut self) -> usize {
        self.queue.take(
            TAKE_MAX,
            &mut self.taken,
            |error| tracing::warn!(%error, "the partition goes on"),
        );
        if let (Some(stats), Some(last)) = (self.lane.stats(), self.taken.last()) {
            let bytes: usize = self.taken.iter().map(Record::size_bytes).sum();
            stats.bytes_in.add(bytes as u64);
            if let Some(timestamp) = last.timestamp_ms() {
                stats.last_timestamp_ms.set(timestamp);
            }
        }
        self.waiting.extend(self.ledger.start(self.taken.drain(..)));
        self.waiting.len()
    }

    async fn serve_singles(&mut self, limits: &Limits) {
        while let Some(started) = self.waiting.pop_front() {
            let delivered = deliver(&mut self.lane, started).await;
            if !self.accept(delivered) || self.lane.stop.is_set() || !self.has_room(limits) {
                break;
            }
        }
    }

    async fn serve_bulk(&mut self, bulk: Bulk) {
        let deadline = Instant::now() + bulk.max_wait;
        while !self.batch_is_full(&bulk) && !self.lane.stop.is_set() {
            tokio::select! {
                biased;
                () = self.lane.stop.set() => return,
                () = tokio::time::sleep_until(deadline) => break,
                () = self.queue.filled() => {}
            }
            self.take();
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
        let delivered = deliver_bulk(&mut self.lane, cargo).await;
        self.accept(delivered);
    }

    fn batch_is_full(&self, bulk: &Bulk) -> bool {
        self.waiting.len() >= bulk.max_records
            || self.waiting.iter().map(Started::size_bytes).sum::<usize>() >= bulk.max_bytes
    }

    /// Takes note of how a delivery ended; returns whether the next one may follow.
    fn accept(&mut self, delivered: Delivered) -> bool {
        match delivered {
            Delivered::Settled => true,
            Delivered::Stopped => false,
            Delivered::Halted(cargo) | Delivered::Unrouted(cargo) => {
                self.hold(cargo);
                false
            }
        }
    }

    /// Deals with flights of which Kafka refused an output for good.
    async fn settle_refused(&mut self) {
        for flight in self.ledger.take_refused() {
            let failure = Failure::new(FailureKind::Emit, flight.refusal());
            let cargo = flight.unload();
            let Some(handler) = self.lane.route() else {
                self.hold(cargo);
                continue;
            };
            self.settle_refused_one(&handler, &flight, cargo, &failure)
                .await;
        }
    }

    async fn settle_refused_one(
        &mut self,
        handler: &Deployed,
        flight: &Flight,
        cargo: Cargo,
        failure: &Failure,
    ) {
        self.lane.note_failure(
            handler,
            failure,
            1,
            cargo.first().map_or(-1, |first| first.record.offset()),
        );
        let settlement = match flight.purpose() {
            // The hook has long returned and later records were handled, so there is no attempt after this one.
            Purpose::Outputs => exhausted(handler.manifest.on_exhausted),
            Purpose::DeadLetter => Settlement::Halt,
        };
        let reason = Reason {
            failure,
            attempts: 1,
        };
        match settlement {
            Settlement::DeadLetter => {
                self.lane
                    .send_off(handler, cargo, Ending::DeadLettered, Some(reason))
                    .await;
            }
            Settlement::Skip => {
                self.lane
                    .send_off(handler, cargo, Ending::Skipped, None)
                    .await;
            }
            Settlement::Halt | Settlement::Retry { .. } => {
                let delivered = halt(&self.lane, handler, cargo, failure);
                self.accept(delivered);
            }
        }
    }

    /// Notes that the lane goes no further than these records under the handler that serves it now.
    fn hold(&mut self, cargo: Cargo) {
        let handler = self.lane.route();
        self.halted_by = handler.map(|handler| handler.revision.clone());
        if let Some(stats) = self.lane.stats() {
            stats.halted.set(1);
        }
        self.halted.push(cargo);
        // A refused output is told late, so records that came first may be held last.
        self.halted
            .sort_by_key(|cargo| cargo.first().map(|first| first.record.offset()));
    }

    /// Delivers the halted records again once another revision serves; waits until then.
    async fn serve_halted(&mut self) {
        let handler = self
            .lane
            .route()
            .filter(|handler| self.halted_by.as_ref() != Some(&handler.revision));
        let Some(handler) = handler else {
            return self.wait_for_change().await;
        };
        if let Some(stats) = self.lane.stats() {
            stats.halted.set(0);
        }
        let mut left = std::mem::take(&mut self.halted).into_iter();
        for cargo in left.by_ref() {
            let delivered = if handler.is_bulk() {
                deliver_bulk(&mut self.lane, cargo).await
            } else {
                self.deliver_each(cargo).await
            };
            if !self.accept(delivered) {
                break;
            }
        }
        self.halted.extend(left);
    }

    /// Waits until something was deployed or an output was acknowledged or refused.
    async fn wait_for_change(&mut self) {
        let catalog = self.lane.catalog();
        tokio::select! {
            biased;
            () = self.lane.stop.set() => {}
            () = catalog::changed(catalog) => {}
            () = self.ledger.changed() => {}
        }
    }

    async fn deliver_each(&mut self, cargo: Cargo) -> Delivered {
        let mut rest = cargo.into_iter();
        while let Some(started) = rest.next() {
            match deliver(&mut self.lane, started).await {
                Delivered::Settled => {}
                Delivered::Stopped => return Delivered::Stopped,
                Delivered::Halted(mut cargo) | Delivered::Unrouted(mut cargo) => {
                    cargo.extend(rest);
                    return Delivered::Halted(cargo);
                }
            }
        }
        Delivered::Settled
    }

    fn has_room(&self, limits: &Limits) -> bool {
        self.ledger
            .has_room(limits.in_flight_records, limits.in_flight_bytes)
    }

    async fn wait_for_room(&mut self, limits: &Limits) {
        tokio::select! {
            biased;
            () = self.lane.stop.set() => {}
            () = self.ledger.room(limits.in_flight_records, limits.in_flight_bytes) => {}
        }
    }

    async fn idle(&mut self) {
        let catalog = self.lane.catalog();
        tokio::select! {
            biased;
            () = self.lane.stop.set() => {}
            () = self.queue.filled() => {}
            () = self.ledger.changed() => {}
            () = catalog::changed(catalog) => {}
            () = tokio::time::sleep(IDLE) => {}
        }
    }

    /// Stores the position for the next commit, if it moved, and brings the gauges up to date.
    fn store(&mut self) {
        let position = self.ledger.position();
        if let Some(position) = position
            && self.stored != Some(position)
        {
            self.queue.store(position);
            self.stored = Some(position);
        }
        if let Some(stats) = self.lane.stats() {
            stats
                .in_flight
                .set(i64::try_from(self.ledger.span()).unwrap_or(i64::MAX));
            if let (Some(end), Some(position)) = (self.queue.end_offset(), position) {
                stats.lag_records.set((end - position).max(0));
            }
        }
    }
}
