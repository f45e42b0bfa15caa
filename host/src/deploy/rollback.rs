//! What becomes of a revision that has to prove itself: the one before it is kept until then, and comes back if it fails.
//!
//! **Invariant:** a revision that was rolled back does not serve again from the same files.

use std::sync::Arc;

use super::conflict::Party;
use super::deployer::Deployer;
use super::known::Known;
use super::revisions::digest_of;
use crate::catalog::{Deployed, Proving};
use crate::history::Rollback;
use crate::ids::HandlerId;
use crate::moment::now_ms;
use crate::probation::Standing;

/// Who rolls back where nobody asked for it.
const PROBATION: &str = "probation";

impl Deployer {
    /// Does what follows from the verdicts on revisions that had to prove themselves; returns whether the catalog changes.
    pub(super) async fn conclude(&mut self) -> bool {
        let judged = |(id, known): (&HandlerId, &Known)| {
            let standing = known.proving()?.standing();
            let is_new = known.previous.is_some() && standing != Standing::Open;
            is_new.then(|| (id.clone(), standing))
        };
        let judged: Vec<_> = self.known.iter().filter_map(judged).collect();
        let mut has_changed = self.conclude_trials().await;
        for (id, standing) in judged {
            if standing == Standing::Failed {
                if let Some(failed) = self.bring_back(&id) {
                    has_changed = true;
                    self.remember(&id, &failed).await;
                }
            } else if let Some(known) = self.known.get_mut(&id) {
                known.previous = None;
                // What could not be tried beside it can be now.
                has_changed |= !known.problems.is_empty();
                tracing::info!(tenant = %id.tenant, handler = %id.name, "the new revision has proven itself");
            }
        }
        has_changed
    }

    /// Lets the revision before serve again, if it still can; returns the one that failed.
    fn bring_back(&mut self, id: &HandlerId) -> Option<Arc<Deployed>> {
        let known = self.known.get_mut(id)?;
        let (previous, failed) = (known.previous.take()?, known.serving.clone()?);
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
            return None;
        }
        let known = self.known.get_mut(id)?;
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
        known.condemned = Some((failed.own_files.clone(), what));
        known.serving = Some(previous);
        self.board.rolled_back.increment();
        Some(failed)
    }

    /// Writes down that the files in the handlers folder were rolled back, so that they do not serve when the host starts again.
    pub(super) async fn remember(&self, id: &HandlerId, failed: &Deployed) {
        let known = self.known.get(id);
        let Some(serving) = known.and_then(|it| it.serving.as_ref()) else {
            return;
        };
        let Ok(candidate) = self.candidate(id).await else {
            return;
        };
        let failed_files = failed.own_files.clone();
        let (was, to) = (failed.revision.clone(), serving.revision.clone());
        let written = self.in_state(id, move |state, id| {
            let mut history = state.history(id)?;
            history.fail(&was);
            // Other files may lie there by now, and nothing is known against them.
            let from = digest_of(&candidate).ok();
            let from = from.filter(|it| *it == failed_files);
            if let Some(from) = from.filter(|_| history.kept(&to).is_some()) {
                history.rollback = Some(Rollback {
                    from,
                    was: Some(was),
                    to,
                    at_ms: now_ms(),
                    who: PROBATION.to_owned(),
                });
            }
            state.write(id, &history)
        });
        if let Some(Err(error)) = written.await {
            tracing::warn!(
                tenant = %id.tenant, handler = %id.name, error,
                "what failed its probation may serve when the host starts again"
            );
        }
    }
}
