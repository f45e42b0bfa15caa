//! Who changed what: each change that was asked of the host, done or refused, as a line of the log and, where a topic is
//! named, as a record.
//!
//! Handed changes; nobody waits for Kafka.
//! **Invariant:** a change that is in no record is a line of the log, with the reason why it is no record.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::json;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::courier::Post;
use crate::ids::{HandlerId, Revision, TopicName};
use crate::record::Emit;

/// What was asked of the host, and what became of it.
#[derive(Debug, Clone)]
pub(crate) struct Change<'a> {
    pub(crate) who: &'a str,
    pub(crate) action: &'a str,
    /// The handler that it is about; none where it is about the host.
    pub(crate) handler: Option<&'a HandlerId>,
    /// What serves now, what served before, and the SHA-256 of the files of the former.
    pub(crate) revision: Option<&'a Revision>,
    pub(crate) was: Option<&'a Revision>,
    pub(crate) digest: Option<&'a str>,
    /// What else there is to say.
    pub(crate) detail: Option<&'a str>,
    /// Why it was not done, if it was not.
    pub(crate) refused: Option<&'a str>,
}

impl<'a> Change<'a> {
    /// A change of the host as a whole.
    pub(crate) fn of_host(who: &'a str, action: &'a str) -> Self {
        Self {
            who,
            action,
            handler: None,
            revision: None,
            was: None,
            digest: None,
            detail: None,
            refused: None,
        }
    }

    fn log(&self) {
        let (who, action) = (self.who, self.action);
        let tenant = self.handler.map(|it| tracing::field::display(&it.tenant));
        let handler = self.handler.map(|it| tracing::field::display(&it.name));
        let (detail, why) = (self.detail, self.refused);
        if why.is_some() {
            tracing::info!(target: "audit", who, action, tenant, handler, detail, why, "refused");
            return;
        }
        let is_of_handler = self.handler.is_some();
        let text =
            |it: Option<&'a Revision>| is_of_handler.then(|| it.map_or("none", Revision::as_str));
        let (revision, was) = (text(self.revision), text(self.was));
        let digest = self.digest;
        tracing::info!(target: "audit", who, action, tenant, handler, revision, was, digest, detail, "done");
    }

    fn record(&self) -> String {
        let value = json!({
            "at": humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            "who": self.who,
            "action": self.action,
            "tenant": self.handler.map(|it| it.tenant.as_str()),
            "handler": self.handler.map(|it| it.name.as_str()),
            "revision": self.revision,
            "was": self.was,
            "digest": self.digest,
            "detail": self.detail,
            "outcome": if self.refused.is_some() { "refused" } else { "done" },
            "why": self.refused,
        });
        value.to_string()
    }
}

/// See the module.
pub(crate) struct Audit {
    topic: Option<(TopicName, Arc<Post>)>,
    /// Records of which nobody knows yet whether Kafka has them.
    under_way: Arc<watch::Sender<usize>>,
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topic = self.topic.as_ref().map(|(topic, _)| topic);
        f.debug_tuple("Audit").field(&topic).finish()
    }
}

impl Audit {
    /// Writes to this topic as well, where there is one.
    pub(crate) fn new(topic: Option<(TopicName, Arc<Post>)>) -> Self {
        Self {
            topic,
            under_way: Arc::new(watch::Sender::new(0)),
        }
    }

    /// Takes note of a change. To be called within the async runtime.
    pub(crate) fn note(&self, change: &Change<'_>) {
        change.log();
        let Some((topic, post)) = &self.topic else {
            return;
        };
        let (topic, post) = (topic.clone(), Arc::clone(post));
        let key = change.handler.map(ToString::to_string);
        let (value, under_way) = (change.record(), Arc::clone(&self.under_way));
        under_way.send_modify(|it| *it += 1);
        tokio::spawn(async move {
            if let Err(error) = write(&topic, &post, key.as_deref(), &value).await {
                tracing::warn!(target: "audit", %topic, error, record = value, "a change is not in the audit topic");
            }
            under_way.send_modify(|it| *it -= 1);
        });
    }

    /// Waits until it is known of all records what became of them, and not longer than this.
    pub(crate) async fn settle(&self, patience: Duration) {
        let mut under_way = self.under_way.subscribe();
        let settled = timeout(patience, under_way.wait_for(|it| *it == 0)).await;
        if settled.is_err() {
            tracing::warn!(target: "audit", "it is not known whether the last changes are in the audit topic");
        }
    }
}

async fn write(
    topic: &TopicName,
    post: &Arc<Post>,
    key: Option<&str>,
    value: &str,
) -> Result<(), String> {
    // To make a producer may take a moment.
    let (post, topic) = (Arc::clone(post), topic.clone());
    let courier = tokio::task::spawn_blocking(move || post.courier()).await;
    let courier = courier.map_err(|error| error.to_string()).flatten()?;
    let report = courier.send(&Emit {
        topic: topic.as_str(),
        key: key.map(str::as_bytes),
        value: Some(value.as_bytes()),
        headers: Vec::new(),
        partition: None,
        timestamp_ms: None,
    })?;
    match report.await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the producer has ended".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_says_who_did_what_with_which_files() {
        let id: HandlerId = "acme/orders".parse().unwrap();
        let change = Change {
            handler: Some(&id),
            digest: Some("00ff"),
            refused: Some("no"),
            ..Change::of_host("ann", "deploy")
        };
        let record: serde_json::Value = serde_json::from_str(&change.record()).unwrap();
        let found = [
            "who", "action", "tenant", "handler", "digest", "outcome", "why",
        ]
        .map(|field| record[field].as_str().unwrap().to_owned());
        assert_eq!(
            found,
            ["ann", "deploy", "acme", "orders", "00ff", "refused", "no"]
        );
        assert!(record["revision"].is_null() && record["at"].is_string());
    }
}
