//! The watchdog against a model that looks through all that it was ever shown, and partitions one by one.

use proptest::prelude::*;

use super::*;
use crate::vitals::InHand;

const BOUND: Duration = Duration::from_secs(8);
const STEP_MAX: Duration = Duration::from_secs(3);

/// What stands of each subject, as (offset, mark).
type Sights = BTreeMap<u8, Vec<(i64, u64)>>;

fn stand((offset, mark): (i64, u64)) -> Stand {
    Stand {
        offset: Some(offset),
        mark: (mark, 0),
        why: Why::Turn,
        bound: BOUND,
    }
}

fn shown(sights: &Sights) -> BTreeMap<u8, Vec<Stand>> {
    let stands = |all: &Vec<(i64, u64)>| all.iter().copied().map(stand).collect();
    let sights = sights.iter();
    sights.map(|(name, all)| (*name, stands(all))).collect()
}

/// Everything that was seen, each with the time that was watched until then.
#[derive(Default)]
struct History(Vec<(Duration, Sights)>);

impl History {
    /// Whether the subject is there at this look and was at the one before.
    fn was_there(&self, name: u8, look: usize) -> bool {
        let is_at = |look: usize| self.0[look].1.contains_key(&name);
        look > 0 && is_at(look) && is_at(look - 1)
    }

    /// How long each stand of a subject has stood at this look.
    fn ages(&self, name: u8, look: usize) -> Vec<(i64, Duration)> {
        let (clock, sights) = &self.0[look];
        let stands = sights.get(&name).into_iter().flatten();
        let age = |stand: &(i64, u64)| {
            let stood = |(_, sights): &&(Duration, Sights)| {
                sights.get(&name).is_some_and(|all| all.contains(stand))
            };
            let first = self.0[..=look].iter().rev().take_while(stood).last();
            (stand.0, clock.saturating_sub(first.unwrap().0))
        };
        stands.map(age).collect()
    }

    fn any(&self, name: u8, look: usize, bound: Duration) -> bool {
        self.ages(name, look).iter().any(|(_, age)| *age >= bound)
    }

    /// Whether the alarm of a subject is on after this look.
    fn is_on(&self, name: u8, look: usize) -> bool {
        if self.any(name, look, BOUND) {
            return true;
        }
        if !self.was_there(name, look) || !self.is_on(name, look - 1) {
            return false;
        }
        let mut uneasy = (0..=look)
            .rev()
            .filter(|look| self.any(name, *look, BOUND / 2));
        let last = uneasy.next().map(|look| self.0[look].0);
        last.is_some_and(|last| self.0[look].0.saturating_sub(last) < BOUND)
    }
}

fn looks() -> impl Strategy<Value = Vec<(u64, Sights)>> {
    let stands = proptest::collection::btree_set((0..3_i64, 0..2_u64), 0..3);
    let stands = stands.prop_map(|all| all.into_iter().collect::<Vec<_>>());
    let sights = proptest::collection::btree_map(0..2_u8, stands, 0..3);
    // What is seen lasts for some looks, or nothing would ever stand.
    let look = (proptest::collection::vec(0..6_u64, 1..12), sights);
    proptest::collection::vec(look, 1..12).prop_map(|looks| {
        let each = |(steps, sights): (Vec<u64>, Sights)| {
            let steps = steps.into_iter();
            steps
                .map(move |step| (step, sights.clone()))
                .collect::<Vec<_>>()
        };
        looks.into_iter().flat_map(each).collect()
    })
}

proptest! {
    #[test]
    fn it_tells_what_a_look_through_all_that_was_seen_tells(looks in looks()) {
        let mut watchdog = Watchdog::new(STEP_MAX);
        let mut history = History::default();
        let (mut now, mut clock) = (Duration::from_secs(5), Duration::ZERO);
        let mut recovered: BTreeMap<u8, Duration> = BTreeMap::new();
        for (look, (step, sights)) in looks.into_iter().enumerate() {
            let step = Duration::from_secs(step);
            now += step;
            if look > 0 {
                clock += step.min(STEP_MAX);
            }
            let news = watchdog.look(now, shown(&sights));
            history.0.push((clock, sights));
            for name in 0..2 {
                let mine = || news.iter().filter(|(subject, _)| *subject == name);
                let told: Vec<i64> = mine()
                    .filter_map(|(_, news)| match news {
                        News::Stalled(stall) => stall.offset,
                        _ => None,
                    })
                    .collect();
                let before = look.checked_sub(1).map(|before| history.ages(name, before));
                let was_over = |offset: i64, age: Duration| {
                    let before_it = history.0[look.saturating_sub(1)].0;
                    let step = history.0[look].0.saturating_sub(before_it);
                    before.iter().flatten().any(|(other, old)| {
                        *other == offset && *old >= BOUND && *old + step == age
                    })
                };
                let fresh: Vec<i64> = history
                    .ages(name, look)
                    .into_iter()
                    .filter(|(offset, age)| *age >= BOUND && !was_over(*offset, *age))
                    .map(|(offset, _)| offset)
                    .collect();
                prop_assert_eq!(&told, &fresh);
                let is_on = history.is_on(name, look);
                let stalls: Vec<u8> = watchdog.stalls().map(|(name, _)| *name).collect();
                prop_assert_eq!(stalls.contains(&name), is_on);
                let was_on = look > 0 && history.is_on(name, look - 1);
                let is_there = history.0[look].1.contains_key(&name);
                let ended = mine().any(|(_, news)| matches!(news, News::Recovered { .. }));
                let gone = mine().any(|(_, news)| matches!(news, News::Gone));
                prop_assert_eq!(ended, was_on && !is_on && is_there);
                prop_assert_eq!(gone, was_on && !is_there);
                if is_on && !was_on && let Some(at) = recovered.get(&name) {
                    let since = clock.saturating_sub(*at);
                    prop_assert!(since >= BOUND / 2, "raised again after {since:?}");
                }
                if ended {
                    recovered.insert(name, clock);
                }
            }
        }
    }
}

/// Shows one subject with one stand, or with none, every second for so long.
fn watch(
    watchdog: &mut Watchdog<u8>,
    now: &mut u64,
    seconds: u64,
    seen: Option<(i64, u64)>,
) -> Vec<News> {
    let mut all = Vec::new();
    for _ in 0..seconds {
        *now += 1;
        let stands = seen.into_iter().map(stand).collect();
        let news = watchdog.look(Duration::from_secs(*now), BTreeMap::from([(0, stands)]));
        all.extend(news.into_iter().map(|(_, news)| news));
    }
    all
}

#[test]
fn a_stall_is_told_once_and_its_end_once_all_has_been_well_for_a_while() {
    let (mut watchdog, mut now) = (Watchdog::new(STEP_MAX), 0);
    assert_eq!(watch(&mut watchdog, &mut now, 8, Some((17, 0))), []);
    let stall = Stall {
        offset: Some(17),
        why: Why::Turn,
        stood: BOUND,
        over_for: None,
    };
    let told = watch(&mut watchdog, &mut now, 5, Some((17, 0)));
    assert_eq!(told, [News::Stalled(stall)]);
    let (_, seen) = watchdog.stalls().next().unwrap();
    assert_eq!((seen.stood, seen.over_for), (Duration::from_secs(12), None));
    // It goes on; the alarm stays a while.
    assert_eq!(watch(&mut watchdog, &mut now, 7, None), []);
    let (_, seen) = watchdog.stalls().next().unwrap();
    assert_eq!(seen.offset, Some(17));
    assert_eq!(seen.over_for, Some(Duration::from_secs(7)));
    let after = Duration::from_secs(12);
    assert_eq!(
        watch(&mut watchdog, &mut now, 1, None),
        [News::Recovered { after }]
    );
    assert!(watchdog.stalls().next().is_none());
}

#[test]
fn a_handler_that_is_always_a_little_too_slow_is_told_and_does_not_flap() {
    let (mut watchdog, mut now) = (Watchdog::new(STEP_MAX), 0);
    let mut news = Vec::new();
    for offset in 0..20 {
        news.extend(watch(
            &mut watchdog,
            &mut now,
            9,
            Some((offset, offset.unsigned_abs())),
        ));
    }
    let offsets: Vec<Option<i64>> = news
        .iter()
        .map(|news| match news {
            News::Stalled(stall) => stall.offset,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(offsets, (0..20).map(Some).collect::<Vec<_>>());
}

#[test]
fn a_process_that_was_frozen_did_not_stall() {
    let (mut watchdog, mut now) = (Watchdog::new(STEP_MAX), 0);
    watch(&mut watchdog, &mut now, 3, Some((17, 0)));
    now += 3600;
    assert_eq!(watch(&mut watchdog, &mut now, 1, Some((17, 0))), []);
    let stood = Duration::from_secs(2) + STEP_MAX;
    assert_eq!(watchdog.standing().collect::<Vec<_>>(), [(&0, stood)]);
}

#[test]
fn what_is_gone_is_told_only_if_it_stalled() {
    let (mut watchdog, mut now) = (Watchdog::new(STEP_MAX), 0);
    watch(&mut watchdog, &mut now, 5, Some((17, 0)));
    assert_eq!(watchdog.look(Duration::from_secs(6), BTreeMap::new()), []);
    let mut now = 6;
    watch(&mut watchdog, &mut now, 9, Some((17, 0)));
    let gone = watchdog.look(Duration::from_secs(16), BTreeMap::new());
    assert_eq!(gone, [(0, News::Gone)]);
}

#[test]
fn a_late_thread_is_one_whose_rounds_are_not_counted_on() {
    let (mut watchdog, mut now) = (Watchdog::new(STEP_MAX), 0_u64);
    let mut look = |rounds: u64, bound: Duration| {
        now += 1;
        let stand = Stand {
            offset: None,
            mark: (rounds, 0),
            why: Why::Poll,
            bound,
        };
        let sights = BTreeMap::from([("group", vec![stand])]);
        let news = watchdog.look(Duration::from_secs(now), sights);
        news.into_iter().map(|(_, news)| news).next()
    };
    assert!((0..100).all(|round| look(round, BOUND).is_none()));
    // What has longer, because it drains, is not late yet.
    assert!((0..20).all(|_| look(7, BOUND * 3).is_none()));
    let Some(News::Stalled(stall)) = look(7, BOUND) else {
        panic!("it is late");
    };
    assert_eq!((stall.offset, stall.why), (None, Why::Poll));
}

/// A partition that has nothing to do.
fn idle() -> PartitionSight {
    PartitionSight {
        position: Some(20),
        turns: 3,
        handler_turns: 30,
        host_turns: 300,
        fetched: Some(Fetched {
            next: 20,
            end: 20,
            taken: 20,
            queued: 0,
        }),
        ..PartitionSight::default()
    }
}

fn holding(doing: Doing) -> PartitionSight {
    PartitionSight {
        in_hand: vec![InHand {
            offset: 17,
            doing,
            turns: 3,
        }],
        oldest: Some(17),
        position: Some(17),
        ..idle()
    }
}

/// What stands: the record, the mark and the reason.
fn stands(sight: &PartitionSight) -> Vec<(Option<i64>, Mark, Why)> {
    let stands = sight.stands(BOUND, BOUND * 2);
    let stands = stands.into_iter();
    stands.map(|it| (it.offset, it.mark, it.why)).collect()
}

#[test]
fn a_partition_with_nothing_to_do_does_not_stand() {
    assert_eq!(stands(&idle()), []);
    assert_eq!(stands(&PartitionSight::default()), []);
}

#[test]
fn a_record_in_hand_stands_by_itself() {
    for doing in [Doing::Handling, Doing::Sending] {
        let mut sight = holding(doing);
        assert_eq!(stands(&sight), [(Some(17), (3, 0), Why::InHand(doing))]);
        // Others behind it are of no account, and a halt is told elsewhere.
        sight.in_hand[0].offset = 18;
        sight.is_halted = true;
        assert_eq!(stands(&sight), [(Some(18), (3, 0), Why::InHand(doing))]);
    }
}

#[test]
fn who_queues_for_an_instance_stands_only_if_nobody_gets_done() {
    let permit = stands(&holding(Doing::Permit));
    assert_eq!(permit, [(Some(17), (3, 30), Why::InHand(Doing::Permit))]);
    let place = stands(&holding(Doing::Place));
    assert_eq!(place, [(Some(17), (3, 300), Why::InHand(Doing::Place))]);
}

#[test]
fn a_record_that_waits_on_purpose_does_not_stand_until_its_time_has_come() {
    let mut sight = holding(Doing::Handling);
    sight.in_hand.clear();
    let wait = |is_over| Some(Wait { name: 5, is_over });
    sight.oldest_waits = wait(false);
    assert_eq!(stands(&sight), []);
    sight.oldest_waits = wait(true);
    assert_eq!(stands(&sight), [(Some(17), (5, 3), Why::Turn)]);
    sight.is_halted = true;
    assert_eq!(stands(&sight), []);
}

#[test]
fn outputs_that_are_not_acknowledged_hold_their_record_while_kafka_is_within_reach() {
    let mut sight = holding(Doing::Sending);
    sight.in_hand.clear();
    sight.has_outputs = true;
    assert_eq!(stands(&sight), [(Some(17), (0, 0), Why::Unacknowledged)]);
    sight.is_cut_off = true;
    assert_eq!(stands(&sight), []);
    let mut sending = holding(Doing::Sending);
    sending.is_cut_off = true;
    assert_eq!(stands(&sending), []);
}

#[test]
fn records_that_are_there_and_do_not_come_make_an_idle_partition_stand() {
    let mut sight = idle();
    let mut fetched = sight.fetched.unwrap();
    fetched.end = 25;
    sight.fetched = Some(fetched);
    assert_eq!(stands(&sight), [(Some(20), (20, 20), Why::NotFetched)]);
    assert_eq!(sight.stands(BOUND, BOUND * 2)[0].bound, BOUND * 2);
    fetched.queued = 2;
    sight.fetched = Some(fetched);
    assert_eq!(stands(&sight), [(Some(20), (20, 20), Why::Untaken)]);
    // Records were taken after the client was asked.
    sight.position = Some(22);
    assert_eq!(stands(&sight), []);
    // Nothing was taken yet, and the end is not known.
    sight.position = None;
    (fetched.queued, fetched.end) = (0, -1001);
    sight.fetched = Some(fetched);
    assert_eq!(stands(&sight), []);
    // What the end of a transaction leaves behind is fetched, and no record.
    (fetched.next, fetched.end) = (26, 26);
    sight.fetched = Some(fetched);
    assert_eq!(stands(&sight), []);
}
