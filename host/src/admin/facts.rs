//! Reads the running parts, for readiness and for a scrape.
//!
//! **Invariant:** it takes one lock at a time and holds none while it answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::View;
use super::metrics::{GroupReading, Producers, Scrape};
use super::process;
use super::readiness::{Facts, GroupFacts, HandlerFacts, Source};
use super::tally::Tally;
use crate::canary::Side;
use crate::catalog::{Catalog, Deployed, GroupKey, OnTrial};
use crate::ids::HandlerId;
use crate::moment::now_ms;
use crate::policy::Subscription;
use crate::shadow::Comparison;
use crate::sink::Sink;
use crate::source::{SourceStatus, Transactions};
use crate::stats::Counter;
use crate::watcher::{Poll, StalledPartition};

/// The lanes of one handler.
#[derive(Debug, Clone, Default)]
struct Lanes {
    all: usize,
    /// Where the halted ones stand.
    halted: Vec<String>,
    /// Where the others do that stall.
    stalled: Vec<String>,
}

impl View {
    /// Returns why producers failed for good.
    pub(super) fn dead_producers(&self) -> Vec<String> {
        self.sinks
            .open()
            .iter()
            .filter_map(|sink| sink.fatal())
            .collect()
    }

    /// Returns why producers of requests and receipts failed for good in the place of which there is no other one yet.
    fn failed_couriers(&self) -> Vec<String> {
        let sinks = self.sinks.open();
        let failed = sinks.iter().filter_map(|sink| sink.post().fatal());
        failed.chain(self.exchanges.failed()).collect()
    }

    /// Returns what readiness is judged by.
    pub(super) fn facts(&self) -> Facts {
        // What was looked at last is read first: a folder that counts as looked at is in the catalog read below.
        let looked = self.board.has_looked();
        let catalog = Arc::clone(&self.catalog.borrow());
        // Both at once: a step that starts has consumers from then on.
        let (running, steps) = {
            let subscriptions = self.subscriptions.lock();
            let running: BTreeMap<_, _> = subscriptions.status().into_iter().collect();
            (running, subscriptions.steps().clone())
        };
        let seen = self.watched.seen();
        let lanes = self.lanes(&seen.partitions);
        // A group whose handlers all wait for their step has no consumer, and needs none.
        let read = catalog.groups().iter().filter(|(_, handlers)| {
            let mut handlers = handlers.iter();
            handlers.any(|handler| steps.has_started(&handler.id))
        });
        let groups = read.map(|(key, _)| GroupFacts {
            tenant: key.0.to_string(),
            group: key.1.to_string(),
            source: source(running.get(key)),
            late: seen.polls.get(key).and_then(Poll::what),
        });
        let mut waits = steps.waits();
        if looked {
            let ids: Vec<HandlerId> = catalog.handlers().map(|it| it.id.clone()).collect();
            waits.extend(steps.plan().unknown(&ids));
        }
        Facts {
            looked,
            draining: self.draining.load(Ordering::Acquire),
            handlers: catalog
                .handlers()
                .map(|handler| handler_facts(handler, &lanes, catalog.is_paused(&handler.id)))
                .collect(),
            groups: groups.collect(),
            problems: self.board.problems(),
            missing_topics: self.board.missing_topics(),
            remedies: self.board.remedies(),
            waits,
            dead_producers: self.dead_producers(),
            failed_couriers: self.failed_couriers(),
            is_strict: seen.is_strict,
        }
    }

    fn sources(&self) -> Vec<(GroupKey, Arc<SourceStatus>)> {
        self.subscriptions.lock().status()
    }

    /// Counts the lanes of each handler, all, halted and stalled ones.
    fn lanes(&self, stalled: &[StalledPartition]) -> BTreeMap<HandlerId, Lanes> {
        let mut lanes: BTreeMap<HandlerId, Lanes> = BTreeMap::new();
        for (handler, topic, reading) in self.registry.read() {
            let is_halted = |place| reading.halted.iter().any(|(halted, _)| *halted == place);
            let stalled = stalled.iter().filter(|one| {
                one.handler == handler && one.topic == topic && !is_halted(one.partition)
            });
            let stalled: Vec<String> = stalled.map(StalledPartition::what).collect();
            let lanes = lanes.entry(handler).or_default();
            lanes.stalled.extend(stalled);
            lanes.all += reading.lanes;
            let halted = reading.halted.iter();
            lanes.halted.extend(
                halted
                    .map(|(partition, offset)| format!("{topic}[{partition}] at offset {offset}")),
            );
        }
        lanes
    }

    /// Reads all that a scrape shows.
    pub(super) fn scrape(&self, delivered: &mut Tally<Sink>) -> Scrape {
        let catalog = Arc::clone(&self.catalog.borrow());
        let transactions = self.subscriptions.lock().transactions();
        let groups = self.sources().into_iter().map(|(key, status)| {
            let reading = GroupReading {
                assigned: status.assigned_partitions(),
                rebalances: status.rebalances(),
                is_up: status.trouble().is_none(),
                transactions: transactions.get(&key).map(|it| it.counts()),
            };
            (key, reading)
        });
        Scrape {
            now_ms: now_ms(),
            series: self.registry.read(),
            stages: self.registry.stages(),
            steps: self.registry.steps(),
            handlers: catalog
                .handlers()
                .map(|handler| {
                    let revision = handler.revision.clone();
                    let pauses = [handler.is_paused(), catalog.is_paused(&handler.id)];
                    (handler.id.clone(), revision, pauses)
                })
                .collect(),
            groups: groups.collect(),
            producers: self.producers(&transactions, delivered),
            watched: self.watched.seen(),
            deploys: [
                &self.board.published,
                &self.board.refused,
                &self.board.rolled_back,
            ]
            .map(Counter::get),
            reloads: [true, false].map(|done| self.board.reloads(done).get()),
            canaries: canaries(&catalog),
            shadows: shadows(&catalog),
            state_failures: self.control.state.as_ref().map(|it| it.failures()),
            compile: self.board.compile.read(),
            tenants: self.registry.meters(),
            requests: self.exchanges.counts(),
            reply_store: self
                .exchanges
                .store()
                .map(|store| (store.is_up(), store.errors())),
            process: process::usage(),
            instances: self.places.taken(),
        }
    }

    fn producers(
        &self,
        transactions: &BTreeMap<GroupKey, Arc<Transactions>>,
        delivered: &mut Tally<Sink>,
    ) -> Producers {
        let transactional = transactions.values().filter_map(|it| it.sink());
        let open: Vec<(Arc<Sink>, [u64; 2])> = self
            .sinks
            .open()
            .into_iter()
            .chain(transactional)
            .map(|sink| {
                let (delivered, refused) = sink.counts();
                (sink, [delivered, refused])
            })
            .collect();
        let [delivered, refused] = delivered.update(&open);
        Producers {
            queued: open.iter().map(|(sink, _)| sink.under_way()).sum(),
            delivered,
            refused,
        }
    }
}

/// Returns what the revisions did that are tried, and those beside them.
fn canaries(catalog: &Catalog) -> Vec<(HandlerId, [Side; 2])> {
    let sides = |it: &Arc<OnTrial>| {
        let (old, new) = it.handler.proving.as_ref()?.sides()?;
        Some((it.handler.id.clone(), [old, new]))
    };
    catalog.trials().filter_map(sides).collect()
}

/// Returns what was seen of shadows.
fn shadows(catalog: &Catalog) -> Vec<(HandlerId, Comparison)> {
    let seen = |it: &Arc<OnTrial>| Some((it.handler.id.clone(), it.shadow()?.comparison()));
    catalog.trials().filter_map(seen).collect()
}

fn source(status: Option<&Arc<SourceStatus>>) -> Source {
    let Some(status) = status else {
        return Source::Absent;
    };
    match status.trouble() {
        Some(reason) => Source::OutOfReach(reason),
        None => Source::Reached {
            missing_topics: status.missing_topics(),
        },
    }
}

fn handler_facts(
    handler: &Deployed,
    lanes: &BTreeMap<HandlerId, Lanes>,
    is_held: bool,
) -> HandlerFacts {
    let lanes = lanes.get(&handler.id).cloned().unwrap_or_default();
    HandlerFacts {
        tenant: handler.id.tenant.to_string(),
        handler: handler.id.name.to_string(),
        revision: handler.revision.to_string(),
        group: handler.manifest.group.to_string(),
        topics: match &handler.manifest.subscription {
            Subscription::Topics(topics) => topics.iter().map(ToString::to_string).collect(),
            Subscription::Pattern(pattern) => vec![pattern.source().to_owned()],
        },
        partitions: lanes.all,
        halted: lanes.halted.len(),
        is_paused: handler.is_paused(),
        halted_at: lanes.halted,
        stalled: lanes.stalled.len(),
        stalled_at: lanes.stalled,
        is_held,
    }
}
