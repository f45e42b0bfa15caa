//! What is known of one handler: what became of its files, what serves, what is tried beside it, and what served before.
//!
//! **Invariant:** the revision before is kept as long as the one that serves has to prove itself, and no longer.

use std::sync::Arc;
use std::time::Duration;

use super::facts::Facts;
use super::revisions::New;
use super::scan::Candidate;
use crate::catalog::{Deployed, Manner, OnTrial, Proving};
use crate::ids::Revision;
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
    /// What is tried beside what serves.
    pub(super) trial: Option<Candidacy>,
    /// Trials that have ended, with whether the revision stays, until others are published in their place.
    pub(super) ended: Vec<(Arc<OnTrial>, bool)>,
    /// The revision of which it is written down that it is tried.
    pub(super) noted: Option<Revision>,
}

/// A revision that is tried, with what is needed once it serves.
#[derive(Debug)]
pub(super) struct Candidacy {
    pub(super) on: Arc<OnTrial>,
    /// How long loading took.
    took: Duration,
    pub(super) changes: String,
    new: New,
    /// Whether it was told that it is tried.
    pub(super) is_told: bool,
}

impl Known {
    /// Begins to load a handler whose files changed; `before` is what was known of it.
    pub(super) fn again(facts: Facts, before: Option<Self>) -> Self {
        let new = Self {
            facts,
            secrets: Facts::default(),
            problems: Vec::new(),
            serving: None,
            previous: None,
            condemned: None,
            took: None,
            changes: None,
            new: None,
            trial: None,
            ended: Vec::new(),
            noted: None,
        };
        let Some(before) = before else {
            return new;
        };
        Self {
            serving: before.serving,
            previous: before.previous,
            condemned: before.condemned,
            trial: before.trial,
            ended: before.ended,
            noted: before.noted,
            ..new
        }
    }

    /// Returns whether something is tried and nothing but secrets has changed since it was loaded.
    pub(super) fn has_other_secrets(&self, candidate: &Candidate) -> bool {
        self.trial.is_some() && self.facts == candidate.facts && !self.secrets.is_current()
    }

    /// Takes up what was loaded. What served before is kept while the new one has to prove itself, unless it has not proven
    /// itself either. What is to be tried first is tried beside it, in the place of what was tried before.
    pub(super) fn take(&mut self, (deployed, new): (Deployed, New), took: Duration) {
        self.end_trial();
        let old = self.serving.as_ref();
        let changes = old.map(|old| deployed.face.since(&old.face).join("; "));
        if let (Some(trial), Some(old)) = (deployed.trial, old) {
            let handler = Arc::new(deployed);
            let on = OnTrial {
                manner: Manner::of(trial, &handler),
                beside: old.revision.clone(),
                handler,
            };
            self.trial = Some(Candidacy {
                on: Arc::new(on),
                took,
                changes: changes.unwrap_or_default(),
                new,
                is_told: false,
            });
            self.condemned = None;
            return;
        }
        self.changes = changes;
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

    /// Ends the trial of a revision, if there is one; returns the revision. Its records go to what serves, once that is published.
    pub(super) fn end_trial(&mut self) -> Option<Arc<Deployed>> {
        let tried = self.trial.take()?.on;
        let handler = Arc::clone(&tried.handler);
        self.ended.push((tried, false));
        Some(handler)
    }

    /// Lets the revision serve that is tried, if there is one; returns the one that served.
    pub(super) fn promote(&mut self) -> Option<Arc<Deployed>> {
        let tried = self.trial.take()?;
        let handler = Arc::clone(&tried.on.handler);
        self.ended.push((tried.on, true));
        self.took = Some(tried.took);
        self.changes = Some(tried.changes);
        self.new = Some(tried.new);
        self.previous = None;
        self.serving.replace(handler)
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
