//! What is counted of components that work beside handlers.
//!
//! **Invariant:** the counters of a stage are those of its name: a new revision goes on counting where the last one was.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Counter, Histogram, HistogramReading};
use crate::ids::HandlerId;

/// What middleware did with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// It went on as it was.
    Passed,
    /// Another one went on in its place.
    Changed,
    /// It ended there.
    Dropped,
    /// The attempt failed.
    Failed,
}

impl Received {
    /// All of them, in the order of the page.
    pub(crate) const ALL: [Self; 4] = [Self::Passed, Self::Changed, Self::Dropped, Self::Failed];

    /// Returns the word for it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Changed => "changed",
            Self::Dropped => "dropped",
            Self::Failed => "failed",
        }
    }
}

/// The counters of a stage.
#[derive(Debug, Default)]
pub(crate) struct StageStats {
    results: [Counter; Received::ALL.len()],
    duration: Histogram,
}

impl StageStats {
    /// Counts a call and how long it took.
    pub(crate) fn note(&self, received: Received, took: Duration) {
        let place = Received::ALL.iter().position(|&other| other == received);
        if let Some(counter) = place.and_then(|place| self.results.get(place)) {
            counter.increment();
        }
        self.duration.observe(took);
    }
}

/// What a stage has counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StageReading {
    pub(crate) handler: HandlerId,
    pub(crate) stage: String,
    pub(crate) results: [u64; Received::ALL.len()],
    pub(crate) duration: HistogramReading,
}

/// The counters of all stages.
#[derive(Debug, Default)]
pub(super) struct Stages(BTreeMap<(HandlerId, String), Arc<StageStats>>);

impl Stages {
    /// Returns the counters of a stage.
    pub(super) fn open(&mut self, handler: &HandlerId, stage: &str) -> Arc<StageStats> {
        let key = (handler.clone(), stage.to_owned());
        Arc::clone(self.0.entry(key).or_default())
    }

    /// Reads all of them.
    pub(super) fn read(&self) -> Vec<StageReading> {
        let readings = self.0.iter().map(|((handler, stage), stats)| StageReading {
            handler: handler.clone(),
            stage: stage.clone(),
            results: std::array::from_fn(|place| stats.results.get(place).map_or(0, Counter::get)),
            duration: stats.duration.read(),
        });
        readings.collect()
    }
}
