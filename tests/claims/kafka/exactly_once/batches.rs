//! Exactly once where records come in batches, of a key or of any.
//!
//! It is handed one stage for each test; the fixture `bulk` tells which records each batch had.
//! **Invariant:** every record is looked for in the batches that a reader of committed records sees, not only their number.

use std::collections::BTreeMap;

use harness::{Kafka, TestRecord, clients, wait_until};
use serde_json::Value;

use super::super::stage::{PATIENCE, Stage, count_lines, is, json, said, verdict};
use super::{ONCE, TAKEOVER, counts, keyed};

const BULK: &str = "concurrency = 4\nconfig.dump = true\nretry.max-attempts = 1\nbulk.max-records = 10\n\
                    bulk.max-wait-ms = 50\n";

/// The keys and offsets of the records that were handled, in the order in which their batches came out.
fn handled(batches: &[TestRecord]) -> Vec<(String, i64)> {
    let records = batches.iter().flat_map(|batch| {
        let records = json(batch)["records"].take();
        records.as_array().unwrap().clone()
    });
    let key =
        |record: &Value| -> Vec<u8> { serde_json::from_value(record["key"].clone()).unwrap() };
    records
        .map(|record| {
            let key = String::from_utf8(key(&record)).unwrap();
            (key, record["offset"].as_i64().unwrap())
        })
        .collect()
}

/// Asserts that the records of each key came out in their order.
fn in_order_by_key(handled: &[(String, i64)]) {
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    for (key, offset) in handled {
        let before = last.insert(key, *offset);
        assert!(
            before.is_none_or(|before| before < *offset),
            "{key}: {offset} after {before:?}"
        );
    }
}

/// Kills a host amidst its batches, and counts what came of them under another.
fn is_once(name: &str, ordering: &str) {
    const RECORDS: usize = 4000;
    let stage = Stage::new(name, 1);
    // So slow that the host surely has not done all when the first batches are seen.
    let slow = format!("{ONCE}{BULK}ordering = \"{ordering}\"\nconfig.sleep-ms = 20\n");
    stage.produce_records((0..RECORDS).map(|n| keyed(&format!("key-{}", n % 40), "ok")));
    let mut host = stage.run("bulk", &slow);
    clients::consume_until(&stage.bootstrap, &stage.output, 20, PATIENCE)
        .unwrap_or_else(|error| panic!("{error}\n{}", host.tail()));
    host.kill9();
    let before = handled(&stage.read(&stage.output)).len();
    assert!(before < RECORDS, "all was done before the host was killed");
    let host = stage.serve(&[]);
    let mut found = Vec::new();
    let waited = wait_until("all records are handled", TAKEOVER, || {
        found = handled(&stage.read(&stage.output));
        found.len() >= RECORDS
    });
    assert!(waited.is_ok(), "{} records\n{}", found.len(), host.tail());
    stage.committed(&host, &[(0, i64::try_from(RECORDS).unwrap())]);
    let found = handled(&stage.read(&stage.output));
    let often = counts(found.iter().map(|(_, offset)| *offset));
    let repeated: Vec<_> = often.iter().filter(|(_, times)| **times > 1).collect();
    assert!(repeated.is_empty(), "{repeated:?}");
    assert_eq!(often.len(), RECORDS);
    if ordering == "key" {
        in_order_by_key(&found);
    }
    host.stop().unwrap();
}

#[test]
fn each_batch_of_a_key_is_seen_once_and_in_order_though_its_host_is_killed() {
    is_once("once-key-batches", "key");
}

#[test]
fn each_batch_of_any_records_is_seen_once_though_its_host_is_killed() {
    is_once("once-free-batches", "none");
}

/// Of many records one has an output that is too large and one an output for no topic at all.
fn finds_the_guilty(name: &str, ordering: &str) {
    let stage = Stage::new(name, 1);
    let small = format!("{}.small", stage.name);
    // It must have room for the marks of transactions.
    let limit = [("max.message.bytes", "80")];
    Kafka::shared().create_topic(&small, 1, &limit).unwrap();
    let guilty = [
        (57, format!("emit-to {small}")),
        (133, format!("emit-to {}.nowhere", stage.name)),
    ];
    let value = |n: i64| {
        let found = guilty.iter().find(|(offset, _)| *offset == n);
        found.map_or("ok", |(_, value)| value)
    };
    stage.produce_records((0..300).map(|n| keyed(&format!("key-{}", n % 5), value(n))));
    stage.deploy("bulk", &format!("{ONCE}{BULK}ordering = \"{ordering}\"\n"));
    let host = stage.serve(&["--kafka-setting", "topic.metadata.propagation.max.ms=500"]);
    stage.committed(&host, &[(0, 300)]);
    let mut letters = stage.letters(&host, 2);
    letters.sort_by_key(|letter| said(letter, "offset").parse::<i64>().unwrap());
    for (letter, (offset, value)) in letters.iter().zip(&guilty) {
        assert_eq!(said(letter, "offset"), offset.to_string());
        assert_eq!(letter.text(), *value);
        assert_eq!(verdict(letter), is("emit", "1"));
    }
    let found = handled(&stage.read(&stage.output));
    let mut offsets: Vec<i64> = found.iter().map(|(_, offset)| *offset).collect();
    offsets.sort_unstable();
    let expected = (0..300).filter(|n| guilty.iter().all(|(offset, _)| offset != n));
    assert_eq!(offsets, expected.collect::<Vec<_>>());
    if ordering == "key" {
        in_order_by_key(&found);
    }
    assert_eq!(stage.read(&small), []);
    // At most once for the batch and once for the record, of each.
    let aborted = count_lines(&host, &["the transaction is aborted"]);
    assert!((1..=4).contains(&aborted), "{aborted}\n{}", host.tail());
    host.stop().unwrap();
}

#[test]
fn a_refused_output_of_a_batch_of_a_key_gives_up_only_its_own_record() {
    finds_the_guilty("once-key-refused", "key");
}

#[test]
fn a_refused_output_of_a_batch_of_any_records_gives_up_only_its_own_record() {
    finds_the_guilty("once-free-refused", "none");
}
