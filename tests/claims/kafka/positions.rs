//! Where a group reads: from where it begins, and how its positions are moved from outside.
//!
//! It is handed one stage for each test, with records whose timestamps the test chooses.
//! **Invariant:** positions are read back from Kafka, never taken from what the host prints.

use harness::clients;
use harness::{Host, TestRecord};

use super::stage::{PATIENCE, Stage, field, value_on, wait_lines};

/// 2026-01-31T00:00:00Z in milliseconds since the Unix epoch.
const MIDNIGHT_MS: i64 = 1_769_817_600_000;
const HOUR_MS: i64 = 3_600_000;

/// A record of partition 0 that was written so many hours after midnight.
fn at_hour(hour: i64) -> TestRecord {
    TestRecord {
        timestamp_ms: Some(MIDNIGHT_MS + hour * HOUR_MS),
        ..value_on(0, &format!("ok {hour}"))
    }
}

fn hours_ago(hours: i64) -> TestRecord {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now_ms = i64::try_from(now.unwrap().as_millis()).unwrap();
    TestRecord {
        timestamp_ms: Some(now_ms - hours * HOUR_MS),
        ..value_on(0, &format!("ok {hours} hours ago"))
    }
}

/// How many records of the input a host handled.
fn handled(host: &Host) -> f64 {
    host.metric("kafka_wasm_records_total", &[("outcome", "handled")])
        .unwrap()
}

/// Waits until the whole input is committed, and returns how many records were handled for it.
fn handled_to_the_end(stage: &Stage, host: &Host) -> f64 {
    let ends = clients::end_offsets(&stage.bootstrap, &stage.input).unwrap();
    stage.committed(host, &ends);
    handled(host)
}

#[test]
fn a_group_starts_at_a_point_in_time() {
    let stage = Stage::new("since", 1);
    stage.produce_records([at_hour(-2), at_hour(-1), at_hour(0), at_hour(1), at_hour(2)]);
    let host = stage.run("act", "start = \"2026-01-31T01:30:00+01:00\"");
    // Midnight has passed half an hour ago: the records of one and of two o'clock are left.
    assert_eq!(handled_to_the_end(&stage, &host), 2.0);
    host.stop().unwrap();
}

#[test]
fn a_group_starts_some_hours_ago() {
    let stage = Stage::new("ago", 1);
    stage.produce_records([hours_ago(30), hours_ago(5), hours_ago(3), hours_ago(1)]);
    let host = stage.run("act", "start = \"-4h\"");
    assert_eq!(handled_to_the_end(&stage, &host), 2.0);
    host.stop().unwrap();
}

#[test]
fn a_time_after_the_last_record_is_the_end() {
    let stage = Stage::new("future", 1);
    stage.produce_records([at_hour(0), at_hour(1)]);
    let mut host = stage.run("act", "start = \"2026-02-01T00:00:00Z\"");
    let line = host.wait_for_line("reading begins here", PATIENCE).unwrap();
    assert!(line.contains("offset=2"), "{line}");
    // Where it begins does not depend on what is written from now on.
    stage.produce_records([at_hour(2)]);
    assert_eq!(handled_to_the_end(&stage, &host), 1.0);
    host.stop().unwrap();
}

#[test]
fn a_group_starts_at_an_offset_or_at_the_nearest_one() {
    let stage = Stage::new("offset", 2);
    stage.produce_on(0, &["ok 0", "ok 1", "ok 2", "ok 3", "ok 4"]);
    stage.produce_on(1, &["ok 0"]);
    let host = stage.run("act", "start = \"offset:3\"");
    wait_lines(
        &host,
        &["does not have the offset", "partition=1", "high=1"],
        1,
    );
    stage.produce_on(1, &["ok 1"]);
    assert_eq!(handled_to_the_end(&stage, &host), 3.0);
    host.stop().unwrap();
}

#[test]
fn a_committed_position_wins_over_start() {
    let stage = Stage::new("wins", 2);
    stage.produce_on(0, &["ok 0", "ok 1", "ok 2", "ok 3"]);
    stage.produce_on(1, &["ok 0", "ok 1", "ok 2"]);
    let place = (stage.input.as_str(), 0);
    clients::commit_metadata(&stage.bootstrap, &stage.name, place, 1, "").unwrap();
    let host = stage.run("act", "start = \"offset:2\"");
    // Three of the partition with a position, one of that without.
    assert_eq!(handled_to_the_end(&stage, &host), 4.0);
    host.stop().unwrap();
    stage.produce(&["ok 4"]);
    let host = stage.serve(&[]);
    assert_eq!(handled_to_the_end(&stage, &host), 1.0);
    host.stop().unwrap();
}

#[test]
fn a_start_at_the_end_skips_nothing_that_comes_while_nobody_reads() {
    let stage = Stage::new("from-end", 1);
    stage.produce(&["ok before"]);
    let host = stage.run("act", "start = \"latest\"\n");
    // No record was settled, and all the same it is known where reading began.
    stage.committed(&host, &[(0, 1)]);
    host.stop().unwrap();
    stage.produce(&["ok while nobody reads"]);
    let host = stage.serve(&[]);
    let output = stage.outputs(&host, 1).remove(0);
    assert_eq!(field(&output, "value"), "ok while nobody reads");
    host.stop().unwrap();
}
