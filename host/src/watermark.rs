//! Which position of a partition may be committed, when records settle out of order.
//!
//! Handed the offsets as they are fetched and the tickets as they settle; answers with the position: the next
//! offset to read after a restart. Only offsets that were fetched count, so a gap in the log (compaction,
//! transaction markers) is done by itself.
//! **Invariant:** the position never passes an offset that was started and is not complete, and never goes back.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

/// Names one started record; only its own watermark understands it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

#[derive(Debug)]
struct Slot {
    offset: i64,
    done: bool,
}

/// An unsettled record that much was settled behind.
#[derive(Debug)]
struct Straggler {
    offset: i64,
    /// The position while this record is the oldest unsettled one.
    before: Option<i64>,
}

/// Below this many slots stragglers are left where they are.
const SLOTS_KEPT: usize = 1024;

/// The settled and unsettled records of one partition's assignment.
///
/// Takes memory for the unsettled ones, not for what was settled behind them.
#[derive(Debug, Default)]
pub struct Watermark {
    /// Unsettled records before the first slot, by their tickets.
    stragglers: BTreeMap<u64, Straggler>,
    /// Ticket of the first slot.
    head: u64,
    slots: VecDeque<Slot>,
    /// Unsettled records among the slots.
    open_slots: usize,
    /// One past the last record before the first slot.
    passed: Option<i64>,
    /// One past the last record started.
    end: Option<i64>,
}

impl Watermark {
    /// Notes that the record at `offset` was taken and is not settled yet. Offsets must rise.
    pub fn start(&mut self, offset: i64) -> Ticket {
        debug_assert!(
            self.end.is_none_or(|end| end <= offset),
            "offsets must rise within an assignment"
        );
        self.slots.push_back(Slot {
            offset,
            done: false,
        });
        self.open_slots += 1;
        self.end = Some(offset + 1);
        Ticket(self.head + self.slots.len() as u64 - 1)
    }

    /// Notes that a record is settled and acknowledged; returns whether it was not before.
    pub fn complete(&mut self, ticket: Ticket) -> bool {
        let Some(place) = ticket.0.checked_sub(self.head) else {
            return self.stragglers.remove(&ticket.0).is_some();
        };
        let slot = usize::try_from(place)
            .ok()
            .and_then(|place| self.slots.get_mut(place))
            .filter(|slot| !slot.done);
        let Some(slot) = slot else {
            return false;
        };
        slot.done = true;
        self.open_slots -= 1;
        while let Some(first) = self.slots.front() {
            let is_held = !first.done;
            // Mostly settled slots behind an unsettled one: it need not keep them.
            if is_held && (self.slots.len() <= SLOTS_KEPT || self.open_slots > self.slots.len() / 2)
            {
                break;
            }
            if is_held {
                let straggler = Straggler {
                    offset: first.offset,
                    before: self.passed,
                };
                self.stragglers.insert(self.head, straggler);
                self.open_slots -= 1;
            }
            self.passed = Some(first.offset + 1);
            self.slots.pop_front();
            self.head += 1;
        }
        true
    }

    /// Returns the next offset to read after a restart, `None` before the first record is settled.
    pub fn position(&self) -> Option<i64> {
        match self.stragglers.first_key_value() {
            Some((_, first)) => first.before,
            None => self.passed,
        }
    }

    /// Returns the offset after the last record that was started.
    pub fn end(&self) -> Option<i64> {
        self.end
    }

    /// Returns how many records wait at or behind the first unsettled one, settled ones included.
    pub fn span(&self) -> usize {
        let first = self
            .stragglers
            .first_key_value()
            .map_or(self.head, |(ticket, _)| *ticket);
        usize::try_from(self.head - first).unwrap_or(usize::MAX) + self.slots.len()
    }

    /// Returns how many records are unsettled.
    pub fn open(&self) -> usize {
        self.stragglers.len() + self.open_slots
    }

    /// Returns the offset of the oldest unsettled record.
    pub fn oldest(&self) -> Option<i64> {
        self.open_offsets().next()
    }

    /// Lists the offsets of the unsettled records, ascending.
    pub fn open_offsets(&self) -> impl Iterator<Item = i64> {
        let stragglers = self.stragglers.values().map(|straggler| straggler.offset);
        let slots = self.slots.iter().filter(|slot| !slot.done);
        stragglers.chain(slots.map(|slot| slot.offset))
    }

    /// Lists the runs of settled records behind the oldest unsettled one, ascending; what is missing in the log counts
    /// as settled.
    pub fn settled_runs(&self) -> impl Iterator<Item = Range<i64>> {
        let next_open = self.open_offsets().skip(1).chain(self.end);
        self.open_offsets()
            .zip(next_open)
            .map(|(open, next)| open + 1..next)
            .filter(|run| !run.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_gap_in_the_log_counts_as_done() {
        let mut watermark = Watermark::default();
        let first = watermark.start(3);
        let second = watermark.start(90);
        assert!(watermark.complete(first));
        assert_eq!(watermark.position(), Some(4));
        assert!(watermark.complete(second));
        assert_eq!(watermark.position(), Some(91));
        assert_eq!(watermark.span(), 0);
    }

    #[test]
    fn a_ticket_completes_once() {
        let mut watermark = Watermark::default();
        let first = watermark.start(0);
        let _second = watermark.start(1);
        assert!(watermark.complete(first));
        assert!(!watermark.complete(first));
        assert_eq!(watermark.position(), Some(1));
    }

    proptest! {
        /// Against the naive model: the position is one past the last offset before the first unsettled one.
        #[test]
        fn the_position_is_the_contiguous_settled_prefix(
            gaps in proptest::collection::vec(1i64..5, 1..60),
            order in proptest::collection::vec(any::<prop::sample::Index>(), 0..60),
        ) {
            let mut watermark = Watermark::default();
            let mut offset = -1;
            let mut model: Vec<(i64, Ticket, bool)> = Vec::new();
            for gap in &gaps {
                offset += gap;
                model.push((offset, watermark.start(offset), false));
            }
            for index in order {
                let entry = index.index(model.len());
                let is_news = !std::mem::replace(&mut model[entry].2, true);
                prop_assert_eq!(watermark.complete(model[entry].1), is_news);
                let expected = model.iter().take_while(|(_, _, done)| *done).last().map(|(offset, _, _)| offset + 1);
                prop_assert_eq!(watermark.position(), expected);
                let open: Vec<i64> = model.iter().filter(|(_, _, done)| !done).map(|(offset, _, _)| *offset).collect();
                prop_assert_eq!(watermark.open(), open.len());
                for (at, _, done) in model.iter().filter(|(at, _, _)| open.first().is_some_and(|first| at > first)) {
                    prop_assert_eq!(watermark.settled_runs().any(|run| run.contains(at)), *done);
                }
                let settled = model.iter().take_while(|(_, _, done)| *done).count();
                prop_assert_eq!(watermark.span(), model.len() - settled);
                prop_assert_eq!(watermark.oldest(), model.get(settled).map(|(offset, _, _)| *offset));
            }
        }
    }
    #[test]
    fn what_is_settled_behind_a_straggler_takes_no_memory() {
        let mut watermark = Watermark::default();
        let first = watermark.start(10);
        let other = watermark.start(11);
        for offset in 12..1_000_000 {
            let ticket = watermark.start(offset);
            assert!(watermark.complete(ticket));
        }
        assert!(watermark.slots.len() <= SLOTS_KEPT);
        assert_eq!((watermark.open(), watermark.span()), (2, 999_990));
        assert_eq!((watermark.position(), watermark.oldest()), (None, Some(10)));
        assert!(watermark.settled_runs().eq(std::iter::once(12..1_000_000)));
        assert!(watermark.complete(first));
        assert_eq!(watermark.position(), Some(11));
        assert!(!watermark.complete(first));
        assert!(watermark.complete(other));
        assert_eq!(watermark.position(), Some(1_000_000));
        assert!(watermark.open_offsets().next().is_none());
    }

    proptest! {
        /// The same records, once kept as slots and once as stragglers, are the same to the outside.
        #[test]
        fn a_straggler_is_an_unsettled_record_like_others(
            open in proptest::collection::btree_set(0usize..3000, 0..20),
            order in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let mut watermark = Watermark::default();
            let tickets: Vec<Ticket> = (0..3000).map(|offset| watermark.start(offset * 2)).collect();
            for (place, ticket) in tickets.iter().enumerate() {
                if !open.contains(&place) {
                    watermark.complete(*ticket);
                }
            }
            let mut left: Vec<i64> = open.iter().map(|place| i64::try_from(*place).unwrap() * 2).collect();
            for index in order {
                let position = left.first().map_or(Some(5999), |first| (*first > 0).then_some(first - 1));
                prop_assert_eq!(watermark.position(), position);
                prop_assert!(watermark.open_offsets().eq(left.iter().copied()));
                if left.is_empty() {
                    break;
                }
                let offset = left.remove(index.index(left.len()));
                watermark.complete(tickets[usize::try_from(offset / 2).unwrap()]);
            }
        }
    }
}
