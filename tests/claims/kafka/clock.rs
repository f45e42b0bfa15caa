//! The wall clock of a host is set while it runs, and two hosts have different ones.
//!
//! It is handed one stage for each test, and hosts with clocks of their own.
//! **Invariant:** nothing waits for the time of day; it is only written down.

use std::time::SystemTime;

use harness::{Host, Kafka, TestRecord, WallClock};
use tempfile::TempDir;

use super::stage::{PATIENCE, Stage, is, said, verdict};

const HALF_AN_HOUR_S: i64 = 1800;

/// A clock, and the folder of its file.
fn clock() -> (TempDir, WallClock) {
    let folder = tempfile::tempdir().unwrap();
    let clock = WallClock::new(&folder.path().join("clock")).unwrap();
    (folder, clock)
}

/// How far the clock of whoever wrote a record just now is ahead of that of the machine.
fn minutes_ahead(record: &TestRecord) -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now_ms = i64::try_from(now.unwrap().as_millis()).unwrap();
    let ahead_ms = record.timestamp_ms.unwrap() - now_ms;
    // A record is read some time after it was written.
    (ahead_ms + 59_999).div_euclid(60_000)
}

fn serve(stage: &Stage, clock: &WallClock) -> Host {
    let mut host = Host::builder(&stage.bootstrap)
        .handlers(stage.folder.path())
        .clock(clock)
        .start()
        .unwrap();
    host.wait_until_ready(PATIENCE).unwrap();
    host
}

#[test]
fn a_host_goes_on_when_its_clock_is_set() {
    let stage = Stage::new("clock-set", 1);
    stage.deploy("act", "");
    let (_folder, clock) = clock();
    let host = serve(&stage, &clock);
    stage.produce(&["ok"]);
    stage.committed(&host, &[(0, 1)]);
    // The waits that are under way at that moment are those that would end an hour later.
    for (nth, ahead_s) in (2..).zip([-2 * HALF_AN_HOUR_S, HALF_AN_HOUR_S, 0]) {
        clock.set(ahead_s).unwrap();
        stage.produce(&["ok"]);
        let outputs = stage.outputs(&host, nth);
        assert_eq!(minutes_ahead(&outputs[nth - 1]), ahead_s / 60);
        stage.committed(&host, &[(0, nth as i64)]);
    }
    host.stop().unwrap();
}

#[test]
fn a_wait_in_a_topic_is_no_longer_where_its_writer_had_another_clock() {
    let stage = Stage::new("clock-due", 1);
    let topic = format!("{}.retry.1s", stage.name);
    stage.create_topic(&topic, 1);
    let manifest = "ordering = \"none\"\nretry.topic-delays-ms = [1000]\nretry.max-attempts = 2\n";
    stage.deploy("act", manifest);
    let (_folder, clock) = clock();
    clock.set(HALF_AN_HOUR_S).unwrap();
    let host = serve(&stage, &clock);
    stage.produce_records([TestRecord::new("key", "retry 5000 again").on(0)]);
    let wait = stage.exactly(&topic, &host, 1).remove(0);
    assert_eq!(minutes_ahead(&wait), HALF_AN_HOUR_S / 60);
    host.stop().unwrap();
    // Whoever goes on has the right time, by which the record is due in half an hour.
    clock.set(0).unwrap();
    let host = serve(&stage, &clock);
    let letter = stage.letter(&host);
    assert_eq!(verdict(&letter), is("retry", "2"));
    assert_eq!(said(&letter, "offset"), "0");
    host.stop().unwrap();
}

#[test]
fn what_a_clock_far_ahead_stamps_is_refused_and_a_clock_that_is_right_again_goes_on() {
    let stage = Stage::without_dead_letters("clock-ahead", 1);
    // Its time is that of the broker: only the outputs are refused.
    let by_broker = [("message.timestamp.type", "LogAppendTime")];
    Kafka::shared()
        .create_topic(&stage.dead_letters, 1, &by_broker)
        .unwrap();
    stage.deploy("act", "");
    let (_folder, clock) = clock();
    // Further than brokers take a record from the future.
    clock.set(4 * HALF_AN_HOUR_S).unwrap();
    let host = serve(&stage, &clock);
    stage.produce(&["ok #1", "ok #2", "ok #3"]);
    for letter in stage.letters(&host, 3) {
        assert_eq!(verdict(&letter), is("emit", "1"));
    }
    clock.set(0).unwrap();
    stage.produce(&["ok #4"]);
    stage.outputs(&host, 1);
    stage.committed(&host, &[(0, 4)]);
    host.stop().unwrap();
}
