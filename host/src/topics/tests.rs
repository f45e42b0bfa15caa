//! Tests of plans: against clusters that carry them out, and handlers in any order.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::ids::{HandlerId, TopicName};
use crate::manifest::Manifest;

fn name(text: &str) -> TopicName {
    text.parse().unwrap()
}

fn manifest(id: &str, text: &str) -> (HandlerId, Manifest) {
    let id: HandlerId = id.parse().unwrap();
    let manifest = Manifest::parse(text, &id);
    (
        id,
        manifest.unwrap_or_else(|problems| panic!("{text}: {problems:?}")),
    )
}

fn wanted_of(handlers: &[(HandlerId, Manifest)]) -> BTreeMap<TopicName, Wanted> {
    wanted(handlers.iter().map(|(id, manifest)| (id, manifest)))
}

fn found(partitions: i32, replication: i32, config: &[(&str, &str)]) -> Seen {
    let config = config.iter();
    Seen::Found(Found {
        partitions,
        replication,
        config: Some(
            config
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        ),
    })
}

/// A cluster in which all topics that are wanted are missing but these.
fn cluster(wanted: &BTreeMap<TopicName, Wanted>, there: &[(&str, Seen)]) -> Cluster {
    let mut topics: BTreeMap<TopicName, Seen> = wanted
        .keys()
        .map(|name| (name.clone(), Seen::Missing))
        .collect();
    topics.extend(
        there
            .iter()
            .map(|(topic, seen)| (name(topic), seen.clone())),
    );
    Cluster { brokers: 1, topics }
}

fn item<'a>(items: &'a [Item], topic: &str) -> &'a Item {
    let mut items = items.iter();
    items
        .find(|item| item.wanted.name.as_str() == topic)
        .unwrap()
}

/// Does what the plan says, as brokers would.
fn carry_out(cluster: &mut Cluster, items: &[Item], raises: bool) {
    for item in items {
        if let Verdict::Create(topic) = &item.verdict {
            let before = cluster.topics.insert(
                topic.name.clone(),
                Seen::Found(Found {
                    partitions: topic.partitions.unwrap_or(5),
                    replication: topic.replication,
                    config: Some(topic.config.clone()),
                }),
            );
            assert_eq!(before, Some(Seen::Missing), "{}", topic.name);
        }
        if let Some(raise) = item.raise().filter(|_| raises) {
            let Some(Seen::Found(found)) = cluster.topics.get_mut(&raise.name) else {
                panic!("{} does not exist", raise.name);
            };
            assert!(found.partitions < raise.partitions);
            found.partitions = raise.partitions;
        }
    }
}

/// One of five handlers, with topics of which some are the same for all of them.
fn handler(nth: usize) -> impl Strategy<Value = (HandlerId, Manifest)> {
    let topics = prop::sample::subsequence(vec!["a", "b", "c", "h0.dead-letter"], 1..3);
    let declared = prop::sample::subsequence(vec!["a", "c", "d", "h1.dead-letter"], 0..4);
    let kind = prop::sample::select(vec![
        "",
        "ordering = \"key\"\non-exhausted = \"park\"\n",
        "ordering = \"none\"\nretry.topic-delays-ms = [1000, 60000]\n",
        "response = [{ topic = \"a\" }, { topic = \"answers\" }]\n",
    ]);
    (topics, declared, kind).prop_map(move |(topics, declared, kind)| {
        let declared = declared.iter().map(|topic| {
            let partitions = topic.len();
            format!("[[topic]]\nname = \"{topic}\"\npartitions = {partitions}\n")
        });
        let declared = declared.collect::<Vec<_>>().concat();
        let letters = if topics.contains(&"h0.dead-letter") {
            "h9"
        } else {
            "h0"
        };
        let text = format!(
            "topics = {topics:?}\ngroup = \"h{nth}\"\ndead-letter-topic = \"{letters}.dead-letter\"\n{kind}{declared}"
        );
        manifest(&format!("t{}/h{nth}", nth % 2), &text)
    })
}

fn handlers() -> impl Strategy<Value = Vec<(HandlerId, Manifest)>> {
    let handlers: Vec<_> = (0..5).map(handler).collect();
    handlers.prop_flat_map(|handlers| {
        let count = handlers.len();
        prop::sample::subsequence(handlers, 1..=count).prop_shuffle()
    })
}

/// What a cluster may say of a topic.
fn seen() -> impl Strategy<Value = Seen> {
    let policy = prop::sample::select(vec!["delete", "compact", "compact,delete"]);
    prop_oneof![
        3 => Just(Seen::Missing),
        3 => (1..9i32, 1..4i32, policy)
            .prop_map(|(partitions, replicas, policy)| found(partitions, replicas, &[("cleanup.policy", policy)])),
        1 => Just(Seen::Untold("no".to_owned())),
    ]
}

proptest! {
    #[test]
    fn what_a_plan_creates_is_there_afterwards_and_what_was_there_is_as_it_was(
        handlers in handlers(), seen in prop::collection::vec(seen(), 40), brokers in 1..6i32, raises in any::<bool>(),
    ) {
        let wanted = wanted_of(&handlers);
        let mut cluster = Cluster { brokers, topics: wanted.keys().cloned().zip(seen).collect() };
        let before = cluster.clone();
        let items = plan(&wanted, &cluster);
        prop_assert_eq!(items.len(), wanted.len());
        carry_out(&mut cluster, &items, raises);
        for (name, seen) in &before.topics {
            match (seen, &cluster.topics[name]) {
                (Seen::Found(old), Seen::Found(new)) => {
                    prop_assert!(old.partitions == new.partitions || (raises && old.partitions < new.partitions));
                    prop_assert_eq!((old.replication, &old.config), (new.replication, &new.config));
                }
                (Seen::Missing, Seen::Missing) => prop_assert_eq!(wanted[name].need, Need::Input),
                (Seen::Missing, Seen::Found(new)) => {
                    prop_assert_ne!(wanted[name].need, Need::Input);
                    prop_assert!(new.replication <= brokers.min(3));
                }
                (old, new) => prop_assert_eq!(old, new),
            }
        }
        let again = plan(&wanted, &cluster);
        for (first, second) in items.iter().zip(&again) {
            prop_assert!(!matches!(second.verdict, Verdict::Create(_)), "{:?}", second);
            prop_assert!(!raises || second.raise().is_none());
            if matches!(first.verdict, Verdict::Create(_)) {
                prop_assert_eq!(&second.verdict, &Verdict::AsWanted);
            }
        }
        let mut unchanged = cluster.clone();
        carry_out(&mut unchanged, &again, raises);
        prop_assert_eq!(unchanged, cluster);
    }

    #[test]
    fn the_order_of_the_handlers_does_not_matter(handlers in handlers(), turn in 0..5usize) {
        let mut turned = handlers.clone();
        let by = turn % turned.len();
        turned.rotate_left(by);
        prop_assert_eq!(wanted_of(&handlers), wanted_of(&turned));
    }
}

#[test]
fn one_command_makes_all_that_a_folder_needs() {
    let handlers = [
        manifest(
            "pay",
            "topics = [\"payments\"]\nordering = \"none\"\nretry.topic-delays-ms = [60000, 3600000]\n",
        ),
        manifest(
            "acme/park",
            "topics = [\"orders\"]\nordering = \"key\"\non-exhausted = \"park\"\n[[response]]\ntopic = \"prices\"\n\
             [[topic]]\nname = \"orders\"\npartitions = 6\nretention-ms = 1000\n",
        ),
    ];
    let wanted = wanted_of(&handlers);
    let there = [("payments", found(4, 1, &[]))];
    let items = plan(&wanted, &cluster(&wanted, &there));
    let told: Vec<String> = items
        .iter()
        .map(|item| match &item.verdict {
            Verdict::Create(topic) => format!(
                "{} {:?} {} {:?}",
                topic.name,
                topic.partitions,
                topic.replication,
                topic.config.values().collect::<Vec<_>>()
            ),
            other => format!("{} {other:?}", item.wanted.name),
        })
        .collect();
    assert_eq!(
        told,
        [
            "acme.park.dead-letter Some(6) 1 []",
            "acme.park.parked Some(1) 1 [\"compact\"]",
            "acme.park.replay Some(6) 1 [\"delete\", \"2592000000\"]",
            "default.pay.dead-letter Some(4) 1 []",
            "default.pay.replay Some(4) 1 [\"delete\", \"2592000000\"]",
            "default.pay.retry.1h Some(4) 1 [\"delete\", \"608400000\"]",
            "default.pay.retry.1m Some(4) 1 [\"delete\", \"608400000\"]",
            "orders Some(6) 1 [\"delete\", \"1000\"]",
            "payments AsWanted",
            "prices None 1 []",
        ]
    );
}

#[test]
fn a_topic_for_refused_outputs_is_wanted_where_its_name_is_known() {
    let of = |letters: &str| {
        let text = format!("topics = [\"in\"]\npublish.dead-letter-topic = \"{letters}\"");
        wanted_of(&[manifest("a", &text)])
    };
    let wanted = of("refused");
    let refused = &wanted[&name("refused")];
    assert_eq!(refused.need, Need::Refused);
    assert_eq!(refused.reason(), "for the refused outputs of default/a");
    assert_eq!(refused.like, [name("in")].into());
    let needs = of("{topic}.dlq");
    assert!(needs.values().all(|it| it.need != Need::Refused));
}

#[test]
fn a_topic_that_nobody_declares_is_not_made_because_somebody_reads_it() {
    let wanted = wanted_of(&[manifest("a/b", "topics = [\"orders\"]")]);
    let items = plan(&wanted, &cluster(&wanted, &[]));
    let orders = item(&items, "orders");
    assert_eq!(orders.verdict, Verdict::Undeclared);
    assert_eq!(orders.wanted.reason(), "read by a/b");
    assert_eq!(
        orders.wanted.remedy("apply"),
        "declare it in a handler.toml ([[topic]] name = \"orders\"), then `apply` creates it"
    );
    assert_eq!(
        item(&items, "a.b.replay").wanted.remedy("apply"),
        "`apply` creates it"
    );
}

#[test]
fn replicas_are_three_or_as_many_as_there_are_brokers() {
    let declared =
        "topics = [\"t\"]\n[[topic]]\nname = \"t\"\n[[topic]]\nname = \"u\"\nreplication = 5";
    let wanted = wanted_of(&[manifest("a/b", declared)]);
    for (brokers, replicas) in [(0, 1), (1, 1), (2, 2), (3, 3), (9, 3)] {
        let cluster = Cluster {
            brokers,
            ..cluster(&wanted, &[])
        };
        let items = plan(&wanted, &cluster);
        let made = |topic| match &item(&items, topic).verdict {
            Verdict::Create(new) => new.replication,
            other => panic!("{other:?}"),
        };
        assert_eq!((made("t"), made("u")), (replicas, 5), "{brokers} brokers");
    }
}

#[test]
fn a_difference_is_told_with_both_sides_and_only_of_what_is_declared() {
    let declared = "topics = [\"t\"]\n[[topic]]\nname = \"t\"\npartitions = 3\nreplication = 2\ncleanup = \"compact,delete\"\n\
                    config = { \"max.message.bytes\" = 100, \"min.cleanable.dirty.ratio\" = 0.50, no.such = 1 }";
    let wanted = wanted_of(&[manifest("a/b", declared)]);
    let config = [
        ("cleanup.policy", "delete,compact"),
        ("max.message.bytes", "200"),
        ("min.cleanable.dirty.ratio", "0.5"),
        ("retention.ms", "7"),
    ];
    let verdict = |partitions, replication| {
        let there = [("t", found(partitions, replication, &config))];
        let items = plan(&wanted, &cluster(&wanted, &there));
        let Verdict::Differs(drifts) = item(&items, "t").verdict.clone() else {
            panic!("{items:?}");
        };
        let told = drifts.into_iter().map(|drift| {
            let actual = drift.actual.unwrap_or_default();
            format!("{:?} {actual} {}", drift.aspect, drift.declared)
        });
        (told.collect::<Vec<_>>(), item(&items, "t").raise())
    };
    let settings = [
        "Config(\"max.message.bytes\") 200 100",
        "Config(\"no.such\")  1",
    ];
    let raise = Raise {
        name: name("t"),
        partitions: 3,
    };
    let (told, raised) = verdict(1, 1);
    let fewer = ["FewerPartitions 1 3", "Replication 1 2"];
    assert_eq!(
        (told, raised),
        (
            [fewer, settings]
                .concat()
                .iter()
                .map(ToString::to_string)
                .collect(),
            Some(raise)
        )
    );
    let (told, raised) = verdict(4, 2);
    assert_eq!(told, ["MorePartitions 4 3", settings[0], settings[1]]);
    assert_eq!(raised, None);
}

#[test]
fn what_the_host_needs_is_compared_only_where_it_matters() {
    let handlers = [manifest(
        "a/b",
        "topics = [\"t\"]\nordering = \"key\"\non-exhausted = \"park\"\n",
    )];
    let wanted = wanted_of(&handlers);
    let there = [
        ("t", found(1, 1, &[])),
        (
            "a.b.dead-letter",
            found(9, 1, &[("cleanup.policy", "compact")]),
        ),
        (
            "a.b.replay",
            found(
                9,
                1,
                &[("retention.ms", "1"), ("cleanup.policy", "compact")],
            ),
        ),
        ("a.b.parked", found(9, 1, &[("cleanup.policy", "delete")])),
    ];
    let items = plan(&wanted, &cluster(&wanted, &there));
    let differs: Vec<&str> = items
        .iter()
        .filter(|item| !item.is_fine())
        .map(|item| item.wanted.name.as_str())
        .collect();
    assert_eq!(differs, ["a.b.parked"]);
}

#[test]
fn settings_that_brokers_do_not_tell_are_neither_equal_nor_different() {
    let wanted = wanted_of(&[manifest("a/b", "topics = [\"t\"]\n[[topic]]\nname = \"t\"")]);
    let there = Seen::Found(Found {
        partitions: 1,
        replication: 1,
        config: None,
    });
    let items = plan(&wanted, &cluster(&wanted, &[("t", there)]));
    assert!(
        matches!(&item(&items, "t").verdict, Verdict::Untold(why) if why.contains("DescribeConfigs")),
        "{items:?}"
    );
}

#[test]
fn two_manifests_declare_a_topic_equally_or_it_is_told_in_what_they_differ() {
    let declared = |more: &str| {
        let text = format!("topics = [\"t\"]\n[[topic]]\nname = \"t\"\n{more}");
        manifest("a/b", &text).1
    };
    let three = declared("partitions = 3");
    assert_eq!(conflict(&three, &three), None);
    let nobody = manifest("a/b", "topics = [\"t\"]").1;
    assert_eq!(conflict(&three, &nobody), None);
    assert_eq!(
        conflict(&three, &declared("partitions = 4")).unwrap(),
        "[[topic]] t: partitions is 3 here and 4 there (declare it in one of them, or equally)"
    );
    let why = conflict(&declared("replication = 1"), &declared("")).unwrap();
    assert!(
        why.contains("replication is 1 here and not said there"),
        "{why}"
    );
    let why = conflict(&declared("cleanup = \"compact\""), &declared("")).unwrap();
    assert!(
        why.contains("cleanup.policy is compact here and delete there"),
        "{why}"
    );
}
