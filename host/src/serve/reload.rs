//! Reading the host's settings again while it runs: after SIGHUP, and when the control API is asked to.
//!
//! Handed the running parts, changes what can change; what that is, [`crate::reload`] says.
//! **Invariant:** where anything is wrong with what is read, nothing changes.

use std::path::Path;
use std::sync::Arc;

use tokio::signal::unix::Signal;
use tokio::sync::mpsc;

use crate::admin::{Reload, View};
use crate::audit::{Audit, Change};
use crate::config::{Origin, ServeConfig};
use crate::deploy::Deployer;
use crate::reload::Plan;
use crate::settings::trusted;
use crate::telemetry;

/// What may be asked while the host is busy.
const RELOADS_MAX: usize = 4;
/// The key of what is logged.
const LOG: &str = "log";
/// Who the log names where a signal asks.
const BY_SIGNAL: &str = "SIGHUP";

/// See the module.
#[derive(Debug)]
pub(super) struct Helm {
    origin: Origin,
    reloads: mpsc::Receiver<Reload>,
    hangups: Option<Signal>,
}

impl Helm {
    /// `origin` is where the settings that the host runs by come from. Gives as well what it is asked by.
    pub(super) fn new(origin: Origin) -> (mpsc::Sender<Reload>, Self) {
        let (sender, reloads) = mpsc::channel(RELOADS_MAX);
        let helm = Self {
            origin,
            reloads,
            hangups: None,
        };
        (sender, helm)
    }

    /// Listens to a signal as well.
    pub(super) fn hear(&mut self, hangups: Signal) {
        self.hangups = Some(hangups);
    }

    /// Waits until somebody asks; nobody by name where it is a signal. What was not waited for to its end is asked later.
    pub(super) async fn asked(&mut self) -> Option<Reload> {
        let hung_up = async {
            match &mut self.hangups {
                Some(hangups) => hangups.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(reload) = self.reloads.recv() => Some(reload),
            Some(()) = hung_up => None,
            else => std::future::pending().await,
        }
    }

    /// Reads the settings again, and says what came of it; then looks at what lies in folders.
    pub(super) async fn turn(
        &mut self,
        asked: Option<Reload>,
        deployer: &mut Deployer,
        view: &View,
    ) {
        let who = asked.as_ref().map_or(BY_SIGNAL, |it| it.who.as_str());
        let cut = Cut {
            who: who.to_owned(),
            audit: Some(Arc::clone(&deployer.audit)),
        };
        let done = self.reload(deployer, view).await;
        cut.over();
        deployer.board.reloads(done.is_ok()).increment();
        tell(who, self.origin.file(), &done, &deployer.audit);
        if let Some(asked) = asked {
            // Who asked may be gone.
            let _ = asked.answer.send(done);
        }
        deployer.look().await;
    }

    /// Takes note of what was asked and will not be looked at any more.
    pub(super) fn turn_away(&mut self, audit: &Arc<Audit>) {
        self.reloads.close();
        while let Ok(reload) = self.reloads.try_recv() {
            drop(Cut {
                who: reload.who,
                audit: Some(Arc::clone(audit)),
            });
        }
    }

    async fn reload(&mut self, deployer: &mut Deployer, view: &View) -> Result<Plan, Vec<String>> {
        let origin = self.origin.clone();
        let read = tokio::task::spawn_blocking(move || origin.again()).await;
        let new = read.unwrap_or_else(|error| Err(vec![error.to_string()]))?;
        let plan = self.origin.plan(&new.origin);
        apply(&new, &plan, deployer, view).map_err(|why| vec![why])?;
        self.origin.take_up(&new.origin);
        Ok(plan)
    }
}

/// Tells of a reload when it is dropped, unless it was over.
struct Cut {
    who: String,
    audit: Option<Arc<Audit>>,
}

impl Cut {
    fn over(mut self) {
        self.audit = None;
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        if let Some(audit) = &self.audit {
            audit.note(&Change {
                refused: Some("the host stops; it reads its settings when it starts"),
                ..Change::of_host(&self.who, "reload")
            });
        }
    }
}

/// Changes what can change: each key that says so has its line here.
fn apply(
    new: &ServeConfig,
    plan: &Plan,
    deployer: &mut Deployer,
    view: &View,
) -> Result<(), String> {
    // The only one that may fail comes first. What somebody changed by the API stays where the file says what it said.
    let log = plan.live.iter().any(|change| change.key == LOG);
    if log && !telemetry::is_from_environment() {
        let directives = new.log.as_deref().unwrap_or(telemetry::DEFAULT);
        view.control.log.set(directives)?;
    }
    view.control.access.set_tokens(new.control.tokens.clone());
    view.watched.set_policy(&new.watchdog);
    if let (Some(old), Some(new)) = (&view.control.tls, &new.control.tls) {
        old.renew(new);
    }
    deployer.trusted = trusted(&new.tenants);
    deployer.set_trust(&new.trust);
    if let Some(state) = &deployer.state {
        state.keep_at_most(new.control.revisions_kept);
    }
    Ok(())
}

fn tell(who: &str, file: Option<&Path>, done: &Result<Plan, Vec<String>>, audit: &Audit) {
    let file = file.map_or_else(
        || "no host.toml (--config)".to_owned(),
        |it| it.display().to_string(),
    );
    let change = Change::of_host(who, "reload");
    match done {
        Ok(plan) => {
            for change in &plan.live {
                tracing::info!("{file}: {change}");
            }
            for change in &plan.restart {
                tracing::warn!("{file}: {change}; needs a restart");
            }
            for change in &plan.overruled {
                tracing::warn!(
                    "{file}: {change}; the command line or the environment says something else, which wins"
                );
            }
            let (live, restart) = (plan.live.len(), plan.restart.len());
            let detail = format!("{file}: {live} changed, {restart} need a restart");
            audit.note(&Change {
                detail: Some(&detail),
                ..change
            });
        }
        Err(problems) => {
            for problem in problems {
                tracing::error!("{problem}; nothing was changed");
            }
            audit.note(&Change {
                detail: Some(&file),
                refused: Some(&problems.join("; ")),
                ..change
            });
        }
    }
}
