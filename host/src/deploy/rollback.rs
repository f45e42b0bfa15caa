//! What becomes of a revision that has to prove itself: the one before it is kept until then, and comes back if it fails.
//!
//! **Invariant:** a revision that was rolled back does not serve again from the same files.

use std::sync::Arc;

use super::conflict::Party;
use super::deployer::{Deployer, Known};
use super::facts::Facts;
use crate::catalog::{Deployed, Proving};
use crate::ids::HandlerId;
use crate::probation::Standing;

impl Known {
    /// Begins to load a handler whose files changed; `before` is what was known of it.
    pub(super) fn again(facts: Facts, before: Option<Self>) -> Self {
        let (serving, previous, condemned) = before.map_or((None, None, None), |it| {
            (it.serving, it.previous, it.condemned)
        });
        Self {
            facts,
            problems: Vec::new(),
            serving,
            previous,
            condemned,
            took: None,
            changes: None,
        }
    }

    /// Lets a new revision serve. What served before is kept while the new one has to prove itself, unless it has not proven
    /// itself either.
    pub(super) fn replace(&mut self, new: Deployed) {
        let has_to_prove = new.proving.is_some();
        let old = self.serving.replace(Arc::new(new));
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
    }

    fn proving(&self) -> Option<&Proving> {
        self.serving.as_ref()?.proving.as_ref()
    }
}

impl Deployer {
    /// Does what follows from the verdicts on revisions that had to prove themselves; returns whether the catalog changes.
    pub(super) fn conclude(&mut self) -> bool {
        let judged = |(id, known): (&HandlerId, &Known)| {
            let standing = known.proving()?.standing();
            let is_new = known.previous.is_some() && standing != Standing::Open;
            is_new.then(|| (id.clone(), standing))
        };
        let judged: Vec<_> = self.known.iter().filter_map(judged).collect();
        let mut has_changed = false;
        for (id, standing) in judged {
            if standing == Standing::Failed {
                has_changed |= self.roll_back(&id);
            } else if let Some(known) = self.known.get_mut(&id) {
                known.previous = None;
                tracing::info!(tenant = %id.tenant, handler = %id.name, "the new revision has proven itself");
            }
        }
        has_changed
    }

    /// Lets the revision before serve again, if it still can; returns whether it does.
    fn roll_back(&mut self, id: &HandlerId) -> bool {
        let Some(known) = self.known.get_mut(id) else {
            return false;
        };
        let (Some(previous), Some(failed)) = (known.previous.take(), known.serving.clone()) else {
            return false;
        };
        let counts = failed.proving.as_ref().map(Proving::counts);
        let (handled, failures) = counts.unwrap_or_default();
        let (tenant, name, revision) = (&id.tenant, &id.name, &failed.revision);
        if let Some(what) = self.clash(Party::of(&previous)) {
            if let Some(proving) = &failed.proving {
                proving.pass();
            }
            tracing::error!(
                %tenant, handler = %name, %revision, failures, handled,
                "too many records fail under the new revision, and the one before cannot come back: {what}"
            );
            return false;
        }
        let Some(known) = self.known.get_mut(id) else {
            return false;
        };
        let manifest = known.facts.manifest().display();
        let what = format!(
            "{manifest}: revision {revision} was rolled back: {failures} of the first {} records failed under it; {} serves again \
             (mend the component or the manifest; the same files are not deployed again)",
            handled + failures,
            previous.revision,
        );
        tracing::error!(
            %tenant, handler = %name, %revision, back_to = %previous.revision, failures, handled,
            "too many records fail under the new revision: rolled back"
        );
        known.problems = vec![what.clone()];
        known.condemned = Some((failed.revision.clone(), what));
        known.serving = Some(previous);
        self.board.rolled_back.increment();
        true
    }
}
