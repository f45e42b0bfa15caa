//! Parked keys: nothing overtakes a failure, whoever dies meanwhile, until the whole key was replayed.
//!
//! It is handed one stage for each test; keys are parked by records that fail, and are replayed by the command.
//! **Invariant:** what a test expects of the order is asserted over the whole output, which has one partition.

mod replay;

use std::process::Stdio;

use harness::host::command;
use harness::{Host, Kafka, TestRecord, wait_until};

use super::stage::{PATIENCE, Stage, count_lines, field, is, said, texts, verdict, wait_lines};

const PARK: &str = "ordering = \"key\"\non-exhausted = \"park\"\nretry.max-attempts = 2\nretry.initial-ms = 10\n\
                    \"kafka\".consumer.\"session.timeout.ms\" = 6000\n";

/// A stage whose group has the topic of replays from the start.
fn stage(name: &str, partitions: i32) -> Stage {
    let stage = Stage::new(name, partitions);
    stage.create_topic(&format!("{}.replay", stage.name), partitions);
    stage
}

/// A command of `dead-letter` for the stage's handler.
fn letters_command(stage: &Stage, args: &[&str]) -> std::process::Command {
    let mut command = command("dead-letter").unwrap();
    command
        .args(args)
        .env("KAFKA_WASM_HANDLERS", stage.folder.path())
        .env("KAFKA_WASM_BROKERS", &stage.bootstrap)
        .stdin(Stdio::null());
    command
}

/// Runs a command of `dead-letter` for the stage's handler; returns its exit code and what it printed.
fn dead_letter(stage: &Stage, args: &[&str]) -> (Option<i32>, String) {
    let output = letters_command(stage, args).output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    (output.status.code(), printed)
}

fn values(records: &[TestRecord]) -> Vec<String> {
    records
        .iter()
        .map(|record| field(record, "value"))
        .collect()
}

fn parked_keys(host: &Host, expected: f64) {
    let waited = wait_until("the gauge of parked keys", PATIENCE, || {
        host.metric("kafka_wasm_parked_keys", &[]).unwrap() == expected
    });
    waited.unwrap_or_else(|error| panic!("{error}\n{}", host.tail()));
}

#[test]
fn later_records_of_a_parked_key_follow_it_in_order_and_others_go_on() {
    let stage = stage("parked", 1);
    let host = stage.run("act", PARK);
    stage.produce_records([
        TestRecord::new("bad", "other no"),
        TestRecord::new("bad", "ok 1"),
        TestRecord::new("good", "ok 2"),
        TestRecord::new("bad", "other 3"),
    ]);
    stage.produce(&["ok 4", "other without a key"]);
    stage.produce_records([TestRecord::new("bad", "ok 5")]);
    stage.committed(&host, &[(0, 7)]);
    let mut others = values(&stage.outputs(&host, 2));
    others.sort();
    assert_eq!(others, ["ok 2", "ok 4"]);
    let letters = stage.letters(&host, 5);
    let (bad, keyless): (Vec<_>, Vec<_>) = letters.iter().cloned().partition(|it| it.key.is_some());
    assert_eq!(texts(&bad), ["other no", "ok 1", "other 3", "ok 5"]);
    assert_eq!(verdict(&bad[0]), is("other", "2"));
    for follower in &bad[1..] {
        assert_eq!(verdict(follower), is("parked", "0"), "never handed over");
    }
    assert_eq!(verdict(&keyless[0]), is("other", "2"));
    let count = |outcome| {
        let labels = [("outcome", outcome), ("topic", stage.input.as_str())];
        host.metric("kafka_wasm_records_total", &labels).unwrap()
    };
    assert_eq!((count("parked"), count("dead_lettered")), (3.0, 2.0));
    parked_keys(&host, 1.0);

    let (code, listed) = dead_letter(&stage, &["list", &stage.name, "--parked"]);
    assert_eq!(code, Some(0), "{listed}");
    let place = format!(
        "{}[0]  bad  default/{}  other  offsets 0 to 6",
        stage.input, stage.name
    );
    assert!(
        listed.starts_with(&place) && listed.ends_with("\n1 parked key\n"),
        "{listed}"
    );
    let (_, counts) = dead_letter(&stage, &["list", &stage.name, "--count"]);
    assert!(
        counts.contains("parked  3") && counts.contains("1 parked key (list"),
        "{counts}"
    );
    // A letter of a parked key is not replayed by itself.
    let (code, replayed) = dead_letter(&stage, &["replay", &stage.name, "--kind", "parked"]);
    assert_eq!(code, Some(0), "{replayed}");
    assert!(replayed.contains("replayed 0 letters"), "{replayed}");
    assert!(
        replayed.contains("(--key K, or --parked for all): 3"),
        "{replayed}"
    );
    let flags = ["replay", &stage.name, "--key", "bad", "--limit", "1"];
    let (code, refused) = dead_letter(&stage, &flags);
    assert_eq!(code, Some(64), "{refused}");
    host.stop().unwrap();
}

#[test]
fn a_parked_key_survives_the_death_of_its_host_and_a_rebalance() {
    let stage = stage("parked-moved", 2);
    let mut host = stage.run("act", PARK);
    let both = |value: &str| {
        [0, 1].map(|partition| TestRecord::new(format!("k-{partition}"), value).on(partition))
    };
    stage.produce_records(both("other no"));
    stage.letters(&host, 2);
    // What is not committed would follow its key once more.
    stage.committed(&host, &[(0, 1), (1, 1)]);
    host.kill9();
    stage.produce_records(both("ok 1"));
    let second = stage.serve(&[]);
    stage.letters(&second, 4);
    stage.committed(&second, &[(0, 2), (1, 2)]);
    let mut third = stage.serve(&[]);
    third.wait_for_line("keys are parked", PATIENCE).unwrap();
    stage.produce_records(both("ok 2"));
    stage.produce_records([0, 1].map(|partition| TestRecord::new("free", "ok 3").on(partition)));
    let letters = stage.letters(&third, 6);
    for partition in ["0", "1"] {
        let of = letters
            .iter()
            .filter(|it| said(it, "partition") == partition)
            .cloned();
        assert_eq!(texts(&of.collect::<Vec<_>>()), ["other no", "ok 1", "ok 2"]);
    }
    assert_eq!(values(&stage.outputs(&third, 2)), ["ok 3", "ok 3"]);
    second.stop().unwrap();
    third.stop().unwrap();
}

#[test]
fn a_topic_of_parked_keys_that_is_made_by_the_host_is_compacted() {
    let stage = Stage::new("parked-topic", 1);
    let host = stage.run("act", PARK);
    stage.produce_records([TestRecord::new("k", "other no"), TestRecord::new("k", "ok")]);
    stage.letters(&host, 2);
    assert_eq!(count_lines(&host, &["made the topic of parked keys"]), 1);
    let topic = format!("{}.parked", stage.name);
    let config = Kafka::shared()
        .topic_config(&topic, "cleanup.policy")
        .unwrap();
    assert_eq!(config, "compact");
    // One key, however many records of it.
    let keys: std::collections::BTreeSet<_> = stage
        .read(&topic)
        .into_iter()
        .map(|marker| marker.key)
        .collect();
    assert_eq!(keys.len(), 1);
    host.stop().unwrap();
}

#[test]
fn parking_without_an_order_of_keys_is_refused_with_the_reason() {
    let stage = Stage::new("parked-refused", 1);
    stage.deploy("act", "on-exhausted = \"park\"\n");
    let output = command("check")
        .unwrap()
        .arg(stage.folder.path())
        .output()
        .unwrap();
    assert_ne!(output.status.code(), Some(0));
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        printed.contains("on-exhausted: a key is parked so that nothing overtakes its failure")
            && printed.contains("write ordering = \"key\""),
        "{printed}"
    );
}

#[test]
fn a_topic_of_parked_keys_that_forgets_is_not_trusted() {
    let stage = Stage::new("parked-forgetful", 1);
    stage.create_topic(&format!("{}.parked", stage.name), 1);
    let host = stage.run("act", PARK);
    stage.produce_records([TestRecord::new("k", "ok")]);
    wait_lines(
        &host,
        &[
            "nothing is handled until they are known",
            "cleanup.policy=delete",
            "cleanup.policy=compact",
        ],
        1,
    );
    assert!(stage.read(&stage.output).is_empty());
    host.stop().unwrap();
}

#[test]
fn an_output_that_is_refused_late_parks_its_key() {
    let stage = stage("parked-late", 1);
    stage.deploy("act", PARK);
    let host = stage.serve(&["--kafka-setting", "topic.metadata.propagation.max.ms=500"]);
    let missing = format!("emit-to {}.missing", stage.name);
    stage.produce_records([TestRecord::new("k", missing.clone())]);
    assert_eq!(verdict(&stage.letter(&host)), is("emit", "1"));
    stage.produce_records([
        TestRecord::new("k", "ok 1"),
        TestRecord::new("free", "ok 2"),
    ]);
    assert_eq!(texts(&stage.letters(&host, 2)), [missing.as_str(), "ok 1"]);
    // What came before the refusal was known is not called back.
    let outputs = values(&stage.outputs(&host, 2));
    assert!(
        outputs.contains(&missing) && outputs.contains(&"ok 2".to_owned()),
        "{outputs:?}"
    );
    host.stop().unwrap();
}
