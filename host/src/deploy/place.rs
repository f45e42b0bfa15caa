//! Where the files of an upload go: beside their place first, and there in one step.
//!
//! Handed the handlers folder, a handler and files; writes and renames.
//! **Invariant:** whoever looks sees the files from before or the new ones, whole; what is not taken into the place leaves no
//! trace.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::scan::{Candidate, MANIFEST, is_component};
use super::vouched::release_of;
use crate::ids::HandlerId;
use crate::state_folder::Files;

/// The folder of a handler, and one beside it that nobody looks into.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) folder: PathBuf,
    /// Where files are until they are good, and those from before afterwards.
    pub(super) draft: PathBuf,
    /// Where those from before are for a moment, if two folders cannot be exchanged.
    aside: PathBuf,
    /// The folder of its tenant, where it is made for the handler.
    made: Option<PathBuf>,
}

impl Place {
    /// Returns the place of a handler: where it lies, or where a new one goes. `None` where it has no folder of its own.
    pub(super) fn of(handlers: &Path, id: &HandlerId, now: Option<&Candidate>) -> Option<Self> {
        let folder = match now {
            None => handlers.join(id.tenant.as_str()).join(id.name.as_str()),
            Some(now) if now.has_folder() => now.manifest.parent()?.to_owned(),
            Some(_) => return None,
        };
        let beside = |what: &str| folder.with_file_name(format!(".{}.{what}", id.name));
        Some(Self {
            draft: beside("incoming"),
            aside: beside("replaced"),
            made: folder
                .parent()
                .filter(|it| !it.exists())
                .map(Path::to_owned),
            folder,
        })
    }

    /// Writes the files beside their place, and brings them to the disk.
    pub(super) fn write(&self, files: &Files) -> io::Result<()> {
        remove(&self.draft)?;
        fs::create_dir_all(&self.draft)?;
        for (name, bytes) in files {
            let mut file = File::create_new(self.draft.join(name))?;
            file.write_all(bytes)?;
            file.sync_all()?;
        }
        File::open(&self.draft)?.sync_all()
    }

    /// Returns the handler as it would be with the files beside its place.
    pub(super) fn candidate(&self, like: Candidate, files: &Files) -> Candidate {
        let components = files.keys().filter(|name| is_component(name));
        Candidate {
            release: release_of(&self.draft.join(MANIFEST)),
            manifest: self.draft.join(MANIFEST),
            components: components.map(|name| self.draft.join(name)).collect(),
            ..like
        }
    }

    /// Puts what lies beside the place into it, and what lay there beside it. Twice is as if it had never been, where there
    /// was something.
    pub(super) fn swap(&self) -> io::Result<()> {
        if !self.folder.try_exists()? {
            return fs::rename(&self.draft, &self.folder);
        }
        if exchange(&self.draft, &self.folder)? {
            return Ok(());
        }
        remove(&self.aside)?;
        fs::rename(&self.folder, &self.aside)?;
        let moved = fs::rename(&self.draft, &self.folder);
        let back = if moved.is_ok() {
            &self.draft
        } else {
            &self.folder
        };
        fs::rename(&self.aside, back)?;
        moved
    }

    /// Takes back what was put where nothing had been.
    pub(super) fn take_back(&self) -> io::Result<()> {
        fs::rename(&self.folder, &self.draft)
    }

    /// Removes what lies beside the place, and the tenant's folder where it was made for nothing.
    pub(super) fn clear(&self) -> io::Result<()> {
        remove(&self.draft)?;
        if let Some(tenant) = &self.made {
            // It stays where the handler does.
            let _ = fs::remove_dir(tenant);
        }
        Ok(())
    }

    /// Returns a text about files beside the place as one about files in it.
    pub(super) fn told(&self, what: &str) -> String {
        let [draft, folder] = [&self.draft, &self.folder].map(|it| it.display().to_string());
        what.replace(&draft, &folder)
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Exchanges two folders in one step; returns whether this file system can.
#[cfg(target_os = "linux")]
fn exchange(one: &Path, other: &Path) -> io::Result<bool> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn exchange(_one: &Path, _other: &Path) -> io::Result<bool> {
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(text: &str) -> Files {
        Files::from([(MANIFEST.to_owned(), text.as_bytes().to_vec())])
    }

    #[test]
    fn files_go_into_their_place_and_come_back_as_they_were() {
        let root = tempfile::tempdir().unwrap();
        let id: HandlerId = "acme/orders".parse().unwrap();
        let place = Place::of(root.path(), &id, None).unwrap();
        let text = || fs::read_to_string(root.path().join("acme/orders/handler.toml"));
        place.write(&files("one")).unwrap();
        assert!(text().is_err());
        place.swap().unwrap();
        assert_eq!(text().unwrap(), "one");
        place.write(&files("two")).unwrap();
        place.swap().unwrap();
        assert_eq!(text().unwrap(), "two");
        place.swap().unwrap();
        assert_eq!(text().unwrap(), "one");
        place.clear().unwrap();
        let left = fs::read_dir(root.path().join("acme")).unwrap().count();
        assert_eq!(left, 1);
        // A new one that is not taken leaves nothing.
        place.take_back().unwrap();
        place.clear().unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_cannot_be_written_leaves_what_is_there() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("acme"), "a file").unwrap();
        let id: HandlerId = "acme/orders".parse().unwrap();
        let place = Place::of(root.path(), &id, None).unwrap();
        assert!(place.write(&files("one")).is_err());
        assert_eq!(
            fs::read_to_string(root.path().join("acme")).unwrap(),
            "a file"
        );
        let told = place.told(&format!("{}: no", place.draft.join("x").display()));
        assert!(told.ends_with("acme/orders/x: no"), "{told}");
    }
}
