//! Partitions where so much waits that what is complete in between hardly fits into the metadata of a commit.
//!
//! Of the first records every other one waits, so that nothing of the map can be told as a run.
//! **Invariant:** the map is read back from Kafka, and counted against what came out.

use harness::{Host, TestRecord, clients, guest, wait_until};
use kafka_wasm_host::offset_map::{METADATA_BYTES_MAX, OffsetMap};

use super::stage::{PATIENCE, Stage};

const RECORDS: i64 = 30_000;
/// As many records as a map has room for, of which every other one waits.
const MIXED: i64 = 24_000;
const BY_KEY: &str = "ordering = \"key\"\nconcurrency = 4\nlimits.in-flight-records = 20000\n\
                      limits.deadline-ms = 10000\nretry.max-attempts = 2\n";

/// Records of keys of their own; of the mixed ones every other waits for so long, and the first for an hour.
fn every_other_waits(wait_ms: u32) -> impl Iterator<Item = TestRecord> {
    (0..RECORDS).map(move |nth| {
        let deed = match nth {
            0 => "retry 3600000 later".to_owned(),
            _ if nth < MIXED && nth % 2 == 0 => format!("retry {wait_ms} later"),
            _ => "ok".to_owned(),
        };
        TestRecord::new(nth.to_string(), deed).on(0)
    })
}

/// How many records the commit says are complete above the position, which stays at the first one.
fn told_complete(stage: &Stage) -> i64 {
    let told = clients::committed_metadata(&stage.bootstrap, &stage.name, &stage.input).unwrap();
    let Some((_, offset, metadata)) = told.first() else {
        return 0;
    };
    assert_eq!(*offset, 0);
    assert!(metadata.len() <= METADATA_BYTES_MAX, "{}", metadata.len());
    let map = OffsetMap::decode(metadata, 0).unwrap();
    map.map_or(0, |map| map.runs().map(|run| run.end - run.start).sum())
}

fn end_of(stage: &Stage, topic: &str) -> i64 {
    clients::end_offsets(&stage.bootstrap, topic).unwrap()[0].1
}

/// Partitions that take no more; `None` before the first one is served.
fn full(host: &Host) -> Option<f64> {
    host.metric("kafka_wasm_map_full_partitions", &[]).ok()
}

fn wait(host: &Host, what: &str, condition: impl FnMut() -> bool) {
    let waited = wait_until(what, PATIENCE, condition);
    waited.unwrap_or_else(|error| panic!("{error}\n{}", host.tail()));
}

#[test]
fn a_partition_takes_no_more_than_its_map_has_room_for_and_repeats_nothing_after_a_kill() {
    let stage = Stage::new("full-map", 1);
    stage.produce_records(every_other_waits(3_600_000));
    let more = format!("{BY_KEY}\"kafka\".consumer.\"session.timeout.ms\" = 6000\n");
    let mut host = stage.run("act", &more);
    wait(&host, "a full map that is committed", || {
        full(&host) == Some(1.0) && told_complete(&stage) == end_of(&stage, &stage.output)
    });
    let complete = told_complete(&stage);
    // The limit of records in flight would have allowed for more.
    assert!(
        (MIXED / 2..RECORDS - MIXED / 2).contains(&complete),
        "{complete}"
    );
    host.kill9();

    // Another handler has all that waited, and what was not taken.
    stage
        .folder
        .swap_component(&stage.name, guest("pass"))
        .unwrap();
    let host = stage.serve(&[]);
    stage.committed(&host, &[(0, RECORDS)]);
    let before = host.metric("kafka_wasm_completed_before_total", &[]);
    assert_eq!(before.unwrap(), complete as f64);
    assert_eq!(end_of(&stage, &stage.output), RECORDS);
    host.stop().unwrap();
}

#[test]
fn a_partition_takes_more_when_what_filled_its_map_is_settled() {
    let stage = Stage::new("map-empties", 1);
    stage.produce_records(every_other_waits(5000));
    let host = stage.run("act", BY_KEY);
    wait(&host, "a full map", || full(&host) == Some(1.0));
    // Those that waited become dead letters, all but the first one.
    wait(&host, "all but the first record", || {
        told_complete(&stage) == RECORDS - 1
    });
    assert_eq!(end_of(&stage, &stage.output), RECORDS - MIXED / 2);
    assert_eq!(end_of(&stage, &stage.dead_letters), MIXED / 2 - 1);
    assert_eq!(full(&host), Some(0.0));
    host.stop().unwrap();
}
