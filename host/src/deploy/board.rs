//! What deployments came to, for readiness and metrics.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::stats::{Counter, Histogram};

/// What the deployer tells the outside.
#[derive(Debug, Default)]
pub(crate) struct Board {
    /// What is wrong, with the handler, file or folder in question, as of the last look at the handlers folder.
    problems: Mutex<Vec<(String, String)>>,
    looked: AtomicBool,
    /// Revisions that were published.
    pub(crate) published: Counter,
    /// Revisions that were refused.
    pub(crate) refused: Counter,
    /// Time to compile a component or to take it from the cache.
    pub(crate) compile: Histogram,
}

impl Board {
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

    /// Returns whether the handlers folder was looked at and what was good in it serves.
    pub(crate) fn has_looked(&self) -> bool {
        self.looked.load(Ordering::Acquire)
    }
}
