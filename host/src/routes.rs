//! Whom the records of a topic go to, among the handlers of a group.
//!
//! Made from what is deployed, whenever a lane takes that up; asked for each record.
//! **Invariant:** the handlers agree on all that is said of a partition and not of a record, so the first one speaks for
//! all of them there.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::catalog::{Course, Deployed, OnTrial};
use crate::guest::Stage;
use crate::ids::{HandlerId, Revision};
use crate::record::RecordView;
use crate::route::{EventCall, EventSource, OnUnmatched, RouteTable, Share, Unmatched, joined};

/// A handler that takes a record, and what of it does.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) handler: Arc<Deployed>,
    pub(crate) share: Share,
}

impl Target {
    /// Returns whether it is this one, perhaps of another revision.
    pub(crate) fn is(&self, handler: &HandlerId, share: &Share) -> bool {
        self.handler.id == *handler && self.share == *share
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Routes {
    first: Arc<Deployed>,
    /// None where the first handler is the only one and takes every record.
    switch: Option<Switch>,
    /// What is tried beside them.
    trials: Vec<Arc<OnTrial>>,
}

#[derive(Debug)]
struct Switch {
    table: RouteTable,
    source: EventSource,
    unmatched: OnUnmatched,
    targets: Vec<Target>,
}

/// How a handler is called for a record.
#[derive(Debug, Clone)]
pub(crate) enum Call {
    /// By its hook for records whatever their event.
    Record,
    /// By its hook for events.
    Event(EventCall),
    /// Step by step, by its pipeline of this name.
    Pipeline(Arc<str>),
}

impl Call {
    /// Returns the event, where the handler is called by it.
    pub(crate) fn event(&self) -> Option<&EventCall> {
        match self {
            Self::Event(event) => Some(event),
            Self::Record | Self::Pipeline(_) => None,
        }
    }

    /// Returns the pipeline of the handler that it is, if it is one.
    pub(crate) fn course<'h>(&self, handler: &'h Deployed) -> Option<&'h Course> {
        match self {
            Self::Pipeline(name) => handler.course(name),
            Self::Record | Self::Event(_) => None,
        }
    }
}

/// The targets of a record, the most specific first, with how each is called.
pub(crate) type Taken = SmallVec<[(Target, Call); 1]>;

impl Routes {
    /// Makes the routes of these handlers, which all read the same topic, and of what is tried beside them; nothing where
    /// there are none.
    pub(crate) fn of(handlers: &[Arc<Deployed>], trials: Vec<Arc<OnTrial>>) -> Option<Self> {
        let first = Arc::clone(handlers.first()?);
        let is_plain = handlers.len() == 1 && !first.is_choosy();
        if is_plain {
            return Some(Self {
                first,
                switch: None,
                trials,
            });
        }
        let (rules, targets) = joined(handlers.iter().map(|handler| handler.rules.as_slice()));
        let target = |(place, share)| {
            let handler = Arc::clone(handlers.get(place)?);
            Some(Target { handler, share })
        };
        let targets = targets.into_iter().map(target).collect::<Option<_>>()?;
        let routing = &first.manifest.routing;
        // What conflicts is not deployed.
        let table = RouteTable::new(&rules, routing.multi).ok()?;
        let switch = Some(Switch {
            table,
            source: routing.source.clone(),
            unmatched: routing.unmatched,
            targets,
        });
        Some(Self {
            first,
            switch,
            trials,
        })
    }

    /// Returns the handler that speaks for the partition.
    pub(crate) fn first(&self) -> &Arc<Deployed> {
        &self.first
    }

    /// Returns the revisions of all handlers.
    pub(crate) fn revisions(&self) -> Arc<[Revision]> {
        let switch = self.switch.as_ref();
        let targets = switch.into_iter().flat_map(|switch| &switch.targets);
        let others = targets.map(|target| target.handler.revision.clone());
        let tried = self.trials.iter().map(|it| it.handler.revision.clone());
        [self.first.revision.clone()]
            .into_iter()
            .chain(others)
            .chain(tried)
            .collect()
    }

    /// Returns what is tried beside a handler, if anything is.
    pub(crate) fn trial(&self, id: &HandlerId) -> Option<&Arc<OnTrial>> {
        self.trials.iter().find(|it| it.handler.id == *id)
    }

    /// Returns the revision of a handler that has the records with this key.
    pub(crate) fn choose<'a>(
        &'a self,
        handler: &'a Arc<Deployed>,
        key: Option<&[u8]>,
    ) -> &'a Arc<Deployed> {
        let tried = self.trial(&handler.id).filter(|it| it.takes(key));
        tried.map_or(handler, |it| &it.handler)
    }

    /// Returns this revision of a handler where there are two of it.
    pub(crate) fn one_of_two(&self, id: &HandlerId, revision: &Revision) -> Option<&Arc<Deployed>> {
        let tried = &self.trial(id)?.handler;
        let both = [tried].into_iter().chain(self.handler(id));
        both.into_iter().find(|it| it.revision == *revision)
    }

    /// Returns whether every record goes to the only handler, of one revision or another.
    pub(crate) fn are_plain(&self) -> bool {
        self.switch.is_none()
    }

    /// Returns the handler of this name, if it is one of them.
    pub(crate) fn handler(&self, id: &HandlerId) -> Option<&Arc<Deployed>> {
        let switch = self.switch.as_ref();
        let targets = switch.into_iter().flat_map(|switch| &switch.targets);
        let mut handlers = targets.map(|target| &target.handler).chain([&self.first]);
        handlers.find(|handler| handler.id == *id)
    }

    /// Returns whether a stage belongs to one of the handlers.
    pub(crate) fn has_stage(&self, stage: &Arc<Stage>) -> bool {
        let switch = self.switch.as_ref();
        let targets = switch.into_iter().flat_map(|switch| &switch.targets);
        let mut handlers = targets.map(|target| &target.handler).chain([&self.first]);
        handlers.any(|handler| handler.has_stage(stage))
    }

    /// Returns who takes a record.
    pub(crate) fn take(&self, record: &RecordView<'_>) -> Result<Taken, (Unmatched, OnUnmatched)> {
        let Some(switch) = &self.switch else {
            let target = Target {
                handler: Arc::clone(&self.first),
                share: Share::Record,
            };
            return Ok(Taken::from_iter([(target, Call::Record)]));
        };
        let named = switch.source.read(record);
        let found = switch
            .table
            .route(record.topic, named.event(), &record.headers)
            .map_err(|why| (why, switch.unmatched))?;
        let event = named.text().unwrap_or_default();
        let targets = found.iter().filter_map(|at| switch.targets.get(*at));
        let taken = targets.map(|target| {
            let call = match &target.share {
                Share::Record => Call::Record,
                Share::Event(pattern) => Call::Event(EventCall {
                    pattern: Arc::clone(pattern),
                    event: event.to_owned(),
                }),
                Share::Pipeline(name) => Call::Pipeline(Arc::clone(name)),
            };
            (target.clone(), call)
        });
        Ok(taken.collect())
    }
}
