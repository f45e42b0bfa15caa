//! Properties of the manifest over many files, against a reader that knows nothing of the table of keys.

mod failures;
mod remedies;

use std::fmt::Write as _;

use proptest::prelude::*;

use self::failures::without_lone_probation;
use self::remedies::without_lone_remedies;
use super::*;
use crate::policy::LagBounds;
use crate::route::{Multi, OnUnmatched};

/// One line of a manifest: path, TOML value.
type Line = (&'static str, String);

/// The paths of a table of waits that must fit each other.
struct RetryPaths {
    max_ms: &'static str,
    delays_ms: &'static str,
}

const TOPIC_DELAYS: &str = "retry.topic-delays-ms";

/// Where batches begin and end.
const LAGS: [&str; 2] = ["bulk.enter-lag", "bulk.exit-lag"];

/// All such tables, that of all kinds of failures first.
const TABLES: [(Option<FailureKind>, RetryPaths); 6] = [
    (None, paths("retry.max-ms", "retry.delays-ms")),
    (
        Some(FailureKind::Retry),
        paths("retry.on.retry.max-ms", "retry.on.retry.delays-ms"),
    ),
    (
        Some(FailureKind::Other),
        paths("retry.on.other.max-ms", "retry.on.other.delays-ms"),
    ),
    (
        Some(FailureKind::Trap),
        paths("retry.on.trap.max-ms", "retry.on.trap.delays-ms"),
    ),
    (
        Some(FailureKind::Deadline),
        paths("retry.on.deadline.max-ms", "retry.on.deadline.delays-ms"),
    ),
    (
        Some(FailureKind::Memory),
        paths("retry.on.memory.max-ms", "retry.on.memory.delays-ms"),
    ),
];

const fn paths(max_ms: &'static str, delays_ms: &'static str) -> RetryPaths {
    RetryPaths { max_ms, delays_ms }
}

/// A line for each key that stands alone.
fn scalar(key: &'static Key) -> BoxedStrategy<Line> {
    let value = match *key.kind.held() {
        Kind::Choice { words } => prop::sample::select(words)
            .prop_map(|word| format!("\"{word}\""))
            .boxed(),
        Kind::Whole { min, max, .. } => (min..=max).prop_map(|number| number.to_string()).boxed(),
        Kind::Wholes { min, max, .. } => prop::collection::vec(min..=max, 1..4)
            .prop_map(|numbers| format!("{numbers:?}"))
            .boxed(),
        Kind::Flag { .. } => any::<bool>().prop_map(|flag| flag.to_string()).boxed(),
        Kind::Real { min, max, .. } => (min..=max).prop_map(|number| format!("{number:?}")).boxed(),
        _ => match key.path {
            "component" => "'[a-z]{1,8}[.]wasm'".boxed(),
            "digest" => "'sha256:[0-9a-f]{64}'".boxed(),
            "deploy.trial-record" => "'[a-z]{1,8}[.]json'".boxed(),
            "start" => prop_oneof![
                Just("'earliest'".to_owned()),
                Just("'latest'".to_owned()),
                any::<u32>().prop_map(|offset| format!("'offset:{offset}'")),
            ]
            .boxed(),
            "deploy.canary" => (1u32..10_000)
                .prop_map(|parts| format!("'{}.{:02}%'", parts / 100, parts % 100))
                .boxed(),
            "publish.key-from" => "(/[a-z]{1,8}){0,2}"
                .prop_map(|pointer| format!("'{pointer}'"))
                .boxed(),
            _ => "[a-z]{1,8}".prop_map(|name| format!("'{name}'")).boxed(),
        },
    };
    value.prop_map(|value| (key.path, value)).boxed()
}

/// Any subset of the keys with values that are allowed, in any order.
fn lines() -> impl Strategy<Value = Vec<Line>> {
    let alone = |key: &&Key| {
        !matches!(
            key.kind,
            Kind::Table { .. } | Kind::Texts { .. } | Kind::Rows { .. }
        ) && !["pattern", "regex", "event.source"].contains(&key.path)
    };
    let keys: Vec<&'static Key> = keys::KEYS.iter().copied().filter(alone).collect();
    let count = keys.len();
    prop::sample::subsequence(keys, 0..=count)
        .prop_shuffle()
        .prop_flat_map(|keys| keys.into_iter().map(scalar).collect::<Vec<_>>())
        .prop_map(|lines| TABLES.iter().fold(lines, made_valid))
        .prop_map(without_lone_topics)
        .prop_map(with_bounds_of_lag)
        .prop_map(without_lone_remedies)
        .prop_map(without_lone_probation)
        .prop_filter(
            "batches have no breaker, no waits in topics and no parked keys; keys are parked in the order of keys; what several \
             take is neither parked nor waits in topics",
            |lines| {
                let has = |table: &str| lines.iter().any(|(path, _)| path.starts_with(table));
                let is_parking = lines.iter().any(|(_, word)| word == "\"park\"");
                let is_by_key = Naive(lines).text("ordering", "") == "key";
                let is_excluded = has("breaker.") || has(TOPIC_DELAYS) || is_parking;
                let is_shared = Naive(lines).text("multi", "") == "all";
                (!has("bulk.") || !is_excluded)
                    && (!is_parking || is_by_key)
                    && (!is_shared || !(has(TOPIC_DELAYS) || is_parking))
            },
        )
}

/// Takes the topics of waits out where records must keep an order, and makes each delay's name its own.
fn without_lone_topics(mut lines: Vec<Line>) -> Vec<Line> {
    if Naive(&lines).text("delivery", "") != "exactly-once" {
        lines.retain(|(path, _)| *path != "transaction-interval-ms");
    }
    let is_free = Naive(&lines).text("ordering", "") == "none";
    lines.retain(|(path, _)| is_free || *path != TOPIC_DELAYS);
    for (_, delays) in lines.iter_mut().filter(|(path, _)| *path == TOPIC_DELAYS) {
        let mut all: Vec<u64> = serde_json::from_str(delays).unwrap();
        all.sort_unstable();
        all.dedup();
        all.reverse();
        *delays = format!("{all:?}");
    }
    lines
}

/// Leaves both bounds of the lag or none, the lower one as the lower.
fn with_bounds_of_lag(mut lines: Vec<Line>) -> Vec<Line> {
    let bounds = Naive(&lines).by_lag();
    lines.retain(|(path, _)| !LAGS.contains(path));
    if let Some(LagBounds {
        enter_records,
        exit_records,
    }) = bounds
    {
        let (exit, enter) = (
            exit_records.min(enter_records),
            exit_records.max(enter_records),
        );
        lines.extend(LAGS.into_iter().zip([enter.to_string(), exit.to_string()]));
    }
    lines
}

/// Makes the keys of a table of waits fit each other: the longest wait is not below the first, and there is a list of
/// waits where one is asked for, and only there.
fn made_valid(
    mut lines: Vec<Line>,
    (kind, table): &(Option<FailureKind>, RetryPaths),
) -> Vec<Line> {
    let policy = Naive(&lines);
    let (initial, max) = (
        policy.retry(*kind, "initial-ms", "100"),
        policy.retry(*kind, "max-ms", "10000"),
    );
    let is_list = policy.retry(*kind, "backoff", "") == "list";
    let delays = policy.retry(*kind, "delays-ms", "");
    if initial.parse::<u64>().unwrap() > max.parse::<u64>().unwrap() {
        lines.retain(|(path, _)| *path != table.max_ms);
        lines.push((table.max_ms, initial));
    }
    if !is_list {
        lines.retain(|(path, _)| *path != table.delays_ms);
    } else if delays.is_empty() {
        lines.push((table.delays_ms, "[7, 70]".to_owned()));
    }
    lines
}

/// What the lines say, read back without the reader.
struct Naive<'a>(&'a [Line]);

impl Naive<'_> {
    fn text(&self, path: &str, default: &str) -> String {
        let found = self.0.iter().find(|(p, _)| *p == path);
        found.map_or(default.to_owned(), |(_, value)| {
            value.trim_matches(['\'', '"']).to_owned()
        })
    }

    fn number(&self, path: &str, default: usize) -> usize {
        self.text(path, &default.to_string()).parse().unwrap()
    }

    fn millis(&self, path: &str, default: usize) -> Duration {
        Duration::from_millis(self.number(path, default) as u64)
    }

    /// The value of a key for a kind of failures: in its own table, or else in that of all kinds.
    fn retry(&self, kind: Option<FailureKind>, name: &str, default: &str) -> String {
        let base = self.text(&format!("retry.{name}"), default);
        kind.map_or(base.clone(), |kind| {
            self.text(&format!("retry.on.{}.{name}", kind.as_str()), &base)
        })
    }

    fn kind_policy(&self, kind: Option<FailureKind>) -> KindPolicy {
        let text = |name, default| self.retry(kind, name, default);
        let millis = |text: &str| Duration::from_millis(text.trim().parse().unwrap());
        let max_age = text("max-age-ms", "");
        KindPolicy {
            max_attempts: text("max-attempts", "5").parse().unwrap(),
            max_age: (!max_age.is_empty()).then(|| millis(&max_age)),
            backoff: Backoff {
                kind: match text("backoff", "").as_str() {
                    "fixed" => BackoffKind::Fixed,
                    "fibonacci" => BackoffKind::Fibonacci,
                    "list" => {
                        let delays = text("delays-ms", "");
                        let delays = delays.trim_matches(['[', ']']).split(',');
                        BackoffKind::List(delays.map(millis).collect())
                    }
                    _ => BackoffKind::Exponential,
                },
                initial: millis(&text("initial-ms", "100")),
                max: millis(&text("max-ms", "10000")),
                multiplier: text("multiplier", "2").parse().unwrap(),
                jitter: text("jitter", "0.2").parse().unwrap(),
            },
        }
    }

    fn return_topics(&self, group: &str) -> ReturnTopics {
        let delays: Vec<u64> = serde_json::from_str(&self.text(TOPIC_DELAYS, "[]")).unwrap();
        let topic = |delay_ms| {
            let delay = Duration::from_millis(delay_ms);
            let name = humantime::format_duration(delay)
                .to_string()
                .replace(' ', "");
            (delay, format!("{group}.retry.{name}").parse().unwrap())
        };
        let retries = delays.into_iter().map(topic).collect();
        ReturnTopics::new(format!("{group}.replay").parse().ok(), retries)
    }

    fn ordering(&self) -> Ordering {
        match self.text("ordering", "").as_str() {
            "key" => Ordering::Key,
            "none" => Ordering::None,
            _ => Ordering::Partition,
        }
    }

    fn delivery(&self) -> Delivery {
        let interval = self.millis("transaction-interval-ms", 100);
        match self.text("delivery", "").as_str() {
            "exactly-once" => Delivery::ExactlyOnce { interval },
            _ => Delivery::AtLeastOnce,
        }
    }

    fn bulk(&self) -> Option<Bulk> {
        let is_given = self.0.iter().any(|(path, _)| path.starts_with("bulk."));
        is_given.then(|| Bulk {
            max_records: self.number("bulk.max-records", 500),
            max_bytes: self.number("bulk.max-bytes", 4_194_304),
            max_wait: self.millis("bulk.max-wait-ms", 100),
            compact: self.text("bulk.compact", "") == "true",
            by_lag: self.by_lag(),
        })
    }

    fn by_lag(&self) -> Option<LagBounds> {
        let [enter_records, exit_records] = LAGS.map(|path| self.text(path, "").parse().ok());
        Some(LagBounds {
            enter_records: enter_records?,
            exit_records: exit_records?,
        })
    }

    fn on_exhausted(&self) -> OnExhausted {
        match self.text("on-exhausted", "").as_str() {
            "skip" => OnExhausted::Skip,
            "halt" => OnExhausted::Halt,
            "park" => OnExhausted::Park,
            _ => OnExhausted::DeadLetter,
        }
    }

    fn routing(&self) -> Routing {
        Routing {
            source: "value:/event".parse().unwrap(),
            multi: match self.text("multi", "").as_str() {
                "all" => Multi::All,
                _ => Multi::First,
            },
            unmatched: match self.text("unmatched", "").as_str() {
                "dead-letter" => OnUnmatched::DeadLetter,
                "halt" => OnUnmatched::Halt,
                _ => OnUnmatched::Skip,
            },
            max_hops: u32::try_from(self.number("max-hops", 32)).unwrap(),
            rules: Vec::new(),
        }
    }

    fn manifest(&self) -> Manifest {
        let group = self.text("group", "acme.orders");
        Manifest {
            component: self
                .0
                .iter()
                .any(|(path, _)| *path == "component")
                .then(|| self.text("component", "")),
            digest: self.text("digest", "").parse().ok(),
            trial_record: self.trial_record(),
            middleware: Vec::new(),
            subscription: Subscription::Topics(vec!["In-put.0".parse().unwrap()]),
            group: group.parse().unwrap(),
            start: match self.text("start", "").split_once(':') {
                Some((_, offset)) => Start::Offset(offset.parse().unwrap()),
                None if self.text("start", "") == "latest" => Start::Latest,
                None => Start::Earliest,
            },
            ordering: self.ordering(),
            concurrency: match self.text("concurrency", "").parse() {
                Ok(given) => Some(given),
                Err(_) => ["key", "none"]
                    .contains(&self.text("ordering", "").as_str())
                    .then_some(16),
            },
            delivery: self.delivery(),
            side_effects: self.text("side-effects", "") == "allowed",
            responses: Vec::new(),
            publish: self.publish(),
            routing: self.routing(),
            pipelines: Vec::new(),
            declared_topics: Vec::new(),
            isolation: match self.text("isolation", "").as_str() {
                "record" => Isolation::Record,
                _ => Isolation::Lane,
            },
            limits: Limits {
                memory_bytes: self.number("limits.memory-mib", 64) * 1_048_576,
                deadline: self.millis("limits.deadline-ms", 1000),
                in_flight_records: self.number("limits.in-flight-records", 5000),
                in_flight_bytes: self.number("limits.in-flight-mib", 16) * 1_048_576,
                outbox_records: self.number("limits.outbox-records", 10_000),
                outbox_bytes: self.number("limits.outbox-mib", 16) * 1_048_576,
                pending_requests: self.number("limits.pending-requests", 1000),
            },
            retry: TABLES
                .iter()
                .filter_map(|(kind, _)| *kind)
                .fold(RetryPolicy::new(self.kind_policy(None)), |policy, kind| {
                    policy.with(kind, self.kind_policy(Some(kind)))
                }),
            on_exhausted: self.on_exhausted(),
            dead_letter_topic: self
                .text("dead-letter-topic", &format!("{group}.dead-letter"))
                .parse()
                .unwrap(),
            return_topics: self.return_topics(&group),
            bulk: self.bulk(),
            breaker: self.breaker(),
            probation: self.probation(),
            trial: self.trial(),
            config: BTreeMap::new(),
            secrets: BTreeMap::new(),
            kafka_consumer: BTreeMap::new(),
            kafka_producer: BTreeMap::new(),
            tenant_kafka: TenantKafka::default(),
        }
    }
}

/// Pieces of manifests, right and wrong, for texts that are nearly TOML.
fn fragment() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("[limits]\n".to_owned()),
        Just("[kafka.consumer]\n".to_owned()),
        Just("topics = [\"a\"]\n".to_owned()),
        Just("retry.max-ms = ".to_owned()),
        Just("1\n".to_owned()),
        Just("\n".to_owned()),
        Just("colour = 1\n".to_owned()),
        Just("deadline-ms = 0\n".to_owned()),
        Just("pattern = '*'\n".to_owned()),
        Just("start.x = {}\n".to_owned()),
        "[a-z.\"'=\\[\\]{}\\n#é]{1,4}",
    ]
}

proptest! {
    #[test]
    fn any_subset_of_keys_is_read_as_the_naive_reader_does(lines in lines()) {
        let mut text = String::from("topics = ['In-put.0']\n");
        for (path, value) in &lines {
            writeln!(text, "{path} = {value}").unwrap();
        }
        prop_assert_eq!(Manifest::parse(&text, &id()), Ok(Naive(&lines).manifest()), "{}", text);
    }

    #[test]
    fn no_text_makes_a_manifest_panic(text in any::<String>()) {
        if let Err(problems) = Manifest::parse(&text, &id()) {
            prop_assert!(!problems.is_empty());
        }
    }

    #[test]
    fn problems_come_in_the_order_of_the_file(fragments in prop::collection::vec(fragment(), 0..12)) {
        if let Err(problems) = Manifest::parse(&fragments.concat(), &id()) {
            prop_assert!(!problems.is_empty());
            let lines: Vec<usize> = problems.iter().map(|problem| problem.line.unwrap_or(usize::MAX)).collect();
            prop_assert!(lines.is_sorted(), "{:?}", problems);
            prop_assert!(problems.iter().all(|problem| !problem.what.contains('\n')));
        }
    }

    #[test]
    fn a_key_with_one_letter_wrong_is_always_suggested(
        key in prop::sample::select(keys::KEYS),
        at in any::<prop::sample::Index>(),
        letter in "[a-z]?",
        replaces in any::<bool>(),
    ) {
        let name = key.name();
        let at = at.index(name.len());
        let wrong = format!("{}{letter}{}", &name[..at], &name[at + usize::from(replaces)..]);
        let path = format!("{}{wrong}", key.path.strip_suffix(name).unwrap());
        // Some mistakes make no other name, or one that stands for a value of the key, or is as near to another key.
        let is_near = |other: &&Key| strsim::damerau_levenshtein(other.path, &path) < 2;
        let near = keys::KEYS.iter().filter(|other| is_near(other)).count();
        if wrong.is_empty() || wrong.starts_with('-') || keys::KEYS.iter().any(|key| key.path == path) || near > 1 {
            return Ok(());
        }
        let expected = format!("1: unknown key {path:?} (did you mean {:?}?)", key.path);
        let found = problems(&format!("{path} = 1\n"));
        prop_assert!(found.contains(&expected), "{:?} lacks {}", found, expected);
    }
}
