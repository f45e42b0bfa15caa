//! Handlers that begin to read only when others have caught up.
//!
//! It is handed handlers that all write to one topic of one partition, whose order is that of the outputs.
//! **Invariant:** a host is told its steps by `host.toml` alone.

use std::fs;
use std::time::Duration;

use harness::{Host, TestRecord, clients, guest, wait_until};
use tempfile::NamedTempFile;

use super::stage::{PATIENCE, Stage, count_lines, field, never, start, value_on, wait_lines};

/// What a run may take in which three steps follow each other.
const LONG: Duration = Duration::from_secs(90);

/// Handlers of a stage, each with a topic of its own.
struct Steps {
    stage: Stage,
    config: NamedTempFile,
}

impl Steps {
    /// Writes `host.toml` and makes a topic of two partitions for each handler.
    fn new(name: &str, handlers: &[&str], toml: &str) -> Self {
        let stage = Stage::new(name, 1);
        for handler in handlers {
            stage.create_topic(&format!("{}.{handler}", stage.name), 2);
        }
        let config = NamedTempFile::new().unwrap();
        fs::write(config.path(), toml).unwrap();
        Self { stage, config }
    }

    fn topic(&self, handler: &str) -> String {
        format!("{}.{handler}", self.stage.name)
    }

    /// A manifest that reads the handler's topic and writes to the stage's output, or to another topic.
    fn manifest(&self, handler: &str, output: Option<&str>, more: &str) -> String {
        let output = output.unwrap_or(&self.stage.output);
        format!(
            "topics = [\"{topic}\"]\ngroup = \"{topic}\"\nconfig.output = \"{output}\"\nconfig.label = \"{handler}\"\n\
             limits.deadline-ms = 30000\nkafka.consumer.\"auto.commit.interval.ms\" = 100\n{more}\n",
            topic = self.topic(handler),
        )
    }

    /// Puts a handler into the folder.
    fn deploy(&self, handler: &str, output: Option<&str>, more: &str) {
        let (act, manifest) = (guest("act"), self.manifest(handler, output, more));
        self.stage.folder.swap_in(handler, act, &manifest).unwrap();
    }

    fn produce(&self, handler: &str, partition: i32, values: &[&str]) {
        let records = values.iter().map(|value| value_on(partition, value));
        clients::produce_records(&self.stage.bootstrap, &self.topic(handler), records).unwrap();
    }

    fn serve(&self, args: &[&str]) -> Host {
        let config = self.config.path().to_str().unwrap();
        let args = [&["--config", config], args].concat();
        start(&self.stage.bootstrap, self.stage.folder.path(), &args)
    }

    /// The labels of all outputs, in the order in which Kafka has them, once there are `n`.
    fn labels(&self, hosts: &[&Host], n: usize) -> Vec<String> {
        let bootstrap = &self.stage.bootstrap;
        if let Err(error) = clients::consume_until(bootstrap, &self.stage.output, n, LONG) {
            let tails: Vec<String> = hosts.iter().map(|host| host.tail()).collect();
            panic!("{error}\n{}", tails.join("\n----\n"));
        }
        let label = |record: &TestRecord| field(record, "label");
        let all = self.stage.read(&self.stage.output);
        assert_eq!(all.len(), n, "more outputs than were waited for");
        all.iter().map(label).collect()
    }
}

/// Whether each label in `later` comes after all those in `earlier`.
fn is_after(labels: &[String], later: &str, earlier: &[&str]) -> bool {
    let first = labels.iter().position(|label| label == later);
    let last = labels
        .iter()
        .rposition(|label| earlier.contains(&label.as_str()));
    first > last && last.is_some()
}

#[test]
fn a_later_step_starts_only_when_the_earlier_ones_have_caught_up() {
    let toml = "steps = [[\"a\", \"b\"], [\"c\"]]";
    let steps = Steps::new("steps", &["a", "b", "c"], toml);
    for handler in ["a", "b", "c"] {
        steps.deploy(handler, None, "");
    }
    steps.produce("c", 0, &["ok"; 10]);
    steps.produce("c", 1, &["ok"; 10]);
    steps.produce("b", 1, &["ok"; 10]);
    steps.produce("a", 0, &["sleep 100"; 10]);
    steps.produce("a", 1, &["sleep 500"; 40]);
    // Each gets one partition of `a`, and the one with the quick records waits for the other.
    let hosts = [steps.serve(&[]), steps.serve(&[])];
    for host in &hosts {
        wait_lines(host, &["partitions assigned", &steps.topic("a")], 1);
        wait_lines(host, &["step 2 waits for default/a", "behind"], 1);
    }
    let labels = steps.labels(&[&hosts[0], &hosts[1]], 80);
    assert!(is_after(&labels, "c", &["a", "b"]), "{labels:?}");

    // What has started stays started: new revisions of its handlers, and while earlier ones are behind again.
    for host in &hosts {
        wait_lines(host, &["the step starts", "step=2"], 1);
    }
    steps.produce("a", 1, &["sleep 8000"]);
    let replaced = steps.manifest("c", None, "config.more = \"1\"");
    steps.stage.folder.swap_manifest("c", &replaced).unwrap();
    for host in &hosts {
        wait_lines(host, &["deployed", "handler=c"], 2);
    }
    steps.produce("c", 0, &["ok"]);
    let labels = steps.labels(&[&hosts[0], &hosts[1]], 81);
    assert_eq!(labels.last().map(String::as_str), Some("c"));
    for host in &hosts {
        assert_eq!(count_lines(host, &["left the group"]), 0);
    }
}

#[test]
fn a_run_until_caught_up_goes_through_all_steps() {
    let toml = "until-caught-up = true\nsteps = [[\"a\"], [\"b\"], [\"c\"]]";
    let steps = Steps::new("run-steps", &["a", "b", "c", "free"], toml);
    // What `a` writes, in transactions, is what `b` reads.
    let b = steps.topic("b");
    steps.deploy("a", Some(&b), "delivery = \"exactly-once\"");
    for handler in ["b", "c", "free"] {
        steps.deploy(handler, None, "");
    }
    steps.produce("a", 0, &["ok"; 5]);
    steps.produce("c", 1, &["ok"; 5]);
    steps.produce("free", 1, &["ok"]);
    // The last that the partitions of `a` hold are marks of transactions, which nobody settles.
    for end in [clients::End::Commit, clients::End::Abort] {
        let records = [value_on(0, "ok"), value_on(1, "ok")];
        let topic = steps.topic("a");
        clients::produce_transaction(&steps.stage.bootstrap, &topic, records, end).unwrap();
    }
    let mut host = steps.serve(&[]);
    let status = host.wait(LONG).unwrap();
    assert_eq!(status.code(), Some(0), "{}", host.tail());
    let line = "caught up; 20 records settled: 20 handled;";
    host.wait_for_line(line, PATIENCE).unwrap();
    let labels = steps.labels(&[&host], 13);
    assert_eq!(labels[0], "free", "a handler of no step starts at once");
    assert!(is_after(&labels, "c", &["b"]), "{labels:?}");
}

#[test]
fn a_step_waits_for_a_handler_that_is_not_deployed_and_says_so() {
    let toml = "steps = [[\"orders\"], [\"bills\"], [\"rest\"]]\nsteps-lag-max = 3";
    let steps = Steps::new("typo", &["orders", "order", "bills"], toml);
    for handler in ["order", "bills"] {
        steps.deploy(handler, None, "");
    }
    steps.produce("bills", 0, &["ok"]);
    let mut strict = steps.serve(&["--strict"]);
    assert_eq!(strict.wait(PATIENCE).unwrap().code(), Some(64));
    let typo = "handler default/orders is named in step 1 of `steps` and not deployed (did you mean default/order?)";
    strict.wait_for_line(typo, PATIENCE).unwrap();

    let mut host = steps.serve(&[]);
    host.wait_for_line(typo, PATIENCE).unwrap();
    let waits = "step 2 waits for default/orders (it is not deployed) (steps-lag-max = 3)";
    host.wait_for_line(waits, PATIENCE).unwrap();
    host.wait_until_ready(PATIENCE).unwrap();
    let (_, body) = host.get("/readyz").unwrap();
    for told in [
        "waits for default/orders (it is not deployed)",
        "waits for step 2",
        "in step 3 of `steps`",
    ] {
        assert!(body.contains(told), "{told}: {body}");
    }
    assert!(!body.contains("does not run"), "{body}");
    never(
        "an output of a step that waits",
        Duration::from_secs(3),
        || !steps.stage.read(&steps.stage.output).is_empty(),
    );

    // It is deployed now, with more to do than may be left.
    steps.produce("orders", 0, &["sleep 1000", "sleep 1000", "ok", "ok", "ok"]);
    steps.deploy("orders", None, "");
    let labels = steps.labels(&[&host], 6);
    assert!(
        labels.iter().position(|it| it == "bills") > Some(0),
        "{labels:?}"
    );
    let started = wait_until("a readiness without waits", PATIENCE, || {
        let body = host.get("/readyz").map(|(_, body)| body);
        body.is_ok_and(|body| !body.contains("waits for") && body.contains("handler default/rest"))
    });
    started.unwrap();
}
