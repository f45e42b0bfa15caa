//! Whether outputs go to Kafka at once or are gathered for a moment, by how many there are.
//!
//! Handed how many outputs Kafka took in a while and how many were under way; returns what suits them. A request to Kafka for
//! each output is the fastest way for few of them, and costs too much where there are many.
//! **Invariant:** who has few outputs does not wait for more; a rate between the bounds changes nothing, so that a flow
//! which is slowed down by being gathered does not go to and fro.

use std::time::Duration;

/// From so many outputs a second on they are gathered. A request for each costs the host about 10 µs.
const MANY_PER_S: f64 = 15_000.0;
/// From so many on they are gathered where [`CROWD`] of them are under way: then they wait for each other anyway.
const SOME_PER_S: f64 = 3000.0;
/// More than those of whom a few wait for the others' answers.
const CROWD: usize = 16;
/// Up to so many a second go at once.
const FEW_PER_S: f64 = 2000.0;

/// How outputs go to Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gait {
    /// Each as soon as possible.
    AtOnce,
    /// Each waits a moment for others that may go in the same request.
    Gathered,
}

/// What was seen of the outputs in a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// How many were acknowledged.
    pub acknowledged: u64,
    /// How many were under way, on average.
    pub under_way: usize,
    /// How long the while was.
    pub over: Duration,
}

impl Gait {
    /// Returns what suits the outputs from now on.
    #[must_use]
    pub fn next(self, seen: Seen) -> Self {
        if seen.acknowledged == 0 && seen.under_way > 0 {
            // Kafka takes none, which says nothing about how many there are.
            return self;
        }
        // More than fit into a float are many as well.
        let per_s = u32::try_from(seen.acknowledged).map_or(f64::MAX, f64::from)
            / seen.over.as_secs_f64().max(f64::MIN_POSITIVE);
        let is_crowded = seen.under_way >= CROWD && per_s >= SOME_PER_S;
        match self {
            Self::AtOnce if per_s >= MANY_PER_S || is_crowded => Self::Gathered,
            Self::Gathered if per_s <= FEW_PER_S => Self::AtOnce,
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seen(acknowledged: u64, under_way: usize, over_ms: u64) -> Seen {
        Seen {
            acknowledged,
            under_way,
            over: Duration::from_millis(over_ms),
        }
    }

    #[test]
    fn many_are_gathered_few_are_not_and_what_stands_still_says_nothing() {
        use Gait::{AtOnce, Gathered};
        for (before, acknowledged, under_way, after) in [
            (AtOnce, 1499, 15, AtOnce),
            (AtOnce, 1500, 0, Gathered),
            (AtOnce, 300, 15, AtOnce),
            (AtOnce, 300, 16, Gathered),
            (AtOnce, 299, 1000, AtOnce),
            (Gathered, 201, 1, Gathered),
            (Gathered, 200, 1, AtOnce),
            (Gathered, 0, 1, Gathered),
            (Gathered, 0, 0, AtOnce),
            (AtOnce, 0, 1000, AtOnce),
            (AtOnce, u64::MAX, 1, Gathered),
        ] {
            assert_eq!(before.next(seen(acknowledged, under_way, 100)), after);
        }
        assert_eq!(AtOnce.next(seen(1, 0, 0)), Gathered);
    }

    proptest! {
        #[test]
        fn a_steady_flow_changes_the_gait_once_at_most(
            starts_gathered: bool,
            acknowledged in 1u64..5000,
            under_way in 0usize..40,
            over_ms in 1u64..1000,
        ) {
            let start = if starts_gathered { Gait::Gathered } else { Gait::AtOnce };
            let seen = seen(acknowledged, under_way, over_ms);
            let next = start.next(seen);
            prop_assert_eq!(next.next(seen), next);
            // Longhand, in whole numbers.
            let is_least = |per_s: u64| acknowledged * 1000 >= per_s * over_ms;
            let expected = if is_least(15_000) || is_least(3000) && under_way >= 16 {
                Gait::Gathered
            } else if acknowledged * 1000 <= 2000 * over_ms {
                Gait::AtOnce
            } else {
                start
            };
            prop_assert_eq!(next, expected);
        }
    }
}
