//! A lane: the ordered way of one partition's records through one instance.
//!
//! Owns the instance, knows which handler serves the topic now, and carries out what `deliver` decides.
//! **Invariant:** at most one record or batch is inside; a new revision is taken up only between two of them.

mod decide;
mod finish;

use std::sync::Arc;
use std::time::Duration;

use crate::catalog::{CatalogReader, Deployed, GroupKey};
use crate::flight::Ledger;
use crate::guest::{GuestLog, Instance, StartError};
use crate::ids::Revision;
use crate::outbox::Outbox;
use crate::outcome::{Failure, FailureKind};
use crate::stats::{OpenLane, Registry};
use crate::stop::StopSignal;

/// How long to wait when the producer's queue or the pool of instances is full.
const FULL_WAIT: Duration = Duration::from_millis(5);

/// The handler that serves a lane now, with its counters.
#[derive(Debug)]
struct Route {
    handler: Arc<Deployed>,
    stats: OpenLane,
}

/// What a lane belongs to.
#[derive(Debug, Clone)]
pub(crate) struct LanePlace {
    pub(crate) group: GroupKey,
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
}

/// The stop signal was set off while the lane waited; the record in it stays unsettled.
#[derive(Debug)]
pub(crate) struct Stopped;

/// See the module.
#[derive(Debug)]
pub(crate) struct Lane {
    place: LanePlace,
    catalog: CatalogReader,
    registry: Arc<Registry>,
    route: Option<Route>,
    instance: Option<(Revision, Instance)>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) stop: StopSignal,
    /// Swapped with the instance's, so that its memory is used again.
    outbox: Outbox,
    /// Dead letters of the record at hand.
    letters: Outbox,
}

impl Lane {
    pub(crate) fn new(
        place: LanePlace,
        mut catalog: CatalogReader,
        registry: Arc<Registry>,
        ledger: Arc<Ledger>,
        stop: StopSignal,
    ) -> Self {
        catalog.mark_changed();
        Self {
            place,
            catalog,
            registry,
            route: None,
            instance: None,
            ledger,
            stop,
            outbox: Outbox::new(usize::MAX, usize::MAX),
            letters: Outbox::new(usize::MAX, usize::MAX),
        }
    }

    /// Returns the topic.
    pub(crate) fn topic(&self) -> &Arc<str> {
        &self.place.topic
    }

    /// Returns the partition.
    pub(crate) fn partition(&self) -> i32 {
        self.place.partition
    }

    /// Returns the handler that serves the lane as of now.
    pub(crate) fn route(&mut self) -> Option<Arc<Deployed>> {
        if self.catalog.has_changed().unwrap_or(false) {
            self.reroute();
        }
        self.route.as_ref().map(|route| Arc::clone(&route.handler))
    }

    fn reroute(&mut self) {
        let handler = self
            .catalog
            .borrow_and_update()
            .route(&self.place.group, &self.place.topic);
        self.route = match (handler, self.route.take()) {
            (None, _) => None,
            (Some(handler), Some(route)) if route.handler.id == handler.id => Some(Route {
                handler,
                stats: route.stats,
            }),
            (Some(handler), _) => {
                let stats = self.registry.open(&handler.id, &self.place.topic);
                Some(Route { handler, stats })
            }
        };
    }

    /// Returns what is told when something was deployed or removed since [`Self::route`].
    pub(crate) fn catalog(&self) -> CatalogReader {
        self.catalog.clone()
    }

    /// Returns the counters of the handler that serves the lane.
    pub(crate) fn stats(&self) -> Option<&OpenLane> {
        self.route.as_ref().map(|route| &route.stats)
    }

    /// Returns a live instance of `handler`, made anew where the last one is spent or of another revision.
    pub(crate) async fn lease(
        &mut self,
        handler: &Deployed,
    ) -> Result<Result<&mut Instance, Failure>, Stopped> {
        let usable = self.instance.as_ref().is_some_and(|(revision, instance)| {
            *revision == handler.revision && !instance.is_spent()
        });
        if !usable {
            self.instance = None;
            match self.start_instance(handler).await? {
                Ok(instance) => self.instance = Some((handler.revision.clone(), instance)),
                Err(failure) => return Ok(Err(failure)),
            }
        }
        match &mut self.instance {
            Some((_, instance)) => Ok(Ok(instance)),
            None => Ok(Err(Failure::new(FailureKind::Other, "no instance"))),
        }
    }

    async fn start_instance(
        &mut self,
        handler: &Deployed,
    ) -> Result<Result<Instance, Failure>, Stopped> {
        loop {
            let log = GuestLog::new(
                handler.id.clone(),
                Arc::clone(&self.place.topic),
                self.place.partition,
            );
            match Instance::start(&handler.component, &handler.setup, log).await {
                Ok(mut instance) => {
                    if let Some(stats) = self.stats() {
                        stats.instance_starts.increment();
                    }
                    let hook = instance
                        .assigned(&self.place.topic, self.place.partition)
                        .await;
                    return Ok(hook.map(|()| instance));
                }
                // Not the record's fault: wait for an instance of another lane to end.
                Err(StartError::PoolFull) => self.wait(FULL_WAIT).await?,
                Err(error) => return Ok(Err(Failure::new(FailureKind::Trap, error.to_string()))),
            }
        }
    }

    /// Waits, unless the stop signal is set off.
    pub(crate) async fn wait(&mut self, duration: Duration) -> Result<(), Stopped> {
        tokio::select! {
            biased;
            () = self.stop.set() => Err(Stopped),
            () = tokio::time::sleep(duration) => Ok(()),
        }
    }
    /// Tells the guest that its partition goes, and lets the instance go.
    pub(crate) async fn close(&mut self) {
        let handler = self.route.as_ref().map(|route| Arc::clone(&route.handler));
        if let Some((_, mut instance)) = self.instance.take()
            && !instance.is_spent()
            && let Some(handler) = handler
        {
            let told = instance
                .revoked(&self.place.topic, self.place.partition)
                .await;
            log_hook_failure(&handler, "on-revoked", told);
        }
    }
}

fn log_hook_failure<T>(
    handler: &Deployed,
    hook: &'static str,
    result: Result<T, Failure>,
) -> Option<T> {
    result
        .inspect_err(|failure| {
            tracing::error!(
                tenant = %handler.id.tenant,
                handler = %handler.id.name,
                hook,
                kind = failure.kind.as_str(),
                error = failure.message,
                "a hook failed; the policy of the manifest decides"
            );
        })
        .ok()
}
