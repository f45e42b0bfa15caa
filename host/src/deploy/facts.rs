//! What is known of files without reading them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::scan::MANIFEST;

/// What stands in the place of a file for a tenant that is trusted; no file has such a name.
const TRUSTED: &str = "\0trusted";

/// What is known of a file without reading it; it changes whenever the file is replaced or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileFacts {
    inode: u64,
    len: u64,
    /// Seconds and nanoseconds of the last change of the file's content or facts.
    changed: (i64, i64),
}

/// Facts of all files that make up one handler.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Facts(Vec<(PathBuf, Option<FileFacts>)>);

impl Facts {
    pub(super) fn of(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let facts = |path: &Path| {
            let found = fs::metadata(path).ok()?;
            let changed = (found.ctime(), found.ctime_nsec());
            Some(FileFacts {
                inode: found.ino(),
                len: found.len(),
                changed,
            })
        };
        Self(
            paths
                .into_iter()
                .map(|path| (path.clone(), facts(&path)))
                .collect(),
        )
    }

    /// Adds the facts of more files.
    pub(super) fn add(&mut self, paths: impl IntoIterator<Item = PathBuf>) {
        self.0.extend(Self::of(paths).0);
    }

    /// Adds that the tenant is trusted, so that these are other facts than those of the same files without it.
    pub(super) fn trust(&mut self) {
        self.0.push((PathBuf::from(TRUSTED), None));
    }

    /// Returns whether the files are still as they were.
    pub(super) fn is_current(&self) -> bool {
        let paths = self.0.iter().map(|(path, _)| path.clone());
        *self == Self::of(paths)
    }

    /// Returns the path of the manifest, which is the first of the files.
    pub(super) fn manifest(&self) -> &Path {
        self.0.first().map_or(Path::new(MANIFEST), |(path, _)| path)
    }
}
