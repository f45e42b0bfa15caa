//! What the parts of a run share: the dice, the broker, the time, and who writes down what happens.
//!
//! Owned by the world and lent to its tasks.
//! **Invariant:** decides nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::broker::{Broker, Marker, Sent};
use super::scenario::Scenario;
use super::truth::Truth;
use harness::dice::Dice;
use kafka_wasm_host::marker::Markers;
use kafka_wasm_host::suspects::Suspects;

/// A mistake that is put into the flow, to see that the simulation notices it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    StoresTheHighest,
    CompletesUnacknowledged,
    ForgetsARefusal,
    GoesOnDuringARetry,
    RetriesAtOnce,
    ForgetsTheAge,
    ServesAfterARevocation,
    IgnoresTheLimit,
    EndsUncounted,
    StopsWithoutDraining,
    SendsWhatFailed,
    ForgetsTheMap,
    ForgetsEarlierMaps,
    MapsWhatIsOpen,
    LetsTwoOfAKeyIn,
    OvertakesARetry,
    WaitsWithOthers,
    CommitsPositionsAlone,
    CommitsWithASenderInside,
    CommitsAfterALoss,
    ForgetsAHalf,
    RepeatsAHalf,
    GivesUpTheWhole,
    PeelsOneByOne,
    ForgetsTheNamed,
    RepeatsTheUnnamed,
    BlamesTheBatch,
    ForgetsSuspects,
    RestoresNothing,
    RestoresTooSoon,
    ForgetsToMark,
    HandlesTheParked,
    AnswersTooSoon,
    LetsTheWaitingGo,
    UnparksTooSoon,
    UnparksAfterAFailure,
    ReplaysOutOfOrder,
    ReplaysTwice,
}

/// How often each kind of event happened.
pub(super) type Seen = BTreeMap<&'static str, u64>;

/// What a host or a command has read of the topic of parked keys.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) markers: Markers,
    /// How much of the topic was read.
    pub(super) next: usize,
    /// Rises with each marker that may be news for a partition.
    pub(super) version: u64,
}

impl Reader {
    /// Reads up to so many markers.
    pub(super) fn read(&mut self, topic: &[Option<Marker>], most: usize) {
        for marker in topic.iter().skip(self.next).take(most) {
            self.next += 1;
            let applied = marker
                .as_ref()
                .map(|(key, value)| self.markers.apply(key, value.as_deref()));
            self.version += u64::from(matches!(applied, Some(Ok(true))));
        }
    }
}

/// No suspects in any partition.
pub(super) fn nobody(scenario: &Scenario) -> Vec<Suspects> {
    let partitions = scenario.partitions.iter();
    partitions.map(|_| Suspects::new(Arc::default())).collect()
}

/// What a task sees of the world.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) dice: Dice,
    pub(super) scenario: Scenario,
    pub(super) broker: Broker,
    pub(super) truth: Truth,
    /// Of each host, the outputs in its open transaction, with the numbers of their flights.
    pub(super) transactions: Vec<Vec<(usize, Sent)>>,
    /// Of each host and partition, the records that had an output refused.
    pub(super) suspects: Vec<Vec<Suspects>>,
    /// The records of flights that Kafka will refuse in their transaction: their partition, offsets, attempts.
    pub(super) doomed: BTreeMap<usize, (usize, Vec<i64>, u32)>,
    /// What each host knows of parked keys.
    pub(super) readers: Vec<Reader>,
    pub(super) now_ms: u64,
    /// Counts replacements of the handler.
    pub(super) revision: u32,
    /// Bad luck has ended.
    pub(super) is_calm: bool,
    pub(super) bug: Option<Bug>,
    pub(super) seen: Seen,
    pub(super) diary: Option<Vec<String>>,
}

impl Scene {
    pub(super) fn new(dice: Dice, scenario: Scenario, bug: Option<Bug>) -> Self {
        Self {
            dice,
            broker: Broker::new(scenario.partitions.clone(), scenario.refused_percent),
            truth: Truth::new(&scenario),
            transactions: vec![Vec::new(); scenario.hosts],
            suspects: (0..scenario.hosts).map(|_| nobody(&scenario)).collect(),
            doomed: BTreeMap::new(),
            readers: (0..scenario.hosts).map(|_| Reader::default()).collect(),
            scenario,
            now_ms: 0,
            revision: 0,
            is_calm: false,
            bug,
            seen: Seen::new(),
            diary: None,
        }
    }

    /// Counts an event.
    pub(super) fn note(&mut self, event: &'static str) {
        *self.seen.entry(event).or_default() += 1;
    }

    /// Writes an event down, where somebody wants to read it.
    pub(super) fn say(&mut self, event: impl FnOnce() -> String) {
        if let Some(diary) = &mut self.diary {
            diary.push(format!("{:>7} ms  {}", self.now_ms, event()));
        }
    }
}
