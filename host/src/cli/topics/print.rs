//! How a plan is printed: lines for people, or JSON.
//!
//! **Invariant:** every difference is shown with what there is, what is declared, and what would change it.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::super::counted;
use crate::topics::{Aspect, Drift, Item, NewTopic, Verdict};

/// What became of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing was done.
    Nothing,
    /// It was created.
    Created,
    /// It was given more partitions.
    Raised,
    /// The brokers refuse what was to be done, or would.
    Refused(String),
}

/// Prints items.
#[derive(Debug)]
pub(super) struct Printer<'a> {
    pub(super) is_json: bool,
    /// Where Kafka's own tools are to connect to.
    pub(super) brokers: &'a str,
    /// The command that creates topics.
    pub(super) command: &'a str,
}

impl Printer<'_> {
    /// Returns the lines of an item.
    pub(super) fn lines(&self, item: &Item, outcome: &Outcome) -> Vec<String> {
        if self.is_json {
            return vec![self.json(item, outcome).to_string()];
        }
        let (name, reason) = (&item.wanted.name, item.wanted.reason());
        let mut lines = match &item.verdict {
            Verdict::Create(topic) => vec![format!("+ {name}  {}  ({reason})", described(topic))],
            Verdict::Undeclared => vec![format!(
                "! {name}  does not exist: {}  ({reason})",
                item.wanted.remedy(self.command)
            )],
            Verdict::Differs(drifts) => drifts
                .iter()
                .map(|drift| {
                    let (what, actual) = (what(drift), actual(drift));
                    format!(
                        "~ {name}  {what} is {actual}, declared {}: {}  ({reason})",
                        drift.declared,
                        self.remedy(item, drift)
                    )
                })
                .collect(),
            Verdict::Unseen(why) | Verdict::Untold(why) => {
                vec![format!("? {name}  {why}  ({reason})")]
            }
            Verdict::AsWanted => vec![format!("= {name}  ({reason})")],
        };
        match outcome {
            Outcome::Nothing => {}
            Outcome::Created => lines.push(format!("  {name}  created")),
            Outcome::Raised => lines.push(format!("  {name}  partitions added")),
            Outcome::Refused(why) => lines.push(format!("  {name}  refused by the brokers: {why}")),
        }
        lines
    }

    fn json(&self, item: &Item, outcome: &Outcome) -> Value {
        let wanted = &item.wanted;
        let handlers: Vec<String> = wanted.handlers.iter().map(ToString::to_string).collect();
        let more = match &item.verdict {
            Verdict::Create(topic) => Some((
                "create",
                json!({
                    "partitions": topic.partitions,
                    "replication": topic.replication,
                    "config": topic.config,
                }),
            )),
            Verdict::Differs(drifts) => {
                let drifts = drifts.iter().map(|drift| {
                    json!({
                        "what": what(drift),
                        "actual": drift.actual,
                        "declared": drift.declared,
                        "remedy": self.remedy(item, drift),
                    })
                });
                Some(("drift", drifts.collect()))
            }
            Verdict::Undeclared => Some(("remedy", json!(wanted.remedy(self.command)))),
            Verdict::Unseen(why) | Verdict::Untold(why) => Some(("why", json!(why))),
            Verdict::AsWanted => None,
        };
        let done = match outcome {
            Outcome::Nothing => None,
            Outcome::Created => Some(("done", json!("created"))),
            Outcome::Raised => Some(("done", json!("partitions-added"))),
            Outcome::Refused(why) => Some(("refused", json!(why))),
        };
        let always = [
            ("topic", json!(wanted.name.as_str())),
            ("need", json!(wanted.need.as_str())),
            ("handlers", json!(handlers)),
            ("state", json!(state(&item.verdict))),
        ];
        let fields = always.into_iter().chain(more).chain(done);
        fields
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// Returns what would change a topic to what is declared.
    fn remedy(&self, item: &Item, drift: &Drift) -> String {
        let (topic, brokers, declared) = (&item.wanted.name, self.brokers, &drift.declared);
        match &drift.aspect {
            Aspect::FewerPartitions => format!(
                "`{} --raise-partitions` adds them, after which keys go to other partitions",
                self.command
            ),
            Aspect::MorePartitions => format!(
                "Kafka takes no partitions away, so declare {}, or make a new topic",
                actual(drift)
            ),
            Aspect::Replication => format!(
                "`kafka-reassign-partitions.sh --bootstrap-server {brokers} --reassignment-json-file FILE --execute`, with \
                 {declared} replicas of each partition in FILE"
            ),
            // A comma within a value needs brackets there.
            Aspect::Config(key) => {
                let value = if declared.contains(',') {
                    format!("[{declared}]")
                } else {
                    declared.clone()
                };
                format!(
                    "`kafka-configs.sh --bootstrap-server {brokers} --alter --entity-type topics --entity-name {topic} \
                     --add-config {key}={value}`"
                )
            }
        }
    }
}

/// Counts what has to be done.
pub(super) fn summary(items: &[Item], outcomes: &[Outcome]) -> String {
    let count = |is: fn(&Verdict) -> bool| items.iter().filter(|item| is(&item.verdict)).count();
    let created = outcomes
        .iter()
        .filter(|it| **it == Outcome::Created)
        .count();
    let parts = [
        (created, "created"),
        (
            count(|it| matches!(it, Verdict::Create(_))) - created,
            "to create",
        ),
        (count(|it| *it == Verdict::Undeclared), "missing"),
        (
            count(|it| matches!(it, Verdict::Differs(_))),
            "not as declared",
        ),
        (
            count(|it| matches!(it, Verdict::Unseen(_) | Verdict::Untold(_))),
            "not known",
        ),
        (count(|it| *it == Verdict::AsWanted), "as wanted"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    format!("{}: {}", counted(items.len(), "topic"), parts.join(", "))
}

fn described(topic: &NewTopic) -> String {
    let number = |n: i32, what: &str| counted(usize::try_from(n).unwrap_or_default(), what);
    let partitions = topic.partitions.map_or_else(
        || "as many partitions as the brokers give".to_owned(),
        |partitions| number(partitions, "partition"),
    );
    let replicas = number(topic.replication, "replica");
    let mut text = format!("{partitions}, {replicas}");
    for (key, value) in &topic.config {
        // Writing to a text cannot fail.
        let _ = write!(text, ", {key}={value}");
    }
    text
}

fn state(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Create(_) => "to-create",
        Verdict::Undeclared => "missing",
        Verdict::Differs(_) => "differs",
        Verdict::Unseen(_) | Verdict::Untold(_) => "not-known",
        Verdict::AsWanted => "as-wanted",
    }
}

fn what(drift: &Drift) -> &str {
    match &drift.aspect {
        Aspect::FewerPartitions | Aspect::MorePartitions => "partitions",
        Aspect::Replication => "replication",
        Aspect::Config(key) => key,
    }
}

fn actual(drift: &Drift) -> &str {
    drift
        .actual
        .as_deref()
        .unwrap_or("not known to the brokers")
}
