//! The producers of the host, one for each set of librdkafka settings.
//!
//! **Invariant:** handlers with equal settings share a producer; one that nobody uses any more is flushed and closed
//! by its last user.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::sink::{Error, Sink};

/// See the module.
#[derive(Debug)]
pub(crate) struct Sinks {
    /// librdkafka keys for every producer, below those of the manifests.
    kafka: BTreeMap<String, String>,
    open: Mutex<BTreeMap<BTreeMap<String, String>, Weak<Sink>>>,
}

impl Sinks {
    pub(crate) fn new(kafka: BTreeMap<String, String>) -> Self {
        Self {
            kafka,
            open: Mutex::default(),
        }
    }

    /// Returns the producer with these settings of a manifest on top of the host's.
    pub(crate) fn get(&self, manifest: &BTreeMap<String, String>) -> Result<Arc<Sink>, Error> {
        let mut open = self.open.lock();
        open.retain(|_, sink| sink.strong_count() > 0);
        if let Some(sink) = open.get(manifest).and_then(Weak::upgrade) {
            return Ok(sink);
        }
        let mut kafka = self.kafka.clone();
        kafka.extend(manifest.clone());
        let sink = Arc::new(Sink::start(&kafka)?);
        open.insert(manifest.clone(), Arc::downgrade(&sink));
        Ok(sink)
    }

    /// Lists the open producers.
    pub(crate) fn open(&self) -> Vec<Arc<Sink>> {
        self.open
            .lock()
            .values()
            .filter_map(Weak::upgrade)
            .collect()
    }
}
