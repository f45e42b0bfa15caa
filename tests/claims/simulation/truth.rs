//! What really happened in a run, and whether it may have.
//!
//! Told the facts as they occur (a guest is entered, an output is written, a position is stored); keeps its own books
//! of them and trusts none of the flow's.
//! **Invariant:** a run that breaks a promise of the product ends with a [`Violation`] at the step that broke it.

mod once;
mod order;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use kafka_wasm_host::offset_map::{CommitPoint, OffsetMap};
use kafka_wasm_host::outcome::{Failure, Settlement, Verdict};
use kafka_wasm_host::policy::{OnExhausted, Ordering, RetryPolicy};

use super::broker::{Epoch, Place};
use super::policy::is_right;
use super::scenario::Scenario;

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
    /// Where nothing crashes nothing is handled twice.
    NoRepeat,
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
    was_counted: bool,
    /// How often its outputs became visible in a transaction.
    seen: usize,
    was_halted: bool,
}

/// One assignment of a partition.
#[derive(Debug, Default)]
struct Assigned {
    partition: usize,
    is_over: bool,
    /// Records that were taken up, and no guest saw yet.
    taken: BTreeSet<usize>,
    /// Records that are in a guest.
    inside: BTreeSet<usize>,
    /// Of each chain, the highest record that a guest saw.
    highest: BTreeMap<usize, usize>,
    open: usize,
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
    place: Place,
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
    /// For each partition and chain, the highest record that a guest ever saw.
    highest: Vec<BTreeMap<usize, usize>>,
    /// For each partition, whether it halted at a refusal, below records that are done and may be handled again.
    has_hole: Vec<bool>,
    has_map: bool,
    is_exactly_once: bool,
    committed: Vec<CommitPoint>,
    epochs: Vec<Assigned>,
    settled: Vec<Settled>,
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

    /// The records that a commit says are complete: below its position, or in its map.
    fn contained(&self, partition: usize, point: &CommitPoint) -> BTreeSet<usize> {
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

    fn alive(&mut self, epoch: Epoch, what: &str) -> Held<&mut Assigned> {
        let assigned = &mut self.epochs[epoch];
        hold(Claim::Fence, !assigned.is_over, || {
            format!("epoch {epoch} is over, but {what}")
        })?;
        Ok(assigned)
    }

    /// The flow decided about a failed attempt.
    pub(super) fn decided(
        &mut self,
        (epoch, place): (Epoch, Place),
        (failure, attempt, verdict): (&Failure, u32, Option<Verdict>),
        settlement: Settlement,
        now_ms: u64,
    ) -> Held {
        let age = Duration::from_millis(now_ms - self.epochs[epoch].first_ms[&place.1]);
        let failed = (failure, attempt, verdict, age);
        let is_right = is_right(&self.retry, self.on_exhausted, failed, settlement);
        hold(Claim::Policy, is_right, || {
            format!(
                "{place:?}, attempt {attempt}, {:?}, verdict {verdict:?}: {settlement:?}",
                failure.kind
            )
        })?;
        if let Settlement::Retry { after } = settlement {
            let earliest_ms = now_ms + after.as_millis() as u64;
            self.epochs[epoch].again.insert(place.1, earliest_ms);
        }
        Ok(())
    }

    /// A record is settled, with so many outputs on their way; returns the flight's number.
    pub(super) fn settled(&mut self, epoch: Epoch, place: Place, outputs: usize) -> Held<usize> {
        self.alive(epoch, "it settles a record")?;
        self.fates[place.0][place.1].settlements += 1;
        let flight = self.settled.len();
        self.settled.push(Settled {
            epoch,
            place,
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
        let (partition, index) = self.settled[flight].place;
        self.fates[partition][index].was_refused = true;
    }

    fn look_at(&mut self, flight: usize) {
        let settled = &self.settled[flight];
        if settled.missing > 0 {
            return;
        }
        let (partition, index) = settled.place;
        self.epochs[settled.epoch].open -= 1;
        let fates = &mut self.fates[partition];
        fates[index].is_safe = true;
        let safe = &mut self.safe[partition];
        *safe += fates[*safe..]
            .iter()
            .take_while(|fate| fate.is_safe)
            .count();
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

    /// A position is what a restart would read from.
    pub(super) fn held(&self, partition: usize, position: i64) -> Held {
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
    pub(super) fn stored(&mut self, epoch: Epoch, point: &CommitPoint) -> Held {
        self.alive(epoch, "it stores a position")?;
        self.told(epoch, point)
    }

    /// Kafka took a commit.
    pub(super) fn committed(&mut self, epoch: Epoch, point: &CommitPoint) -> Held {
        let partition = self.alive(epoch, "it commits a position")?.partition;
        let before = std::mem::replace(&mut self.committed[partition], point.clone());
        hold(Claim::AtLeastOnce, before.offset <= point.offset, || {
            format!("partition {partition} goes back from {before:?} to {point:?}")
        })?;
        self.held(partition, point.offset)
    }

    /// The world is at rest: every record must have had its ending, up to one that halts its partition.
    pub(super) fn rested(&self, partition: usize, is_halted: bool) -> Held {
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
