//! Compiled components on disk, so that a start need not compile.
//!
//! A file is named by the digest of its component and by what the engine says of its own compatibility. Beside it lies its
//! seal: a digest of name and content with a key that only this user can read.
//! **Invariant:** only files in a folder that nobody but this user can write are loaded, and of those only what this host
//! wrote, because loading native code from elsewhere would let its writer out of the sandbox.

#![expect(
    unsafe_code,
    reason = "wasmtime loads native code only through an unsafe function"
)]

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::machine;
use super::seal::{Seal, SealKey};
use crate::ids::hex;

/// What others than the owner may do with a file.
const OTHERS: u32 = 0o077;
/// The file with the key of the seals.
const KEY: &str = "key";
/// What the names of seals end with.
const SEAL: &str = "seal";

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
    /// The system does not let code be run from files of the folder.
    is_noexec: bool,
}

impl AotCache {
    /// Opens the cache, making its folder where it is missing.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
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
        Ok(Self {
            key: key(folder, user)?,
            is_noexec: told_noexec(folder),
            folder: folder.to_owned(),
        })
    }

    /// Loads the compiled form of `wasm`, if it is there and made by such an engine.
    pub(super) fn load(&self, engine: &Engine, wasm: &[u8]) -> Option<Component> {
        let path = self.path(engine, wasm);
        if !path.exists() {
            return None;
        }
        let loaded = self.load_sealed(engine, &path);
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

    /// Keeps a compiled component. A failure only costs the next start its time.
    pub(super) fn store(&self, engine: &Engine, wasm: &[u8], component: &Component) {
        let path = self.path(engine, wasm);
        if let Err(error) = self.write_sealed(&path, component) {
            tracing::warn!(path = %path.display(), %error, "a compiled component cannot be kept");
        }
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
mod tests {
    use super::*;

    /// A component that is as small as can be.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    #[test]
    fn a_stored_component_is_loaded_again_and_a_damaged_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let cache = AotCache::open(&folder.path().join("aot")).unwrap();
        let engine = Engine::default();
        let component = Component::new(&engine, EMPTY).unwrap();
        assert!(cache.load(&engine, EMPTY).is_none());
        cache.store(&engine, EMPTY, &component);
        assert!(cache.load(&engine, EMPTY).is_some());
        fs::write(cache.path(&engine, EMPTY), b"not native code").unwrap();
        assert!(cache.load(&engine, EMPTY).is_none());
        cache.store(&engine, EMPTY, &component);
        assert!(cache.load(&engine, EMPTY).is_some());
    }

    #[test]
    fn what_may_not_be_run_where_it_lies_is_loaded_from_a_copy() {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = AotCache::open(&folder.path().join("aot")).unwrap();
        cache.is_noexec = true;
        let engine = Engine::default();
        let component = Component::new(&engine, EMPTY).unwrap();
        cache.store(&engine, EMPTY, &component);
        assert!(cache.load(&engine, EMPTY).is_some());
        let path = cache.path(&engine, EMPTY);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(cache.load(&engine, EMPTY).is_none());
    }

    #[test]
    fn what_the_host_did_not_write_is_not_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let open = |name: &str| AotCache::open(&folder.path().join(name)).unwrap();
        let (cache, other) = (open("aot"), open("other"));
        let engine = Engine::default();
        let component = Component::new(&engine, EMPTY).unwrap();
        let path = cache.path(&engine, EMPTY);
        cache.store(&engine, EMPTY, &component);
        let seal = path.with_extension(SEAL);
        // Native code that is fine, and from elsewhere: of another host, of another component, without a seal.
        other.store(&engine, EMPTY, &component);
        let planted = other.path(&engine, EMPTY);
        let own = fs::read(&seal).unwrap();
        fs::copy(planted.with_extension(SEAL), &seal).unwrap();
        assert!(cache.load(&engine, EMPTY).is_none());
        fs::remove_file(&seal).unwrap();
        assert!(cache.load(&engine, EMPTY).is_none());
        fs::write(&seal, &own).unwrap();
        assert!(cache.load(&engine, EMPTY).is_some());
        let mut named = EMPTY.to_vec();
        named.extend([0, 2, 1, b'x']);
        let elsewhere = cache.path(&engine, &named);
        fs::copy(&path, &elsewhere).unwrap();
        fs::copy(&seal, elsewhere.with_extension(SEAL)).unwrap();
        assert!(cache.load(&engine, &named).is_none());
        // One bit of it, somewhere in the code.
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(cache.load(&engine, EMPTY).is_none());
    }

    #[test]
    fn the_key_stays_and_nobody_else_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("aot");
        let engine = Engine::default();
        let component = Component::new(&engine, EMPTY).unwrap();
        AotCache::open(&place)
            .unwrap()
            .store(&engine, EMPTY, &component);
        assert!(
            AotCache::open(&place)
                .unwrap()
                .load(&engine, EMPTY)
                .is_some()
        );
        let key = place.join(KEY);
        assert_eq!(
            fs::metadata(&key).unwrap().permissions().mode() & 0o777,
            0o600
        );
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(AotCache::open(&place), Err(Error::Key { .. })));
        fs::remove_file(&key).unwrap();
        // With another key what was there is compiled anew.
        assert!(
            AotCache::open(&place)
                .unwrap()
                .load(&engine, EMPTY)
                .is_none()
        );
        fs::write(&key, b"short").unwrap();
        assert!(matches!(AotCache::open(&place), Err(Error::Key { .. })));
    }

    #[test]
    fn a_folder_that_others_may_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(
            AotCache::open(folder.path()),
            Err(Error::NotPrivate { mode: 0o777, .. })
        ));
    }
}
