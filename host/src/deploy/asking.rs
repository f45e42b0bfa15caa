//! Whether a handler may ask others, and write at once: what no transaction takes back.

use super::deployer::Deployer;
use crate::guest::{Conversation, Receipts};
use crate::ids::HandlerId;
use crate::manifest::Manifest;
use crate::policy::Delivery;
use crate::reply::WaitSlots;
use crate::sink::Sink;

impl Deployer {
    /// Returns whether a handler may ask others.
    pub(super) fn conversation(
        &self,
        id: &HandlerId,
        manifest: &Manifest,
    ) -> Result<Conversation, String> {
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
pub(super) fn receipts(manifest: &Manifest, sink: &Sink, wait_slots: &WaitSlots) -> Receipts {
    if may_write_at_once(manifest) {
        return Receipts::by(sink.post(), manifest.limits.pending_requests, wait_slots);
    }
    Receipts::Denied(
        "no transaction takes back what is written at once (delivery is exactly-once; write side-effects = \"allowed\")",
    )
}
