//! What an instance is made with, as its manifest and the host have it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::receipts::Receipts;
use crate::grants::Grants;
use crate::manifest::Masked;
use crate::policy::Limits;
use crate::prefix::TopicPrefix;
use crate::publish::KeyFrom;
use crate::reply::Asker;
use crate::stats::Meter;

/// What an instance is made with.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) limits: Limits,
    /// The manifest's `[config]`.
    pub(crate) config: Arc<BTreeMap<String, String>>,
    /// The largest record that the guest may emit, in bytes.
    pub(crate) message_max_bytes: usize,
    /// Where the key of a record stands that the guest emits without one.
    pub(crate) key_from: Option<KeyFrom>,
    /// Whether the guest may ask others, and by what.
    pub(crate) conversation: Conversation,
    /// Whether it may wait until Kafka has a record, and by what.
    pub(crate) receipts: Receipts,
    /// What the names of its topics begin with.
    pub(crate) prefix: TopicPrefix,
    /// Which topics it may write.
    pub(crate) grants: Arc<Grants>,
    /// What its tenant uses by the second.
    pub(crate) meter: Arc<Meter>,
}

impl fmt::Debug for Setup {
    /// Prints the names of texts without their values: some are passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("limits", &self.limits)
            .field("config", &Masked(&self.config))
            .field("prefix", &self.prefix)
            .field("grants", &self.grants)
            .finish_non_exhaustive()
    }
}

/// Whether a guest may ask others.
#[derive(Debug, Clone)]
pub(crate) enum Conversation {
    /// By this.
    Allowed(Arc<Asker>),
    /// Not at all; why.
    Denied(&'static str),
}

impl Conversation {
    /// Returns whether the guest may ask.
    pub(crate) fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }
}
