//! The record that a revision has to handle before it serves.
//!
//! It is written as `consume --format json` prints it. What is emitted for it goes nowhere.
//! **Invariant:** nothing leaves the host for a trial: no record, no request, no commit.

use serde::Deserialize;
use tokio::time::Instant;

use crate::cli::records::{LineRecord, parse};
use crate::guest::{Conversation, Instance, Receipts, Reception, Setup};
use crate::manifest::Manifest;
use crate::outcome::{Failure, Outcome};
use crate::policy::Subscription;
use crate::prefix::TopicPrefix;
use crate::record::{Changed, RecordView, lend_headers};
use crate::route::{EventCall, OwnRule, RouteTable, Routing, Share, joined};

/// Why guests may not ask.
const DENIED: &str = "this is only a trial";

/// See the module.
#[derive(Debug, Clone)]
pub(in crate::deploy) struct TrialRecord {
    topic: String,
    partition: i32,
    record: Changed,
}

/// What the reader of records leaves out.
#[derive(Deserialize)]
struct Place {
    #[serde(default)]
    topic: Option<String>,
}

impl TrialRecord {
    /// Reads one; without a topic it is of the first that the handler reads.
    pub(in crate::deploy) fn read(
        text: &str,
        manifest: &Manifest,
        prefix: &TopicPrefix,
    ) -> Result<Self, String> {
        let found = parse(text.as_bytes()).map_err(|error| error.to_string())?;
        let place = serde_json::from_str(text);
        let Place { topic: named } =
            place.map_err(|error| format!("\"topic\" is not a text: {error}"))?;
        let subscription = &manifest.subscription;
        let topic = match (named, subscription) {
            (Some(named), _) => {
                let prefixed = format!("{}{named}", prefix.as_str());
                let mut both = [named.clone(), prefixed].into_iter();
                let topic = both.find(|topic| subscription.matches(topic));
                topic.ok_or_else(|| {
                    format!("the handler does not read its topic {named} (name one that it reads)")
                })?
            }
            (None, Subscription::Topics(topics)) => {
                let first = topics.first().map(ToString::to_string);
                first.unwrap_or_default()
            }
            (None, Subscription::Pattern(_)) => {
                return Err("it has no \"topic\" (name one that the pattern matches)".to_owned());
            }
        };
        let LineRecord {
            key,
            value,
            headers,
            partition,
            timestamp_ms,
        } = found;
        Ok(Self {
            topic,
            partition: partition.unwrap_or_default(),
            record: Changed {
                timestamp_ms,
                key,
                value,
                headers,
            },
        })
    }

    fn view(&self) -> RecordView<'_> {
        RecordView {
            topic: &self.topic,
            partition: self.partition,
            offset: 0,
            timestamp_ms: self.record.timestamp_ms,
            key: self.record.key.as_deref(),
            value: self.record.value.as_deref(),
            headers: lend_headers(&self.record.headers),
        }
    }

    /// Lets middleware see it, and takes what that makes of it.
    pub(super) async fn pass(&mut self, middleware: &mut Instance) -> Result<(), String> {
        match middleware.receive(&self.view(), Instant::now()).await {
            Ok(Reception::Pass) => Ok(()),
            Ok(Reception::Change(changed)) => {
                self.record = changed;
                Ok(())
            }
            Ok(Reception::Drop) => {
                Err("it drops the record, so the handler is not tried".to_owned())
            }
            Err(failure) => Err(told(&failure)),
        }
    }

    /// Hands it to the hooks that would have it.
    pub(super) async fn handle(
        &self,
        instance: &mut Instance,
        routing: &Routing,
        rules: &[OwnRule],
    ) -> Result<(), String> {
        let record = self.view();
        for event in self.calls(routing, rules)? {
            let handled = instance.handle(&record, event.as_ref(), Instant::now());
            let outcome = handled.await;
            instance.clear_outbox();
            match outcome {
                Outcome::Handled => {}
                Outcome::Filtered => {
                    return Err("did-receive drops the record, so no hook is tried".to_owned());
                }
                Outcome::Failed(failure) => return Err(told(&failure)),
            }
        }
        Ok(())
    }

    /// Returns by which of its hooks the component would have the record.
    fn calls(
        &self,
        routing: &Routing,
        rules: &[OwnRule],
    ) -> Result<Vec<Option<EventCall>>, String> {
        if rules.is_empty() {
            return Ok(vec![None]);
        }
        let record = self.view();
        let (rules, targets) = joined([rules]);
        let table = RouteTable::new(&rules, routing.multi).map_err(|error| error.to_string())?;
        let named = routing.source.read(&record);
        let found = table.route(record.topic, named.event(), &record.headers);
        let found = found.map_err(|why| format!("the handler does not take the record: {why}"))?;
        let targets = found.iter().filter_map(|at| targets.get(*at));
        let calls = targets.map(|(_, share)| match share {
            Share::Record => Ok(None),
            Share::Event(pattern) => Ok(Some(EventCall {
                pattern: std::sync::Arc::clone(pattern),
                event: named.text().unwrap_or_default().to_owned(),
            })),
            Share::Pipeline(name) => Err(format!(
                "the record is for the pipeline {name}, and steps are not tried with records (name a record that the component \
                 itself takes)"
            )),
        });
        calls.collect()
    }
}

/// Returns what instances are made with that handle a record only to try it.
pub(super) fn quiet(setup: &Setup) -> Setup {
    Setup {
        conversation: Conversation::Denied(DENIED),
        receipts: Receipts::Denied(DENIED),
        ..setup.clone()
    }
}

fn told(failure: &Failure) -> String {
    format!(
        "the record fails as {}: {}",
        failure.kind.as_str(),
        failure.message
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, topics: &str) -> Result<TrialRecord, String> {
        let id = "acme/orders".parse().unwrap();
        let prefix: TopicPrefix = "acme.".parse().unwrap();
        let check = crate::manifest::kafka::any_value;
        let manifest = Manifest::parse_with(topics, &id, &prefix, check).unwrap();
        TrialRecord::read(text, &manifest, &prefix)
    }

    #[test]
    fn a_record_is_of_a_topic_that_the_handler_reads() {
        let topics = "topics = [\"a\", \"b\"]";
        let topic = |text: &str| read(text, topics).map(|it| it.topic);
        assert_eq!(topic("{\"value\": \"x\"}"), Ok("acme.a".to_owned()));
        assert_eq!(topic("{\"topic\": \"b\"}"), Ok("acme.b".to_owned()));
        assert_eq!(topic("{\"topic\": \"acme.b\"}"), Ok("acme.b".to_owned()));
        assert!(
            topic("{\"topic\": \"c\"}")
                .unwrap_err()
                .contains("does not read its topic c")
        );
        let pattern = "pattern = \"a*\"";
        assert!(read("{}", pattern).unwrap_err().contains("no \"topic\""));
        assert_eq!(
            read("{\"topic\": \"ab\"}", pattern).unwrap().topic,
            "acme.ab"
        );
        for bad in ["", "[]", "{\"valu\": 1}", "{\"topic\": 5}", "{} {}"] {
            assert!(read(bad, topics).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_record_is_read_as_it_is_printed() {
        let text = "{\n  \"key\": \"k\", \"partition\": 3, \"timestamp\": 7,\n  \"headers\": {\"h\": null}, \"value\": {\"a\": 1}\n}\n";
        let trial = read(text, "topics = [\"a\"]").unwrap();
        let view = trial.view();
        assert_eq!((view.partition, view.timestamp_ms), (3, Some(7)));
        assert_eq!(view.key, Some(&b"k"[..]));
        assert_eq!(view.value, Some(&b"{\"a\":1}"[..]));
        assert_eq!((&*view.headers[0].key, view.headers[0].value), ("h", None));
    }
}
