//! Whether a handler may serve: what its tenant may have, the handlers beside it, the topics that it needs.
//!
//! **Invariant:** nothing is changed by asking.

use std::sync::Arc;

use super::conflict::{Party, obstacle};
use super::deployer::Deployer;
use super::known::Known;
use super::retention;
use super::scan::{Candidate, TENANT};
use crate::catalog::Deployed;
use crate::grants::Grants;
use crate::ids::{HandlerId, TopicName};
use crate::manifest::Manifest;
use crate::quotas::{Beyond, Quotas};
use crate::topic_settings::topic_settings;
use crate::topics::conflict;

impl Deployer {
    /// Returns why a handler is not deployed whose tenant has lost its file, if it has: what the file did not grant would be
    /// granted.
    pub(super) fn unguarded(&self, candidate: &Candidate, known: Option<&Known>) -> Option<String> {
        let (id, manifest) = (&candidate.id, candidate.manifest.display());
        let others = self.known.iter().filter(|(it, _)| it.tenant == id.tenant);
        // What is loaded is not among them.
        let mut all = others.map(|(_, known)| known).chain(known);
        let has_file = |known: &Known| {
            let serving = known.serving.as_ref();
            serving.is_some_and(|it| *it.setup.grants != Grants::All)
        };
        let is_lost = candidate.tenant.is_none() && all.any(has_file);
        is_lost.then(|| {
            format!(
                "{manifest}: the tenant {} had a {TENANT} and has none now, so everything would be granted (put it back, or take \
                 the tenant's folder away and bring it back without the file)",
                id.tenant
            )
        })
    }

    /// Returns why the tenant may have no further handler beside those that serve, if it may not.
    pub(super) fn one_too_many(&self, id: &HandlerId, quotas: &Quotas) -> Option<Beyond> {
        let serving = self.known.values().filter_map(|it| it.serving.as_ref());
        let is_other = |it: &&Arc<Deployed>| it.id.tenant == id.tenant && it.id != *id;
        quotas.another_handler(serving.filter(is_other).count())
    }

    /// Returns why a handler cannot serve beside the others that do, if it cannot.
    pub(super) fn clash(&self, new: Party<'_>) -> Option<String> {
        for known in self.known.values() {
            let Some(other) = known.serving.as_ref().filter(|it| it.id != *new.id) else {
                continue;
            };
            if let Some(what) = obstacle(new, Party::of(other)) {
                return Some(what);
            }
            if let Some(what) = conflict(new.manifest, &other.manifest) {
                let file = known.facts.manifest().display();
                return Some(format!("does not go together with {file}: {what}"));
            }
        }
        None
    }

    /// Returns why records may be gone from the topics in which they wait, if they may.
    pub(super) async fn forgetful_topics(&self, manifest: &Manifest) -> Option<String> {
        let topics = &manifest.return_topics;
        let names: Vec<&TopicName> = topics.retries().map(|(_, topic)| topic).collect();
        if names.is_empty() {
            return None;
        }
        let settings = self.sinks.settings(manifest);
        let known = topic_settings(&settings, &names).await;
        retention::shortcoming(topics, manifest.retry.longest_wait(), &known)
    }
}
