//! The task of one assigned partition: takes records from the queue, lets them be delivered, stores positions.
//!
//! It does not take while too much is under way: that is the whole back-pressure.
//! **Invariant:** ends only when told to, and when it ends by itself everything it started is settled or given up.

mod batches;
mod halted;
mod handing;
mod lanes;
mod mending;
mod parallel;
mod parked;
mod paused;
mod refused;
mod returned;
mod standing;

use std::collections::VecDeque;
use std::hash::RandomState;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use self::handing::Again;
use self::mending::Mending;
use self::parallel::Parallel;
pub(crate) use self::standing::Told;
use crate::catalog::{self, Deployed};
use crate::deliver::{Delivered, Job, deliver};
use crate::flight::{Cargo, Ledger, Started};
use crate::lag_switch::LagSwitch;
use crate::lane::{Lane, Serving};
use crate::offset_map::CommitPoint;
use crate::policy::{Limits, Ordering};
use crate::source::{PartitionQueue, Record};

/// Records that are taken from the queue at once.
const TAKE_MAX: usize = 500;
/// How often a task that waits brings its gauges up to date.
const IDLE: Duration = Duration::from_secs(5);
/// A record that waits longer for its next attempt leaves its lane without an instance meanwhile.
const REST_ABOVE: Duration = Duration::from_secs(1);
/// How often a busy task stores what is complete.
const STORE_EVERY: Duration = Duration::from_millis(200);
/// How often metadata is committed where the position stands still.
const METADATA_EVERY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(crate) struct PartitionTask {
    queue: PartitionQueue,
    lane: Lane,
    ledger: Arc<Ledger>,
    /// Taken from the queue, not delivered.
    waiting: VecDeque<Started>,
    /// What comes before them, and the time of its next attempt.
    retry: Option<(Again, Instant)>,
    /// Where records do not wait for all others.
    parallel: Parallel,
    hasher: RandomState,
    /// What the queue gave and is not started yet.
    taken: Vec<Record>,
    /// The next offset to be taken, once one was.
    taken_until: Option<i64>,
    lag_switch: LagSwitch,
    /// Records at which the lane halted, and the revisions that served then, if any: others get them again.
    halted: Vec<Cargo>,
    halted_by: Option<Serving>,
    /// Refused outputs that are to be sent once more.
    mending: Mending,
    stored: Option<CommitPoint>,
    /// What may be committed, as of the last look.
    latest: Option<CommitPoint>,
    store_due: Instant,
    /// When metadata may be committed for its own sake.
    metadata_due: Instant,
    told: Told,
    /// Whether it stands because somebody has paused a handler.
    is_paused: bool,
}

impl PartitionTask {
    pub(crate) fn new(queue: PartitionQueue, lane: Lane, told: Told) -> Self {
        let ledger = Arc::clone(&lane.ledger);
        Self {
            queue,
            lane,
            ledger,
            waiting: VecDeque::new(),
            retry: None,
            parallel: Parallel::default(),
            hasher: RandomState::new(),
            taken: Vec::new(),
            taken_until: None,
            lag_switch: LagSwitch::default(),
            halted: Vec::new(),
            halted_by: None,
            mending: Mending::default(),
            stored: None,
            latest: None,
            store_due: Instant::now(),
            metadata_due: Instant::now(),
            told,
            is_paused: false,
        }
    }

    /// Serves the partition until the stop signal, then waits for what is under way.
    pub(crate) async fn run(mut self) {
        tokio::select! {
            biased;
            () = self.lane.stop.set() => {}
            () = self.queue.may_begin() => {}
        }
        self.ledger.remember(self.queue.completed());
        while !self.lane.stop.is_set() {
            self.serve().await;
            self.store();
            self.tell_standing();
            // Give other partitions of this thread their turn.
            tokio::task::yield_now().await;
        }
        self.waiting.clear();
        self.parallel.join().await;
        while !self.ledger.is_quiet() {
            self.settle_refused().await;
            self.ledger.changed_or_quiet().await;
        }
        self.store();
        self.lane.close().await;
    }

    async fn serve(&mut self) {
        self.settle_refused().await;
        if self.is_mending().await {
            return self.mend().await;
        }
        self.note_halt();
        if self.is_halted() {
            return self.serve_halted().await;
        }
        let handler = self.lane.route();
        self.note_pause();
        let Some(handler) = handler else {
            self.tell_unread();
            return self.wait_for_change().await;
        };
        if self.is_paused {
            return self.stand_paused().await;
        }
        if handler.manifest.ordering != Ordering::Partition {
            return self.serve_parallel(&handler).await;
        }
        self.serve_in_order(&handler).await;
    }

    /// Hands over what comes next, once that may be.
    async fn serve_in_order(&mut self, handler: &Deployed) {
        let limits = &handler.manifest.limits;
        if !self.parallel.is_empty() {
            // The ordering was another one until now; what is inside a lane ends there.
            return self.wait_for_lanes().await;
        }
        if let Some((_, at)) = &self.retry
            && *at > Instant::now()
        {
            return self.wait_for_retry(*at).await;
        }
        if let Some(due) = self.lane.owes_until() {
            return self.lane.sit_out(due, self.ledger.changed()).await;
        }
        if !self.has_room(limits) {
            return self.wait_for_room(limits).await;
        }
        self.hand_over(handler).await;
    }

    /// Takes what the queue has, as much as may be told in a commit; returns how many records it was, also those that need
    /// not be handled.
    fn take(&mut self) -> usize {
        if self.taken.is_empty() {
            self.fetch();
        }
        let is_told = self.ledger.suspects().is_some() || !self.parallel.is_unused();
        let startable = if is_told {
            self.ledger.fitting(self.taken.iter().map(Record::offset))
        } else {
            self.taken.len()
        };
        if let Some(stats) = self.lane.stats() {
            let is_full = startable == 0 && !self.taken.is_empty();
            stats.is_map_full.set(is_full.into());
        }
        self.start_taken(startable);
        startable
    }

    fn fetch(&mut self) {
        self.queue.take(
            TAKE_MAX,
            &mut self.taken,
            |error| tracing::warn!(%error, "the partition goes on"),
        );
        let Some(last) = self.taken.last() else {
            return;
        };
        self.taken_until = Some(last.offset() + 1);
        if let Some(stats) = self.lane.stats() {
            let bytes: usize = self.taken.iter().map(Record::size_bytes).sum();
            stats.bytes_in.add(bytes as u64);
            if let Some(timestamp) = last.timestamp_ms() {
                stats.last_timestamp_ms.set(timestamp);
            }
        }
    }

    /// Enters the first `count` of what was taken into the ledger; what an earlier owner of the partition completed is not
    /// handled again.
    fn start_taken(&mut self, count: usize) {
        let Some(first) = self.taken.first().filter(|_| count > 0) else {
            return;
        };
        let done = self.queue.completed_before(first.offset());
        self.ledger.remember(self.queue.completed());
        let known = self.waiting.len();
        self.waiting
            .extend(self.ledger.start(self.taken.drain(..count)));
        if self.lane.is_return() {
            self.read_returned(known);
        }
        for started in self.waiting.iter_mut().skip(known) {
            started.read_hops();
        }
        if let Some(done) = done {
            let (done, open) = std::mem::take(&mut self.waiting)
                .into_iter()
                .partition(|started| done.contains(started.record.offset()));
            self.waiting = open;
            let done = Vec::from(done);
            self.ledger.complete(&done);
            if let Some(stats) = self.lane.stats() {
                stats.completed_before.add(done.len() as u64);
            }
        }
    }

    async fn serve_singles(&mut self, limits: &Limits) {
        while let Some(job) = self.waiting.pop_front().map(Job::from) {
            let delivered = deliver(&mut self.lane, job).await;
            // Then it is also time to look again how many wait.
            let is_due = self.lane.clock >= self.store_due;
            if is_due {
                self.store();
            }
            let goes_on = self.accept(delivered) && !is_due && self.lane.owes_until().is_none();
            if !goes_on || self.lane.stop.is_set() || !self.has_room(limits) {
                break;
            }
        }
    }

    /// Waits for the time of the next attempt, unless something else is to be done first.
    async fn wait_for_retry(&mut self, at: Instant) {
        if at > Instant::now() + REST_ABOVE {
            self.lane.rest();
        }
        let ledger = &self.ledger;
        let event = async {
            tokio::select! {
                () = ledger.changed() => {}
                () = sleep_until(at) => {}
            }
        };
        pause(&mut self.lane, event).await;
    }

    /// Takes note of how a delivery ended; returns whether the next one may follow.
    fn accept(&mut self, delivered: Delivered) -> bool {
        match delivered {
            Delivered::Settled => true,
            Delivered::Stopped => false,
            Delivered::Later(job, at) => {
                self.retry = Some((Again::One(job), at));
                false
            }
            Delivered::Halted(cargo) | Delivered::Unrouted(cargo) => {
                self.hold(cargo);
                false
            }
        }
    }

    /// Waits until something was deployed or an output was acknowledged or refused.
    async fn wait_for_change(&mut self) {
        let (catalog, ledger) = (self.lane.catalog(), &self.ledger);
        let event = async {
            tokio::select! {
                () = catalog::changed(catalog) => {}
                () = ledger.changed() => {}
            }
        };
        pause(&mut self.lane, event).await;
    }

    fn has_room(&self, limits: &Limits) -> bool {
        self.ledger
            .has_room(limits.in_flight_records, limits.in_flight_bytes)
    }

    async fn wait_for_room(&mut self, limits: &Limits) {
        let room = self
            .ledger
            .room(limits.in_flight_records, limits.in_flight_bytes);
        pause(&mut self.lane, room).await;
    }

    async fn idle(&mut self) {
        let (catalog, queue, ledger) = (self.lane.catalog(), &self.queue, &self.ledger);
        let event = async {
            tokio::select! {
                biased;
                () = queue.filled() => {}
                () = ledger.changed() => {}
                () = catalog::changed(catalog) => {}
            }
        };
        pause(&mut self.lane, event).await;
    }

    /// Stores what may be committed, if it is news, and brings the gauges up to date.
    fn store(&mut self) {
        let (now, is_parallel) = (Instant::now(), !self.parallel.is_unused());
        if is_parallel && now < self.store_due && !self.lane.stop.is_set() {
            return;
        }
        self.store_due = now + STORE_EVERY;
        let has_map = is_parallel || self.queue.completed().is_some();
        let in_transaction = self.ledger.suspects().is_some();
        self.latest = if has_map || in_transaction {
            self.ledger.commit_point()
        } else {
            self.ledger.position().map(CommitPoint::from)
        };
        self.show();
        let Some(latest) = self.latest.as_ref() else {
            return;
        };
        let has_moved = self
            .stored
            .as_ref()
            .map_or(latest.metadata.is_empty(), |stored| {
                stored.offset != latest.offset
            });
        let is_news =
            has_moved || (self.stored.as_ref() != Some(latest) && self.metadata_due <= now);
        if in_transaction || !is_news {
            // Positions of a transaction are collected when it is committed.
            return;
        }
        self.queue.store(latest, has_moved);
        self.stored.clone_from(&self.latest);
        self.metadata_due = now + METADATA_EVERY;
    }

    /// Brings the gauges up to date.
    fn show(&self) {
        let Some(stats) = self.lane.stats() else {
            return;
        };
        if !self.lane.is_return() {
            let parked = self.lane.parked().len();
            stats
                .parked_keys
                .set(i64::try_from(parked).unwrap_or(i64::MAX));
        }
        stats
            .in_flight
            .set(i64::try_from(self.ledger.span()).unwrap_or(i64::MAX));
        if let (Some(end), Some(latest)) = (self.queue.end_offset(), &self.latest) {
            stats.lag_records.set((end - latest.offset).max(0));
        }
    }
}

/// Waits for an event, but not so long that what is shown of the partition is no longer true. Meanwhile the instance
/// goes if another partition needs its place.
async fn pause(lane: &mut Lane, event: impl Future<Output = ()>) {
    let (stop, place_wanted) = (lane.stop.clone(), lane.place_wanted());
    tokio::select! {
        biased;
        () = stop.set() => {}
        () = event => {}
        () = place_wanted => lane.rest(),
        () = tokio::time::sleep(IDLE) => {}
    }
}
