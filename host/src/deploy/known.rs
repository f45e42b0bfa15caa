//! What is known of one handler: what became of its files, what serves, and what served before.
//!
//! **Invariant:** the revision before is kept as long as the one that serves has to prove itself, and no longer.

use std::sync::Arc;
use std::time::Duration;

use super::facts::Facts;
use super::revisions::New;
use crate::catalog::{Deployed, Proving};
use crate::probation::Standing;

/// What became of a handler's files when they were last loaded.
#[derive(Debug)]
pub(crate) struct Known {
    pub(super) facts: Facts,
    /// The files with its secrets.
    pub(super) secrets: Facts,
    /// What is wrong with the files as they are now.
    pub(super) problems: Vec<String>,
    pub(super) serving: Option<Arc<Deployed>>,
    /// What serves again if the revision that serves fails its probation.
    pub(super) previous: Option<Arc<Deployed>>,
    /// What its own files are recognized by that are not to serve again from the handlers folder, and why.
    pub(super) condemned: Option<(String, String)>,
    /// How long loading took, until what was loaded is published.
    pub(super) took: Option<Duration>,
    /// How what was loaded differs from what served before it.
    pub(super) changes: Option<String>,
    /// What is to be kept of what was loaded, until it is.
    pub(super) new: Option<New>,
}

impl Known {
    /// Begins to load a handler whose files changed; `before` is what was known of it.
    pub(super) fn again(facts: Facts, before: Option<Self>) -> Self {
        let (serving, previous, condemned) = before.map_or((None, None, None), |it| {
            (it.serving, it.previous, it.condemned)
        });
        Self {
            facts,
            secrets: Facts::default(),
            problems: Vec::new(),
            serving,
            previous,
            condemned,
            took: None,
            changes: None,
            new: None,
        }
    }

    /// Takes up what was loaded. What served before is kept while the new one has to prove itself, unless it has not proven
    /// itself either.
    pub(super) fn take(&mut self, (deployed, new): (Deployed, New), took: Duration) {
        let old = self.serving.as_ref();
        self.changes = old.map(|old| deployed.face.since(&old.face).join("; "));
        let has_to_prove = deployed.proving.is_some();
        let old = self.serving.replace(Arc::new(deployed));
        let is_proven = |old: &Arc<Deployed>| {
            let proving = old.proving.as_ref();
            proving.is_none_or(|it| it.standing() == Standing::Passed)
        };
        self.previous = match old {
            Some(old) if is_proven(&old) => Some(old),
            _ => self.previous.take(),
        }
        .filter(|_| has_to_prove);
        self.condemned = None;
        self.took = Some(took);
        self.new = Some(new);
    }

    /// Returns why files are not to serve again from the handlers folder, if they are not.
    pub(super) fn is_condemned(&self, own_files: &str) -> Option<&str> {
        let condemned = self.condemned.as_ref();
        let condemned = condemned.filter(|(it, _)| it == own_files);
        condemned.map(|(_, why)| why.as_str())
    }

    /// Returns the probation of what serves, if it is on one.
    pub(super) fn proving(&self) -> Option<&Proving> {
        self.serving.as_ref()?.proving.as_ref()
    }
}
