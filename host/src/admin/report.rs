//! What `/v1` tells of handlers.
//!
//! Reads the running parts as readiness does.
//! **Invariant:** what is not known is null, never 0.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use super::View;
use super::readiness::{HandlerFacts, judge};
use crate::canary::Side;
use crate::catalog::{Catalog, Deployed, Manner, OnTrial, Proving};
use crate::history::History;
use crate::ids::HandlerId;

impl View {
    /// Tells of the handlers that `is_meant` picks; those that were refused and do not serve are among them.
    pub(super) fn handlers(&self, is_meant: impl Fn(&HandlerId) -> bool) -> Vec<Value> {
        let readiness = judge(self.facts());
        let mut problems: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for one in readiness.not_ready {
            if let Some(name) = one.what.strip_prefix("handler ") {
                problems.entry(name.to_owned()).or_default().push(one.why);
            }
        }
        let mut told = BTreeMap::new();
        for facts in readiness.handlers {
            let name = format!("{}/{}", facts.tenant, facts.handler);
            let problems = problems.remove(&name).unwrap_or_default();
            told.insert(name, serving(&facts, &problems));
        }
        for (name, problems) in problems {
            let (tenant, handler) = name.split_once('/').unwrap_or(("", &name));
            let value = json!({
                "tenant": tenant, "handler": handler, "state": "refused", "revision": null, "problems": problems,
            });
            told.insert(name, value);
        }
        let meant = told
            .into_iter()
            .filter(|(name, _)| name.parse().is_ok_and(|id| is_meant(&id)));
        meant.map(|(_, value)| value).collect()
    }

    /// Tells of one handler, with its partitions and what is kept of it; nothing where there is none.
    pub(super) fn handler(&self, id: &HandlerId) -> Option<Value> {
        let mut told = self.handlers(|it| it == id).pop()?;
        let catalog = Arc::clone(&self.catalog.borrow());
        let deployed = catalog.handlers().find(|it| it.id == *id);
        let partitions = deployed.map(|it| self.partitions(it, &catalog));
        let fields = told.as_object_mut()?;
        let proving = deployed.and_then(|it| it.proving.as_ref()?.open_counts());
        fields.insert(
            "probation".to_owned(),
            proving.map_or(
                Value::Null,
                |(handled, failed)| json!({ "handled": handled, "failed": failed }),
            ),
        );
        let trial = catalog.trial(id);
        fields.insert(
            "trial".to_owned(),
            trial.map_or(Value::Null, |it| tried(it)),
        );
        fields.insert(
            "partitions".to_owned(),
            partitions.unwrap_or_default().into(),
        );
        match self.history(id) {
            Ok(history) => {
                fields.insert("paused-by".to_owned(), paused(&history));
                fields.insert("rolled-back".to_owned(), rolled_back(&history));
            }
            Err(why) => {
                if let Some(Value::Array(problems)) = fields.get_mut("problems") {
                    problems.push(why.into());
                }
            }
        }
        Some(told)
    }

    /// Tells what is kept of a handler, the newest first; the error says why nothing is.
    pub(super) fn revisions(&self, id: &HandlerId) -> Result<Value, String> {
        let Some(state) = &self.control.state else {
            return Err(
                "no revisions are kept; name a folder for them: `state` in host.toml, or serve --state DIR".to_owned(),
            );
        };
        let history = state.history(id).map_err(|error| error.to_string())?;
        let catalog = Arc::clone(&self.catalog.borrow());
        let serving = catalog.handlers().find(|it| it.id == *id);
        let serving = serving.map(|it| &it.revision);
        let kept = history.revisions.iter().rev().map(|kept| {
            json!({
                "revision": kept.revision,
                "serving": serving == Some(&kept.revision),
                "at": time(kept.at_ms),
                "cause": kept.cause,
                "by": kept.who,
                "files": state.release(id, &kept.revision).display().to_string(),
            })
        });
        let kept: Vec<Value> = kept.collect();
        Ok(json!({
            "tenant": id.tenant.as_str(),
            "handler": id.name.as_str(),
            "revision": serving,
            "revisions": kept,
            "rolled-back": rolled_back(&history),
        }))
    }

    fn history(&self, id: &HandlerId) -> Result<History, String> {
        match &self.control.state {
            Some(state) => state.history(id).map_err(|error| error.to_string()),
            None => Ok(History::default()),
        }
    }

    fn partitions(&self, handler: &Deployed, catalog: &Catalog) -> Vec<Value> {
        let key = (handler.id.tenant.clone(), handler.manifest.group.clone());
        let groups = self.subscriptions.lock().vitals();
        let groups = groups.into_iter().filter(|group| group.key == key);
        let mut told = Vec::new();
        for partition in groups.flat_map(|group| group.partitions) {
            let readers = catalog.readers(&key, &partition.topic);
            if readers.iter().all(|it| it.id != handler.id) {
                continue;
            }
            // The first of them speaks for the partition.
            let known = readers
                .iter()
                .flat_map(|it| self.registry.partitions(&it.id, &partition.topic))
                .find(|it| it.partition == partition.partition);
            let value = json!({
                "topic": &*partition.topic,
                "partition": partition.partition,
                "position": partition.ledger.position(),
                "lag": known.and_then(|it| it.lag_records),
                "in-flight": partition.ledger.span(),
                "retrying": partition.vitals.waiting(),
                "parked-keys": known.map(|it| it.parked_keys),
                "halted-at": known.and_then(|it| it.halted_at),
            });
            told.push((Arc::clone(&partition.topic), partition.partition, value));
        }
        told.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        told.into_iter().map(|(_, _, value)| value).collect()
    }
}

fn serving(facts: &HandlerFacts, problems: &[String]) -> Value {
    let state = if facts.is_held {
        "paused"
    } else if problems.is_empty() {
        "serving"
    } else {
        "degraded"
    };
    json!({
        "tenant": facts.tenant,
        "handler": facts.handler,
        "state": state,
        "revision": facts.revision,
        "group": facts.group,
        "topics": facts.topics,
        "assigned": facts.partitions,
        "problems": problems,
    })
}

fn paused(history: &History) -> Value {
    match &history.paused {
        Some(paused) => json!({ "who": paused.who, "at": time(paused.at_ms) }),
        None => Value::Null,
    }
}

fn rolled_back(history: &History) -> Value {
    match &history.rollback {
        Some(it) => {
            json!({ "from": it.was, "to": it.to, "who": it.who, "at": time(it.at_ms) })
        }
        None => Value::Null,
    }
}

/// Tells of a revision that is tried, and of the one that serves beside it.
fn tried(trial: &OnTrial) -> Value {
    let revision = &trial.handler.revision;
    let proving = trial.handler.proving.as_ref();
    let (old, new) = proving.and_then(Proving::sides).unwrap_or_default();
    match &trial.manner {
        Manner::Canary(share) => json!({
            "kind": "canary",
            "revision": revision,
            "share": share.to_string(),
            "tried": side(&new),
            "serving": side(&old),
        }),
        Manner::Shadow(shadow) => {
            let seen = shadow.comparison();
            let differences = seen.first.iter().map(|it| {
                json!({
                    "topic": it.topic, "partition": it.partition, "offset": it.offset, "what": it.what.to_string(),
                })
            });
            json!({
                "kind": "shadow",
                "revision": revision,
                "compared": seen.equal + seen.differing,
                "equal": seen.equal,
                "differing": seen.differing,
                "skipped": seen.skipped,
                "differences": differences.collect::<Vec<_>>(),
            })
        }
    }
}

fn side(side: &Side) -> Value {
    let mean = side.mean().map(|it| it.as_secs_f64() * 1000.0);
    json!({ "handled": side.handled, "failed": side.failed, "mean-ms": mean })
}

/// Returns a time as RFC 3339 has it.
pub(super) fn time(at_ms: i64) -> String {
    let since = Duration::from_millis(at_ms.max(0).unsigned_abs());
    humantime::format_rfc3339_seconds(UNIX_EPOCH + since).to_string()
}
