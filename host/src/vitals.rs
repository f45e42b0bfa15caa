//! What can be seen of a partition from outside while it is at work: the record that each lane has in hand, and which
//! records wait on purpose.
//!
//! Written by the partition's task and its lanes, read by the watchdog.
//! **Invariant:** writing never waits for a reader. A record costs some stores to its lane's own memory; a lock is taken
//! only where a lane begins or ends, and where a record is to wait.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// No record is in hand.
const NONE: i64 = -1;
/// So few records that wait, or waited, are kept without a look at their times.
const WAITS_MIN: usize = 16;

/// What is being done with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Doing {
    /// The handler is at work on it.
    Handling,
    /// It waits until the handler may run one more instance.
    Permit,
    /// It waits until the host may run one more instance.
    Place,
    /// Its outputs are being handed to the producer.
    Sending,
    /// The handler waits for the response to a request or the receipt of a record, which has a bound of its own.
    Response,
}

impl Doing {
    const ALL: [Self; 5] = [
        Self::Handling,
        Self::Permit,
        Self::Place,
        Self::Sending,
        Self::Response,
    ];
}

/// What a lane has in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InHand {
    /// The record, or the first one of a batch.
    pub(crate) offset: i64,
    /// What is being done with it.
    pub(crate) doing: Doing,
    /// What the lane had in hand before, so far.
    pub(crate) turns: u64,
}

/// The hand of one lane, on cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Hand {
    offset: AtomicI64,
    doing: AtomicU8,
    turns: AtomicU64,
}

impl Hand {
    /// Takes a record, or a batch by its first one.
    pub(crate) fn take(&self, offset: i64) {
        self.note(Doing::Handling);
        self.offset.store(offset, Ordering::Relaxed);
    }

    /// Takes note of what is being done.
    pub(crate) fn note(&self, doing: Doing) {
        self.doing.store(doing as u8, Ordering::Relaxed);
    }

    /// Returns whether the handler waits for a response.
    pub(crate) fn awaits_response(&self) -> bool {
        self.doing.load(Ordering::Relaxed) == Doing::Response as u8
    }

    /// Puts down what was in hand: it is settled, or waits elsewhere.
    pub(crate) fn put_down(&self) {
        // The lane is the only one that writes.
        let turns = self.turns.load(Ordering::Relaxed);
        self.turns.store(turns + 1, Ordering::Relaxed);
        self.offset.store(NONE, Ordering::Relaxed);
    }

    fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    fn in_hand(&self) -> Option<InHand> {
        let turns = self.turns();
        let offset = self.offset.load(Ordering::Relaxed);
        let doing = usize::from(self.doing.load(Ordering::Relaxed));
        (offset != NONE).then(|| InHand {
            offset,
            doing: Doing::ALL.get(doing).copied().unwrap_or(Doing::Handling),
            turns,
        })
    }
}

/// Records that are not to be handled before a time.
#[derive(Debug, Default)]
struct Waits {
    until: BTreeMap<i64, Instant>,
    /// With so many it is time to forget those whose time has come.
    full: usize,
}

impl Waits {
    fn note(&mut self, offset: i64, until: Instant) {
        if self.until.len() >= self.full {
            let now = Instant::now();
            self.until.retain(|_, until| *until > now);
            // Twice as many, so that a look at all of them is rare.
            self.full = (self.until.len() * 2).max(WAITS_MIN);
        }
        self.until.insert(offset, until);
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Vitals {
    hands: Mutex<Vec<Arc<Hand>>>,
    waits: Mutex<Waits>,
    /// Until when no record is begun on purpose.
    held_back: Mutex<Option<Instant>>,
    is_halted: AtomicBool,
    is_paused: AtomicBool,
    /// Lanes whose handlers wait for responses, or whose records for a pipeline that has as many as it may.
    awaiting: AtomicUsize,
    /// One more of them is worth telling: there could be another lane then.
    wants_awaiting: AtomicBool,
    awaiting_more: Notify,
}

impl Vitals {
    /// Adds a lane.
    pub(crate) fn open(self: &Arc<Self>) -> OpenHand {
        let hand = Arc::new(Hand {
            offset: AtomicI64::new(NONE),
            doing: AtomicU8::new(Doing::Handling as u8),
            turns: AtomicU64::new(0),
        });
        self.hands.lock().push(Arc::clone(&hand));
        OpenHand {
            vitals: Arc::clone(self),
            hand,
        }
    }

    /// Takes note that a record waits on purpose.
    pub(crate) fn wait(&self, offset: i64, until: Instant) {
        self.waits.lock().note(offset, until);
    }

    /// Returns until when a record waits, or waited last, on purpose.
    pub(crate) fn waits_until(&self, offset: i64) -> Option<Instant> {
        self.waits.lock().until.get(&offset).copied()
    }

    /// Takes note that no record is begun on purpose until then.
    pub(crate) fn hold_back(&self, until: Instant) {
        *self.held_back.lock() = Some(until);
    }

    /// Returns whether no record is begun on purpose.
    pub(crate) fn is_held_back(&self) -> bool {
        let until = *self.held_back.lock();
        until.is_some_and(|until| until > Instant::now())
    }

    /// Takes note of whether the partition stopped at a record.
    pub(crate) fn set_halted(&self, is_halted: bool) {
        self.is_halted.store(is_halted, Ordering::Relaxed);
    }

    /// Takes note of whether a handler of the partition is paused by command.
    pub(crate) fn set_paused(&self, is_paused: bool) {
        self.is_paused.store(is_paused, Ordering::Relaxed);
    }

    /// Returns whether the partition stands on purpose: it stopped at a record, or a handler is paused.
    pub(crate) fn stands(&self) -> bool {
        self.is_halted.load(Ordering::Relaxed) || self.is_paused.load(Ordering::Relaxed)
    }

    /// Returns how many records wait on purpose, most of them for their next attempt.
    pub(crate) fn waiting(&self) -> usize {
        let now = Instant::now();
        let waits = self.waits.lock();
        waits.until.values().filter(|until| **until > now).count()
    }

    /// Returns how many lanes wait for others: for responses to their handlers' requests, or to be let into a pipeline. From
    /// now on it is told if one more of them does, unless [`Self::has_enough`] is called.
    pub(crate) fn awaiting(&self) -> usize {
        // Before the count: of one that is counted too late it is told.
        self.wants_awaiting.store(true, Ordering::SeqCst);
        self.awaiting.load(Ordering::SeqCst)
    }

    /// Takes note that it need not be told if one more lane waits for a response.
    pub(crate) fn has_enough(&self) {
        self.wants_awaiting.store(false, Ordering::Relaxed);
    }

    /// Waits until one more of them does.
    pub(crate) async fn awaiting_more(&self) {
        self.awaiting_more.notified().await;
    }

    /// Lists what the lanes have in hand, and how much they had in hand before, all together.
    pub(crate) fn hands(&self) -> (Vec<InHand>, u64) {
        let hands = self.hands.lock();
        let turns = hands.iter().map(|hand| hand.turns()).sum();
        (
            hands.iter().filter_map(|hand| hand.in_hand()).collect(),
            turns,
        )
    }
}

/// The hand of a running lane; it is no longer seen once this is dropped.
#[derive(Debug)]
pub(crate) struct OpenHand {
    vitals: Arc<Vitals>,
    hand: Arc<Hand>,
}

impl Deref for OpenHand {
    type Target = Hand;

    fn deref(&self) -> &Hand {
        &self.hand
    }
}

impl OpenHand {
    /// Takes note that the handler waits for a response, as long as what is returned lives.
    pub(crate) fn await_response(&self) -> Awaiting<'_> {
        self.note(Doing::Response);
        self.vitals.awaiting.fetch_add(1, Ordering::SeqCst);
        if self.vitals.wants_awaiting.load(Ordering::SeqCst) {
            self.vitals.awaiting_more.notify_one();
        }
        Awaiting(&self.vitals)
    }
}

/// A handler that waits for a response.
#[derive(Debug)]
pub(crate) struct Awaiting<'a>(&'a Vitals);

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        self.0.awaiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for OpenHand {
    fn drop(&mut self) {
        let mut hands = self.vitals.hands.lock();
        hands.retain(|hand| !Arc::ptr_eq(hand, &self.hand));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_hand_is_seen_while_its_lane_lives() {
        let vitals = Arc::new(Vitals::default());
        let (first, second) = (vitals.open(), vitals.open());
        assert_eq!(vitals.hands(), (vec![], 0));
        first.take(7);
        first.note(Doing::Sending);
        first.put_down();
        second.take(9);
        second.note(Doing::Place);
        let held = InHand {
            offset: 9,
            doing: Doing::Place,
            turns: 0,
        };
        assert_eq!(vitals.hands(), (vec![held], 1));
        first.take(10);
        assert_eq!(vitals.hands().0[0].doing, Doing::Handling);
        drop(first);
        assert_eq!(vitals.hands(), (vec![held], 0));
    }

    #[tokio::test]
    async fn of_one_more_that_waits_is_told_only_where_there_could_be_another_lane() {
        let vitals = Arc::new(Vitals::default());
        let hands = [vitals.open(), vitals.open(), vitals.open()];
        let is_told = || async {
            let told = tokio::time::timeout(Duration::ZERO, vitals.awaiting_more());
            told.await.is_ok()
        };
        let _first = hands[0].await_response();
        assert!(!is_told().await);
        assert_eq!(vitals.awaiting(), 1);
        let _second = hands[1].await_response();
        assert!(is_told().await);
        assert_eq!(vitals.awaiting(), 2);
        vitals.has_enough();
        let _third = hands[2].await_response();
        assert!(!is_told().await);
        assert_eq!(vitals.awaiting(), 3);
    }

    #[test]
    fn every_doing_is_read_as_it_was_noted() {
        for (place, doing) in Doing::ALL.into_iter().enumerate() {
            assert_eq!(doing as usize, place);
        }
    }

    #[test]
    fn what_waits_is_bounded_by_what_waits_now() {
        let vitals = Vitals::default();
        let later = Instant::now() + Duration::from_mins(1);
        for offset in 0..1000 {
            let is_long = offset < 100;
            vitals.wait(offset, if is_long { later } else { Instant::now() });
            assert!(vitals.waits_until(offset).is_some());
        }
        assert_eq!(vitals.waits_until(0), Some(later));
        assert!((100..=200).contains(&vitals.waits.lock().until.len()));
    }
}
