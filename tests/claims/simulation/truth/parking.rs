//! What became of the keys of which a record was given up.
//!
//! A record is owed from when it goes to the dead letters together with its key until it is handled.
//! **Invariant:** knows nothing of markers, holds and leases; a record and its replays are one.

use std::collections::{BTreeMap, BTreeSet};

use kafka_wasm_host::marker::Slot;

use super::super::broker::{Epoch, Place};
use super::super::replays::key_of;
use super::super::scenario::{Entry, Scenario};
use super::{Claim, End, Fate, Held, Truth, hold};

/// A partition and what keeps its order there.
type Chain = (usize, usize);

/// See the module.
#[derive(Debug)]
pub(super) struct Parking {
    /// The partition of replays, where keys are parked.
    replays: Option<usize>,
    /// Where each record of that partition was first.
    from: Vec<Place>,
    /// How many attempts were made of each before.
    attempts: Vec<u32>,
    owed: BTreeSet<Place>,
    handled: BTreeSet<Place>,
    /// Records with a dead letter, and the last one of each chain.
    lettered: BTreeSet<Place>,
    last_lettered: BTreeMap<Chain, usize>,
    parked: BTreeSet<Chain>,
    /// Partitions that somebody may have written of who had lost them.
    was_lost: Vec<bool>,
    /// Chains of which an output was refused when later records had been handled.
    was_late: BTreeSet<Chain>,
}

impl Parking {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self {
            replays: scenario.replays,
            from: Vec::new(),
            attempts: Vec::new(),
            owed: BTreeSet::new(),
            handled: BTreeSet::new(),
            lettered: BTreeSet::new(),
            last_lettered: BTreeMap::new(),
            parked: BTreeSet::new(),
            was_lost: vec![false; scenario.partitions.len()],
            was_late: BTreeSet::new(),
        }
    }
}

impl Truth {
    /// Where a record was first.
    fn first_place(&self, place: Place) -> Place {
        match self.parking.replays {
            Some(replays) if replays == place.0 => self.parking.from[place.1],
            _ => place,
        }
    }

    fn chain(&self, (partition, index): Place) -> Chain {
        (partition, self.chains[partition][index])
    }

    /// How many attempts were made of a record before it came back.
    pub(super) fn attempts_before(&self, (partition, index): Place) -> u32 {
        match self.parking.replays {
            Some(replays) if replays == partition => self.parking.attempts[index],
            _ => 0,
        }
    }

    /// Whether the order of a record's key cannot be kept any more.
    fn is_rough(&self, place: Place) -> bool {
        let parking = &self.parking;
        let was_lost = |partition: usize| parking.was_lost[partition];
        was_lost(place.0)
            || parking.replays.is_some_and(was_lost)
            || parking.was_late.contains(&self.chain(place))
    }

    /// A partition has another owner, and the one before may still write of it.
    pub(in super::super) fn lost(&mut self, partition: usize) {
        // What is written in a transaction then is never committed.
        self.parking.was_lost[partition] |= !self.is_exactly_once;
    }

    /// An output of a record was refused, which is found out late.
    pub(super) fn told_late(&mut self, place: Place) {
        let chain = self.chain(self.first_place(place));
        self.parking.was_late.insert(chain);
    }

    /// A dead letter is written.
    pub(in super::super) fn lettered(&mut self, place: Place) -> Held {
        let chain = self.chain(place);
        let is_strict = self.is_graceful && !self.is_rough(place);
        let parking = &mut self.parking;
        if parking.replays.is_none() || !parking.lettered.insert(place) {
            return Ok(());
        }
        let last = parking.last_lettered.entry(chain).or_insert(place.1);
        hold(Claim::Parked, !is_strict || *last <= place.1, || {
            format!("the letter of {place:?} comes after that of {last}")
        })?;
        *last = place.1.max(*last);
        Ok(())
    }

    /// A letter is written to the partition of replays.
    pub(in super::super) fn replayed(&mut self, entry: &Entry, number: Option<u64>) {
        let (Some(at), Some(replayed), Some(key)) =
            (self.parking.replays, entry.replayed, entry.key)
        else {
            return;
        };
        self.parking.from.push(replayed.from);
        self.parking.attempts.push(replayed.attempts);
        self.offsets[at].push(entry.offset);
        self.chains[at].push(key as usize);
        self.numbers[at].push(number);
        self.fates[at].push(Fate::default());
    }

    /// A guest is called with a record: all of its key that was given up before it must have been handled.
    pub(super) fn follows(&self, place: Place) -> Held {
        if self.parking.replays.is_none() {
            return Ok(());
        }
        let (partition, index) = self.first_place(place);
        let chain = self.chain((partition, index));
        let owed = self.parking.owed.range((partition, 0)..(partition, index));
        let first = owed.copied().find(|owed| self.chain(*owed) == chain);
        let is_free = first.is_none() || self.is_rough((partition, index));
        hold(Claim::Parked, is_free, || {
            format!("{place:?} is handled behind {first:?}, which was given up")
        })
    }

    /// A record waits while its key is replayed.
    pub(in super::super) fn waits(&mut self, epoch: Epoch, (_, index): Place) {
        let assigned = &mut self.epochs[epoch];
        assigned.taken.remove(&index);
        assigned.again.insert(index, 0);
    }

    /// A record goes to the dead letters, or lies there, and no guest sees it.
    pub(in super::super) fn passes(&mut self, epoch: Epoch, (partition, index): Place) -> Held {
        // Where a letter was refused, its record comes again behind later ones.
        let is_rough = self.is_rough(self.first_place((partition, index)));
        let chains = &self.chains[partition];
        let assigned = &mut self.epochs[epoch];
        assigned.taken.remove(&index);
        assigned.again.remove(&index);
        let before = assigned.taken.keys().chain(&assigned.inside);
        let mut before = before.chain(assigned.again.keys());
        let first = before.find(|other| **other < index && chains[**other] == chains[index]);
        hold(Claim::Order, is_rough || first.is_none(), || {
            format!(
                "{:?} overtakes {first:?} on its way to the dead letters",
                (partition, index)
            )
        })
    }

    /// The flow took leave of a record.
    pub(super) fn ended(&mut self, place: Place, end: End) -> Held {
        if self.parking.replays.is_none() {
            return Ok(());
        }
        let first = self.first_place(place);
        let (chain, is_rough) = (self.chain(first), self.is_rough(first));
        let (is_safe, is_graceful) = (self.fates[place.0][place.1].is_safe, self.is_graceful);
        let parking = &mut self.parking;
        match end {
            End::Done => {
                parking.owed.remove(&first);
                let is_new = parking.handled.insert(first);
                hold(Claim::NoRepeat, is_new || is_rough || !is_graceful, || {
                    format!("{first:?} is handled again, as {place:?}")
                })
            }
            End::Dead => {
                parking.owed.remove(&first);
                Ok(())
            }
            End::Parked => {
                parking.owed.insert(first);
                parking.parked.insert(chain);
                Ok(())
            }
            End::Followed => {
                parking.owed.insert(first);
                hold(
                    Claim::Parked,
                    is_rough || parking.parked.contains(&chain),
                    || format!("{place:?} follows its key, which is not parked"),
                )
            }
            End::Lies => {
                let is_there = is_safe || parking.lettered.contains(&first);
                hold(Claim::AtLeastOnce, is_there, || {
                    format!("{place:?} is left out, but is no dead letter")
                })
            }
        }
    }

    /// A new owner of a partition has read that a key is parked.
    pub(in super::super) fn restored(&mut self, partition: usize, slot: &Slot) {
        self.parking.parked.insert(key_of(partition, slot));
    }

    /// The owner of a partition lets the later records of a key go.
    pub(in super::super) fn unparked(&mut self, partition: usize, slot: &Slot) {
        self.parking.parked.remove(&key_of(partition, slot));
    }

    /// Whether a key may stay parked for ever, because its partition, or that of replays, was lost or has halted.
    pub(in super::super) fn is_stuck(&self, partition: usize, halted: &[usize]) -> bool {
        let replays = self.parking.replays.into_iter();
        let mut both = std::iter::once(partition).chain(replays);
        both.any(|it| self.parking.was_lost[it] || halted.contains(&it))
    }

    /// The world is at rest: what was given up must have been handled, or be a dead letter where it cannot be replayed.
    pub(in super::super) fn made_good(&self, halted: &[usize]) -> Held {
        for place in self.parking.owed.iter().copied() {
            let is_stuck = self.is_stuck(place.0, halted) || self.is_rough(place);
            hold(Claim::NoSilence, is_stuck, || {
                format!("{place:?} was given up, and is never replayed")
            })?;
            let parking = &self.parking;
            let is_kept = parking.lettered.contains(&place) || parking.handled.contains(&place);
            hold(
                Claim::AtLeastOnce,
                is_kept || halted.contains(&place.0),
                || format!("{place:?} was given up, and is no dead letter"),
            )?;
        }
        Ok(())
    }
}
