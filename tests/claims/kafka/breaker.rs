//! A handler of which too many records fail: it pauses, and goes on by itself.
//!
//! It is handed one stage for each test; the fixture `act` fails as its records say.
//! **Invariant:** what must not happen is watched for longer than several pauses.

use std::time::Duration;

use harness::{Host, wait_until};

use super::stage::{PATIENCE, Stage, never, wait_lines};

/// Pauses when more than half of its last four records failed. Shorter than what lets an instance go.
const BREAKER: &str =
    "retry.max-attempts = 1\nbreaker.window-records = 4\nbreaker.pause-ms = 800\n";

fn wait_until_paused(host: &Host, paused: f64) {
    let waited = wait_until("the gauge of the pause", PATIENCE, || {
        host.metric("kafka_wasm_paused", &[]).unwrap() == paused
    });
    waited.unwrap_or_else(|error| panic!("{error}\n{}", host.tail()));
}

#[test]
fn a_handler_pauses_when_too_much_fails_and_goes_on_by_itself() {
    let stage = Stage::new("breaker", 1);
    let host = stage.run("act", BREAKER);
    // Each fails three times; the first three are given up at once, the fourth is one too many.
    let values = [["flaky 3"; 4].as_slice(), &["ok"; 20]].concat();
    stage.produce(&values);
    wait_until_paused(&host, 1.0);
    let (code, ready) = host.get("/readyz").unwrap();
    assert!(
        code == 200 && ready.contains("it pauses because too many of its records fail"),
        "{code}: {ready}"
    );
    // Two probes fail, the third one is handled.
    stage.outputs(&host, 21);
    stage.letters(&host, 3);
    wait_until_paused(&host, 0.0);
    wait_lines(&host, &["the paused handler goes on"], 1);
    stage.committed(&host, &[(0, 24)]);
    host.stop().unwrap();
}

#[test]
fn a_paused_handler_gives_nothing_up_until_it_is_replaced() {
    let stage = Stage::new("breaker-open", 2);
    let by_key = format!("ordering = \"key\"\nconcurrency = 1\n{BREAKER}");
    let host = stage.run("act", &by_key);
    for partition in 0..2 {
        stage.produce_on(partition, &["other no"; 100]);
    }
    wait_until_paused(&host, 1.0);
    never(
        "a dead letter of a paused handler",
        Duration::from_secs(3),
        || stage.read(&stage.dead_letters).len() > 3,
    );
    let without = stage.manifest("retry.max-attempts = 1\n");
    stage.folder.swap_manifest(&stage.name, &without).unwrap();
    stage.letters(&host, 200);
    wait_until_paused(&host, 0.0);
    host.stop().unwrap();
}

#[test]
fn a_breaker_is_refused_for_a_handler_of_batches() {
    let stage = Stage::new("breaker-bulk", 1);
    let host = stage.run("bulk", BREAKER);
    wait_lines(&host, &["[breaker]", "takes batches only"], 1);
    host.stop().unwrap();
}

#[test]
fn a_handler_pauses_when_kafka_refuses_what_it_emits() {
    let stage = Stage::new("breaker-refused", 1);
    stage.deploy("act", BREAKER);
    let host = stage.serve(&["--kafka-setting", "topic.metadata.propagation.max.ms=500"]);
    let missing = format!("emit-to {}.missing", stage.name);
    // Their hooks return before the refusals are known, so these are given up.
    stage.produce(&[missing.as_str(); 8]);
    wait_until_paused(&host, 1.0);
    stage.letters(&host, 8);
    host.stop().unwrap();
}
