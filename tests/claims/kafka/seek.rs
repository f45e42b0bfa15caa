//! `seek`: positions moved from outside.
//!
//! It is handed one stage for each test.
//! **Invariant:** positions are read back from Kafka, never taken from what the command prints.

use harness::host::command;
use harness::kafka::unique;
use harness::{Host, Kafka, TestRecord, clients};

use super::stage::{Stage, value_on};
use crate::answer::Answer;

/// The exit code for wrong usage.
const EX_USAGE: i32 = 64;

fn seek(args: &[&str]) -> Answer {
    let mut command = command("seek").unwrap();
    command.args(args);
    Answer::of(command.args(["--brokers", Kafka::shared().bootstrap()]))
}

/// Moves the stage's group on its input.
fn seek_in(stage: &Stage, args: &[&str]) -> Answer {
    seek(&[&[stage.name.as_str(), stage.input.as_str()], args].concat())
}

/// Moves as [`seek_in`] does, and expects that it works; returns the table without its head, a row of words each.
fn moved(stage: &Stage, args: &[&str]) -> Vec<Vec<String>> {
    let answer = seek_in(stage, args);
    assert_eq!(answer.code, 0, "{}{}", answer.stdout, answer.stderr);
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
    answer.stdout.lines().skip(1).map(words).collect()
}

fn positions(stage: &Stage) -> Vec<(i32, i64)> {
    clients::committed(&stage.bootstrap, &stage.name, &stage.input).unwrap()
}

/// Gives the group a position.
fn commit(stage: &Stage, partition: i32, offset: i64, metadata: &str) {
    let place = (stage.input.as_str(), partition);
    clients::commit_metadata(&stage.bootstrap, &stage.name, place, offset, metadata).unwrap();
}

fn handled(host: &Host) -> f64 {
    let labels = [("outcome", "handled")];
    host.metric("kafka_wasm_records_total", &labels).unwrap()
}

#[test]
fn seek_moves_a_group_and_refuses_while_it_has_members() {
    let stage = Stage::new("sought", 2);
    stage.produce_on(0, &["ok 0", "ok 1", "ok 2"]);
    stage.produce_on(1, &["ok 0", "ok 1"]);
    let host = stage.run("act", "");
    let ends = [(0, 3), (1, 2)];
    stage.committed(&host, &ends);
    let refused = seek_in(&stage, &["--to", "beginning"]);
    println!("{}", refused.stderr);
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));
    let told = format!(
        "group {} has 1 member, its positions cannot be moved",
        stage.name
    );
    assert!(refused.stderr.contains(&told), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("kafka-wasm-host at /127.0.0.1"),
        "{}",
        refused.stderr
    );
    assert_eq!(positions(&stage), ends);
    host.stop().unwrap();

    let rows = moved(&stage, &["--to", "beginning"]);
    assert_eq!(rows[0][1..], ["0", "3", "0", "-3"]);
    assert_eq!(rows[1][1..], ["1", "2", "0", "-2"]);
    assert_eq!(positions(&stage), [(0, 0), (1, 0)]);
    let host = stage.serve(&[]);
    stage.committed(&host, &ends);
    assert_eq!(handled(&host), 5.0);
    host.stop().unwrap();
}

#[test]
fn seek_is_refused_for_members_of_the_new_protocol_too() {
    let stage = Stage::new("protocol", 1);
    stage.produce(&["ok 0", "ok 1"]);
    let host = stage.run("act", "kafka.consumer.\"group.protocol\" = \"consumer\"");
    stage.committed(&host, &[(0, 2)]);
    let refused = seek_in(&stage, &["--to", "0"]);
    println!("{}", refused.stderr);
    assert_eq!(refused.code, 1, "{}{}", refused.stdout, refused.stderr);
    assert!(refused.stderr.contains("member"), "{}", refused.stderr);
    assert_eq!(positions(&stage), [(0, 2)]);
    host.stop().unwrap();
    assert_eq!(moved(&stage, &["--to", "0"])[0][1..], ["0", "2", "0", "-2"]);
    assert_eq!(positions(&stage), [(0, 0)]);
}

#[test]
fn a_dry_run_of_seek_moves_nothing_and_works_beside_members() {
    let stage = Stage::new("dry", 1);
    stage.produce(&["ok 0", "ok 1"]);
    let host = stage.run("act", "");
    stage.committed(&host, &[(0, 2)]);
    let answer = seek_in(&stage, &["--to", "-1", "--dry-run"]);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert!(
        answer.stderr.contains("nothing was moved"),
        "{}",
        answer.stderr
    );
    assert!(answer.stderr.contains("has 1 member"), "{}", answer.stderr);
    host.stop().unwrap();
    let rows = moved(&stage, &["--to", "-1", "--dry-run"]);
    assert_eq!(rows[0][1..], ["0", "2", "1", "-1"]);
    assert_eq!(positions(&stage), [(0, 2)]);
}

#[test]
fn seek_keeps_a_position_within_its_partition_and_says_so() {
    let stage = Stage::new("clamped", 1);
    stage.produce(&["ok 0", "ok 1", "ok 2"]);
    commit(&stage, 0, 1, "");
    let rows = moved(&stage, &["--to", "99"]);
    assert_eq!(rows[0][1..5], ["0", "1", "3", "+2"]);
    assert_eq!(rows[0][5..].join(" "), "behind the newest record: the end");
    let rows = moved(&stage, &["--to", "-99"]);
    assert_eq!(rows[0][1..5], ["0", "3", "0", "-3"]);
    assert_eq!(
        rows[0][5..].join(" "),
        "before the oldest record: the beginning"
    );
    assert_eq!(positions(&stage), [(0, 0)]);
}

#[test]
fn seek_finds_a_time_and_moves_only_the_partitions_asked_for() {
    let stage = Stage::new("timed", 3);
    let at = |partition, second: i64| TestRecord {
        timestamp_ms: Some(1_769_817_600_000 + second * 1000),
        ..value_on(partition, "ok")
    };
    stage.produce_records([at(0, 0), at(0, 10), at(0, 20), at(1, 0), at(2, 30)]);
    for partition in 0..2 {
        commit(&stage, partition, 0, "");
    }
    let to = ["--to", "2026-01-31T00:00:10Z"];
    let rows = moved(
        &stage,
        &[&to[..], &["--partition", "0", "--partition", "1"]].concat(),
    );
    assert_eq!(rows[0][1..], ["0", "0", "1", "+1"]);
    assert_eq!(rows[1][1..5], ["1", "0", "1", "+1"]);
    assert_eq!(rows[1][5..].join(" "), "no record since then: the end");
    assert_eq!(positions(&stage), [(0, 1), (1, 1)]);
    // A partition without a position gets one by a time, and is left alone by a number of records.
    let rows = moved(&stage, &["--to", "+1"]);
    assert_eq!(rows[2][1..5], ["2", "-", "-", "-"]);
    assert_eq!(positions(&stage), [(0, 2), (1, 1)]);
    moved(&stage, &to);
    assert_eq!(positions(&stage), [(0, 1), (1, 1), (2, 0)]);
}

#[test]
fn a_moved_position_forgets_what_was_complete_beyond_the_old_one() {
    let stage = Stage::new("forgotten", 1);
    stage.produce(&["ok 0", "ok 1"]);
    commit(&stage, 0, 0, "something");
    moved(&stage, &["--to", "1"]);
    let found = clients::committed_metadata(&stage.bootstrap, &stage.name, &stage.input).unwrap();
    assert_eq!(found, [(0, 1, String::new())]);
}

#[test]
fn seek_takes_group_and_topics_from_a_handler() {
    let stage = Stage::new("handler", 1);
    stage.deploy("act", "");
    stage.produce(&["ok 0", "ok 1"]);
    commit(&stage, 0, 2, "");
    let folder = stage.folder.path().display().to_string();
    let answer = seek(&[&stage.name, "--handlers", &folder, "--to", "beginning"]);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert_eq!(positions(&stage), [(0, 0)]);
    let missing = seek(&["nobody", "--handlers", &folder, "--to", "end"]);
    assert_eq!(missing.code, EX_USAGE);
    let told = format!("there is no handler default/nobody in {folder} (it holds default/");
    assert!(missing.stderr.contains(&told), "{}", missing.stderr);
}

#[test]
fn seek_says_what_does_not_exist() {
    let stage = Stage::new("absent", 1);
    commit(&stage, 0, 0, "");
    let nobody = unique("nobody");
    let refused = |args: &[&str], told: &str| {
        let answer = seek(args);
        println!("{}", answer.stderr);
        assert_eq!(answer.code, EX_USAGE, "{}", answer.stderr);
        assert!(answer.stderr.contains(told), "{}", answer.stderr);
        assert_eq!(answer.stdout, "");
    };
    let (name, input) = (stage.name.as_str(), stage.input.as_str());
    refused(&[&nobody, input, "--to", "end"], "there is no group nobody");
    refused(
        &[name, &nobody, "--to", "end"],
        &format!("topic {nobody} does not exist"),
    );
    refused(
        &[name, input, "--to", "end", "--partition", "3"],
        &format!("{input} has no partition 3, only 0 to 0"),
    );
    refused(&[name, "--to", "end"], "name the topics of the group");
    refused(
        &[name, input, "--to", "soon"],
        "expected beginning, end, an offset",
    );
    refused(&[name, input], "--to <beginning|end|TIME|OFFSET|+N|-N>");
    assert_eq!(positions(&stage), [(0, 0)]);
}

#[test]
fn seek_says_that_kafka_does_not_answer() {
    let output = command("seek")
        .unwrap()
        .args(["g", "t", "--to", "end", "--brokers", "127.0.0.1:1"])
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("no broker answered at 127.0.0.1:1"), "{told}");
}
