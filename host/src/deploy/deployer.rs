//! The deployer: makes what serves match what lies in the handlers folder.
//!
//! One task looks, loads what changed, tries it out and publishes a new catalog; lanes take it up at their next
//! record. Compiling happens on a blocking thread.
//! **Invariant:** a handler that fails at any step leaves its old revision serving, and the others untouched.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;

use super::beside::fit_beside;
use super::board::Board;
use super::conflict::Party;
use super::facts::Facts;
use super::known::Known;
use super::load::{Loaded, load};
use super::revisions::{New, Source, digest_of_files};
use super::scan::{Candidate, Scan, scan, unreadable};
use super::secrets::SecretStore;
use super::topics::TopicKeeper;
use super::trial::try_apart;
use crate::audit::Audit;
use crate::breaker::Breaker;
use crate::canary::Trial;
use crate::catalog::{Catalog, Deployed, Fed, Proving, Share};
use crate::guest::Runtime;
use crate::history::Cause;
use crate::ids::{HandlerId, TenantId};
use crate::manifest::Manifest;
use crate::reply::Exchanges;
use crate::sinks::Sinks;
use crate::state_folder::StateFolder;
use crate::stats::Registry;
use crate::subscriptions::Subscriptions;
use crate::trust::Trust;

/// What the deployer is made of.
#[derive(Debug)]
pub(crate) struct Deployer {
    pub(crate) folder: PathBuf,
    /// The only handlers to run; all when empty.
    pub(crate) only: Vec<HandlerId>,
    pub(crate) runtime: Runtime,
    pub(crate) sinks: Arc<Sinks>,
    pub(crate) exchanges: Arc<Exchanges>,
    pub(crate) catalog: watch::Sender<Arc<Catalog>>,
    pub(crate) subscriptions: Arc<Mutex<Subscriptions>>,
    pub(crate) board: Arc<Board>,
    pub(crate) topics: Arc<TopicKeeper>,
    pub(crate) registry: Arc<Registry>,
    /// Where revisions are kept, if they are.
    pub(crate) state: Option<Arc<StateFolder>>,
    pub(crate) secrets: SecretStore,
    /// Whose signatures are believed, where handlers have to be signed.
    pub(crate) trust: Arc<Trust>,
    /// Whose components cannot be interrupted.
    pub(crate) trusted: BTreeSet<TenantId>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) known: BTreeMap<HandlerId, Known>,
    /// Handlers that are to take nothing.
    pub(crate) paused: BTreeSet<HandlerId>,
    /// Something else has to serve than before, whatever lies in the folder.
    pub(crate) is_changed: bool,
    /// Told when a revision has proven itself, or has not.
    pub(crate) alarm: Arc<Notify>,
}

/// What loading came to.
#[derive(Debug)]
pub(super) enum Prepared {
    /// The files say what serves already.
    Serves,
    /// They say what is tried already.
    IsTried,
    /// Something new, and what is to be kept of it.
    New(Box<(Deployed, New)>),
}

/// What a look at the handlers folder came to, before any of it is taken up.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Something else has to serve than before.
    changed: bool,
    /// What is wrong, with the handler, file or folder in question.
    problems: Vec<(String, String)>,
}

impl Found {
    /// Lists what is wrong, a line each.
    pub(crate) fn problems(self) -> Vec<String> {
        self.problems.into_iter().map(|(_, what)| what).collect()
    }

    /// Returns whether nothing is wrong.
    pub(crate) fn is_fine(&self) -> bool {
        self.problems.is_empty()
    }
}

impl Deployer {
    /// Believes these signatures from the next deployment on; what was refused is looked at again.
    pub(crate) fn set_trust(&mut self, new: &Trust) {
        if *self.trust != *new {
            self.trust = Arc::new(new.clone());
            self.is_changed = true;
        }
    }

    /// Looks at the folder once and takes up what changed.
    pub(crate) async fn look(&mut self) {
        let found = self.load().await;
        self.take_up(found).await;
    }

    /// Looks at the folder once and loads what changed. Nothing is published, and nothing logged of what is wrong.
    pub(crate) async fn load(&mut self) -> Found {
        if self.conclude().await {
            // Records wait for it; whatever else is to be looked at may take long.
            self.publish();
            self.is_changed = true;
        }
        let mut scan = match self.scan().await {
            Ok(scan) => scan,
            Err(what) => {
                return Found {
                    changed: std::mem::take(&mut self.is_changed),
                    problems: vec![(self.folder.display().to_string(), what)],
                };
            }
        };
        let mut problems = Vec::new();
        if !self.only.is_empty() {
            problems.extend(scan.not_found(&self.only));
            scan.candidates.retain(|id, _| self.only.contains(id));
        }
        let mut changed = std::mem::take(&mut self.is_changed);
        changed |= self.forget(&scan.candidates);
        for candidate in scan.candidates.values() {
            changed |= self.consider(candidate).await;
        }
        if changed {
            // What stood in the way of a handler may be gone.
            for candidate in scan.candidates.values() {
                self.consider_again(candidate).await;
            }
        }
        problems.extend(scan.problems);
        for (id, known) in &self.known {
            let told = known.problems.iter();
            problems.extend(told.map(|what| (format!("handler {id}"), what.clone())));
        }
        Found { changed, problems }
    }

    /// Looks what lies in the folder.
    pub(super) async fn scan(&self) -> Result<Scan, String> {
        let folder = self.folder.clone();
        let found = tokio::task::spawn_blocking(move || scan(&folder)).await;
        let found = found.map_err(std::io::Error::other).flatten();
        let mut scan = found.map_err(|error| unreadable(&self.folder, &error))?;
        for candidate in scan.candidates.values_mut() {
            if self.trusted.contains(&candidate.id.tenant) {
                candidate.is_trusted = true;
                candidate.facts.trust();
            }
        }
        Ok(scan)
    }

    /// Lists the handlers whose files were loaded, or refused.
    pub(crate) fn names(&self) -> Vec<HandlerId> {
        self.known.keys().cloned().collect()
    }

    /// Publishes what was loaded, and tells what is newly wrong.
    pub(crate) async fn take_up(&mut self, found: Found) {
        if found.changed {
            // Before anybody subscribes.
            self.make_topics().await;
            self.publish();
        }
        self.topics.tend();
        self.sinks.close_unused();
        self.exchanges.close_unused();
        for (_, what) in self.board.set_problems(found.problems) {
            tracing::error!("{what}");
        }
        // Nobody waits for the disk: what is there serves, and that is known.
        self.keep_new().await;
        self.note_trials().await;
    }

    /// Drops handlers whose files are gone.
    fn forget(&mut self, candidates: &BTreeMap<HandlerId, Candidate>) -> bool {
        let before = self.known.len();
        self.known.retain(|id, _| {
            let stays = candidates.contains_key(id);
            if !stays {
                tracing::info!(tenant = %id.tenant, handler = %id.name, "removed");
            }
            stays
        });
        self.known.len() != before
    }

    /// Loads a handler whose files changed; returns whether the catalog changes.
    async fn consider(&mut self, candidate: &Candidate) -> bool {
        if self
            .known
            .get(&candidate.id)
            .is_some_and(|known| known.facts == candidate.facts && known.secrets.is_current())
        {
            return false;
        }
        if !self.known.contains_key(&candidate.id) {
            self.recall(&candidate.id).await;
        }
        let (changed, is_refused) = self.reload(candidate).await;
        if is_refused {
            self.board.refused.increment();
            let known = self.known.get(&candidate.id);
            if let Some(old) = known.and_then(|known| known.serving.as_ref()) {
                tracing::warn!(
                    tenant = %candidate.id.tenant,
                    handler = %candidate.id.name,
                    revision = %old.revision,
                    "a new revision was refused; the old one goes on serving"
                );
            }
        }
        changed
    }

    /// Loads a handler once more that was refused. A second refusal of the same files is not counted.
    async fn consider_again(&mut self, candidate: &Candidate) {
        let known = self.known.get(&candidate.id);
        if known.is_some_and(|known| !known.problems.is_empty()) {
            self.reload(candidate).await;
        }
    }

    /// Loads a handler, whatever is known of it; returns whether the catalog changes, and whether it was refused.
    async fn reload(&mut self, candidate: &Candidate) -> (bool, bool) {
        let before = self.known.remove(&candidate.id);
        let is_rotated = before
            .as_ref()
            .is_some_and(|it| it.has_other_secrets(candidate));
        let mut known = Known::again(candidate.facts.clone(), before);
        let began = Instant::now();
        let mut secrets = Facts::default();
        let is_resumed = known.serving.is_none() && self.resume_trial(candidate, &mut known).await
            || is_rotated && self.renew_serving(candidate, &mut known).await;
        let source = self.source(candidate).await;
        let is_rollback = source.as_ref().is_ok_and(|it| it.cause == Cause::Rollback);
        let prepared = match source {
            Ok(source) => {
                self.prepare_and_note(&source, Some(&known), &mut secrets)
                    .await
            }
            Err(problems) => Err(problems),
        };
        known.secrets = secrets;
        let done = match prepared {
            Ok(Prepared::New(new)) => {
                known.take(*new, began.elapsed());
                (true, false)
            }
            // The same content again; what was taken back is still told.
            Ok(Prepared::Serves) => {
                let taken_back = known.condemned.iter().filter(|_| is_rollback);
                known.problems = taken_back.map(|(_, why)| why.clone()).collect();
                (known.end_trial().is_some() || is_resumed, false)
            }
            Ok(Prepared::IsTried) => (false, false),
            Err(problems) => {
                known.problems = problems;
                (is_resumed, true)
            }
        };
        self.known.insert(candidate.id.clone(), known);
        done
    }

    /// As [`Self::prepare`]; files that are good end a rollback from other ones.
    async fn prepare_and_note(
        &self,
        source: &Source,
        known: Option<&Known>,
        seen: &mut Facts,
    ) -> Result<Prepared, Vec<String>> {
        let prepared = self.prepare(source, known, seen).await?;
        self.end_rollback(source).await;
        Ok(prepared)
    }

    /// Loads and tries out. `seen` becomes what is known of secrets.
    pub(super) async fn prepare(
        &self,
        source: &Source,
        known: Option<&Known>,
        seen: &mut Facts,
    ) -> Result<Prepared, Vec<String>> {
        let (began, candidate) = (Instant::now(), &source.candidate);
        let runtime = self.runtime.of(candidate.is_trusted);
        let runtime = runtime.map_err(|error| vec![error.to_string()])?;
        let files = candidate.clone();
        let (secrets, trust) = (self.secrets.clone(), Arc::clone(&self.trust));
        let loading = tokio::task::spawn_blocking(move || {
            let mut seen = Facts::default();
            (load(&files, &runtime, &secrets, &trust, &mut seen), seen)
        });
        let (loaded, found) = loading.await.map_err(|error| {
            let manifest = candidate.manifest.display();
            vec![format!("{manifest}: loading failed: {error}")]
        })?;
        *seen = found;
        let mut loaded = loaded?;
        self.board.compile.observe(began.elapsed());
        let own_files = digest_of_files(&loaded.files);
        if source.cause == Cause::Folder
            && let Some(why) = known.and_then(|it| it.is_condemned(&own_files))
        {
            return Err(vec![why.to_owned()]);
        }
        if let Some(why) = self.unguarded(candidate, known) {
            return Err(vec![why]);
        }
        // It is said for the tenant as a whole, whatever becomes of this handler.
        let meter = self.registry.meter(&candidate.id.tenant);
        meter.bound(loaded.quotas.rates);
        meter.compiled(loaded.compiled, loaded.quotas.compile);
        let serving = known.and_then(|it| it.serving.as_ref());
        if serving.is_some_and(|serving| serving.revision == loaded.revision) {
            return Ok(Prepared::Serves);
        }
        let tried = known.and_then(|it| it.trial.as_ref());
        if tried.is_some_and(|it| it.on.handler.revision == loaded.revision) {
            return Ok(Prepared::IsTried);
        }
        let new = source.to_keep(std::mem::take(&mut loaded.files));
        let share = Share {
            quotas: loaded.quotas,
            component_bytes: new.largest_component(),
        };
        // To go back would bring back, too, what its tenant may not have any more.
        let is_own = |it: &Arc<Deployed>| {
            it.own_files != own_files && it.face.has_same("tenant's", &loaded.face)
        };
        let has_to_prove = source.cause == Cause::Folder && serving.is_some_and(is_own);
        let mut deployed = self
            .deployable(candidate, loaded, (own_files, has_to_prove))
            .await
            .and_then(|new| {
                let beside = serving.filter(|_| new.trial.is_some());
                let fits = match beside {
                    Some(old) => fit_beside(new, old),
                    None => Ok(new),
                };
                fits.map_err(|what| format!("{}: {what}", candidate.manifest.display()))
            })
            .map_err(|problem| vec![problem])?;
        deployed.share = share;
        Ok(Prepared::New(Box::new((deployed, new))))
    }

    async fn deployable(
        &self,
        candidate: &Candidate,
        loaded: Loaded,
        (own_files, has_to_prove): (String, bool),
    ) -> Result<Deployed, String> {
        let at = |what: String| format!("{}: {what}", candidate.manifest.display());
        if let Some(what) = self.forgetful_topics(&loaded.manifest).await {
            return Err(at(what));
        }
        if let Some(beyond) = self.one_too_many(&candidate.id, &loaded.quotas) {
            return Err(at(beyond.to_string()));
        }
        let sink = self
            .sinks
            .get(&loaded.manifest)
            .map_err(|error| at(error.to_string()))?;
        let setup = self.setup(&candidate.id, &loaded, &sink).map_err(at)?;
        let (rules, loaded, setup) = try_apart(candidate.clone(), loaded, setup).await?;
        let Loaded {
            manifest,
            face,
            component,
            middleware,
            steps,
            revision,
            ..
        } = loaded;
        let middleware = middleware.into_chain(&candidate.id, &setup, &self.registry);
        let new = Party {
            id: &candidate.id,
            manifest: &manifest,
            rules: &rules,
            middleware: &middleware.id,
            takes_singles: component.takes().singles || !manifest.pipelines.is_empty(),
        };
        if let Some(what) = self.clash(new) {
            return Err(at(what));
        }
        let courses =
            steps.into_courses(&candidate.id, &manifest.pipelines, &setup, &self.registry);
        Ok(Deployed {
            id: candidate.id.clone(),
            revision,
            own_files,
            face,
            permits: manifest
                .concurrency
                .map(|instances| Arc::new(Semaphore::new(instances))),
            breaker: manifest
                .breaker
                .map(|policy| Mutex::new(Breaker::new(policy))),
            proving: self.proving(&manifest).filter(|_| has_to_prove),
            trial: manifest.trial.filter(|_| has_to_prove),
            fed: Fed::default(),
            manifest,
            component,
            rules,
            setup,
            share: Share::default(),
            middleware,
            courses,
            sink,
        })
    }

    /// Begins the probation that a manifest asks for, or the trial.
    fn proving(&self, manifest: &Manifest) -> Option<Proving> {
        let alarm = Arc::clone(&self.alarm);
        match manifest.trial {
            Some(Trial::Canary(policy)) => Some(Proving::of_canary(policy, alarm)),
            Some(Trial::Shadow) => None,
            None => Some(Proving::new(manifest.probation?, alarm)),
        }
    }
}
