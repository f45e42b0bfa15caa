//! What deployments came to, for readiness and metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::stats::{Counter, Histogram};

/// What the deployer tells the outside.
#[derive(Debug, Default)]
pub(crate) struct Board {
    /// What is wrong, with the handler, file or folder in question, as of the last look at the handlers folder.
    problems: Mutex<Vec<(String, String)>>,
    looked: AtomicBool,
    /// How topics come into being that are needed, as of the last deployment.
    remedies: Mutex<BTreeMap<String, String>>,
    /// Topics that were asked for and do not exist, with what is known of each.
    missing_topics: Mutex<Vec<(String, String)>>,
    /// Revisions that were published.
    pub(crate) published: Counter,
    /// Revisions that were refused.
    pub(crate) refused: Counter,
    /// Revisions that failed their probation.
    pub(crate) rolled_back: Counter,
    /// Times that the settings were read again, and that something was wrong with them.
    reloads: [Counter; 2],
    /// Time to compile a component or to take it from the cache.
    pub(crate) compile: Histogram,
}

impl Board {
    /// Returns what counts the reloads that were done, or those that were refused.
    pub(crate) fn reloads(&self, done: bool) -> &Counter {
        let [is_done, refused] = &self.reloads;
        if done { is_done } else { refused }
    }

    /// Replaces what is wrong; returns what is newly wrong.
    pub(super) fn set_problems(&self, found: Vec<(String, String)>) -> Vec<(String, String)> {
        let mut problems = self.problems.lock();
        let new = found
            .iter()
            .filter(|problem| !problems.contains(problem))
            .cloned()
            .collect();
        *problems = found;
        self.looked.store(true, Ordering::Release);
        new
    }

    /// Lists what is wrong, with the handler, file or folder in question.
    pub(crate) fn problems(&self) -> Vec<(String, String)> {
        self.problems.lock().clone()
    }

    /// Replaces how topics come into being.
    pub(super) fn set_remedies(&self, remedies: BTreeMap<String, String>) {
        *self.remedies.lock() = remedies;
    }

    /// Returns how topics come into being, by name.
    pub(crate) fn remedies(&self) -> BTreeMap<String, String> {
        self.remedies.lock().clone()
    }

    /// Replaces the topics that do not exist.
    pub(super) fn set_missing_topics(&self, missing: Vec<(String, String)>) {
        *self.missing_topics.lock() = missing;
    }

    /// Lists the topics that were asked for and do not exist, with what is known of each.
    pub(crate) fn missing_topics(&self) -> Vec<(String, String)> {
        self.missing_topics.lock().clone()
    }

    /// Returns whether the handlers folder was looked at and what was good in it serves.
    pub(crate) fn has_looked(&self) -> bool {
        self.looked.load(Ordering::Acquire)
    }
}
