//! Batches where records of a partition do not all wait for each other: of one key, or of any.
//!
//! The fixture `bulk` tells which records it was handed together.
//! **Invariant:** batches are full before their time wherever enough records are there, so that their number is known.

use std::collections::BTreeMap;

use harness::{TestRecord, wait_until};
use serde_json::Value;

use super::stage::{PATIENCE, Stage, field, json, wait_lines};

const BULK: &str = "concurrency = 4\nconfig.dump = true\nretry.max-attempts = 2\nretry.jitter = 0\n\
                    bulk.max-wait-ms = 3000\n";

/// The offsets and values of each batch, with the key of its first record.
fn batches(summaries: &[TestRecord]) -> Vec<(Value, Vec<u64>)> {
    let batch = |summary| {
        let records = json(summary)["records"].take();
        let records = records.as_array().unwrap();
        let key = records[0]["key"].clone();
        assert!(
            records.iter().all(|record| record["key"] == key),
            "{records:?}"
        );
        let offset = |record: &Value| record["offset"].as_u64().unwrap();
        (key, records.iter().map(offset).collect())
    };
    summaries.iter().map(batch).collect()
}

#[test]
fn the_records_of_a_key_are_handled_in_batches_in_their_order() {
    let stage = Stage::new("key-batches", 1);
    // Of the second key one record makes its batch fail.
    let record = |nth: u64| {
        let value = if nth == 41 { "fail-all" } else { "v" };
        TestRecord::new([b"abcd"[usize::try_from(nth % 4).unwrap()]], value).on(0)
    };
    stage.produce_records((0..160).map(record));
    let more = format!("ordering = \"key\"\n{BULK}retry.initial-ms = 10\nbulk.max-records = 40\n");
    let host = stage.run("bulk", &more);
    stage.committed(&host, &[(0, 160)]);
    assert_eq!(stage.letter(&host).text(), "fail-all");
    let told = batches(&stage.read(&stage.output));
    let mut by_key: BTreeMap<Option<u64>, Vec<Vec<u64>>> = BTreeMap::new();
    for (key, offsets) in told {
        by_key.entry(key[0].as_u64()).or_default().push(offsets);
    }
    for (nth, (key, batches)) in (0u64..).zip(&by_key) {
        let handled: Vec<u64> = batches.iter().flatten().copied().collect();
        let expected = (0..160).filter(|offset| offset % 4 == nth && *offset != 41);
        assert_eq!(handled, expected.collect::<Vec<_>>(), "{key:?}");
        assert_eq!(batches.len() == 1, nth != 1, "{key:?}: {batches:?}");
    }
    assert_eq!(by_key.len(), 4);
    host.stop().unwrap();
}

#[test]
fn without_an_order_batches_are_of_any_records() {
    let stage = Stage::new("free-batches", 1);
    stage.produce(&["v"; 100]);
    let more = format!("ordering = \"none\"\n{BULK}bulk.max-records = 25\n");
    let host = stage.run("bulk", &more);
    let told = batches(&stage.outputs(&host, 4));
    assert!(
        told.iter().all(|(_, offsets)| offsets.len() == 25),
        "{told:?}"
    );
    let mut all: Vec<u64> = told.into_iter().flat_map(|(_, offsets)| offsets).collect();
    all.sort_unstable();
    assert_eq!(all, (0..100).collect::<Vec<_>>());
    stage.committed(&host, &[(0, 100)]);
}

#[test]
fn a_batch_that_is_tried_again_holds_only_its_own_key() {
    let stage = Stage::new("key-batch-retry", 1);
    let one_lane = BULK.replace("concurrency = 4", "concurrency = 1");
    let more =
        format!("ordering = \"key\"\n{one_lane}retry.initial-ms = 6000\nbulk.max-records = 2\n");
    let host = stage.run("bulk", &more);
    let of = |key: &str, values: &[&str]| {
        let record = |value: &&str| TestRecord::new(key, *value).on(0);
        stage.produce_records(values.iter().map(record).collect::<Vec<_>>());
    };
    of("a", &["fail-all", "a1"]);
    wait_lines(&host, &["attempt failed", "offset=0"], 1);
    of("a", &["a2", "a3"]);
    of("b", &["b0", "b1"]);
    let first = stage.outputs(&host, 1);
    assert_eq!(field(&first[0], "first"), "4");
    assert_eq!(stage.read(&stage.dead_letters), []);
    stage.committed(&host, &[(0, 6)]);
    assert_eq!(stage.letter(&host).text(), "fail-all");
    let told = batches(&stage.read(&stage.output));
    let offsets: Vec<_> = told.into_iter().map(|(_, offsets)| offsets).collect();
    assert_eq!(offsets, [vec![4, 5], vec![1], vec![2, 3]]);
}

#[test]
fn a_key_that_waits_does_not_keep_its_partition_in_batches() {
    const BY_LAG: &str = "ordering = \"key\"\nbulk.max-records = 10\nbulk.enter-lag = 60\nbulk.exit-lag = 20\n\
                          retry.initial-ms = 600000\nretry.max-ms = 600000\n";
    let stage = Stage::new("key-lag", 1);
    let of = |key: &str, count: usize| vec![TestRecord::new(key, "v").on(0); count];
    let failing = TestRecord::new("a", "fail").header("verdict", Some(b"retry"));
    let all = [vec![failing.on(0)], of("a", 39), of("b", 100)];
    stage.produce_records(all.concat());
    let host = stage.run("hooks", BY_LAG);
    wait_lines(&host, &["records come in batches"], 1);
    // Behind the one that waits for its next attempt lie more records of its key than batches end at.
    wait_lines(&host, &["records come one by one"], 1);
    stage.produce_records(of("b", 1));
    let is_alone = |trace: &TestRecord| {
        let trace = json(trace);
        trace["hook"] == "on-message" && trace["offset"] == 140
    };
    wait_until("a record by itself", PATIENCE, || {
        stage.read(&stage.output).iter().any(is_alone)
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", host.tail()));
    stage.committed(&host, &[(0, 0)]);
    host.stop().unwrap();
}

#[test]
fn batches_of_a_key_and_of_any_records_are_bounded_by_bytes() {
    // Whatever is not full would wait longer than the test does.
    const BYTES: &str = "bulk.max-bytes = 12\nbulk.max-wait-ms = 100000\n";
    for ordering in ["key", "none"] {
        let stage = Stage::new("lane-bytes", 1);
        // With its key each of the small ones has five bytes; the last one is larger than all.
        let values = ["four", "four", "four", "more than twelve"];
        stage.produce_records(values.map(|value| TestRecord::new("k", value).on(0)));
        let more = format!("ordering = \"{ordering}\"\nconcurrency = 1\n{BYTES}");
        let host = stage.run("bulk", &more);
        let summaries = stage.outputs(&host, 3);
        let counts: Vec<_> = summaries.iter().map(|it| field(it, "count")).collect();
        assert_eq!(counts, ["2", "1", "1"], "{ordering}");
        stage.committed(&host, &[(0, 4)]);
        host.stop().unwrap();
    }
}
