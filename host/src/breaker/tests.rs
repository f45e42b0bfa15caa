//! Examples, and a walk against a plain list of all that happened.

use proptest::prelude::*;

use super::*;

/// Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ms(u64);

impl std::ops::Add<Duration> for Ms {
    type Output = Self;

    fn add(self, more: Duration) -> Self {
        Self(self.0 + u64::try_from(more.as_millis()).unwrap())
    }
}

fn breaker(failure_share: f64, window_records: usize) -> Breaker<Ms> {
    Breaker::new(BreakerPolicy {
        failure_share,
        window_records,
        pause: Duration::from_millis(100),
    })
}

#[test]
fn it_opens_when_more_than_the_share_failed_and_a_probe_closes_it() {
    let mut breaker = breaker(0.5, 4);
    assert_eq!(breaker.failed(Ms(1)), None, "too few records to judge by");
    assert_eq!(breaker.failed(Ms(2)), None);
    assert!(!breaker.handled());
    assert_eq!(breaker.failed(Ms(3)), Some(Ms(103)), "three of four");
    assert_eq!(breaker.admit(Ms(50)), Admission::Wait(Ms(103)));
    assert!(!breaker.handled(), "it began before");
    assert_eq!(breaker.admit(Ms(103)), Admission::Probe);
    assert_eq!(
        breaker.admit(Ms(104)),
        Admission::Wait(Ms(114)),
        "one at a time"
    );
    assert_eq!(breaker.failed(Ms(110)), Some(Ms(210)));
    assert_eq!(breaker.admit(Ms(210)), Admission::Probe);
    assert!(breaker.handled());
    assert_eq!(breaker.admit(Ms(211)), Admission::Go);
    assert_eq!(breaker.failed(Ms(212)), None, "it has forgotten");
}

#[test]
fn a_record_that_was_handled_and_then_refused_is_one_that_failed() {
    let mut breaker = breaker(0.5, 4);
    for _ in 0..4 {
        breaker.handled();
    }
    assert_eq!(breaker.refused(Ms(1)), None);
    assert_eq!(breaker.refused(Ms(2)), None, "two of four");
    assert_eq!(breaker.refused(Ms(3)), Some(Ms(103)));
    assert_eq!(breaker.admit(Ms(103)), Admission::Probe);
    assert_eq!(
        breaker.refused(Ms(104)),
        Some(Ms(204)),
        "it began before the pause"
    );
}

#[test]
fn a_probe_that_is_never_heard_of_is_followed_by_another() {
    let mut breaker = breaker(0.1, 1);
    assert_eq!(breaker.failed(Ms(0)), Some(Ms(100)));
    assert_eq!(breaker.admit(Ms(100)), Admission::Probe);
    assert_eq!(breaker.admit(Ms(199)), Admission::Wait(Ms(200)));
    assert_eq!(breaker.admit(Ms(200)), Admission::Probe);
}

#[test]
fn what_fails_before_its_attempt_waits_and_leaves_the_probe_to_others() {
    let mut breaker = breaker(0.1, 1);
    assert_eq!(breaker.failed_before(Ms(0)), Some(Ms(100)));
    assert_eq!(breaker.failed_before(Ms(99)), Some(Ms(100)));
    assert_eq!(breaker.failed_before(Ms(100)), Some(Ms(200)));
    assert_eq!(breaker.admit(Ms(101)), Admission::Probe);
    assert_eq!(breaker.failed_before(Ms(150)), Some(Ms(201)));
    assert!(breaker.handled(), "the probe went well");
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Admit,
    Handled,
    Failed,
    FailedBefore,
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => Just(Step::Admit),
        2 => Just(Step::Handled),
        2 => Just(Step::Failed),
        1 => Just(Step::FailedBefore),
        1 => (1u64..150).prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    /// Closed: a record is given up unless more than the share of the last ones failed, and then it waits for the pause.
    /// Open: nothing is given up, and at most one attempt begins in the time of a pause.
    #[test]
    fn nothing_is_given_up_while_it_is_open(steps in steps(), window in 1usize..6, percent in 10u32..90) {
        let mut breaker = breaker(f64::from(percent) / 100.0, window);
        let (mut now, mut since_closed, mut last_probe) = (Ms(0), Vec::new(), None::<Ms>);
        let mut is_probing = false;
        for step in steps {
            let was_open = breaker.is_open();
            match step {
                Step::Pass(ms) => now = Ms(now.0 + ms),
                Step::Admit => match breaker.admit(now) {
                    Admission::Go => prop_assert!(!was_open),
                    Admission::Wait(until) => prop_assert!(was_open && until > now),
                    Admission::Probe => {
                        prop_assert!(was_open);
                        prop_assert!(last_probe.is_none_or(|last| now.0 - last.0 >= 100));
                        last_probe = Some(now);
                        is_probing = true;
                    }
                },
                Step::Handled => {
                    prop_assert_eq!(breaker.handled(), is_probing);
                    prop_assert_eq!(breaker.is_open(), was_open && !is_probing);
                    if is_probing {
                        since_closed.clear();
                        last_probe = None;
                    } else if !was_open {
                        since_closed.push(false);
                    }
                    is_probing = false;
                }
                Step::FailedBefore if was_open => {
                    let waits = breaker.failed_before(now);
                    prop_assert!(waits.is_some_and(|until| until > now), "it waits for what is over");
                    prop_assert!(breaker.is_open());
                }
                Step::Failed | Step::FailedBefore => {
                    is_probing = false;
                    let waits = match step {
                        Step::Failed => breaker.failed(now),
                        _ => breaker.failed_before(now),
                    };
                    if was_open {
                        prop_assert!(waits.is_some());
                    } else {
                        since_closed.push(true);
                        let last: Vec<bool> = since_closed.iter().rev().take(window).copied().collect();
                        let failed = last.iter().filter(|failed| **failed).count();
                        let is_over = last.len() == window && failed * 100 > percent as usize * window;
                        prop_assert_eq!(waits, is_over.then(|| Ms(now.0 + 100)));
                    }
                }
            }
        }
    }
}
