//! The folder in which a host keeps the revisions of its handlers.
//!
//! `<tenant>/<handler>/history.json` says what is kept, and beside it lies a folder for each revision with the files that
//! made it.
//! **Invariant:** what is there is whole: files are written under another name, brought to the disk, and renamed then. A
//! revision that is there is never written again.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::history::{History, Kept};
use crate::ids::{HandlerId, Revision};
use crate::stats::Counter;

/// What is kept of a handler.
const HISTORY: &str = "history.json";
/// What the names of files begin with that are not whole.
const DRAFT: &str = ".new-";
/// What is written to see whether there is room: a block of a disk.
const PROBE_BYTES: usize = 4096;
/// The file that a host holds locked as long as it runs.
const LOCK: &str = ".lock";

/// The files of a revision, by their paths in its folder.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// Why something is not kept, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Something cannot be written.
    #[error(
        "{path}: cannot be written: {source} (the host must be able to write to the folder that `state` names, and it must have \
         room)"
    )]
    Write { path: PathBuf, source: io::Error },
    /// Something cannot be read.
    #[error("{path}: cannot be read: {source}")]
    Read { path: PathBuf, source: io::Error },
    /// The history is no history.
    #[error(
        "{path}: this is not what the host has written there: {why} (put a copy in its place, or remove the folder that it lies \
         in; then nothing is kept of this handler)"
    )]
    Damaged { path: PathBuf, why: String },
    /// Others could plant files there.
    #[error(
        "{path}: others may write to it (mode {mode:o}); what lies there is deployed, so it must be this user's own, mode 700"
    )]
    NotPrivate { path: PathBuf, mode: u32 },
    /// It is another host's.
    #[error(
        "{path}: another host that runs keeps its revisions there (give each host a folder of its own: `state` in host.toml, or \
         serve --state DIR; or stop the other one)"
    )]
    Taken { path: PathBuf },
}

/// See the module.
#[derive(Debug)]
pub(crate) struct StateFolder {
    root: PathBuf,
    /// Revisions of a handler that are kept.
    kept: AtomicUsize,
    /// How often something could not be read or written.
    failures: Counter,
    /// Keeps other hosts out, where that was possible.
    lock: Option<File>,
}

impl StateFolder {
    /// Names the folder; nothing is made yet.
    pub(crate) fn new(root: PathBuf, kept: usize) -> Self {
        Self {
            root,
            kept: AtomicUsize::new(kept),
            failures: Counter::default(),
            lock: None,
        }
    }

    /// Keeps other hosts out of the folder as long as this lives; a host that is killed keeps nobody out.
    pub(crate) fn lock(&mut self) -> Result<(), Error> {
        let path = self.root.join(LOCK);
        let locked = self.check_private().and_then(|()| {
            make_folder(&self.root).map_err(write_error(&self.root))?;
            let mut options = OpenOptions::new();
            let options = options.write(true).create(true).truncate(false).mode(0o600);
            options.open(&path).map_err(write_error(&path))
        })?;
        match locked.try_lock() {
            Err(TryLockError::WouldBlock) => Err(Error::Taken {
                path: self.root.clone(),
            }),
            Err(TryLockError::Error(error)) => Err(write_error(&path)(error)),
            Ok(()) => {
                self.lock = Some(locked);
                Ok(())
            }
        }
    }

    /// Keeps so many revisions of a handler from its next one on.
    pub(crate) fn keep_at_most(&self, kept: usize) {
        self.kept.store(kept, Ordering::Relaxed);
    }

    /// Returns how often something could not be read or written.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.get()
    }

    /// Reads what is kept of a handler.
    pub(crate) fn history(&self, id: &HandlerId) -> Result<History, Error> {
        self.counted(self.read_history(id))
    }

    /// Writes what is kept of a handler.
    pub(crate) fn write(&self, id: &HandlerId, history: &History) -> Result<(), Error> {
        self.counted(self.write_history(id, history))
    }

    /// Keeps a revision that serves from now on.
    pub(crate) fn keep(&self, id: &HandlerId, new: Kept, files: &Files) -> Result<(), Error> {
        self.counted(self.keep_files(id, new, files))
    }

    /// Returns where the files of a revision lie.
    pub(crate) fn release(&self, id: &HandlerId, revision: &Revision) -> PathBuf {
        self.folder(id).join(revision.as_str())
    }

    /// Removes what is not whole, or not kept any more: the host ended while it wrote.
    pub(crate) fn sweep(&self) -> Result<(), Error> {
        self.counted(self.sweep_all())
    }

    /// Sees whether something can be written: it is better known now than when there is something to keep.
    pub(crate) fn probe(&self) -> Result<(), Error> {
        self.counted(self.try_write())
    }

    fn try_write(&self) -> Result<(), Error> {
        self.check_private()?;
        make_folder(&self.root).map_err(write_error(&self.root))?;
        let draft = self.root.join(format!("{DRAFT}probe"));
        let written = write_whole(&draft, &[0; PROBE_BYTES]);
        let _ = fs::remove_file(&draft);
        written.map_err(write_error(&self.root))
    }

    fn counted<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        result.inspect_err(|_| self.failures.increment())
    }

    fn folder(&self, id: &HandlerId) -> PathBuf {
        self.root.join(id.tenant.as_str()).join(id.name.as_str())
    }

    fn read_history(&self, id: &HandlerId) -> Result<History, Error> {
        self.check_private()?;
        history_in(&self.folder(id))
    }

    fn write_history(&self, id: &HandlerId, history: &History) -> Result<(), Error> {
        self.check_private()?;
        let folder = self.folder(id);
        make_folder(&folder).map_err(write_error(&folder))?;
        let path = folder.join(HISTORY);
        let text = serde_json::to_string_pretty(history);
        let text = text.map_err(io::Error::other).map_err(write_error(&path))?;
        let draft = folder.join(format!("{DRAFT}{HISTORY}"));
        write_whole(&draft, text.as_bytes())
            .and_then(|()| fs::rename(&draft, &path))
            .and_then(|()| sync(&folder))
            .map_err(write_error(&path))
    }

    fn keep_files(&self, id: &HandlerId, new: Kept, files: &Files) -> Result<(), Error> {
        let before = self.read_history(id)?;
        if before.kept(&new.revision).is_none() {
            self.write_files(id, &new.revision, files)?;
        }
        let mut history = before.clone();
        let dropped = history.publish(new, self.kept.load(Ordering::Relaxed));
        if history != before {
            self.write_history(id, &history)?;
        }
        for revision in dropped {
            remove(&self.release(id, &revision))?;
        }
        Ok(())
    }

    fn write_files(&self, id: &HandlerId, revision: &Revision, files: &Files) -> Result<(), Error> {
        let folder = self.folder(id);
        make_folder(&folder).map_err(write_error(&folder))?;
        let draft = folder.join(format!("{DRAFT}{revision}"));
        let whole = self.release(id, revision);
        // What is there is not in the history: it is what was left of another try.
        remove(&draft)?;
        remove(&whole)?;
        let written = write_all(&draft, files).and_then(|()| {
            fs::rename(&draft, &whole)?;
            sync(&folder)
        });
        if written.is_err() {
            // The room is needed by others.
            let _ = remove(&draft);
        }
        written.map_err(write_error(&whole))
    }

    fn sweep_all(&self) -> Result<(), Error> {
        self.check_private()?;
        for tenant in entries(&self.root)? {
            for handler in entries(&tenant)? {
                // Where there is none, the folder is perhaps not the host's; of what is damaged, nothing is removed.
                if !handler.join(HISTORY).is_file() {
                    continue;
                }
                let Ok(history) = history_in(&handler) else {
                    continue;
                };
                for path in entries(&handler)? {
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    let is_kept = |it: &Kept| it.revision.as_str() == name;
                    let is_own = name.starts_with(DRAFT) || Revision::is_name(&name);
                    if is_own && !history.revisions.iter().any(is_kept) {
                        remove(&path)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn check_private(&self) -> Result<(), Error> {
        match fs::metadata(&self.root) {
            Ok(found) => {
                let mode = found.permissions().mode() & 0o777;
                // The owner of what this process is shown as is its user.
                let user = fs::metadata("/proc/self").map(|it| it.uid());
                let is_other = user.is_ok_and(|user| user != found.uid());
                if is_other || mode & 0o022 != 0 {
                    let path = self.root.clone();
                    return Err(Error::NotPrivate { path, mode });
                }
                Ok(())
            }
            // It is made when something is written.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(source) => {
                let path = self.root.clone();
                Err(Error::Read { path, source })
            }
        }
    }
}

fn history_in(folder: &Path) -> Result<History, Error> {
    let path = folder.join(HISTORY);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(History::default()),
        Err(source) => return Err(Error::Read { path, source }),
    };
    serde_json::from_slice(&text).map_err(|error| {
        let why = error.to_string();
        Error::Damaged { path, why }
    })
}

/// Lists a folder; one that is not there, and what is no folder, is empty.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| {
        let path = folder.to_owned();
        Error::Read { path, source }
    };
    let found = match fs::read_dir(folder) {
        Ok(found) => found,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed(error)),
    };
    let paths = found.map(|entry| Ok(entry?.path()));
    paths.collect::<io::Result<_>>().map_err(failed)
}

fn write_error(path: &Path) -> impl Fn(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Write {
        path: path.clone(),
        source,
    }
}

/// Makes a folder that is its owner's alone.
fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn write_all(folder: &Path, files: &Files) -> io::Result<()> {
    make_folder(folder)?;
    for (name, bytes) in files {
        let path = folder.join(name);
        let inner = path.parent().unwrap_or(folder);
        make_folder(inner)?;
        write_whole(&path, bytes)?;
        sync(inner)?;
    }
    sync(folder)
}

/// Writes a file and sees that it is on the disk.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Sees that the names in a folder are on the disk.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Removes a file, or a folder with what is in it; it need not be there.
fn remove(path: &Path) -> Result<(), Error> {
    let is_folder = fs::symlink_metadata(path).is_ok_and(|it| it.is_dir());
    let removed = if is_folder {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(write_error(path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
