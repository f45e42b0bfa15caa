//! How many records of a partition may be taken, so that the map of what is complete fits into the metadata of a commit.
//!
//! Handed the watermark and what earlier owners completed; pure. There are two answers: `surely` where a map that does not
//! fit would cost the transaction, and `likely` where it only costs repeats after a crash.
//! **Invariant:** where nothing is open, a record may be taken.

use crate::offset_map::{METADATA_BYTES_MAX, OffsetMap};
use crate::watermark::Watermark;

/// Above this, in bytes, a map need not grow any more.
const NEARLY_FULL: usize = METADATA_BYTES_MAX / 4 * 3;
/// Bytes of an open run and of a completed one as long as gaps are.
const BEHIND_A_GAP: usize = 4;

/// Returns the map of what is complete, `None` before the first record was taken or settled.
pub fn map_of(watermark: &Watermark, earlier: Option<&OffsetMap>) -> Option<OffsetMap> {
    let base = watermark.oldest().or(watermark.position())?;
    let runs = watermark.settled_runs();
    Some(match earlier {
        Some(earlier) => OffsetMap::joined(base, runs, earlier),
        None => OffsetMap::from_runs(base, runs),
    })
}

/// Returns how many of the `next` offsets may be taken, so that the map fits whichever records are settled first.
pub fn surely(
    watermark: &Watermark,
    earlier: Option<&OffsetMap>,
    next: impl Iterator<Item = i64>,
) -> usize {
    let open = watermark.open();
    let (runs, end) = earlier.map_or((0, 0), |earlier| (earlier.runs().count(), earlier.end()));
    let mut base = watermark.oldest();
    let fits = |(place, offset): &(usize, i64)| {
        let span = end.max(*offset).abs_diff(*base.get_or_insert(*offset));
        open + place == 0 || OffsetMap::surely_fits(open + runs + place + 1, span + 1)
    };
    next.enumerate().take_while(fits).count()
}

/// Returns how many of the `next` offsets may be taken, so that the map fits if the open records before the last completed
/// one stay open or are settled from the first on; none while it is nearly full.
pub fn likely(
    watermark: &Watermark,
    earlier: Option<&OffsetMap>,
    next: impl Iterator<Item = i64> + Clone,
) -> usize {
    let (Some(base), Some(mut end)) = (watermark.oldest(), watermark.end()) else {
        return next.count();
    };
    let known = earlier.map_or(base, OffsetMap::end);
    let span = |offset: i64| offset.max(known).abs_diff(base) + 1;
    let fits_as_bits = |offset: &i64| span(*offset) <= OffsetMap::SPAN_THAT_FITS;
    let as_bits = next.clone().take_while(fits_as_bits).count();
    if as_bits > 0 || next.clone().next().is_none() {
        return as_bits;
    }
    let Some(map) = map_of(watermark, earlier) else {
        return next.count();
    };
    let length = map.encoded_len();
    if length > NEARLY_FULL {
        return 0;
    }
    // Where every other record is settled, each costs a byte; one behind a gap, which counts as settled, some more.
    let untried = watermark.open_offsets().filter(|open| *open >= map.end());
    let mut left = ((METADATA_BYTES_MAX - length) / 4 * 3).checked_sub(untried.count());
    let fits = |offset: &i64| {
        let cost = if *offset == end { 1 } else { BEHIND_A_GAP };
        end = *offset + 1;
        left = left.and_then(|left| left.checked_sub(cost));
        left.is_some()
    };
    next.take_while(fits).count()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, VecDeque};

    use proptest::prelude::*;

    use super::*;
    use crate::watermark::Ticket;

    /// Records that are taken while there is room, some of which wait.
    #[derive(Default)]
    struct Partition {
        watermark: Watermark,
        next: i64,
        /// Taken and not tried.
        untried: VecDeque<(i64, Ticket)>,
        waiting: BTreeMap<i64, Ticket>,
        /// Offsets without a record between two records.
        gap: i64,
    }

    impl Partition {
        fn take(&mut self, count: usize) {
            for _ in 0..count {
                let ticket = self.watermark.start(self.next);
                self.untried.push_back((self.next, ticket));
                self.next += self.step();
            }
        }

        /// From one record to the next.
        fn step(&self) -> i64 {
            self.gap + 1
        }

        fn likely(&self, most: usize) -> usize {
            let step = usize::try_from(self.step()).unwrap();
            likely(
                &self.watermark,
                None,
                (self.next..).step_by(step).take(most),
            )
        }

        /// Lets the next ones be tried, of which some wait.
        fn handle(&mut self, count: usize, waits: impl Fn(i64) -> bool) {
            for (offset, ticket) in self.untried.drain(..count.min(self.untried.len())) {
                if waits(offset) {
                    self.waiting.insert(offset, ticket);
                } else {
                    self.watermark.complete(ticket);
                }
            }
        }

        /// Lets the first ones that wait complete.
        fn wake(&mut self, count: usize) {
            for _ in 0..count {
                if let Some((_, ticket)) = self.waiting.pop_first() {
                    self.watermark.complete(ticket);
                }
            }
        }

        fn length(&self) -> usize {
            map_of(&self.watermark, None).map_or(0, |map| map.encoded_len())
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Every so-many-th record waits, at first and later, while lanes are slower than the task that takes.
        #[test]
        fn a_map_fits_while_records_wait_and_when_they_complete(
            (first_every, every) in (2i64..300, 2i64..300),
            turns_at in 0i64..100_000,
            gap in prop_oneof![3 => Just(0i64), 1 => 1i64..3, 1 => 1i64..10_000],
            in_flight in 1usize..30_000,
            (taken, handled) in (1usize..1000, 1usize..1000),
        ) {
            let end = 60_000 * (gap + 1);
            let mut partition = Partition { gap, ..Partition::default() };
            let waits = |offset: i64| {
                let nth = offset / (gap + 1);
                let every = if nth < turns_at { first_every } else { every };
                nth == 0 || nth % every == 1
            };
            let mut rounds = 0;
            while partition.next < end || partition.watermark.open() > 0 {
                let left = usize::try_from((end - partition.next) / (gap + 1)).unwrap();
                let in_flight = in_flight.saturating_sub(partition.watermark.open());
                let room = partition.likely(taken.min(left).min(in_flight));
                partition.take(room);
                if partition.untried.is_empty() {
                    partition.wake(handled);
                }
                partition.handle(handled, waits);
                prop_assert!(partition.length() <= METADATA_BYTES_MAX, "{}", partition.length());
                rounds += 1;
                prop_assert!(rounds < 1_000_000, "it stands still");
            }
        }

        /// Records are settled in any order.
        #[test]
        fn what_surely_fits_does_in_whichever_order_records_are_settled(
            steps in proptest::collection::vec((1usize..600, any::<prop::sample::Index>(), 0usize..600), 1..150),
            straggler in any::<bool>(),
        ) {
            let mut partition = Partition::default();
            for (taken, index, settled) in steps {
                let room = surely(&partition.watermark, None, (partition.next..).take(taken));
                prop_assert!(room > 0 || partition.watermark.open() > 0, "it stands still");
                partition.take(room);
                let first = usize::from(straggler);
                let open = partition.untried.len();
                // A stride scatters those that are settled.
                let stride = index.index(open.max(1)).max(2);
                for nth in 0..settled.min(open.saturating_sub(first)) {
                    let left = partition.untried.len() - first;
                    let place = first + nth * stride % left;
                    let (_, ticket) = partition.untried.remove(place).unwrap();
                    partition.watermark.complete(ticket);
                }
                prop_assert!(partition.length() <= METADATA_BYTES_MAX, "{}", partition.length());
            }
        }
    }

    #[test]
    fn every_other_record_waits_and_the_map_is_nearly_full() {
        let mut partition = Partition::default();
        for _ in 0..1000 {
            partition.take(partition.likely(500));
            partition.handle(300, |offset| offset % 2 == 0);
        }
        partition.handle(usize::MAX, |offset| offset % 2 == 0);
        assert!(partition.next > 20_000, "{} were taken", partition.next);
        assert!(partition.length() > NEARLY_FULL);
        assert_eq!(partition.likely(500), 0);
        partition.wake(partition.waiting.len());
        assert_eq!(partition.likely(500), 500);
    }

    #[test]
    fn what_is_complete_behind_one_that_waits_takes_little_room() {
        let mut partition = Partition::default();
        partition.take(1_000_000);
        partition.handle(990_000, |offset| offset == 0);
        assert_eq!(partition.likely(500), 0, "what was taken may wait, too");
        partition.handle(9000, |_| false);
        assert!((1900..3100).contains(&partition.likely(5000)));
    }
}
