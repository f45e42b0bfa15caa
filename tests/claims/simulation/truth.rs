//! What really happened in a run, and whether it may have.
//!
//! Told the facts as they occur (a guest is entered, an output is written, a position is stored); keeps its own books
//! of them and trusts none of the flow's.
//! **Invariant:** a run that breaks a promise of the product ends with a [`Violation`] at the step that broke it.

mod batches;
mod commits;
mod once;
mod order;
mod parking;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use kafka_wasm_host::offset_map::CommitPoint;
use kafka_wasm_host::outcome::{Failure, Settlement, Verdict};
use kafka_wasm_host::policy::{OnExhausted, Ordering, RetryPolicy};
use kafka_wasm_host::settle::BatchSettlement;

use super::broker::{Epoch, Place};
use super::policy::is_right;
use super::scenario::Scenario;
use batches::Batches;
use parking::Parking;

/// What the product promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// No position passes a record that is not settled with all its outputs written.
    AtLeastOnce,
    /// Of records that keep their order one at a time, later ones after all attempts of earlier ones.
    Order,
    /// A record waits for those before it that it keeps its order with, and for no others.
    Independence,
    /// What is complete is committed as complete, above the position too, and the next owner does not handle it again.
    Remembered,
    /// Whoever reads what is committed sees the outputs of each record once, all together, with its position.
    ExactlyOnce,
    /// Nothing happens in the name of an assignment that ended.
    Fence,
    /// Open records stay below the limit.
    Bounded,
    /// Every record has an ending, and it is counted.
    NoSilence,
    /// What is settled is not handled again under the same assignment, nor at all where nothing crashes.
    NoRepeat,
    /// Nothing of a key is handled behind a record that was given up, until that is replayed; and no other key follows it.
    Parked,
    /// A record that makes its batch fail costs few calls.
    FewCalls,
    /// A failed attempt sends nothing.
    Outbox,
    /// Attempts, waits and endings are those of the manifest and of the error hook.
    Policy,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Violation {
    pub(super) claim: Claim,
    pub(super) text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.claim, self.text)
    }
}

/// The run goes on, or a promise is broken.
pub(super) type Held<T = ()> = Result<T, Violation>;

/// Checks one thing; `text` says what is wrong where it does not hold.
pub(super) fn hold(claim: Claim, holds: bool, text: impl FnOnce() -> String) -> Held {
    if holds {
        return Ok(());
    }
    Err(Violation {
        claim,
        text: text(),
    })
}

/// What became of a record.
#[derive(Debug, Default, Clone)]
struct Fate {
    /// It was settled, and everything it emitted is in Kafka.
    is_safe: bool,
    /// How often it was settled; more than once where outputs were refused.
    settlements: usize,
    /// Kafka refused an output of it.
    was_refused: bool,
    /// Kafka refused an output of it and of no other.
    was_alone: bool,
    was_counted: bool,
    /// How often its outputs became visible in a transaction.
    seen: usize,
    was_halted: bool,
    /// Its batch went on without it.
    was_named: bool,
}

/// How the flow took leave of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// They were handled, or their failure was accepted.
    Done,
    /// They are dead letters, and nothing more will become of them.
    Dead,
    /// They are dead letters, and their key is parked.
    Parked,
    /// They follow their key to the dead letters.
    Followed,
    /// They lie there already.
    Lies,
}

/// One assignment of a partition.
#[derive(Debug, Default)]
struct Assigned {
    partition: usize,
    is_over: bool,
    /// Records that were taken up, and no guest saw yet; and until when they may wait for others, to make up a batch.
    taken: BTreeMap<usize, u64>,
    /// Records that are in a guest.
    inside: BTreeSet<usize>,
    batches: Batches,
    /// Of each chain, the highest record that a guest saw.
    highest: BTreeMap<usize, usize>,
    /// Records that a guest saw or that are settled, with outputs that are not written.
    open: BTreeSet<usize>,
    settled: BTreeSet<usize>,
    /// Records that shall be tried again, and the earliest time.
    again: BTreeMap<usize, u64>,
    /// When the first attempts began.
    first_ms: BTreeMap<usize, u64>,
    /// Records that the commit before the assignment says are complete, and those completed since.
    complete: BTreeSet<usize>,
}

/// The end of a record's life, as soon as its outputs are written.
#[derive(Debug)]
struct Settled {
    epoch: Epoch,
    places: Vec<Place>,
    missing: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Truth {
    is_graceful: bool,
    in_flight_max: usize,
    retry: RetryPolicy,
    on_exhausted: OnExhausted,
    offsets: Vec<Vec<i64>>,
    /// What each record keeps its order with: those of the same chain.
    chains: Vec<Vec<usize>>,
    /// Records whose keys have the same number may wait for each other.
    numbers: Vec<Vec<Option<u64>>>,
    ordering: Ordering,
    concurrency: usize,
    fates: Vec<Vec<Fate>>,
    /// For each partition, how many records from the first on are safe.
    safe: Vec<usize>,
    /// For each partition and chain, the highest record that was ever settled.
    highest: Vec<BTreeMap<usize, usize>>,
    /// For each partition, whether it halted at a refusal, below records that are done and may be handled again.
    has_hole: Vec<bool>,
    has_map: bool,
    is_exactly_once: bool,
    committed: Vec<CommitPoint>,
    epochs: Vec<Assigned>,
    settled: Vec<Settled>,
    parking: Parking,
}

impl Truth {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let logs = &scenario.partitions;
        let offsets = scenario.each(|_, entry| entry.offset);
        Self {
            is_graceful: scenario.is_graceful,
            in_flight_max: scenario.in_flight_max,
            retry: scenario.retry.clone(),
            on_exhausted: scenario.on_exhausted,
            offsets,
            chains: scenario.each(|index, _| scenario.chain(index.0, index.1)),
            numbers: scenario.each(|_, entry| scenario.number(entry)),
            ordering: scenario.ordering,
            concurrency: scenario.lanes(),
            fates: logs
                .iter()
                .map(|log| vec![Fate::default(); log.len()])
                .collect(),
            safe: vec![0; logs.len()],
            highest: vec![BTreeMap::new(); logs.len()],
            has_hole: vec![false; logs.len()],
            has_map: scenario.has_map,
            is_exactly_once: scenario.is_exactly_once,
            committed: vec![CommitPoint::from(0); logs.len()],
            epochs: Vec::new(),
            settled: Vec::new(),
            parking: Parking::new(scenario),
        }
    }

    /// A partition is assigned.
    pub(super) fn assigned(&mut self, partition: usize) -> Epoch {
        let complete = self.contained(partition, &self.committed[partition]);
        self.epochs.push(Assigned {
            partition,
            complete,
            ..Assigned::default()
        });
        self.epochs.len() - 1
    }

    /// An assignment ended: revoked and acknowledged, known to be lost, or its host crashed.
    pub(super) fn over(&mut self, epoch: Epoch) {
        self.epochs[epoch].is_over = true;
    }

    fn alive(&mut self, epoch: Epoch, what: &str) -> Held<&mut Assigned> {
        let assigned = &mut self.epochs[epoch];
        hold(Claim::Fence, !assigned.is_over, || {
            format!("epoch {epoch} is over, but {what}")
        })?;
        Ok(assigned)
    }

    /// The flow decided about a failed attempt of one record, or of several together.
    pub(super) fn decided(
        &mut self,
        (epoch, places): (Epoch, &[Place]),
        (failure, attempt, verdict): (&Failure, u32, Option<Verdict>),
        settlement: BatchSettlement,
        now_ms: u64,
    ) -> Held {
        let assigned = &mut self.epochs[epoch];
        let first_ms = places
            .iter()
            .find_map(|place| assigned.first_ms.get(&place.1));
        let age = Duration::from_millis(now_ms - first_ms.copied().unwrap_or(now_ms));
        let failed = (failure, attempt, verdict, age);
        let (retry, on_exhausted) = (&self.retry, self.on_exhausted);
        let is_right = is_right(retry, on_exhausted, failed, places.len(), settlement);
        hold(Claim::Policy, is_right, || {
            format!(
                "{places:?}, attempt {attempt}, {:?}, verdict {verdict:?}: {settlement:?}",
                failure.kind
            )
        })?;
        let earliest_ms = match settlement {
            BatchSettlement::All(Settlement::Retry { after }) => {
                assigned.batches.tried_again(places);
                now_ms + after.as_millis() as u64
            }
            BatchSettlement::Halve => now_ms,
            BatchSettlement::All(_) => return Ok(()),
        };
        let again = places.iter().map(|place| (place.1, earliest_ms));
        assigned.again.extend(again);
        Ok(())
    }

    /// Records are settled together, with so many outputs on their way; returns the flight's number.
    pub(super) fn settled(
        &mut self,
        epoch: Epoch,
        places: &[Place],
        outputs: usize,
        end: End,
    ) -> Held<usize> {
        let assigned = self.alive(epoch, "it settles a record")?;
        assigned.settled.extend(places.iter().map(|place| place.1));
        assigned.open.extend(places.iter().map(|place| place.1));
        for place in places {
            self.ended(*place, end)?;
            self.fates[place.0][place.1].settlements += 1;
            let chain = self.chains[place.0][place.1];
            let highest = self.highest[place.0].entry(chain).or_insert(place.1);
            *highest = place.1.max(*highest);
        }
        let flight = self.settled.len();
        self.settled.push(Settled {
            epoch,
            places: places.to_vec(),
            missing: outputs,
        });
        self.look_at(flight);
        Ok(flight)
    }

    /// The broker wrote an output.
    pub(super) fn written(&mut self, flight: usize) {
        self.settled[flight].missing -= 1;
        self.look_at(flight);
    }

    /// The broker refused an output for good: this settlement never becomes whole.
    pub(super) fn refused(&mut self, flight: usize) {
        let places = self.settled[flight].places.clone();
        if let [(partition, index)] = places.as_slice() {
            self.fates[*partition][*index].was_alone = true;
        }
        for place in places {
            self.fates[place.0][place.1].was_refused = true;
            self.told_late(place);
        }
    }

    fn look_at(&mut self, flight: usize) {
        let settled = &self.settled[flight];
        if settled.missing > 0 {
            return;
        }
        for (partition, index) in settled.places.iter().copied() {
            self.epochs[settled.epoch].open.remove(&index);
            let fates = &mut self.fates[partition];
            fates[index].is_safe = true;
            let safe = &mut self.safe[partition];
            *safe += fates[*safe..]
                .iter()
                .take_while(|fate| fate.is_safe)
                .count();
        }
    }

    /// The flow took a record for complete.
    pub(super) fn completed(&mut self, epoch: Epoch, place: Place) {
        self.epochs[epoch].complete.insert(place.1);
    }

    /// The flow took a record for complete because the commit before the assignment says so.
    pub(super) fn skipped(&self, epoch: Epoch, place: Place) -> Held {
        let is_known = self.epochs[epoch].complete.contains(&place.1);
        hold(Claim::AtLeastOnce, is_known, || {
            format!("{place:?} is left out, but was not committed as complete")
        })
    }

    /// The flow gives a record up without another attempt.
    pub(super) fn blamed(&mut self, epoch: Epoch, place: Place) -> Held {
        self.epochs[epoch].taken.remove(&place.1);
        let fate = &self.fates[place.0][place.1];
        hold(Claim::Policy, fate.was_alone, || {
            format!("{place:?} is given up, and nothing that is its own was refused")
        })
    }

    /// The flow counted a record's ending.
    pub(super) fn counted(&mut self, (partition, index): Place) {
        self.fates[partition][index].was_counted = true;
    }

    /// A lane stops at a record.
    pub(super) fn halted(&mut self, epoch: Epoch, (partition, index): Place) {
        let fate = &mut self.fates[partition][index];
        fate.was_halted = true;
        self.has_hole[partition] |= fate.was_refused;
        // Where the halt is told late, later ones were handled already.
        if !fate.was_refused {
            self.epochs[epoch].again.insert(index, 0);
        }
    }
}
