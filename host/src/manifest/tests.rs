//! Tests of the manifest: what is read, and the exact words of every problem.

mod bulk;
mod component;
mod pipelines;
mod prefix;
mod properties;
mod publish;
mod refusals;
mod retry;
mod routes;
mod secrets;
mod topics;

use std::path::Path;

use super::*;
use crate::outcome::FailureKind;
use crate::policy::{Backoff, BackoffKind, KindPolicy};

fn id() -> HandlerId {
    "acme/orders".parse().unwrap()
}

fn parse(text: &str) -> Manifest {
    Manifest::parse(text, &id()).unwrap()
}

/// The problems of a text, each as `line: what`.
fn problems(text: &str) -> Vec<String> {
    Manifest::parse(text, &id())
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// The problems of a text that names a topic on its first line.
fn problems_of(rest: &str) -> Vec<String> {
    problems(&format!("topics = [\"a\"]\n{rest}"))
}

fn texts<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// Every key, each with another value than its default.
const FULL: &str = r#"
component = "orders.wasm"
digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
pattern = "orders.*"
group = "billing"
start = "latest"
ordering = "partition"
concurrency = 4
delivery = "exactly-once"
transaction-interval-ms = 50
side-effects = "allowed"
isolation = "record"
dead-letter-topic = "orders.failed"
on-exhausted = "halt"
multi = "all"
unmatched = "halt"
max-hops = 3
event.source = "key"
[[route]]
event = "a*"
[[middleware]]
component = "decrypt.wasm"
config.key = "k"
[limits]
memory-mib = 128
deadline-ms = 0x10
in-flight-records = 1
in-flight-mib = 2
outbox-records = 1_000
outbox-mib = 3
pending-requests = 4
[[response]]
topic = "bills"
event = "billed"
[[response]]
topic = "bills.eu"
[publish]
key-from = "/order/id"
[retry]
max-attempts = 9
backoff = "fixed"
initial-ms = 5
max-ms = 6
multiplier = 3
jitter = 0.5
max-age-ms = 60000
[retry.on.trap]
max-attempts = 2
[bulk]
max-records = 7
enter-lag = 1000
exit-lag = 100
[deploy]
trial-record = "order.json"
probation-records = 9
[config]
text = "x"
number = -1.50
flag = true
deep.er = 0b11
[kafka.consumer]
fetch.min.bytes = 10
"group.instance.id" = "one"
[kafka.producer]
compression = { type = "lz4" }
"#;

#[test]
fn one_line_is_a_manifest() {
    assert_eq!(
        parse("topics = [\"a\"]"),
        Manifest {
            component: None,
            digest: None,
            middleware: Vec::new(),
            subscription: Subscription::Topics(vec!["a".parse().unwrap()]),
            group: "acme.orders".parse().unwrap(),
            start: Start::Earliest,
            ordering: Ordering::Partition,
            concurrency: None,
            delivery: Delivery::AtLeastOnce,
            side_effects: false,
            responses: Vec::new(),
            publish: Publish::default(),
            routing: routes::unsaid(),
            pipelines: Vec::new(),
            declared_topics: Vec::new(),
            isolation: Isolation::Lane,
            limits: Limits::default(),
            retry: RetryPolicy::default(),
            on_exhausted: OnExhausted::DeadLetter,
            dead_letter_topic: "acme.orders.dead-letter".parse().unwrap(),
            return_topics: ReturnTopics::new("acme.orders.replay".parse().ok(), Vec::new()),
            bulk: None,
            breaker: None,
            probation: None,
            trial_record: None,
            trial: None,
            config: BTreeMap::new(),
            secrets: BTreeMap::new(),
            kafka_consumer: BTreeMap::new(),
            kafka_producer: BTreeMap::new(),
            tenant_kafka: TenantKafka::default(),
        }
    );
}

#[test]
fn a_full_manifest_says_what_is_before_and_behind_its_component() {
    let manifest = parse(FULL);
    assert_eq!(manifest.publish.key_from, "/order/id".parse().ok());
    let middleware = manifest.middleware.first().unwrap();
    assert_eq!(
        (&*middleware.name, &*middleware.config["key"]),
        ("decrypt", "k")
    );
}

#[test]
fn a_full_manifest_is_read_as_written() {
    let manifest = parse(FULL);
    assert_eq!(manifest.component.as_deref(), Some("orders.wasm"));
    assert!(
        manifest.subscription.matches("orders.eu")
            && !manifest.subscription.matches("orders.failed")
    );
    assert_eq!(manifest.subscription.kafka_names(), [r"^orders\..*$"]);
    assert_eq!(
        (manifest.group.as_str(), manifest.dead_letter_topic.as_str()),
        ("billing", "orders.failed")
    );
    assert_eq!(
        (manifest.start, manifest.isolation),
        (Start::Latest, Isolation::Record)
    );
    assert_eq!(manifest.on_exhausted, OnExhausted::Halt);
    let limits = Limits {
        memory_bytes: 128 << 20,
        deadline: Duration::from_millis(16),
        in_flight_records: 1,
        in_flight_bytes: 2 << 20,
        outbox_records: 1000,
        outbox_bytes: 3 << 20,
        pending_requests: 4,
    };
    assert_eq!(manifest.limits, limits);
    let responses = manifest.responses.iter();
    let responses: Vec<_> = responses
        .map(|it| (it.topic.as_str(), it.event.as_deref()))
        .collect();
    assert_eq!(responses, [("bills", Some("billed")), ("bills.eu", None)]);
    assert!(manifest.side_effects);
    let backoff = Backoff {
        kind: BackoffKind::Fixed,
        initial: Duration::from_millis(5),
        max: Duration::from_millis(6),
        multiplier: 3.0,
        jitter: 0.5,
    };
    let base = KindPolicy {
        max_attempts: 9,
        max_age: Some(Duration::from_mins(1)),
        backoff,
    };
    let on_trap = KindPolicy {
        max_attempts: 2,
        ..base.clone()
    };
    assert_eq!(
        manifest.retry,
        RetryPolicy::new(base).with(FailureKind::Trap, on_trap)
    );
    assert_eq!(
        manifest.config,
        texts([
            ("text", "x"),
            ("number", "-1.50"),
            ("flag", "true"),
            ("deep.er", "3")
        ])
    );
    assert_eq!(
        manifest.kafka_consumer,
        texts([("fetch.min.bytes", "10"), ("group.instance.id", "one")])
    );
    assert_eq!(
        manifest.kafka_producer,
        texts([("compression.type", "lz4")])
    );
}

#[test]
fn problems_are_printed_as_compilers_do() {
    let problems = Manifest::parse("topics = [\"a\"]\n\n[retires]\n", &id()).unwrap_err();
    assert_eq!(
        problems[0].at(Path::new("handlers/x/handler.toml")),
        "handlers/x/handler.toml:3: unknown key \"retires\" (did you mean \"retry\"?)"
    );
    assert_eq!(problems[0].key, "retires");
}

#[test]
fn what_is_no_toml_is_reported_by_line() {
    assert_eq!(
        problems("topics = [\"a\"]\ngroup = = 2\nstart = latest\n[limits\n"),
        [
            "2: not TOML: extra `=`, expected nothing",
            "3: not TOML: string values must be quoted, expected literal string",
            "4: not TOML: unclosed table, expected `]`",
        ]
    );
    assert_eq!(problems("a = 1\na = 2"), ["2: not TOML: duplicate key"]);
}

#[test]
fn the_topics_must_be_named_in_one_way() {
    let missing =
        "topics: missing (name the topics to read: topics = [\"orders\"], or a pattern or regex)";
    assert_eq!(problems(""), [missing]);
    assert_eq!(
        problems("group = 5\n"),
        [
            "1: group: expected the name of a consumer group, found 5".to_owned(),
            missing.to_owned()
        ]
    );
    assert_eq!(
        problems("regex = 'a'\npattern = \"b\"\ntopics = [\"c\"]"),
        [
            "2: pattern: regex is given on line 1 already (one of topics, pattern and regex is enough)",
            "3: topics: regex is given on line 1 already (one of topics, pattern and regex is enough)",
        ]
    );
}

#[test]
fn a_list_of_topics_holds_names_once_each() {
    assert_eq!(
        problems("topics = []"),
        ["1: topics: the list is empty, expected a list of topic names such as [\"orders\"]"]
    );
    assert_eq!(
        problems("topics = \"orders\""),
        [
            "1: topics: expected a list of topic names such as [\"orders\"], found the text \"orders\""
        ]
    );
    assert_eq!(
        problems("topics = [\n\"a\",\n\"b c\",\n5,\n\"a\"]"),
        [
            "3: topics[1]: the character ' ' is not allowed, only ASCII letters, digits, '.', '_' and '-'",
            "4: topics[2]: expected a text, found 5",
            "5: topics[3]: a is in the list twice",
        ]
    );
}

#[test]
fn a_handler_does_not_read_its_own_dead_letters() {
    assert_eq!(
        problems("topics = [\"a\", \"acme.orders.dead-letter\"]"),
        [
            "1: topics: acme.orders.dead-letter is where the handler's own dead letters go, it would read them again for ever"
        ]
    );
    let manifest = parse("regex = \".*\"");
    assert!(manifest.subscription.matches("a"));
    assert!(!manifest.subscription.matches("acme.orders.dead-letter"));
    assert!(!manifest.subscription.matches("__consumer_offsets"));
}

#[test]
fn a_pattern_that_cannot_be_used_says_why() {
    assert_eq!(
        problems("pattern = \"{a,b}\""),
        ["1: pattern: the character '{' is not allowed, only those of topic names, '*' and '?'"]
    );
    assert_eq!(
        problems("regex = \"a(\""),
        ["1: regex: not a regular expression: unclosed group"]
    );
    assert_eq!(problems("regex = \"\""), ["1: regex: the pattern is empty"]);
    assert_eq!(
        problems("pattern = 5"),
        ["1: pattern: expected a pattern of topic names such as \"orders.*\", found 5"]
    );
}

#[test]
fn names_that_kafka_refuses_are_problems() {
    assert_eq!(problems_of("group = \"\""), ["2: group: the name is empty"]);
    assert_eq!(
        problems_of("group = \"a:b\""),
        [
            "2: dead-letter-topic: missing, and the default \"a:b.dead-letter\" is no topic: the character ':' is not allowed, only \
          ASCII letters, digits, '.', '_' and '-'"
        ]
    );
    assert_eq!(
        parse("topics = [\"a\"]\ngroup = \"a:b\"\ndead-letter-topic = \"c\"")
            .dead_letter_topic
            .as_str(),
        "c"
    );
    assert_eq!(
        problems_of("dead-letter-topic = \"__consumer_offsets\"\ngroup = \"g\""),
        [
            "2: dead-letter-topic: \"__consumer_offsets\" has the name of one of Kafka's internal topics, which begin with __ \
             (name one of your own, or leave the key out for \"g.dead-letter\")"
        ]
    );
    assert_eq!(
        problems_of("group = \"__g\""),
        [
            "2: dead-letter-topic: missing, and the default \"__g.dead-letter\" is one of Kafka's internal topics, \
             which begin with __"
        ]
    );
    assert_eq!(
        problems_of("dead-letter-topic = \"..\""),
        ["2: dead-letter-topic: \".\" and \"..\" are not names"]
    );
}

#[test]
fn settings_of_librdkafka_are_checked_before_any_connection() {
    assert_eq!(
        problems_of(
            "[kafka.consumer]\nenable.auto.commit = false\n\"bootstrap.servers\" = \"x:1\"\nfetch.min.byte = 1\n\
             group.protocol = \"consumer\"\nsession.timeout.ms = 1\nfetch.max.bytes = [1]\n[kafka.producer]\n\
             linger.ms = 5\n\"linger.ms\" = 6\n"
        )
        .len(),
        6
    );
    assert_eq!(
        problems_of(
            "[kafka.consumer]\nauto.offset.reset = \"latest\"\nfetch.min.byte = 1\nfetch.max.bytes = [1]\ngroup.protocol = \"auto\"\nheartbeat.interval.ms = 1"
        ),
        [
            "3: kafka.consumer.\"auto.offset.reset\": cannot be set: use `start`",
            "4: kafka.consumer.\"fetch.min.byte\": librdkafka has no such setting (did you mean \"fetch.min.bytes\"?)",
            "5: kafka.consumer.\"fetch.max.bytes\": expected a text, a number, true or false, found a list",
            "7: kafka.consumer.\"heartbeat.interval.ms\": cannot be set with group.protocol = \"auto\": the broker decides it",
        ]
    );
    assert_eq!(
        problems_of("[kafka.producer]\nlinger.ms = 5\n\"linger.ms\" = 6"),
        ["4: kafka.producer.\"linger.ms\": is given twice"]
    );
}

#[test]
fn config_takes_texts_numbers_and_flags() {
    assert_eq!(
        problems_of("[config]\nwhen = 1979-05-27\nlist = []\nbig = 0xffffffffffffffffffff"),
        [
            "3: config.\"when\": expected a text, a number, true or false, found the date 1979-05-27",
            "4: config.\"list\": expected a text, a number, true or false, found a list",
            "5: config.\"big\": expected a text, a number, true or false, found a number that is too large",
        ]
    );
}

#[test]
fn every_default_is_in_its_range_and_every_path_is_listed_once() {
    for keys in [keys::KEYS, crate::settings::KEYS] {
        let mut paths: Vec<&str> = keys.iter().map(|key| key.path).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), keys.len());
        for key in keys {
            match key.kind {
                Kind::Whole {
                    min,
                    max,
                    default: Some(default),
                    ..
                } => assert!((min..=max).contains(&default), "{}", key.path),
                Kind::Real { min, max, default } => {
                    assert!((min..=max).contains(&default), "{}", key.path);
                }
                _ => {}
            }
        }
    }
}
