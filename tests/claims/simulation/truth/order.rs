//! Which record a guest may see now.
//!
//! **Invariant:** a record waits for those of its chain that come before it; nobody else keeps a lane from it.

use kafka_wasm_host::outcome::FailureKind;

use super::super::broker::{Epoch, Place};
use super::{Claim, Fate, Held, Truth, hold};

impl Truth {
    /// The guest is called with a record.
    pub(in super::super) fn entered(
        &mut self,
        epoch: Epoch,
        place: Place,
        attempt: u32,
        now_ms: u64,
    ) -> Held {
        let (partition, index) = place;
        let kinds = FailureKind::ALL.iter();
        let most = kinds.map(|kind| self.retry.on(*kind).max_attempts).max();
        let (max, attempts) = (self.in_flight_max, most.unwrap_or(0));
        let (fate, lanes) = (self.fates[partition][index].clone(), self.concurrency);
        let chains = self.chains[partition].clone();
        let (chain, is_other) = (chains[index], |other: &&usize| {
            **other != index && chains[**other] == chains[index]
        });
        // What is part of a transaction is no longer open before it is visible.
        let max = if self.is_exactly_once {
            usize::MAX
        } else {
            max
        };
        let assigned = self.alive(epoch, "its guest is called")?;
        hold(
            Claim::Remembered,
            !assigned.complete.contains(&index),
            || format!("{place:?} is complete, and handled again"),
        )?;
        hold(Claim::Policy, attempt <= attempts, || {
            format!("{place:?}: attempt {attempt} of {attempts}")
        })?;
        let mut before = assigned.inside.iter().chain(assigned.again.keys());
        let before = before.find(is_other);
        hold(Claim::Order, before.is_none(), || {
            format!("{place:?} overtakes {before:?} that is not done")
        })?;
        hold(Claim::Bounded, assigned.inside.len() < lanes, || {
            format!("{place:?} enters beside {:?}", assigned.inside)
        })?;
        if let Some(from_ms) = assigned.again.remove(&index) {
            hold(Claim::Policy, now_ms >= from_ms, || {
                format!("{place:?} is tried at {now_ms}, not at {from_ms}")
            })?;
        }
        if attempt == 1 {
            assigned.first_ms.insert(index, now_ms);
        }
        assigned.taken.remove(&index);
        assigned.inside.insert(index);
        let highest = assigned.highest.get(&chain).copied();
        if highest.is_none_or(|highest| highest < index) {
            assigned.highest.insert(chain, index);
            assigned.open += 1;
            hold(Claim::Bounded, assigned.open <= max, || {
                format!("{} of {max} records are open", assigned.open)
            })?;
        } else {
            let is_late = highest != Some(index) && !fate.was_halted;
            hold(Claim::Order, !is_late, || {
                format!("{place:?} enters after {highest:?}")
            })?;
        }
        self.entered_again(place, &fate)
    }

    /// What was handled in earlier assignments is not handled again, and not overtaken.
    fn entered_again(&mut self, place: Place, fate: &Fate) -> Held {
        let (partition, index) = place;
        let highest = self.highest[partition]
            .entry(self.chains[partition][index])
            .or_insert(index);
        let is_mended = self.has_hole[partition] && (!self.has_map || fate.was_refused);
        if self.is_graceful && !is_mended {
            hold(Claim::NoRepeat, fate.settlements == 0, || {
                format!("{place:?} is handled again")
            })?;
            hold(Claim::Order, *highest <= index, || {
                format!("{place:?} enters after {highest:?} of an earlier assignment")
            })?;
        }
        *highest = (*highest).max(index);
        Ok(())
    }

    /// A record was taken up, to be handled when it may.
    pub(in super::super) fn taken(&mut self, epoch: Epoch, place: Place) {
        self.epochs[epoch].taken.insert(place.1);
    }

    /// A lane found nothing to do.
    pub(in super::super) fn idled(&self, epoch: Epoch) -> Held {
        let assigned = &self.epochs[epoch];
        let numbers = &self.numbers[assigned.partition];
        let is_like =
            |one: usize, other: usize| numbers[one].is_some() && numbers[one] == numbers[other];
        for index in assigned.taken.iter().copied() {
            let before = assigned.taken.range(..index);
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

    /// The guest returned or was stopped.
    pub(in super::super) fn left(&mut self, epoch: Epoch, place: Place) {
        self.epochs[epoch].inside.remove(&place.1);
    }
}
