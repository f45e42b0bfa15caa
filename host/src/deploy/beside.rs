//! A revision that is tried beside the one that serves: whether it can be, how it ends, and how it outlasts the host.
//!
//! **Invariant:** both agree on all that is said of a partition, and the one that serves goes on serving whatever becomes of
//! the other.

use std::sync::Arc;

use tokio::time::Instant;

use super::deployer::{Deployer, Prepared};
use super::facts::Facts;
use super::known::Known;
use super::orders::{Done, NAME_ONE, Refusal};
use super::revisions::{Source, digest_of};
use super::scan::Candidate;
use crate::canary::Side;
use crate::catalog::{Deployed, Handing, Proving};
use crate::history::{Rollback, Tried};
use crate::ids::{HandlerId, Revision};
use crate::moment::now_ms;
use crate::probation::Standing;
use crate::state_folder::{self, StateFolder};

/// Who loads what serves beside a revision that is tried.
const TRIAL: &str = "trial";

/// What may differ between two revisions that have records of the same partition: what concerns single records only.
const MAY_DIFFER: [&str; 16] = [
    "breaker.",
    "code",
    "component",
    "config.",
    "deploy.",
    "hook ",
    "import ",
    "isolation",
    "limits.deadline-ms",
    "limits.memory-mib",
    "limits.outbox-mib",
    "limits.outbox-records",
    "on-exhausted",
    "retry.",
    "secret ",
    "topic[",
];

/// Returns the new revision, ready to be tried beside the old one; the error says why it cannot be.
pub(super) fn fit_beside(mut new: Deployed, old: &Deployed) -> Result<Deployed, String> {
    let remedy =
        "take deploy.canary and deploy.shadow out for this revision, so that it serves at once";
    let names = new.face.differing(&old.face);
    // Waits in topics are the group's.
    let may = |name: &str| {
        let is_meant =
            |it: &str| name == it || it.ends_with(['.', ' ', '[']) && name.starts_with(it);
        name != "retry.topic-delays-ms" && MAY_DIFFER.iter().any(|it| is_meant(it))
    };
    if let Some(name) = names.into_iter().find(|name| !may(name)) {
        return Err(format!(
            "cannot be tried beside revision {}: {name} differs, which both have in common ({remedy})",
            old.revision
        ));
    }
    let is_split = |it: &Deployed| it.handing() == Handing::Singles && it.courses.is_empty();
    if !is_split(&new) || !is_split(old) {
        return Err(format!(
            "cannot be tried beside revision {}: one of them takes batches or has pipelines, which have no single key ({remedy})",
            old.revision
        ));
    }
    if new.rules != old.rules || new.parks() != old.parks() {
        return Err(format!(
            "cannot be tried beside revision {}: they take other records by [[route]] or by the patterns that the component names, \
             or only one of them parks keys ({remedy})",
            old.revision
        ));
    }
    let is_unproven = |it: &Proving| it.standing() != Standing::Passed;
    if old.proving.as_ref().is_some_and(is_unproven) {
        return Err(format!(
            "cannot be tried yet: revision {} is on probation itself (it is tried once that has passed)",
            old.revision
        ));
    }
    // One bound for both.
    new.permits.clone_from(&old.permits);
    Ok(new)
}

impl Deployer {
    /// Does what follows from the verdicts on revisions that are tried; returns whether the catalog changes.
    pub(super) async fn conclude_trials(&mut self) -> bool {
        let judged = |(id, known): (&HandlerId, &Known)| {
            let proving = known.trial.as_ref()?.on.handler.proving.as_ref()?;
            let standing = proving.standing();
            (standing != Standing::Open).then(|| (id.clone(), standing))
        };
        let judged: Vec<_> = self.known.iter().filter_map(judged).collect();
        let has_changed = !judged.is_empty();
        for (id, standing) in judged {
            let Some(known) = self.known.get_mut(&id) else {
                continue;
            };
            if standing == Standing::Passed {
                known.promote();
                tracing::info!(tenant = %id.tenant, handler = %id.name, "the canary is promoted: it was as good as the revision before");
                continue;
            }
            if let Some(failed) = known.end_trial() {
                let what = told(known, &failed);
                tracing::error!(tenant = %id.tenant, handler = %id.name, "{what}");
                known.problems = vec![what.clone()];
                known.condemned = Some((failed.own_files.clone(), what));
                self.board.rolled_back.increment();
                self.remember(&id, &failed).await;
            }
        }
        has_changed
    }

    /// Lets the revision serve that is tried.
    pub(super) async fn promote(&mut self, id: &HandlerId) -> Result<Done, Refusal> {
        let Some(known) = self.known.get(id) else {
            return Err(self.unknown(id));
        };
        if known.trial.is_none() {
            let why = "no revision of it is tried, so there is none to promote (deploy.canary or deploy.shadow has the next one \
                       tried)";
            return Err(Refusal::Conflict(why.to_owned()));
        }
        let written = self.in_state(id, |state, id| write_tried(state, id, None));
        let note = match written.await {
            Some(Err(why)) => {
                return Err(Refusal::NotKept(format!("{why}; nothing was changed")));
            }
            Some(Ok(())) | None => None,
        };
        let known = self.known.get_mut(id);
        let was = known.and_then(Known::promote).map(|it| it.revision.clone());
        let revision = self.known.get(id).and_then(|it| it.serving.as_ref());
        let revision = revision.map(|it| it.revision.clone());
        self.is_changed = true;
        Ok(Done {
            revision,
            was,
            note,
        })
    }

    /// Ends a trial by command, if this asks for it: all records go to the revision that serves.
    pub(super) async fn give_up_trial(
        &mut self,
        id: &HandlerId,
        to: Option<&str>,
        who: &str,
    ) -> Option<Result<Done, Refusal>> {
        let known = self.known.get(id)?;
        let tried = Arc::clone(&known.trial.as_ref()?.on.handler);
        let serving = known.serving.as_ref()?.revision.clone();
        let is_meant = |to: &str| !to.is_empty() && serving.as_str().starts_with(to);
        if !to.is_none_or(is_meant) {
            return None;
        }
        let candidate = match self.candidate(id).await {
            Ok(candidate) => candidate,
            Err(refusal) => return Some(Err(refusal)),
        };
        let (was, back, who) = (tried.revision.clone(), serving.clone(), who.to_owned());
        let tried_files = tried.own_files.clone();
        let written = self.in_state(id, move |state, id| {
            let mut history = state.history(id)?;
            history.tried = None;
            let is_kept = history.kept(&back).is_some();
            // Other files may lie there by now, and those are for the next look.
            let from = digest_of(&candidate).ok();
            if let Some(from) = from.filter(|it| is_kept && *it == tried_files) {
                history.rollback = Some(Rollback {
                    from,
                    was: Some(was),
                    to: back,
                    at_ms: now_ms(),
                    who,
                });
            }
            state.write(id, &history)
        });
        let note = match written.await {
            Some(Err(why)) => {
                return Some(Err(Refusal::NotKept(format!("{why}; nothing was changed"))));
            }
            Some(Ok(())) => None,
            None => Some(format!(
                "the revision that was tried serves when the host starts again, unless other files lie in the handlers folder by \
                 then, since nothing is kept; {NAME_ONE}"
            )),
        };
        let known = self.known.get_mut(id)?;
        known.end_trial();
        let manifest = known.facts.manifest().display();
        let why = format!(
            "{manifest}: the trial of revision {} was ended by command (put other files into the handlers folder)",
            tried.revision
        );
        known.condemned = Some((tried.own_files.clone(), why));
        self.is_changed = true;
        Some(Ok(Done {
            was: Some(tried.revision.clone()),
            revision: Some(serving),
            note,
        }))
    }

    /// Loads what served when the host ended, where something was tried beside it; returns whether it did.
    pub(super) async fn resume_trial(&self, candidate: &Candidate, known: &mut Known) -> bool {
        let (id, files) = (&candidate.id, candidate.clone());
        let found = self.in_state(id, move |state, id| beside(state, id, &files));
        let Some(Ok(Some((beside, source)))) = found.await else {
            return false;
        };
        // What is written there is looked at again, whatever is tried now.
        known.noted = Some(beside);
        let began = Instant::now();
        let prepared = match source {
            Ok(source) => self.prepare(&source, None, &mut Facts::default()).await,
            Err(why) => Err(vec![why]),
        };
        match prepared {
            Ok(Prepared::New(new)) => known.take(*new, began.elapsed()),
            Ok(Prepared::Serves | Prepared::IsTried) => return false,
            Err(problems) => {
                let why = problems.join("; ");
                warn(
                    id,
                    &why,
                    "what was only tried serves at once, since the revision before cannot",
                );
                return false;
            }
        }
        true
    }

    /// Loads once more what serves beside a revision that is tried, with the secrets of now; returns whether it is another one.
    /// What is tried is loaded anew as well, and its counts begin again.
    pub(super) async fn renew_serving(&self, candidate: &Candidate, known: &mut Known) -> bool {
        let id = &candidate.id;
        let Some(serving) = known.serving.as_ref().map(|it| it.revision.clone()) else {
            return false;
        };
        let (files, revision) = (candidate.clone(), serving.clone());
        let found = self.in_state(id, move |state, id| {
            let history = state.history(id)?;
            let kept = history.kept(&revision);
            Ok(kept.map(|kept| Source::kept(state, &files, kept, TRIAL)))
        });
        let began = Instant::now();
        let source = match found.await {
            None => Err(format!("nothing is kept; {NAME_ONE}")),
            Some(Ok(None)) => Err(format!("revision {serving} is not kept")),
            Some(Ok(Some(source))) => source,
            Some(Err(why)) => Err(why),
        };
        let prepared = match source {
            Ok(source) => self.prepare(&source, None, &mut Facts::default()).await,
            Err(why) => Err(vec![why]),
        };
        match prepared {
            Ok(Prepared::New(new)) if new.0.revision != serving => {
                known.take(*new, began.elapsed());
                true
            }
            Ok(_) => false,
            Err(problems) => {
                let what = "what serves goes on with the secrets that it has, beside what is tried with the new ones";
                warn(id, &problems.join("; "), what);
                false
            }
        }
    }

    /// Writes down which revisions are tried, and beside which, where that is not what was written last.
    pub(super) async fn note_trials(&mut self) {
        let mut news = Vec::new();
        // Where nothing serves nothing was taken up: what is written is still to come.
        let serving = self.known.iter_mut();
        for (id, known) in serving.filter(|(_, known)| known.serving.is_some()) {
            let tried = known.trial.as_ref().map(|it| &it.on);
            let revision = tried.map(|it| it.handler.revision.clone());
            if revision != known.noted {
                let tried = tried.map(|it| Tried {
                    beside: it.beside.clone(),
                });
                news.push((id.clone(), tried));
                known.noted = revision;
            }
        }
        for (id, tried) in news {
            let written = self.in_state(&id, |state, id| write_tried(state, id, tried));
            if let Some(Err(why)) = written.await {
                warn(
                    &id,
                    &why,
                    "what is tried may serve alone when the host starts again",
                );
            }
        }
    }
}

/// Returns what an operator should know of a revision that failed.
fn told(known: &Known, failed: &Deployed) -> String {
    let manifest = known.facts.manifest().display();
    let serving = known.serving.as_ref().map(|it| it.revision.to_string());
    let serving = serving.unwrap_or_default();
    let sides = failed.proving.as_ref().and_then(Proving::sides);
    let (old, new) = sides.unwrap_or_default();
    let mean = |side: &Side| {
        let mean = side.mean().map(|it| format!("{it:.1?}"));
        mean.unwrap_or_else(|| "no time".to_owned())
    };
    format!(
        "{manifest}: the canary of revision {} was rolled back: {} of its {} records failed and one took {} on the mean, {} of {} \
         and {} under revision {serving}, which has all records again (mend the component or the manifest; the same files are \
         not deployed again)",
        failed.revision,
        new.failed,
        new.handled + new.failed,
        mean(&new),
        old.failed,
        old.handled + old.failed,
        mean(&old),
    )
}

fn write_tried(
    state: &StateFolder,
    id: &HandlerId,
    tried: Option<Tried>,
) -> Result<(), state_folder::Error> {
    let mut history = state.history(id)?;
    if history.tried != tried {
        history.tried = tried;
        state.write(id, &history)?;
    }
    Ok(())
}

/// The revision beside which something was tried, and what it is loaded from.
type Beside = (Revision, Result<Source, String>);

/// Returns the revision that served in the place of these files when the host ended, and what it is loaded from, if
/// something was tried beside it.
fn beside(
    state: &StateFolder,
    id: &HandlerId,
    files: &Candidate,
) -> Result<Option<Beside>, state_folder::Error> {
    let history = state.history(id)?;
    let found = history.tried.as_ref().map(|Tried { beside }| {
        let source = match history.kept(beside) {
            Some(kept) => Source::kept(state, files, kept, TRIAL),
            None => Err(format!("revision {beside} is not kept")),
        };
        (beside.clone(), source)
    });
    Ok(found)
}

fn warn(id: &HandlerId, error: &str, what: &str) {
    tracing::warn!(tenant = %id.tenant, handler = %id.name, error, "{what}");
}
