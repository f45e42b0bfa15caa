//! Which position of a partition may be committed, when records settle out of order.
//!
//! Handed the offsets as they are fetched and the tickets as they settle; answers with the position: the next
//! offset to read after a restart. Only offsets that were fetched count, so a gap in the log (compaction,
//! transaction markers) is done by itself.
//! **Invariant:** the position never passes an offset that was started and is not complete, and never goes back.

use std::collections::VecDeque;

/// Names one started record; only its own watermark understands it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

#[derive(Debug)]
struct Slot {
    offset: i64,
    done: bool,
}

/// The contiguous run of settled records at the head of one partition's assignment.
#[derive(Debug, Default)]
pub struct Watermark {
    /// Ticket of the first slot.
    head: u64,
    slots: VecDeque<Slot>,
    position: Option<i64>,
}

impl Watermark {
    /// Notes that the record at `offset` was taken and is not settled yet. Offsets must rise.
    pub fn start(&mut self, offset: i64) -> Ticket {
        debug_assert!(
            self.slots.back().is_none_or(|last| last.offset < offset),
            "offsets must rise within an assignment"
        );
        self.slots.push_back(Slot {
            offset,
            done: false,
        });
        Ticket(self.head + self.slots.len() as u64 - 1)
    }

    /// Notes that a record is settled and acknowledged; returns whether the position moved.
    ///
    /// A ticket that was completed before changes nothing.
    pub fn complete(&mut self, ticket: Ticket) -> bool {
        let Some(place) = ticket.0.checked_sub(self.head) else {
            return false;
        };
        let slot = usize::try_from(place)
            .ok()
            .and_then(|place| self.slots.get_mut(place));
        let Some(slot) = slot else {
            return false;
        };
        slot.done = true;
        let before = self.head;
        while let Some(slot) = self.slots.front().filter(|slot| slot.done) {
            self.position = Some(slot.offset + 1);
            self.slots.pop_front();
            self.head += 1;
        }
        self.head != before
    }

    /// Returns the next offset to read after a restart, `None` before the first record is settled.
    pub fn position(&self) -> Option<i64> {
        self.position
    }

    /// Returns how many records wait at or behind the first unsettled one, settled ones included.
    pub fn span(&self) -> usize {
        self.slots.len()
    }

    /// Returns the offset of the oldest unsettled record.
    pub fn oldest(&self) -> Option<i64> {
        self.slots.front().map(|slot| slot.offset)
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
                model[entry].2 = true;
                let before = watermark.position();
                let moved = watermark.complete(model[entry].1);
                let expected = model.iter().take_while(|(_, _, done)| *done).last().map(|(offset, _, _)| offset + 1);
                prop_assert_eq!(watermark.position(), expected);
                prop_assert_eq!(moved, before != expected);
                let settled = model.iter().take_while(|(_, _, done)| *done).count();
                prop_assert_eq!(watermark.span(), model.len() - settled);
                prop_assert_eq!(watermark.oldest(), model.get(settled).map(|(offset, _, _)| *offset));
            }
        }
    }
}
