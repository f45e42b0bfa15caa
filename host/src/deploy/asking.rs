//! What instances of a handler are made with, and whether it may ask others and write at once: what no transaction takes back.

use std::sync::Arc;

use super::deployer::Deployer;
use super::load::Loaded;
use crate::guest::{Conversation, Receipts, Setup};
use crate::ids::HandlerId;
use crate::manifest::Manifest;
use crate::policy::Delivery;
use crate::reply::WaitSlots;
use crate::sink::Sink;

impl Deployer {
    /// Returns what instances of a handler are made with.
    pub(super) fn setup(
        &self,
        id: &HandlerId,
        loaded: &Loaded,
        sink: &Sink,
    ) -> Result<Setup, String> {
        Ok(Setup {
            limits: loaded.manifest.limits,
            config: Arc::new(loaded.manifest.config.clone()),
            message_max_bytes: sink.message_max_bytes(),
            key_from: loaded.manifest.publish.key_from.clone(),
            conversation: self.conversation(id, &loaded.manifest)?,
            receipts: receipts(&loaded.manifest, sink, self.exchanges.wait_slots()),
            prefix: loaded.prefix.clone(),
            grants: Arc::clone(&loaded.grants),
            meter: self.registry.meter(&id.tenant),
        })
    }

    /// Returns whether a handler may ask others.
    fn conversation(&self, id: &HandlerId, manifest: &Manifest) -> Result<Conversation, String> {
        if !may_write_at_once(manifest) {
            return Ok(Conversation::Denied(
                "no transaction takes a request back (delivery is exactly-once; write side-effects = \"allowed\")",
            ));
        }
        let asker = self.exchanges.asker(&id.tenant, manifest);
        let asker = asker.map_err(|error| error.to_string())?;
        Ok(asker.map_or(
            Conversation::Denied(
                "the manifest names no topic for responses ([[response]] topic = \"…\")",
            ),
            Conversation::Allowed,
        ))
    }
}

/// Returns whether a handler may write what no transaction takes back.
fn may_write_at_once(manifest: &Manifest) -> bool {
    manifest.delivery == Delivery::AtLeastOnce || manifest.side_effects
}

/// Returns whether a handler may write records at once and wait until Kafka has them.
fn receipts(manifest: &Manifest, sink: &Sink, wait_slots: &WaitSlots) -> Receipts {
    if may_write_at_once(manifest) {
        return Receipts::by(sink.post(), manifest.limits.pending_requests, wait_slots);
    }
    Receipts::Denied(
        "no transaction takes back what is written at once (delivery is exactly-once; write side-effects = \"allowed\")",
    )
}
