//! What commits say, and whether it is so.
//!
//! **Invariant:** whoever reads on from a commit leaves nothing out, and does nothing again that it could have told.

use std::collections::BTreeSet;

use kafka_wasm_host::offset_map::{CommitPoint, OffsetMap};
use kafka_wasm_host::policy::Ordering;

use super::super::broker::Epoch;
use super::{Claim, Held, Truth, hold};

impl Truth {
    /// The records that a commit says are complete: below its position, or in its map.
    pub(super) fn contained(&self, partition: usize, point: &CommitPoint) -> BTreeSet<usize> {
        // A damaged map claims nothing, which the books of the others notice.
        let map = OffsetMap::decode(&point.metadata, point.offset).unwrap_or_default();
        let is_in = |offset: i64| {
            offset < point.offset || map.as_ref().is_some_and(|map| map.contains(offset))
        };
        let offsets = self.offsets[partition].iter().enumerate();
        offsets
            .filter(|(_, offset)| is_in(**offset))
            .map(|(index, _)| index)
            .collect()
    }

    /// A position is what a restart would read from.
    pub(in super::super) fn held(&self, partition: usize, position: i64) -> Held {
        let open = self.offsets[partition].get(self.safe[partition]);
        hold(
            Claim::AtLeastOnce,
            open.is_none_or(|open| position <= *open),
            || {
                format!(
                    "position {position} of partition {partition} passes the open offset {open:?}"
                )
            },
        )
    }

    /// What a commit says is complete must be, and it must say all that the flow knows.
    fn told(&self, epoch: Epoch, point: &CommitPoint) -> Held {
        let assigned = &self.epochs[epoch];
        let partition = assigned.partition;
        self.held(partition, point.offset)?;
        let told = self.contained(partition, point);
        let fates = &self.fates[partition];
        let open = told.iter().find(|index| !fates[**index].is_safe);
        hold(Claim::AtLeastOnce, open.is_none(), || {
            format!("{point:?} of partition {partition} says that the open {open:?} is complete")
        })?;
        let forgotten = assigned.complete.difference(&told).next();
        let is_whole = !self.has_map || forgotten.is_none();
        hold(Claim::Remembered, is_whole, || {
            format!("{point:?} of partition {partition} forgets {forgotten:?}")
        })
    }

    /// What may be committed is stored for the next commit.
    pub(in super::super) fn stored(&mut self, epoch: Epoch, point: &CommitPoint) -> Held {
        self.alive(epoch, "it stores a position")?;
        self.told(epoch, point)
    }

    /// Kafka took a commit.
    pub(in super::super) fn committed(&mut self, epoch: Epoch, point: &CommitPoint) -> Held {
        let partition = self.alive(epoch, "it commits a position")?.partition;
        let before = std::mem::replace(&mut self.committed[partition], point.clone());
        hold(Claim::AtLeastOnce, before.offset <= point.offset, || {
            format!("partition {partition} goes back from {before:?} to {point:?}")
        })?;
        self.held(partition, point.offset)
    }

    /// The world is at rest: every record must have had its ending, up to one that halts its partition.
    pub(in super::super) fn rested(&self, partition: usize, is_halted: bool) -> Held {
        let told = self.contained(partition, &self.committed[partition]);
        let mut open = Vec::new();
        for (index, fate) in self.fates[partition].iter().enumerate() {
            if told.contains(&index) {
                hold(Claim::NoSilence, fate.was_counted, || {
                    format!("{:?} is committed without an ending", (partition, index))
                })?;
            } else {
                open.push(fate);
            }
        }
        // What comes before the record that halts is settled only where all records keep their order.
        let is_one_chain = self.ordering == Ordering::Partition;
        let first = if is_one_chain { 1 } else { open.len() };
        let is_told = is_halted && open.iter().take(first).any(|fate| fate.was_halted);
        hold(Claim::NoSilence, open.is_empty() || is_told, || {
            format!(
                "{} records of partition {partition} are not committed, and nothing halts",
                open.len()
            )
        })
    }
}
