//! Topics that a manifest names: those it declares, and that of its dead letters.

use super::{parse, problems_of, texts};
use crate::policy::{DeclaredTopic, TopicSpec};

#[test]
fn declared_topics_are_read_as_written() {
    let manifest = parse(
        r#"
        topics = ["orders"]
        [[topic]]
        name = "orders"
        partitions = 6
        replication = 2
        retention-ms = 1000
        cleanup = "compact,delete"
        config = { segment.bytes = 1_000_000, "min.cleanable.dirty.ratio" = 0.5 }
        [[topic]]
        streams = ["bills.eu", "bills.us"]
        [topic.config]
        retention.ms = -1
        "#,
    );
    let orders = TopicSpec {
        partitions: Some(6),
        replication: Some(2),
        config: texts([
            ("cleanup.policy", "compact,delete"),
            ("min.cleanable.dirty.ratio", "0.5"),
            ("retention.ms", "1000"),
            ("segment.bytes", "1000000"),
        ]),
    };
    let bills = TopicSpec {
        config: texts([("cleanup.policy", "delete"), ("retention.ms", "-1")]),
        ..TopicSpec::default()
    };
    let expected = [
        ("orders", &orders),
        ("bills.eu", &bills),
        ("bills.us", &bills),
    ];
    assert_eq!(
        manifest.declared_topics,
        expected.map(|(name, spec)| DeclaredTopic {
            name: name.parse().unwrap(),
            spec: spec.clone(),
        })
    );
}

#[test]
fn a_topic_that_is_declared_wrongly_says_what_to_write() {
    assert_eq!(
        problems_of(
            "[[topic]]\n[[topic]]\nname = \"a\"\nstreams = [\"b\"]\n[[topic]]\nname = \"a\"\npartitions = 0\n\
             replica = 1\n[[topic]]\nname = \"__b\"\ncleanup = \"compacted\"\n[[topic]]\nname = \"c\"\nretention-ms = 5\n\
             config = { retention.ms = 6 }\n[[topic]]\nname = \"d\"\n[topic.config]\ncleanup.policy = \"delete\"\n"
        ),
        [
            "2: topic[0].name: missing (name the topic, or several with streams = [\"a\", \"b\"])",
            "5: topic[1].streams: name is given already (one of both is enough: put all names into streams)",
            "7: topic[2].name: a is declared twice (one table [[topic]] is enough)",
            "8: topic[2].partitions: expected a whole number of partitions from 1 to 100000, found 0",
            "9: unknown key \"topic[2].replica\" (did you mean \"replication\"?)",
            "11: topic[3].name: __b has the name of one of Kafka's internal topics",
            "12: topic[3].cleanup: expected \"delete\", \"compact\" or \"compact,delete\", found the text \"compacted\" (did you mean \"compact\"?)",
            "16: topic[4].config: \"retention.ms\" has a key of its own (write retention-ms instead)",
            "19: topic[5].config: \"cleanup.policy\" has a key of its own (write cleanup instead)",
        ]
    );
    let told = problems_of("topic = \"orders\"");
    assert_eq!(told.len(), 1);
    assert!(
        told[0].ends_with("found the text \"orders\" (write [[topic]])"),
        "{told:?}"
    );
}

#[test]
fn a_group_names_the_dead_letter_topic() {
    let manifest = parse("topics = [\"a\"]\ngroup = \"billing\"");
    assert_eq!(manifest.dead_letter_topic.as_str(), "billing.dead-letter");
}
