//! How long a failed record waits before its next attempt.
//!
//! **Invariant:** a delay never exceeds the policy's maximum, or with a list twice its longest wait, whatever the
//! attempt, the multiplier or the jitter.

use std::time::Duration;

use crate::policy::{Backoff, BackoffKind};

/// Returns the wait after failed attempt `attempt` (the first is 1).
///
/// `unit` is a random number from 0 to 1; the jitter share of the policy moves the delay by up to that share, down or
/// up, so that records that failed together do not come back together.
pub fn delay(backoff: &Backoff, attempt: u32, unit: f64) -> Duration {
    let (base, longest) = match &backoff.kind {
        BackoffKind::Fixed => (backoff.initial, backoff.max),
        BackoffKind::Exponential => (exponential(backoff, attempt), backoff.max),
        BackoffKind::Fibonacci => (fibonacci(backoff, attempt), backoff.max),
        // Whoever writes down every wait has said how long each is.
        BackoffKind::List(delays) => (nth(delays, attempt), Duration::MAX),
    };
    let share = 1.0 + backoff.jitter * (2.0 * unit.clamp(0.0, 1.0) - 1.0);
    let seconds = base.min(longest).as_secs_f64() * share.max(0.0);
    Duration::try_from_secs_f64(seconds)
        .unwrap_or(longest)
        .min(longest)
}

fn exponential(backoff: &Backoff, attempt: u32) -> Duration {
    let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
    let factor = backoff.multiplier.powi(exponent);
    let seconds = backoff.initial.as_secs_f64() * factor;
    // The product may be infinite, which Duration refuses.
    Duration::try_from_secs_f64(seconds).unwrap_or(backoff.max)
}

fn fibonacci(backoff: &Backoff, attempt: u32) -> Duration {
    let (mut before, mut wait) = (Duration::ZERO, backoff.initial);
    for _ in 1..attempt {
        // From here on nothing changes, and an attempt may be the millionth.
        if wait >= backoff.max || wait.is_zero() {
            break;
        }
        (before, wait) = (wait, wait.saturating_add(before));
    }
    wait
}

fn nth(delays: &[Duration], attempt: u32) -> Duration {
    let at = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
    delays
        .get(at)
        .or(delays.last())
        .copied()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn backoff(kind: BackoffKind) -> Backoff {
        Backoff {
            kind,
            initial: Duration::from_millis(100),
            max: Duration::from_secs(10),
            multiplier: 2.0,
            jitter: 0.0,
        }
    }

    fn list(millis: &[u64]) -> BackoffKind {
        BackoffKind::List(millis.iter().copied().map(Duration::from_millis).collect())
    }

    fn millis<const N: usize>(kind: BackoffKind, attempts: [u32; N]) -> [u128; N] {
        let policy = backoff(kind);
        attempts.map(|attempt| delay(&policy, attempt, 0.5).as_millis())
    }

    #[test]
    fn exponential_delays_double_up_to_the_maximum() {
        assert_eq!(
            millis(BackoffKind::Exponential, [1, 2, 3, 8, 4_000_000]),
            [100, 200, 400, 10_000, 10_000]
        );
    }

    #[test]
    fn fixed_delays_stay() {
        assert_eq!(millis(BackoffKind::Fixed, [1, 7]), [100, 100]);
    }

    #[test]
    fn fibonacci_delays_are_the_sum_of_the_two_before_up_to_the_maximum() {
        assert_eq!(
            millis(
                BackoffKind::Fibonacci,
                [1, 2, 3, 4, 5, 6, 11, 12, 4_000_000_000]
            ),
            [100, 100, 200, 300, 500, 800, 8900, 10_000, 10_000]
        );
    }

    #[test]
    fn a_fibonacci_of_nothing_stays_nothing() {
        let policy = Backoff {
            initial: Duration::ZERO,
            ..backoff(BackoffKind::Fibonacci)
        };
        assert_eq!(delay(&policy, u32::MAX, 0.5), Duration::ZERO);
    }

    #[test]
    fn the_last_delay_of_a_list_repeats_and_no_maximum_cuts_it() {
        assert_eq!(
            millis(list(&[100, 1000, 60_000]), [1, 2, 3, 4, u32::MAX]),
            [100, 1000, 60_000, 60_000, 60_000]
        );
    }

    #[test]
    fn a_delay_that_no_duration_holds_is_cut() {
        let policy = Backoff {
            jitter: 1.0,
            ..backoff(BackoffKind::List([Duration::MAX].into()))
        };
        assert_eq!(delay(&policy, 1, 1.0), Duration::MAX);
    }

    /// The waits in milliseconds as one would write them down, without jitter.
    fn naive_fibonacci(initial: u128, max: u128, attempt: u32) -> u128 {
        match attempt {
            0 | 1 => initial.min(max),
            2 => naive_fibonacci(initial, max, 1),
            _ => max.min(
                naive_fibonacci(initial, max, attempt - 1)
                    + naive_fibonacci(initial, max, attempt - 2),
            ),
        }
    }

    proptest! {
        #[test]
        fn a_delay_stays_within_jitter_and_maximum(
            attempt in 1u32..100, unit in 0.0f64..=1.0, jitter in 0.0f64..=1.0, multiplier in 1.0f64..10.0,
        ) {
            let policy = Backoff { multiplier, jitter, ..backoff(BackoffKind::Exponential) };
            let exact = (0.1 * multiplier.powi(attempt.cast_signed() - 1)).min(10.0);
            let got = delay(&policy, attempt, unit).as_secs_f64();
            prop_assert!(got <= 10.0 + 1e-6);
            prop_assert!(got >= exact * (1.0 - jitter) - 1e-6);
            prop_assert!(got <= exact * (1.0 + jitter) + 1e-6);
        }

        #[test]
        fn fibonacci_delays_are_those_of_the_naive_model(
            initial in 0u64..1000, more in 0u64..100_000, attempt in 1u32..20,
        ) {
            let policy = Backoff {
                initial: Duration::from_millis(initial),
                max: Duration::from_millis(initial + more),
                ..backoff(BackoffKind::Fibonacci)
            };
            let expected = naive_fibonacci(initial.into(), (initial + more).into(), attempt);
            prop_assert_eq!(delay(&policy, attempt, 0.5).as_millis(), expected);
        }

        #[test]
        fn delays_of_a_list_are_its_entries_moved_by_jitter_alone(
            entries in proptest::collection::vec(0u64..86_400_000, 1..6),
            attempt in 1usize..10, unit in 0.0f64..=1.0, jitter in 0.0f64..=1.0,
        ) {
            let policy = Backoff { jitter, ..backoff(list(&entries)) };
            let entry = entries[(attempt - 1).min(entries.len() - 1)];
            let exact = Duration::from_millis(entry).as_secs_f64();
            let got = delay(&policy, u32::try_from(attempt).unwrap(), unit).as_secs_f64();
            prop_assert!(got >= exact * (1.0 - jitter) - 1e-6);
            prop_assert!(got <= exact * (1.0 + jitter) + 1e-6);
        }
    }
}
