//! What a tenant's file means for the files of one of its handlers.
//!
//! **Invariant:** a component that is too large for its tenant is not read, and one that imports what its tenant may not have is
//! not made an instance of.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::facts::Facts;
use super::load::{read_bounded, read_text};
use super::scan::{Candidate, MANIFEST, TENANT};
use super::secrets::{Finder, Found, SecretStore};
use super::vouched::{Vouched, release_of};
use crate::grants::Grants;
use crate::guest::{Handler as Component, LoadError, Role, Runtime};
use crate::ids::TenantId;
use crate::manifest::{self, Manifest, Middleware, Problem, Tenant, TenantKafka};
use crate::prefix::TopicPrefix;
use crate::quotas::Quotas;
use crate::release::{FileDigest, Subject};
use crate::route::Matcher;
use crate::setting::check_value;
use crate::state_folder::Files;
use crate::trust::Trust;

/// What is told of a tenant that is trusted.
const TRUSTED: &str = "trust: nothing interrupts its components";

/// Whatever a tenant may have, no component is larger.
pub(super) const COMPONENT_BYTES_MAX: u64 = 1 << 30;

/// See the module.
#[derive(Debug)]
pub(super) struct OfTenant<'c> {
    candidate: &'c Candidate,
    tenant: Tenant,
    /// What is signed of the handler's own files, and of its tenant's.
    pub(super) vouched: Vouched,
    vouched_tenant: Vouched,
    /// What was read, by the paths under which it is kept.
    read: RefCell<Files>,
    /// How long the slowest component took to compile, as far as that is known.
    pub(super) compiled: Cell<Option<Duration>>,
}

impl<'c> OfTenant<'c> {
    /// Reads the tenant's file, if it has one. The error holds everything that is wrong, a line each with the file's name.
    pub(super) fn read(candidate: &'c Candidate, trust: &Trust) -> Result<Self, Vec<String>> {
        let components = candidate.components.iter().map(PathBuf::as_path);
        let files: Vec<&Path> = std::iter::once(&*candidate.manifest)
            .chain(components)
            .collect();
        let handler = Subject::Handler(candidate.id.clone());
        let vouched = Vouched::read(&handler, &candidate.release, trust, &files);
        let vouched = vouched.map_err(|problem| vec![problem])?;
        let of_tenant = Subject::Tenant(candidate.id.tenant.clone());
        let Some(file) = &candidate.tenant else {
            if trust.has_key_for(&of_tenant) {
                let file = file_of(candidate);
                return Err(vec![format!(
                    "{}: there is no such file, and host.toml has a key to sign it with: without it everything would be granted \
                     (put it back, or take \"tenant\" out of that key's signs)",
                    file.display()
                )]);
            }
            let mut tenant = Tenant::default();
            if candidate.id.tenant == TenantId::default() {
                // Who runs the host put both there.
                tenant.secrets.files.extend(Matcher::pattern("*"));
            }
            return Ok(Self {
                candidate,
                tenant,
                vouched,
                vouched_tenant: Vouched::default(),
                read: RefCell::default(),
                compiled: Cell::default(),
            });
        };
        let text = read_text(file).map_err(|problem| vec![problem])?;
        let vouched_tenant = Vouched::read(&of_tenant, &release_of(file), trust, &[file]);
        let vouched_tenant = vouched_tenant.map_err(|problem| vec![problem])?;
        let signed = vouched_tenant.file(file, TENANT, text.as_bytes());
        signed.map_err(|problem| vec![problem])?;
        let at_file = |problem: &Problem| problem.at(file);
        let tenant = manifest::tenant_with(&text, check_value);
        let tenant = tenant.map_err(|problems| problems.iter().map(at_file).collect::<Vec<_>>())?;
        let read = Files::from([(format!("tenant/{TENANT}"), text.into_bytes())]);
        Ok(Self {
            candidate,
            tenant,
            vouched,
            vouched_tenant,
            read: RefCell::new(read),
            compiled: Cell::default(),
        })
    }

    /// Returns the components that see each record first.
    pub(super) fn middleware(&self) -> &[Middleware] {
        &self.tenant.middleware
    }

    /// Fills in what the tenant's middleware and a manifest say by name.
    pub(super) fn fill(
        &mut self,
        manifest: Option<&mut Manifest>,
        store: &SecretStore,
        seen: &mut Facts,
    ) -> Found {
        let (file, may) = (self.file(), self.tenant.secrets.clone());
        let mut finder = Finder::new(store, may, file.clone(), seen);
        if let Some(manifest) = manifest {
            finder.fill(&self.candidate.manifest, manifest);
        }
        finder.middleware(&file, &mut self.tenant.middleware);
        let tenant = &mut self.tenant;
        finder.kafka(&file, &mut tenant.kafka, &tenant.kafka_secrets);
        finder.found()
    }

    /// Returns what the clients of the tenant's handlers are told.
    pub(super) fn kafka(&self) -> TenantKafka {
        TenantKafka::new(&self.tenant.kafka)
    }

    /// Reads the file of a component and compiles it; returns its bytes as well.
    pub(super) fn component(
        &self,
        path: &Path,
        role: Role,
        runtime: &Runtime,
    ) -> Result<(Component, Vec<u8>), String> {
        self.pinned(path, role, runtime, None)
    }

    /// As [`Self::component`], of a file that has to have this digest, if there is one.
    pub(super) fn pinned(
        &self,
        path: &Path,
        role: Role,
        runtime: &Runtime,
        pin: Option<FileDigest>,
    ) -> Result<(Component, Vec<u8>), String> {
        let at = |what: &dyn fmt::Display| format!("{}: {what}", path.display());
        let unreadable = |error: std::io::Error| at(&format!("cannot be read: {error}"));
        let bytes = fs::metadata(path).map_err(unreadable)?.len();
        if let Some(beyond) = self.tenant.quotas.component(bytes) {
            return Err(self.told(path, &beyond));
        }
        let wasm = read_bounded(path, COMPONENT_BYTES_MAX).map_err(unreadable)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_own = path.parent() == self.candidate.manifest.parent();
        let (place, vouched) = if is_own {
            ("", &self.vouched)
        } else {
            ("tenant/", &self.vouched_tenant)
        };
        vouched.file(path, &name, &wasm)?;
        let found = FileDigest::of(&wasm);
        if let Some(pin) = pin.filter(|pin| *pin != found) {
            return Err(at(&format!(
                "its digest is {found}, and {} wants {pin} (put the component there that is meant, or write the digest of this one)",
                self.candidate.manifest.display()
            )));
        }
        let too_long = |took| self.tenant.quotas.compiling(took);
        let component = Component::load_within(runtime, &wasm, role, too_long);
        let component = component.map_err(|error| match error {
            LoadError::Slow(beyond) => self.told(path, &beyond),
            error => at(&error),
        })?;
        self.compiled
            .set(self.compiled.get().max(component.compiled_in()));
        let imports = component.imports().iter().map(String::as_str);
        if let Some(refusal) = self.tenant.imports.refusal(imports) {
            return Err(self.told(path, &refusal));
        }
        let mut read = self.read.borrow_mut();
        read.insert(format!("{place}{name}"), wasm.clone());
        Ok((component, wasm))
    }

    /// Reads a text beside the manifest.
    pub(super) fn text(&self, path: &Path, name: &str) -> Result<String, String> {
        let text = read_text(path)?;
        self.vouched.file(path, name, text.as_bytes())?;
        let mut read = self.read.borrow_mut();
        read.insert(name.to_owned(), text.clone().into_bytes());
        Ok(text)
    }

    /// Returns all files that were read, with the text of the manifest.
    pub(super) fn files(&self, manifest: &str) -> Files {
        let mut files = self.read.take();
        files.insert(MANIFEST.to_owned(), manifest.as_bytes().to_vec());
        files.extend(self.vouched.kept().clone());
        files
    }

    /// Lowers what a manifest left at its default to what the tenant may have; lists what it asks for beyond that.
    pub(super) fn refusals(&self, manifest: &mut Manifest) -> Vec<String> {
        let path = &self.candidate.manifest;
        let missing = self.tenant.grants.missing(manifest);
        let missing = missing.iter().map(|it| self.told(path, it));
        let mut all: Vec<String> = missing.collect();
        all.extend(
            [&self.vouched, &self.vouched_tenant]
                .into_iter()
                .filter_map(Vouched::unmet),
        );
        if self.candidate.tenant.is_some() {
            let keys = manifest
                .kafka_consumer
                .keys()
                .chain(manifest.kafka_producer.keys());
            let mut keys: Vec<&String> = keys.filter(|key| is_credential(key)).collect();
            keys.sort();
            keys.dedup();
            all.extend(keys.into_iter().map(|key| {
                let what = format!(
                    "{key:?} says who the handler is to Kafka, or names files of this machine, and is for whoever runs the host to \
                     say (leave it out, or have it written under [kafka] of the tenant)"
                );
                self.told(path, &what)
            }));
        }
        let beyond = self.tenant.quotas.fit(&mut manifest.limits);
        all.extend(beyond.iter().map(|it| self.told(path, it)));
        all
    }

    /// Lists what the file grants and allows, if there is one, and whether host.toml trusts the tenant.
    pub(super) fn lines(&self) -> Vec<String> {
        let is_trusted = self.candidate.is_trusted;
        let mut lines: Vec<String> = is_trusted.then(|| TRUSTED.to_owned()).into_iter().collect();
        if self.candidate.tenant.is_none() {
            return lines;
        }
        let prefix = self.tenant.prefix.as_str();
        lines.extend((!prefix.is_empty()).then(|| format!("topic-prefix {prefix}")));
        lines.extend(self.tenant.grants.lines());
        lines.extend(self.tenant.quotas.lines());
        lines.extend(self.tenant.imports.lines());
        lines.extend(self.tenant.secrets.lines());
        lines
    }

    /// Returns what the names of its topics begin with.
    pub(super) fn prefix(&self) -> &TopicPrefix {
        &self.tenant.prefix
    }

    /// Returns what the handler's instances are held to.
    pub(super) fn into_parts(self) -> (TopicPrefix, Arc<Grants>, Quotas) {
        let tenant = self.tenant;
        (tenant.prefix, Arc::new(tenant.grants), tenant.quotas)
    }

    fn told(&self, path: &Path, what: &dyn fmt::Display) -> String {
        let (path, file) = (path.display(), self.file());
        format!("{path}: {what}; see {}", file.display())
    }

    /// Returns the tenant's file, or where it would lie.
    fn file(&self) -> PathBuf {
        file_of(self.candidate)
    }
}

/// Returns the file of a handler's tenant, or where it would lie.
fn file_of(candidate: &Candidate) -> PathBuf {
    let file = candidate.tenant.clone();
    file.unwrap_or_else(|| Path::new(candidate.id.tenant.as_str()).join(TENANT))
}

/// Returns whether a setting of librdkafka says who a client is, or where on this machine that lies.
fn is_credential(key: &str) -> bool {
    let parts = ["ssl.", "sasl.", "https.", "enable.ssl", "enable.sasl"];
    key == "security.protocol" || parts.iter().any(|part| key.starts_with(part))
}
