//! What is kept of a handler: its revisions in their order, what was rolled back, what is tried, and whether it is paused.
//!
//! Handed what was kept before and what happened; says what is to be kept from now on, and which revisions are not.
//! Reading and writing happen elsewhere.
//! **Invariant:** the revision that serves, the one that was rolled back to and the one beside which another is tried are
//! never dropped.

use serde::{Deserialize, Serialize};

use crate::ids::Revision;

/// Revisions of a handler that are kept where nothing else is said.
pub const REVISIONS_KEPT: usize = 5;

/// Why a revision was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Its files lay in the handlers folder.
    Folder,
    /// It was rolled back to.
    Rollback,
}

/// A revision that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Kept {
    /// The revision.
    pub revision: Revision,
    /// What its own files are recognized by.
    pub digest: String,
    /// When it was published, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Why.
    pub cause: Cause,
    /// By whom.
    pub who: String,
    /// Whether it was rolled back from.
    #[serde(default)]
    pub failed: bool,
}

/// What was rolled back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Rollback {
    /// What the files in the handlers folder were recognized by. It holds while they are these.
    pub from: String,
    /// The revision that served, if one did.
    pub was: Option<Revision>,
    /// The revision that serves in their place.
    pub to: Revision,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// By whom.
    pub who: String,
}

/// A revision that is tried beside the one that serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tried {
    /// The revision that serves meanwhile.
    pub beside: Revision,
}

/// A handler that is to take nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Paused {
    /// Since when, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// By whom.
    pub who: String,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct History {
    /// What is kept, the oldest first.
    pub revisions: Vec<Kept>,
    /// What was rolled back and still is.
    pub rollback: Option<Rollback>,
    /// What is tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tried: Option<Tried>,
    /// Whether the handler is paused.
    pub paused: Option<Paused>,
}

/// Why there is nothing to roll back to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoTarget {
    /// No revision of this name is kept.
    #[error("no revision {wanted} is kept ({})", listed(.kept))]
    Unknown {
        /// What was asked for.
        wanted: String,
        /// What is kept.
        kept: Vec<Revision>,
    },
    /// Several are.
    #[error("several revisions begin with {wanted} ({}); name more of it", listed(.fitting))]
    Ambiguous {
        /// What was asked for.
        wanted: String,
        /// What fits.
        fitting: Vec<Revision>,
    },
    /// It serves already.
    #[error("revision {0} serves already")]
    Serves(Revision),
    /// Nothing older is kept.
    #[error("no revision before the one that serves is kept ({})", listed(.0))]
    NothingBefore(Vec<Revision>),
}

fn listed(revisions: &[Revision]) -> String {
    if revisions.is_empty() {
        return "none is".to_owned();
    }
    let names: Vec<&str> = revisions.iter().map(Revision::as_str).collect();
    format!("kept are {}, the oldest first", names.join(", "))
}

impl History {
    /// Takes note that a revision was published and serves now. Of more than `kept` revisions it drops the oldest; returns
    /// which.
    pub fn publish(&mut self, new: Kept, kept: usize) -> Vec<Revision> {
        let serving = new.revision.clone();
        let mut dropped = self.drop_alike(&new);
        let known = self
            .revisions
            .iter()
            .position(|it| it.revision == new.revision);
        match (new.cause, known) {
            // As it was.
            (Cause::Rollback, Some(_)) => {}
            (Cause::Folder, Some(at)) if at + 1 == self.revisions.len() => {
                if let Some(it) = self.revisions.get_mut(at) {
                    it.failed = false;
                }
            }
            (Cause::Folder, Some(at)) => {
                self.revisions.remove(at);
                self.revisions.push(new);
            }
            (Cause::Folder, None) => self.revisions.push(new),
            (Cause::Rollback, None) => {
                // The files of an old one, under what its tenant may have now.
                let to = self.rollback.as_ref().map(|it| &it.to);
                let like = self
                    .revisions
                    .iter()
                    .position(|it| Some(&it.revision) == to);
                let at = like.map_or(self.revisions.len(), |at| at + 1);
                self.revisions.insert(at, new);
            }
        }
        dropped.extend(self.drop_surplus(&serving, kept));
        dropped
    }

    /// Drops revisions of the same files as the new one: they differ only in what their tenant may have, or in secrets, and
    /// there would soon be nothing else to go back to.
    fn drop_alike(&mut self, new: &Kept) -> Vec<Revision> {
        let held = self.held();
        let is_alike = |it: &Kept| {
            it.digest == new.digest && it.revision != new.revision && !held.contains(&it.revision)
        };
        if new.cause != Cause::Folder {
            return Vec::new();
        }
        let dropped = self.revisions.iter().filter(|it| is_alike(it));
        let dropped = dropped.map(|it| it.revision.clone()).collect();
        self.revisions.retain(|it| !is_alike(it));
        dropped
    }

    /// Takes note that a revision was rolled back from: without a name, nothing goes back to it.
    pub fn fail(&mut self, revision: &Revision) {
        for it in &mut self.revisions {
            it.failed |= it.revision == *revision;
        }
    }

    /// Lists what serves when the host starts again, whatever was published since.
    fn held(&self) -> Vec<Revision> {
        let to = self.rollback.as_ref().map(|it| it.to.clone());
        let beside = self.tried.as_ref().map(|it| it.beside.clone());
        to.into_iter().chain(beside).collect()
    }

    fn drop_surplus(&mut self, serving: &Revision, kept: usize) -> Vec<Revision> {
        let held = self.held();
        let mut surplus = self.revisions.len().saturating_sub(kept);
        let mut dropped = Vec::new();
        self.revisions.retain(|it| {
            let is_held = it.revision == *serving || held.contains(&it.revision);
            if surplus == 0 || is_held {
                return true;
            }
            surplus -= 1;
            dropped.push(it.revision.clone());
            false
        });
        dropped
    }

    /// Returns the revision that is meant by the first digits of its name; without them, the one before that which serves.
    pub fn target(
        &self,
        serving: Option<&Revision>,
        wanted: Option<&str>,
    ) -> Result<&Kept, NoTarget> {
        let Some(wanted) = wanted else {
            return self.before(serving);
        };
        let fits = |it: &&Kept| !wanted.is_empty() && it.revision.as_str().starts_with(wanted);
        let fitting: Vec<&Kept> = self.revisions.iter().filter(fits).collect();
        match fitting.as_slice() {
            [one] if Some(&one.revision) == serving => Err(NoTarget::Serves(one.revision.clone())),
            [one] => Ok(one),
            [] => Err(NoTarget::Unknown {
                wanted: wanted.to_owned(),
                kept: self.names(),
            }),
            several => Err(NoTarget::Ambiguous {
                wanted: wanted.to_owned(),
                fitting: several.iter().map(|it| it.revision.clone()).collect(),
            }),
        }
    }

    /// Returns the newest revision before that which serves that is made of other files: where only what its tenant may have
    /// has changed there is nothing to go back to.
    fn before(&self, serving: Option<&Revision>) -> Result<&Kept, NoTarget> {
        let mut older = self.revisions.iter().rev();
        let serving = serving.and_then(|it| self.kept(it));
        // One that is not kept was published last.
        let found = match serving {
            Some(serving) => older
                .skip_while(|it| it.revision != serving.revision)
                .find(|it| it.digest != serving.digest && !it.failed),
            None => older.find(|it| !it.failed),
        };
        found.ok_or_else(|| NoTarget::NothingBefore(self.names()))
    }

    /// Returns what is kept of a revision.
    pub fn kept(&self, revision: &Revision) -> Option<&Kept> {
        self.revisions.iter().find(|it| it.revision == *revision)
    }

    fn names(&self) -> Vec<Revision> {
        let names = self.revisions.iter().map(|it| it.revision.clone());
        names.collect()
    }
}

#[cfg(test)]
mod tests;
