//! The producers of the host, one for each set of librdkafka settings.
//!
//! **Invariant:** handlers with equal settings share a producer, and a producer is closed only when no handler uses it
//! and none of its outputs is under way: closing it earlier would throw them away.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::layers::Layers;
use crate::manifest::Manifest;
use crate::sink::{Error, Sink};

/// See the module.
#[derive(Debug)]
pub(crate) struct Sinks {
    kafka: Layers,
    open: Mutex<BTreeMap<BTreeMap<String, String>, Arc<Sink>>>,
}

impl Sinks {
    pub(crate) fn new(kafka: Layers) -> Self {
        Self {
            kafka,
            open: Mutex::default(),
        }
    }

    /// Returns the settings of clients for a manifest.
    pub(crate) fn settings(&self, manifest: &Manifest) -> BTreeMap<String, String> {
        let tenant = &manifest.tenant_kafka.producer;
        self.kafka.with(&manifest.kafka_producer, tenant)
    }

    /// Returns the producer that has the settings for a manifest.
    pub(crate) fn get(&self, manifest: &Manifest) -> Result<Arc<Sink>, Error> {
        let settings = self.settings(manifest);
        let mut open = self.open.lock();
        if let Some(sink) = open.get(&settings) {
            return Ok(Arc::clone(sink));
        }
        let sink = Arc::new(Sink::start(&settings)?);
        open.insert(settings, Arc::clone(&sink));
        Ok(sink)
    }

    /// Closes the producers that nobody needs any more. Takes a moment for each: not for the record path.
    pub(crate) fn close_unused(&self) {
        let is_unused = |_: &BTreeMap<String, String>, sink: &mut Arc<Sink>| {
            Arc::strong_count(sink) == 1 && sink.under_way() == 0
        };
        let unused: Vec<_> = self.open.lock().extract_if(.., is_unused).collect();
        // Not while others wait for the lock.
        drop(unused);
    }

    /// Lists the open producers.
    pub(crate) fn open(&self) -> Vec<Arc<Sink>> {
        self.open.lock().values().cloned().collect()
    }
}
