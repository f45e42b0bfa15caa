//! What really happened in a run, and whether it may have.
//!
//! Told the facts as they occur (a guest is entered, an output is written, a position is stored); keeps its own books
//! of them and trusts none of the flow's.
//! **Invariant:** a run that breaks a promise of the product ends with a [`Violation`] at the step that broke it.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use kafka_wasm_host::offset_map::{CommitPoint, OffsetMap};
use kafka_wasm_host::outcome::{Ending, Failure, FailureKind, Settlement, Verdict};
use kafka_wasm_host::policy::{OnExhausted, RetryPolicy};

use super::broker::{Epoch, Place};
use super::policy::is_right;
use super::scenario::Scenario;

/// What the product promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// No position passes a record that is not settled with all its outputs written.
    AtLeastOnce,
    /// One record at a time in a lane, later records after all attempts of earlier ones.
    Order,
    /// What is complete is committed as complete, above the position too, and the next owner does not handle it again.
    Remembered,
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
    was_halted: bool,
}

/// One assignment of a partition.
#[derive(Debug)]
struct Assigned {
    partition: usize,
    is_over: bool,
    /// The record that is in the guest.
    inside: Option<usize>,
    highest: Option<usize>,
    open: usize,
    /// The record that shall be tried again, and the earliest time.
    again: Option<(usize, u64)>,
    /// When the first attempt of the record at hand began.
    first_ms: u64,
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
    fates: Vec<Vec<Fate>>,
    /// For each partition, how many records from the first on are safe.
    safe: Vec<usize>,
    /// For each partition, the highest record that a guest ever saw.
    highest: Vec<Option<usize>>,
    /// For each partition, whether it halted at a refusal, below records that are done and may be handled again.
    has_hole: Vec<bool>,
    has_map: bool,
    committed: Vec<CommitPoint>,
    epochs: Vec<Assigned>,
    settled: Vec<Settled>,
}

impl Truth {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let logs = &scenario.partitions;
        let offsets = logs
            .iter()
            .map(|log| log.iter().map(|entry| entry.offset).collect())
            .collect();
        Self {
            is_graceful: scenario.is_graceful,
            in_flight_max: scenario.in_flight_max,
            retry: scenario.retry.clone(),
            on_exhausted: scenario.on_exhausted,
            offsets,
            fates: logs
                .iter()
                .map(|log| vec![Fate::default(); log.len()])
                .collect(),
            safe: vec![0; logs.len()],
            highest: vec![None; logs.len()],
            has_hole: vec![false; logs.len()],
            has_map: scenario.has_map,
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
            is_over: false,
            inside: None,
            highest: None,
            open: 0,
            again: None,
            first_ms: 0,
            complete,
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

    /// The guest is called with a record.
    pub(super) fn entered(
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
        let fate = self.fates[partition][index].clone();
        let assigned = self.alive(epoch, "its guest is called")?;
        hold(
            Claim::Remembered,
            !assigned.complete.contains(&index),
            || format!("{place:?} is complete, and handled again"),
        )?;
        hold(Claim::Order, assigned.inside.is_none(), || {
            format!("{place:?} enters while {:?} is inside", assigned.inside)
        })?;
        hold(Claim::Policy, attempt <= attempts, || {
            format!("{place:?}: attempt {attempt} of {attempts}")
        })?;
        if attempt == 1 {
            assigned.first_ms = now_ms;
        }
        if let Some((again, from_ms)) = assigned.again.take() {
            hold(Claim::Order, again == index, || {
                format!("{place:?} overtakes {again} that is tried again")
            })?;
            hold(Claim::Policy, now_ms >= from_ms, || {
                format!("{place:?} is tried at {now_ms}, not at {from_ms}")
            })?;
        }
        assigned.inside = Some(index);
        if assigned.highest.is_none_or(|highest| highest < index) {
            assigned.highest = Some(index);
            assigned.open += 1;
            hold(Claim::Bounded, assigned.open <= max, || {
                format!("{} of {max} records are open", assigned.open)
            })?;
        } else {
            let is_late = assigned.highest != Some(index) && !fate.was_halted;
            hold(Claim::Order, !is_late, || {
                format!("{place:?} enters after {:?}", assigned.highest)
            })?;
        }
        let is_mended = self.has_hole[partition] && (!self.has_map || fate.was_refused);
        if self.is_graceful && !is_mended {
            hold(Claim::NoRepeat, fate.settlements == 0, || {
                format!("{place:?} is handled again")
            })?;
            let highest = self.highest[partition];
            hold(
                Claim::Order,
                highest.is_none_or(|highest| highest <= index),
                || format!("{place:?} enters after {highest:?} of an earlier assignment"),
            )?;
        }
        self.highest[partition] = self.highest[partition].max(Some(index));
        Ok(())
    }

    /// The guest returned or was stopped.
    pub(super) fn left(&mut self, epoch: Epoch) {
        self.epochs[epoch].inside = None;
    }

    /// The flow decided about a failed attempt.
    pub(super) fn decided(
        &mut self,
        (epoch, place): (Epoch, Place),
        (failure, attempt, verdict): (&Failure, u32, Option<Verdict>),
        settlement: Settlement,
        now_ms: u64,
    ) -> Held {
        let age = Duration::from_millis(now_ms - self.epochs[epoch].first_ms);
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
            self.epochs[epoch].again = Some((place.1, earliest_ms));
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
    pub(super) fn counted(&mut self, (partition, index): Place, ending: Ending) {
        let fate = &mut self.fates[partition][index];
        if ending == Ending::Halted {
            fate.was_halted = true;
            self.has_hole[partition] |= fate.was_refused;
        } else {
            fate.was_counted = true;
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
        for (index, (offset, fate)) in self.offsets[partition]
            .iter()
            .zip(&self.fates[partition])
            .enumerate()
        {
            let place = (partition, index);
            if *offset >= self.committed[partition].offset {
                hold(Claim::NoSilence, is_halted, || {
                    format!("{place:?} is not committed, and nothing halts")
                })?;
                return hold(Claim::NoSilence, fate.was_halted, || {
                    format!("{place:?} halts without being counted")
                });
            }
            hold(Claim::NoSilence, fate.was_counted, || {
                format!("{place:?} is committed without an ending")
            })?;
        }
        Ok(())
    }
}
