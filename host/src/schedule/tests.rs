//! The schedule against a plain list of records.

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
    schedule.add(Some(1), "a2");
    assert!(schedule.next(100).is_none(), "a1 is still out");
    schedule.end(first.key);
    assert_eq!(schedule.next(100).unwrap().item, "a2");
    schedule.end(Some(1));
    assert!(schedule.is_empty());
}

#[test]
fn the_records_of_a_key_wait_for_each_other_until_there_are_enough() {
    let mut schedule = Schedule::default();
    schedule.gather(Some(1), ("a1", 1), 100, THREE);
    schedule.gather(Some(2), ("b1", 1), 100, THREE);
    schedule.gather(Some(1), ("a2", 1), 101, THREE);
    assert!(!schedule.has_next(99));
    schedule.gather(Some(1), ("a3", 1), 102, THREE);
    schedule.gather(Some(1), ("a4", 1), 103, THREE);
    let first = schedule.next(50).unwrap();
    assert_eq!((first.key, first.item), (Some(1), "a1"));
    assert_eq!(schedule.more(Some(1), 2, |_| true), ["a2", "a3"]);
    assert!(schedule.next(50).is_none(), "a4 waits for its key");
    // Another handler takes them one by one.
    schedule.put_back(Some(1), vec!["a2", "a3"]);
    for expected in ["a2", "a3", "a4"] {
        schedule.end(Some(1));
        assert_eq!(schedule.next(50).unwrap().item, expected);
    }
    schedule.end(Some(1));
    assert_eq!(schedule.next(100).unwrap().item, "b1");
    schedule.end(Some(2));
    assert!(schedule.is_empty());
}

#[test]
fn a_key_that_waits_for_an_attempt_does_not_count_as_waiting() {
    let mut schedule = Schedule::default();
    schedule.add(Some(1), "a1");
    let first = schedule.next(0).unwrap();
    schedule.add(Some(1), "a2");
    assert_eq!(schedule.waiting(0), 1, "a2 follows a1, which is out");
    schedule.again(first, 100);
    schedule.add(Some(1), "a3");
    schedule.add_at(200, "x");
    schedule.gather(Some(2), ("b1", 1), 50, THREE);
    assert_eq!((schedule.held(), schedule.waiting(99)), (5, 1));
    assert_eq!(schedule.waiting(100), 4);
    assert_eq!(schedule.next(100).unwrap().item, "b1");
    assert_eq!(schedule.next(100).unwrap().item, "a1");
    assert_eq!(schedule.waiting(200), 3);
}

#[test]
fn a_time_that_has_come_is_not_waited_for() {
    let mut schedule = Schedule::default();
    schedule.add_at(10, "x");
    schedule.gather(None, ("y", 1), 20, THREE);
    schedule.gather(Some(1), ("a1", 1), 30, THREE);
    // Whoever looked knows that there is something; when a lane comes for it is another matter.
    for (now, next) in [(9, Some(10)), (10, Some(20)), (20, Some(30)), (30, None)] {
        assert_eq!(schedule.has_next(now), now >= 10);
        assert_eq!(schedule.next_time(), next);
    }
    for expected in ["x", "a1", "y"] {
        assert_eq!(schedule.next(30).unwrap().item, expected);
    }
}

#[test]
fn records_wait_no_longer_than_until_their_bytes_are_enough() {
    for key in [Some(1), None] {
        let mut schedule = Schedule::default();
        schedule.gather(key, ("1", 4), 100, THREE);
        schedule.gather(Some(2), ("2", 9), 100, THREE);
        assert!(!schedule.has_next(99));
        schedule.gather(key, ("3", 6), 100, THREE);
        assert_eq!(schedule.next(99).unwrap().item, "1");
        assert!(schedule.next(99).is_none(), "{key:?}");
        assert_eq!(schedule.more(key, 2, |_| true), ["3"]);
        // One that is large enough by itself.
        schedule.gather(Some(3), ("4", 10), 100, THREE);
        assert_eq!(schedule.next(99).unwrap().item, "4");
        // What was taken does not count any more.
        schedule.end(key);
        schedule.gather(key, ("5", 9), 100, THREE);
        assert!(!schedule.has_next(99), "{key:?}");
    }
}

/// How long a record waits for more of its key.
const WAIT: u64 = 5;
/// For how many it waits, or for how many bytes.
const THREE: Enough = Enough {
    records: 3,
    bytes: 10,
};

#[derive(Debug, Clone)]
enum Step {
    Add(Option<u64>),
    Gather(Option<u64>, usize),
    More(prop::sample::Index, usize),
    AddAt(u64),
    Next,
    End(prop::sample::Index),
    Again(prop::sample::Index, u64),
    TakeHeld,
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = prop::option::weighted(0.8, 0u64..4);
    proptest::collection::vec(
        prop_oneof![
            4 => key.clone().prop_map(Step::Add),
            4 => (key, 0usize..8).prop_map(|(key, bytes)| Step::Gather(key, bytes)),
            2 => (any::<prop::sample::Index>(), 0usize..4).prop_map(|(i, max)| Step::More(i, max)),
            1 => (0u64..20).prop_map(Step::AddAt),
            4 => Just(Step::Next),
            3 => any::<prop::sample::Index>().prop_map(Step::End),
            1 => (any::<prop::sample::Index>(), 0u64..20).prop_map(|(i, after)| Step::Again(i, after)),
            1 => Just(Step::TakeHeld),
            2 => (1u64..10).prop_map(Step::Pass),
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
    /// It waits for more, where it may wait at all.
    gathers: bool,
    bytes: usize,
}

/// A record that was added at `now`.
fn entry(key: Option<u64>, item: usize) -> Entry {
    Entry {
        key,
        item,
        is_out: false,
        not_before: 0,
        gathers: false,
        bytes: 0,
    }
}

/// Whether enough records of a key are there; without a key, of those that wait for each other.
fn is_enough(list: &[Entry], key: Option<u64>) -> bool {
    let counts = |entry: &&Entry| entry.key == key && (key.is_some() || entry.gathers);
    let bytes: usize = list.iter().filter(counts).map(|entry| entry.bytes).sum();
    list.iter().filter(counts).count() >= THREE.records || bytes >= THREE.bytes
}

fn may_go(list: &[Entry], place: usize, now: u64) -> bool {
    let entry = &list[place];
    let first_of_key =
        entry.key.is_none() || list[..place].iter().all(|other| other.key != entry.key);
    let is_time = entry.not_before <= now || entry.gathers && is_enough(list, entry.key);
    !entry.is_out && is_time && first_of_key
}

/// Whether a record waits for an attempt, be it that of one before it.
fn is_delayed(list: &[Entry], place: usize, now: u64) -> bool {
    let key = list[place].key;
    let first = list.iter().find(|other| other.key == key);
    let first = first.filter(|_| key.is_some()).unwrap_or(&list[place]);
    !first.is_out && !first.gathers && first.not_before > now
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
                    list.push(entry(key, item));
                }
                Step::AddAt(after) => {
                    schedule.add_at(now + after, item);
                    list.push(Entry { not_before: now + after, ..entry(None, item) });
                }
                Step::Gather(key, bytes) => {
                    schedule.gather(key, (item, bytes), now + WAIT, THREE);
                    let waits = key.is_none() || list.iter().all(|other| other.key != key);
                    let not_before = if waits { now + WAIT } else { 0 };
                    list.push(Entry { not_before, gathers: waits, bytes, ..entry(key, item) });
                }
                Step::More(index, max) if !out.is_empty() => {
                    let key = out[index.index(out.len())].key;
                    let more = schedule.more(key, max, |_| true);
                    let is_next = |entry: &&Entry| !entry.is_out && entry.key == key;
                    if key.is_some() {
                        let next = list.iter().filter(is_next).take(max);
                        let expected: Vec<_> = next.map(|entry| entry.item).collect();
                        prop_assert_eq!(&more, &expected);
                    } else {
                        let known = |item: &usize| list.iter().filter(is_next).any(|entry| {
                            entry.item == *item && (entry.gathers || entry.not_before <= now)
                        });
                        prop_assert!(more.iter().all(known));
                        let left = list.iter().filter(is_next).any(|entry| entry.gathers && !more.contains(&entry.item));
                        prop_assert!(more.len() == max || !left, "not all were taken");
                    }
                    // They are one with the record that was out.
                    list.retain(|entry| !more.contains(&entry.item));
                }
                Step::Next => if let Some(turn) = schedule.next(now) {
                    let place = list.iter().position(|entry| entry.item == turn.item).unwrap();
                    prop_assert!(may_go(&list, place, now), "{turn:?} must wait: {list:?}");
                    list[place].is_out = true;
                    list[place].gathers = false;
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
                Step::TakeHeld => {
                    let mut taken = schedule.take_held();
                    taken.sort_unstable();
                    let held = list.extract_if(.., |entry| !entry.is_out);
                    prop_assert_eq!(taken, held.map(|entry| entry.item).collect::<Vec<_>>());
                }
                Step::End(_) | Step::Again(..) | Step::More(..) => {}
                Step::Pass(time) => now += time,
            }
            prop_assert_eq!(schedule.held(), list.len() - out.len());
            prop_assert_eq!(schedule.is_empty(), list.is_empty());
            let any_ready = (0..list.len()).any(|place| may_go(&list, place, now));
            prop_assert_eq!(schedule.has_next(now), any_ready);
            let waits = |place: &usize| !list[*place].is_out && !is_delayed(&list, *place, now);
            prop_assert_eq!(schedule.waiting(now), (0..list.len()).filter(waits).count());
        }
    }
}
