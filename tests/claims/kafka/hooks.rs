//! The hooks: in which order they run, what they are given, and what their answers do.
//!
//! The fixture `hooks` exports all of them and leaves a trace of each call: an output, or a line of the log where it
//! may not emit or what it emitted is dropped.

use harness::{Host, TestRecord, clients, guest};
use serde_json::{Value, json};

use super::batches::BATCHES;
use super::stage::{Stage, TWICE, count_lines, field, json, said, texts, value_on, wait_lines};

/// The name of the hook and the offset of its first record, of each trace.
fn calls(traces: &[TestRecord]) -> Vec<(String, u64)> {
    traces
        .iter()
        .map(|trace| {
            let trace = json(trace);
            let place = trace.get("offset").or(trace.pointer("/records/0/offset"));
            let hook = trace["hook"].as_str().unwrap().to_owned();
            (hook, place.and_then(Value::as_u64).unwrap())
        })
        .collect()
}

/// The outcomes that `on-finished` was told, with the offsets of the records.
fn endings(traces: &[TestRecord]) -> Vec<(String, Vec<u64>)> {
    traces
        .iter()
        .map(json)
        .filter(|trace| trace["hook"] == "on-finished")
        .map(|trace| {
            let records = trace["records"].as_array().unwrap();
            let offsets = records
                .iter()
                .map(|record| record["offset"].as_u64().unwrap());
            (
                trace["outcome"].as_str().unwrap().to_owned(),
                offsets.collect(),
            )
        })
        .collect()
}

fn owned<T: Clone>(pairs: &[(&str, T)]) -> Vec<(String, T)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

/// The trace of one hook at one offset.
fn trace(traces: &[TestRecord], hook: &str, offset: u64) -> Value {
    let wanted = (hook.to_owned(), offset);
    let place = calls(traces).iter().position(|call| *call == wanted);
    json(&traces[place.unwrap_or_else(|| panic!("no {hook} at {offset}"))])
}

/// A record that fails, with the verdict that `on-error` shall return.
fn failing(value: &str, verdict: &str) -> TestRecord {
    value_on(0, value).header("verdict", Some(verdict.as_bytes()))
}

/// Waits for a call that could only be logged.
fn wait_logged(host: &Host, hook: &str, more: &str, n: usize) {
    wait_lines(
        host,
        &[" guest: ", &format!("\"hook\":\"{hook}\""), more],
        n,
    );
}

#[test]
fn the_hooks_of_a_record_run_in_their_order() {
    let stage = Stage::new("order", 1);
    let tombstone = TestRecord::default().on(0);
    let rest = ["change", "drop", "fail here"].map(|value| value_on(0, value));
    stage.produce_records([value_on(0, "plain"), tombstone].into_iter().chain(rest));
    let host = stage.run("hooks", "retry.max-attempts = 7");
    let traces = stage.outputs(&host, 13);
    let expected = [
        ("did-receive", 0),
        ("on-message", 0),
        ("on-finished", 0),
        ("did-receive", 1),
        ("on-tombstone", 1),
        ("on-finished", 1),
        ("did-receive", 2),
        ("on-message", 2),
        ("on-finished", 2),
        // Dropping a record is no failure, so what the hook emitted is sent.
        ("did-receive", 3),
        ("on-finished", 3),
        // What the failed attempt emitted is dropped.
        ("on-error", 4),
        ("on-finished", 4),
    ];
    assert_eq!(calls(&traces), owned(&expected));
    assert_eq!(trace(&traces, "did-receive", 2)["value"], "change");
    assert_eq!(trace(&traces, "on-message", 2)["value"], "changed");
    let outcomes = ["handled", "handled", "handled", "filtered", "dead-lettered"];
    let told: Vec<String> = endings(&traces)
        .into_iter()
        .map(|(outcome, _)| outcome)
        .collect();
    assert_eq!(told, outcomes);

    wait_logged(&host, "on-message", "offset=4", 1);
    let asked = trace(&traces, "on-error", 4);
    assert_eq!(
        (&asked["kind"], &asked["message"]),
        (&json!("other"), &json!("fail here"))
    );
    assert_eq!(
        (&asked["attempt"], &asked["max-attempts"]),
        (&json!(1), &json!(7))
    );
    assert_eq!(stage.letter(&host).text(), "fail here");
    stage.committed(&host, &[(0, 5)]);
    let handler = ("handler", stage.name.as_str());
    for (outcome, count) in [("handled", 3.0), ("filtered", 1.0), ("dead_lettered", 1.0)] {
        let counted = host.metric("kafka_wasm_records_total", &[handler, ("outcome", outcome)]);
        assert_eq!(counted.unwrap(), count, "{outcome}");
    }
}

#[test]
fn the_verdict_of_on_error_decides() {
    let stage = Stage::new("verdicts", 1);
    stage.produce_records([
        failing("fail 0", "resume"),
        failing("fail 1", "retry"),
        failing("fail 2", "dead-letter"),
        failing("fail 3", "halt"),
        value_on(0, "behind"),
    ]);
    let host = stage.run("hooks", "retry.max-attempts = 3\nretry.initial-ms = 10");
    wait_lines(&host, &["the partition is halted", "offset=3"], 1);
    let traces = stage.outputs(&host, 7);
    let expected = [
        ("on-error", 0),
        ("on-finished", 0),
        // With `retry` what on-error emitted is dropped, also at the last attempt.
        ("on-finished", 1),
        ("on-error", 2),
        ("on-finished", 2),
        ("on-error", 3),
        ("on-finished", 3),
    ];
    assert_eq!(calls(&traces), owned(&expected));
    let expected = [
        ("skipped", vec![0]),
        ("dead-lettered", vec![1]),
        ("dead-lettered", vec![2]),
        ("halted", vec![3]),
    ];
    assert_eq!(endings(&traces), owned(&expected));
    wait_logged(&host, "on-message", "offset=0", 1);
    wait_logged(&host, "on-message", "offset=1", 3);
    let letters = stage.letters(&host, 2);
    assert_eq!(texts(&letters), ["fail 1", "fail 2"]);
    assert_eq!(
        letters
            .iter()
            .map(|letter| said(letter, "attempts"))
            .collect::<Vec<_>>(),
        ["3", "1"]
    );
    // The record behind the halted one is untouched.
    stage.committed(&host, &[(0, 3)]);
}

#[test]
fn without_an_error_hook_the_manifest_decides() {
    for (on_exhausted, letters) in [("skip", 0), ("halt", 0), ("dead-letter", 1)] {
        let stage = Stage::new("exhausted", 1);
        stage.produce(&["ok before", "other 1", "ok behind"]);
        let host = stage.run("act", &format!("{TWICE}on-exhausted = \"{on_exhausted}\""));
        if on_exhausted == "halt" {
            wait_lines(&host, &["the partition is halted", "offset=1"], 1);
            stage.committed(&host, &[(0, 1)]);
            stage.outputs(&host, 1);
        } else {
            stage.committed(&host, &[(0, 3)]);
            stage.outputs(&host, 2);
        }
        assert_eq!(stage.letters(&host, letters).len(), letters);
        assert_eq!(count_lines(&host, &["attempt failed", "offset=1"]), 2);
    }
}

#[test]
fn without_a_tombstone_hook_tombstones_come_as_messages() {
    let stage = Stage::new("tombstone", 1);
    stage.produce_records([TestRecord::default().on(0), value_on(0, "ok")]);
    let host = stage.run("act", "");
    let outputs = stage.outputs(&host, 2);
    assert_eq!(json(&outputs[0])["value"], Value::Null);
    assert_eq!(field(&outputs[1], "value"), "ok");
}

#[test]
fn the_hooks_of_a_batch_run_in_their_order() {
    let stage = Stage::new("bulk-order", 1);
    let values = ["plain", "drop", "change"].map(|value| value_on(0, value));
    stage.produce_records(values.into_iter().chain([failing("fail 3", "resume")]));
    let host = stage.run("hooks", BATCHES);
    let traces = stage.outputs(&host, 6);
    let expected = [
        ("did-receive-bulk", 0),
        ("on-bulk", 0),
        ("on-finished", 0),
        ("on-finished", 1),
        ("on-error", 3),
        ("on-finished", 3),
    ];
    assert_eq!(calls(&traces), owned(&expected));
    let handed = trace(&traces, "on-bulk", 0);
    let handed: Vec<&Value> = handed["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| &record["value"])
        .collect();
    assert_eq!(handed, ["plain", "changed", "fail 3"]);
    let expected = [
        ("handled", vec![0, 2]),
        ("filtered", vec![1]),
        ("skipped", vec![3]),
    ];
    assert_eq!(endings(&traces), owned(&expected));
    stage.committed(&host, &[(0, 4)]);
}

#[test]
fn the_verdict_of_on_bulk_error_decides() {
    // Text that is none fails the whole batch of this fixture.
    let broken = |verdict: &str| {
        let mut record = failing("", verdict);
        record.value = Some(b"fail \xff".to_vec());
        record
    };
    for (verdict, ending, letters, position) in [
        ("resume", "skipped", 0, 2),
        ("dead-letter", "dead-lettered", 2, 2),
        ("halt", "halted", 0, 0),
    ] {
        let stage = Stage::new("bulk-verdict", 1);
        stage.produce_records([broken(verdict), value_on(0, "plain")]);
        let host = stage.run("hooks", BATCHES);
        let traces = stage.outputs(&host, 2);
        assert_eq!(endings(&traces), owned(&[(ending, vec![0, 1])]));
        assert_eq!(stage.letters(&host, letters).len(), letters, "{verdict}");
        if verdict == "halt" {
            wait_lines(&host, &["the partition is halted", "offset=0"], 1);
            let positions = clients::committed(&stage.bootstrap, &stage.name, &stage.input);
            assert_eq!(positions.unwrap(), []);
        } else {
            stage.committed(&host, &[(0, position)]);
        }
        assert_eq!(count_lines(&host, &["attempt failed"]), 1, "{verdict}");
    }
}

#[test]
fn a_batch_is_halved_where_on_bulk_error_asks_for_more_attempts_than_there_are() {
    let stage = Stage::new("bulk-retry", 1);
    let mut broken = failing("", "retry");
    broken.value = Some(b"fail \xff".to_vec());
    stage.produce_records([broken, value_on(0, "plain")]);
    let host = stage.run("hooks", BATCHES);
    stage.letter(&host);
    stage.committed(&host, &[(0, 2)]);
    assert_eq!(count_lines(&host, &["attempt failed"]), 3);
    let traces = stage.read(&stage.output);
    let expected = [("dead-lettered", vec![0]), ("handled", vec![1])];
    assert_eq!(endings(&traces), owned(&expected));
}

#[test]
fn define_context_is_given_the_config() {
    let stage = Stage::new("context", 1);
    stage.produce(&["plain"]);
    let host = stage.run(
        "hooks",
        "config.threshold = 4.5\nconfig.nested.name = \"deep\"",
    );
    stage.outputs(&host, 3);
    let given = format!(
        "{{\"config\":{{\"nested.name\":\"deep\",\"output\":\"{out}\",\"threshold\":\"4.5\",\"trace\":\"{out}\"}},\
         \"hook\":\"define-context\"}}",
        out = stage.output
    );
    // Once when it was tried out, once for the partition.
    wait_lines(&host, &[&given, "(trial)"], 1);
    wait_lines(&host, &[&given, &stage.input], 1);
    assert_eq!(count_lines(&host, &["define-context", &stage.input]), 1);
}

#[test]
fn the_partition_hooks_frame_the_records() {
    let stage = Stage::new("partition-hooks", 3);
    for partition in 0..3 {
        let record = value_on(partition, "fail once").header("verdict", Some(b"resume"));
        stage.produce_records([record]);
    }
    let mut host = stage.run("hooks", "");
    stage.committed(&host, &[(0, 1), (1, 1), (2, 1)]);
    host.term().unwrap();
    assert!(host.wait(super::stage::PATIENCE).unwrap().success());
    for partition in 0..3 {
        let lines = host.lines();
        let places = ["on-assigned", "on-message", "on-revoked"].map(|hook| {
            let hook = format!("\"hook\":\"{hook}\"");
            let place = format!("\"partition\":{partition}");
            let holds = |line: &&String| line.contains(&hook) && line.contains(&place);
            assert_eq!(
                lines.iter().filter(holds).count(),
                1,
                "{hook} {place}\n{}",
                host.tail()
            );
            lines.iter().position(|line| holds(&line))
        });
        assert!(places.is_sorted(), "{places:?}\n{}", host.tail());
    }
}

#[test]
fn a_halted_partition_resumes_when_the_handler_is_replaced() {
    let stage = Stage::new("resumes", 2);
    stage.produce(&["resume", "halt", "resume"]);
    stage.produce_on(1, &["resume"]);
    let host = stage.run("error", TWICE);
    wait_lines(
        &host,
        &["the partition is halted", "partition=0", "offset=1"],
        1,
    );
    stage.committed(&host, &[(0, 1), (1, 1)]);
    stage.produce_on(1, &["resume"]);
    stage.committed(&host, &[(0, 1), (1, 2)]);
    let halted = || host.metric("kafka_wasm_halted_partitions", &[]).unwrap();
    assert_eq!(halted(), 1.0);

    stage
        .folder
        .swap_component(&stage.name, guest("act"))
        .unwrap();
    stage.committed(&host, &[(0, 3), (1, 2)]);
    let outputs = stage.outputs(&host, 2);
    let handled: Vec<String> = outputs
        .iter()
        .map(|output| field(output, "offset"))
        .collect();
    assert_eq!(handled, ["1", "2"]);
    assert_eq!(stage.read(&stage.dead_letters), []);
    assert_eq!(halted(), 0.0);
}

#[test]
fn isolation_record_gives_every_record_fresh_memory() {
    for (isolation, instances) in [("lane", 1), ("record", 4)] {
        let stage = Stage::new("fresh", 1);
        stage.produce(&["plain", "plain", "plain", "plain"]);
        let host = stage.run("hooks", &format!("isolation = \"{isolation}\""));
        stage.outputs(&host, 12);
        let started = count_lines(&host, &["define-context", &stage.input]);
        assert_eq!(started, instances, "{isolation}\n{}", host.tail());
    }
    // All attempts of a record are made with the memory of its first one.
    let stage = Stage::new("fresh-attempts", 1);
    stage.produce(&["flaky 1", "flaky 1"]);
    let host = stage.run("act", &format!("{TWICE}isolation = \"record\""));
    let outputs = stage.outputs(&host, 2);
    assert!(
        outputs
            .iter()
            .all(|output| field(output, "result") == "call 2")
    );
}
