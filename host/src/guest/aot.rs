//! Compiled components on disk, so that a start need not compile.
//!
//! A file is named by the digest of its component and by what the engine says of its own compatibility. Beside it lies its
//! seal: a digest of name and content with a key that only this user can read.
//! Beyond a size those go that were not used for longest.
//! **Invariant:** only files in a folder that nobody but this user can write are loaded, and of those only what this host
//! wrote, because loading native code from elsewhere would let its writer out of the sandbox.

#![expect(
    unsafe_code,
    reason = "wasmtime loads native code only through an unsafe function"
)]

use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::machine;
use super::room::{Kept, beyond};
use super::seal::{Seal, SealKey};
use crate::ids::hex;

/// What others than the owner may do with a file.
const OTHERS: u32 = 0o077;
/// The file with the key of the seals.
const KEY: &str = "key";
/// What the names of seals end with.
const SEAL: &str = "seal";
/// What those of compiled components end with, and of what is not whole.
const COMPILED: &str = "cwasm";
const DRAFT: &str = "tmp";
/// Nobody writes for so long: who began a draft is gone.
const DRAFT_MAX: Duration = Duration::from_hours(1);

/// Why a folder cannot hold compiled components.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The folder cannot be made or read.
    #[error(
        "{folder}: {source} (name a folder that the host can write to: `cache` in host.toml, or serve --cache DIR)"
    )]
    Folder { folder: PathBuf, source: io::Error },
    /// Others could plant code there.
    #[error(
        "{folder}: others may write to it (owner {owner}, mode {mode:o}); it must be this user's own, mode 700"
    )]
    NotPrivate {
        folder: PathBuf,
        owner: u32,
        mode: u32,
    },
    /// Others know how files are sealed, or nobody does.
    #[error(
        "{file}: must hold the {} bytes that the host once wrote there, and be readable by this user alone, mode 600 (remove it, \
         and the host makes another one)",
        SealKey::LEN
    )]
    Key { file: PathBuf },
}

/// A private folder of compiled components.
#[derive(Debug)]
pub(crate) struct AotCache {
    folder: PathBuf,
    key: SealKey,
    /// How much may lie there.
    bytes_max: u64,
    /// The system does not let code be run from files of the folder.
    is_noexec: bool,
}

impl AotCache {
    /// Opens the cache, making its folder where it is missing; more than so many bytes do not stay there.
    pub(crate) fn open(folder: &Path, bytes_max: u64) -> Result<Self, Error> {
        let failed = |source| Error::Folder {
            folder: folder.to_owned(),
            source,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(failed)?;
        let found = fs::metadata(folder).map_err(failed)?;
        let (owner, mode) = (found.uid(), found.permissions().mode() & 0o777);
        // A file made by this process tells this process's user, without a system call of our own.
        let probe = folder.join(format!(".probe-{}", std::process::id()));
        let user = create_private(&probe)
            .and_then(|file| file.metadata())
            .map_err(failed)?
            .uid();
        fs::remove_file(&probe).map_err(failed)?;
        if owner != user || mode & 0o022 != 0 {
            return Err(Error::NotPrivate {
                folder: folder.to_owned(),
                owner,
                mode,
            });
        }
        let cache = Self {
            key: key(folder, user)?,
            bytes_max,
            is_noexec: told_noexec(folder),
            folder: folder.to_owned(),
        };
        cache.make_room(&BTreeSet::new());
        Ok(cache)
    }

    /// Loads the compiled form of `wasm`, if it is there and made by such an engine.
    pub(super) fn load(&self, engine: &Engine, wasm: &[u8]) -> Option<Component> {
        let path = self.path(engine, wasm);
        if !path.exists() {
            return None;
        }
        let loaded = self.load_sealed(engine, &path);
        if loaded.is_ok() {
            // By this time it is known which were not used for longest.
            let _ = touch(&path);
        }
        loaded
            .inspect_err(|error| {
                tracing::warn!(path = %path.display(), %error, "a compiled component is unusable; compiling anew");
            })
            .ok()
    }

    fn load_sealed(
        &self,
        engine: &Engine,
        path: &Path,
    ) -> Result<Component, Box<dyn std::error::Error>> {
        let mut file = fs::File::open(path)?;
        let mut found = [0; Seal::LEN];
        fs::File::open(path.with_extension(SEAL))
            .and_then(|mut seal| seal.read_exact(&mut found))
            .map_err(|error| format!("its seal cannot be read: {error}"))?;
        if self.seal(path, &mut file)? != Seal::from(found) {
            return Err("it is not what this host wrote".into());
        }
        if self.is_noexec {
            return self.load_copied(engine, path, Seal::from(found));
        }
        // The file that was looked at, also if another one has its name by now.
        let opened = format!("/dev/fd/{}", file.as_raw_fd());
        // SAFETY: the file lies in a folder that only this user can write (checked when it was opened), and its seal says
        // that `store` wrote it there, of this name and whole. Wasmtime refuses files of other versions or settings.
        Ok(unsafe { Component::deserialize_file(engine, opened) }?)
    }

    /// As [`Self::load_sealed`], of a copy in memory: it takes longer, and may be run.
    fn load_copied(
        &self,
        engine: &Engine,
        path: &Path,
        found: Seal,
    ) -> Result<Component, Box<dyn std::error::Error>> {
        let bytes = fs::read(path)?;
        if self.seal(path, &mut bytes.as_slice())? != found {
            return Err("it is not what this host wrote".into());
        }
        // SAFETY: the seal of these very bytes says that `store` wrote them, of this name and whole, into a folder that only
        // this user can write. Wasmtime refuses bytes of other versions or settings.
        Ok(unsafe { Component::deserialize(engine, bytes) }?)
    }

    /// Returns the seal that a file of this name and content has.
    fn seal(&self, path: &Path, content: &mut impl io::Read) -> io::Result<Seal> {
        let name = path.file_name().unwrap_or_default();
        self.key.seal(name.as_encoded_bytes(), content)
    }

    /// Keeps a compiled component, beside those that are in use, of which the digests are given. A failure only costs the next
    /// start its time.
    pub(super) fn store(
        &self,
        engine: &Engine,
        wasm: &[u8],
        component: &Component,
        mut in_use: BTreeSet<String>,
    ) {
        let path = self.path(engine, wasm);
        if let Err(error) = self.write_sealed(&path, component) {
            tracing::warn!(path = %path.display(), %error, "a compiled component cannot be kept");
        }
        in_use.insert(hex(&Sha256::digest(wasm)));
        self.make_room(&in_use);
    }

    /// Removes what was not used for longest, as far as there is too much.
    fn make_room(&self, in_use: &BTreeSet<String>) {
        if let Err(error) = self.try_make_room(in_use) {
            tracing::warn!(
                folder = %self.folder.display(), %error,
                "what is too much in the folder of compiled components cannot be removed"
            );
        }
    }

    fn try_make_room(&self, in_use: &BTreeSet<String>) -> io::Result<()> {
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            // Other hosts remove files as well.
            let Ok(found) = fs::metadata(&path) else {
                continue;
            };
            let used_at = found.modified()?;
            let age = used_at.elapsed().unwrap_or_default();
            let ending = path.extension().unwrap_or_default();
            if ending == DRAFT && age > DRAFT_MAX {
                gone(fs::remove_file(&path))?;
            } else if ending == COMPILED {
                let is_in_use = digest_in(&path).is_some_and(|it| in_use.contains(it));
                if is_in_use {
                    gone(touch(&path))?;
                }
                kept.push(Kept {
                    bytes: found.len(),
                    used_at,
                    is_in_use,
                    path,
                });
            }
        }
        for path in beyond(kept, self.bytes_max) {
            gone(fs::remove_file(&path))?;
            gone(fs::remove_file(path.with_extension(SEAL)))?;
            tracing::debug!(path = %path.display(), "a compiled component made room for others");
        }
        Ok(())
    }

    fn write_sealed(
        &self,
        path: &Path,
        component: &Component,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let bytes = component.serialize()?;
        let seal = self.seal(path, &mut bytes.as_slice())?;
        write_whole(&path.with_extension(SEAL), seal.as_bytes())?;
        write_whole(path, &bytes)?;
        Ok(())
    }

    fn path(&self, engine: &Engine, wasm: &[u8]) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let name = hex(&Sha256::digest(wasm));
        let name = format!("{name}-{:016x}.cwasm", hasher.finish());
        self.folder.join(name)
    }
}

/// Returns the digest of the component that a file was compiled from.
fn digest_in(path: &Path) -> Option<&str> {
    path.file_stem()?
        .to_str()?
        .split_once('-')
        .map(|(digest, _)| digest)
}

/// Notes that a file was used now.
fn touch(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.set_modified(SystemTime::now())
}

/// Somebody else may have been quicker to remove a file.
fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Returns whether code may not be run from files of the folder, and tells it.
fn told_noexec(folder: &Path) -> bool {
    let is_noexec = machine::is_noexec(folder);
    if is_noexec {
        tracing::warn!(
            folder = %folder.display(),
            "the folder of compiled components is mounted noexec, so they are copied into memory at each start (mount it without \
             noexec, or name another one: `cache` in host.toml, serve --cache DIR)"
        );
    }
    is_noexec
}

fn create_private(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

/// Returns the key of the seals in a folder of this user's, made where there is none.
fn key(folder: &Path, user: u32) -> Result<SealKey, Error> {
    let file = folder.join(KEY);
    let failed = |source| Error::Folder {
        folder: folder.to_owned(),
        source,
    };
    let draft = draft_of(&file);
    if !file.exists() {
        let new = SealKey::random().map_err(failed)?;
        // Of several hosts that begin at once the first one's counts, and it is there whole.
        let made = create_private(&draft)
            .and_then(|mut file| file.write_all(new.as_bytes()))
            .and_then(|()| fs::hard_link(&draft, &file));
        let _ = fs::remove_file(&draft);
        match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed(error));
            }
            _ => {}
        }
    }
    let found = fs::metadata(&file).map_err(failed)?;
    let is_private = found.uid() == user && found.permissions().mode() & OTHERS == 0;
    let key = fs::read(&file).map_err(failed)?;
    let key = SealKey::from_bytes(&key).filter(|_| is_private);
    key.ok_or(Error::Key { file })
}

/// A name beside `path` that is this thread's own: two deployments may compile the same component.
fn draft_of(path: &Path) -> PathBuf {
    path.with_extension(format!(
        "{}-{:?}.tmp",
        std::process::id(),
        std::thread::current().id()
    ))
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = draft_of(path);
    create_private(&draft)?.write_all(bytes)?;
    fs::rename(&draft, path)
}

#[cfg(test)]
mod tests;
