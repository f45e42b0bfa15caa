//! The manifest of one handler, for commands that ask what it says and run nothing.
//!
//! **Invariant:** no component is read, and nothing that is wrong with other handlers does harm.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::load::read_text;
use super::scan::{Candidate, EXPECTED, scan, unreadable};
use super::tenant::OfTenant;
use crate::ids::{GroupId, HandlerId};
use crate::manifest::Manifest;
use crate::manifest::kafka::any_value;
use crate::trust::Trust;

/// Why there is no manifest of a handler.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FindError {
    /// The handlers folder cannot be read.
    #[error("{0}")]
    Folder(String),
    /// The folder has no such handler.
    #[error("there is no handler {id} in {folder} ({inventory})")]
    Gone {
        /// The handler.
        id: HandlerId,
        /// The handlers folder.
        folder: String,
        /// What the folder has instead, in words.
        inventory: String,
    },
    /// The manifest is wrong.
    #[error("{0}")]
    Manifest(String),
}

/// Reads the manifest of a handler of `folder`.
pub(crate) fn find_manifest(folder: &Path, id: &HandlerId) -> Result<Manifest, FindError> {
    let scan = scan(folder).map_err(|error| FindError::Folder(unreadable(folder, &error)))?;
    let candidate = scan.candidates.get(id).ok_or_else(|| FindError::Gone {
        id: id.clone(),
        folder: folder.display().to_string(),
        inventory: scan.inventory(),
    })?;
    manifest(candidate).map_err(|problems| FindError::Manifest(problems.join("\n")))
}

/// Reads a manifest, with the names that its tenant's prefix makes. The error holds everything that is wrong, a line each.
fn manifest(candidate: &Candidate) -> Result<Manifest, Vec<String>> {
    let tenant = OfTenant::read(candidate, &Trust::default())?;
    let text = read_text(&candidate.manifest).map_err(|problem| vec![problem])?;
    let manifest = Manifest::parse_with(&text, &candidate.id, tenant.prefix(), any_value);
    manifest.map_err(|problems| {
        let lines = problems.iter().map(|it| it.at(&candidate.manifest));
        lines.collect()
    })
}

/// Reads the manifests of all handlers of `folder`, or of `only` these. The error holds everything that is wrong, a line
/// each.
pub(crate) fn find_manifests(
    folder: &Path,
    only: &[HandlerId],
) -> Result<BTreeMap<HandlerId, (PathBuf, Manifest)>, Vec<String>> {
    let mut scan = scan(folder).map_err(|error| vec![unreadable(folder, &error)])?;
    let mut problems = Vec::new();
    if !only.is_empty() {
        problems.extend(scan.not_found(only).into_iter().map(|(_, what)| what));
        scan.candidates.retain(|id, _| only.contains(id));
    }
    if scan.candidates.is_empty() && problems.is_empty() {
        let folder = folder.display();
        problems.push(format!("{folder}: there are no handlers ({EXPECTED})"));
    }
    let mut manifests = BTreeMap::new();
    for (id, candidate) in scan.candidates {
        match manifest(&candidate) {
            Ok(mut manifest) => {
                // What is not granted is not deployed, and not prepared for either.
                let refusals = OfTenant::read(&candidate, &Trust::default())
                    .map(|it| it.refusals(&mut manifest));
                problems.extend(refusals.into_iter().flatten());
                manifests.insert(id, (candidate.manifest, manifest));
            }
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() {
        Ok(manifests)
    } else {
        Err(problems)
    }
}

/// Returns another handler of the tenant with the same group, if there is one. Manifests that are wrong do not serve, so
/// they do not count.
pub(crate) fn find_sharer(
    folder: &Path,
    id: &HandlerId,
    group: &GroupId,
) -> Result<Option<HandlerId>, FindError> {
    let scan = scan(folder).map_err(|error| FindError::Folder(unreadable(folder, &error)))?;
    let others = scan.candidates.iter();
    let sharer = others
        .filter(|(other, _)| other.tenant == id.tenant && *other != id)
        .find(|(_, candidate)| manifest(candidate).is_ok_and(|it| it.group == *group));
    Ok(sharer.map(|(other, _)| other.clone()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_manifest_is_found_beside_broken_ones_and_without_a_component() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let folder = folder.path().join(name);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("handler.toml"), text).unwrap();
        };
        write("acme/good", "topics = [\"orders\"]\ngroup = \"g\"\n");
        write("broken", "topics = 7\n");
        let find = |id: &str| find_manifest(folder.path(), &id.parse().unwrap());
        let manifest = find("acme/good").unwrap();
        assert_eq!(manifest.dead_letter_topic.as_str(), "g.dead-letter");
        let problem = find("broken").unwrap_err().to_string();
        assert!(problem.contains("broken/handler.toml:1"), "{problem}");
        let problem = find("gone").unwrap_err().to_string();
        assert!(
            problem.starts_with("there is no handler default/gone in ")
                && problem.ends_with(" (it holds acme/good, default/broken)"),
            "{problem}"
        );
        let share = |id: &str| {
            let found = find_sharer(folder.path(), &id.parse().unwrap(), &"g".parse().unwrap());
            found.unwrap().map(|other| other.to_string())
        };
        assert_eq!(share("acme/good"), None);
        write("acme/too", "topics = [\"bills\"]\ngroup = \"g\"\n");
        assert_eq!(share("acme/good").as_deref(), Some("acme/too"));
        assert_eq!(share("other/good"), None);
        let missing = folder.path().join("missing");
        let problem = find_manifest(&missing, &"x".parse().unwrap()).unwrap_err();
        assert!(problem.to_string().contains("cannot be read"), "{problem}");
    }
}
