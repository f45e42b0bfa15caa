//! What is asked of the deployer while it runs: to deploy, to roll back, to promote, to pause, to resume.
//!
//! **Invariant:** what is to outlast the host is written before it is acted on, and what is refused leaves what serves.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::cut::Cut;
use super::deployer::{Deployer, Prepared};
use super::facts::Facts;
use super::known::Known;
use super::revisions::{Source, digest_of};
use super::scan::Candidate;
use super::upload::Upload;
use crate::audit::Change;
use crate::history::{Paused, Rollback};
use crate::ids::{HandlerId, Revision};
use crate::moment::now_ms;
use crate::state_folder::StateFolder;

/// What remedies that no state folder is named.
pub(super) const NAME_ONE: &str =
    "name a folder for it: `state` in host.toml, or serve --state DIR";

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    /// To serve a revision that is kept: this one, or the one before.
    RollBack { to: Option<String> },
    /// To let the revision serve that is tried.
    Promote,
    /// To hand over nothing more.
    Pause,
    /// To go on.
    Resume,
    /// To serve these files.
    Deploy(Upload),
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RollBack { .. } => "rollback",
            Self::Promote => "promote",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Deploy(_) => "deploy",
        })
    }
}

/// What is asked of which handler, by whom.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) id: HandlerId,
    pub(crate) wish: Wish,
    pub(crate) who: String,
    pub(crate) answer: oneshot::Sender<Result<Done, Refusal>>,
    /// Free again when it is done, whoever waits for the answer.
    pub(crate) turn: Option<OwnedSemaphorePermit>,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Done {
    /// What serves now, and what served before.
    pub(crate) revision: Option<Revision>,
    pub(crate) was: Option<Revision>,
    /// What whoever asked should know.
    pub(crate) note: Option<String>,
}

/// Why it was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is no such handler, or no such revision.
    Unknown(String),
    /// It cannot be done as things are.
    Conflict(String),
    /// It cannot be written down.
    NotKept(String),
    /// What was sent in is no good.
    Bad(String),
    /// Whoever asks may not have it done.
    Forbidden(String),
}

impl Refusal {
    /// Returns why, in words.
    pub(crate) fn why(&self) -> &str {
        match self {
            Self::Unknown(why)
            | Self::Conflict(why)
            | Self::NotKept(why)
            | Self::Bad(why)
            | Self::Forbidden(why) => why,
        }
    }

    /// Says why in other words.
    pub(super) fn map(self, words: impl Fn(String) -> String) -> Self {
        match self {
            Self::Unknown(why) => Self::Unknown(words(why)),
            Self::Conflict(why) => Self::Conflict(words(why)),
            Self::NotKept(why) => Self::NotKept(words(why)),
            Self::Bad(why) => Self::Bad(words(why)),
            Self::Forbidden(why) => Self::Forbidden(words(why)),
        }
    }
}

impl Deployer {
    /// Does what is asked, and answers when it is done.
    pub(crate) async fn obey(&mut self, order: Order) {
        let Order {
            id,
            wish,
            who,
            answer,
            turn: _turn,
        } = order;
        // A stop does not wait for what is obeyed.
        let cut = Cut::new(&self.audit, &id, &wish, &who);
        let done = match &wish {
            Wish::RollBack { to } => self.roll_back(&id, to.as_deref(), &who).await,
            Wish::Promote => self.promote(&id).await,
            Wish::Pause => self.set_paused(&id, &who, true).await,
            Wish::Resume => self.set_paused(&id, &who, false).await,
            Wish::Deploy(upload) => self.upload(&id, upload, &who).await,
        };
        if done.is_ok() {
            if matches!(wish, Wish::Deploy(_)) {
                // Before anybody subscribes.
                self.make_topics().await;
            }
            // What follows may take long, and whoever pauses is in a hurry.
            self.publish();
            self.keep_new().await;
        }
        cut.over();
        self.note(&id, &wish.to_string(), &who, &done);
        if done.is_ok() {
            self.look().await;
        }
        // Who asked may be gone.
        let _ = answer.send(done);
    }

    /// Takes note of an order that the host does not come to any more.
    pub(crate) fn turn_away(&self, order: &Order) {
        drop(Cut::new(&self.audit, &order.id, &order.wish, &order.who));
    }

    fn note(&self, id: &HandlerId, action: &str, who: &str, done: &Result<Done, Refusal>) {
        let change = Change {
            handler: Some(id),
            ..Change::of_host(who, action)
        };
        let known = self.known.get(id);
        let tried = known.and_then(|it| Some(&it.trial.as_ref()?.on.handler));
        let all = known.and_then(|it| it.serving.as_ref()).into_iter();
        let all: Vec<_> = all.chain(tried).collect();
        let files = |revision: &Revision| {
            let its = all.iter().find(|it| it.revision == *revision);
            its.map(|it| it.own_files.as_str())
        };
        self.audit.note(&match done {
            Ok(Done { revision, was, .. }) => Change {
                revision: revision.as_ref(),
                was: was.as_ref(),
                digest: revision.as_ref().and_then(files),
                ..change
            },
            Err(refusal) => Change {
                refused: Some(refusal.why()),
                ..change
            },
        });
    }

    async fn roll_back(
        &mut self,
        id: &HandlerId,
        to: Option<&str>,
        who: &str,
    ) -> Result<Done, Refusal> {
        if let Some(done) = self.give_up_trial(id, to, who).await {
            return done;
        }
        let Some(state) = self.state.clone() else {
            let why =
                format!("no revisions are kept, so there is none to roll back to; {NAME_ONE}");
            return Err(Refusal::Conflict(why));
        };
        let candidate = self.candidate(id).await?;
        let is_looked_at = self
            .known
            .get(id)
            .is_none_or(|it| it.facts == candidate.facts);
        if !is_looked_at {
            let why = "other files have just come into the handlers folder, and it is not yet known whether they are good (ask \
                       again in a moment)";
            return Err(Refusal::Conflict(why.to_owned()));
        }
        // Aside, since a handler does not go together with itself.
        let known = self.known.remove(id);
        let serving = known.as_ref().and_then(|it| it.serving.clone());
        let (began, mut secrets) = (Instant::now(), Facts::default());
        match self
            .prepare_rollback(&state, &candidate, known.as_ref(), (to, who), &mut secrets)
            .await
        {
            Err(refusal) => {
                self.known.extend(known.map(|known| (id.clone(), known)));
                Err(refusal)
            }
            Ok(new) => {
                let was = serving.as_ref().map(|it| it.revision.clone());
                let mut known = Known::again(candidate.facts, known);
                known.secrets = secrets;
                match new {
                    Prepared::New(new) => known.take(*new, began.elapsed()),
                    Prepared::Serves | Prepared::IsTried => {
                        known.end_trial();
                    }
                }
                let revision = known.serving.as_ref().map(|it| it.revision.clone());
                self.known.insert(id.clone(), known);
                self.is_changed = true;
                Ok(Done {
                    revision,
                    was,
                    note: None,
                })
            }
        }
    }

    /// Loads what is to serve, and writes down that it is.
    async fn prepare_rollback(
        &self,
        state: &Arc<StateFolder>,
        candidate: &Candidate,
        known: Option<&Known>,
        (to, who): (Option<&str>, &str),
        secrets: &mut Facts,
    ) -> Result<Prepared, Refusal> {
        let serving = known.and_then(|it| it.serving.as_ref());
        let was = serving.map(|it| it.revision.clone());
        let asked = Asked {
            was,
            to: to.map(str::to_owned),
            who: who.to_owned(),
        };
        let (state, files) = (Arc::clone(state), candidate.clone());
        let found = tokio::task::spawn_blocking(move || asked.find(&state, &files)).await;
        let (source, rollback) =
            found.unwrap_or_else(|error| Err(Refusal::NotKept(error.to_string())))?;
        let prepared = self.prepare(&source, known, secrets).await;
        let new = prepared.map_err(|problems| Refusal::Conflict(problems.join("\n")))?;
        let written = self.in_state(&candidate.id, move |state, id| {
            let mut history = state.history(id)?;
            if let Some(was) = &rollback.was {
                history.fail(was);
            }
            history.rollback = Some(rollback);
            state.write(id, &history)
        });
        match written.await {
            Some(Err(why)) => Err(Refusal::NotKept(format!("{why}; nothing was changed"))),
            Some(Ok(())) | None => Ok(new),
        }
    }

    async fn set_paused(
        &mut self,
        id: &HandlerId,
        who: &str,
        is_paused: bool,
    ) -> Result<Done, Refusal> {
        let Some(known) = self.known.get(id) else {
            return Err(self.unknown(id));
        };
        let revision = known.serving.as_ref().map(|it| it.revision.clone());
        let paused = is_paused.then(|| Paused {
            at_ms: now_ms(),
            who: who.to_owned(),
        });
        let written = self.in_state(id, move |state, id| {
            let mut history = state.history(id)?;
            if history.paused.is_some() != paused.is_some() {
                history.paused = paused;
                state.write(id, &history)?;
            }
            Ok(())
        });
        let lasts = if is_paused {
            "it goes on when the host starts again"
        } else {
            "it may be paused again when the host starts again"
        };
        // To stop a handler matters more than to remember it.
        let note = match written.await {
            None if is_paused => Some(format!("{lasts}, since nothing is kept; {NAME_ONE}")),
            Some(Err(why)) => Some(format!("{lasts}: {why}")),
            None | Some(Ok(())) => None,
        };
        if is_paused {
            self.paused.insert(id.clone());
        } else {
            self.paused.remove(id);
        }
        self.is_changed = true;
        Ok(Done {
            was: revision.clone(),
            revision,
            note,
        })
    }

    /// Returns the files of a handler as they lie in the handlers folder now.
    pub(super) async fn candidate(&self, id: &HandlerId) -> Result<Candidate, Refusal> {
        let mut scan = self.scan().await.map_err(Refusal::Conflict)?;
        let is_meant = self.only.is_empty() || self.only.contains(id);
        let candidate = scan.candidates.remove(id).filter(|_| is_meant);
        candidate.ok_or_else(|| self.unknown(id))
    }

    pub(super) fn unknown(&self, id: &HandlerId) -> Refusal {
        // Who asks need not know those of other tenants.
        let known = self.known.keys().filter(|it| it.tenant == id.tenant);
        let known: Vec<String> = known.map(ToString::to_string).collect();
        let known = if known.is_empty() {
            "none of this tenant".to_owned()
        } else {
            known.join(", ")
        };
        Refusal::Unknown(format!("this host runs no handler {id} (it runs {known})"))
    }
}

/// What is to be rolled back.
struct Asked {
    was: Option<Revision>,
    to: Option<String>,
    who: String,
}

impl Asked {
    /// Finds the files of the revision that is meant.
    fn find(
        self,
        state: &StateFolder,
        candidate: &Candidate,
    ) -> Result<(Source, Rollback), Refusal> {
        let history = state.history(&candidate.id);
        let history = history.map_err(|error| Refusal::NotKept(error.to_string()))?;
        let kept = history.target(self.was.as_ref(), self.to.as_deref());
        let kept = kept.map_err(|why| match &self.to {
            Some(_) => Refusal::Unknown(why.to_string()),
            None => Refusal::Conflict(why.to_string()),
        })?;
        let source = Source::kept(state, candidate, kept, &self.who);
        let source = source.map_err(Refusal::Conflict)?;
        let from = digest_of(candidate).map_err(|error| {
            let manifest = candidate.manifest.display();
            Refusal::Conflict(format!(
                "{manifest}: the files beside it cannot be read: {error}"
            ))
        })?;
        let rollback = Rollback {
            from,
            was: self.was,
            to: kept.revision.clone(),
            at_ms: now_ms(),
            who: self.who,
        };
        Ok((source, rollback))
    }
}
