//! Handlers folders as users make and change them: whole, replaced, half-copied, removed.
//!
//! It is handed components by path and manifests by text, and owns the folder they are put in.
//! **Invariant:** a method named `swap_…` is atomic for a watcher; the others are as `cp` is, on purpose.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::root;

/// The manifest's name in a handler's folder.
const MANIFEST: &str = "handler.toml";
/// The component's name in a handler's folder.
const COMPONENT: &str = "handler.wasm";

/// Returns the component of a fixture of tests/guests or of an example, by the name of its crate.
pub fn guest(krate: &str) -> PathBuf {
    let file = format!("{}.wasm", krate.replace('-', "_"));
    let path = root()
        .join("target/guests/wasm32-wasip2/release")
        .join(file);
    assert!(
        path.exists(),
        "the guest {krate} is not built: run `cargo xtask guests`"
    );
    path
}

/// Returns a component like another whose bytes differ by a remark, so that it is compiled anew: a custom section, which says
/// nothing to whoever runs it. The remark has at most 100 bytes.
pub fn remarked(component: &[u8], remark: &str) -> Vec<u8> {
    let mut section = vec![length(remark.as_bytes())];
    section.extend(remark.as_bytes());
    let mut bytes = component.to_vec();
    bytes.extend([0, length(&section)]);
    bytes.extend(section);
    bytes
}

/// In LEB128, as long as one byte is enough.
fn length(bytes: &[u8]) -> u8 {
    u8::try_from(bytes.len())
        .ok()
        .filter(|length| *length < 0x80)
        .expect("a remark is short")
}

/// A handlers folder that is removed when it is dropped. A handler is named `name` or `tenant/name`.
#[derive(Debug)]
pub struct HandlersDir {
    folder: TempDir,
    // New folders and files are prepared here, out of the watcher's sight, on the same file system.
    aside: TempDir,
}

impl HandlersDir {
    /// An empty folder.
    pub fn new() -> Result<Self> {
        Ok(Self {
            folder: tempfile::tempdir()?,
            aside: tempfile::tempdir()?,
        })
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of one handler.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Adds or overwrites a handler in place, file by file.
    pub fn handler(
        &self,
        name: &str,
        component: impl AsRef<Path>,
        manifest: &str,
    ) -> Result<&Self> {
        write_handler(&self.folder(name), component.as_ref(), manifest)?;
        Ok(self)
    }

    /// Adds a handler that is complete from the first moment on: its folder is renamed into place.
    pub fn swap_in(
        &self,
        name: &str,
        component: impl AsRef<Path>,
        manifest: &str,
    ) -> Result<&Self> {
        let ready = self.aside.path().join("handler");
        write_handler(&ready, component.as_ref(), manifest)?;
        let folder = self.folder(name);
        if folder.exists() {
            bail!("{name} is there already; a folder cannot be renamed over another");
        }
        fs::create_dir_all(folder.parent().context("a handler has a parent folder")?)?;
        fs::rename(&ready, folder)?;
        Ok(self)
    }

    /// Puts a component under this name into a handler's or a tenant's folder, by a rename.
    pub fn swap_beside(
        &self,
        folder: &str,
        file: &str,
        component: impl AsRef<Path>,
    ) -> Result<&Self> {
        fs::create_dir_all(self.folder(folder))?;
        self.swap_file(folder, file, &read(component.as_ref())?)
    }

    /// Puts a text under this name into a handler's or a tenant's folder, by a rename.
    pub fn swap_text(&self, folder: &str, file: &str, text: &str) -> Result<&Self> {
        fs::create_dir_all(self.folder(folder))?;
        self.swap_file(folder, file, text.as_bytes())
    }

    /// Replaces the component as `cp` does: a watcher may see it half written.
    pub fn replace_component(&self, name: &str, component: impl AsRef<Path>) -> Result<&Self> {
        fs::write(self.folder(name).join(COMPONENT), read(component.as_ref())?)?;
        Ok(self)
    }

    /// Replaces the component by a rename.
    pub fn swap_component(&self, name: &str, component: impl AsRef<Path>) -> Result<&Self> {
        self.swap_file(name, COMPONENT, &read(component.as_ref())?)
    }

    /// As [`Self::swap_component`], by these bytes.
    pub fn swap_component_bytes(&self, name: &str, bytes: &[u8]) -> Result<&Self> {
        self.swap_file(name, COMPONENT, bytes)
    }

    /// Replaces the component by these bytes, which need not be one.
    pub fn replace_component_bytes(&self, name: &str, bytes: &[u8]) -> Result<&Self> {
        fs::write(self.folder(name).join(COMPONENT), bytes)?;
        Ok(self)
    }

    /// Replaces the manifest in place.
    pub fn replace_manifest(&self, name: &str, manifest: &str) -> Result<&Self> {
        fs::write(self.folder(name).join(MANIFEST), manifest)?;
        Ok(self)
    }

    /// Replaces the manifest by a rename.
    pub fn swap_manifest(&self, name: &str, manifest: &str) -> Result<&Self> {
        self.swap_file(name, MANIFEST, manifest.as_bytes())
    }

    /// Removes a handler, file by file.
    pub fn remove(&self, name: &str) -> Result<&Self> {
        fs::remove_dir_all(self.folder(name)).with_context(|| format!("cannot remove {name}"))?;
        Ok(self)
    }

    /// Removes a handler at once: its folder is renamed out of sight.
    pub fn swap_out(&self, name: &str) -> Result<&Self> {
        let gone = self.aside.path().join("gone");
        fs::rename(self.folder(name), &gone).with_context(|| format!("cannot remove {name}"))?;
        fs::remove_dir_all(gone)?;
        Ok(self)
    }

    fn swap_file(&self, name: &str, file: &str, bytes: &[u8]) -> Result<&Self> {
        let ready = self.aside.path().join(file);
        fs::write(&ready, bytes)?;
        fs::rename(ready, self.folder(name).join(file))?;
        Ok(self)
    }
}

fn write_handler(folder: &Path, component: &Path, manifest: &str) -> Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join(COMPONENT), read(component)?)?;
    fs::write(folder.join(MANIFEST), manifest)?;
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
