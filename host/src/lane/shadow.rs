//! What a lane shows of its records to a revision that is only a shadow.
//!
//! **Invariant:** what is shown stays as it is, and costs nothing where there is no shadow.

use std::sync::Arc;

use super::Lane;
use crate::catalog::{Deployed, Shadow};
use crate::flight::Started;
use crate::outcome::{Failure, Outcome};
use crate::route::EventCall;
use crate::shadow::{Made, Output};

impl Lane {
    /// Shows a record to the handler's shadow, if there is one, and what the handler made of it.
    pub(crate) fn show(
        &mut self,
        handler: &Deployed,
        started: &Started,
        event: Option<&EventCall>,
        outcome: &Outcome,
    ) {
        let Some(shadow) = self.shadow(handler) else {
            return;
        };
        let made = match outcome {
            Outcome::Handled => Made::Outputs(self.outputs()),
            Outcome::Filtered => Made::Filtered,
            Outcome::Failed(failure) => Made::Failed(failure.kind.as_str()),
        };
        shadow.show(&started.view(&self.place.topic), event, made);
    }

    /// The same of a record that failed for the last time.
    pub(crate) fn show_failed(
        &self,
        handler: &Deployed,
        started: &Started,
        event: Option<&EventCall>,
        failure: &Failure,
    ) {
        if let Some(shadow) = self.shadow(handler) {
            let made = Made::Failed(failure.kind.as_str());
            shadow.show(&started.view(&self.place.topic), event, made);
        }
    }

    fn shadow(&self, handler: &Deployed) -> Option<Arc<Shadow>> {
        let trial = self.routes.as_ref()?.trial(&handler.id)?;
        trial.shadow().map(Arc::clone)
    }

    /// Returns what the last hook emitted, and leaves it there.
    fn outputs(&mut self) -> Vec<Output> {
        let Some((_, instance)) = &mut self.instance else {
            return Vec::new();
        };
        instance.swap_outbox(&mut self.outbox);
        let outputs = self.outbox.iter().map(|emit| Output::of(&emit)).collect();
        instance.swap_outbox(&mut self.outbox);
        outputs
    }
}
