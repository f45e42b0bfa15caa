//! Parked keys against a world in which the host, its commands and the clock do what they like.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::marker::Asked;

mod commands;
mod markers;

fn slot() -> Slot {
    Slot {
        of: None,
        key: b"k".to_vec(),
    }
}

fn like(offset: i64) -> State {
    State {
        first: offset,
        last: offset,
        ..State::default()
    }
}

fn asked(session: &str, want: Want, number: u64) -> HashMap<Slot, Askers> {
    asked_by(&[(session, want, number)])
}

fn asked_by(all: &[(&str, Want, u64)]) -> HashMap<Slot, Askers> {
    let all = all.iter().map(|(session, want, number)| {
        let request = Request {
            session: (*session).to_owned(),
            want: *want,
            lease_ms: 10,
            last: (*want == Want::Unpark).then_some(3),
        };
        let number = *number;
        ((*session).to_owned(), Asked { request, number })
    });
    HashMap::from([(slot(), all.collect())])
}

/// The key is unparked, and what these asked of it is void.
fn unparked_for(sessions: &[&str]) -> Vec<(Slot, News)> {
    let void = sessions.iter().map(|it| News::NoRequest((*it).to_owned()));
    let all = std::iter::once(News::Unparked).chain(void);
    all.map(|news| (slot(), news)).collect()
}

const LEASE: u64 = 10;

/// One key of one partition: the host that reads it, the topic of parked keys, the dead letters, and one command.
#[derive(Default)]
struct World {
    now: u64,
    parked: Parked<u64>,
    /// What is written down, and survives the host.
    state: Option<State>,
    requests: HashMap<Slot, Askers>,
    number: u64,
    letters: BTreeSet<i64>,
    /// The next record of the key.
    next: i64,
    /// Dead letters that are not acknowledged, with the state that travels beside them.
    flights: BTreeMap<i64, State>,
    done: BTreeSet<i64>,
    handled: Vec<i64>,
    sessions: u32,
}

impl World {
    fn session(&self) -> String {
        self.sessions.to_string()
    }

    /// The host takes the next record; `fails` says what the handler would do.
    fn deliver(&mut self, fails: bool) {
        if self.done.contains(&self.next) {
            self.next += 1;
            return;
        }
        let offset = self.next;
        match self.parked.look(&slot(), None, offset, self.now) {
            Look::Waits => return,
            Look::Lies => {
                self.done.insert(offset);
            }
            Look::Free if !fails => {
                self.handled.push(offset);
                self.done.insert(offset);
            }
            Look::Free | Look::Follows => {
                let flight = self.parked.park(&slot(), &like(offset), self.now);
                self.flights.insert(offset, flight);
            }
        }
        self.next += 1;
    }

    fn land(&mut self) {
        for (offset, state) in std::mem::take(&mut self.flights) {
            self.letters.insert(offset);
            self.done.insert(offset);
            self.state = Some(state);
        }
    }

    /// The states are written, and the letters are still under way.
    fn land_half(&mut self) {
        if let Some((_, state)) = self.flights.last_key_value() {
            self.state = Some(state.clone());
        }
    }

    fn write(&mut self, news: Vec<(Slot, News)>) {
        for (_, news) in news {
            match news {
                News::State(state) => self.state = Some(state),
                News::Unparked => {
                    self.state = None;
                    self.parked.unparked(&slot());
                }
                News::NoRequest(session) => {
                    for askers in self.requests.values_mut() {
                        askers.remove(&session);
                    }
                }
            }
        }
    }

    fn tend(&mut self) {
        let now = self.now;
        let markers = PlaceMarkers {
            states: HashMap::new(),
            requests: self.requests.clone(),
        };
        let complete_below = (0..=self.next).find(|offset| !self.done.contains(offset));
        let until = |_: &Request| now + LEASE;
        let news = (self.parked).tend(Some(&markers), now, until, || complete_below);
        self.write(news);
    }

    fn request(&mut self, want: Want) {
        self.number += 1;
        let request = Request {
            session: self.session(),
            want,
            lease_ms: LEASE,
            last: self.state.as_ref().map(|state| state.last),
        };
        let (session, number) = (self.session(), self.number);
        let askers = self.requests.entry(slot()).or_default();
        askers.insert(session, Asked { request, number });
    }

    /// The command replays what lies in the dead letters, if the key is held for it.
    fn replay(&mut self) {
        let session = Some(self.session());
        let Some(state) = self.state.clone().filter(|state| state.session == session) else {
            return;
        };
        assert!(self.letters.iter().all(|offset| *offset <= state.last));
        self.handled.extend(std::mem::take(&mut self.letters));
        self.request(Want::Unpark);
    }

    fn crash(&mut self) {
        self.flights.clear();
        self.parked = Parked::default();
        let markers = PlaceMarkers {
            states: self.state.iter().map(|it| (slot(), it.clone())).collect(),
            requests: self.requests.clone(),
        };
        self.parked.restore(markers, self.now + LEASE);
        self.next = (0..=self.next)
            .find(|offset| !self.done.contains(offset))
            .unwrap_or(self.next);
    }

    fn step(&mut self, what: u8) {
        match what {
            0..4 => self.deliver(false),
            4 => self.deliver(true),
            5 => self.land(),
            6 => self.land_half(),
            7 | 8 => self.tend(),
            9 => {
                self.sessions += 1;
                self.request(Want::Hold);
            }
            10 => self.request(Want::Hold),
            11 | 12 => self.replay(),
            13 => self.now += 3,
            14 => self.now += LEASE,
            15 => self.requests.clear(),
            _ => self.crash(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nothing_overtakes_a_failure_whoever_fails_when(
        steps in proptest::collection::vec(0..17u8, 0..150),
    ) {
        let mut world = World::default();
        for step in steps {
            world.step(step);
        }
        // In the end a command that nobody disturbs replays what is left.
        world.now += LEASE;
        world.land();
        world.step(9);
        world.tend();
        while world.state.as_ref().is_some_and(|state| world.next <= state.last) {
            world.deliver(false);
        }
        world.land();
        world.tend();
        world.replay();
        world.tend();
        let end = world.next + 3;
        while world.next < end {
            let next = world.next;
            world.deliver(false);
            prop_assert!(world.next > next, "the key stands still");
        }
        let mut expected = world.handled.clone();
        expected.sort_unstable();
        expected.dedup();
        prop_assert_eq!(&world.handled, &expected, "in order, and each once");
        prop_assert_eq!(world.handled, (0..end).collect::<Vec<_>>());
    }

    #[test]
    fn the_state_holds_the_first_and_the_last_offset(offsets in proptest::collection::vec(0..50i64, 1..9)) {
        let mut parked = Parked::<u64>::default();
        let mut last = None;
        for offset in &offsets {
            last = Some(parked.park(&slot(), &like(*offset), 0));
        }
        let last = last.unwrap();
        prop_assert_eq!(last.first, *offsets.iter().min().unwrap());
        prop_assert_eq!(last.last, *offsets.iter().max().unwrap());
        prop_assert_eq!(parked.count(), 1);
    }
}

/// A key parked at offset 3 and held for a session, with the answer, until 10.
fn held_by(session: &str) -> Parked<u64> {
    let mut parked = Parked::default();
    parked.park(&slot(), &like(3), 0);
    parked.ask(&asked(session, Want::Hold, 1), 0, |_| 10);
    parked.tend_holds(0, Some(4));
    parked
}

#[test]
fn a_hold_is_answered_when_everything_up_to_the_last_letter_is_complete() {
    let mut parked = Parked::<u64>::default();
    parked.park(&slot(), &like(3), 0);
    assert!(parked.ask(&asked("s", Want::Hold, 1), 0, |_| 10).is_empty());
    for complete_below in [None, Some(3)] {
        assert!(parked.tend_holds(0, complete_below).is_empty());
    }
    assert_eq!(parked.look(&slot(), None, 3, 0), Look::Follows);
    assert_eq!(parked.look(&slot(), None, 4, 0), Look::Waits);
    let held = State {
        session: Some("s".to_owned()),
        ..like(3)
    };
    assert_eq!(parked.tend_holds(0, Some(4)), [(slot(), News::State(held))]);
    assert!(
        parked.tend_holds(0, Some(4)).is_empty(),
        "it is answered once"
    );
    assert_eq!(parked.look(&slot(), None, 3, 9), Look::Lies);
    assert_eq!(parked.look(&slot(), None, 4, 9), Look::Waits);
    assert_eq!(parked.look(&slot(), None, 4, 10), Look::Follows);
    let over = [
        (slot(), News::State(like(3))),
        (slot(), News::NoRequest("s".to_owned())),
    ];
    assert_eq!(parked.tend_holds(10, None), over);
}

#[test]
fn only_the_session_that_holds_a_key_unparks_it() {
    let mut parked = Parked::<u64>::default();
    parked.park(&slot(), &like(3), 0);
    parked.ask(&asked("s", Want::Hold, 1), 0, |_| 10);
    assert!(
        parked
            .ask(&asked("s", Want::Unpark, 2), 0, |_| 10)
            .is_empty(),
        "before the answer"
    );
    parked.tend_holds(0, Some(4));
    let both = asked_by(&[("s", Want::Unpark, 2), ("other", Want::Unpark, 3)]);
    assert!(parked.ask(&both, 0, |_| 10).is_empty());
    assert!(
        parked
            .ask(&asked("s", Want::Unpark, 4), 10, |_| 20)
            .is_empty(),
        "too late"
    );
    assert_eq!(parked.look(&slot(), None, 4, 9), Look::Waits);
    let unparked = parked.ask(&asked("s", Want::Unpark, 5), 9, |_| 20);
    assert_eq!(unparked, unparked_for(&["s"]));
    // Until that is written, nobody else can get hold of the key.
    let both = asked_by(&[("s", Want::Unpark, 5), ("other", Want::Hold, 6)]);
    assert!(parked.ask(&both, 9, |_| 20).is_empty() && parked.tend_holds(9, Some(4)).is_empty());
    assert!(parked.ask(&HashMap::new(), 9, |_| 20).is_empty());
    assert_eq!(parked.look(&slot(), None, 4, 99), Look::Waits);
    parked.unparked(&slot());
    assert_eq!(parked.look(&slot(), None, 4, 9), Look::Free);
}

#[test]
fn what_followed_between_two_holds_of_a_session_keeps_the_key_parked() {
    let mut parked = held_by("s");
    let state = parked.park(&slot(), &like(4), 10);
    assert_eq!((state.last, state.session), (4, None));
    parked.ask(&asked("s", Want::Hold, 2), 11, |_| 20);
    assert_eq!(parked.tend_holds(11, Some(5)).len(), 1);
    let unpark = asked("s", Want::Unpark, 3);
    assert!(parked.ask(&unpark, 12, |_| 20).is_empty());
    assert_eq!(parked.look(&slot(), None, 5, 12), Look::Waits);
}

#[test]
fn a_session_that_was_taken_over_from_asks_in_vain() {
    let mut parked = held_by("old");
    let both = |old, new| asked_by(&[("old", old, 3), ("new", new, 2)]);
    let new = asked_by(&[("old", Want::Hold, 1), ("new", Want::Hold, 2)]);
    parked.ask(&new, 1, |_| 11);
    let held = State {
        session: Some("new".to_owned()),
        ..like(3)
    };
    assert_eq!(parked.tend_holds(1, Some(4)), [(slot(), News::State(held))]);
    for want in [Want::Hold, Want::Unpark] {
        parked.keys.get_mut(&slot()).unwrap().asked = 2;
        let news = parked.ask(&both(want, Want::Hold), 2, |_| 12);
        assert!(news.is_empty() && parked.tend_holds(2, Some(4)).is_empty());
    }
    // What both asked for since the last look is seen, in its order.
    let all = asked_by(&[("old", Want::Unpark, 5), ("new", Want::Unpark, 4)]);
    assert_eq!(parked.ask(&all, 3, |_| 13), unparked_for(&["new", "old"]));
}

#[test]
fn none_of_those_that_were_taken_over_from_takes_a_key_back_from_the_newest() {
    let mut parked = held_by("a");
    let all = |a, b| {
        asked_by(&[
            ("a", Want::Hold, a),
            ("b", Want::Hold, b),
            ("c", Want::Hold, 3),
        ])
    };
    parked.ask(
        &asked_by(&[("a", Want::Hold, 1), ("b", Want::Hold, 2)]),
        1,
        |_| 11,
    );
    for (a, b) in [(1, 2), (4, 2), (4, 5), (6, 5)] {
        parked.ask(&all(a, b), 2, |_| 12);
        let state = &parked.keys[&slot()].hold.as_ref().unwrap().session;
        assert_eq!(state, "c");
    }
}

#[test]
fn who_asked_before_a_host_began_takes_nothing_from_the_session_that_holds_a_key() {
    let mut parked = Parked::default();
    let held = State {
        session: Some("new".to_owned()),
        ..like(3)
    };
    // The older one does not know yet that it was taken over from.
    let requests = asked_by(&[("new", Want::Hold, 1), ("old", Want::Hold, 2)]);
    let markers = PlaceMarkers {
        states: HashMap::from([(slot(), held)]),
        requests,
    };
    parked.restore(markers.clone(), 10);
    parked.ask(&markers.requests, 0, |_| 10);
    assert!(parked.tend_holds(0, Some(4)).is_empty());
    let unpark = asked_by(&[("new", Want::Unpark, 4), ("old", Want::Hold, 3)]);
    assert_eq!(
        parked.ask(&unpark, 1, |_| 11),
        unparked_for(&["new", "old"])
    );
}

#[test]
fn a_replay_that_fails_parks_the_rest_of_its_session_and_no_other() {
    let slot = Slot {
        of: Some(("orders".to_owned(), 1)),
        key: b"k".to_vec(),
    };
    let of = |session: &str, offset| State {
        session: Some(session.to_owned()),
        ..like(offset)
    };
    let mut parked = Parked::<u64>::default();
    let state = parked.park(&slot, &of("a", 5), 0);
    assert_eq!(parked.look(&slot, Some("a"), 6, 0), Look::Follows);
    assert_eq!(parked.look(&slot, Some("b"), 5, 0), Look::Free);
    // Not read back yet, so it cannot have been deleted.
    parked.forget_replays(&HashMap::new());
    assert_eq!(parked.look(&slot, Some("a"), 6, 0), Look::Follows);
    parked.forget_replays(&HashMap::from([(slot.clone(), state)]));
    let state = parked.park(&slot, &of("b", 7), 0);
    assert_eq!((state.first, state.last), (7, 7));
    parked.forget_replays(&HashMap::new());
    assert_eq!(parked.look(&slot, Some("b"), 8, 0), Look::Follows);
    parked.forget_replays(&HashMap::from([(slot.clone(), state)]));
    parked.forget_replays(&HashMap::new());
    assert_eq!(parked.count(), 0);
}
