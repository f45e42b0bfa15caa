//! The exchanges of the host: one for each tenant and set of librdkafka settings.
//!
//! **Invariant:** handlers of two tenants never share an exchange; one is closed only when no handler uses it and no request
//! of it waits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{Asker, Counts, Exchange, OpenError, Reader, Waiter};
use crate::courier::Courier;
use crate::ids::TenantId;
use crate::layers::Layers;
use crate::manifest::Manifest;
use crate::pending::Pending;

/// Tenant, settings of the consumer, settings of the producer.
type Key = (TenantId, BTreeMap<String, String>, BTreeMap<String, String>);

/// See the module.
#[derive(Debug)]
pub(crate) struct Exchanges {
    consumer: Layers,
    producer: Layers,
    open: Mutex<BTreeMap<Key, Arc<Exchange>>>,
    numbers: AtomicU64,
    /// Of all exchanges: the ids are those of the host.
    pending: Arc<Mutex<Pending<Waiter>>>,
    /// One for each guest that may wait.
    wait_slots: Arc<Semaphore>,
    /// What exchanges counted that are closed, and those that are open, by tenant.
    counts: Mutex<BTreeMap<TenantId, Arc<Counts>>>,
}

impl Exchanges {
    /// `instances_max` is how many instances may live at once; a guest that waits keeps its own.
    pub(crate) fn new(consumer: Layers, producer: Layers, instances_max: u32) -> Self {
        let instances_max = usize::try_from(instances_max).unwrap_or(usize::MAX);
        // Those who answer may live on this host as well.
        let wait_slots = instances_max - instances_max.div_ceil(4);
        Self {
            consumer,
            producer,
            open: Mutex::default(),
            numbers: AtomicU64::new(0),
            pending: Arc::default(),
            wait_slots: Arc::new(Semaphore::new(wait_slots)),
            counts: Mutex::default(),
        }
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
            wait_slots: Arc::clone(&self.wait_slots),
        })))
    }

    fn exchange(&self, tenant: &TenantId, manifest: &Manifest) -> Result<Arc<Exchange>, OpenError> {
        let key = (
            tenant.clone(),
            manifest.kafka_consumer.clone(),
            manifest.kafka_producer.clone(),
        );
        let mut open = self.open.lock();
        if let Some(exchange) = open.get(&key) {
            return Ok(Arc::clone(exchange));
        }
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let counts = Arc::clone(self.counts.lock().entry(tenant.clone()).or_default());
        let courier = Courier::start(&self.producer.with(&manifest.kafka_producer))
            .map_err(OpenError::Settings)?;
        let reader = Reader::start(
            &self.consumer.with(&manifest.kafka_consumer),
            number,
            Arc::clone(&self.pending),
            Arc::clone(&counts),
        )?;
        let exchange = Arc::new(Exchange {
            number,
            courier,
            reader,
            pending: Arc::clone(&self.pending),
            counts,
        });
        open.insert(key, Arc::clone(&exchange));
        Ok(exchange)
    }

    /// Closes the exchanges that nobody needs any more. Takes a moment for each: not for the record path.
    pub(crate) fn close_unused(&self) {
        let is_unused = |_: &Key, exchange: &mut Arc<Exchange>| Arc::strong_count(exchange) == 1;
        let unused: Vec<_> = self.open.lock().extract_if(.., is_unused).collect();
        // Not while others wait for the lock.
        drop(unused);
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
