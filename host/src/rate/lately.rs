//! What was used in the last second that is over.
//!
//! Handed what was used since the beginning, before each use; says how much of it came in the second before this one.
//! **Invariant:** what is said is what was used within one whole second, and nothing of another one.

use std::time::Duration;

use super::Rate;

/// What was used since the beginning, of each rate.
type Used = [u64; Rate::ALL.len()];

/// See the module. Moments are times since any moment of the past that stays the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lately {
    /// The second in which it was asked last.
    second: u64,
    /// What was used before it.
    before: Used,
    /// What was used in the one before it.
    last: Used,
}

impl Lately {
    /// Returns what was used in the second before that of `now`; `used` is what was used before `now`.
    pub fn at(&mut self, now: Duration, used: &Used) -> Used {
        let second = now.as_secs();
        if second != self.second {
            let is_next = second == self.second.wrapping_add(1);
            let pairs = self.last.iter_mut().zip(used.iter().zip(&self.before));
            for (last, (used, before)) in pairs {
                *last = if is_next {
                    used.saturating_sub(*before)
                } else {
                    0
                };
            }
            (self.second, self.before) = (second, *used);
        }
        self.last
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_used_lately_is_what_was_used_in_the_second_before(
            uses in prop::collection::vec((0u64..1500, 0u64..100), 1..60),
        ) {
            let (mut lately, mut now_ms, mut used) = (Lately::default(), 0, Used::default());
            let mut by_second = std::collections::BTreeMap::<u64, u64>::new();
            for (wait_ms, amount) in uses {
                now_ms += wait_ms;
                let second = now_ms / 1000;
                let found = lately.at(Duration::from_millis(now_ms), &used);
                let expected = second.checked_sub(1).and_then(|it| by_second.get(&it));
                prop_assert_eq!(found[0], expected.copied().unwrap_or_default());
                prop_assert_eq!(found[1], 0);
                used[0] += amount;
                *by_second.entry(second).or_default() += amount;
            }
        }
    }
}
