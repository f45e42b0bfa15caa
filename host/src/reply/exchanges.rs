//! The exchanges of the host: one for each tenant and set of librdkafka settings; where hosts share a store, for each group of a
//! tenant.
//!
//! **Invariant:** handlers of two tenants never share an exchange; one is closed only when no handler uses it and no request
//! of it waits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{Asker, Counts, Exchange, Link, OpenError, Reader, Store, WaitSlots, Waiter, member};
use crate::courier::Post;
use crate::ids::{GroupId, TenantId};
use crate::layers::Layers;
use crate::manifest::Manifest;
use crate::pending::Pending;
use crate::response::{KeyForm, Names};

/// Tenant, group where hosts share a store, settings of the consumer, settings of the producer.
type Key = (
    TenantId,
    Option<GroupId>,
    BTreeMap<String, String>,
    BTreeMap<String, String>,
);

/// See the module.
#[derive(Debug)]
pub(crate) struct Exchanges {
    consumer: Layers,
    producer: Layers,
    open: Mutex<BTreeMap<Key, Arc<Exchange>>>,
    numbers: AtomicU64,
    /// Of all exchanges: the ids are those of the host.
    pending: Arc<Mutex<Pending<Waiter>>>,
    wait_slots: WaitSlots,
    /// What exchanges counted that are closed, and those that are open, by tenant.
    counts: Mutex<BTreeMap<TenantId, Arc<Counts>>>,
    store: Option<Arc<Store>>,
}

impl Exchanges {
    /// `instances_max` is how many instances may live at once; a guest that waits keeps its own.
    pub(crate) fn new(consumer: Layers, producer: Layers, instances_max: u32) -> Self {
        Self {
            consumer,
            producer,
            open: Mutex::default(),
            numbers: AtomicU64::new(0),
            pending: Arc::default(),
            wait_slots: WaitSlots::new(instances_max),
            counts: Mutex::default(),
            store: None,
        }
    }

    /// Has the hosts share responses through this store.
    pub(crate) fn with_store(mut self, store: Option<Store>) -> Self {
        self.store = store.map(Arc::new);
        self
    }

    /// Returns the store that hosts share, if they do.
    pub(crate) fn store(&self) -> Option<&Store> {
        self.store.as_deref()
    }

    /// Returns what the handler asks by; nothing where its manifest names no topics for responses.
    pub(crate) fn asker(
        &self,
        tenant: &TenantId,
        manifest: &Manifest,
    ) -> Result<Option<Arc<Asker>>, OpenError> {
        if manifest.responses.is_empty() {
            return Ok(None);
        }
        let exchange = self.exchange(tenant, manifest)?;
        let topics: BTreeSet<_> = manifest
            .responses
            .iter()
            .map(|route| route.topic.clone())
            .collect();
        exchange.reader.read(topics);
        let max = manifest.limits.pending_requests;
        Ok(Some(Arc::new(Asker {
            exchange,
            routes: manifest.responses.clone().into(),
            request_slots: Arc::new(Semaphore::new(max)),
            request_slots_max: max,
            wait_slots: self.wait_slots.clone(),
        })))
    }

    /// Returns what guests of the host share that wait for others.
    pub(crate) fn wait_slots(&self) -> &WaitSlots {
        &self.wait_slots
    }

    fn exchange(&self, tenant: &TenantId, manifest: &Manifest) -> Result<Arc<Exchange>, OpenError> {
        let group = self.store.as_ref().map(|_| manifest.group.clone());
        let of_tenant = &manifest.tenant_kafka;
        let consumer = &manifest.kafka_consumer;
        let consumer = self.consumer.with(consumer, &of_tenant.consumer);
        let producer = &manifest.kafka_producer;
        let producer = self.producer.with(producer, &of_tenant.producer);
        let key = (tenant.clone(), group, consumer.clone(), producer.clone());
        let mut open = self.open.lock();
        if let Some(exchange) = open.get(&key) {
            return Ok(Arc::clone(exchange));
        }
        let is_compat = |store: &Arc<Store>| store.form() == KeyForm::Compat;
        let mut others = open.keys().filter(|(other, ..)| other != tenant);
        if self.store.as_ref().is_some_and(is_compat)
            && let Some((other, ..)) = others.next()
        {
            return Err(OpenError::Compat(other.clone()));
        }
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let counts = Arc::clone(self.counts.lock().entry(tenant.clone()).or_default());
        let post = Post::open(&producer).map_err(OpenError::Settings)?;
        let pending = Arc::clone(&self.pending);
        let link = self.store.as_ref().map(|store| {
            let names = Names::new(store.form(), tenant, &manifest.group);
            let (pending, counts) = (Arc::clone(&pending), Arc::clone(&counts));
            Link::open(names, Arc::clone(store), number, pending, counts)
        });
        let reader = match &link {
            None => Reader::start(&consumer, number, pending, Arc::clone(&counts))?,
            Some(link) => member::start(
                &consumer,
                &format!("{tenant}.{}.responses", manifest.group),
                Arc::clone(link),
            )?,
        };
        let exchange = Arc::new(Exchange {
            number,
            post,
            reader,
            pending: Arc::clone(&self.pending),
            counts,
            link,
        });
        open.insert(key, Arc::clone(&exchange));
        Ok(exchange)
    }

    /// Returns why producers of requests failed for good that nobody has needed since.
    pub(crate) fn failed(&self) -> Vec<String> {
        let open = self.open.lock();
        open.values().filter_map(|it| it.post.fatal()).collect()
    }

    /// Closes the exchanges that nobody needs any more. Takes a moment for each: not for the record path.
    pub(crate) fn close_unused(&self) {
        let is_unused = |_: &Key, exchange: &mut Arc<Exchange>| Arc::strong_count(exchange) == 1;
        let unused: Vec<_> = self.open.lock().extract_if(.., is_unused).collect();
        // Not while others wait for the lock.
        drop(unused);
    }

    /// Has all that read responses leave their groups, so that others read in their place at once; waits so long for it.
    /// Returns whether they have. Not for the record path.
    pub(crate) fn leave(&self, patience: Duration) -> bool {
        let open: Vec<_> = self.open.lock().values().cloned().collect();
        for exchange in &open {
            exchange.reader.stop();
        }
        let deadline = Instant::now() + patience;
        let has_left = || open.iter().all(|exchange| exchange.reader.has_stopped());
        while !has_left() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        has_left()
    }

    /// Lists what was counted of each tenant.
    pub(crate) fn counts(&self) -> Vec<(TenantId, Arc<Counts>)> {
        let counts = self.counts.lock();
        counts
            .iter()
            .map(|(tenant, counts)| (tenant.clone(), Arc::clone(counts)))
            .collect()
    }
}
