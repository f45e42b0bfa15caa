//! Starting handlers step by step.
//!
//! Handed the running parts, asks Kafka now and then how far the handlers of earlier steps are behind, while a step
//! waits; deciding is for [`crate::steps`].
//! **Invariant:** Kafka is asked on a thread that may block, and what it does not answer holds the next step.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::admin::View;
use crate::catalog::GroupKey;
use crate::ids::HandlerId;
use crate::source::{ConsumerSettings, GroupLag, LagError};
use crate::steps::{Behind, Steps};
use crate::subscriptions::Earlier;

/// How often Kafka is asked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often it is told again what a step waits for, where only numbers have changed.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// Starts step after step; then there is nothing left to do.
pub(super) async fn tend(view: &View) -> Infallible {
    let mut lags = Lags::default();
    let mut log = Log::default();
    while view.subscriptions.lock().steps().is_waiting() {
        tokio::time::sleep(LOOK_EVERY).await;
        if !view.board.has_looked() {
            continue;
        }
        let catalog = Arc::clone(&view.catalog.borrow());
        let earlier = view.subscriptions.lock().earlier(&catalog);
        let looked = tokio::task::spawn_blocking(move || {
            let behind = lags.look(&earlier);
            (lags, behind)
        });
        let behind;
        (lags, behind) = looked.await.unwrap_or_default();
        let mut subscriptions = view.subscriptions.lock();
        // Read while the lock is held: a newer one is taken up by the deployer after this.
        let catalog = Arc::clone(&view.catalog.borrow());
        let started = subscriptions.step(&catalog, &behind);
        let steps = subscriptions.steps().clone();
        drop(subscriptions);
        let handlers: Vec<HandlerId> = catalog.handlers().map(|it| it.id.clone()).collect();
        log.tell(&steps, &handlers, started);
    }
    // Closing a client may block.
    tokio::task::spawn_blocking(move || drop(lags));
    std::future::pending().await
}

/// The clients that ask, one a group.
#[derive(Debug, Default)]
struct Lags {
    groups: BTreeMap<GroupKey, (ConsumerSettings, GroupLag)>,
}

impl Lags {
    fn look(&mut self, handlers: &[Earlier]) -> BTreeMap<HandlerId, Behind> {
        let one = |earlier: &Earlier| {
            let behind = match self.records(earlier) {
                Ok(records) => Behind::Records(records),
                Err(error) => Behind::Unknown(error.to_string()),
            };
            (earlier.handler.id.clone(), behind)
        };
        handlers.iter().map(one).collect()
    }

    fn records(&mut self, earlier: &Earlier) -> Result<u64, LagError> {
        let Earlier {
            handler, settings, ..
        } = earlier;
        let key = (handler.id.tenant.clone(), handler.manifest.group.clone());
        let known = self.groups.remove(&key);
        let asks = match known.filter(|(used, _)| used == settings) {
            Some(asks) => asks,
            None => (settings.clone(), GroupLag::new(settings)?),
        };
        let (_, lag) = self.groups.entry(key).insert_entry(asks).into_mut();
        earlier.reads(|reads| lag.records(reads))
    }
}

/// What was told last.
#[derive(Debug, Default)]
struct Log {
    unknown: Vec<(String, String)>,
    told: Option<(Vec<String>, Instant)>,
}

impl Log {
    fn tell(&mut self, steps: &Steps, handlers: &[HandlerId], started: Option<usize>) {
        let unknown = steps.plan().unknown(handlers);
        for (handler, why) in unknown.iter().filter(|it| !self.unknown.contains(it)) {
            tracing::warn!("{handler} {why}");
        }
        self.unknown = unknown;
        if let Some(step) = started {
            let ids = steps.plan().steps.get(step - 1).into_iter().flatten();
            let ids: Vec<String> = ids.map(ToString::to_string).collect();
            tracing::info!(step, handlers = ?ids, "the step starts");
            self.told = None;
        }
        if steps.waits_for().is_empty() {
            return;
        }
        // The numbers change with each look.
        let what = |(id, behind): &(HandlerId, Behind)| match behind {
            Behind::Records(_) => id.to_string(),
            Behind::Unknown(why) => format!("{id}: {why}"),
        };
        let what: Vec<String> = steps.waits_for().iter().map(what).collect();
        let is_told = self
            .told
            .as_ref()
            .is_some_and(|(told, at)| *told == what && at.elapsed() < TELL_EVERY);
        if !is_told {
            if let Some((step, why)) = steps.waits().first() {
                tracing::info!("{step} {why}");
            }
            self.told = Some((what, Instant::now()));
        }
    }
}
