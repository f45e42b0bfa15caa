//! Shares of keys, and verdicts against counting from the beginning.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A clock of milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct At(u64);

impl std::ops::Add<Duration> for At {
    type Output = Self;
    fn add(self, wait: Duration) -> Self {
        Self(self.0 + u64::try_from(wait.as_millis()).unwrap())
    }
}

const MS: Duration = Duration::from_millis(1);

fn canary(time: Option<u64>, records: u64, failure_share: f64) -> Canary<At, u64> {
    Canary::new(CanaryPolicy {
        share: KeyShare(1000),
        time: time.map(Duration::from_millis),
        slower: 2.0,
        probation: ProbationPolicy {
            records,
            time: Duration::from_millis(100),
            failure_share,
        },
    })
}

#[test]
fn shares_are_written_in_percent() {
    for (text, parts) in [
        ("10%", 1000),
        ("0.01%", 1),
        ("99.99%", 9999),
        ("2.5%", 250),
        ("07.05%", 705),
    ] {
        assert_eq!(text.parse(), Ok(KeyShare(parts)), "{text}");
    }
    for text in [
        "", "%", "10", "0%", "100%", "0.001%", "-1%", "1e1%", "10 %", "+5%", ".5%", "5.%", "999%",
    ] {
        assert_eq!(text.parse::<KeyShare>(), Err(NoShare(text.to_owned())));
    }
}

#[test]
fn what_a_key_comes_to_is_what_it_always_came_to() {
    // Other hosts and other versions of the host have to agree.
    let parts = ["", "a", "key-1", "key-2"].map(|key| part(key.as_bytes()));
    assert_eq!(parts, [4342, 8315, 9852, 2786]);
}

#[test]
fn about_the_share_of_the_keys_is_among_them_in_each_partition_too() {
    let share: KeyShare = "10%".parse().unwrap();
    let mut by_rest: BTreeMap<u32, u32> = BTreeMap::new();
    for n in 0..40_000_u32 {
        let key = format!("key-{n}");
        if share.has(Some(key.as_bytes())) {
            *by_rest.entry(n % 4).or_default() += 1;
        }
    }
    assert!(
        by_rest.values().all(|count| (850..1150).contains(count)),
        "{by_rest:?}"
    );
    assert!(!share.has(None));
}

#[test]
fn too_many_failures_end_it_at_once_and_those_of_the_old_one_count_against_them() {
    let mut it = canary(None, 100, 0.02);
    for record in 0..2 {
        assert!(it.failed(record, At(0)));
    }
    // Once more does not count.
    assert!(it.failed(0, At(1)));
    assert_eq!(it.standing(At(1)), Standing::Open);
    assert!(it.is_waiting(&0) && !it.is_waiting(&2));
    assert!(it.failed(2, At(2)));
    assert_eq!(it.standing(At(3)), Standing::Failed);

    let mut it = canary(None, 100, 0.02);
    (0..19).for_each(|_| it.old_handled(MS));
    it.old_failed();
    for record in 0..7 {
        assert!(it.failed(record, At(0)));
    }
    assert_eq!(it.standing(At(3)), Standing::Open);
    it.refused(At(3));
    assert_eq!(it.standing(At(3)), Standing::Failed);
}

#[test]
fn what_failed_waits_no_longer_than_it_has_to() {
    let mut it = canary(None, 100, 0.1);
    it.failed(1, At(0));
    (0..9).for_each(|_| it.handled(MS, At(1)));
    assert_eq!(it.standing(At(99)), Standing::Open);
    assert!(it.is_waiting(&1));
    assert_eq!(it.standing(At(100)), Standing::Open);
    // It is tried again, and given up if it fails.
    assert!(!it.is_waiting(&1));
    assert!(!it.failed(1, At(101)));
    assert_eq!(it.sides().1.failed, 1);

    // Where too many failed of what was seen, the old one handles them.
    let mut it = canary(None, 100, 0.1);
    it.failed(1, At(0));
    (0..8).for_each(|_| it.handled(MS, At(1)));
    assert_eq!(it.standing(At(100)), Standing::Failed);
}

#[test]
fn time_decides_by_failures_and_by_how_long_records_took() {
    // Time begins with the first record.
    let mut it = canary(Some(1000), 100, 0.1);
    assert_eq!(it.standing(At(1_000_000)), Standing::Open);
    it.handled(3 * MS, At(0));
    assert_eq!(it.standing(At(999)), Standing::Open);
    // There is nothing to compare it with.
    assert_eq!(it.standing(At(1000)), Standing::Passed);

    for (old, new, expected) in [
        (10, 20, Standing::Passed),
        (10, 21, Standing::Failed),
        (0, 1, Standing::Passed),
        (0, 2, Standing::Failed),
    ] {
        let mut it = canary(Some(1000), 100, 0.1);
        it.old_handled(old * MS);
        it.handled(new * MS, At(0));
        assert_eq!(it.standing(At(1000)), expected, "{old} {new}");
        it.failed(1, At(1000));
        assert_eq!(it.standing(At(5000)), expected, "{old} {new}");
    }
}

fn real(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

proptest! {
    #[test]
    fn a_share_is_read_as_it_is_written(parts in 1u32..PARTS) {
        let share = KeyShare(parts);
        prop_assert_eq!(share.to_string().parse(), Ok(share));
    }

    #[test]
    fn a_larger_share_holds_the_keys_of_a_smaller_one(
        key in proptest::collection::vec(any::<u8>(), 0..20),
        one in 1u32..PARTS,
        other in 1u32..PARTS,
    ) {
        let (small, large) = (KeyShare(one.min(other)), KeyShare(one.max(other)));
        prop_assert!(!small.has(Some(&key)) || large.has(Some(&key)));
    }

    /// The verdict is what counting from the beginning gives.
    #[test]
    fn it_judges_as_counting_does(
        records in 1u64..40,
        share in 0.0f64..0.6,
        steps in proptest::collection::vec((0u64..1000, 0u64..9, 0u8..4), 0..80),
    ) {
        let mut it = canary(Some(200), records, share);
        let (mut now, mut began) = (0, None);
        let (mut good, mut bad, mut old_good, mut old_bad) = (0u64, BTreeSet::new(), 0u64, 0u64);
        let mut waits_since = None;
        let mut expected = Standing::Open;
        for (record, pause, what) in steps {
            now += pause;
            let too_many = |good: u64, bad: u64, old_good: u64, old_bad: u64, at_least: u64| {
                let old = if old_bad == 0 { 0.0 } else { real(old_bad) / real(old_good + old_bad) };
                real(bad) > (share + old).min(1.0) * real((good + bad).max(at_least))
            };
            let is_due = |since: Option<u64>, wait: u64| since.is_some_and(|since| now >= since + wait);
            if expected == Standing::Open && (is_due(began, 200) || is_due(waits_since, 100)) {
                if too_many(good, bad.len() as u64, old_good, old_bad, 0) {
                    expected = Standing::Failed;
                } else if is_due(began, 200) {
                    expected = Standing::Passed;
                }
                waits_since = None;
            }
            it.standing(At(now));
            // A record fails once here.
            let is_new = !bad.contains(&record);
            match what {
                0 => { old_good += 1; it.old_handled(Duration::ZERO); }
                1 => { old_bad += 1; it.old_failed(); }
                2 if is_new => {
                    if expected == Standing::Open {
                        began.get_or_insert(now);
                        bad.insert(record);
                        waits_since.get_or_insert(now);
                        if too_many(good, bad.len() as u64, old_good, old_bad, records) {
                            expected = Standing::Failed;
                        }
                    }
                    it.failed(record, At(now));
                }
                _ => {
                    if expected == Standing::Open { began.get_or_insert(now); good += 1; }
                    it.handled(Duration::ZERO, At(now));
                }
            }
            prop_assert_eq!(it.standing(At(now)), expected);
        }
    }
}
