//! Which record may be handled next where the records of a partition are handled in parallel.
//!
//! Handed records as they are taken up, with a key where equal keys must keep their order; gives them out one by one
//! and is told how each ended. Time is whatever the caller counts it in.
//! **Invariant:** of equal keys at most one record is out, in the order in which they came; a record that waits for
//! its next attempt holds its own key and nothing else.

use std::collections::btree_map::{BTreeMap, OccupiedEntry};
use std::collections::{HashMap, VecDeque};

/// Stands for a record's key. Two keys with the same number only wait for each other.
pub type KeyHash = u64;

/// A record that was given out, to be handed back by [`Schedule::end`] or [`Schedule::again`].
#[derive(Debug, PartialEq, Eq)]
pub struct Turn<T> {
    /// The key that it holds.
    pub key: Option<KeyHash>,
    /// What was handed in.
    pub item: T,
}

/// The records of one partition that are not settled and not inside a guest.
#[derive(Debug)]
pub struct Schedule<T, At> {
    /// May be given out now.
    ready: VecDeque<Turn<T>>,
    /// For each key of which a record is ready, out or waiting for its time: those that come after it.
    behind: HashMap<KeyHash, VecDeque<T>>,
    /// Waiting for their time; the number keeps records of the same time apart.
    timed: BTreeMap<(At, u64), Turn<T>>,
    timed_count: u64,
    /// Given out and not handed back.
    out: usize,
    held: usize,
}

impl<T, At> Default for Schedule<T, At> {
    fn default() -> Self {
        Self {
            ready: VecDeque::new(),
            behind: HashMap::new(),
            timed: BTreeMap::new(),
            timed_count: 0,
            out: 0,
            held: 0,
        }
    }
}

impl<T, At: Copy + Ord> Schedule<T, At> {
    /// Takes up a record behind all others of its key; one without a key waits for nobody.
    pub fn add(&mut self, key: Option<KeyHash>, item: T) {
        self.held += 1;
        if let Some(key) = key {
            if let Some(behind) = self.behind.get_mut(&key) {
                behind.push_back(item);
                return;
            }
            self.behind.insert(key, VecDeque::new());
        }
        self.ready.push_back(Turn { key, item });
    }

    /// Takes up a record without a key that may not go before `at`.
    pub fn add_at(&mut self, at: At, item: T) {
        self.held += 1;
        self.wait(at, Turn { key: None, item });
    }

    /// Gives out the next record, those first whose time has come.
    pub fn next(&mut self, now: At) -> Option<Turn<T>> {
        let due = self
            .timed
            .first_entry()
            .filter(|first| first.key().0 <= now)
            .map(OccupiedEntry::remove);
        let turn = due.or_else(|| self.ready.pop_front())?;
        self.out += 1;
        self.held -= 1;
        Some(turn)
    }

    /// Takes back the key of a record that is settled: the next one of its key may go.
    pub fn end(&mut self, key: Option<KeyHash>) {
        self.out = self.out.saturating_sub(1);
        let Some(key) = key else { return };
        match self.behind.get_mut(&key).and_then(VecDeque::pop_front) {
            Some(item) => self.ready.push_back(Turn {
                key: Some(key),
                item,
            }),
            None => {
                self.behind.remove(&key);
            }
        }
    }

    /// Takes back a record that is to be given out again, at `at` or later. Its key goes on waiting for it.
    pub fn again(&mut self, turn: Turn<T>, at: At) {
        self.out = self.out.saturating_sub(1);
        self.held += 1;
        self.wait(at, turn);
    }

    fn wait(&mut self, at: At, turn: Turn<T>) {
        self.timed.insert((at, self.timed_count), turn);
        self.timed_count += 1;
    }

    /// Returns when the next record's time comes, of those that wait for one.
    pub fn next_time(&self) -> Option<At> {
        self.timed.first_key_value().map(|((at, _), _)| *at)
    }

    /// Returns whether [`Self::next`] would give a record out.
    pub fn has_next(&self, now: At) -> bool {
        !self.ready.is_empty() || self.next_time().is_some_and(|at| at <= now)
    }

    /// Returns how many records are held: ready, behind one of their key, or waiting for their time.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Returns whether no record is held and none is out.
    pub fn is_empty(&self) -> bool {
        self.held == 0 && self.out == 0
    }

    /// Gives up all records that are held, in no order. Those that are out are handed back as ever.
    pub fn take_held(&mut self) -> Vec<T> {
        self.held = 0;
        let ready = std::mem::take(&mut self.ready).into_iter();
        let timed = std::mem::take(&mut self.timed).into_values();
        let behind = std::mem::take(&mut self.behind).into_values();
        ready
            .chain(timed)
            .map(|turn| turn.item)
            .chain(behind.flatten())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_retry_holds_only_its_own_key() {
        let mut schedule = Schedule::default();
        for (key, item) in [(1, "a1"), (2, "b1"), (1, "a2"), (2, "b2")] {
            schedule.add(Some(key), item);
        }
        schedule.add(None, "x");
        let first = schedule.next(0).unwrap();
        assert_eq!(first.item, "a1");
        schedule.again(first, 100);
        let mut seen = Vec::new();
        while let Some(turn) = schedule.next(0) {
            seen.push(turn.item);
            schedule.end(turn.key);
        }
        assert_eq!(seen, ["b1", "x", "b2"]);
        assert_eq!((schedule.held(), schedule.next_time()), (2, Some(100)));
        assert!(!schedule.has_next(99));
        assert_eq!(schedule.next(100).unwrap().item, "a1");
        assert!(schedule.next(100).is_none());
        schedule.end(Some(1));
        assert_eq!(schedule.next(100).unwrap().item, "a2");
        schedule.end(Some(1));
        assert!(schedule.is_empty());
    }

    #[test]
    fn what_is_held_can_be_taken_back_while_records_are_out() {
        let mut schedule = Schedule::default();
        for (key, item) in [(1, "a1"), (2, "b1"), (1, "a2"), (3, "c1")] {
            schedule.add(Some(key), item);
        }
        let (first, second) = (schedule.next(0).unwrap(), schedule.next(0).unwrap());
        schedule.again(second, 100);
        let mut held = schedule.take_held();
        held.sort_unstable();
        assert_eq!(held, ["a2", "b1", "c1"]);
        assert!(schedule.next(100).is_none() && !schedule.is_empty());
        schedule.end(first.key);
        assert!(schedule.is_empty());
    }

    #[derive(Debug, Clone)]
    enum Step {
        Add(Option<u64>),
        AddAt(u64),
        Next,
        End(prop::sample::Index),
        Again(prop::sample::Index, u64),
        Pass(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let key = prop::option::weighted(0.8, 0u64..4);
        proptest::collection::vec(
            prop_oneof![
                4 => key.prop_map(Step::Add),
                1 => (0u64..20).prop_map(Step::AddAt),
                4 => Just(Step::Next),
                3 => any::<prop::sample::Index>().prop_map(Step::End),
                1 => (any::<prop::sample::Index>(), 0u64..20).prop_map(|(i, after)| Step::Again(i, after)),
                1 => (1u64..10).prop_map(Step::Pass),
            ],
            0..200,
        )
    }

    /// A record in the naive model: a plain list in the order of arrival.
    #[derive(Debug, Clone)]
    struct Entry {
        key: Option<u64>,
        item: usize,
        is_out: bool,
        not_before: u64,
    }

    fn may_go(list: &[Entry], place: usize, now: u64) -> bool {
        let entry = &list[place];
        let first_of_key =
            entry.key.is_none() || list[..place].iter().all(|other| other.key != entry.key);
        !entry.is_out && entry.not_before <= now && first_of_key
    }

    proptest! {
        /// Against a list that is searched from the front: what is given out may go, something is given out whenever
        /// anything may go, and nothing is lost.
        #[test]
        fn keys_keep_their_order_and_nothing_ready_is_kept_back(steps in steps()) {
            let mut schedule = Schedule::default();
            let (mut list, mut out, mut now): (Vec<Entry>, Vec<Turn<usize>>, u64) = Default::default();
            for (item, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Add(key) => {
                        schedule.add(key, item);
                        list.push(Entry { key, item, is_out: false, not_before: 0 });
                    }
                    Step::AddAt(after) => {
                        schedule.add_at(now + after, item);
                        list.push(Entry { key: None, item, is_out: false, not_before: now + after });
                    }
                    Step::Next => if let Some(turn) = schedule.next(now) {
                        let place = list.iter().position(|entry| entry.item == turn.item).unwrap();
                        prop_assert!(may_go(&list, place, now), "{turn:?} must wait: {list:?}");
                        list[place].is_out = true;
                        out.push(turn);
                    } else {
                        let left = (0..list.len()).find(|place| may_go(&list, *place, now));
                        prop_assert_eq!(left, None, "kept back");
                    },
                    Step::End(index) if !out.is_empty() => {
                        let turn = out.swap_remove(index.index(out.len()));
                        list.retain(|entry| entry.item != turn.item);
                        schedule.end(turn.key);
                    }
                    Step::Again(index, after) if !out.is_empty() => {
                        let turn = out.swap_remove(index.index(out.len()));
                        let entry = list.iter_mut().find(|entry| entry.item == turn.item).unwrap();
                        (entry.is_out, entry.not_before) = (false, now + after);
                        schedule.again(turn, now + after);
                    }
                    Step::End(_) | Step::Again(..) => {}
                    Step::Pass(time) => now += time,
                }
                prop_assert_eq!(schedule.held(), list.len() - out.len());
                prop_assert_eq!(schedule.is_empty(), list.is_empty());
                let any_ready = (0..list.len()).any(|place| may_go(&list, place, now));
                prop_assert_eq!(schedule.has_next(now), any_ready);
            }
        }
    }
}
