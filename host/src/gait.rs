//! Whether outputs go to Kafka at once or are gathered for a moment, by how many there are.
//!
//! Handed how many outputs Kafka took in a while and whether others are under way; returns what suits them. A request to Kafka for
//! each output is the fastest way for few of them, and costs too much where there are many.
//! **Invariant:** who has few outputs does not wait for more; a rate between the two bounds changes nothing, so that a flow
//! which is slowed down by being gathered does not go to and fro.

use std::time::Duration;

/// From so many outputs a second on they are gathered. A request for each costs the host about 10 µs, so at most a tenth of a core.
const MANY_PER_S: f64 = 10_000.0;
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
    /// Whether some are not yet.
    pub is_waiting: bool,
    /// How long the while was.
    pub over: Duration,
}

impl Gait {
    /// Returns what suits the outputs from now on.
    #[must_use]
    pub fn next(self, seen: Seen) -> Self {
        let Seen {
            acknowledged,
            is_waiting,
            over,
        } = seen;
        if acknowledged == 0 && is_waiting {
            // Kafka takes none, which says nothing about how many there are.
            return self;
        }
        // More than fit into a float are many as well.
        let per_s = u32::try_from(acknowledged).map_or(f64::MAX, f64::from)
            / over.as_secs_f64().max(f64::MIN_POSITIVE);
        match self {
            Self::AtOnce if per_s >= MANY_PER_S => Self::Gathered,
            Self::Gathered if per_s <= FEW_PER_S => Self::AtOnce,
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seen(acknowledged: u64, is_waiting: bool, over_ms: u64) -> Seen {
        Seen {
            acknowledged,
            is_waiting,
            over: Duration::from_millis(over_ms),
        }
    }

    #[test]
    fn many_are_gathered_few_are_not_and_what_stands_still_says_nothing() {
        use Gait::{AtOnce, Gathered};
        for (before, acknowledged, is_waiting, after) in [
            (AtOnce, 999, true, AtOnce),
            (AtOnce, 1000, true, Gathered),
            (Gathered, 201, true, Gathered),
            (Gathered, 200, true, AtOnce),
            (Gathered, 0, true, Gathered),
            (Gathered, 0, false, AtOnce),
            (AtOnce, 0, true, AtOnce),
            (AtOnce, u64::MAX, true, Gathered),
        ] {
            assert_eq!(before.next(seen(acknowledged, is_waiting, 100)), after);
        }
        assert_eq!(AtOnce.next(seen(1, false, 0)), Gathered);
    }

    proptest! {
        #[test]
        fn a_steady_rate_changes_the_gait_once_at_most(
            starts_gathered: bool,
            acknowledged in 1u64..5000,
            over_ms in 1u64..1000,
        ) {
            let start = if starts_gathered { Gait::Gathered } else { Gait::AtOnce };
            let seen = seen(acknowledged, true, over_ms);
            let next = start.next(seen);
            prop_assert_eq!(next.next(seen), next);
            // Longhand, in whole numbers.
            let per_s = acknowledged * 1000;
            let expected = match start {
                _ if per_s >= 10_000 * over_ms => Gait::Gathered,
                _ if per_s <= 2000 * over_ms => Gait::AtOnce,
                start => start,
            };
            prop_assert_eq!(next, expected);
        }
    }
}
