//! The lanes of one partition that work in parallel, where order holds within a key or not at all.
//!
//! The partition's task hands in records and makes lanes as they are needed; each lane is a task that takes the next
//! record that may go, and where there are batches, others that may go with it. A lane without work waits, and lets its
//! instance go after a while.
//! **Invariant:** what the schedule says holds across all lanes, because a lane tells it of an ending before it takes
//! the next record.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::bulk::{Batch, Carried, carry};
use crate::deliver::{Delivered, Job, deliver};
use crate::flight::{Cargo, Ledger};
use crate::lane::{Lane, Serving};
use crate::policy::Bulk;
use crate::schedule::{Enough, KeyHash, Schedule, Turn};

/// A lane without work keeps its instance for so long.
const REST_AFTER: Duration = Duration::from_secs(2);
/// A lane gives other tasks of its thread their turn after so many records.
const TURNS_MAX: u32 = 64;

/// What a lane carries at once.
#[derive(Debug)]
enum Work {
    One(Job),
    Several(Batch),
}

impl Work {
    fn offset(&self) -> Option<i64> {
        match self {
            Self::One(job) => Some(job.started.record.offset()),
            Self::Several(batch) => batch.offset(),
        }
    }

    fn into_jobs(self) -> Vec<Job> {
        match self {
            Self::One(job) => vec![job],
            Self::Several(batch) => batch.into_jobs(),
        }
    }
}

/// A record as it is taken up: its key, when it is due, and itself.
pub(super) type Arrival = (Option<KeyHash>, Option<Instant>, Job);

#[derive(Debug, Default)]
struct State {
    schedule: Schedule<Work, Instant>,
    /// What a batch is, while there are batches.
    bulk: Option<Bulk>,
    /// Lanes that wait for work.
    idle: usize,
    /// A lane was told or made, and has not looked yet: nobody else needs to be told.
    is_searching: bool,
    /// No lane is idle, a record is ready, and there may be one lane more.
    wants_lane: bool,
    /// There are as many lanes as there may be.
    is_full: bool,
    /// Where lanes stopped.
    halts: Vec<Turn<Work>>,
    /// The revision at which a lane stopped; none where no handler served the topic.
    halted_by: Option<Serving>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// No lane may begin another record.
    is_held: AtomicBool,
    /// One idle lane is told that there is work.
    work: Notify,
    /// The task is told that a lane is wanted, that a lane halted, or that a time is to be watched.
    news: Notify,
}

impl State {
    /// Takes the next record, and with it those that make up its batch.
    fn take(&mut self) -> Option<Turn<Work>> {
        let Turn { key, item } = self.schedule.next(Instant::now())?;
        let item = match (item, self.bulk) {
            (Work::One(job), Some(bulk)) => Work::Several(self.gather(key, job, &bulk)),
            (item, _) => item,
        };
        Some(Turn { key, item })
    }

    fn gather(&mut self, key: Option<KeyHash>, first: Job, bulk: &Bulk) -> Batch {
        if first.failed.is_some() {
            // Its attempts are its own.
            return Batch::of(first);
        }
        let mut bytes = first.started.size_bytes();
        let first_key = first.started.record.key();
        // Keys that only share a number wait for each other, but are no batch.
        let is_like = |job: &Job| key.is_none() || job.started.record.key() == first_key;
        let fits = |work: &Work| match work {
            Work::One(job) if job.failed.is_none() && is_like(job) => {
                bytes += job.started.size_bytes();
                bytes <= bulk.max_bytes
            }
            _ => false,
        };
        let more = self.schedule.more(key, bulk.max_records - 1, fits);
        let more = more.into_iter().flat_map(Work::into_jobs);
        let jobs = std::iter::once(first).chain(more);
        let mut cargo: Cargo = jobs.map(|job| job.started).collect();
        // Those of a key are in order anyway.
        cargo.sort_by_key(|started| started.record.offset());
        Batch::new(cargo)
    }
}

impl Shared {
    /// Returns whether lanes may take what is ready.
    fn goes_on(&self, state: &State) -> bool {
        state.halts.is_empty() && !self.is_held.load(Ordering::Acquire)
    }

    /// Makes sure that somebody takes what is ready.
    fn call_for_lane(&self, state: &mut State) {
        let has_work = self.goes_on(state) && state.schedule.has_next(Instant::now());
        if state.is_searching || !has_work {
            return;
        }
        if state.idle > 0 {
            state.idle -= 1;
            state.is_searching = true;
            self.work.notify_one();
        } else if !state.wants_lane && !state.is_full {
            state.wants_lane = true;
            self.news.notify_one();
        }
    }

    /// Takes the next record or batch for a lane; notes that it is idle when there is none, or when none may be begun because
    /// of a refused output of which the task will be told.
    fn next(&self, was_called: bool, ledger: &Ledger) -> Option<Turn<Work>> {
        let mut state = self.state.lock();
        if was_called {
            state.is_searching = false;
        }
        // Looked at behind the lock: the task that lets lanes go on also finds the one that is idle because of this.
        let turn = if !ledger.is_held() && self.goes_on(&state) {
            state.take()
        } else {
            None
        };
        if turn.is_some() {
            self.call_for_lane(&mut state);
        } else {
            state.idle += 1;
        }
        turn
    }

    /// Notes how the delivery of a record or a batch ended.
    fn accept(&self, key: Option<KeyHash>, ended: Ended, serving: Option<&Serving>) {
        let mut state = self.state.lock();
        match ended {
            Ended::Settled => state.schedule.end(key),
            Ended::Later(item, at) => {
                let is_first = state.schedule.next_time().is_none_or(|first| at < first);
                state.schedule.again(Turn { key, item }, at);
                if is_first {
                    self.news.notify_one();
                }
            }
            Ended::Halted(item) => {
                state.halted_by = serving.cloned();
                state.halts.push(Turn { key, item });
                self.news.notify_one();
            }
            // The partition goes, and with it the schedule.
            Ended::Stopped => {}
        }
    }

    /// Takes a batch apart for a handler that has no hook for it; returns its first record.
    fn unbundle(&self, key: Option<KeyHash>, batch: Batch) -> Option<Job> {
        let mut jobs = batch.into_jobs().into_iter();
        let first = jobs.next();
        let rest = jobs.map(Work::One).collect();
        self.state.lock().schedule.put_back(key, rest);
        first
    }
}

/// How a delivery ended, for the schedule.
enum Ended {
    Settled,
    Later(Work, Instant),
    Halted(Work),
    Stopped,
}

impl Ended {
    /// Of a single record.
    fn one(delivered: Delivered) -> Self {
        match delivered {
            Delivered::Later(job, at) => Self::Later(Work::One(job), at),
            Delivered::Settled => Self::Settled,
            Delivered::Stopped => Self::Stopped,
            Delivered::Halted(cargo) | Delivered::Unrouted(cargo) => match cargo.into_iter().next()
            {
                Some(started) => Self::Halted(Work::One(Job::from(started))),
                None => Self::Stopped,
            },
        }
    }

    /// Of a batch.
    fn several(carried: Carried) -> Self {
        match carried {
            Carried::Later(batch, at) => Self::Later(Work::Several(batch), at),
            Carried::Done(Delivered::Halted(cargo) | Delivered::Unrouted(cargo)) => {
                Self::Halted(Work::Several(Batch::new(cargo)))
            }
            Carried::Done(delivered) => Self::one(delivered),
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Parallel {
    shared: Arc<Shared>,
    lanes: JoinSet<()>,
    was_used: bool,
}

impl Parallel {
    /// Takes records up, each behind all others of its key; one without a key not before its time, if it has one. With
    /// `bulk` they are handed over in batches, those that wait already among them.
    pub(super) fn add(&self, arrivals: impl IntoIterator<Item = Arrival>, bulk: Option<Bulk>) {
        let mut state = self.shared.state.lock();
        state.bulk = bulk;
        for (key, due, job) in arrivals {
            let bytes = job.started.size_bytes();
            let item = Work::One(job);
            match (key, due, bulk) {
                (None, Some(due), _) => state.schedule.add_at(due, item),
                (key, _, Some(bulk)) => {
                    let at = Instant::now() + bulk.max_wait;
                    let enough = Enough {
                        records: bulk.max_records,
                        bytes: bulk.max_bytes,
                    };
                    state.schedule.gather(key, (item, bytes), at, enough);
                }
                (key, _, None) => state.schedule.add(key, item),
            }
        }
        self.shared.call_for_lane(&mut state);
    }

    /// Returns how many records wait for their turn, without those of keys that wait for an attempt.
    pub(super) fn waiting(&self) -> usize {
        let mut state = self.shared.state.lock();
        state.schedule.waiting(Instant::now())
    }

    /// Makes a lane if one is wanted and there are fewer than `max`; calls for one where a record's time has come. Returns
    /// whether there are as many as there may be.
    pub(super) fn tend(&mut self, like: &Lane, max: usize) -> bool {
        while self.lanes.try_join_next().is_some() {}
        let mut state = self.shared.state.lock();
        state.is_full = self.lanes.len() >= max;
        self.shared.call_for_lane(&mut state);
        if std::mem::take(&mut state.wants_lane) && !state.is_full {
            state.is_searching = true;
            state.is_full = self.lanes.len() + 1 >= max;
            let is_full = state.is_full;
            drop(state);
            self.was_used = true;
            self.lanes
                .spawn(work(like.sibling(), Arc::clone(&self.shared)));
            return is_full;
        }
        state.is_full
    }

    /// Waits until [`Self::tend`] has something to do, or a lane halted.
    pub(super) async fn news(&self) {
        let next_time = self.shared.state.lock().schedule.next_time();
        match next_time {
            None => self.shared.news.notified().await,
            Some(at) => tokio::select! {
                biased;
                () = self.shared.news.notified() => {}
                () = tokio::time::sleep_until(at) => {}
            },
        }
    }

    /// Returns whether there has been no lane yet.
    pub(super) fn is_unused(&self) -> bool {
        !self.was_used
    }

    /// Returns whether no record is held and none is inside a lane.
    pub(super) fn is_empty(&self) -> bool {
        let state = self.shared.state.lock();
        state.schedule.is_empty() && state.halts.is_empty()
    }

    /// Returns the first offset at which a lane halted, if one did; then no lane takes another record.
    pub(super) fn halted_at(&self) -> Option<i64> {
        let state = self.shared.state.lock();
        let halts = state.halts.iter();
        halts.filter_map(|halt| halt.item.offset()).min()
    }

    /// Takes back all records that wait for their turn, in no order.
    pub(super) fn take_held(&self) -> Vec<Job> {
        let held = self.shared.state.lock().schedule.take_held();
        held.into_iter().flat_map(Work::into_jobs).collect()
    }

    /// Returns what served when a lane halted last; none where no handler served the topic.
    pub(super) fn halted_by(&self) -> Option<Serving> {
        self.shared.state.lock().halted_by.clone()
    }

    /// Lets the lanes go on, first with the records at which they halted.
    pub(super) fn go_on(&self) {
        let mut state = self.shared.state.lock();
        let now = Instant::now();
        for turn in std::mem::take(&mut state.halts) {
            state.schedule.again(turn, now);
        }
        self.shared.call_for_lane(&mut state);
    }

    /// Lets no lane begin another record, or lets them go on.
    pub(super) fn hold(&self, is_held: bool) {
        let mut state = self.shared.state.lock();
        self.shared.is_held.store(is_held, Ordering::Release);
        self.shared.call_for_lane(&mut state);
    }

    /// Waits until all lanes have ended; to be called once they were told to stop.
    pub(super) async fn join(&mut self) {
        while self.lanes.join_next().await.is_some() {}
    }
}

/// The life of a lane.
async fn work(mut lane: Lane, shared: Arc<Shared>) {
    let (mut was_called, mut turns) = (true, 0);
    while !lane.stop.is_set() {
        if let Some(due) = lane.owes_until() {
            lane.sit_out(due, std::future::pending()).await;
            continue;
        }
        let called = std::mem::take(&mut was_called);
        let Some(Turn { key, item }) = shared.next(called, &lane.ledger) else {
            if wait_for_work(&mut lane, &shared).await {
                was_called = true;
            }
            continue;
        };
        let ended = match item {
            Work::One(job) => Ended::one(deliver(&mut lane, job).await),
            Work::Several(batch) => deliver_batch(&mut lane, &shared, (key, batch)).await,
        };
        shared.accept(key, ended, lane.serving());
        turns += 1;
        if turns % TURNS_MAX == 0 {
            tokio::task::yield_now().await;
        }
    }
    lane.close().await;
}

/// Delivers a batch, or only its first record where the handler has no hook for batches any more.
async fn deliver_batch(
    lane: &mut Lane,
    shared: &Shared,
    (key, batch): (Option<KeyHash>, Batch),
) -> Ended {
    let Some(handler) = lane.route() else {
        return Ended::Halted(Work::Several(batch));
    };
    if handler.component.takes().batches && !handler.is_choosy() {
        return Ended::several(carry(lane, &handler, batch).await);
    }
    match shared.unbundle(key, batch) {
        Some(first) => Ended::one(deliver(lane, first).await),
        None => Ended::Settled,
    }
}

/// Waits until there is work, or the lane is to stop; returns whether there is work.
async fn wait_for_work(lane: &mut Lane, shared: &Shared) -> bool {
    let stop = lane.stop.clone();
    tokio::select! {
        biased;
        () = stop.set() => return false,
        () = shared.work.notified() => return true,
        () = lane.place_wanted() => lane.rest(),
        () = tokio::time::sleep(REST_AFTER) => lane.rest(),
    }
    tokio::select! {
        biased;
        () = stop.set() => false,
        () = shared.work.notified() => true,
    }
}
