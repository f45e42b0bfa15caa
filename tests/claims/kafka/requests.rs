//! Handlers that ask others through Kafka and wait for their responses.

mod many;
mod places;
mod python;
mod store;

use std::time::Duration;

use harness::{Host, TestRecord, clients, guest, wait_until};
use tokio::time::Instant;

use super::stage::{PATIENCE, Stage, count_lines, field, never, start, wait_lines};

const MINUTE: &str = "60000";

/// A stage whose handler asks, the topic of its requests and that of the responses.
struct Asking {
    stage: Stage,
    questions: String,
    answers: String,
}

impl Asking {
    fn new(name: &str, partitions: i32) -> Self {
        let stage = Stage::new(name, partitions);
        let (questions, answers) = (
            format!("{}.questions", stage.name),
            format!("{}.answers", stage.name),
        );
        stage.create_topic(&questions, partitions);
        stage.create_topic(&answers, 2);
        Self {
            stage,
            questions,
            answers,
        }
    }

    /// The manifest's keys for a handler that asks.
    fn keys(&self, more: &str) -> String {
        format!("response = [{{ topic = \"{}\" }}]\n{more}", self.answers)
    }

    /// A record that asks, and is answered if somebody does what it asks for.
    fn ask(&self, key: &str, timeout_ms: &str, deed: &str) -> TestRecord {
        let text = format!("ask {} {timeout_ms} {deed}", self.questions);
        TestRecord::new(key, text)
    }

    /// Deploys a handler that answers, in a folder of its own.
    fn answering(&self) -> Stage {
        let name = format!("{}-answering", self.stage.name);
        let answering = Stage {
            bootstrap: self.stage.bootstrap.clone(),
            input: self.questions.clone(),
            output: format!("{}.answered", self.stage.name),
            dead_letters: format!("{name}.dead"),
            name,
            folder: harness::HandlersDir::new().unwrap(),
        };
        for topic in [&answering.output, &answering.dead_letters] {
            answering.create_topic(topic, 1);
        }
        answering.deploy("act", "");
        answering
    }

    fn results(&self, host: &Host, n: usize) -> Vec<String> {
        let outputs = self.stage.outputs(host, n);
        outputs
            .iter()
            .map(|output| field(output, "result"))
            .collect()
    }

    /// Waits until a request is written, and returns it.
    fn question(&self, host: &Host) -> TestRecord {
        let found = clients::consume_until(&self.stage.bootstrap, &self.questions, 1, PATIENCE);
        let mut found = found.unwrap_or_else(|error| panic!("{error}\n{}", host.tail()));
        found.remove(0)
    }

    /// Answers a request, as somebody else would.
    fn answer(&self, question: &TestRecord, text: &str) {
        let id = question.header_text("event_id").unwrap();
        let answer = TestRecord::new("k", text).header("event_id", Some(id.as_bytes()));
        clients::produce_records(&self.stage.bootstrap, &self.answers, [answer]).unwrap();
    }
}

/// The metric of all tenants of a test; there is only one.
fn metric(host: &Host, name: &str, labels: &[(&str, &str)]) -> f64 {
    host.metric(name, labels).unwrap()
}

#[test]
fn a_request_gets_its_response_across_two_hosts() {
    let asking = Asking::new("across", 4);
    let answering = asking.answering();
    let keys = asking.keys("ordering = \"key\"");
    asking.stage.deploy("act", &keys);
    // Two hosts ask, two answer; each asking host reads all responses and takes its own.
    let hosts = [asking.stage.serve(&[]), asking.stage.serve(&[])];
    let answerers = [answering.serve(&[]), answering.serve(&[])];
    let assigned = "kafka_wasm_assigned_partitions";
    let has_two = |host: &Host| host.metric(assigned, &[]).unwrap_or_default() == 2.0;
    wait_until("each host has its partitions", PATIENCE, || {
        hosts.iter().all(has_two)
    })
    .unwrap();
    let asks = (0..200).map(|n| asking.ask(&format!("k{n}"), MINUTE, &format!("answer a{n}")));
    asking.stage.produce_records(asks);
    let mut results = asking.results(&hosts[0], 200);
    results.sort_unstable();
    let mut expected: Vec<String> = (0..200).map(|n| format!("a{n}")).collect();
    expected.sort_unstable();
    assert_eq!(results, expected);
    let count = |name, labels: &[(&str, &str)]| {
        hosts
            .iter()
            .map(|host| metric(host, name, labels))
            .sum::<f64>()
    };
    let answered = count("kafka_wasm_requests_total", &[("result", "answered")]);
    let unknown = count(
        "kafka_wasm_dropped_responses_total",
        &[("reason", "unknown")],
    );
    assert_eq!((answered, unknown), (200.0, 200.0));
    assert_eq!(count("kafka_wasm_pending_requests", &[]), 0.0);
    let handled = hosts
        .iter()
        .map(|host| metric(host, "kafka_wasm_records_total", &[("outcome", "handled")]));
    assert!(
        handled.clone().all(|n| n > 0.0),
        "{:?}",
        handled.collect::<Vec<_>>()
    );
    for host in hosts.into_iter().chain(answerers) {
        host.stop().unwrap();
    }
}

#[test]
fn a_timed_out_request_frees_everything_it_held() {
    let asking = Asking::new("timed-out", 1);
    let more = "ordering = \"key\"\nconcurrency = 1\nlimits.pending-requests = 1\n";
    let host = asking.stage.run("act", &asking.keys(more));
    let began = Instant::now();
    asking
        .stage
        .produce_records([asking.ask("a", "1500", "ok")]);
    let question = asking.question(&host);
    assert_eq!(metric(&host, "kafka_wasm_pending_requests", &[]), 1.0);
    // Meanwhile the permit is free for another key, the right to ask is not.
    asking
        .stage
        .produce_records([asking.ask("b", "1500", "ok"), TestRecord::new("c", "ok")]);
    let results = asking.results(&host, 3);
    let full = "too many requests wait for responses: the handler may have 1 at once (limits.pending-requests)";
    assert_eq!(results, [full, "", "no response came in time"]);
    assert!(began.elapsed() >= Duration::from_millis(1500));
    asking.answer(&question, "late");
    let late = || {
        metric(
            &host,
            "kafka_wasm_dropped_responses_total",
            &[("reason", "late")],
        ) == 1.0
    };
    wait_until("the late response is dropped", PATIENCE, late).unwrap();
    assert_eq!(metric(&host, "kafka_wasm_pending_requests", &[]), 0.0);
    // The same instance asks again, and has its response; one that comes twice is harmless.
    asking
        .stage
        .produce_records([asking.ask("a", MINUTE, "ok")]);
    let asked =
        clients::consume_until(&asking.stage.bootstrap, &asking.questions, 2, PATIENCE).unwrap();
    asking.answer(&asked[1], "in time");
    asking.answer(&asked[1], "again");
    assert_eq!(asking.results(&host, 4)[3], "in time");
    let repeated = || {
        metric(
            &host,
            "kafka_wasm_dropped_responses_total",
            &[("reason", "repeated")],
        ) == 1.0
    };
    wait_until("the second response is dropped", PATIENCE, repeated).unwrap();
    let results = [("answered", 1.0), ("timeout", 1.0), ("failed", 0.0)];
    for (result, n) in results {
        assert_eq!(
            metric(&host, "kafka_wasm_requests_total", &[("result", result)]),
            n,
            "{result}"
        );
    }
}

#[test]
fn a_wait_for_a_response_does_not_count_against_the_deadline() {
    let asking = Asking::new("deadline", 1);
    let host = asking.stage.run(
        "act",
        &asking.keys("limits.deadline-ms = 500\nretry.max-attempts = 1\n"),
    );
    asking
        .stage
        .produce_records([asking.ask("k", MINUTE, "ok"), TestRecord::new("k", "spin")]);
    let question = asking.question(&host);
    never(
        "the request is given up",
        Duration::from_millis(1500),
        || metric(&host, "kafka_wasm_pending_requests", &[]) == 0.0,
    );
    asking.answer(&question, "slow");
    assert_eq!(asking.results(&host, 1), ["slow"]);
    // What comes after has its own time, and no more.
    asking.stage.letter(&host);
}

#[test]
fn a_tenant_that_calls_itself_does_not_deadlock() {
    // One handler that may run once at a time, on one partition: each record that asks waits for one behind it.
    let asking = Asking::new("itself", 1);
    let more = "ordering = \"key\"\nconcurrency = 1\n";
    let host = asking.stage.run("act", &asking.keys(more));
    let input = &asking.stage.input;
    let ask = |n: i32| TestRecord::new(format!("k{n}"), format!("ask {input} {MINUTE} answer {n}"));
    asking.stage.produce_records((0..20).map(ask));
    let mut results = asking.results(&host, 40);
    results.retain(|result| !result.is_empty());
    results.sort_by_key(|result| result.parse::<i32>().unwrap());
    assert_eq!(results, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(
        metric(
            &host,
            "kafka_wasm_requests_total",
            &[("result", "answered")]
        ),
        20.0
    );
}

#[test]
fn a_swap_while_a_request_waits_finishes_on_the_old_revision() {
    let asking = Asking::new("swap", 1);
    let keys = |label: &str| asking.keys(&format!("config.label = \"{label}\""));
    let host = asking.stage.run("act", &keys("old"));
    asking
        .stage
        .produce_records([asking.ask("k", MINUTE, "ok"), TestRecord::new("k", "ok")]);
    let question = asking.question(&host);
    let manifest = asking.stage.manifest(&keys("new"));
    asking
        .stage
        .folder
        .swap_manifest(&asking.stage.name, &manifest)
        .unwrap();
    wait_lines(&host, &["deployed"], 2);
    asking.answer(&question, "answered");
    let outputs = asking.stage.outputs(&host, 2);
    let seen: Vec<_> = outputs
        .iter()
        .map(|output| (field(output, "label"), field(output, "result")))
        .collect();
    let expected = [("old", "answered"), ("new", "")]
        .map(|(label, result)| (label.to_owned(), result.to_owned()));
    assert_eq!(seen, expected);
    assert_eq!(metric(&host, "kafka_wasm_failures_total", &[]), 0.0);
}

#[test]
fn a_rebalance_while_a_request_waits_is_fenced() {
    let asking = Asking::new("fenced", 1);
    asking.stage.deploy("act", &asking.keys(""));
    let mut first = asking.stage.serve(&[]);
    asking
        .stage
        .produce_records([asking.ask("k", MINUTE, "ok")]);
    let question = asking.question(&first);
    // It leaves while it waits, and the other host asks again.
    let second = asking.stage.serve(&[]);
    first.term().unwrap();
    let asked =
        clients::consume_until(&asking.stage.bootstrap, &asking.questions, 2, PATIENCE).unwrap();
    asking.answer(&question, "to the first");
    never("the first response counts", Duration::from_secs(1), || {
        !asking.stage.read(&asking.stage.output).is_empty()
    });
    asking.answer(&asked[1], "to the second");
    assert_eq!(asking.results(&second, 1), ["to the second"]);
    first.wait(PATIENCE).unwrap();
}

#[test]
fn a_wait_for_a_response_holds_up_no_stop() {
    for ordering in ["partition", "key"] {
        let asking = Asking::new("holds-up", 1);
        let keys = asking.keys(&format!("ordering = \"{ordering}\""));
        let mut host = asking.stage.run("act", &keys);
        asking
            .stage
            .produce_records([asking.ask("k", MINUTE, "ok")]);
        asking.question(&host);
        let began = Instant::now();
        host.term().unwrap();
        host.wait(PATIENCE).unwrap();
        // The drain deadline is 25 s.
        let took = began.elapsed();
        assert!(took < Duration::from_secs(10), "{ordering}: {took:?}");
        assert!(asking.stage.read(&asking.stage.output).is_empty());
        asking.stage.committed(&host, &[(0, 0)]);
    }
}

#[test]
fn only_the_event_that_is_expected_is_a_response() {
    let asking = Asking::new("event", 1);
    let keys = format!(
        "response = [{{ topic = \"{}\", event = \"priced\" }}]\n",
        asking.answers
    );
    let host = asking.stage.run("act", &keys);
    asking
        .stage
        .produce_records([asking.ask("k", MINUTE, "ok")]);
    let question = asking.question(&host);
    assert_eq!(
        question.header_text("reply-to").as_deref(),
        Some(asking.answers.as_str())
    );
    for other in [
        "",
        "priced",
        "{\"event\":\"weighed\"}",
        "[{\"event\":\"priced\"}]",
    ] {
        asking.answer(&question, other);
    }
    let priced = "{\"price\":5,\"event\":\"priced\"}";
    asking.answer(&question, priced);
    assert_eq!(asking.results(&host, 1), [priced]);
}

#[test]
fn a_response_for_another_tenant_is_read_by_nobody_else() {
    let asking = Asking::new("tenants", 1);
    // Both tenants read the same topic of responses.
    let folder = harness::HandlersDir::new().unwrap();
    let manifest = asking
        .stage
        .manifest(&asking.keys("retry.max-attempts = 1"));
    folder
        .swap_in("acme/asks", guest("act"), &manifest)
        .unwrap();
    let other = Stage::new("tenants-other", 1);
    let manifest = other.manifest(&asking.keys("retry.max-attempts = 1"));
    folder
        .swap_in("evil/asks", guest("act"), &manifest)
        .unwrap();
    let host = start(&asking.stage.bootstrap, folder.path(), &[]);
    asking
        .stage
        .produce_records([asking.ask("k", MINUTE, "ok")]);
    let question = asking.question(&host);
    // It knows the id, and asks with it: it gets another one.
    let id = question.header_text("event_id").unwrap();
    other.produce_records([asking
        .ask("k", "1000", "ok")
        .header("event_id", Some(id.as_bytes()))]);
    let asked =
        clients::consume_until(&asking.stage.bootstrap, &asking.questions, 2, PATIENCE).unwrap();
    assert_ne!(asked[1].header_text("event_id").unwrap(), id);
    asking.answer(&question, "for acme");
    assert_eq!(asking.results(&host, 1), ["for acme"]);
    assert_eq!(
        field(&other.outputs(&host, 1)[0], "result"),
        "no response came in time"
    );
}

#[test]
fn a_request_that_cannot_be_made_says_why() {
    let asking = Asking::new("why", 1);
    let host = asking.stage.run("act", "");
    asking
        .stage
        .produce_records([asking.ask("k", MINUTE, "ok")]);
    let denied = "the request was denied: the manifest names no topic for responses ([[response]] topic = \"…\")";
    assert_eq!(asking.results(&host, 1), [denied]);
    // A topic that does not exist is told at once.
    let keys = "response = [{ topic = \"no-such-topic.answers\" }]";
    asking
        .stage
        .folder
        .swap_manifest(&asking.stage.name, &asking.stage.manifest(keys))
        .unwrap();
    wait_lines(&host, &["deployed"], 2);
    wait_lines(&host, &["no-such-topic.answers", "does not exist"], 1);
    asking
        .stage
        .produce_records([asking.ask("k", MINUTE, "ok")]);
    let missing =
        "responses cannot be read: no topic for responses exists: create no-such-topic.answers";
    assert_eq!(asking.results(&host, 2)[1], missing);
    // What would be its own response is refused.
    let keys = format!("response = [{{ topic = \"{}\" }}]", asking.questions);
    asking
        .stage
        .folder
        .swap_manifest(&asking.stage.name, &asking.stage.manifest(&keys))
        .unwrap();
    wait_lines(&host, &["deployed"], 3);
    asking
        .stage
        .produce_records([asking.ask("k", MINUTE, "ok")]);
    assert!(asking.results(&host, 3)[2].contains("would be taken for its own response"));
    // Transactions take no request back.
    let keys = asking.keys("delivery = \"exactly-once\"");
    asking
        .stage
        .folder
        .swap_manifest(&asking.stage.name, &asking.stage.manifest(&keys))
        .unwrap();
    wait_lines(
        &host,
        &["response: a request is written at once", "side-effects"],
        1,
    );
    assert_eq!(count_lines(&host, &["deployed"]), 3);
}
