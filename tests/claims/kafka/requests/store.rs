//! Hosts that share responses through a Redis.

mod compat;
mod doors;
mod faults;

use std::time::Duration;

use harness::kafka::unique;
use harness::{HandlersDir, Host, Redis, TestRecord, clients, guest, wait_until};
use tempfile::TempDir;

use super::{Asking, MINUTE, metric};
use crate::kafka::stage::{PATIENCE, Stage, never, start};

const DROPPED: &str = "kafka_wasm_dropped_responses_total";
const TWO_AT_ONCE: &str = "ordering = \"key\"\nconcurrency = 2\n";

/// A stage whose hosts share a Redis.
struct Sharing {
    asking: Asking,
    redis: Redis,
    folder: TempDir,
}

impl Sharing {
    fn new(name: &str) -> Self {
        Self::on(Redis::start().unwrap(), name)
    }

    fn on(redis: Redis, name: &str) -> Self {
        let asking = Asking::new(name, 1);
        asking.stage.deploy("act", &asking.keys(TWO_AT_ONCE));
        let folder = tempfile::tempdir().unwrap();
        Self {
            asking,
            redis,
            folder,
        }
    }

    /// Starts a host with these keys of the table `[response]` beside the store.
    fn serve(&self, more: &str) -> Host {
        self.serve_with(&self.redis.url(), more)
    }

    fn serve_with(&self, url: &str, more: &str) -> Host {
        let file = self.config(url, more);
        self.asking.stage.serve(&["--config", &file])
    }

    /// Writes a host.toml and returns its path.
    fn config(&self, url: &str, more: &str) -> String {
        let file = self.folder.path().join(unique("host") + ".toml");
        let text = format!("[response]\nstore = \"{url}\"\n{more}\n");
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    }

    /// Starts two hosts, and waits until each reads one of the two partitions of responses.
    fn serve_two(&self) -> [Host; 2] {
        let hosts = [self.serve(""), self.serve("")];
        self.wait_for_two();
        hosts
    }

    fn wait_for_two(&self) {
        let group = self.group();
        let bootstrap = &self.asking.stage.bootstrap;
        let are_two = || clients::readers(bootstrap, &group).unwrap_or(0) == 2;
        wait_until("both read responses", PATIENCE, are_two).unwrap();
    }

    fn group(&self) -> String {
        format!("default.{}.responses", self.asking.stage.name)
    }

    /// Has the handler ask once for each of these keys, one after the other; returns the requests in this order.
    fn ask(&self, host: &Host, keys: &[&str], timeout_ms: &str) -> Vec<TestRecord> {
        let (stage, questions) = (&self.asking.stage, &self.asking.questions);
        let before = stage.read(questions).len();
        for (n, key) in keys.iter().enumerate() {
            stage.produce_records([self.asking.ask(key, timeout_ms, "ok")]);
            let found =
                clients::consume_until(&stage.bootstrap, questions, before + n + 1, PATIENCE);
            found.unwrap_or_else(|error| panic!("{error}\n{}", host.tail()));
        }
        stage.read(questions).split_off(before)
    }

    /// Answers each request in a partition of its own, so that each is read by another host.
    fn answer(&self, questions: &[TestRecord], texts: &[&str]) {
        for ((question, text), partition) in questions.iter().zip(texts).zip(0..) {
            self.answer_on(partition, question, text);
        }
    }

    fn answer_on(&self, partition: i32, question: &TestRecord, text: &str) {
        let id = question.header_text("event_id").unwrap();
        let answer = TestRecord::new("k", text)
            .header("event_id", Some(id.as_bytes()))
            .on(partition);
        let asking = &self.asking;
        clients::produce_records(&asking.stage.bootstrap, &asking.answers, [answer]).unwrap();
    }

    fn sorted_results(&self, host: &Host, n: usize) -> Vec<String> {
        let mut results = self.asking.results(host, n);
        results.sort_unstable();
        results
    }

    /// The names in Redis.
    fn names(&self) -> Vec<String> {
        let names = self.redis.ask(&["KEYS", "*"]).unwrap().unwrap_or_default();
        names.lines().map(str::to_owned).collect()
    }

    /// How many names have a response.
    fn stored(&self) -> usize {
        let names = self.names();
        let is_full = |name: &&String| self.redis.ask(&["STRLEN", name]).unwrap().unwrap() != "0";
        names.iter().filter(is_full).count()
    }
}

/// A metric of all these hosts together.
fn sum(hosts: &[Host], name: &str, labels: &[(&str, &str)]) -> f64 {
    hosts.iter().map(|host| metric(host, name, labels)).sum()
}

fn is_up(host: &Host) -> bool {
    metric(host, "kafka_wasm_reply_store_up", &[]) == 1.0
}

#[test]
fn any_host_of_a_group_may_read_a_response() {
    let sharing = Sharing::new("shared");
    let answering = sharing.asking.answering();
    let hosts = sharing.serve_two();
    let answerer = answering.serve(&[]);
    // Responses without a key go to one partition for a while, which may be that of the host that asks.
    let mut asked = 0;
    while sharing.stored() == 0 && asked < 1000 {
        let asks = (asked..asked + 100).map(|n| {
            let deed = format!("answer a{n}");
            sharing.asking.ask(&format!("k{n}"), MINUTE, &deed)
        });
        sharing.asking.stage.produce_records(asks);
        asked += 100;
        let results = sharing.sorted_results(&hosts[0], asked);
        let mut expected: Vec<String> = (0..asked).map(|n| format!("a{n}")).collect();
        expected.sort_unstable();
        assert_eq!(results, expected);
    }
    // What the host read that did not ask.
    assert!(sharing.stored() > 0);
    for reason in ["late", "repeated", "unknown", "orphaned"] {
        assert_eq!(sum(&hosts, DROPPED, &[("reason", reason)]), 0.0, "{reason}");
    }
    assert_eq!(sum(&hosts, "kafka_wasm_pending_requests", &[]), 0.0);
    // Whoever asks next reads on where these stop, and waits for nobody's session to end.
    for host in hosts {
        host.stop().unwrap();
    }
    let stage = &sharing.asking.stage;
    assert_eq!(
        clients::members(&stage.bootstrap, &sharing.group()).unwrap(),
        0
    );
    let host = sharing.serve("");
    // The group of its input may still wait for one of them, if it was leaving while the other one left.
    let assigned = || host.metric("kafka_wasm_assigned_partitions", &[]);
    let is_assigned = || assigned().is_ok_and(|partitions| partitions > 0.0);
    wait_until("the partitions of the input", 2 * PATIENCE, is_assigned).unwrap();
    stage.produce_records([sharing.asking.ask("k", MINUTE, "answer again")]);
    assert_eq!(sharing.asking.results(&host, asked + 1)[asked], "again");
    answerer.stop().unwrap();
}

#[test]
fn what_a_killed_host_was_to_read_is_read_by_another_one() {
    let sharing = Sharing::new("killed");
    let mut hosts = sharing.serve_two();
    let questions = sharing.ask(&hosts[0], &["a", "b"], MINUTE);
    let pending = |host: &Host| metric(host, "kafka_wasm_pending_requests", &[]);
    let asker = usize::from(pending(&hosts[1]) > 0.0);
    hosts[1 - asker].kill9();
    sharing.answer(&questions, &["one", "two"]);
    assert_eq!(sharing.sorted_results(&hosts[asker], 2), ["one", "two"]);
}

#[test]
fn what_comes_late_or_twice_is_dropped_wherever_it_is_read() {
    let sharing = Sharing::new("late");
    let hosts = sharing.serve_two();
    let late = sharing.ask(&hosts[0], &["a"], "1500");
    assert_eq!(
        sharing.asking.results(&hosts[0], 1),
        ["no response came in time"]
    );
    let count = |reason: &str, n: f64| {
        let is_so = || sum(&hosts, DROPPED, &[("reason", reason)]) == n;
        let waited = wait_until(reason, PATIENCE, is_so);
        waited.unwrap_or_else(|error| panic!("{error}\n{}", hosts[0].tail()));
    };
    for partition in [0, 1] {
        sharing.answer_on(partition, &late[0], "late");
    }
    count("late", 2.0);
    let question = sharing.ask(&hosts[0], &["b"], MINUTE);
    sharing.answer_on(0, &question[0], "in time");
    assert_eq!(sharing.asking.results(&hosts[0], 2)[1], "in time");
    for partition in [0, 1] {
        sharing.answer_on(partition, &question[0], "again");
    }
    count("repeated", 2.0);
    assert_eq!(sharing.asking.results(&hosts[0], 2)[1], "in time");
    // What nobody has asked for is counted once, by whoever reads it.
    let nobody = TestRecord::new("k", "?").header(
        "event_id",
        Some(b"0f4c3d4e-0000-4000-8000-000000000000".as_slice()),
    );
    let stage = &sharing.asking.stage;
    clients::produce_records(&stage.bootstrap, &sharing.asking.answers, [nobody]).unwrap();
    count("orphaned", 1.0);
    for (reason, n) in [("late", 2.0), ("repeated", 2.0), ("unknown", 0.0)] {
        assert_eq!(sum(&hosts, DROPPED, &[("reason", reason)]), n, "{reason}");
    }
}

#[test]
fn a_request_may_wait_longer_than_half_a_minute() {
    let sharing = Sharing::new("long");
    let hosts = sharing.serve_two();
    let questions = sharing.ask(&hosts[0], &["a", "b"], "50000");
    let ttl = || -> i64 {
        let names = sharing.names();
        let ttls = names.iter().map(|name| sharing.redis.ask(&["TTL", name]));
        let ttls = ttls.map(|ttl| ttl.unwrap().unwrap().parse::<i64>().unwrap());
        ttls.min().unwrap()
    };
    assert!((70..=80).contains(&ttl()), "{}", ttl());
    // 50 s and a margin of 30 s.
    let is_later = || ttl() < 80 - 31;
    wait_until("31 s", 2 * PATIENCE, is_later).unwrap();
    sharing.answer(&questions, &["one", "two"]);
    assert_eq!(sharing.sorted_results(&hosts[0], 2), ["one", "two"]);
}

#[test]
fn a_response_that_another_tenant_forges_reaches_nobody() {
    let sharing = Sharing::new("forged");
    let asking = &sharing.asking;
    // Who knows the id writes responses where its own handlers expect theirs.
    let other = Stage::new("forged-other", 1);
    let forged = format!("{}.answers", other.name);
    other.create_topic(&forged, 1);
    let folder = HandlersDir::new().unwrap();
    let expecting = |topic: &str| format!("response = [{{ topic = \"{topic}\" }}]\n");
    for (name, stage, topic) in [
        ("acme/asks", &asking.stage, &asking.answers),
        ("evil/asks", &other, &forged),
    ] {
        let manifest = stage.manifest(&expecting(topic));
        folder.swap_in(name, guest("act"), &manifest).unwrap();
    }
    let file = sharing.config(&sharing.redis.url(), "");
    let host = start(&asking.stage.bootstrap, folder.path(), &["--config", &file]);
    // It waits for a response of its own as well.
    other.produce_records([asking.ask("k", MINUTE, "ok")]);
    let (bootstrap, questions) = (&other.bootstrap, &asking.questions);
    clients::consume_until(bootstrap, questions, 1, PATIENCE).unwrap();
    let question = sharing.ask(&host, &["k"], MINUTE).remove(0);
    let id = question.header_text("event_id").unwrap();
    let forgery = TestRecord::new("k", "forged").header("event_id", Some(id.as_bytes()));
    clients::produce_records(&other.bootstrap, &forged, [forgery]).unwrap();
    let evil = [("tenant", "evil"), ("reason", "orphaned")];
    wait_until("the forgery is read", PATIENCE, || {
        metric(&host, DROPPED, &evil) == 1.0
    })
    .unwrap();
    never("it is taken", Duration::from_secs(1), || {
        let taken = [&asking.stage.output, &other.output];
        taken.iter().any(|topic| !other.read(topic).is_empty())
    });
    // Nor is what acme has asked written where evil could look.
    let names = sharing.names();
    let of = |tenant: &str| {
        let prefix = format!("kwh:{tenant}:");
        names
            .iter()
            .filter(|name| name.starts_with(&prefix))
            .count()
    };
    assert_eq!(
        (of("acme"), of("evil"), names.len()),
        (1, 1, 2),
        "{names:?}"
    );
    sharing.answer_on(0, &question, "true");
    assert_eq!(asking.results(&host, 1), ["true"]);
}
