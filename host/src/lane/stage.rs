//! The instances of a lane that work beside those of handlers: its middleware's.
//!
//! **Invariant:** they are of the revisions that serve now, and are let go like the handler's own where places are short.

use std::sync::Arc;

use super::beside::Beside;
use super::{Lane, Stopped};
use crate::catalog::Deployed;
use crate::guest::{Instance, Stage};
use crate::ids::HandlerId;
use crate::outcome::Failure;
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

    /// Returns a live instance of a stage, made anew where the last one is spent, and what the lane has beside it.
    pub(crate) async fn lease_stage<'a>(
        &'a mut self,
        handler: &HandlerId,
        stage: &'a Arc<Stage>,
    ) -> Result<Result<(&'a mut Instance, Beside<'a>), Failure>, Stopped> {
        self.put_down_stage();
        self.stages.retain(|it| !it.instance.is_spent());
        let is_its = |it: &Working| Arc::ptr_eq(&it.stage, stage);
        let working = if let Some(at) = self.stages.iter().position(is_its) {
            self.stages.swap_remove(at)
        } else {
            let made = self.start_instance(handler, &stage.component, &stage.setup);
            let instance = match made.await? {
                Ok(instance) => instance,
                Err(failure) => return Ok(Err(failure)),
            };
            let stage = Arc::clone(stage);
            Working { stage, instance }
        };
        let instance = &mut self.at_work.insert(working).instance;
        instance.count_from(self.hops.in_hand());
        let beside = Beside {
            places: stage.component.places(),
            own: Some((&mut self.instance, self.route.as_ref())),
            stages: &mut self.stages,
            seats: &mut self.aside,
        };
        Ok(Ok((instance, beside)))
    }

    /// Puts the stage that was at work last to the others.
    pub(super) fn put_down_stage(&mut self) {
        self.stages.extend(self.at_work.take());
    }

    /// Lets the instances of stages go.
    pub(super) fn rest_stages(&mut self) {
        self.at_work = None;
        self.stages.clear();
    }

    /// Gives up the instances of stages that must not see another record.
    pub(crate) fn recycle_stages(&mut self, handler: &Deployed) {
        if handler.component.places().is_short() || handler.manifest.isolation == Isolation::Record
        {
            return self.rest_stages();
        }
        self.put_down_stage();
        self.stages
            .retain(|it| !it.instance.is_spent() && !it.instance.is_bloated());
    }

    /// Lets the instances of stages go that serve nobody any more.
    pub(super) fn clear_stages(&mut self) {
        self.put_down_stage();
        let routes = self.routes.as_ref();
        self.stages
            .retain(|it| routes.is_some_and(|routes| routes.has_stage(&it.stage)));
    }

    /// Returns whether the lane holds a place.
    pub(super) fn has_instances(&self) -> bool {
        let has_stage = self.at_work.is_some() || !self.stages.is_empty();
        self.instance.is_some() || has_stage || self.has_seated()
    }

    /// Tells the stages that the partition goes, and lets them go.
    pub(super) async fn close_stages(&mut self) {
        let Some(handler) = self.first() else {
            return self.rest_stages();
        };
        self.put_down_stage();
        for Working { instance, .. } in std::mem::take(&mut self.stages) {
            self.let_go(&handler, instance).await;
        }
    }
}
