//! Hosts that end by themselves: when they have caught up, or settled enough.
//!
//! It is handed one stage for each test.
//! **Invariant:** nobody tells these hosts to stop, unless the test says so.

use std::time::Duration;

use harness::kafka::unique;
use harness::{HandlersDir, Host, Kafka, clients, guest, wait_until};

use super::stage::{PATIENCE, Stage, count_lines};
use super::traffic::{Feed, Traffic, number};

/// What a run may take that waits for a topic for half a minute.
const LONG: Duration = Duration::from_secs(90);

/// Runs the stage until it has caught up.
fn run(stage: &Stage) -> Host {
    ended(stage.serve(&["--until-caught-up"]), 0)
}

/// Waits until the host ends with this exit code.
fn ended(mut host: Host, code: i32) -> Host {
    let status = host.wait(LONG).unwrap();
    assert_eq!(status.code(), Some(code), "{}", host.tail());
    host
}

fn said(host: &mut Host, line: &str) {
    host.wait_for_line(line, PATIENCE).unwrap();
}

fn positions(stage: &Stage) -> Vec<(i32, i64)> {
    clients::committed(&stage.bootstrap, &stage.name, &stage.input).unwrap()
}

#[test]
fn a_run_until_caught_up_ends_by_itself() {
    let stage = Stage::new("once", 3);
    stage.produce_on(0, &["ok 0", "ok 1", "ok 2"]);
    stage.produce_on(1, &["ok 0"]);
    stage.deploy("act", "");
    let mut host = run(&stage);
    said(
        &mut host,
        "caught up; 4 records settled: 4 handled; 0 retries",
    );
    assert_eq!(positions(&stage), [(0, 3), (1, 1)]);
    stage.produce_on(2, &["ok 0"]);
    let mut host = run(&stage);
    said(&mut host, "caught up; 1 records settled: 1 handled;");
    assert_eq!(positions(&stage), [(0, 3), (1, 1), (2, 1)]);
}

#[test]
fn a_run_does_not_wait_for_records_that_are_written_later() {
    let traffic = Traffic::new(Kafka::shared(), "later", 2);
    let handlers = traffic.handlers("pass", "", "");
    traffic.produce((0..1000).map(number));
    let feed = Feed::start(&traffic, 1, number);
    let host = traffic.host(&handlers).args(["--until-caught-up"]);
    let host = ended(host.start().unwrap(), 0);
    let at_the_end = traffic.committed();
    feed.wait_for_more(100);
    feed.stop();
    assert!(at_the_end >= 1000, "{at_the_end}\n{}", host.tail());
    assert!(at_the_end < traffic.input_end(), "the load was over before");
    assert_eq!(at_the_end, traffic.output_count());
}

#[test]
fn a_run_on_an_empty_topic_ends_by_itself() {
    let stage = Stage::new("empty", 2);
    stage.deploy("act", "");
    said(&mut run(&stage), "caught up; 0 records settled: 0 handled;");
}

#[test]
fn a_run_ends_behind_the_marks_of_transactions() {
    let stage = Stage::new("marks", 1);
    stage.deploy("act", "");
    stage.produce(&["ok 0"]);
    let aborted = [super::stage::value_on(0, "ok aborted")];
    let end = clients::End::Abort;
    clients::produce_transaction(&stage.bootstrap, &stage.input, aborted, end).unwrap();
    said(&mut run(&stage), "caught up; 1 records settled: 1 handled;");
}

#[test]
fn a_run_ends_with_a_dead_letter() {
    let stage = Stage::new("letter", 1);
    stage.deploy("act", "");
    stage.produce(&["ok 0", "reject no", "ok 2"]);
    let mut host = run(&stage);
    said(
        &mut host,
        "caught up; 3 records settled: 2 handled, 1 dead-lettered;",
    );
    stage.letter(&host);
    assert_eq!(positions(&stage), [(0, 3)]);
}

#[test]
fn a_run_waits_for_a_retry() {
    for ordering in ["partition", "key"] {
        let stage = Stage::new("waits", 1);
        let manifest =
            format!("ordering = \"{ordering}\"\nconcurrency = 1\nretry.max-attempts = 2");
        stage.deploy("act", &manifest);
        // Longer than a run waits anyway.
        stage.produce(&["retry 6000 later", "ok 1"]);
        let mut host = run(&stage);
        let line = "caught up; 2 records settled: 1 handled, 1 dead-lettered; 1 retries";
        said(&mut host, line);
        assert_eq!(positions(&stage), [(0, 2)]);
    }
}

#[test]
fn a_run_names_the_partition_that_halted() {
    let stage = Stage::new("halted", 2);
    stage.deploy("act", "on-exhausted = \"halt\"\nretry.max-attempts = 1");
    stage.produce_on(0, &["ok 0", "other no", "ok 2"]);
    stage.produce_on(1, &["ok 0"]);
    let mut host = ended(stage.serve(&["--until-caught-up"]), 1);
    said(
        &mut host,
        "error: not caught up; 2 records settled: 2 handled",
    );
    let line = format!(
        "{}[0] of group {} halted at offset 1",
        stage.input, stage.name
    );
    said(&mut host, &line);
    assert_eq!(positions(&stage), [(0, 1), (1, 1)]);
}

#[test]
fn a_run_names_the_topic_that_does_not_exist() {
    let stage = Stage::new("missing", 1);
    let lost = unique("lost");
    let manifest = stage.manifest("").replace(&stage.input, &lost);
    let act = guest("act");
    stage.folder.handler("lost", act, &manifest).unwrap();
    let mut host = ended(stage.serve(&["--until-caught-up"]), 1);
    said(
        &mut host,
        &format!(
            "topic {lost} of group {} does not exist (waited 30 s)",
            stage.name
        ),
    );
}

#[test]
fn a_run_ends_where_another_host_has_every_partition() {
    for protocol in ["classic", "consumer", "auto"] {
        let stage = Stage::new("shared", 1);
        stage.produce(&["ok 0"]);
        let more = format!("kafka.consumer.\"group.protocol\" = \"{protocol}\"");
        let first = stage.run("act", &more);
        stage.committed(&first, &[(0, 1)]);
        let line = "caught up; 0 records settled: 0 handled;";
        said(&mut run(&stage), line);
        first.stop().unwrap();
    }
}

#[test]
fn a_run_that_is_told_to_stop_says_that_it_has_not_caught_up() {
    let stage = Stage::new("told", 1);
    stage.deploy("act", "");
    stage.produce(&["ok 0", "retry 60000 later"]);
    let mut host = stage.serve(&["--until-caught-up"]);
    stage.committed(&host, &[(0, 1)]);
    host.term().unwrap();
    let mut host = ended(host, 1);
    said(&mut host, "told to stop before it had caught up");
}

#[test]
fn a_run_does_not_start_without_all_of_its_handlers() {
    let folder = HandlersDir::new().unwrap();
    let at = Kafka::shared().bootstrap();
    let start = || super::stage::start(at, folder.path(), &["--until-caught-up"]);
    let mut host = ended(start(), 1);
    said(
        &mut host,
        "no handler serves, so there is nothing to catch up with",
    );
    folder
        .handler("good", guest("act"), "topics = [\"orders\"]\n")
        .unwrap();
    folder
        .handler("bad", guest("act"), "topcs = [\"orders\"]\n")
        .unwrap();
    let mut host = ended(start(), 64);
    said(
        &mut host,
        "refusing to start, because --until-caught-up is given",
    );
    said(&mut host, "unknown key \"topcs\"");
    assert_eq!(count_lines(&host, &["subscribed"]), 0);
}

#[test]
fn max_records_stops_a_host() {
    const RECORDS: i64 = 2000;
    let traffic = Traffic::new(Kafka::shared(), "enough", 1);
    let handlers = traffic.handlers("pass", "", "[limits]\nin-flight-records = 10");
    traffic.produce((0..RECORDS.unsigned_abs()).map(number));
    let host = traffic.host(&handlers).args(["--max-records", "10"]);
    let mut host = ended(host.start().unwrap(), 0);
    said(&mut host, "stopped at --max-records; ");
    let committed = traffic.committed();
    println!("{committed} committed");
    assert!((10..=RECORDS).contains(&committed), "{}", host.tail());
    assert_eq!(
        committed,
        traffic.output_count(),
        "what is out is committed"
    );
    let host = traffic.host(&handlers).args(["--until-caught-up"]);
    ended(host.start().unwrap(), 0);
    assert_eq!(
        (traffic.committed(), traffic.output_count()),
        (RECORDS, RECORDS)
    );
}

#[test]
fn a_host_waits_for_more_while_it_has_not_settled_enough() {
    let stage = Stage::new("more", 1);
    stage.deploy("act", "");
    stage.produce(&["ok 0", "ok 1"]);
    let host = stage.serve(&["--max-records", "3"]);
    stage.committed(&host, &[(0, 2)]);
    let served = wait_until("an answer", PATIENCE, || {
        host.get("/livez").is_ok_and(|(status, _)| status == 200)
    });
    served.unwrap();
    stage.produce(&["reject no"]);
    let mut host = ended(host, 0);
    said(
        &mut host,
        "stopped at --max-records; 3 records settled: 2 handled, 1 dead-lettered;",
    );
    assert_eq!(positions(&stage), [(0, 3)]);
}
