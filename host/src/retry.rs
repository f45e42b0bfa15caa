//! How long a failed record waits before its next attempt.
//!
//! **Invariant:** a delay never exceeds the policy's maximum, whatever the attempt, the multiplier or the jitter.

use std::time::Duration;

use crate::policy::{Backoff, BackoffKind};

/// Returns the wait after failed attempt `attempt` (the first is 1).
///
/// `unit` is a random number from 0 to 1; the jitter share of the policy moves the delay by up to that share, down or
/// up, so that records that failed together do not come back together.
pub fn delay(backoff: &Backoff, attempt: u32, unit: f64) -> Duration {
    let base = match backoff.kind {
        BackoffKind::Fixed => backoff.initial,
        BackoffKind::Exponential => {
            let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
            let factor = backoff.multiplier.powi(exponent);
            let seconds = backoff.initial.as_secs_f64() * factor;
            // The product may be infinite, which Duration refuses.
            Duration::try_from_secs_f64(seconds).unwrap_or(backoff.max)
        }
    };
    let share = 1.0 + backoff.jitter * (2.0 * unit.clamp(0.0, 1.0) - 1.0);
    base.min(backoff.max)
        .mul_f64(share.max(0.0))
        .min(backoff.max)
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

    #[test]
    fn exponential_delays_double_up_to_the_maximum() {
        let policy = backoff(BackoffKind::Exponential);
        let delays: Vec<u128> = [1, 2, 3, 8, 4_000_000]
            .map(|n| delay(&policy, n, 0.5).as_millis())
            .into();
        assert_eq!(delays, [100, 200, 400, 10_000, 10_000]);
    }

    #[test]
    fn fixed_delays_stay() {
        assert_eq!(
            delay(&backoff(BackoffKind::Fixed), 7, 0.5),
            Duration::from_millis(100)
        );
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
    }
}
