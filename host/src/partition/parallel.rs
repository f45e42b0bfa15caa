//! The lanes of one partition that work in parallel, where order holds within a key or not at all.
//!
//! The partition's task hands in records and makes lanes as they are needed; each lane is a task that takes the next
//! record that may go. A lane without work waits, and lets its instance go after a while.
//! **Invariant:** what the schedule says holds across all lanes, because a lane tells it of an ending before it takes
//! the next record.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::deliver::{Delivered, Job, deliver};
use crate::ids::Revision;
use crate::lane::Lane;
use crate::schedule::{KeyHash, Schedule, Turn};

/// A lane without work keeps its instance for so long.
const REST_AFTER: Duration = Duration::from_secs(2);
/// A lane gives other tasks of its thread their turn after so many records.
const TURNS_MAX: u32 = 64;

/// Where a lane stopped.
#[derive(Debug)]
struct Halt {
    key: Option<KeyHash>,
    job: Job,
}

#[derive(Debug, Default)]
struct State {
    schedule: Schedule<Job, Instant>,
    /// Lanes that wait for work.
    idle: usize,
    /// A lane was told or made, and has not looked yet: nobody else needs to be told.
    is_searching: bool,
    /// No lane is idle, a record is ready, and there may be one lane more.
    wants_lane: bool,
    /// There are as many lanes as there may be.
    is_full: bool,
    halts: Vec<Halt>,
    /// The revision at which a lane stopped; none where no handler served the topic.
    halted_by: Option<Revision>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// One idle lane is told that there is work.
    work: Notify,
    /// The task is told that a lane is wanted, that a lane halted, or that a time is to be watched.
    news: Notify,
}

impl Shared {
    /// Makes sure that somebody takes what is ready.
    fn call_for_lane(&self, state: &mut State) {
        let has_work = state.halts.is_empty() && state.schedule.has_next(Instant::now());
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

    /// Takes the next record for a lane; notes that it is idle when there is none.
    fn next(&self, was_called: bool) -> Option<Turn<Job>> {
        let mut state = self.state.lock();
        if was_called {
            state.is_searching = false;
        }
        let turn = if state.halts.is_empty() {
            state.schedule.next(Instant::now())
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

    /// Notes how a record's delivery ended.
    fn accept(&self, key: Option<KeyHash>, delivered: Delivered, revision: Option<&Revision>) {
        let mut state = self.state.lock();
        match delivered {
            Delivered::Settled => state.schedule.end(key),
            Delivered::Later(job, at) => {
                let is_first = state.schedule.next_time().is_none_or(|first| at < first);
                state.schedule.again(Turn { key, item: job }, at);
                if is_first {
                    self.news.notify_one();
                }
            }
            Delivered::Halted(cargo) | Delivered::Unrouted(cargo) => {
                state.halted_by = revision.cloned();
                let jobs = cargo.into_iter().map(Job::from);
                state.halts.extend(jobs.map(|job| Halt { key, job }));
                self.news.notify_one();
            }
            // The partition goes, and with it the schedule.
            Delivered::Stopped => {}
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
    /// Takes records up, each behind all others of its key; one without a key not before its time, if it has one.
    pub(super) fn add(
        &self,
        jobs: impl IntoIterator<Item = (Option<KeyHash>, Option<Instant>, Job)>,
    ) {
        let mut state = self.shared.state.lock();
        for (key, due, job) in jobs {
            match (key, due) {
                (None, Some(due)) => state.schedule.add_at(due, job),
                (key, _) => state.schedule.add(key, job),
            }
        }
        self.shared.call_for_lane(&mut state);
    }

    /// Makes a lane if one is wanted and there are fewer than `max`; calls for one where a record's time has come.
    pub(super) fn tend(&mut self, like: &Lane, max: usize) {
        while self.lanes.try_join_next().is_some() {}
        let mut state = self.shared.state.lock();
        state.is_full = self.lanes.len() >= max;
        self.shared.call_for_lane(&mut state);
        if std::mem::take(&mut state.wants_lane) && !state.is_full {
            state.is_searching = true;
            state.is_full = self.lanes.len() + 1 >= max;
            drop(state);
            self.was_used = true;
            self.lanes
                .spawn(work(like.sibling(), Arc::clone(&self.shared)));
        }
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
        halts.map(|halt| halt.job.started.record.offset()).min()
    }

    /// Takes back all records that wait for their turn, in no order.
    pub(super) fn take_held(&self) -> Vec<Job> {
        self.shared.state.lock().schedule.take_held()
    }

    /// Returns at which revision a lane halted last; none where no handler served the topic.
    pub(super) fn halted_by(&self) -> Option<Revision> {
        self.shared.state.lock().halted_by.clone()
    }

    /// Lets the lanes go on, first with the records at which they halted.
    pub(super) fn go_on(&self) {
        let mut state = self.shared.state.lock();
        let now = Instant::now();
        for Halt { key, job } in std::mem::take(&mut state.halts) {
            state.schedule.again(Turn { key, item: job }, now);
        }
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
        let Some(Turn { key, item }) = shared.next(std::mem::take(&mut was_called)) else {
            if wait_for_work(&mut lane, &shared).await {
                was_called = true;
            }
            continue;
        };
        let delivered = deliver(&mut lane, item).await;
        shared.accept(key, delivered, lane.revision());
        turns += 1;
        if turns % TURNS_MAX == 0 {
            tokio::task::yield_now().await;
        }
    }
    lane.close().await;
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
