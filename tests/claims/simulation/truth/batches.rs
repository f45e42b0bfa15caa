//! How many calls it costs to settle the records of a batch.
//!
//! **Invariant:** with `n` records of which `k` made a call fail, there are 1 + 2 k log2 n calls at most, beside those that
//! the policy has tried again.

use std::collections::{BTreeMap, BTreeSet};

use super::super::broker::Place;
use super::{Claim, Held, hold};

/// Records that were handed over together at first.
#[derive(Debug, Default)]
struct Batch {
    records: usize,
    calls: usize,
    /// Calls that were tried again as they were.
    again: usize,
    culprits: BTreeSet<usize>,
}

impl Batch {
    /// How often it can be halved.
    fn halvings(&self) -> u32 {
        self.records.next_power_of_two().ilog2()
    }
}

/// The batches of one assignment.
#[derive(Debug, Default)]
pub(super) struct Batches {
    all: Vec<Batch>,
    /// The batch of each record.
    of: BTreeMap<usize, usize>,
    /// Calls that have not returned.
    pub(super) inside: usize,
}

impl Batches {
    /// The guest is called with these records.
    pub(super) fn called(&mut self, places: &[Place], attempt: u32) -> Held {
        self.inside += 1;
        let known = places.first().and_then(|place| self.of.get(&place.1));
        let at = match known {
            Some(at) if attempt > 1 => *at,
            _ => {
                self.all.push(Batch {
                    records: places.len(),
                    ..Batch::default()
                });
                let at = self.all.len() - 1;
                self.of.extend(places.iter().map(|place| (place.1, at)));
                at
            }
        };
        let batch = &mut self.all[at];
        batch.calls += 1;
        let most = 1 + batch.again + 2 * batch.culprits.len() * batch.halvings() as usize;
        hold(Claim::FewCalls, batch.calls <= most, || {
            format!(
                "{places:?} come in call {} of {most}: {batch:?}",
                batch.calls
            )
        })
    }

    /// How often the batch of a record can be halved.
    pub(super) fn halvings(&self, (_, index): Place) -> u32 {
        self.of.get(&index).map_or(0, |at| self.all[*at].halvings())
    }

    /// The guest returned; perhaps records made it fail.
    pub(super) fn returned(&mut self, culprits: &[Place]) {
        self.inside -= 1;
        for (_, index) in culprits {
            if let Some(at) = self.of.get(index) {
                self.all[*at].culprits.insert(*index);
            }
        }
    }

    /// The call is tried again as it was.
    pub(super) fn tried_again(&mut self, places: &[Place]) {
        let at = places.first().and_then(|place| self.of.get(&place.1));
        if let Some(at) = at {
            self.all[*at].again += 1;
        }
    }
}
