//! What the parts of a run share: the dice, the broker, the time, and who writes down what happens.
//!
//! Owned by the world and lent to its tasks.
//! **Invariant:** decides nothing.

use std::collections::BTreeMap;

use super::broker::Broker;
use super::scenario::Scenario;
use super::truth::Truth;
use harness::dice::Dice;

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
}

/// How often each kind of event happened.
pub(super) type Seen = BTreeMap<&'static str, u64>;

/// What a task sees of the world.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) dice: Dice,
    pub(super) scenario: Scenario,
    pub(super) broker: Broker,
    pub(super) truth: Truth,
    /// Of each host, the outputs in its open transaction, by the numbers of their flights.
    pub(super) transactions: Vec<Vec<usize>>,
    pub(super) now_ms: u64,
    /// Counts replacements of the handler.
    pub(super) revision: u32,
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
            scenario,
            now_ms: 0,
            revision: 0,
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
