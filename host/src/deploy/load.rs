//! From the files of a handler to something that can be called: manifest, component, trial.
//!
//! Used by the deployer and by `check`. Takes long and reads files: never on the record path.
//! **Invariant:** what loads without a problem has begun once: its imports are there and `define-context` agreed.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::courses::{self, StepComponents};
use super::facts::Facts;
use super::scan::{Candidate, MANIFEST};
use super::secrets::{Found, SecretStore};
use super::stages::{self, Loading};
use super::tenant::OfTenant;
use super::trial::TrialRecord;
use crate::changes::Face;
use crate::grants::Grants;
use crate::guest::{EMPTY, Handler as Component, Role, Runtime};
use crate::ids::Revision;
use crate::manifest::Manifest;
use crate::pipeline::Pipeline;
use crate::policy::OnExhausted;
use crate::prefix::TopicPrefix;
use crate::quotas::Quotas;
use crate::setting::check_value;
use crate::state_folder::Files;
use crate::trust::Trust;
use crate::utf8::text_of;

/// No manifest is larger.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// A handler's files, read and understood.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) manifest: Manifest,
    /// What is compared with the revision before it.
    pub(crate) face: Face,
    /// What the names of its topics begin with.
    pub(crate) prefix: TopicPrefix,
    /// What of Kafka its tenant may use.
    pub(crate) grants: Arc<Grants>,
    /// How much of the host its tenant may have.
    pub(crate) quotas: Quotas,
    /// Which texts of configs are secrets, and where they come from.
    pub(crate) secrets: Vec<String>,
    pub(crate) component: Component,
    /// What it has to handle before it serves.
    pub(super) trial: Option<TrialRecord>,
    /// How long the slowest of its components took to compile, where that is known.
    pub(super) compiled: Option<Duration>,
    pub(crate) middleware: Loading,
    pub(crate) steps: StepComponents,
    pub(crate) revision: Revision,
    /// The files that made it.
    pub(crate) files: Files,
}

/// What a handler's files say beside its components.
struct Texts<'c> {
    /// The manifest as it is written.
    text: String,
    manifest: Result<Manifest, Vec<String>>,
    tenant: OfTenant<'c>,
    secrets: Found,
}

/// Reads the manifest, what the tenant's file says and what both name. The error holds everything that is wrong.
fn texts<'c>(
    candidate: &'c Candidate,
    store: &SecretStore,
    trust: &Trust,
    seen: &mut Facts,
) -> Result<Texts<'c>, Vec<String>> {
    let text = read_text(&candidate.manifest).map_err(|problem| vec![problem])?;
    let tenant = OfTenant::read(candidate, trust);
    if let Ok(tenant) = &tenant {
        let signed = tenant
            .vouched
            .file(&candidate.manifest, MANIFEST, text.as_bytes());
        signed.map_err(|problem| vec![problem])?;
    }
    let unprefixed = TopicPrefix::default();
    let prefix = tenant.as_ref().map_or(&unprefixed, OfTenant::prefix);
    let manifest = Manifest::parse_with(&text, &candidate.id, prefix, check_value);
    let mut manifest = manifest.map_err(|problems| {
        let at_file = problems.iter().map(|it| it.at(&candidate.manifest));
        at_file.collect::<Vec<_>>()
    });
    match tenant {
        Ok(mut tenant) => {
            let secrets = tenant.fill(manifest.as_mut().ok(), store, seen);
            if let Ok(manifest) = &mut manifest {
                manifest.tenant_kafka = tenant.kafka();
            }
            Ok(Texts {
                text,
                manifest,
                tenant,
                secrets,
            })
        }
        Err(problems) => {
            let of_manifest = manifest.err().into_iter().flatten();
            Err(of_manifest.chain(problems).collect())
        }
    }
}

/// Reads, validates and compiles; `seen` becomes what is known of the files with secrets. The error holds everything that is
/// wrong, a line each with the file's name.
pub(super) fn load(
    candidate: &Candidate,
    runtime: &Runtime,
    store: &SecretStore,
    trust: &Trust,
    seen: &mut Facts,
) -> Result<Loaded, Vec<String>> {
    let Texts {
        text,
        manifest,
        tenant,
        secrets,
    } = texts(candidate, store, trust, seen)?;
    // A bad manifest need not hide a bad component.
    let known = manifest.as_ref().ok();
    let component = own_component(candidate, known, &tenant, runtime);
    let beside = known.map_or(&[][..], |manifest| &manifest.middleware);
    let middleware = stages::load(candidate, &tenant, beside, runtime);
    let pipelines = known.map_or(&[][..], |manifest| &manifest.pipelines);
    let mut steps_digest = Sha256::new();
    let steps = courses::load(candidate, pipelines, &tenant, runtime, &mut steps_digest);
    match (manifest, component, middleware, steps) {
        (Ok(mut manifest), Ok((component, wasm)), Ok(middleware), Ok(steps)) => {
            if let Some(what) = misfit(&manifest, &component) {
                return Err(vec![format!("{}: {what}", candidate.manifest.display())]);
            }
            let mut refusals = secrets.problems.clone();
            let trial = trial_record(candidate, &manifest, &tenant, seen);
            let trial = trial.map_err(|problem| refusals.push(problem));
            refusals.extend(tenant.refusals(&mut manifest));
            if !refusals.is_empty() {
                return Err(refusals);
            }
            let (code, steps_code) = (Sha256::digest(&wasm), steps_digest.finalize());
            let mut digest = Sha256::new();
            digest.update(text.as_bytes());
            digest.update(code);
            digest.update(tenant.lines().join("\n"));
            digest.update(steps_code);
            digest.update(middleware.id.as_str());
            secrets.add_to(&mut digest);
            // What is signed anew is kept with its new signature.
            tenant
                .vouched
                .kept()
                .values()
                .for_each(|signed| digest.update(signed));
            let revision = Revision::from_digest(&digest.finalize());
            let of = |digest: &[u8]| Revision::from_digest(digest).to_string();
            let face = face(&text, &component, &tenant, &secrets)
                .with_digest("code", &of(&code))
                .with_digest("code of middleware", middleware.id.as_str())
                .with_digest("code of steps", &of(&steps_code));
            let files = tenant.files(&text);
            let compiled = tenant.compiled.get();
            let (prefix, grants, quotas) = tenant.into_parts();
            Ok(Loaded {
                manifest,
                face,
                prefix,
                grants,
                quotas,
                component,
                trial: trial.ok().flatten(),
                compiled,
                secrets: secrets.places,
                middleware,
                steps,
                revision,
                files,
            })
        }
        (manifest, component, middleware, steps) => {
            let problems = manifest.err().into_iter().flatten();
            let problems = problems.chain(secrets.problems).chain(component.err());
            let problems = problems.chain(middleware.err().into_iter().flatten());
            Err(problems.chain(steps.err().into_iter().flatten()).collect())
        }
    }
}

/// Reads the record that the handler is tried with, if its manifest names one.
fn trial_record(
    candidate: &Candidate,
    manifest: &Manifest,
    tenant: &OfTenant<'_>,
    seen: &mut Facts,
) -> Result<Option<TrialRecord>, String> {
    let Some(name) = &manifest.trial_record else {
        return Ok(None);
    };
    let path = candidate.manifest.with_file_name(name);
    // Another one is tried as soon as it is there.
    seen.add([path.clone()]);
    let text = tenant.text(&path, name)?;
    let trial = TrialRecord::read(&text, manifest, tenant.prefix());
    let trial = trial.map_err(|why| format!("{}: it is no record: {why}", path.display()))?;
    Ok(Some(trial))
}

/// Returns what is compared with the revision before it, but for the code.
fn face(manifest: &str, component: &Component, tenant: &OfTenant<'_>, secrets: &Found) -> Face {
    let lines = tenant.lines();
    let mut face = Face::of_manifest(manifest);
    for (secret, digest) in &secrets.digests {
        face = face.with_digest(&format!("secret {secret}"), digest);
    }
    for (name, digest) in &secrets.settings {
        face = face.with_digest(&format!("tenant's kafka.{name}"), digest);
    }
    face.with("hook", component.hooks())
        .with("import", component.imports().iter().map(String::as_str))
        .with("tenant's", lines.iter().map(String::as_str))
}

/// Reads and compiles the handler's own component, and returns its bytes as well. A handler that is nothing but pipelines
/// has one without anything in it.
fn own_component(
    candidate: &Candidate,
    manifest: Option<&Manifest>,
    tenant: &OfTenant<'_>,
    runtime: &Runtime,
) -> Result<(Component, Vec<u8>), String> {
    let has_pipelines = manifest.is_some_and(|manifest| !manifest.pipelines.is_empty());
    let pin = manifest.and_then(|manifest| manifest.digest);
    let (path, role) = match component_file(candidate, manifest)? {
        Some(path) if has_pipelines => (path, Role::Beside),
        Some(path) => (path, Role::Handler),
        None if pin.is_some() => {
            return Err(format!(
                "{}: digest: the handler has no component of its own (put it beside the manifest, or leave digest out)",
                candidate.manifest.display()
            ));
        }
        None => {
            let empty = Component::load(runtime, EMPTY, Role::Beside);
            return Ok((empty.map_err(|error| error.to_string())?, EMPTY.to_vec()));
        }
    };
    tenant.pinned(&path, role, runtime, pin)
}

/// Returns whether a manifest names a file for something else than the handler's own component.
fn has_beside(manifest: &Manifest, file: &str) -> bool {
    let mut middleware = manifest.middleware.iter();
    let mut steps = manifest.pipelines.iter().flat_map(Pipeline::components);
    middleware.any(|it| it.component == file) || steps.any(|(_, _, work)| work.file == file)
}

/// Returns what the manifest says that the component has no hook for.
fn misfit(manifest: &Manifest, component: &Component) -> Option<&'static str> {
    let takes = component.takes();
    let singles = takes.singles || !manifest.pipelines.is_empty();
    if manifest.breaker.is_some() && !singles {
        return Some(
            "[breaker] is for records that are handed over one by one, and the component takes batches only",
        );
    }
    if manifest.on_exhausted == OnExhausted::Park && !singles {
        return Some(
            "on-exhausted = \"park\" is for records that are handed over one by one, and the component takes batches only",
        );
    }
    if manifest.return_topics.has_retries() && !singles {
        return Some(
            "retry.topic-delays-ms is for records that are handed over one by one, and the component takes batches only",
        );
    }
    if !manifest.routing.rules.is_empty() && !takes.any_record {
        return Some(
            "[[route]] chooses among records whatever their event, and the component has hooks for the events that it names \
             only (leave [[route]] out, or add on-message)",
        );
    }
    let bulk = manifest.bulk?;
    if !manifest.routing.rules.is_empty() {
        return Some(
            "records that are chosen one by one are handed over one by one, so [[route]] and [bulk] exclude each other",
        );
    }
    if !takes.batches {
        return Some(
            "[bulk] is for components that take batches, and this one has no on-bulk (add the hook, or leave [bulk] out)",
        );
    }
    (bulk.by_lag.is_some() && !takes.singles).then_some(
        "bulk.enter-lag and bulk.exit-lag say when batches take turns with single records, and the component takes \
         batches only (add on-message, or leave both out)",
    )
}

pub(super) fn read_text(path: &Path) -> Result<String, String> {
    let bytes = read_bounded(path, TEXT_BYTES_MAX);
    let bytes = bytes.map_err(|error| format!("{}: cannot be read: {error}", path.display()))?;
    text_of(bytes, path)
}

/// Reads a file whole. It must be one, and not larger: another might have no end.
pub(super) fn read_bounded(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    // A pipe would have to be opened by somebody else, too.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let mib = bytes_max >> 20;
        return Err(io::Error::other(format!("it is larger than {mib} MiB")));
    }
    Ok(bytes)
}

/// Returns the file of the handler's own component; none where it has pipelines and needs none.
pub(super) fn component_file(
    candidate: &Candidate,
    known: Option<&Manifest>,
) -> Result<Option<PathBuf>, String> {
    let named = known.and_then(|manifest| manifest.component.as_deref());
    let has_pipelines = known.is_some_and(|manifest| !manifest.pipelines.is_empty());
    let is_other = |file: &str| known.is_some_and(|manifest| has_beside(manifest, file));
    let manifest = candidate.manifest.display();
    if let Some(named) = named {
        let path = candidate.manifest.with_file_name(named);
        return if path.exists() {
            Ok(Some(path))
        } else {
            Err(format!(
                "{manifest}: component = \"{named}\": there is no such file beside the manifest"
            ))
        };
    }
    let is_own = |path: &&PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        !name.is_some_and(&is_other)
    };
    let components: Vec<&PathBuf> = candidate.components.iter().filter(is_own).collect();
    match components.as_slice() {
        [only] => Ok(Some((*only).clone())),
        [] if has_pipelines => Ok(None),
        [] => Err(format!(
            "{manifest}: there is no component beside it (expected one .wasm file)"
        )),
        several => {
            let listed: Vec<String> = several
                .iter()
                .filter_map(|path| path.file_name())
                .map(|name| name.to_string_lossy().into())
                .collect();
            Err(format!(
                "{manifest}: there are {} components beside it ({}); say which: component = \"…\"",
                several.len(),
                listed.join(", ")
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_only_if_it_is_one_and_not_too_large() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("handler.toml");
        fs::write(&path, [b' '; 10]).unwrap();
        assert_eq!(read_bounded(&path, 10).unwrap(), [b' '; 10]);
        let told = |path: &Path, max| read_bounded(path, max).unwrap_err().to_string();
        assert!(told(&path, 9).contains("larger"));
        assert_eq!(told(Path::new("/dev/zero"), 9), "it is no file");
        assert_eq!(told(folder.path(), 9), "it is no file");
        // It takes no room, and would take much memory.
        File::create(&path).unwrap().set_len(50 << 30).unwrap();
        assert!(read_text(&path).unwrap_err().contains("larger than 1 MiB"));
    }
}
