//! Whose files serve, those in the handlers folder or those that were rolled back to, and what is kept of revisions.
//!
//! **Invariant:** what was rolled back to serves as long as the files in the handlers folder are those that were rolled
//! back from. What cannot be kept keeps no handler from being deployed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::deployer::Deployer;
use super::scan::{Candidate, MANIFEST, is_component};
use super::vouched::{KEPT_RELEASE, digest_of_file};
use crate::history::{Cause, History, Kept};
use crate::ids::{HandlerId, hex};
use crate::moment::now_ms;
use crate::release::FileDigest;
use crate::state_folder::{Files, StateFolder};

/// Who puts files into the handlers folder, as far as the host knows.
const FOLDER: &str = "handlers folder";

/// Whose files are loaded.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) candidate: Candidate,
    pub(super) cause: Cause,
    who: String,
}

/// What is to be kept of what was loaded.
#[derive(Debug)]
pub(super) struct New {
    files: Files,
    cause: Cause,
    who: String,
}

impl Source {
    /// The files in the handlers folder.
    fn folder(candidate: Candidate) -> Self {
        Self {
            candidate,
            cause: Cause::Folder,
            who: FOLDER.to_owned(),
        }
    }

    /// Files that are kept, in the place of those in the handlers folder. The file of the tenant is that of now.
    pub(super) fn kept(
        state: &StateFolder,
        in_place_of: &Candidate,
        kept: &Kept,
        who: &str,
    ) -> Result<Self, String> {
        let folder = state.release(&in_place_of.id, &kept.revision);
        let unreadable =
            |error: io::Error| format!("{}: cannot be read: {error}", folder.display());
        let mut components = Vec::new();
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_some_and(|it| it == "wasm") {
                components.push(path);
            }
        }
        components.sort();
        let candidate = Candidate {
            manifest: folder.join(MANIFEST),
            release: folder.join(KEPT_RELEASE),
            components,
            ..in_place_of.clone()
        };
        if digest_of(&candidate).map_err(unreadable)? != kept.digest {
            return Err(format!(
                "{}: these are not the files that were kept; they were changed since",
                folder.display()
            ));
        }
        Ok(Self {
            candidate,
            cause: Cause::Rollback,
            who: who.to_owned(),
        })
    }

    /// Returns the same files, put there by somebody who is known.
    pub(super) fn by(self, who: &str) -> Self {
        Self {
            who: who.to_owned(),
            ..self
        }
    }

    /// Returns what is to be kept of these files, once they serve.
    pub(super) fn to_keep(&self, files: Files) -> New {
        New {
            files,
            cause: self.cause,
            who: self.who.clone(),
        }
    }
}

impl New {
    /// Returns how many bytes the largest component has.
    pub(super) fn largest_component(&self) -> usize {
        let files = self.files.iter();
        let components = files.filter(|(path, _)| is_component(path));
        components
            .map(|(_, bytes)| bytes.len())
            .max()
            .unwrap_or_default()
    }
}

impl Deployer {
    /// Returns whose files are to serve where these lie in the handlers folder.
    pub(super) async fn source(&self, candidate: &Candidate) -> Result<Source, Vec<String>> {
        let (state, files) = (self.state.clone(), candidate.clone());
        let found = tokio::task::spawn_blocking(move || rolled_back(state.as_deref()?, &files));
        match found.await {
            Ok(Some(source)) => source.map_err(|problem| vec![problem]),
            Ok(None) | Err(_) => Ok(Source::folder(candidate.clone())),
        }
    }

    /// Takes note that the files in the handlers folder are other ones than those that were rolled back from, if they are.
    pub(super) async fn end_rollback(&self, source: &Source) {
        if source.cause != Cause::Folder {
            return;
        }
        let id = source.candidate.id.clone();
        let ended = self.in_state(&id, |state, id| {
            let mut history = state.history(id)?;
            if history.rollback.take().is_some() {
                state.write(id, &history)?;
                tracing::info!(tenant = %id.tenant, handler = %id.name, "the rollback ends, since the handlers folder has other files now");
            }
            Ok(())
        });
        if let Some(Err(error)) = ended.await {
            warn(
                &source.candidate.id,
                &error,
                "what was rolled back is not known",
            );
        }
    }

    /// Takes up what is kept of a handler that was not known until now.
    pub(super) async fn recall(&mut self, id: &HandlerId) {
        let history = self.in_state(id, StateFolder::history).await;
        match history {
            Some(Ok(History {
                paused: Some(paused),
                ..
            })) => {
                tracing::info!(tenant = %id.tenant, handler = %id.name, by = paused.who, "the handler is paused, as it was before");
                self.paused.insert(id.clone());
            }
            Some(Err(error)) => warn(id, &error, "it is not known whether the handler is paused"),
            Some(Ok(_)) | None => {}
        }
    }

    /// Keeps the revisions that were published.
    pub(super) async fn keep_new(&mut self) {
        let mut all = Vec::new();
        for (id, known) in &mut self.known {
            if let (Some(new), Some(serving)) = (known.new.take(), &known.serving) {
                all.push((id.clone(), serving.revision.clone(), new));
            }
        }
        for (id, revision, new) in all {
            let kept = Kept {
                revision,
                digest: digest_of_files(&new.files),
                at_ms: now_ms(),
                cause: new.cause,
                who: new.who,
                failed: false,
            };
            let files = new.files;
            let result = self.in_state(&id, move |state, id| state.keep(id, kept, &files));
            if let Some(Err(error)) = result.await {
                warn(&id, &error, "the revision serves and is not kept");
            }
        }
    }

    /// Does something with the state folder on a thread that may block; nothing where there is none.
    pub(super) async fn in_state<T: Send + 'static>(
        &self,
        id: &HandlerId,
        run: impl FnOnce(&StateFolder, &HandlerId) -> Result<T, crate::state_folder::Error>
        + Send
        + 'static,
    ) -> Option<Result<T, String>> {
        let (state, id) = (Arc::clone(self.state.as_ref()?), id.clone());
        let done = tokio::task::spawn_blocking(move || run(&state, &id)).await;
        Some(match done {
            Ok(done) => done.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        })
    }
}

fn warn(id: &HandlerId, error: &str, what: &str) {
    tracing::warn!(tenant = %id.tenant, handler = %id.name, error, "{what}");
}

/// Returns what serves in the place of these files, if they were rolled back from.
fn rolled_back(state: &StateFolder, candidate: &Candidate) -> Option<Result<Source, String>> {
    let id = &candidate.id;
    let history = match state.history(id) {
        Ok(history) => history,
        Err(error) => {
            warn(id, &error.to_string(), "what was rolled back is not known");
            return None;
        }
    };
    let rollback = history.rollback.as_ref()?;
    // Files that cannot be read are told of when they are loaded.
    if digest_of(candidate).ok()? != rollback.from {
        return None;
    }
    let source = match history.kept(&rollback.to) {
        Some(kept) => Source::kept(state, candidate, kept, &rollback.who),
        None => Err(format!("revision {} is not kept", rollback.to)),
    };
    Some(source.map_err(|why| {
        format!(
            "{}: was rolled back to revision {}, which cannot serve: {why} (put other files into the handlers folder)",
            candidate.manifest.display(),
            rollback.to
        )
    }))
}

/// Returns what the files of a handler are recognized by, without that of its tenant.
pub(super) fn digest_of(candidate: &Candidate) -> io::Result<String> {
    let mut digests = BTreeMap::from([(MANIFEST.to_owned(), digest_of_file(&candidate.manifest)?)]);
    for path in &candidate.components {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        digests.insert(name.into_owned(), digest_of_file(path)?);
    }
    Ok(digest(&digests))
}

/// The same of files that are to be kept.
pub(super) fn digest_of_files(files: &Files) -> String {
    let is_own = |path: &str| path == MANIFEST || is_component(path) && !path.contains('/');
    let own = files.iter().filter(|(path, _)| is_own(path));
    let digests = own.map(|(path, bytes)| (path.clone(), FileDigest::of(bytes)));
    digest(&digests.collect())
}

fn digest(files: &BTreeMap<String, FileDigest>) -> String {
    let mut all = Sha256::new();
    for (name, digest) in files {
        all.update(name.len().to_le_bytes());
        all.update(name);
        all.update(digest.bytes());
    }
    hex(&all.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::scan::scan;

    #[test]
    fn files_are_recognized_wherever_they_lie() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let digest = |id: &str| {
            let scan = scan(folder.path()).unwrap();
            digest_of(&scan.candidates[&id.parse().unwrap()]).unwrap()
        };
        write("a/handler.toml", "one");
        write("a/b.wasm", "code");
        write("b.toml", "one");
        write("b.wasm", "code");
        assert_eq!(digest("a"), digest("b"));
        let files = Files::from([
            ("handler.toml".to_owned(), b"one".to_vec()),
            ("b.wasm".to_owned(), b"code".to_vec()),
            ("tenant/tenant.toml".to_owned(), b"more".to_vec()),
        ]);
        assert_eq!(digest_of_files(&files), digest("a"));
        // The name of a component counts, and where it ends.
        write("c/handler.toml", "one");
        write("c/c.wasm", "code");
        assert_ne!(digest("a"), digest("c"));
        write("b.wasm", "codes");
        assert_ne!(digest("a"), digest("b"));
    }
}
