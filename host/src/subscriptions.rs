//! The consumers that the catalog asks for: one for each (tenant, group).
//!
//! Handed each new catalog; starts, resubscribes and stops consumers so that they match it.
//! **Invariant:** a consumer whose topics and settings did not change is not touched, so its group does not rebalance;
//! no topic is read for a handler whose step has not started.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::assignment::{Assignment, Flow, PartitionVitals};
use crate::catalog::{Catalog, Deployed, GroupKey, returns_to};
use crate::catch_up::GroupStanding;
use crate::ids::HandlerId;
use crate::layers::Layers;
use crate::policy::{Delivery, Start, Subscription};
use crate::source::{
    Consumer, ConsumerSettings, Reads, SourceStatus, Topics, TransactionSettings, Transactions,
};
use crate::steps::{Behind, Steps};

#[derive(Debug)]
struct Running {
    consumer: Consumer,
    assignment: Arc<Assignment>,
    transactions: Option<Arc<Transactions>>,
    settings: ConsumerSettings,
    topics: Topics,
}

/// What is seen of a group from outside.
#[derive(Debug)]
pub(crate) struct GroupVitals {
    pub(crate) key: GroupKey,
    pub(crate) status: Arc<SourceStatus>,
    pub(crate) partitions: Vec<PartitionVitals>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    flow: Flow,
    kafka: Layers,
    /// The same for producers of transactions.
    producer_kafka: Layers,
    /// Whether consumers are to tell when they come to the end of a partition.
    tells_ends: bool,
    steps: Steps,
    running: BTreeMap<GroupKey, Running>,
    /// Threads of consumers that are leaving their groups.
    leaving: Vec<(GroupKey, JoinHandle<()>)>,
}

impl Subscriptions {
    pub(crate) fn new(
        flow: Flow,
        kafka: Layers,
        producer_kafka: Layers,
        tells_ends: bool,
        steps: Steps,
    ) -> Self {
        Self {
            flow,
            kafka,
            producer_kafka,
            tells_ends,
            steps,
            running: BTreeMap::new(),
            leaving: Vec::new(),
        }
    }

    /// Makes the consumers match the catalog.
    pub(crate) fn reconcile(&mut self, catalog: &Catalog) {
        self.leaving.retain(|(_, thread)| !thread.is_finished());
        let groups = self.started(catalog);
        let gone: Vec<GroupKey> = self
            .running
            .keys()
            .filter(|key| !groups.contains_key(key))
            .cloned()
            .collect();
        for key in gone {
            self.stop(&key);
        }
        for (key, started) in &groups {
            let all = catalog.groups().get(key).map_or(&[][..], Vec::as_slice);
            let (settings, topics) = (self.settings(key, started), topics(started, all));
            match self.running.get_mut(key) {
                Some(running) if running.settings == settings => {
                    if running.topics != topics {
                        running.consumer.subscribe(topics.clone());
                        running.topics = topics;
                    }
                }
                Some(_) => {
                    self.stop(key);
                    self.start(key, settings, topics);
                }
                None => self.start(key, settings, topics),
            }
        }
    }

    /// Returns the groups with those of their handlers that may read.
    fn started(&self, catalog: &Catalog) -> BTreeMap<GroupKey, Vec<Arc<Deployed>>> {
        let groups = catalog.groups().iter().map(|(key, handlers)| {
            let started = handlers
                .iter()
                .filter(|handler| self.steps.has_started(&handler.id));
            (key.clone(), started.cloned().collect())
        });
        groups
            .filter(|(_, started): &(_, Vec<_>)| !started.is_empty())
            .collect()
    }

    /// Returns which handlers may read.
    pub(crate) fn steps(&self) -> &Steps {
        &self.steps
    }

    /// Lists the handlers that have to catch up before the next step starts.
    pub(crate) fn earlier(&self, catalog: &Catalog) -> Vec<Earlier> {
        let wanted: Vec<&HandlerId> = self.steps.earlier().collect();
        let mut earlier = Vec::new();
        for (key, started) in self.started(catalog) {
            let all = catalog.groups().get(&key).map_or(&[][..], Vec::as_slice);
            let (settings, topics) = (self.settings(&key, &started), topics(&started, all));
            for handler in started.into_iter().filter(|it| wanted.contains(&&it.id)) {
                earlier.push(Earlier {
                    handler,
                    settings: settings.clone(),
                    returns: topics.returns.clone(),
                });
            }
        }
        earlier
    }

    /// Starts the next step if the handlers of the earlier ones have caught up; returns its number.
    pub(crate) fn step(
        &mut self,
        catalog: &Catalog,
        behind: &BTreeMap<HandlerId, Behind>,
    ) -> Option<usize> {
        let step = self.steps.look(behind)?;
        self.reconcile(catalog);
        Some(step)
    }

    fn start(&mut self, key: &GroupKey, settings: ConsumerSettings, topics: Topics) {
        let transactions = settings.transactions();
        let assignment = Arc::new(Assignment::new(
            self.flow.clone(),
            key.clone(),
            settings.kafka.clone(),
            transactions.clone(),
        ));
        let listener = Arc::clone(&assignment);
        let is_same_member =
            |leaving: &mut (GroupKey, _)| settings.is_static() && leaving.0 == *key;
        let predecessors = self.leaving.extract_if(.., is_same_member);
        let predecessors = predecessors.map(|(_, thread)| thread).collect();
        let consumer = Consumer::start(
            &settings,
            topics.clone(),
            transactions.clone(),
            listener,
            predecessors,
        );
        match consumer {
            Ok(consumer) => {
                self.running.insert(
                    key.clone(),
                    Running {
                        consumer,
                        assignment,
                        transactions,
                        settings,
                        topics,
                    },
                );
            }
            Err(error) => tracing::error!(%error, "the group is not read"),
        }
    }

    fn stop(&mut self, key: &GroupKey) {
        if let Some(running) = self.running.remove(key) {
            let thread = running.consumer.stop();
            self.leaving
                .extend(thread.map(|thread| (key.clone(), thread)));
        }
    }

    fn settings(&self, key: &GroupKey, handlers: &[Arc<Deployed>]) -> ConsumerSettings {
        let (mut manifests, mut tenant) = (BTreeMap::new(), BTreeMap::new());
        let mut start = Start::default();
        let mut transactions = None;
        for handler in handlers {
            let manifest = &handler.manifest;
            manifests.extend(manifest.kafka_consumer.clone());
            tenant.clone_from(&manifest.tenant_kafka.consumer);
            start = manifest.start;
            if let Delivery::ExactlyOnce { interval } = manifest.delivery {
                let (own, tenant) = (&manifest.kafka_producer, &manifest.tenant_kafka.producer);
                let kafka = self.producer_kafka.with(own, tenant);
                transactions = Some(TransactionSettings { kafka, interval });
            }
        }
        let mut kafka = self.kafka.with(&manifests, &tenant);
        let ignored = ignored(handlers);
        if !ignored.is_empty() {
            kafka.insert("topic.blacklist".to_owned(), ignored.join(","));
        }
        ConsumerSettings {
            group: key.1.to_string(),
            kafka,
            start,
            tells_ends: self.tells_ends,
            transactions,
        }
    }

    /// Returns the transactions of those groups that have any.
    pub(crate) fn transactions(&self) -> BTreeMap<GroupKey, Arc<Transactions>> {
        let transactions = |(key, running): (&GroupKey, &Running)| {
            Some((key.clone(), running.transactions.clone()?))
        };
        self.running.iter().filter_map(transactions).collect()
    }

    /// Lists how the groups stand.
    pub(crate) fn standings(&self) -> Vec<GroupStanding> {
        let running = self.running.iter();
        running
            .map(|((_, group), running)| {
                let status = running.consumer.status();
                GroupStanding {
                    group: group.to_string(),
                    unchanged_for: status.unchanged_for(),
                    partitions: running.assignment.standings(),
                    missing_topics: status.missing_topics(),
                    trouble: status.trouble(),
                }
            })
            .collect()
    }

    /// Lists what is seen of the groups and their partitions.
    pub(crate) fn vitals(&self) -> Vec<GroupVitals> {
        let running = self.running.iter();
        running
            .map(|(key, running)| GroupVitals {
                key: key.clone(),
                status: Arc::clone(running.consumer.status()),
                partitions: running.assignment.vitals(),
            })
            .collect()
    }

    /// Lists what is known of each consumer.
    pub(crate) fn status(&self) -> Vec<(GroupKey, Arc<SourceStatus>)> {
        self.running
            .iter()
            .map(|(key, running)| (key.clone(), Arc::clone(running.consumer.status())))
            .collect()
    }

    /// Stops all consumers; the threads end when they have drained and left their groups.
    pub(crate) fn stop_all(&mut self) -> Vec<JoinHandle<()>> {
        for key in self.running.keys().cloned().collect::<Vec<_>>() {
            self.stop(&key);
        }
        let leaving = std::mem::take(&mut self.leaving);
        leaving.into_iter().map(|(_, thread)| thread).collect()
    }
}

/// What the handlers of a group that have started subscribe to together; `all` are those that it has.
fn topics(started: &[Arc<Deployed>], all: &[Arc<Deployed>]) -> Topics {
    let returns = returns_to(all).map(|only| only.manifest.return_topics.all());
    Topics {
        names: names(started),
        returns: returns
            .into_iter()
            .flatten()
            .map(ToString::to_string)
            .collect(),
    }
}

/// A handler that has to catch up, and how it is read for.
#[derive(Debug)]
pub(crate) struct Earlier {
    pub(crate) handler: Arc<Deployed>,
    pub(crate) settings: ConsumerSettings,
    /// Topics by which records come back to it.
    returns: Vec<String>,
}

impl Earlier {
    /// Calls `ask` with what the handler reads.
    pub(crate) fn reads<T>(&self, ask: impl FnOnce(&Reads<'_>) -> T) -> T {
        let names = match &self.handler.manifest.subscription {
            Subscription::Topics(topics) => Some(topics.iter().map(ToString::to_string).collect()),
            Subscription::Pattern(_) => None,
        };
        ask(&Reads {
            names,
            returns: self.returns.clone(),
            matches: &|topic| self.handler.reads(topic),
        })
    }
}

fn names(handlers: &[Arc<Deployed>]) -> Vec<String> {
    let names: BTreeSet<String> = handlers
        .iter()
        .flat_map(|handler| handler.manifest.subscription.kafka_names())
        .collect();
    names.into_iter().collect()
}

/// What patterns would bring in and nobody wants, unless another handler names it.
fn ignored(handlers: &[Arc<Deployed>]) -> Vec<String> {
    let names = names(handlers);
    let mut ignored: Vec<String> = handlers
        .iter()
        .flat_map(|handler| handler.manifest.subscription.kafka_ignored())
        .filter(|regex| !names.contains(regex))
        .collect();
    ignored.dedup();
    ignored
}
