//! Batches in one block of bytes: what reaches a handler, and when it is called so.
//!
//! The fixtures `bulk`, `bulk-list` and `bulk-view` tell all parts of the records that they were handed.
//! **Invariant:** records are compared with what was produced, not only with each other.

use harness::TestRecord;
use serde_json::{Value, json};

use super::batches::BATCHES;
use super::stage::{Stage, json as parsed, value_on};

/// One of each kind that could be mistaken for another.
fn records() -> Vec<TestRecord> {
    let header = |record: TestRecord, name, value| record.header(name, value);
    let keyed = |key: &[u8]| TestRecord::new(key, "value").on(0);
    let mut timed = keyed(b"timed");
    timed.timestamp_ms = Some(1_700_000_000_123);
    vec![
        timed,
        TestRecord::default().on(0),
        TestRecord::new("", "").on(0),
        header(
            header(keyed(b"\xff\0"), "a", Some(b"1".as_slice())),
            "a",
            None,
        ),
        header(value_on(0, "\u{e9}"), "\u{e9}", Some(b"".as_slice())),
    ]
}

/// What a fixture says of the records of its only batch.
fn dumped(fixture: &str) -> Value {
    let stage = Stage::new("packed", 1);
    stage.produce_records(records());
    let host = stage.run(fixture, &format!("{BATCHES}config.dump = true\n"));
    let mut told = parsed(&stage.outputs(&host, 1)[0])["records"].take();
    stage.committed(&host, &[(0, 5)]);
    for record in told.as_array_mut().unwrap() {
        assert_eq!(record["topic"], stage.input);
        record["topic"] = Value::Null;
        // Those that were not given one have the time of their production.
        if record["offset"] != 0 {
            assert!(record["timestamp"].as_i64().unwrap() > 1_700_000_000_123);
            record["timestamp"] = Value::Null;
        }
    }
    told
}

#[test]
fn a_packed_batch_has_what_a_list_has() {
    let told = |nth: usize, record: &TestRecord| {
        json!({
            "topic": null,
            "partition": 0,
            "offset": nth,
            "timestamp": record.timestamp_ms,
            "key": record.key,
            "value": record.value,
            "headers": record.headers.clone().unwrap_or_default(),
        })
    };
    let records = records();
    let expected: Value = records
        .iter()
        .enumerate()
        .map(|(nth, it)| told(nth, it))
        .collect();
    for fixture in ["bulk-list", "bulk", "bulk-view"] {
        assert_eq!(dumped(fixture), expected, "{fixture}");
    }
}

#[test]
fn of_both_interfaces_for_batches_the_packed_one_is_called() {
    let stage = Stage::new("packed-first", 1);
    stage.produce(&["a", "b"]);
    let host = stage.run("hooks", BATCHES);
    let traces = stage.outputs(&host, 3);
    let hooks = traces.iter().map(|trace| parsed(trace)["hook"].take());
    let hooks: Vec<_> = hooks.collect();
    assert_eq!(hooks, ["did-receive-bulk", "on-bulk", "on-finished"]);
}
