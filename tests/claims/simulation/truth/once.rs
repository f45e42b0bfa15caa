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
            let (place, missing) = (self.settled[*flight].place, self.settled[*flight].missing);
            hold(Claim::ExactlyOnce, missing == 0, || {
                format!("outputs of {place:?} are visible without {missing} others")
            })?;
            let seen = &mut self.fates[place.0][place.1].seen;
            *seen += 1;
            hold(Claim::ExactlyOnce, *seen == 1, || {
                format!("the outputs of {place:?} are visible {seen} times")
            })?;
        }
        Ok(())
    }

    /// The positions that were committed with these outputs are past their records.
    pub(in super::super) fn is_covered(&self, outputs: &[usize]) -> Held {
        for flight in outputs {
            let (partition, index) = self.settled[*flight].place;
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
