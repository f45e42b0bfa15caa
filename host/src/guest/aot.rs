//! Compiled components on disk, so that a start need not compile.
//!
//! A file is named by the digest of its component and by what the engine says of its own compatibility.
//! **Invariant:** only files in a folder that nobody but this user can write are loaded, because loading native code
//! from elsewhere would let its writer out of the sandbox.

#![expect(
    unsafe_code,
    reason = "wasmtime loads native code only through an unsafe function"
)]

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Why a folder cannot hold compiled components.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The folder cannot be made or read.
    #[error("{folder}: {source}")]
    Folder {
        folder: PathBuf,
        source: std::io::Error,
    },
    /// Others could plant code there.
    #[error(
        "{folder}: others may write to it (owner {owner}, mode {mode:o}); it must be this user's own, mode 700"
    )]
    NotPrivate {
        folder: PathBuf,
        owner: u32,
        mode: u32,
    },
}

/// A private folder of compiled components.
#[derive(Debug)]
pub(crate) struct AotCache {
    folder: PathBuf,
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
            folder: folder.to_owned(),
        })
    }

    /// Loads the compiled form of `wasm`, if it is there and made by such an engine.
    pub(super) fn load(&self, engine: &Engine, wasm: &[u8]) -> Option<Component> {
        let path = self.path(engine, wasm);
        if !path.exists() {
            return None;
        }
        // SAFETY: the file lies in a folder that only this user can write (checked when it was opened) and was
        // written there by `store`, whole, through a rename. Wasmtime refuses files of other versions or settings.
        match unsafe { Component::deserialize_file(engine, &path) } {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a compiled component is unusable; compiling anew");
                None
            }
        }
    }

    /// Keeps a compiled component. A failure only costs the next start its time.
    pub(super) fn store(&self, engine: &Engine, wasm: &[u8], component: &Component) {
        let path = self.path(engine, wasm);
        if let Err(error) = write_whole(&path, component) {
            tracing::warn!(path = %path.display(), %error, "a compiled component cannot be kept");
        }
    }

    fn path(&self, engine: &Engine, wasm: &[u8]) -> PathBuf {
        use std::fmt::Write as _;
        let mut name = String::with_capacity(88);
        for byte in Sha256::digest(wasm) {
            // Writing to a String cannot fail.
            let _ = write!(name, "{byte:02x}");
        }
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let _ = write!(name, "-{:016x}.cwasm", hasher.finish());
        self.folder.join(name)
    }
}

fn create_private(path: &Path) -> std::io::Result<fs::File> {
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

fn write_whole(path: &Path, component: &Component) -> Result<(), Box<dyn std::error::Error>> {
    let bytes = component.serialize()?;
    // Unique within the process, too: two deployments may compile the same component.
    let unique = format!(
        "{}-{:?}.tmp",
        std::process::id(),
        std::thread::current().id()
    );
    let draft = path.with_extension(unique);
    create_private(&draft)?.write_all(&bytes)?;
    fs::rename(&draft, path)?;
    Ok(())
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
