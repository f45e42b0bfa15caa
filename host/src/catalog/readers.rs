//! Which handlers of a tenant read a topic, in whatever group, and whether they feed each other in a circle.
//!
//! Made with each snapshot of what is deployed; asked when a handler writes to a topic that was not looked up yet.
//! **Invariant:** what a handler feeds is remembered once for each of its revisions, and only of topics that are read here.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Deployed, circle, is_fed_by};
use crate::ids::TopicName;
use crate::policy::Subscription;
use crate::route::way_back;

/// Topics that are remembered of one handler. A pattern of another one may read any number of them.
const FED_MAX: usize = 1000;

/// What leads to a circle by what a manifest alone says.
pub(crate) const WRITES: &str = "the manifest has records written to a topic";

/// The topics to which a revision was seen to write and that handlers of its tenant read.
#[derive(Debug, Default)]
pub(crate) struct Fed(Mutex<BTreeSet<Box<str>>>);

impl Fed {
    /// Remembers a topic; returns whether that is news.
    fn note(&self, topic: &str) -> bool {
        let mut topics = self.0.lock();
        !topics.contains(topic) && topics.len() < FED_MAX && topics.insert(topic.into())
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    handlers: Vec<Arc<Deployed>>,
    /// Places among the handlers, of those that name the topic.
    named: HashMap<Box<str>, Vec<usize>>,
    /// Places of the handlers that read by a pattern.
    by_pattern: Vec<usize>,
}

impl Readers {
    /// Adds a handler of the tenant.
    pub(super) fn add(&mut self, handler: Arc<Deployed>) {
        let place = self.handlers.len();
        match &handler.manifest.subscription {
            Subscription::Topics(topics) => {
                for topic in topics {
                    let readers = self.named.entry(topic.as_str().into()).or_default();
                    readers.push(place);
                }
            }
            Subscription::Pattern(_) => self.by_pattern.push(place),
        }
        self.handlers.push(handler);
    }

    /// Returns whether a handler reads a topic and may take its records.
    pub(crate) fn is_read(&self, topic: &str) -> bool {
        self.places(topic).next().is_some()
    }

    fn places(&self, topic: &str) -> impl Iterator<Item = usize> {
        let named = self.named.get(topic).into_iter().flatten();
        let places = named.chain(&self.by_pattern).copied();
        places.filter(move |place| {
            let handler = self.handlers.get(*place);
            handler.is_some_and(|it| is_fed_by(&it.manifest, &it.rules, topic))
        })
    }

    /// Takes note that a handler wrote to a topic that is read here, and warns where its records come back by it, once for
    /// each topic.
    pub(crate) fn note(&self, handler: &Deployed, topic: &str) {
        if handler.fed.note(topic) {
            self.warn_of(handler, topic, "the handler writes to a topic");
        }
    }

    /// Warns where the records of a handler come back by what its manifest alone says.
    pub(crate) fn warn_of_manifest(&self, handler: &Deployed) {
        let topics: BTreeSet<&TopicName> = handler.manifest.outputs().collect();
        for topic in topics {
            if self.is_read(topic.as_str()) {
                // It is told here, and not again when a record is written.
                handler.fed.note(topic.as_str());
            }
            self.warn_of(handler, topic.as_str(), WRITES);
        }
    }

    fn warn_of(&self, handler: &Deployed, topic: &str, what: &str) {
        let Some(way) = self.way_back(handler, topic) else {
            return;
        };
        tracing::warn!(
            tenant = %handler.id.tenant,
            handler = %handler.id.name,
            topic,
            way,
            max_hops = handler.manifest.routing.max_hops,
            "{}",
            circle(what)
        );
    }

    /// Returns the way by which records of a topic come back to the handler that writes them, in words.
    fn way_back(&self, handler: &Deployed, topic: &str) -> Option<String> {
        let from = self.handlers.iter().position(|it| it.id == handler.id)?;
        let fed: Vec<usize> = self.places(topic).collect();
        let feeds: Vec<Vec<usize>> = self.handlers.iter().map(|it| self.feeds(it)).collect();
        let way = way_back(from, &fed, &feeds)?;
        let names = way.into_iter().chain([from]);
        let names = names.filter_map(|place| Some(self.handlers.get(place)?.id.name.as_str()));
        Some(names.collect::<Vec<_>>().join(" > "))
    }

    /// Returns whom a handler feeds, by what it was seen to write and by its manifest.
    fn feeds(&self, handler: &Deployed) -> Vec<usize> {
        let seen = handler.fed.0.lock().clone();
        let declared = handler.manifest.outputs().map(TopicName::as_str);
        let topics = seen.iter().map(|topic| &**topic).chain(declared);
        topics.flat_map(|topic| self.places(topic)).collect()
    }
}
