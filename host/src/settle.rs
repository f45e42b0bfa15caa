//! What becomes of a record whose attempt failed.
//!
//! Handed the failure, what was spent on the record, the manifest's policy and, where the handler has an error hook,
//! its verdict; answers with the settlement.
//! **Invariant:** attempts and their time are bounded by the policy whatever a guest answers, and no failure is settled
//! as success.

use std::time::Duration;

use crate::outcome::{Failure, FailureKind, Settlement, Verdict};
use crate::policy::{KindPolicy, OnExhausted, RetryPolicy};
use crate::retry;

/// What was spent on a record so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tried {
    /// Attempts that were made, the one that failed now included; at least 1.
    pub attempts: u32,
    /// Time since the first of them began.
    pub age: Duration,
}

/// What is done about a batch that failed as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchSettlement {
    /// The same with all of its records.
    All(Settlement),
    /// Its halves are handed over one after the other.
    Halve,
}

/// Decides about a failed attempt. `unit` is a random number from 0 to 1 for the jitter.
pub fn settle(
    failure: &Failure,
    tried: Tried,
    policy: &RetryPolicy,
    on_exhausted: OnExhausted,
    verdict: Option<Verdict>,
    unit: f64,
) -> Settlement {
    match verdict.unwrap_or_else(|| default_verdict(failure.kind)) {
        Verdict::Resume => Settlement::Skip,
        Verdict::DeadLetter => Settlement::DeadLetter,
        Verdict::Halt => Settlement::Halt,
        Verdict::Retry => match wait(failure, tried, policy.on(failure.kind), unit) {
            Some(after) => Settlement::Retry { after },
            None => exhausted(on_exhausted),
        },
    }
}

/// Says what the settlement of a failed batch of so many records comes to. Unless the error hook has said what shall
/// become of all, several records are not given up: perhaps it is one of them.
pub fn settle_batch(
    settlement: Settlement,
    verdict: Option<Verdict>,
    records: usize,
) -> BatchSettlement {
    let is_open = verdict.is_none_or(|verdict| verdict == Verdict::Retry);
    if is_open && settlement.is_last() && records > 1 {
        BatchSettlement::Halve
    } else {
        BatchSettlement::All(settlement)
    }
}

/// Returns the wait before the next attempt; none where there is no attempt left, or no time for one.
fn wait(failure: &Failure, tried: Tried, policy: &KindPolicy, unit: f64) -> Option<Duration> {
    if tried.attempts >= policy.max_attempts {
        return None;
    }
    // The guest's wish wins over the policy's pace.
    let after = failure
        .retry_after
        .unwrap_or_else(|| retry::delay(&policy.backoff, tried.attempts, unit));
    let is_in_time = policy
        .max_age
        .is_none_or(|max_age| tried.age.saturating_add(after) <= max_age);
    is_in_time.then_some(after)
}

/// Returns what is done when no attempt is left.
pub fn exhausted(on_exhausted: OnExhausted) -> Settlement {
    match on_exhausted {
        OnExhausted::DeadLetter => Settlement::DeadLetter,
        OnExhausted::Skip => Settlement::Skip,
        OnExhausted::Halt => Settlement::Halt,
        OnExhausted::Park => Settlement::Park,
    }
}

/// What a handler without an error hook would answer.
fn default_verdict(kind: FailureKind) -> Verdict {
    match kind {
        FailureKind::Reject => Verdict::DeadLetter,
        FailureKind::Retry
        | FailureKind::Other
        | FailureKind::Trap
        | FailureKind::Deadline
        | FailureKind::Memory
        | FailureKind::Emit
        | FailureKind::Parked
        | FailureKind::Unmatched
        | FailureKind::Loop => Verdict::Retry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Backoff, BackoffKind};
    use proptest::prelude::*;

    fn kind_policy(max_attempts: u32) -> KindPolicy {
        KindPolicy {
            max_attempts,
            max_age: None,
            backoff: Backoff {
                kind: BackoffKind::Fixed,
                initial: Duration::from_millis(5),
                max: Duration::from_secs(1),
                multiplier: 1.0,
                jitter: 0.0,
            },
        }
    }

    fn policy(max_attempts: u32) -> RetryPolicy {
        RetryPolicy::new(kind_policy(max_attempts))
    }

    /// So many attempts within no time.
    fn after(attempts: u32) -> Tried {
        let age = Duration::ZERO;
        Tried { attempts, age }
    }

    #[test]
    fn a_reject_is_dead_lettered_at_once() {
        let failure = Failure::new(FailureKind::Reject, "no");
        assert_eq!(
            settle(&failure, after(1), &policy(9), OnExhausted::Halt, None, 0.5),
            Settlement::DeadLetter
        );
    }

    #[test]
    fn the_guests_wish_wins_over_the_backoff() {
        let failure = Failure {
            retry_after: Some(Duration::from_secs(7)),
            ..Failure::new(FailureKind::Retry, "later")
        };
        assert_eq!(
            settle(&failure, after(1), &policy(2), OnExhausted::Halt, None, 0.5),
            Settlement::Retry {
                after: Duration::from_secs(7)
            }
        );
    }

    #[test]
    fn the_guests_wish_buys_neither_attempts_nor_time() {
        let failure = Failure {
            retry_after: Some(Duration::from_millis(6)),
            ..Failure::new(FailureKind::Retry, "later")
        };
        let aged = RetryPolicy::new(KindPolicy {
            max_age: Some(Duration::from_millis(5)),
            ..kind_policy(2)
        });
        for (tried, policy) in [(after(2), policy(2)), (after(1), aged)] {
            assert_eq!(
                settle(&failure, tried, &policy, OnExhausted::Skip, None, 0.5),
                Settlement::Skip
            );
        }
    }

    #[test]
    fn a_wait_may_end_at_the_greatest_age_and_not_later() {
        let policy = RetryPolicy::new(KindPolicy {
            max_age: Some(Duration::from_millis(20)),
            ..kind_policy(9)
        });
        let failure = Failure::new(FailureKind::Other, "no");
        let at = |micros| {
            let age = Duration::from_micros(micros);
            let tried = Tried { attempts: 1, age };
            settle(&failure, tried, &policy, OnExhausted::Halt, None, 0.5)
        };
        let after = Duration::from_millis(5);
        assert_eq!(at(15_000), Settlement::Retry { after });
        assert_eq!(at(15_001), Settlement::Halt);
        assert_eq!(at(u64::MAX), Settlement::Halt);
    }

    #[test]
    fn the_kind_of_the_last_failure_decides_and_earlier_ones_count() {
        let policy = policy(5).with(FailureKind::Trap, kind_policy(2));
        let settle = |kind, attempts| {
            let failure = Failure::new(kind, "no");
            settle(
                &failure,
                after(attempts),
                &policy,
                OnExhausted::Skip,
                None,
                0.5,
            )
        };
        let again = Settlement::Retry {
            after: Duration::from_millis(5),
        };
        assert_eq!(settle(FailureKind::Trap, 1), again);
        assert_eq!(settle(FailureKind::Trap, 2), Settlement::Skip);
        assert_eq!(settle(FailureKind::Deadline, 2), again);
        assert_eq!(settle(FailureKind::Trap, 3), Settlement::Skip);
    }

    #[test]
    fn the_verdict_of_the_error_hook_decides() {
        let failure = Failure::new(FailureKind::Reject, "no");
        let decide = |verdict| {
            let verdict = Some(verdict);
            settle(
                &failure,
                after(1),
                &policy(2),
                OnExhausted::Skip,
                verdict,
                0.5,
            )
        };
        assert_eq!(decide(Verdict::Resume), Settlement::Skip);
        assert_eq!(decide(Verdict::DeadLetter), Settlement::DeadLetter);
        assert_eq!(decide(Verdict::Halt), Settlement::Halt);
        assert_eq!(
            decide(Verdict::Retry),
            Settlement::Retry {
                after: Duration::from_millis(5)
            }
        );
    }

    #[test]
    fn a_batch_is_given_up_only_by_the_error_hook() {
        let (again, over) = (
            Settlement::Retry {
                after: Duration::ZERO,
            },
            Settlement::DeadLetter,
        );
        for verdict in [None, Some(Verdict::Retry)] {
            assert_eq!(settle_batch(over, verdict, 2), BatchSettlement::Halve);
            assert_eq!(settle_batch(over, verdict, 1), BatchSettlement::All(over));
            assert_eq!(settle_batch(again, verdict, 2), BatchSettlement::All(again));
        }
        for verdict in [Verdict::Resume, Verdict::DeadLetter, Verdict::Halt] {
            let all = BatchSettlement::All(over);
            assert_eq!(settle_batch(over, Some(verdict), 2), all);
        }
    }

    fn any_kind() -> impl Strategy<Value = FailureKind> {
        prop::sample::select(FailureKind::ALL.to_vec())
    }

    fn any_verdict() -> impl Strategy<Value = Option<Verdict>> {
        prop::sample::select(vec![
            None,
            Some(Verdict::Resume),
            Some(Verdict::Retry),
            Some(Verdict::DeadLetter),
            Some(Verdict::Halt),
        ])
    }

    fn any_on_exhausted() -> impl Strategy<Value = OnExhausted> {
        let all = [
            OnExhausted::DeadLetter,
            OnExhausted::Skip,
            OnExhausted::Halt,
            OnExhausted::Park,
        ];
        prop::sample::select(all.to_vec())
    }

    fn any_kind_policy() -> impl Strategy<Value = KindPolicy> {
        let waits = proptest::collection::vec((0u64..500).prop_map(Duration::from_millis), 1..4);
        let kind = prop_oneof![
            Just(BackoffKind::Exponential),
            Just(BackoffKind::Fixed),
            Just(BackoffKind::Fibonacci),
            waits.prop_map(|waits| BackoffKind::List(waits.into())),
        ];
        let max_age = prop::option::of((1u64..2000).prop_map(Duration::from_millis));
        (1u32..8, max_age, kind, 1u64..200, 0.0f64..=1.0).prop_map(
            |(max_attempts, max_age, kind, initial_ms, jitter)| KindPolicy {
                max_attempts,
                max_age,
                backoff: Backoff {
                    kind,
                    initial: Duration::from_millis(initial_ms),
                    jitter,
                    ..Backoff::DEFAULT
                },
            },
        )
    }

    /// One attempt: how it fails, with which wish, what the error hook says, and how many milliseconds it takes.
    type Step = (FailureKind, Option<u64>, Option<Verdict>, u64);

    fn any_steps() -> impl Strategy<Value = Vec<Step>> {
        let wish = prop::option::weighted(0.3, 0u64..1000);
        proptest::collection::vec((any_kind(), wish, any_verdict(), 0u64..300), 20)
    }

    proptest! {
        /// Whatever fails, whatever the guest answers and however long it takes: no attempt and no wait goes beyond
        /// what the kind of the failure allows, and what ends for want of them ends as the manifest says.
        #[test]
        fn attempts_and_their_time_are_bounded_for_each_kind(
            base in any_kind_policy(),
            own in proptest::collection::btree_map(any_kind(), any_kind_policy(), 0..5),
            steps in any_steps(),
            on_exhausted in any_on_exhausted(),
            unit in 0.0f64..=1.0,
        ) {
            let policy = own.iter().fold(RetryPolicy::new(base.clone()), |policy, (kind, own)| {
                policy.with(*kind, own.clone())
            });
            let most = own.values().chain([&base]).map(|policy| policy.max_attempts).max().unwrap();
            let mut age = Duration::ZERO;
            for (attempts, (kind, wish, verdict, millis)) in (1u32..).zip(steps) {
                prop_assert!(attempts <= most, "attempts did not end");
                age += Duration::from_millis(millis);
                let failure = Failure {
                    retry_after: wish.map(Duration::from_millis),
                    ..Failure::new(kind, "x")
                };
                let naive = own.get(&kind).unwrap_or(&base);
                let wanted = failure.retry_after.unwrap_or_else(|| retry::delay(&naive.backoff, attempts, unit));
                let is_left = attempts < naive.max_attempts && naive.max_age.is_none_or(|max| age + wanted <= max);
                match settle(&failure, Tried { attempts, age }, &policy, on_exhausted, verdict, unit) {
                    Settlement::Retry { after } => {
                        prop_assert!(is_left);
                        prop_assert_eq!(after, wanted);
                        age += after;
                    }
                    settlement => {
                        if verdict == Some(Verdict::Retry) {
                            prop_assert!(!is_left);
                            prop_assert_eq!(settlement, exhausted(on_exhausted));
                        }
                        break;
                    }
                }
            }
        }

        /// A record that fails for ever in the same way is not kept longer than its greatest age and one more attempt.
        #[test]
        fn no_schedule_of_failures_waits_beyond_the_greatest_age(
            policy in any_kind_policy(), max_age_ms in 1u64..5000, took_ms in 0u64..300, unit in 0.0f64..=1.0,
        ) {
            let max_age = Duration::from_millis(max_age_ms);
            let policy = RetryPolicy::new(KindPolicy { max_attempts: 1000, max_age: Some(max_age), ..policy });
            let failure = Failure::new(FailureKind::Other, "x");
            let mut age = Duration::ZERO;
            for attempts in 1..=1000 {
                prop_assert!(age <= max_age, "attempt {} begins at {:?}", attempts, age);
                age += Duration::from_millis(took_ms);
                let tried = Tried { attempts, age };
                let Settlement::Retry { after } = settle(&failure, tried, &policy, OnExhausted::Skip, None, unit) else {
                    break;
                };
                age += after;
            }
        }
    }
}
