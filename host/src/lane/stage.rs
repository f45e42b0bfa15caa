//! The instances of a lane that work beside those of handlers: its middleware's.
//!
//! **Invariant:** they are of the revisions that serve now, and are let go like the handler's own where places are short.

use std::sync::Arc;

use super::{Lane, Stopped};
use crate::catalog::Deployed;
use crate::guest::{Instance, Stage};
use crate::ids::HandlerId;
use crate::outcome::{Failure, FailureKind};
use crate::policy::Isolation;

/// A stage with its live instance.
#[derive(Debug)]
pub(super) struct Working {
    stage: Arc<Stage>,
    instance: Instance,
}

impl Lane {
    /// Returns the handler that speaks for the partition, if there is middleware before it.
    pub(crate) fn behind_middleware(&self) -> Option<Arc<Deployed>> {
        let routes = self.routes.as_ref()?;
        let is_behind = !routes.first().middleware.is_empty();
        is_behind.then(|| Arc::clone(routes.first()))
    }

    /// Returns whether there is middleware before the handlers.
    pub(crate) fn has_middleware(&self) -> bool {
        self.behind_middleware().is_some()
    }

    /// Returns a live instance of a stage, made anew where the last one is spent.
    pub(crate) async fn lease_stage(
        &mut self,
        handler: &HandlerId,
        stage: &Arc<Stage>,
    ) -> Result<Result<&mut Instance, Failure>, Stopped> {
        self.stages.retain(|it| !it.instance.is_spent());
        let is_its = |it: &Working| Arc::ptr_eq(&it.stage, stage);
        if !self.stages.iter().any(is_its) {
            let made = self.start_instance(handler, &stage.component, &stage.setup);
            let instance = match made.await? {
                Ok(instance) => instance,
                Err(failure) => return Ok(Err(failure)),
            };
            let stage = Arc::clone(stage);
            self.stages.push(Working { stage, instance });
        }
        let working = self.stages.iter_mut().find(|it| is_its(it));
        Ok(match working {
            Some(working) => {
                working.instance.count_from(self.hops.in_hand());
                Ok(&mut working.instance)
            }
            None => Err(Failure::new(FailureKind::Other, "no instance")),
        })
    }

    /// Gives up the instances of stages that must not see another record.
    pub(crate) fn recycle_stages(&mut self, handler: &Deployed) {
        if handler.component.places().is_short() || handler.manifest.isolation == Isolation::Record
        {
            return self.stages.clear();
        }
        self.stages
            .retain(|it| !it.instance.is_spent() && !it.instance.is_bloated());
    }

    /// Lets the instances of stages go that serve nobody any more.
    pub(super) fn clear_stages(&mut self) {
        let routes = self.routes.as_ref();
        self.stages
            .retain(|it| routes.is_some_and(|routes| routes.has_stage(&it.stage)));
    }

    /// Returns whether the lane holds a place.
    pub(super) fn has_instances(&self) -> bool {
        self.instance.is_some() || !self.stages.is_empty() || self.has_seated()
    }

    /// Tells the stages that the partition goes, and lets them go.
    pub(super) async fn close_stages(&mut self) {
        let Some(handler) = self.first() else {
            return self.stages.clear();
        };
        for Working { instance, .. } in std::mem::take(&mut self.stages) {
            self.let_go(&handler, instance).await;
        }
    }
}
