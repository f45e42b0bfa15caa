//! A revision that is tried beside the one that serves.
//!
//! **Invariant:** what is said of a partition is the same of both, so the one that serves speaks for it.

use std::sync::Arc;

use super::{Deployed, Shadow};
use crate::canary::{KeyShare, Trial};
use crate::ids::Revision;

/// How a revision is tried.
#[derive(Debug)]
pub(crate) enum Manner {
    /// It has a share of the keys.
    Canary(KeyShare),
    /// It sees what the other one has handled.
    Shadow(Arc<Shadow>),
}

impl Manner {
    /// Begins a trial of this revision.
    pub(crate) fn of(trial: Trial, handler: &Arc<Deployed>) -> Self {
        match trial {
            Trial::Canary(policy) => Self::Canary(policy.share),
            Trial::Shadow => Self::Shadow(Arc::new(Shadow::start(Arc::clone(handler)))),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct OnTrial {
    pub(crate) handler: Arc<Deployed>,
    pub(crate) manner: Manner,
    /// The revision that serves beside it.
    pub(crate) beside: Revision,
}

impl OnTrial {
    /// Returns whether a record with this key is its own.
    pub(crate) fn takes(&self, key: Option<&[u8]>) -> bool {
        match self.manner {
            Manner::Canary(share) => share.has(key),
            Manner::Shadow(_) => false,
        }
    }

    /// Returns the shadow that it is, if it is one.
    pub(crate) fn shadow(&self) -> Option<&Arc<Shadow>> {
        match &self.manner {
            Manner::Canary(_) => None,
            Manner::Shadow(shadow) => Some(shadow),
        }
    }

    /// Ends the trial: the revision stays or goes, whatever was seen of it.
    pub(crate) fn end(&self, stays: bool) {
        if let Some(shadow) = self.shadow() {
            shadow.end();
        }
        if let Some(proving) = &self.handler.proving {
            if stays {
                proving.pass();
            } else {
                proving.fail();
            }
        }
    }
}
