//! What is deployed: an immutable snapshot that lanes read and only the deployer replaces.
//!
//! **Invariant:** within one (tenant, group) the handlers of a topic can be told apart by their routes; the deployer sees
//! to it before it publishes.

mod proving;
mod readers;
mod shadow;
mod trial;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

pub(crate) use self::proving::{Proving, Spot};
pub(crate) use self::readers::{Fed, Readers, WRITES};
pub(crate) use self::shadow::Shadow;
pub(crate) use self::trial::{Manner, OnTrial};
use crate::breaker::Breaker;
use crate::canary::Trial;
use crate::changes::Face;
use crate::guest::{Handler as Component, Setup, Stage};
use crate::ids::{GroupId, HandlerId, Revision, TenantId};
use crate::manifest::Manifest;
use crate::marker::parked_topic;
use crate::pipeline::Step;
use crate::policy::{LagBounds, OnExhausted};
use crate::quotas::Quotas;
use crate::route::{OwnRule, is_choosy, may_take};
use crate::sink::Sink;
use crate::stats::Histogram;

/// How the records of a partition are handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handing {
    /// One by one.
    Singles,
    /// In batches.
    Batches,
    /// In batches while the partition lags behind.
    ByLag(LagBounds),
}

/// One revision of a handler, ready to be called.
#[derive(Debug)]
pub(crate) struct Deployed {
    pub(crate) id: HandlerId,
    pub(crate) revision: Revision,
    /// What its own files are recognized by.
    pub(crate) own_files: String,
    /// What the next revision is compared with.
    pub(crate) face: Face,
    pub(crate) manifest: Manifest,
    pub(crate) component: Component,
    /// The rules by which records are its own.
    pub(crate) rules: Vec<OwnRule>,
    pub(crate) setup: Setup,
    /// What it has of the host, and what its tenant may have.
    pub(crate) share: Share,
    /// What sees its records first.
    pub(crate) middleware: Chain,
    /// Its pipelines.
    pub(crate) courses: Vec<Course>,
    pub(crate) sink: Arc<Sink>,
    /// One for each instance that may run at once; none where partitions are the only bound.
    pub(crate) permits: Option<Arc<Semaphore>>,
    /// What makes the handler pause; a new revision begins with a closed one.
    pub(crate) breaker: Option<Mutex<Breaker<Instant>>>,
    /// Whether it has proven itself; none where it need not.
    pub(crate) proving: Option<Proving>,
    /// How it is tried beside the revision that serves; none where it serves at once.
    pub(crate) trial: Option<Trial>,
    /// Whom the revision was seen to feed.
    pub(crate) fed: Fed,
}

/// What a handler has of the host, and what its tenant may have, as it was when the revision was loaded.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Share {
    pub(crate) quotas: Quotas,
    /// Bytes of the largest of its components.
    pub(crate) component_bytes: usize,
}

/// Middleware, in the order in which it sees a record.
#[derive(Debug)]
pub(crate) struct Chain {
    /// What its files and settings are recognized by.
    pub(crate) id: Revision,
    pub(crate) stages: Vec<Arc<Stage>>,
}

impl Chain {
    /// Returns whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// Returns whether a stage is part of it.
    pub(crate) fn has(&self, stage: &Arc<Stage>) -> bool {
        self.stages.iter().any(|it| Arc::ptr_eq(it, stage))
    }
}

/// A pipeline, ready to be run.
#[derive(Debug)]
pub(crate) struct Course {
    pub(crate) name: Arc<str>,
    pub(crate) stations: Vec<Station>,
    /// One for each record that may be in it at once; none where that is not bounded.
    pub(crate) permits: Option<Arc<Semaphore>>,
}

/// A step of a pipeline, ready to be done.
#[derive(Debug)]
pub(crate) struct Station {
    pub(crate) step: Step,
    /// The component of a step that has one.
    pub(crate) stage: Option<Arc<Stage>>,
    /// How long it took.
    pub(crate) duration: Arc<Histogram>,
}

impl Deployed {
    /// Returns the pipeline of this name.
    pub(crate) fn course(&self, name: &str) -> Option<&Course> {
        self.courses.iter().find(|course| *course.name == *name)
    }

    /// Returns whether a stage works for the handler.
    pub(crate) fn has_stage(&self, stage: &Arc<Stage>) -> bool {
        let stations = self.courses.iter().flat_map(|course| &course.stations);
        let mut own = stations.filter_map(|station| station.stage.as_ref());
        self.middleware.has(stage) || own.any(|it| Arc::ptr_eq(it, stage))
    }

    /// Returns whether single records can be handed over.
    pub(crate) fn takes_singles(&self) -> bool {
        self.component.takes().singles || !self.courses.is_empty()
    }

    /// Returns how records are handed to the handler.
    ///
    /// A component with both hooks gets batches when its manifest has a `[bulk]` table, where that gives bounds only
    /// while a partition lags behind.
    pub(crate) fn handing(&self) -> Handing {
        let takes = self.component.takes();
        match self.manifest.bulk {
            _ if !takes.batches || self.is_choosy() => Handing::Singles,
            None if takes.singles => Handing::Singles,
            bulk => bulk
                .and_then(|bulk| bulk.by_lag)
                .map_or(Handing::Batches, Handing::ByLag),
        }
    }

    /// Returns whether the handler takes only some of the records that it reads, or is called by their event.
    pub(crate) fn is_choosy(&self) -> bool {
        is_choosy(&self.rules)
    }

    /// Returns whether the handler pauses because too many of its records fail.
    pub(crate) fn is_paused(&self) -> bool {
        self.breaker
            .as_ref()
            .is_some_and(|breaker| breaker.lock().is_open())
    }

    /// Returns whether the handler reads `topic` for the records that others write to it.
    pub(crate) fn reads(&self, topic: &str) -> bool {
        reads(&self.manifest, topic)
    }

    /// Returns whether a failure parks its key.
    pub(crate) fn parks(&self) -> bool {
        self.manifest.on_exhausted == OnExhausted::Park
    }
}

/// Returns whether a handler reads `topic` for the records that others write to it. Its own dead letters never come back to
/// it so, and what comes back to it otherwise is not one of these.
fn reads(manifest: &Manifest, topic: &str) -> bool {
    let parked = || parked_topic(&manifest.group).is_ok_and(|it| it.as_str() == topic);
    manifest.subscription.matches(topic)
        && manifest.dead_letter_topic.as_str() != topic
        && !manifest.return_topics.contains(topic)
        && !(manifest.on_exhausted == OnExhausted::Park && parked())
}

/// Returns whether a record of `topic` may come to a handler: one that it reads, and that a rule of its own takes, whatever
/// its event and headers.
pub(crate) fn is_fed_by(manifest: &Manifest, rules: &[OwnRule], topic: &str) -> bool {
    reads(manifest, topic) && may_take(rules.iter().map(|(rule, _)| rule), topic)
}

/// Returns what is warned of where the records of handlers come back to them.
pub(crate) fn circle(what: &str) -> String {
    format!(
        "{what} that feeds the handler again; a record that goes round is cut at max-hops of the handlers on its way"
    )
}

/// A consumer group of a tenant.
pub(crate) type GroupKey = (TenantId, GroupId);

/// All handlers that serve.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    groups: BTreeMap<GroupKey, Vec<Arc<Deployed>>>,
    tenants: BTreeMap<TenantId, Readers>,
    /// Those that are to take nothing.
    paused: BTreeSet<HandlerId>,
    /// Revisions that are tried beside those that serve.
    trials: BTreeMap<HandlerId, Arc<OnTrial>>,
}

impl Catalog {
    /// Makes a snapshot of these handlers, and what is tried beside them; the `paused` ones are to take nothing.
    pub(crate) fn new(
        handlers: impl IntoIterator<Item = Arc<Deployed>>,
        trials: impl IntoIterator<Item = Arc<OnTrial>>,
        paused: BTreeSet<HandlerId>,
    ) -> Self {
        let mut groups: BTreeMap<GroupKey, Vec<Arc<Deployed>>> = BTreeMap::new();
        let mut tenants: BTreeMap<TenantId, Readers> = BTreeMap::new();
        for handler in handlers {
            let tenant = tenants.entry(handler.id.tenant.clone()).or_default();
            tenant.add(Arc::clone(&handler));
            let key = (handler.id.tenant.clone(), handler.manifest.group.clone());
            groups.entry(key).or_default().push(handler);
        }
        Self {
            groups,
            tenants,
            paused,
            trials: trials
                .into_iter()
                .map(|it| (it.handler.id.clone(), it))
                .collect(),
        }
    }

    /// Returns what is tried beside a handler, if anything is.
    pub(crate) fn trial(&self, id: &HandlerId) -> Option<&Arc<OnTrial>> {
        self.trials.get(id)
    }

    /// Lists what is tried.
    pub(crate) fn trials(&self) -> impl Iterator<Item = &Arc<OnTrial>> {
        self.trials.values()
    }

    /// Returns whether somebody has paused the handler.
    pub(crate) fn is_paused(&self, id: &HandlerId) -> bool {
        self.paused.contains(id)
    }

    /// Returns the handlers that a group has for `topic`, in the order of their names.
    pub(crate) fn readers(&self, group: &GroupKey, topic: &str) -> Vec<Arc<Deployed>> {
        let Some(handlers) = self.groups.get(group) else {
            return Vec::new();
        };
        if let Some(only) = returns_to(handlers)
            && only.manifest.return_topics.contains(topic)
        {
            return vec![Arc::clone(only)];
        }
        let readers = handlers.iter().filter(|handler| handler.reads(topic));
        readers.cloned().collect()
    }

    /// Returns who reads what among the handlers of a tenant, if it has any.
    pub(crate) fn tenant(&self, tenant: &TenantId) -> Option<&Readers> {
        self.tenants.get(tenant)
    }

    /// Lists the groups with their handlers.
    pub(crate) fn groups(&self) -> &BTreeMap<GroupKey, Vec<Arc<Deployed>>> {
        &self.groups
    }

    /// Lists all handlers.
    pub(crate) fn handlers(&self) -> impl Iterator<Item = &Arc<Deployed>> {
        self.groups.values().flatten()
    }
}

/// Returns the handler of a group to which records come back: the names of the topics are those of the group, so it has
/// to be the only one.
pub(crate) fn returns_to(handlers: &[Arc<Deployed>]) -> Option<&Arc<Deployed>> {
    match handlers {
        [only] => Some(only),
        _ => None,
    }
}

/// Where lanes read the current catalog; a look for a change costs one atomic load.
pub(crate) type CatalogReader = watch::Receiver<Arc<Catalog>>;

/// Waits until something was deployed or removed since the reader last looked.
pub(crate) async fn changed(mut reader: CatalogReader) {
    if reader.changed().await.is_err() {
        // The deployer is gone, so nothing will ever change.
        std::future::pending::<()>().await;
    }
}
