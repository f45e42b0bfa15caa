//! Which topics are to exist for handlers, and what they are to be like.
//!
//! **Invariant:** in whatever order the handlers come, the same topics are wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::duration::millis;
use crate::ids::{HandlerId, TopicName};
use crate::manifest::Manifest;
use crate::marker::parked_topic;
use crate::policy::{CLEANUP_POLICY, OnExhausted, RETENTION_MS, Subscription, TopicSpec};
use crate::publish::LetterTopic;

/// How long a topic of replays keeps them, and with them what was replayed: 30 days, in milliseconds.
pub const REPLAY_RETENTION_MS: &str = "2592000000";
/// How much longer than its wait a record is kept that waits for its retry: hosts may be down for as long.
const RETRY_MARGIN: Duration = Duration::from_hours(7 * 24);

/// Why a topic is to exist; where there are several reasons, the first one says what it is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// A manifest declares it.
    Declared,
    /// A group keeps its parked keys there.
    Parked,
    /// Records wait there for their next attempt.
    Retries,
    /// Dead letters are handed to their handler again by it.
    Replays,
    /// Records go there that could not be handled.
    DeadLetters,
    /// Outputs go there that Kafka refused.
    Refused,
    /// Responses to requests arrive there.
    Responses,
    /// A handler reads it. What others write there only they know, so it is not created unless it is declared.
    Input,
}

impl Need {
    /// Returns the word for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::Parked => "parked-keys",
            Self::Retries => "retries",
            Self::Replays => "replays",
            Self::DeadLetters => "dead-letters",
            Self::Refused => "refused-outputs",
            Self::Responses => "responses",
            Self::Input => "input",
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Declared => "declared by",
            Self::Parked => "for the parked keys of",
            Self::Retries => "for the retries of",
            Self::Replays => "for the replays of",
            Self::DeadLetters => "for the dead letters of",
            Self::Refused => "for the refused outputs of",
            Self::Responses => "for the responses to",
            Self::Input => "read by",
        })
    }
}

/// A topic that is to exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: TopicName,
    /// Why it is to exist.
    pub need: Need,
    /// The handlers for which it is to exist for this reason.
    pub handlers: BTreeSet<HandlerId>,
    /// What it is to be like.
    pub spec: TopicSpec,
    /// It has as many partitions as the largest of these where `spec` has no number.
    pub like: BTreeSet<TopicName>,
}

impl Wanted {
    /// Returns whether a topic that exists is compared with what was wanted in this setting.
    ///
    /// Of what nobody declared only what the host cannot do without counts: the rest is as whoever made it likes it.
    pub fn compares(&self, setting: &str) -> bool {
        match self.need {
            Need::Declared => true,
            Need::Parked | Need::Retries => setting == CLEANUP_POLICY,
            Need::Replays | Need::DeadLetters | Need::Refused | Need::Responses | Need::Input => {
                false
            }
        }
    }

    /// Returns whether any of its settings is compared.
    pub fn compares_any(&self) -> bool {
        self.spec
            .config
            .keys()
            .any(|setting| self.compares(setting))
    }

    /// Says for whom it is to exist.
    pub fn reason(&self) -> String {
        let handlers: Vec<String> = self.handlers.iter().map(ToString::to_string).collect();
        let handlers = handlers.join(", ");
        match self.need {
            Need::Responses => {
                format!(
                    "{} {handlers} ([[response]] or pipe.response in handler.toml)",
                    self.need
                )
            }
            need => format!("{need} {handlers}"),
        }
    }

    /// Says how the topic comes into being that does not exist; `command` creates what is declared or needed.
    pub fn remedy(&self, command: &str) -> String {
        if self.need == Need::Input {
            let name = &self.name;
            return format!(
                "declare it in a handler.toml ([[topic]] name = \"{name}\"), then `{command}` creates it"
            );
        }
        format!("`{command}` creates it")
    }

    /// Takes another wish for the same topic in.
    fn join(&mut self, other: Self) {
        if other.need < self.need {
            *self = other;
        } else if other.need == self.need {
            self.handlers.extend(other.handlers);
            self.like.extend(other.like);
            // Equal, or they would not serve beside each other.
            if other.spec < self.spec {
                self.spec = other.spec;
            }
        }
    }
}

/// Lists the topics that are to exist for these handlers.
pub fn wanted<'a>(
    handlers: impl IntoIterator<Item = (&'a HandlerId, &'a Manifest)>,
) -> BTreeMap<TopicName, Wanted> {
    let mut all: BTreeMap<TopicName, Wanted> = BTreeMap::new();
    for (id, manifest) in handlers {
        for (name, need, spec, like) in needs(manifest) {
            let one = Wanted {
                name: name.clone(),
                need,
                handlers: BTreeSet::from([id.clone()]),
                spec,
                like,
            };
            match all.get_mut(&name) {
                Some(known) => known.join(one),
                None => {
                    all.insert(name, one);
                }
            }
        }
    }
    all
}

type Wish = (TopicName, Need, TopicSpec, BTreeSet<TopicName>);

fn needs(manifest: &Manifest) -> Vec<Wish> {
    let inputs: BTreeSet<TopicName> = match &manifest.subscription {
        Subscription::Topics(topics) => topics.iter().cloned().collect(),
        Subscription::Pattern(_) => BTreeSet::new(),
    };
    let dead_letters = &manifest.dead_letter_topic;
    let none = || (TopicSpec::default(), BTreeSet::new());
    let mut wishes: Vec<Wish> = Vec::new();
    let mut wish = |name: &TopicName, need, (spec, like)| {
        wishes.push((name.clone(), need, spec, like));
    };
    for topic in &manifest.declared_topics {
        let declared = (topic.spec.clone(), BTreeSet::new());
        wish(&topic.name, Need::Declared, declared);
    }
    for topic in &inputs {
        wish(topic, Need::Input, none());
    }
    wish(dead_letters, Need::DeadLetters, (none().0, inputs.clone()));
    for (topic, kept_ms) in retries(manifest) {
        let spec = spec(&[(CLEANUP_POLICY, "delete"), (RETENTION_MS, &kept_ms)]);
        wish(topic, Need::Retries, (spec, inputs.clone()));
    }
    if let Some(topic) = &manifest.return_topics.replay {
        let spec = spec(&[
            (CLEANUP_POLICY, "delete"),
            (RETENTION_MS, REPLAY_RETENTION_MS),
        ]);
        let like = inputs.iter().chain([dead_letters]).cloned().collect();
        wish(topic, Need::Replays, (spec, like));
    }
    if manifest.on_exhausted == OnExhausted::Park
        && let Ok(topic) = parked_topic(&manifest.group)
    {
        let spec = TopicSpec {
            partitions: Some(1),
            ..spec(&[(CLEANUP_POLICY, "compact")])
        };
        wish(&topic, Need::Parked, (spec, BTreeSet::new()));
    }
    let refused = manifest.publish.dead_letter.as_ref();
    if let Some(topic) = refused.and_then(LetterTopic::only) {
        wish(topic, Need::Refused, (none().0, inputs.clone()));
    }
    for route in &manifest.responses {
        wish(&route.topic, Need::Responses, none());
    }
    wishes
}

/// Lists the topics of retries, each with the milliseconds for which it is to keep its records.
fn retries(manifest: &Manifest) -> Vec<(&TopicName, String)> {
    let topics: Vec<(Duration, &TopicName)> = manifest.return_topics.retries().collect();
    // Each is for waits up to the next one, the last one for the longest.
    let longest = manifest.retry.longest_wait();
    let ends = topics
        .iter()
        .skip(1)
        .map(|(next, _)| *next)
        .chain([longest]);
    let kept = topics.iter().zip(ends).map(|((wait, topic), end)| {
        let kept = end.max(*wait).saturating_add(RETRY_MARGIN);
        (*topic, millis(kept).to_string())
    });
    kept.collect()
}

fn spec(config: &[(&str, &str)]) -> TopicSpec {
    let config = config.iter();
    TopicSpec {
        config: config
            .map(|&(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        ..TopicSpec::default()
    }
}

/// Returns what two manifests declare differently: the topic, and in what.
pub fn conflict(new: &Manifest, old: &Manifest) -> Option<String> {
    new.declared_topics.iter().find_map(|topic| {
        let mut others = old.declared_topics.iter();
        let other = others.find(|other| other.name == topic.name)?;
        let (what, here, there) = difference(&topic.spec, &other.spec)?;
        let said = |value: Option<String>| value.unwrap_or_else(|| "not said".to_owned());
        Some(format!(
            "[[topic]] {}: {what} is {} here and {} there (declare it in one of them, or equally)",
            topic.name,
            said(here),
            said(there)
        ))
    })
}

/// What differs, by name, and what it is on either side.
type Difference = (String, Option<String>, Option<String>);

fn difference(new: &TopicSpec, old: &TopicSpec) -> Option<Difference> {
    let number = |number: Option<i32>| number.map(|number| number.to_string());
    let counts = [
        ("partitions", new.partitions, old.partitions),
        ("replication", new.replication, old.replication),
    ];
    let counts = counts
        .into_iter()
        .map(|(what, new, old)| (what.to_owned(), number(new), number(old)));
    let settings: BTreeSet<&String> = new.config.keys().chain(old.config.keys()).collect();
    let settings = settings.into_iter().map(|key| {
        let value = |spec: &TopicSpec| spec.config.get(key).cloned();
        (key.clone(), value(new), value(old))
    });
    counts.chain(settings).find(|(_, new, old)| new != old)
}
