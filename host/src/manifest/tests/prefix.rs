//! Names of topics and groups of a tenant whose names have a prefix.

use proptest::prelude::*;

use crate::manifest::kafka::any_value;
use crate::manifest::{Manifest, Problem};
use crate::marker::parked_topic;
use crate::policy::Subscription;
use crate::prefix::TopicPrefix;

fn within(prefix: &str, text: &str) -> Result<Manifest, Vec<String>> {
    let (id, prefix) = ("acme/orders".parse().unwrap(), prefix.parse().unwrap());
    let manifest = Manifest::parse_with(text, &id, &prefix, any_value);
    manifest.map_err(|problems| problems.iter().map(Problem::to_string).collect())
}

/// Every name that the host reads, writes or joins for a manifest.
fn names(manifest: &Manifest) -> Vec<String> {
    let mut names = vec![
        manifest.group.to_string(),
        manifest.dead_letter_topic.to_string(),
        parked_topic(&manifest.group).unwrap().to_string(),
    ];
    if let Subscription::Topics(topics) = &manifest.subscription {
        names.extend(topics.iter().map(ToString::to_string));
    }
    names.extend(manifest.return_topics.all().map(ToString::to_string));
    names.extend(manifest.responses.iter().map(|it| it.topic.to_string()));
    names.extend(
        manifest
            .declared_topics
            .iter()
            .map(|it| it.name.to_string()),
    );
    let steps = manifest.pipelines.iter().flat_map(|it| &it.steps);
    let pipes = steps.filter_map(|step| step.pipe.as_ref());
    names.extend(pipes.map(|pipe| pipe.topic.to_string()));
    let letters = manifest.publish.dead_letter.as_ref();
    names.extend(letters.and_then(|letters| letters.of("acme.x")));
    let rules = manifest.routing.rules.iter();
    let rules = rules.chain(manifest.pipelines.iter().map(|it| &it.rule));
    names.extend(
        rules
            .filter_map(|rule| rule.topic.as_ref())
            .map(ToString::to_string),
    );
    names
}

#[test]
fn every_name_of_a_manifest_gets_the_prefix() {
    let text = "topics = [\"orders\", \"acme.bills\"]\ndead-letter-topic = \"dead\"\nordering = \"none\"\n\
                retry.topic-delays-ms = [1000]\npublish.dead-letter-topic = \"dlq.{topic}\"\n\
                [[response]]\ntopic = \"answers\"\n[[route]]\ntopic = \"orders\"\n[[route]]\ntopic = \"bill*\"\n\
                [[topic]]\nname = \"made\"\n[[topic]]\nstreams = [\"s\", \"t\"]\n\
                [[pipeline]]\nname = \"p\"\ntopic = \"or*s\"\nevent = \"e\"\n[[pipeline.step]]\n\
                pipe = { topic = \"asked\", response.topic = \"told\" }\n";
    let manifest = within("acme.", text).unwrap();
    let names = names(&manifest);
    for name in &names {
        assert!(
            name.starts_with("acme.") && !name.starts_with("acme.acme."),
            "{names:?}"
        );
    }
    assert_eq!(names.len(), 17, "{names:?}");
    assert_eq!(manifest.group.as_str(), "acme.orders");
    assert_eq!(
        manifest
            .publish
            .dead_letter
            .unwrap()
            .of("acme.x")
            .as_deref(),
        Some("acme.dlq.acme.x")
    );
}

#[test]
fn names_that_are_one_with_the_prefix_are_one() {
    let told = |text: &str| within("acme.", text).unwrap_err();
    assert_eq!(
        told("topics = [\"a\", \"acme.a\"]"),
        ["1: topics[1]: acme.a is in the list twice"]
    );
    assert!(
        told("topics = [\"a\"]\ndead-letter-topic = \"acme.a\"")[0]
            .contains("read them again for ever")
    );
    let long = "x".repeat(248);
    assert!(told(&format!("topics = [\"{long}\"]"))[0].contains(
        "cannot stand behind topic-prefix \"acme.\" of the tenant: the name has 253 bytes"
    ));
}

proptest! {
    /// A pattern reads exactly those topics behind the prefix that it reads without one.
    #[test]
    fn a_pattern_is_anchored_behind_the_prefix(
        pattern in prop_oneof![
            "[bc*?]{1,4}".prop_map(|it| format!("pattern = {it:?}")),
            "[bc.*?+|()]{1,6}".prop_map(|it| format!("regex = {it:?}")),
        ],
        topics in proptest::collection::vec("[bc.]{1,5}", 1..20),
    ) {
        let id = "acme/orders".parse().unwrap();
        let Ok(plain) = Manifest::parse(&pattern, &id) else {
            return Ok(());
        };
        let behind = within("a.", &pattern).unwrap();
        let prefix: TopicPrefix = "a.".parse().unwrap();
        let Subscription::Pattern(source) = &behind.subscription else { unreachable!() };
        prop_assert!(source.literal_prefix().starts_with("a."));
        for topic in topics {
            prop_assert!(!behind.subscription.matches(&topic), "{topic}");
            let full = prefix.full(&topic);
            prop_assert_eq!(behind.subscription.matches(&full), plain.subscription.matches(&topic), "{}", topic);
        }
    }

    #[test]
    fn full_names_are_left_as_they_are(name in "[ab.]{1,6}") {
        prop_assume!(name != "." && name != "..");
        let prefix: TopicPrefix = "a.".parse().unwrap();
        let text = |name: &str| format!("topics = [\"{name}\"]\ngroup = \"{name}\"\ndead-letter-topic = \"dd\"");
        let short = within("a.", &text(&name)).unwrap();
        let full = within("a.", &text(&prefix.full(&name))).unwrap();
        prop_assert_eq!(short, full);
    }
}
