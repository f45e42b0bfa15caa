//! Reads the texts that the files of handlers and tenants name instead of holding them.
//!
//! Handed tables of texts, fills in what they say by name, from the host's environment and its folder of secrets.
//! **Invariant:** nothing outside of the folder is read, wherever links in it lead, and no value is part of a message.

use std::collections::BTreeMap;
use std::env::{self, VarError};
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::facts::Facts;
use crate::ids::Revision;
use crate::manifest::kafka::{Clients, check};
use crate::manifest::{Manifest, Middleware};
use crate::pipeline::Work;
use crate::route::Matcher;
use crate::secrets::{MayUse, Secret, Secrets};
use crate::setting::check_value;

/// Bytes that a file of a secret may have: keys and certificates have some thousands.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Where secrets come from.
#[derive(Debug, Clone, Default)]
pub(crate) struct SecretStore {
    folder: Option<PathBuf>,
}

impl SecretStore {
    /// Makes one that takes files from this folder, if there is one.
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Self { folder }
    }
}

/// Reads the secrets of one handler.
pub(super) struct Finder<'s> {
    store: &'s SecretStore,
    may: MayUse,
    /// The tenant's file, for messages.
    tenant: PathBuf,
    /// What is known of the files that were looked for.
    seen: &'s mut Facts,
    found: Found,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What is wrong, a line each with the file's name.
    pub(super) problems: Vec<String>,
    /// What the texts were filled in for, and from where.
    pub(super) places: Vec<String>,
    /// What the secrets are recognized by.
    pub(super) digests: BTreeMap<Secret, String>,
    /// And the settings that the tenant's file has for clients.
    pub(super) settings: BTreeMap<String, String>,
}

/// Returns what a value is recognized by.
fn digest(value: &str) -> String {
    Revision::from_digest(&Sha256::digest(value.as_bytes())).to_string()
}

impl<'s> Finder<'s> {
    pub(super) fn new(
        store: &'s SecretStore,
        may: MayUse,
        tenant: PathBuf,
        seen: &'s mut Facts,
    ) -> Self {
        Self {
            store,
            may,
            tenant,
            seen,
            found: Found::default(),
        }
    }

    /// Returns what came of all that was filled in.
    pub(super) fn found(self) -> Found {
        self.found
    }

    /// Fills in what a manifest says by name.
    pub(super) fn fill(&mut self, file: &Path, manifest: &mut Manifest) {
        self.texts(file, "config", &mut manifest.config, &manifest.secrets);
        self.middleware(file, &mut manifest.middleware);
        for (place, pipeline) in manifest.pipelines.iter_mut().enumerate() {
            for (at, step) in pipeline.steps.iter_mut().enumerate() {
                if let Some(Work::Component(work)) = &mut step.work {
                    let key = format!("pipeline[{place}].step[{at}].config");
                    self.texts(file, &key, &mut work.config, &work.secrets);
                }
            }
        }
    }

    /// Fills in what middleware is told by name.
    pub(super) fn middleware(&mut self, file: &Path, all: &mut [Middleware]) {
        for (at, middleware) in all.iter_mut().enumerate() {
            let key = format!("middleware[{at}].config");
            self.texts(file, &key, &mut middleware.config, &middleware.secrets);
        }
    }

    /// Fills in what the clients of a tenant are told by name, and notes all that they are told. Who writes the tenant's file
    /// says what may be read.
    pub(super) fn kafka(
        &mut self,
        file: &Path,
        settings: &mut BTreeMap<String, String>,
        secrets: &Secrets,
    ) {
        let all: Vec<Matcher> = Matcher::pattern("*").into_iter().collect();
        self.may = MayUse {
            env: all.clone(),
            files: all,
        };
        self.texts(file, "kafka", settings, secrets);
        for (name, value) in settings.iter() {
            let digest = digest(value);
            self.found.settings.insert(name.clone(), digest);
            let is_fine = check(Clients::All, name, value).and_then(|()| check_value(name, value));
            if let (Err(_), Some(secret)) = (is_fine, secrets.get(name)) {
                // The reason may have the value in it.
                let file = file.display();
                let what = format!(
                    "{file}: kafka.{name:?} = {secret}: librdkafka refuses the value (put one there that it takes for {name})"
                );
                self.found.problems.push(what);
            }
        }
    }

    /// Fills in what one table says by name.
    pub(super) fn texts(
        &mut self,
        file: &Path,
        key: &str,
        texts: &mut BTreeMap<String, String>,
        secrets: &Secrets,
    ) {
        for (name, secret) in secrets {
            match self.value(secret) {
                Ok(value) => {
                    let digest = digest(&value);
                    self.found.digests.insert(secret.clone(), digest);
                    self.found.places.push(format!("{key}.{name:?} {secret}"));
                    texts.insert(name.clone(), value);
                }
                Err(why) => {
                    let file = file.display();
                    let what = format!("{file}: {key}.{name:?} = {secret}: {why}");
                    self.found.problems.push(what);
                }
            }
        }
    }

    fn value(&mut self, secret: &Secret) -> Result<String, String> {
        if let Some(refusal) = self.may.refusal(secret) {
            return Err(format!("{refusal}; see {}", self.tenant.display()));
        }
        match secret {
            // The error of the standard library has the value in it.
            Secret::Env(name) => env::var(&**name).map_err(|error| {
                match error {
                VarError::NotPresent => {
                    "the host's environment has no such variable (set it where the host is started)"
                }
                VarError::NotUnicode(_) => "what the variable has is no text (write it as UTF-8)",
            }
            .to_owned()
            }),
            Secret::File(name) => self.file(name),
        }
    }

    fn file(&mut self, name: &str) -> Result<String, String> {
        let Some(folder) = &self.store.folder else {
            return Err(
                "this host has no folder of secrets (name one: secrets = \"DIR\" in host.toml, or --secrets DIR)"
                    .to_owned(),
            );
        };
        let path = folder.join(name);
        // Before it is read: what is written afterwards is then seen as a change.
        self.seen.add([path.clone()]);
        let shown = path.display();
        let unreadable =
            |error: std::io::Error| format!("{shown} cannot be read: {error} (put it there)");
        // Kubernetes mounts links to links, all of them within the folder.
        let folder = folder.canonicalize().map_err(unreadable)?;
        let real = path.canonicalize().map_err(unreadable)?;
        if !real.starts_with(&folder) {
            return Err(format!(
                "{shown} leads out of the folder of secrets (put the file itself there)"
            ));
        }
        let facts = fs::metadata(&real).map_err(unreadable)?;
        if !facts.is_file() {
            return Err(format!(
                "{shown} is no file (put the text into a file of this name)"
            ));
        }
        if facts.len() > FILE_BYTES_MAX {
            let bytes = facts.len();
            return Err(format!(
                "{shown} has {bytes} bytes, more than the {FILE_BYTES_MAX} that a secret may have (put a shorter one there)"
            ));
        }
        let bytes = fs::read(&real).map_err(unreadable)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| format!("{shown} is no text (write it as UTF-8)"))?;
        // Editors and `echo` end the last line.
        let line = text.strip_suffix('\n').unwrap_or(&text);
        Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
    }
}

impl Found {
    /// Adds what the secrets are recognized by; nothing where there are none.
    pub(super) fn add_to(&self, digest: &mut Sha256) {
        for (secret, value) in &self.digests {
            digest.update(secret.to_string());
            digest.update(value);
        }
        for text in self.settings.iter().flat_map(|(name, value)| [name, value]) {
            digest.update(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn read(folder: &Path, name: &str) -> Result<String, String> {
        let store = SecretStore::new(Some(folder.to_owned()));
        let may = MayUse {
            env: vec!["*".parse().unwrap()],
            files: vec!["*".parse().unwrap()],
        };
        let mut seen = Facts::default();
        let mut finder = Finder::new(&store, may, "tenant.toml".into(), &mut seen);
        finder.value(&Secret::file(name).unwrap())
    }

    #[test]
    fn files_are_read_as_kubernetes_mounts_them_and_nothing_outside() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("key"), "theirs").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("..2026")).unwrap();
        fs::write(path("..2026/key"), "ours\r\n").unwrap();
        symlink("..2026", path("..data")).unwrap();
        symlink("..data/key", path("key")).unwrap();
        symlink(outside.path().join("key"), path("stolen")).unwrap();
        symlink(outside.path(), path("away")).unwrap();
        symlink("..2026", path("folder")).unwrap();
        fs::write(path("bytes"), b"\xff").unwrap();
        fs::write(path("long"), vec![b'x'; 65_537]).unwrap();
        let read = |name: &str| read(folder.path(), name);
        assert_eq!(read("key").unwrap(), "ours");
        for (name, told) in [
            ("stolen", "leads out of the folder"),
            ("away", "leads out of the folder"),
            ("folder", "is no file"),
            ("bytes", "is no text"),
            ("long", "has 65537 bytes"),
            ("none", "cannot be read"),
        ] {
            let why = read(name).unwrap_err();
            assert!(why.contains(told), "{name}: {why}");
        }
    }

    #[test]
    fn a_file_that_is_written_anew_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let store = SecretStore::new(Some(folder.path().to_owned()));
        let may = MayUse {
            files: vec!["key".parse().unwrap()],
            ..MayUse::default()
        };
        let mut seen = Facts::default();
        let mut finder = Finder::new(&store, may, "tenant.toml".into(), &mut seen);
        let secrets = Secrets::from([("k".to_owned(), Secret::file("key").unwrap())]);
        let mut texts = BTreeMap::new();
        finder.texts(Path::new("handler.toml"), "config", &mut texts, &secrets);
        let problems = finder.found().problems;
        assert!(
            problems[0].starts_with("handler.toml: config.\"k\" = { file = \"key\" }: "),
            "{problems:?}"
        );
        assert!(texts.is_empty() && seen.is_current());
        fs::write(folder.path().join("key"), "x").unwrap();
        assert!(!seen.is_current());
    }
}
