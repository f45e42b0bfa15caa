//! What lies in the handlers folder.
//!
//! `<tenant>/<handler>/handler.toml` with one component, and `<tenant>/tenant.toml` beside the folders of the handlers;
//! `<handler>/handler.toml` and `<handler>.toml` with `<handler>.wasm` belong to the tenant `default`. Beside each may lie
//! what is signed of it. Hidden files, and files of other kinds, are left alone.
//! **Invariant:** reads names and file facts only; what is in the files is for `load`.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::facts::Facts;
use super::vouched::{release_of, signed_files};
use crate::ids::{HandlerId, HandlerName, TenantId};

/// The manifest's name in a handler's folder.
pub(super) const MANIFEST: &str = "handler.toml";

/// The name of the file for all handlers of a tenant, in its folder.
pub(super) const TENANT: &str = "tenant.toml";

/// Where handlers are looked for, for messages.
pub(crate) const EXPECTED: &str = "expected <handler>/handler.toml with a .wasm file beside it";

/// Says that the handlers folder cannot be read, and what to do about it.
pub(super) fn unreadable(folder: &Path, error: &std::io::Error) -> String {
    let remedy = match error.kind() {
        ErrorKind::NotFound => "create it, or name the folder that holds the handlers",
        ErrorKind::NotADirectory => "name the folder that holds the handlers, not a file",
        _ => "the user that the host runs as must be able to list it",
    };
    let folder = folder.display();
    format!("{folder}: the handlers folder cannot be read: {error} ({remedy})")
}

/// The files of one handler.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) id: HandlerId,
    pub(super) manifest: PathBuf,
    /// The components that lie beside the manifest.
    pub(super) components: Vec<PathBuf>,
    /// What is signed of it, where it is; the signature lies beside.
    pub(super) release: PathBuf,
    /// The tenant's own file, if there is one.
    pub(super) tenant: Option<PathBuf>,
    pub(super) facts: Facts,
    /// Whether whoever runs the host trusts its tenant.
    pub(super) is_trusted: bool,
}

impl Candidate {
    /// Returns whether the handler has a folder of its own.
    pub(super) fn has_folder(&self) -> bool {
        name_of(&self.manifest) == MANIFEST
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) candidates: BTreeMap<HandlerId, Candidate>,
    /// What is wrong, by path.
    pub(super) problems: BTreeMap<String, String>,
    /// The files of tenants, with the components beside them.
    pub(super) tenants: BTreeMap<TenantId, Vec<PathBuf>>,
}

/// Looks through the handlers folder. Fails only when the folder itself cannot be read.
pub(super) fn scan(folder: &Path) -> std::io::Result<Scan> {
    let mut scan = Scan::default();
    let tenant = TenantId::default();
    let entries = entries(folder)?;
    for path in &entries {
        if path.is_dir() {
            scan.folder(path);
        } else if has_extension(path, "toml") && path.with_extension("wasm").exists() {
            scan.add(
                &tenant,
                path,
                path.clone(),
                vec![path.with_extension("wasm")],
            );
        } else if has_extension(path, "wasm") && !path.with_extension("toml").exists() {
            let what = format!(
                "has no manifest (expected {} beside it)",
                name_of(&path.with_extension("toml"))
            );
            scan.problem(path, &what);
        } else if has_extension(path, "toml") {
            scan.problem(
                path,
                &format!(
                    "has no component (expected {} beside it)",
                    name_of(&path.with_extension("wasm"))
                ),
            );
        }
    }
    scan.join_tenants();
    Ok(scan)
}

impl Scan {
    /// Says which of these handlers are not there, and which are.
    pub(super) fn not_found(&self, only: &[HandlerId]) -> Vec<(String, String)> {
        let there = self.inventory();
        only.iter()
            .filter(|id| !self.candidates.contains_key(id))
            .map(|id| {
                let what = format!("--only {id}: there is no such handler in the folder ({there})");
                (format!("handler {id}"), what)
            })
            .collect()
    }

    /// Returns where the file of a tenant lies, if it has one.
    pub(super) fn tenant_file(&self, tenant: &TenantId) -> Option<&PathBuf> {
        self.tenants.get(tenant)?.first()
    }

    /// Says which handlers are there.
    pub(super) fn inventory(&self) -> String {
        let there: Vec<String> = self.candidates.keys().map(ToString::to_string).collect();
        if there.is_empty() {
            format!("it holds none; {EXPECTED}")
        } else {
            format!("it holds {}", there.join(", "))
        }
    }

    /// A folder in the handlers folder: a handler of the tenant `default`, or a tenant.
    fn folder(&mut self, folder: &Path) {
        let inside = match entries(folder) {
            Ok(inside) => inside,
            Err(error) => return self.problem(folder, &format!("cannot be read: {error}")),
        };
        let file = folder.join(TENANT);
        let is_tenant = inside.contains(&file);
        if is_handler(&inside) && !is_tenant {
            return self.handler(&TenantId::default(), folder, inside);
        }
        let tenant = match name_of(folder).parse::<TenantId>() {
            Ok(tenant) => tenant,
            Err(error) => return self.problem(folder, &format!("is no name of a tenant: {error}")),
        };
        for path in &inside {
            if path.is_dir() {
                match entries(path) {
                    Ok(inside) if is_handler(&inside) => self.handler(&tenant, path, inside),
                    // Perhaps it is being filled.
                    Ok(_) => {}
                    Err(error) => self.problem(path, &format!("cannot be read: {error}")),
                }
            } else if is_tenant && name_of(path) == MANIFEST {
                let what = format!("lies beside a {TENANT} (a handler has a folder of its own)");
                self.problem(path, &what);
            }
        }
        if is_tenant {
            let components = inside
                .into_iter()
                .filter(|path| has_extension(path, "wasm"));
            let signed = signed_files(&release_of(&file));
            let files = std::iter::once(file).chain(components).chain(signed);
            let files = files.collect();
            self.tenants.insert(tenant, files);
        }
    }

    /// Tells each handler of the file of its tenant.
    fn join_tenants(&mut self) {
        for candidate in self.candidates.values_mut() {
            if let Some(files) = self.tenants.get(&candidate.id.tenant) {
                candidate.tenant = files.first().cloned();
                candidate.facts.add(files.iter().cloned());
            }
        }
    }

    fn handler(&mut self, tenant: &TenantId, folder: &Path, inside: Vec<PathBuf>) {
        let manifest = folder.join(MANIFEST);
        if !inside.contains(&manifest) {
            return self.problem(
                folder,
                &format!("has a component, but no manifest (expected {MANIFEST} in it)"),
            );
        }
        let components = inside
            .into_iter()
            .filter(|path| has_extension(path, "wasm"))
            .collect();
        self.add(tenant, folder, manifest, components);
    }

    fn add(
        &mut self,
        tenant: &TenantId,
        named: &Path,
        manifest: PathBuf,
        components: Vec<PathBuf>,
    ) {
        let name = named.with_extension("");
        let name = if named.is_dir() {
            name_of(named)
        } else {
            name_of(&name)
        };
        let name = match name.parse::<HandlerName>() {
            Ok(name) => name,
            Err(error) => return self.problem(named, &format!("is no name of a handler: {error}")),
        };
        let id = HandlerId {
            tenant: tenant.clone(),
            name,
        };
        let release = release_of(&manifest);
        let files = std::iter::once(manifest.clone()).chain(components.iter().cloned());
        let facts = Facts::of(files.chain(signed_files(&release)));
        if let Some(other) = self.candidates.get(&id) {
            let what = format!(
                "is {id} a second time (the first is {})",
                other.manifest.display()
            );
            return self.problem(named, &what);
        }
        self.candidates.insert(
            id.clone(),
            Candidate {
                id,
                manifest,
                components,
                release,
                tenant: None,
                facts,
                is_trusted: false,
            },
        );
    }

    fn problem(&mut self, path: &Path, what: &str) {
        self.problems.insert(
            path.display().to_string(),
            format!("{}: {what}", path.display()),
        );
    }
}

/// Lists a folder in the order of names, without hidden files.
fn entries(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if !name_of(&path).starts_with('.') {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn is_handler(inside: &[PathBuf]) -> bool {
    inside
        .iter()
        .any(|path| path.is_file() && (name_of(path) == MANIFEST || has_extension(path, "wasm")))
}

/// Returns whether a file of this name is a component.
pub(super) fn is_component(name: &str) -> bool {
    has_extension(Path::new(name), "wasm")
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests;
