//! What of Kafka a tenant may use, and what a manifest asks for beyond it.
//!
//! Handed the lists of a `tenant.toml` and a manifest, gives what is not granted. Records that a component emits are asked
//! about one by one.
//! **Invariant:** what is let through is granted, for every topic that a pattern stands for; of patterns it may refuse more
//! than it had to.

use std::fmt;

use crate::manifest::Manifest;
use crate::marker::parked_topic;
use crate::policy::{OnExhausted, Subscription};
use crate::publish::LetterTopic;
use crate::route::Matcher;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Grants {
    /// Everything: the tenant has no file.
    #[default]
    All,
    /// What these match, and nothing else.
    Only {
        /// Topics that may be read.
        consume: Vec<Matcher>,
        /// Topics that may be written.
        produce: Vec<Matcher>,
        /// Groups that may be joined.
        groups: Vec<Matcher>,
    },
}

/// One thing that a manifest asks for and that is not granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The list of the tenant's file in which it would have to stand.
    pub list: &'static str,
    /// What the manifest has it for.
    pub purpose: &'static str,
    /// The topic, group or pattern.
    pub what: String,
    /// What the list has.
    granted: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            list,
            purpose,
            what,
            granted,
        } = self;
        write!(
            f,
            "{purpose} {what:?} is not granted: {list} has {granted} (add {what:?} there, or name another in the manifest)"
        )
    }
}

/// A topic or group that a manifest asks for, or a pattern of them.
struct Asked {
    purpose: &'static str,
    /// How it is written.
    what: String,
    /// Of a pattern, what all begin with that it stands for.
    prefix: Option<String>,
}

impl Asked {
    fn name(purpose: &'static str, name: impl fmt::Display) -> Self {
        let (what, prefix) = (name.to_string(), None);
        Self {
            purpose,
            what,
            prefix,
        }
    }

    fn is_granted(&self, granted: &[Matcher]) -> bool {
        granted.iter().any(|it| match &self.prefix {
            None => it.matches(&self.what),
            Some(prefix) => it.matches_all_from(prefix),
        })
    }
}

impl Grants {
    /// Returns whether a record may be written to `topic`. On the record path: no allocation.
    pub fn may_produce(&self, topic: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only { produce, .. } => produce.iter().any(|it| it.matches(topic)),
        }
    }

    /// Lists what a manifest asks for and is not granted.
    pub fn missing(&self, manifest: &Manifest) -> Vec<Missing> {
        let Self::Only {
            consume,
            produce,
            groups,
        } = self
        else {
            return Vec::new();
        };
        let group = Asked::name("the group", &manifest.group);
        let mut writes = writes(manifest);
        writes.extend(refused(manifest, produce));
        let declared = manifest.declared_topics.iter();
        let declared = declared.map(|it| Asked::name("the declared topic", &it.name));
        // Whoever may read it may make it, too.
        writes.extend(declared.filter(|it| !it.is_granted(consume)));
        let mut missing: Vec<Missing> = Vec::new();
        for (list, granted, all) in [
            ("grants.groups", groups, vec![group]),
            ("grants.consume", consume, reads(manifest)),
            ("grants.produce", produce, writes),
        ] {
            for asked in all.into_iter().filter(|it| !it.is_granted(granted)) {
                if missing
                    .iter()
                    .any(|it| it.list == list && it.what == asked.what)
                {
                    continue;
                }
                missing.push(Missing {
                    list,
                    purpose: asked.purpose,
                    what: asked.what,
                    granted: listed(granted),
                });
            }
        }
        missing
    }

    /// Lists what is granted, each as the name of its list and what stands there.
    pub fn lines(&self) -> Vec<String> {
        let Self::Only {
            consume,
            produce,
            groups,
        } = self
        else {
            return vec!["everything".to_owned()];
        };
        let lists = [
            ("consume", consume),
            ("produce", produce),
            ("groups", groups),
        ];
        let lines = lists
            .into_iter()
            .flat_map(|(list, granted)| granted.iter().map(move |it| format!("{list} {it}")));
        lines.collect()
    }
}

/// Lists the topics that the host reads for a handler.
fn reads(manifest: &Manifest) -> Vec<Asked> {
    let mut all = match &manifest.subscription {
        Subscription::Topics(topics) => {
            let topics = topics.iter();
            topics.map(|it| Asked::name("the topic", it)).collect()
        }
        Subscription::Pattern(pattern) => vec![Asked {
            purpose: "the pattern",
            what: pattern.source().to_owned(),
            prefix: Some(pattern.literal_prefix()),
        }],
    };
    let responses = manifest.responses.iter();
    all.extend(responses.map(|it| Asked::name("the topic of responses", &it.topic)));
    let returns = manifest.return_topics.all();
    all.extend(returns.map(|it| Asked::name("the topic by which records come back", it)));
    all.extend(parked(manifest));
    all
}

/// Lists the topics that the host writes for a handler, but for those where its outputs go that Kafka refuses.
fn writes(manifest: &Manifest) -> Vec<Asked> {
    let dead_letters = &manifest.dead_letter_topic;
    let mut all = vec![Asked::name("the topic of dead letters", dead_letters)];
    let retries = manifest.return_topics.retries();
    all.extend(retries.map(|(_, it)| Asked::name("the topic by which records come back", it)));
    all.extend(parked(manifest));
    let pipelines = manifest.pipelines.iter();
    let pipes = pipelines
        .flat_map(|it| &it.steps)
        .filter_map(|it| it.pipe.as_ref());
    all.extend(pipes.map(|it| Asked::name("the topic of a pipe", &it.topic)));
    all
}

fn parked(manifest: &Manifest) -> Option<Asked> {
    let topic = (manifest.on_exhausted == OnExhausted::Park).then(|| parked_topic(&manifest.group));
    let topic = topic?.ok()?;
    Some(Asked::name("the topic of parked keys", topic))
}

/// Lists where outputs go that Kafka refuses, of all topics that may be written.
fn refused(manifest: &Manifest, produce: &[Matcher]) -> Vec<Asked> {
    const PURPOSE: &str = "the topic of refused outputs";
    let (before, behind) = match &manifest.publish.dead_letter {
        None => return Vec::new(),
        Some(LetterTopic::One(topic)) => return vec![Asked::name(PURPOSE, topic)],
        Some(LetterTopic::Each { before, behind }) => (before, behind),
    };
    let of = |granted: &Matcher| {
        let what = format!("{before}{granted}{behind}");
        let prefix = what
            .split_once(['*', '?'])
            .map(|(prefix, _)| prefix.to_owned());
        Asked {
            purpose: PURPOSE,
            what,
            prefix,
        }
    };
    produce.iter().map(of).collect()
}

/// Says what is in a list.
pub(crate) fn listed(granted: &[Matcher]) -> String {
    if granted.is_empty() {
        return "nothing".to_owned();
    }
    let granted: Vec<String> = granted
        .iter()
        .map(|it| format!("{:?}", it.to_string()))
        .collect();
    granted.join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::manifest::tenant;

    fn grants(text: &str) -> Grants {
        tenant(text).unwrap().grants
    }

    fn missing(grants: &Grants, manifest: &str) -> Vec<(&'static str, String)> {
        let manifest = Manifest::parse(manifest, &"acme/orders".parse().unwrap()).unwrap();
        let missing = grants.missing(&manifest);
        missing.into_iter().map(|it| (it.list, it.what)).collect()
    }

    #[test]
    fn a_tenant_without_a_file_may_do_everything_and_one_with_an_empty_file_nothing() {
        let manifest = "topics = [\"orders\"]";
        assert_eq!(missing(&Grants::All, manifest), []);
        assert!(Grants::All.may_produce("x"));
        let nothing = grants("");
        let told = missing(&nothing, manifest);
        let told: Vec<_> = told
            .iter()
            .map(|(list, what)| (*list, what.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                ("grants.groups", "acme.orders"),
                ("grants.consume", "orders"),
                ("grants.consume", "acme.orders.replay"),
                ("grants.produce", "acme.orders.dead-letter"),
            ]
        );
        assert!(!nothing.may_produce("x"));
    }

    #[test]
    fn everything_that_a_manifest_makes_the_host_do_is_asked_for() {
        let all = "grants.consume = [\"*\"]\ngrants.produce = [\"*\"]\ngrants.groups = [\"*\"]";
        let none = grants("");
        for (manifest, asked) in [
            ("pattern = \"or*\"", ("grants.consume", "or*")),
            ("regex = \"or.+\"", ("grants.consume", "or.+")),
            (
                "topics = [\"a\"]\n[[response]]\ntopic = \"answers\"",
                ("grants.consume", "answers"),
            ),
            (
                "topics = [\"a\"]\nordering = \"none\"\nretry.topic-delays-ms = [1000]",
                ("grants.produce", "acme.orders.retry.1s"),
            ),
            (
                "topics = [\"a\"]\nordering = \"key\"\non-exhausted = \"park\"",
                ("grants.produce", "acme.orders.parked"),
            ),
            (
                "topics = [\"a\"]\n[[pipeline]]\nname = \"p\"\n[[pipeline.step]]\npipe = { topic = \"out\" }",
                ("grants.produce", "out"),
            ),
            (
                "topics = [\"a\"]\n[[topic]]\nname = \"made\"",
                ("grants.produce", "made"),
            ),
            (
                "topics = [\"a\"]\ndead-letter-topic = \"dead\"",
                ("grants.produce", "dead"),
            ),
        ] {
            let told = missing(&none, manifest);
            let (list, what) = asked;
            assert!(
                told.contains(&(list, what.to_owned())),
                "{manifest}: {told:?}"
            );
            assert_eq!(missing(&grants(all), manifest), [], "{manifest}");
        }
    }

    #[test]
    fn outputs_that_are_refused_go_to_topics_that_are_granted() {
        let manifest = "topics = [\"a\"]\npublish.dead-letter-topic = \"{topic}.dlq\"";
        let with = |produce: &str| {
            let text = format!(
                "grants.consume = [\"*\"]\ngrants.groups = [\"*\"]\ngrants.produce = [{produce}, \"acme.orders.dead-letter\", \
                 \"acme.orders.dead-letter.dlq\", \"acme.orders.dead-letter.dlq.dlq\"]"
            );
            missing(&grants(&text), manifest)
        };
        let refused = |text: &str| ("grants.produce", text.to_owned());
        assert!(with("\"out\"").contains(&refused("out.dlq")));
        assert!(!with("\"out*\"").contains(&refused("out*.dlq")));
        assert!(with("\"*.out\"").contains(&refused("*.out.dlq")));
    }

    #[test]
    fn a_message_names_the_list_and_what_to_do() {
        let manifest = Manifest::parse("topics = [\"orders\"]", &"acme/orders".parse().unwrap());
        let grants = grants("grants.groups = [\"acme.*\"]\ngrants.consume = [\"a\", \"b*\"]");
        let told = grants.missing(&manifest.unwrap())[0].to_string();
        assert_eq!(
            told,
            "the topic \"orders\" is not granted: grants.consume has \"a\", \"b*\" (add \"orders\" there, or name another in \
             the manifest)"
        );
    }

    proptest! {
        /// Whatever a subscription that is let through matches, a grant matches.
        #[test]
        fn no_pattern_reads_more_than_is_granted(
            granted in proptest::collection::vec("[ab.*?]{1,4}", 1..4),
            subscription in prop_oneof![
                "[ab*?]{1,4}".prop_map(|it| format!("pattern = {it:?}")),
                "[ab.*?+|()]{1,6}".prop_map(|it| format!("regex = {it:?}")),
            ],
            topics in proptest::collection::vec("[ab.]{1,5}", 1..30),
        ) {
            let id = "acme/orders".parse().unwrap();
            let Ok(manifest) = Manifest::parse(&subscription, &id) else {
                return Ok(());
            };
            let grants = grants(&format!("grants.consume = {:?}", dedup(granted)));
            let Grants::Only { consume, .. } = &grants else { unreachable!() };
            let is_refused = missing(&grants, &subscription).iter().any(|(list, _)| *list == "grants.consume");
            for topic in topics {
                let is_read = manifest.subscription.matches(&topic);
                let is_granted = consume.iter().any(|it| it.matches(&topic));
                prop_assert!(is_refused || !is_read || is_granted, "{topic}");
            }
        }
    }

    fn dedup(mut list: Vec<String>) -> Vec<String> {
        let all = |it: &String| it.parse::<Matcher>().unwrap();
        let mut seen = Vec::new();
        list.retain(|it| {
            let matcher = all(it);
            let is_new = !seen.contains(&matcher);
            seen.push(matcher);
            is_new
        });
        list
    }
}
