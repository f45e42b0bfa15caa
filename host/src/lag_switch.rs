//! Whether the records of a partition come in batches, where that depends on how far it lags behind.
//!
//! Told now and then how many records wait; pure.
//! **Invariant:** a lag between the two bounds changes nothing, so a partition does not go to and fro there.

use crate::policy::LagBounds;

/// See the module. It begins with single records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LagSwitch {
    is_bulk: bool,
}

impl LagSwitch {
    /// Takes note of how many records wait; returns whether that switched it.
    pub fn note(&mut self, bounds: LagBounds, lag_records: u64) -> bool {
        // Where both bounds are the same, their lag itself is no reason for batches: it would end them at once.
        let is_high = lag_records >= bounds.enter_records && lag_records > bounds.exit_records;
        let is_low = lag_records <= bounds.exit_records;
        let switches = if self.is_bulk { is_low } else { is_high };
        self.is_bulk ^= switches;
        switches
    }

    /// Returns whether records come in batches.
    pub fn is_bulk(self) -> bool {
        self.is_bulk
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: LagBounds = LagBounds {
        enter_records: 100,
        exit_records: 10,
    };

    #[test]
    fn batches_begin_at_one_lag_and_end_at_another() {
        let mut switch = LagSwitch::default();
        let lags = [0, 99, 100, 99, 11, 10, 11, 99, 100];
        let told = lags.map(|lag| {
            switch.note(BOUNDS, lag);
            switch.is_bulk()
        });
        let expected = [false, false, true, true, true, false, false, false, true];
        assert_eq!(told, expected);
    }

    /// Whether there are batches, from all lags that were told: the last one outside the bounds decides.
    fn naive(bounds: LagBounds, lags: &[u64]) -> bool {
        let decides = |lag: &&u64| **lag <= bounds.exit_records || **lag >= bounds.enter_records;
        lags.iter()
            .rev()
            .find(decides)
            .is_some_and(|lag| *lag > bounds.exit_records)
    }

    proptest! {
        /// Against a look back over all lags.
        #[test]
        fn the_last_lag_outside_the_bounds_decides(
            exit_records in 0u64..20,
            more in 0u64..20,
            lags in proptest::collection::vec(0u64..50, 0..100),
        ) {
            let bounds = LagBounds { enter_records: (exit_records + more).max(1), exit_records };
            let mut switch = LagSwitch::default();
            for told in 1..=lags.len() {
                let before = switch.is_bulk();
                let has_switched = switch.note(bounds, lags[told - 1]);
                prop_assert_eq!(switch.is_bulk(), naive(bounds, &lags[..told]));
                prop_assert_eq!(has_switched, switch.is_bulk() != before);
            }
        }

        /// A lag that stays the same switches once at most.
        #[test]
        fn it_never_flaps(exit_records in 0u64..20, more in 0u64..20, first in 0u64..50, lag in 0u64..50) {
            let bounds = LagBounds { enter_records: (exit_records + more).max(1), exit_records };
            let mut switch = LagSwitch::default();
            switch.note(bounds, first);
            switch.note(bounds, lag);
            for _ in 0..3 {
                prop_assert!(!switch.note(bounds, lag));
            }
        }
    }
}
