//! How often, and after which waits, an output is sent again that Kafka refused.
//!
//! **Invariant:** a wait is never longer than the longest that the policy has.

use std::time::Duration;

use crate::policy::Backoff;
use crate::retry::delay;

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Repeat {
    /// How often an output is sent in all, the first time included; at least once.
    pub attempts: u32,
    /// The waits in between, none of them left to chance.
    pub backoff: Backoff,
}

impl Repeat {
    /// What holds for the keys that a table `[publish.retry]` leaves out.
    pub const DEFAULT: Self = Self {
        attempts: 5,
        backoff: Backoff {
            initial: Duration::from_secs(1),
            max: Duration::from_mins(1),
            jitter: 0.0,
            ..Backoff::DEFAULT
        },
    };

    /// Returns whether an output may be sent once more that was sent so often.
    pub fn allows(&self, sent: u32) -> bool {
        sent < self.attempts
    }

    /// Returns how long it waits before that.
    pub fn wait(&self, sent: u32) -> Duration {
        delay(&self.backoff, sent.max(1), 0.5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::BackoffKind;
    use proptest::prelude::*;

    /// All waits in milliseconds, one after the other, as one would write them down.
    fn naive(kind: &BackoffKind, first: u128, max: u128, count: usize) -> Vec<u128> {
        let mut waits: Vec<u128> = Vec::new();
        for nth in 0..count {
            let wait = match (kind, nth) {
                (_, 0) | (BackoffKind::Fixed, _) | (BackoffKind::Fibonacci, 1) => first,
                (BackoffKind::Fibonacci, _) => waits[nth - 1] + waits[nth - 2],
                _ => waits[nth - 1] * 2,
            };
            // Not cut here, so that the sums are those of the sequence; but kept from growing for ever.
            waits.push(wait.min(u128::from(u64::MAX)));
        }
        waits.into_iter().map(|wait| wait.min(max)).collect()
    }

    fn repeat(kind: &BackoffKind, first: u64, max: u64) -> Repeat {
        Repeat {
            attempts: 3,
            backoff: Backoff {
                kind: kind.clone(),
                initial: Duration::from_millis(first),
                max: Duration::from_millis(max),
                ..Repeat::DEFAULT.backoff
            },
        }
    }

    #[test]
    fn an_output_is_sent_as_often_as_allowed() {
        let sent = |attempts| {
            let repeat = Repeat {
                attempts,
                ..Repeat::DEFAULT
            };
            (1..100).take_while(|&sent| repeat.allows(sent)).count() + 1
        };
        assert_eq!([1, 2, 7].map(sent), [1, 2, 7]);
    }

    proptest! {
        #[test]
        fn waits_are_those_of_the_naive_model(
            kind in prop::sample::select(vec![
                BackoffKind::Fixed, BackoffKind::Exponential, BackoffKind::Fibonacci,
            ]),
            first in 0u64..100_000, more in 0u64..86_400_000, count in 1usize..60,
        ) {
            let repeat = repeat(&kind, first, first + more);
            let waits: Vec<u128> = (1..=u32::try_from(count).unwrap())
                .map(|sent| repeat.wait(sent).as_millis())
                .collect();
            prop_assert_eq!(waits, naive(&kind, first.into(), (first + more).into(), count));
        }

        #[test]
        fn no_number_of_attempts_makes_a_wait_too_long(
            kind in prop::sample::select(vec![
                BackoffKind::Fixed, BackoffKind::Exponential, BackoffKind::Fibonacci,
            ]),
            first in 0u64..100_000, more in 0u64..86_400_000, sent in any::<u32>(),
        ) {
            let longest = first + more;
            let wait = repeat(&kind, first, longest).wait(sent);
            prop_assert!((u128::from(first)..=u128::from(longest)).contains(&wait.as_millis()));
        }
    }
}
