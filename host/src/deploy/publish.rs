//! How what was loaded comes to lanes and consumers.
//!
//! **Invariant:** consumers are made to match what lanes already see.

use std::sync::Arc;

use super::deployer::Deployer;
use crate::catalog::{Catalog, Manner};
use crate::duration::millis;

impl Deployer {
    /// Lets lanes see what serves now, then makes the consumers match.
    pub(super) fn publish(&mut self) {
        let mut new = Vec::new();
        for known in self.known.values_mut() {
            if let (Some(took), Some(deployed)) = (known.took.take(), &known.serving) {
                self.board.published.increment();
                new.push(Arc::clone(deployed));
                tracing::info!(
                    tenant = %deployed.id.tenant,
                    handler = %deployed.id.name,
                    revision = %deployed.revision,
                    hooks = ?deployed.component.hooks(),
                    changes = known.changes.take(),
                    took_ms = millis(took),
                    "deployed"
                );
            }
        }
        self.tell_trials();
        let known = || self.known.values();
        let tried = known().filter_map(|it| Some(Arc::clone(&it.trial.as_ref()?.on)));
        let catalog = Arc::new(Catalog::new(
            known().filter_map(|known| known.serving.clone()),
            tried,
            self.paused.clone(),
        ));
        for deployed in new {
            if let Some(readers) = catalog.tenant(&deployed.id.tenant) {
                readers.warn_of_manifest(&deployed);
            }
        }
        self.catalog.send_replace(Arc::clone(&catalog));
        // Their records wait for it, and find what serves in their place.
        for known in self.known.values_mut() {
            for (tried, stays) in known.ended.drain(..) {
                tried.end(stays);
            }
        }
        self.subscriptions.lock().reconcile(&catalog);
    }

    /// Tells which revisions are newly tried.
    fn tell_trials(&mut self) {
        for known in self.known.values_mut() {
            let Some(trial) = known.trial.as_mut().filter(|it| !it.is_told) else {
                continue;
            };
            trial.is_told = true;
            let on = &trial.on;
            let (id, manner) = (&on.handler.id, &on.manner);
            let share = match manner {
                Manner::Canary(share) => share.to_string(),
                Manner::Shadow(_) => "none".to_owned(),
            };
            tracing::info!(
                tenant = %id.tenant, handler = %id.name, revision = %on.handler.revision, beside = %on.beside, %share,
                changes = trial.changes, "a new revision is tried"
            );
            if self.state.is_none() {
                tracing::warn!(
                    tenant = %id.tenant, handler = %id.name,
                    "what is tried serves alone when the host starts again, since nothing is kept; name a folder for it: `state` in \
                     host.toml, or serve --state DIR"
                );
            }
        }
    }
}
