//! What is counted of the steps of pipelines.
//!
//! **Invariant:** the durations of a step are those of its name: a new revision goes on counting where the last one was.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Histogram, HistogramReading};
use crate::ids::HandlerId;

/// What a step has counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StepReading {
    pub(crate) handler: HandlerId,
    pub(crate) pipeline: String,
    pub(crate) step: String,
    pub(crate) duration: HistogramReading,
}

/// The durations of all steps, by handler, pipeline and step.
#[derive(Debug, Default)]
pub(super) struct Steps(BTreeMap<(HandlerId, String, String), Arc<Histogram>>);

impl Steps {
    /// Returns the durations of a step.
    pub(super) fn open(
        &mut self,
        handler: &HandlerId,
        pipeline: &str,
        step: &str,
    ) -> Arc<Histogram> {
        let key = (handler.clone(), pipeline.to_owned(), step.to_owned());
        Arc::clone(self.0.entry(key).or_default())
    }

    /// Reads all of them.
    pub(super) fn read(&self) -> Vec<StepReading> {
        let readings = self
            .0
            .iter()
            .map(|((handler, pipeline, step), duration)| StepReading {
                handler: handler.clone(),
                pipeline: pipeline.clone(),
                step: step.clone(),
                duration: duration.read(),
            });
        readings.collect()
    }
}
