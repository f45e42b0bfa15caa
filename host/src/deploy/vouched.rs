//! Whether somebody vouches for the files of a handler, or of a tenant: what is signed of them, read and checked.
//!
//! **Invariant:** where signatures are asked for, no file is made use of before its digest was found in what is signed.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::load::read_text;
use super::tenant::COMPONENT_BYTES_MAX;
use crate::release::{FileDigest, Release, Subject};
use crate::state_folder::Files;
use crate::trust::Trust;

/// Where the release of a kept revision lies in its folder. It is none of the files that it is recognized by.
pub(super) const KEPT_RELEASE: &str = "signed/handler.release";

/// Returns where it lies what is signed of the files beside a manifest or a tenant's file.
pub(super) fn release_of(file: &Path) -> PathBuf {
    file.with_extension("release")
}

/// Returns where a release and its signature lie.
pub(super) fn signed_files(release: &Path) -> [PathBuf; 2] {
    [release.to_owned(), release.with_added_extension("minisig")]
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Vouched {
    /// Where the release lies, and what it says; none where nothing needs to be signed.
    release: Option<(PathBuf, Release)>,
    /// Which of its files were met.
    met: RefCell<BTreeSet<String>>,
    /// The release and its signature, as they are kept.
    kept: Files,
}

impl Vouched {
    /// Reads what is signed, and checks that somebody has signed it who may. `files` are those that it is about.
    pub(super) fn read(
        subject: &Subject,
        release: &Path,
        trust: &Trust,
        files: &[&Path],
    ) -> Result<Self, String> {
        if !trust.is_required() {
            return Ok(Self::default());
        }
        let told = |what: String| {
            let digests = digests(files);
            format!(
                "{what}; {subject} has to be signed (deploy.require-signature), and what lies there is {digests}"
            )
        };
        let [text, signature] = signed_files(release);
        let read = |path: &Path| {
            let text = read_text(path);
            text.map_err(|why| {
                told(format!(
                    "{why} (sign what `kafka-wasm-host release` prints)"
                ))
            })
        };
        let (signed, signed_by) = (read(&text)?, read(&signature)?);
        let checked = trust.check(subject, signed.as_bytes(), &signed_by);
        checked.map_err(|why| told(format!("{}: {why}", signature.display())))?;
        let found = Release::parse(&signed);
        let found = found.map_err(|why| told(format!("{}: {why}", text.display())))?;
        if found.subject != *subject {
            let (text, whose) = (text.display(), &found.subject);
            return Err(told(format!("{text}: it is signed for {whose}")));
        }
        let kept = [
            (KEPT_RELEASE.to_owned(), signed.into_bytes()),
            (format!("{KEPT_RELEASE}.minisig"), signed_by.into_bytes()),
        ];
        Ok(Self {
            release: Some((text, found)),
            met: RefCell::default(),
            kept: kept.into(),
        })
    }

    /// Checks that a file is what was signed.
    pub(super) fn file(&self, path: &Path, name: &str, bytes: &[u8]) -> Result<(), String> {
        let Some((release, signed)) = &self.release else {
            return Ok(());
        };
        let (found, release) = (FileDigest::of(bytes), release.display());
        let expected = signed.files.get(name);
        if expected == Some(&found) {
            self.met.borrow_mut().insert(name.to_owned());
            return Ok(());
        }
        let path = path.display();
        Err(match expected {
            Some(expected) => format!(
                "{path}: it is not what was signed: its digest is {found}, and {release} has {expected} for {name} (put back what \
                 was signed, or sign what lies there)"
            ),
            None => format!(
                "{path}: it is not signed: its digest is {found}, and {release} has no {name} (take it away, or sign what lies \
                 there)"
            ),
        })
    }

    /// Says which of the signed files were not met, if there are such: what is missing changes what the others do.
    pub(super) fn unmet(&self) -> Option<String> {
        let (release, signed) = self.release.as_ref()?;
        let met = self.met.borrow();
        let (name, digest) = signed.files.iter().find(|(name, _)| !met.contains(*name))?;
        Some(format!(
            "{}: {name} of {digest} is signed and no part of what lies there (put it back, or sign what lies there)",
            release.display()
        ))
    }

    /// Returns the release and its signature, by the paths under which they are kept.
    pub(super) fn kept(&self) -> &Files {
        &self.kept
    }
}

/// Lists files with their digests.
fn digests(files: &[&Path]) -> String {
    let digests = files.iter().map(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match digest_of_file(path) {
            Ok(digest) => format!("{name} {digest}"),
            Err(error) => format!("{name}, which cannot be read: {error}"),
        }
    });
    let digests: Vec<String> = digests.collect();
    digests.join(", ")
}

/// Reads a file and takes its digest. It must be one, and not larger than any that is loaded: another might have no end.
pub(super) fn digest_of_file(path: &Path) -> io::Result<FileDigest> {
    let found = fs::metadata(path)?;
    if !found.is_file() || found.len() > COMPONENT_BYTES_MAX {
        let what = "it is no file, or larger than any that is loaded";
        return Err(io::Error::other(what));
    }
    let mut file = File::open(path)?.take(COMPONENT_BYTES_MAX);
    let (mut digest, mut bytes) = (Sha256::new(), vec![0; 64 << 10]);
    loop {
        let read = file.read(&mut bytes)?;
        match bytes.get(..read) {
            Some(read) if !read.is_empty() => digest.update(read),
            _ => return Ok(FileDigest::from(digest.finalize())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vouched(files: &[(&str, &[u8])]) -> Vouched {
        let files = files.iter();
        let files = files.map(|(name, bytes)| ((*name).to_owned(), FileDigest::of(bytes)));
        let subject = Subject::Handler("acme/orders".parse().unwrap());
        let release = Release {
            subject,
            files: files.collect(),
        };
        Vouched {
            release: Some(("handler.release".into(), release)),
            ..Vouched::default()
        }
    }

    #[test]
    fn a_file_is_what_was_signed_or_both_digests_are_told() {
        let vouched = vouched(&[("a.wasm", b"a"), ("b.wasm", b"b")]);
        let path = Path::new("x/a.wasm");
        assert_eq!(vouched.file(path, "a.wasm", b"a"), Ok(()));
        let (a, b) = (FileDigest::of(b"a"), FileDigest::of(b"b"));
        let told = vouched.file(path, "a.wasm", b"b").unwrap_err();
        assert!(
            told.starts_with(&format!(
                "x/a.wasm: it is not what was signed: its digest is {b}, and handler.release has {a}"
            )),
            "{told}"
        );
        let told = vouched.file(path, "c.wasm", b"a").unwrap_err();
        assert!(told.contains("has no c.wasm"), "{told}");
        // One was not met.
        let told = vouched.unmet().unwrap();
        assert!(told.contains(&format!("b.wasm of {b}")), "{told}");
        assert_eq!(vouched.file(path, "b.wasm", b"b"), Ok(()));
        assert_eq!(vouched.unmet(), None);
    }

    #[test]
    fn nothing_is_looked_at_where_nothing_needs_to_be_signed() {
        let subject = Subject::Handler("acme/orders".parse().unwrap());
        let none = Path::new("/nowhere");
        let vouched = Vouched::read(&subject, none, &Trust::default(), &[none]).unwrap();
        assert_eq!(vouched.file(none, "a.wasm", b"a"), Ok(()));
        assert_eq!(vouched.unmet(), None);
        assert!(vouched.kept().is_empty());
    }

    #[test]
    fn what_lies_there_is_told_by_its_digests() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("handler.toml");
        fs::write(&file, "x").unwrap();
        let subject = Subject::Handler("acme/orders".parse().unwrap());
        let trust = Trust {
            keys: Some(Vec::new()),
        };
        let files = [file.as_path(), Path::new("/nowhere/a.wasm")];
        let told = Vouched::read(&subject, &release_of(&file), &trust, &files).unwrap_err();
        let digest = format!("handler.toml {}", FileDigest::of(b"x"));
        // Whatever lies there, it is not read for ever.
        assert!(digest_of_file(Path::new("/dev/zero")).is_err());
        assert!(digest_of_file(folder.path()).is_err());
        for part in [
            "handler.release: cannot be read",
            "kafka-wasm-host release",
            "acme/orders has to be signed",
            &digest,
            "a.wasm, which cannot be read",
        ] {
            assert!(told.contains(part), "{told}");
        }
    }
}
