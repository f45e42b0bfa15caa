//! New revisions that see the records of the ones that serve, and send nothing.
//!
//! **Invariant:** each record has one output, of the revision that serves.

use harness::{Host, TestRecord, wait_until};
use serde_json::Value;

use super::canary::{order, status, swap, try_out};
use super::stage::{PATIENCE, Stage, TWICE, field, texts, wait_lines};

const SHADOW: &str = "deploy.shadow = true\n";

fn revision(label: &str, more: &str) -> String {
    format!("{TWICE}config.label = \"{label}\"\n{more}")
}

fn produce(stage: &Stage, numbers: std::ops::Range<usize>) {
    let record = |n: usize| TestRecord::new(format!("key-{}", n % 7), format!("sound secret #{n}"));
    stage.produce_records(numbers.map(record));
}

/// Waits until the shadow has seen so many records, or skipped them; returns what `status` says of it.
fn seen(stage: &Stage, host: &Host, n: u64) -> Value {
    let mut trial = Value::Null;
    let waited = wait_until("the comparison", PATIENCE, || {
        trial = status(stage, host)["trial"].clone();
        let count = |name: &str| trial[name].as_u64().unwrap_or_default();
        count("compared") + count("skipped") == n
    });
    assert!(waited.is_ok(), "{trial}\n{}", host.tail());
    trial
}

fn labels(outputs: &[TestRecord]) -> Vec<String> {
    let mut labels: Vec<String> = outputs.iter().map(|it| field(it, "label")).collect();
    labels.sort();
    labels.dedup();
    labels
}

#[test]
fn a_shadow_run_emits_nothing() {
    for (name, more) in [
        ("shadow-key", "ordering = \"key\"\n"),
        ("shadow-partition", ""),
        (
            "shadow-once",
            "delivery = \"exactly-once\"\nordering = \"key\"\n",
        ),
    ] {
        emits_nothing(name, more);
    }
}

fn emits_nothing(name: &str, more: &str) {
    let stage = Stage::new(name, 1);
    let host = stage.run("act", &revision("v1", more));
    produce(&stage, 0..50);
    stage.outputs(&host, 50);
    // It makes the same.
    let shadow = |label: &str, keys: &str| revision(label, &format!("{SHADOW}{more}{keys}"));
    try_out(&stage, &host, &shadow("v1", "config.new = \"true\"\n"), 1);
    produce(&stage, 50..100);
    let trial = seen(&stage, &host, 50);
    assert_eq!(
        (&trial["kind"], &trial["equal"], &trial["differing"]),
        (&"shadow".into(), &50.into(), &0.into())
    );
    // Another value.
    try_out(&stage, &host, &shadow("v2", ""), 2);
    produce(&stage, 100..150);
    let trial = seen(&stage, &host, 50);
    assert_eq!(
        (&trial["equal"], &trial["differing"]),
        (&0.into(), &50.into())
    );
    let first = trial["differences"][0]["what"].as_str().unwrap();
    assert!(first.starts_with("output 1 has the value "), "{first}");
    assert_eq!(trial["differences"].as_array().unwrap().len(), 10);
    assert!(!trial.to_string().contains("secret"), "{trial}");
    // It fails.
    try_out(&stage, &host, &shadow("v3", "config.broken = true\n"), 3);
    produce(&stage, 150..200);
    let trial = seen(&stage, &host, 50);
    assert_eq!(trial["differing"], 50);
    let first = trial["differences"][0]["what"].as_str().unwrap();
    assert_eq!(first, "failed (other) instead of handled with 1 outputs");
    // It traps, and so does the one that serves.
    stage.produce(&["trap"]);
    stage.letter(&host);
    let trial = seen(&stage, &host, 51);
    assert_eq!(trial["equal"], 1);

    let outputs = stage.outputs(&host, 200);
    assert_eq!(labels(&outputs), ["v1"]);
    assert_eq!(stage.read(&stage.dead_letters).len(), 1);
    let result = [("result", "differing")];
    assert!(
        host.metric("kafka_wasm_shadow_records_total", &result)
            .unwrap()
            >= 50.0
    );

    try_out(&stage, &host, &shadow("v4", ""), 4);
    order(&stage, &host, "promote");
    produce(&stage, 200..250);
    let outputs = stage.outputs(&host, 250);
    let last: Vec<TestRecord> = outputs[200..].to_vec();
    assert_eq!(labels(&last), ["v4"]);
    host.stop().unwrap();
}

#[test]
fn a_shadow_writes_nothing_at_once_and_its_log_lines_say_what_it_is() {
    let stage = Stage::new("shadow-asks", 1);
    let target = format!("{}.target", stage.name);
    stage.create_topic(&target, 1);
    let host = stage.run("act", &revision("v1", ""));
    try_out(
        &stage,
        &host,
        &revision("v1", &format!("{SHADOW}config.new = \"true\"\n")),
        1,
    );
    stage.produce(&[&format!("receipt {target} 30000 text"), "log a line of it"]);
    let trial = seen(&stage, &host, 2);
    assert_eq!(
        (&trial["equal"], &trial["differing"]),
        (&1.into(), &1.into())
    );
    assert_eq!(texts(&stage.read(&target)), ["text"]);
    wait_lines(&host, &["a line of it", "shadow"], 1);
    // The one that serves does not say so.
    wait_lines(&host, &["a line of it"], 2);
    order(&stage, &host, "rollback");
    assert!(status(&stage, &host)["trial"].is_null());
    // The same files are not tried again.
    swap(
        &stage,
        &revision("v1", &format!("{SHADOW}config.new = \"true\"\n")),
    );
    wait_lines(&host, &["was ended by command"], 1);
    host.stop().unwrap();
}

#[test]
fn a_slow_shadow_holds_nobody_up() {
    let stage = Stage::new("shadow-slow", 1);
    let host = stage.run("act", &revision("v1", ""));
    let slow = format!("{SHADOW}config.slow-ms = \"200\"\n");
    try_out(&stage, &host, &revision("v1", &slow), 1);
    produce(&stage, 0..2000);
    stage.outputs(&host, 2000);
    let trial = status(&stage, &host)["trial"].clone();
    assert!(trial["skipped"].as_u64().unwrap() > 1000, "{trial}");
    host.stop().unwrap();
}
