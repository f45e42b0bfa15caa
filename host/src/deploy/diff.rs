//! `diff`: what a handlers folder would change in the place of another one, without a broker.
//!
//! **Invariant:** a handler that cannot be loaded is a problem and no difference.

use std::collections::BTreeMap;
use std::path::Path;

use super::facts::Facts;
use super::load::{Loaded, load};
use super::scan::{scan, unreadable};
use super::secrets::SecretStore;
use crate::guest::Runtime;
use crate::ids::HandlerId;
use crate::trust::Trust;

/// How one folder differs from another.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    /// A paragraph for each handler that is new, gone or different.
    pub(crate) handlers: Vec<String>,
    /// How many are the same in both.
    pub(crate) same: usize,
    /// Everything that cannot be loaded, a line each.
    pub(crate) problems: Vec<String>,
}

/// Compares what lies in `new` with what lies in `old`.
pub(crate) fn diff(new: &Path, old: &Path, runtime: &Runtime, secrets: &SecretStore) -> Difference {
    let mut difference = Difference::default();
    let (new, mut refused) = all(new, (runtime, secrets), &mut difference.problems);
    let (old, refused_before) = all(old, (runtime, secrets), &mut difference.problems);
    refused.extend(refused_before);
    let mut ids: Vec<&HandlerId> = new.keys().chain(old.keys()).collect();
    ids.sort();
    ids.dedup();
    for id in ids.into_iter().filter(|id| !refused.contains(id)) {
        match (old.get(id), new.get(id)) {
            (Some(old), Some(new)) if old.revision == new.revision => difference.same += 1,
            (Some(old), Some(new)) => {
                let heading = format!("~ {id}  revision {} → {}", old.revision, new.revision);
                let lines = new.face.since(&old.face);
                difference.handlers.push(paragraph(heading, lines));
            }
            (None, Some(new)) => {
                let heading = format!("+ {id}  revision {}", new.revision);
                let lines = new.face.since(&crate::changes::Face::default());
                difference.handlers.push(paragraph(heading, lines));
            }
            (_, None) => difference.handlers.push(format!("- {id}")),
        }
    }
    difference
}

fn paragraph(heading: String, lines: Vec<String>) -> String {
    let lines = lines.into_iter().map(|line| format!("    {line}"));
    let all: Vec<String> = std::iter::once(heading).chain(lines).collect();
    all.join("\n")
}

/// Loads the handlers of a folder; returns those, and the names of the others.
fn all(
    folder: &Path,
    (runtime, secrets): (&Runtime, &SecretStore),
    problems: &mut Vec<String>,
) -> (BTreeMap<HandlerId, Loaded>, Vec<HandlerId>) {
    let (mut loaded, mut refused) = (BTreeMap::new(), Vec::new());
    let scan = match scan(folder) {
        Ok(scan) => scan,
        Err(error) => {
            problems.push(unreadable(folder, &error));
            return (loaded, refused);
        }
    };
    problems.extend(scan.problems.into_values());
    for (id, candidate) in scan.candidates {
        match load(
            &candidate,
            runtime,
            secrets,
            &Trust::default(),
            &mut Facts::default(),
        ) {
            Ok(handler) => {
                loaded.insert(id, handler);
            }
            Err(told) => {
                problems.extend(told);
                refused.push(id);
            }
        }
    }
    (loaded, refused)
}
