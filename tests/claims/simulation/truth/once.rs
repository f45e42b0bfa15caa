//! What somebody sees who reads only what is committed.
//!
//! **Invariant:** outputs count once their transaction is committed, and those of a record only together.

use std::collections::BTreeSet;

use super::{Claim, Held, Truth, hold};

impl Truth {
    /// A transaction is committed with these outputs, each by the number of its flight.
    pub(in super::super) fn became_visible(&mut self, outputs: &[usize]) -> Held {
        for flight in outputs {
            self.written(*flight);
        }
        for flight in outputs.iter().collect::<BTreeSet<_>>() {
            let settled = &self.settled[*flight];
            let missing = settled.missing;
            hold(Claim::ExactlyOnce, missing == 0, || {
                format!(
                    "outputs of {:?} are visible without {missing} others",
                    settled.places
                )
            })?;
            for (partition, index) in settled.places.iter().copied() {
                let seen = &mut self.fates[partition][index].seen;
                *seen += 1;
                hold(Claim::ExactlyOnce, *seen == 1, || {
                    format!(
                        "the outputs of {:?} are visible {seen} times",
                        (partition, index)
                    )
                })?;
            }
        }
        Ok(())
    }

    /// The positions that were committed with these outputs are past their records.
    pub(in super::super) fn is_covered(&self, outputs: &[usize]) -> Held {
        let flights = outputs.iter().map(|flight| &self.settled[*flight]);
        for (partition, index) in flights.flat_map(|settled| settled.places.iter().copied()) {
            let told = self.contained(partition, &self.committed[partition]);
            hold(Claim::ExactlyOnce, told.contains(&index), || {
                format!(
                    "outputs of {:?} are visible without its position",
                    (partition, index)
                )
            })?;
        }
        Ok(())
    }
}
