//! What becomes of a record whose attempt failed.
//!
//! Handed the failure, the attempt's number, the manifest's policy and, where the handler has an error hook, its
//! verdict; answers with the settlement.
//! **Invariant:** attempts are bounded by the policy whatever a guest answers, and no failure is settled as success.

use crate::outcome::{Failure, FailureKind, Settlement, Verdict};
use crate::policy::{OnExhausted, RetryPolicy};
use crate::retry;

/// Decides about a failed attempt. `attempt` counts from 1; `unit` is a random number from 0 to 1 for the jitter.
pub fn settle(
    failure: &Failure,
    attempt: u32,
    policy: &RetryPolicy,
    on_exhausted: OnExhausted,
    verdict: Option<Verdict>,
    unit: f64,
) -> Settlement {
    match verdict.unwrap_or_else(|| default_verdict(failure.kind)) {
        Verdict::Resume => Settlement::Skip,
        Verdict::DeadLetter => Settlement::DeadLetter,
        Verdict::Halt => Settlement::Halt,
        Verdict::Retry if attempt >= policy.max_attempts => exhausted(on_exhausted),
        Verdict::Retry => Settlement::Retry {
            // The guest's wish wins over the policy's pace.
            after: failure
                .retry_after
                .unwrap_or_else(|| retry::delay(&policy.backoff, attempt, unit)),
        },
    }
}

/// Returns what is done when no attempt is left.
pub fn exhausted(on_exhausted: OnExhausted) -> Settlement {
    match on_exhausted {
        OnExhausted::DeadLetter => Settlement::DeadLetter,
        OnExhausted::Skip => Settlement::Skip,
        OnExhausted::Halt => Settlement::Halt,
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
        | FailureKind::Emit => Verdict::Retry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Backoff, BackoffKind};
    use proptest::prelude::*;
    use std::time::Duration;

    fn policy(max_attempts: u32) -> RetryPolicy {
        RetryPolicy {
            max_attempts,
            backoff: Backoff {
                kind: BackoffKind::Fixed,
                initial: Duration::from_millis(5),
                max: Duration::from_secs(1),
                multiplier: 1.0,
                jitter: 0.0,
            },
        }
    }

    #[test]
    fn a_reject_is_dead_lettered_at_once() {
        let failure = Failure::new(FailureKind::Reject, "no");
        assert_eq!(
            settle(&failure, 1, &policy(9), OnExhausted::Halt, None, 0.5),
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
            settle(&failure, 1, &policy(2), OnExhausted::DeadLetter, None, 0.5),
            Settlement::Retry {
                after: Duration::from_secs(7)
            }
        );
    }

    #[test]
    fn the_verdict_of_the_error_hook_decides() {
        let failure = Failure::new(FailureKind::Reject, "no");
        let decide = |verdict| {
            settle(
                &failure,
                1,
                &policy(2),
                OnExhausted::Skip,
                Some(verdict),
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

    proptest! {
        /// Whatever fails and whatever the guest answers, the attempts end, and they end as the manifest says.
        #[test]
        fn attempts_are_bounded(
            max in 1u32..20,
            kinds in proptest::collection::vec((any_kind(), any_verdict()), 20),
            on_exhausted in prop::sample::select(vec![OnExhausted::DeadLetter, OnExhausted::Skip, OnExhausted::Halt]),
        ) {
            for (attempt, (kind, verdict)) in (1u32..).zip(kinds) {
                let settlement = settle(&Failure::new(kind, "x"), attempt, &policy(max), on_exhausted, verdict, 0.5);
                if let Settlement::Retry { .. } = settlement {
                    prop_assert!(attempt < max);
                } else {
                    if verdict == Some(Verdict::Retry) {
                        prop_assert_eq!(attempt, max);
                        prop_assert_eq!(settlement, exhausted(on_exhausted));
                    }
                    break;
                }
                prop_assert!(attempt < max, "attempts did not end");
            }
        }
    }
}
