//! Which record a guest may see now.
//!
//! **Invariant:** a record waits for those of its chain that come before it; nobody else keeps a lane from it.

use kafka_wasm_host::outcome::{Failure, FailureKind};

use super::super::broker::{Epoch, Place};
use super::{Claim, Fate, Held, Truth, hold};

impl Truth {
    /// The guest is called with a record, or with several together.
    pub(in super::super) fn entered(
        &mut self,
        epoch: Epoch,
        places: &[Place],
        attempt: u32,
        now_ms: u64,
    ) -> Held {
        let lanes = self.concurrency;
        let assigned = self.alive(epoch, "its guest is called")?;
        hold(Claim::Bounded, assigned.batches.inside < lanes, || {
            format!("{places:?} enter beside {:?}", assigned.inside)
        })?;
        hold(Claim::Order, places.is_sorted(), || {
            format!("{places:?} are not in their order")
        })?;
        assigned.batches.called(places, attempt)?;
        for place in places {
            self.follows(*place)?;
            self.enters(epoch, *place, places, (attempt, now_ms))?;
        }
        Ok(())
    }

    fn enters(
        &mut self,
        epoch: Epoch,
        place: Place,
        together: &[Place],
        (attempt, now_ms): (u32, u64),
    ) -> Held {
        let (partition, index) = place;
        self.may_be_tried(epoch, place, attempt)?;
        let (fate, chain) = (
            self.fates[partition][index].clone(),
            self.chains[partition][index],
        );
        let chains = &self.chains[partition];
        // What is part of a transaction is no longer open before it is visible.
        let max = if self.is_exactly_once {
            usize::MAX
        } else {
            self.in_flight_max
        };
        let assigned = &mut self.epochs[epoch];
        let is_done = assigned.settled.contains(&index) && !fate.was_refused;
        hold(Claim::NoRepeat, !is_done, || {
            format!("{place:?} is settled, and handled again")
        })?;
        hold(
            Claim::Remembered,
            !assigned.complete.contains(&index),
            || format!("{place:?} is complete, and handled again"),
        )?;
        let is_before = |other: &&usize| {
            **other < index && chains[**other] == chain && !together.contains(&(partition, **other))
        };
        let mut before = assigned.inside.iter().chain(assigned.again.keys());
        let before = before.find(is_before);
        hold(Claim::Order, before.is_none(), || {
            format!("{place:?} overtakes {before:?} that is not done")
        })?;
        let from_ms = assigned.again.remove(&index);
        hold(Claim::Policy, from_ms <= Some(now_ms), || {
            format!("{place:?} is tried at {now_ms}, not at {from_ms:?}")
        })?;
        if attempt == 1 {
            assigned.first_ms.insert(index, now_ms);
        }
        assigned.taken.remove(&index);
        assigned.inside.insert(index);
        let highest = assigned.highest.get(&chain).copied();
        if highest.is_none_or(|highest| highest < index) {
            assigned.highest.insert(chain, index);
            assigned.open.insert(index);
            let open = assigned.open.len();
            hold(Claim::Bounded, open <= max, || {
                format!("{open} of {max} records are open")
            })?;
        } else {
            let is_known = from_ms.is_some() || fate.was_halted || highest == Some(index);
            hold(Claim::Order, is_known, || {
                format!("{place:?} enters after {highest:?}")
            })?;
        }
        self.entered_again(place, &fate)
    }

    fn may_be_tried(&self, epoch: Epoch, place: Place, attempt: u32) -> Held {
        let kinds = FailureKind::ALL.iter();
        let most = kinds.map(|kind| self.retry.on(*kind).max_attempts).max();
        // A replay is one attempt more, and so is each half of a batch.
        let attempts = most.unwrap_or(0).max(self.attempts_before(place) + 1)
            + self.epochs[epoch].batches.halvings(place);
        hold(Claim::Policy, attempt <= attempts, || {
            format!("{place:?}: attempt {attempt} of {attempts}")
        })
    }

    /// What was handled in earlier assignments is not handled again, and not overtaken.
    fn entered_again(&self, place: Place, fate: &Fate) -> Held {
        let (partition, index) = place;
        let highest = self.highest[partition].get(&self.chains[partition][index]);
        let is_mended = self.has_hole[partition] && (!self.has_map || fate.was_refused);
        if self.is_graceful && !is_mended {
            hold(Claim::NoRepeat, fate.settlements == 0, || {
                format!("{place:?} is handled again")
            })?;
            // Those that its batch went on without are behind it.
            hold(
                Claim::Order,
                fate.was_named || highest <= Some(&index),
                || format!("{place:?} enters after {highest:?} of an earlier assignment"),
            )?;
        }
        Ok(())
    }

    /// What becomes of these says nothing of the others of their batch.
    pub(in super::super) fn named(&mut self, failed: &[(Place, Failure)]) {
        for ((partition, index), _) in failed {
            self.fates[*partition][*index].was_named = true;
        }
    }

    /// A record was taken up, to be handled when it may; until then it may wait for others to make up a batch.
    pub(in super::super) fn taken(&mut self, epoch: Epoch, place: Place, until_ms: u64) {
        self.epochs[epoch].taken.insert(place.1, until_ms);
    }

    /// A record is part of a batch that a lane took: it has its turn, perhaps after others of the batch.
    pub(in super::super) fn gathered(&mut self, epoch: Epoch, place: Place) {
        self.epochs[epoch].taken.remove(&place.1);
    }

    /// A lane found nothing to do.
    pub(in super::super) fn idled(&self, epoch: Epoch, now_ms: u64) -> Held {
        let assigned = &self.epochs[epoch];
        let numbers = &self.numbers[assigned.partition];
        let is_like =
            |one: usize, other: usize| numbers[one].is_some() && numbers[one] == numbers[other];
        for (index, until_ms) in &assigned.taken {
            let index = *index;
            if *until_ms > now_ms {
                continue;
            }
            let before = assigned.taken.range(..index).map(|(before, _)| before);
            let mut before = before.chain(&assigned.inside).chain(assigned.again.keys());
            hold(
                Claim::Independence,
                before.any(|other| is_like(index, *other)),
                || {
                    format!(
                        "{index} of epoch {epoch} waits for nobody, and a lane has nothing to do"
                    )
                },
            )?;
        }
        Ok(())
    }

    /// The guest returned or was stopped; perhaps records made it fail.
    pub(in super::super) fn left(&mut self, epoch: Epoch, places: &[Place], culprits: &[Place]) {
        let assigned = &mut self.epochs[epoch];
        assigned.batches.returned(culprits);
        for (_, index) in places {
            assigned.inside.remove(index);
        }
    }
}
