//! The manifest of one handler, for commands that ask what it says and run nothing.
//!
//! **Invariant:** neither its component nor other handlers are read, so nothing that is wrong with them does harm.

use std::path::Path;

use super::load::read_text;
use super::scan::{scan, unreadable};
use crate::ids::HandlerId;
use crate::manifest::Manifest;

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
    let text = read_text(&candidate.manifest).map_err(FindError::Manifest)?;
    Manifest::parse(&text, id).map_err(|problems| {
        let lines: Vec<String> = problems
            .iter()
            .map(|problem| problem.at(&candidate.manifest))
            .collect();
        FindError::Manifest(lines.join("\n"))
    })
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
        let missing = folder.path().join("missing");
        let problem = find_manifest(&missing, &"x".parse().unwrap()).unwrap_err();
        assert!(problem.to_string().contains("cannot be read"), "{problem}");
    }
}
