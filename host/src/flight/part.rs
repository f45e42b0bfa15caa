//! What one of several handlers made of a record that they all take.
//!
//! Parts wait with their record until the last handler is done with it; then all of them are sent on one flight.
//! **Invariant:** nothing of a record is sent before all of its parts are there.

use std::sync::Arc;

use crate::ids::HandlerId;
use crate::outbox::Outbox;
use crate::outcome::Ending;
use crate::record::Fingerprint;
use crate::route::Share;
use crate::stats::LaneStats;

/// See the module.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) handler: HandlerId,
    /// What of it took the record.
    pub(crate) share: Share,
    /// How the record ended for it.
    pub(crate) ending: Ending,
    /// Attempts that it took.
    pub(crate) attempts: u32,
    pub(crate) stats: Arc<LaneStats>,
    /// What was emitted.
    pub(crate) outputs: Outbox,
    /// The dead letter, with what goes along with it.
    pub(crate) letters: Outbox,
}

impl Part {
    /// Returns the part as it is once Kafka has its outputs.
    pub(super) fn sent(&self) -> Self {
        let nothing = || Outbox::new(0, 0);
        Self {
            handler: self.handler.clone(),
            share: self.share.clone(),
            ending: self.ending,
            attempts: self.attempts,
            stats: Arc::clone(&self.stats),
            outputs: nothing(),
            letters: nothing(),
        }
    }

    /// Returns whether there is nothing to send.
    pub(crate) fn is_empty(&self) -> bool {
        self.outputs.is_empty() && self.letters.is_empty()
    }

    /// Returns the bytes to send.
    pub(crate) fn size_bytes(&self) -> usize {
        self.outputs.size_bytes() + self.letters.size_bytes()
    }

    /// Counts how the record ended for the handler.
    pub(crate) fn count(&self) {
        self.stats.ended(self.ending, 1);
    }

    /// Returns whether it is this output, and then whether it is a dead letter.
    pub(super) fn has(&self, output: Fingerprint) -> Option<bool> {
        let is_in = |outbox: &Outbox| outbox.iter().any(|emit| emit.fingerprint() == output);
        if is_in(&self.letters) {
            return Some(true);
        }
        is_in(&self.outputs).then_some(false)
    }
}
