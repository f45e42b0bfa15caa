//! Two replays of a key at once, and the host that answers them: every order in which their markers are written and read.
//!
//! Each reads the topic at its own pace, as the host and the commands do; what is asked, held and unparked is that of the
//! code that is used.

use super::*;
use crate::marker::{MarkerKey, Markers, Place, Says};

/// What a hold is asked for; the time that a schedule takes is less, unless the clock is moved on purpose.
const LONG: u64 = 100_000;
/// The letters of the key lie at these offsets.
const LETTERS: std::ops::RangeInclusive<i64> = 0..=3;

fn place() -> Place {
    ("orders".to_owned(), 0)
}

/// The topic of parked keys as somebody has read it so far.
#[derive(Default)]
struct Reader {
    markers: Markers,
    next: usize,
}

impl Reader {
    fn read(&mut self, topic: &[(Vec<u8>, Option<Vec<u8>>)], count: usize) {
        for (key, value) in topic.iter().skip(self.next).take(count) {
            self.markers.apply(key, value.as_deref()).unwrap();
            self.next += 1;
        }
    }

    fn of(&self) -> PlaceMarkers {
        self.markers.of("orders", 0)
    }

    fn state(&self) -> Option<State> {
        self.of().states.remove(&slot())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Waits for its hold.
    Hold,
    /// The key is held up to this offset, and the letters are to be written.
    Write(i64),
    /// They are written, and are to be settled.
    Settle(i64),
    /// It has asked for the end.
    End(i64),
    Unparked,
    GaveWay,
}

struct Command {
    session: String,
    reader: Reader,
    stage: Stage,
}

/// One host, the topic of parked keys, and two commands.
struct World {
    now: u64,
    topic: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    host: Reader,
    parked: Parked<u64>,
    commands: Vec<Command>,
    replayed: Vec<i64>,
    /// A mistake: what all commands ask is one marker.
    is_shared: bool,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            now: 0,
            topic: Vec::new(),
            host: Reader::default(),
            parked: Parked::default(),
            commands: Vec::new(),
            replayed: Vec::new(),
            is_shared: false,
        };
        for offset in LETTERS {
            let state = world.parked.park(&slot(), &like(offset), 0);
            world.say(Says::State, Some(state.encode()));
        }
        world
    }

    fn say(&mut self, says: Says, value: Option<Vec<u8>>) {
        let (place, slot) = (place(), slot());
        self.topic
            .push((MarkerKey { place, slot, says }.encode(), value));
    }

    fn ask(&mut self, at: usize, want: Want, last: Option<i64>) {
        let request = Request {
            session: self.commands[at].session.clone(),
            want,
            lease_ms: LONG,
            last,
        };
        self.say(self.request(at), Some(request.encode()));
    }

    fn request(&self, at: usize) -> Says {
        let session = &self.commands[at].session;
        Says::Request(if self.is_shared {
            String::new()
        } else {
            session.clone()
        })
    }

    fn withdraw(&mut self, at: usize) {
        self.say(self.request(at), None);
    }

    /// A command begins: from now on those before it write no letters any more.
    fn begin(&mut self) {
        let mut reader = Reader::default();
        reader.read(&self.topic, usize::MAX);
        let is_parked = reader.state().is_some();
        self.commands.push(Command {
            session: self.commands.len().to_string(),
            reader,
            stage: if is_parked {
                Stage::Hold
            } else {
                Stage::Unparked
            },
        });
        if is_parked {
            self.ask(self.commands.len() - 1, Want::Hold, None);
        }
    }

    /// The thread of a command asks for the hold once more.
    fn again(&mut self, at: usize) {
        if matches!(
            self.stage(at),
            Stage::Hold | Stage::Write(_) | Stage::Settle(_)
        ) {
            self.ask(at, Want::Hold, None);
        }
    }

    fn stage(&self, at: usize) -> Stage {
        self.commands.get(at).map_or(Stage::GaveWay, |it| it.stage)
    }

    /// A command reads `count` markers and does what is next.
    fn advance(&mut self, at: usize, count: usize) {
        let is_newest = at + 1 == self.commands.len();
        let Some(command) = self.commands.get_mut(at) else {
            return;
        };
        command.reader.read(&self.topic, count);
        let state = command.reader.state();
        let session = Some(command.session.clone());
        let held = |last: i64| {
            let is_held = state
                .as_ref()
                .is_some_and(|it| (&it.session, it.last) == (&session, last));
            match &state {
                _ if is_held => None,
                None => Some(Stage::Unparked),
                Some(_) => Some(Stage::GaveWay),
            }
        };
        let next = match command.stage {
            Stage::Hold => match &state {
                Some(state) if state.session == session => Stage::Write(state.last),
                Some(_) => Stage::Hold,
                None => Stage::Unparked,
            },
            Stage::Write(last) => held(last).unwrap_or({
                if is_newest {
                    Stage::Settle(last)
                } else {
                    Stage::GaveWay
                }
            }),
            // What the group has settled is no longer asked.
            Stage::Settle(last) => Stage::End(last),
            Stage::End(last) => held(last).unwrap_or(Stage::End(last)),
            over => over,
        };
        let before = std::mem::replace(&mut command.stage, next);
        match (before, next) {
            (Stage::Write(_), Stage::Settle(last)) => {
                let from = self.replayed.last().map_or(0, |last| last + 1);
                self.replayed.extend(from..=last);
            }
            (Stage::Settle(_), Stage::End(last)) => self.ask(at, Want::Unpark, Some(last)),
            (Stage::Unparked | Stage::GaveWay, _) => {}
            (_, Stage::Unparked | Stage::GaveWay) => self.withdraw(at),
            _ => {}
        }
    }

    /// The host looks at what it has read, and writes down what is new.
    fn tend(&mut self) {
        let (now, markers) = (self.now, self.host.of());
        let until = |_: &Request| now + LONG;
        let news = (self.parked).tend(Some(&markers), now, until, || Some(LETTERS.end() + 1));
        let mut is_unparked = false;
        for (_, news) in news {
            match news {
                News::State(state) => self.say(Says::State, Some(state.encode())),
                News::Unparked => {
                    assert_eq!(self.replayed, LETTERS.collect::<Vec<_>>());
                    self.say(Says::State, None);
                    is_unparked = true;
                }
                News::NoRequest(session) => self.say(Says::Request(session), None),
            }
        }
        if is_unparked {
            self.parked.unparked(&slot());
        }
    }

    /// Another host reads everything, and begins where this one was.
    fn crash(&mut self) {
        self.host = Reader::default();
        self.host.read(&self.topic, usize::MAX);
        self.parked = Parked::default();
        self.parked.restore(self.host.of(), self.now + LONG);
    }

    fn step(&mut self, what: u8) {
        match what {
            0 if self.commands.len() < 2 => self.begin(),
            1..4 => self.host.read(&self.topic, usize::from(what)),
            4..6 => self.tend(),
            6 => self.crash(),
            7..10 => self.advance(0, usize::from(what - 6)),
            10..13 => self.advance(1, usize::from(what - 9)),
            13 => self.again(0),
            14 => self.again(1),
            _ => {}
        }
    }

    /// Everybody goes on, and nobody waits for longer than for others.
    fn settle(&mut self) {
        while self.commands.len() < 2 {
            self.begin();
        }
        for round in 0..60 {
            self.host.read(&self.topic, 2);
            if round % 2 == 0 {
                self.tend();
            }
            for at in 0..2 {
                self.advance(at, 2);
                if round % 5 == at {
                    self.again(at);
                }
            }
        }
    }

    fn check(&self) {
        let ended: Vec<Stage> = self.commands.iter().map(|it| it.stage).collect();
        let is_over = |it: &Stage| matches!(it, Stage::Unparked | Stage::GaveWay);
        assert!(ended.iter().all(is_over), "{ended:?}");
        assert!(ended.contains(&Stage::Unparked), "{ended:?}");
        assert_eq!(self.replayed, LETTERS.collect::<Vec<_>>(), "each once");
        let mut reader = Reader::default();
        reader.read(&self.topic, usize::MAX);
        assert_eq!(self.parked.count(), 0);
        assert_eq!(
            reader.of(),
            PlaceMarkers::default(),
            "nothing is left in the topic"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    #[test]
    fn of_two_replays_at_once_one_ends_well_in_whatever_order_their_markers_come(
        steps in proptest::collection::vec(0..16u8, 0..80),
    ) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.settle();
        world.check();
    }
}

/// The newer of two replays asks for the end, and then the older one, which has not read yet that the key is another's, for
/// something else, before the host looks again. Returns how it ends for the newer one.
fn covered(covers: Want, is_shared: bool) -> Stage {
    let mut world = World::new();
    world.is_shared = is_shared;
    for at in 0..2 {
        world.begin();
        world.host.read(&world.topic, usize::MAX);
        world.tend();
        for _ in 0..2 {
            world.advance(at, usize::MAX);
        }
    }
    world.advance(1, usize::MAX);
    assert!(matches!(world.stage(1), Stage::End(_)));
    match covers {
        Want::Hold => world.again(0),
        Want::Unpark => world.advance(0, 0),
    }
    world.host.read(&world.topic, usize::MAX);
    world.tend();
    world.advance(1, usize::MAX);
    world.stage(1)
}

#[test]
fn what_the_older_replay_asks_last_covers_nothing_that_the_newer_one_asked_for() {
    for covers in [Want::Hold, Want::Unpark] {
        assert_eq!(covered(covers, false), Stage::Unparked, "{covers:?}");
        // With one marker for both, the newer one gives way, too, at the latest when its hold is over.
        assert_ne!(covered(covers, true), Stage::Unparked, "{covers:?}");
    }
}
