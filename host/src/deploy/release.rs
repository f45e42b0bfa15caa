//! `release`: what is to be signed of a handler, or of a tenant.
//!
//! **Invariant:** it names the files that are loaded, no more and no fewer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::load::{component_file, read_text};
use super::scan::{Candidate, MANIFEST, Scan, TENANT, scan, unreadable};
use super::tenant::OfTenant;
use super::vouched::digest_of_file;
use crate::ids::TenantId;
use crate::manifest::{self, Manifest, Problem};
use crate::pipeline::Pipeline;
use crate::release::{FileDigest, Release, Subject, is_file_name};
use crate::setting::check_value;
use crate::trust::Trust;

/// Returns what is to be signed in a handlers folder; without a name it is that of the only handler. The error holds
/// everything that is wrong, a line each.
pub(crate) fn release(folder: &Path, subject: Option<Subject>) -> Result<String, Vec<String>> {
    let scan = scan(folder).map_err(|error| vec![unreadable(folder, &error)])?;
    let only = || match scan.candidates.keys().collect::<Vec<_>>().as_slice() {
        [only] => Ok(Subject::Handler((*only).clone())),
        _ => Err(vec![format!(
            "{}: say which handler ({})",
            folder.display(),
            scan.inventory()
        )]),
    };
    let subject = subject.map_or_else(only, Ok)?;
    let files = match &subject {
        Subject::Handler(id) => {
            let problems = || {
                let there = scan.not_found(std::slice::from_ref(id));
                let there = there.into_iter().map(|(_, what)| what);
                let all = there.chain(scan.problems.values().cloned());
                all.collect::<Vec<_>>()
            };
            of_handler(scan.candidates.get(id).ok_or_else(problems)?)?
        }
        Subject::Tenant(tenant) => of_tenant(&scan, folder, tenant)?,
    };
    Ok(Release { subject, files }.text())
}

type Digests = BTreeMap<String, FileDigest>;

fn of_handler(candidate: &Candidate) -> Result<Digests, Vec<String>> {
    let text = read_text(&candidate.manifest).map_err(|problem| vec![problem])?;
    // Who signs need not have been signed.
    let tenant = OfTenant::read(candidate, &Trust::default())?;
    let manifest = Manifest::parse_with(&text, &candidate.id, tenant.prefix(), check_value);
    let manifest = manifest.map_err(|problems| at(&candidate.manifest, &problems))?;
    let own = component_file(candidate, Some(&manifest)).map_err(|problem| vec![problem])?;
    let middleware = manifest.middleware.iter().map(|it| &it.component);
    let steps = manifest.pipelines.iter().flat_map(Pipeline::components);
    let steps = steps.map(|(_, _, work)| &work.file);
    let beside = middleware.chain(steps).chain(&manifest.trial_record);
    let beside = beside.map(|name| candidate.manifest.with_file_name(name));
    let manifest = (MANIFEST.to_owned(), FileDigest::of(text.as_bytes()));
    digests(manifest, own.into_iter().chain(beside))
}

fn of_tenant(scan: &Scan, folder: &Path, tenant: &TenantId) -> Result<Digests, Vec<String>> {
    let missing = || {
        let folder = folder.join(tenant.as_str());
        vec![format!("{}: there is no {TENANT} in it", folder.display())]
    };
    let file = scan.tenant_file(tenant).ok_or_else(missing)?;
    let text = read_text(file).map_err(|problem| vec![problem])?;
    let told = manifest::tenant_with(&text, check_value);
    let told = told.map_err(|problems| at(file, &problems))?;
    let beside = told.middleware.iter();
    let beside = beside.map(|it| file.with_file_name(&it.component));
    digests((TENANT.to_owned(), FileDigest::of(text.as_bytes())), beside)
}

fn at(file: &Path, problems: &[Problem]) -> Vec<String> {
    problems.iter().map(|problem| problem.at(file)).collect()
}

fn digests(
    first: (String, FileDigest),
    beside: impl Iterator<Item = PathBuf>,
) -> Result<Digests, Vec<String>> {
    let (mut digests, mut problems) = (Digests::from([first]), Vec::new());
    for path in beside {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !is_file_name(&name) {
            problems.push(format!(
                "{}: a file of this name cannot be signed (give it another one)",
                path.display()
            ));
            continue;
        }
        match digest_of_file(&path) {
            Ok(digest) => {
                digests.insert(name.into_owned(), digest);
            }
            Err(error) => problems.push(format!("{}: cannot be read: {error}", path.display())),
        }
    }
    if problems.is_empty() {
        Ok(digests)
    } else {
        Err(problems)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn names(text: &str) -> Vec<String> {
        let release = Release::parse(text).unwrap();
        release.files.into_keys().collect()
    }

    #[test]
    fn it_names_what_the_manifest_names_and_nothing_else() {
        let manifest = "topics = [\"a\"]\ncomponent = \"own.wasm\"\n[[middleware]]\ncomponent = \"first.wasm\"\n";
        let folder = folder(&[
            (
                "acme/tenant.toml",
                "[[middleware]]\ncomponent = \"of-all.wasm\"\n",
            ),
            ("acme/of-all.wasm", "m"),
            ("acme/orders/handler.toml", manifest),
            ("acme/orders/own.wasm", "o"),
            ("acme/orders/first.wasm", "f"),
            ("acme/orders/unused.wasm", "u"),
            ("acme/orders/notes.txt", "n"),
        ]);
        let text = release(folder.path(), None).unwrap();
        assert!(text.contains("\ntenant acme\nhandler orders\n"), "{text}");
        assert_eq!(names(&text), ["first.wasm", "handler.toml", "own.wasm"]);
        let tenant = Subject::Tenant("acme".parse().unwrap());
        let text = release(folder.path(), Some(tenant)).unwrap();
        assert_eq!(names(&text), ["of-all.wasm", "tenant.toml"]);
    }

    #[test]
    fn what_cannot_be_signed_is_told() {
        let told = |files: &[(&str, &str)], subject: Option<Subject>| {
            let folder = folder(files);
            release(folder.path(), subject).unwrap_err().join("\n")
        };
        let good = ("a.toml", "topics = [\"a\"]\n");
        let several = [good, ("a.wasm", ""), ("b.toml", "x = 1"), ("b.wasm", "")];
        assert!(told(&several, None).contains("say which handler (it holds default/a, default/b)"));
        let handler = |name: &str| Some(Subject::Handler(name.parse().unwrap()));
        assert!(told(&several, handler("b")).contains("b.toml:1: unknown key"));
        assert!(told(&several, handler("c")).contains("there is no such handler"));
        let tenant = Some(Subject::Tenant("acme".parse().unwrap()));
        assert!(told(&several, tenant).contains("acme: there is no tenant.toml in it"));
        let lost = [("x/handler.toml", "topics = [\"a\"]\n")];
        assert!(told(&lost, None).contains("no component beside it"));
    }
}
