//! Handlers that come by the control API: their files are tried out beside their place, and put there when they are good.
//!
//! **Invariant:** what is refused, at whatever step, leaves the files and the revision from before.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::time::Instant;

use super::deployer::{Deployer, Prepared};
use super::facts::Facts;
use super::known::Known;
use super::orders::{Done, Refusal};
use super::place::Place;
use super::revisions::Source;
use super::scan::{Candidate, MANIFEST, Scan, TENANT};
use crate::history::Cause;
use crate::ids::HandlerId;
use crate::state_folder::Files;

/// What is sent in.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Upload {
    /// By their names; none of them is in a folder.
    pub(crate) files: Arc<Files>,
    /// Whether whoever sent it runs the host.
    pub(crate) is_operators: bool,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.files.keys().collect();
        f.debug_tuple("Upload").field(&names).finish()
    }
}

/// What was tried out: the revision, unless it is the one that serves, and the files with its secrets.
type Tried = (Prepared, Facts);

impl Deployer {
    /// Tries files out and puts them into the handlers folder.
    pub(super) async fn upload(
        &mut self,
        id: &HandlerId,
        upload: &Upload,
        who: &str,
    ) -> Result<Done, Refusal> {
        let scan = self.scan().await.map_err(Refusal::Conflict)?;
        self.may_upload(id, upload, &scan)?;
        let now = scan.candidates.get(id);
        let place = Place::of(&self.folder, id, now).ok_or_else(|| {
            let why = format!(
                "{id} lies in the handlers folder as two files; give it a folder of its own, {id}/{MANIFEST} with the component \
                 beside it"
            );
            Refusal::Conflict(why)
        })?;
        let like = now.cloned().unwrap_or_else(|| Candidate {
            is_trusted: self.trusted.contains(&id.tenant),
            ..as_new(id, &scan)
        });
        let done = Box::pin(self.try_and_place(&place, like, upload, who)).await;
        let cleared = blocking(move || place.clear()).await;
        if let Err(error) = cleared {
            tracing::warn!(tenant = %id.tenant, handler = %id.name, %error, "what an upload left cannot be removed");
        }
        done
    }

    /// Returns why an upload is not looked at, if it is not.
    fn may_upload(&self, id: &HandlerId, upload: &Upload, scan: &Scan) -> Result<(), Refusal> {
        if !self.only.is_empty() && !self.only.contains(id) {
            let why = format!("this host runs other handlers only (--only), and not {id}");
            return Err(Refusal::Conflict(why));
        }
        if !upload.is_operators && !scan.tenants.contains_key(&id.tenant) {
            let tenant = &id.tenant;
            let why = format!(
                "tenant {tenant} has no {TENANT}, so everything would be granted to what is sent in; whoever runs the host puts \
                 {tenant}/{TENANT} into the handlers folder, or deploys with the role admin"
            );
            return Err(Refusal::Forbidden(why));
        }
        Ok(())
    }

    async fn try_and_place(
        &mut self,
        place: &Place,
        like: Candidate,
        upload: &Upload,
        who: &str,
    ) -> Result<Done, Refusal> {
        let (beside, files) = (place.clone(), Arc::clone(&upload.files));
        let written = blocking(move || beside.write(&files)).await;
        written.map_err(|error| unwritable(place, &error))?;
        let candidate = place.candidate(like, &upload.files);
        // Aside, since a handler does not go together with itself.
        let (id, began) = (candidate.id.clone(), Instant::now());
        let known = self.known.remove(&id);
        let tried = match self.try_upload(&candidate, known.as_ref(), who).await {
            Ok(tried) => self.put(place, &id).await.map(|found| (tried, found)),
            Err(refusal) => Err(refusal.map(|why| place.told(&why))),
        };
        let (((new, secrets), source), found) = match tried {
            Ok(tried) => tried,
            Err(refusal) => {
                self.known.extend(known.map(|known| (id, known)));
                return Err(refusal);
            }
        };
        self.end_rollback(&source).await;
        let was = known.as_ref().and_then(|it| it.serving.as_ref());
        let was = was.map(|it| it.revision.clone());
        if known.is_none() {
            self.recall(&id).await;
        }
        let mut known = Known::again(found.facts, known);
        known.secrets = secrets;
        let note = match new {
            Prepared::New(new) => {
                known.take(*new, began.elapsed());
                let serving = known.serving.as_ref().filter(|_| known.trial.is_some());
                serving.map(|it| format!("it is tried beside revision {}", it.revision))
            }
            Prepared::Serves => {
                known.end_trial();
                Some("these files serve already".to_owned())
            }
            Prepared::IsTried => Some("these files are tried already".to_owned()),
        };
        let newest = known.trial.as_ref().map(|it| &it.on.handler);
        let newest = newest.or(known.serving.as_ref());
        let revision = newest.map(|it| it.revision.clone());
        self.known.insert(id, known);
        self.is_changed = true;
        Ok(Done {
            revision,
            was,
            note,
        })
    }

    async fn try_upload(
        &self,
        candidate: &Candidate,
        known: Option<&Known>,
        who: &str,
    ) -> Result<(Tried, Source), Refusal> {
        let source = self
            .source(candidate)
            .await
            .map_err(|problems| refused(&problems))?;
        if source.cause == Cause::Rollback {
            let why = "these are the files that were rolled back from, and another revision serves in their place (roll back to \
                       the one that is meant by its name)";
            return Err(Refusal::Conflict(why.to_owned()));
        }
        let source = source.by(who);
        let mut secrets = Facts::default();
        let prepared = self.prepare(&source, known, &mut secrets).await;
        if prepared.is_err() {
            self.board.refused.increment();
        }
        let new = prepared.map_err(|problems| refused(&problems))?;
        Ok(((new, secrets), source))
    }

    /// Puts files into their place that are good; returns the handler as the folder has it then.
    async fn put(&self, place: &Place, id: &HandlerId) -> Result<Candidate, Refusal> {
        let at = place.clone();
        let was_there = blocking(move || {
            let was_there = at.folder.try_exists()?;
            at.swap().map(|()| was_there)
        });
        let was_there = was_there.await.map_err(|error| unwritable(place, &error))?;
        let found = match self.scan().await {
            Ok(mut scan) => scan.candidates.remove(id).ok_or_else(|| {
                let problems: Vec<String> = scan.problems.into_values().collect();
                Refusal::Conflict(format!(
                    "the handlers folder does not take it for {id}: {}",
                    problems.join("\n")
                ))
            }),
            Err(why) => Err(Refusal::Conflict(why)),
        };
        let found = found.and_then(|found| {
            let folder = found.manifest.parent();
            if folder == Some(&place.folder) {
                return Ok(found);
            }
            let why = format!("{id} lies in the handlers folder twice");
            Err(Refusal::Conflict(why))
        });
        if found.is_err() {
            let at = place.clone();
            let back = blocking(move || if was_there { at.swap() } else { at.take_back() });
            back.await.map_err(|error| unwritable(place, &error))?;
        }
        found
    }
}

/// Returns a handler that is not there yet, without its files.
fn as_new(id: &HandlerId, scan: &Scan) -> Candidate {
    let tenant = scan.tenants.get(&id.tenant);
    Candidate {
        id: id.clone(),
        manifest: PathBuf::new(),
        components: Vec::new(),
        release: PathBuf::new(),
        is_trusted: false,
        tenant: tenant.and_then(|files| files.first()).cloned(),
        facts: Facts::default(),
    }
}

/// Does something with files on a thread that may block.
async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    let done = tokio::task::spawn_blocking(run).await;
    done.map_err(std::io::Error::other).flatten()
}

fn refused(problems: &[String]) -> Refusal {
    Refusal::Bad(problems.join("\n"))
}

fn unwritable(place: &Place, error: &std::io::Error) -> Refusal {
    Refusal::NotKept(format!(
        "{}: cannot be written: {error} (the host must be able to write to the handlers folder, and it must have room; else \
         deploy by putting the files there)",
        place.folder.display()
    ))
}
