//! Batches: what fails in them record by record, and what fails with all of them.
//!
//! It is handed one stage for each test; the fixture `bulk` emits a summary of each batch that it was handed.
//! **Invariant:** the summaries say which records were handled together, so none is handled twice unseen.

use harness::{Kafka, TestRecord, guest, wait_until};
use serde_json::Value;

use super::stage::{
    PATIENCE, Stage, count_lines, field, is, json, said, texts, value_on, verdict, wait_lines,
};

/// A batch of all that waits when the host starts.
pub(super) const BATCHES: &str = "retry.max-attempts = 2\nretry.initial-ms = 10\nbulk.max-records = 5\nbulk.max-wait-ms = 1000\n";

#[test]
fn a_batch_fails_record_by_record() {
    // By the packed interface, and by that of lists.
    for fixture in ["bulk", "bulk-list"] {
        fails_record_by_record(fixture);
    }
}

fn fails_record_by_record(fixture: &str) {
    let stage = Stage::new("bulk", 1);
    stage.produce(&["a", "bad", "b", "again", "c"]);
    let host = stage.run(fixture, BATCHES);
    let letters = stage.letters(&host, 2);
    assert_eq!(texts(&letters), ["bad", "again"]);
    let told: Vec<_> = letters
        .iter()
        .map(|letter| (said(letter, "error-kind"), said(letter, "attempts")))
        .collect();
    assert_eq!(
        told,
        [("reject".into(), "1".into()), ("other".into(), "2".into())]
    );
    assert_eq!(said(&letters[0], "error"), "bad on purpose");
    stage.committed(&host, &[(0, 5)]);
    // Where every record of a batch fails, as in the second one, what it emitted is dropped.
    let sizes: Vec<_> = stage
        .outputs(&host, 1)
        .iter()
        .map(|summary| {
            [
                field(summary, "count"),
                field(summary, "first"),
                field(summary, "last"),
            ]
        })
        .collect();
    assert_eq!(sizes, [["5", "0", "4"]]);
}

#[test]
fn a_compacted_batch_has_the_last_record_of_each_key() {
    let stage = Stage::new("bulk-compacted", 1);
    let keyed = |key: &str, value: &str| TestRecord::new(key, value).on(0);
    stage.produce_records([
        keyed("a", "1"),
        keyed("b", "1"),
        keyed("a", "fail-all"),
        keyed("a", "3"),
        TestRecord::default().on(0),
        TestRecord::default().on(0),
    ]);
    let all = BATCHES.replace("max-records = 5", "max-records = 6");
    let host = stage.run("bulk", &format!("{all}bulk.compact = true\n"));
    let summary = stage.outputs(&host, 1).remove(0);
    let told = ["count", "first", "last"].map(|name| field(&summary, name));
    assert_eq!(told, ["4", "1", "5"]);
    stage.committed(&host, &[(0, 6)]);
    let compacted = host.metric("kafka_wasm_records_total", &[("outcome", "compacted")]);
    assert_eq!(compacted.unwrap(), 2.0);
    host.stop().unwrap();
}

#[test]
fn a_failing_batch_is_halved_until_the_poison_record_is_alone() {
    for fixture in ["bulk", "bulk-list"] {
        is_halved(fixture);
    }
}

fn is_halved(fixture: &str) {
    let stage = Stage::new("bulk-halves", 1);
    let values: Vec<String> = (0..16)
        .map(|n| {
            if n == 5 {
                "fail-all".into()
            } else {
                format!("v{n}")
            }
        })
        .collect();
    stage.produce(&values.iter().map(String::as_str).collect::<Vec<_>>());
    let whole = BATCHES.replace("max-records = 5", "max-records = 16");
    let host = stage.run(fixture, &whole);
    let letter = stage.letter(&host);
    assert_eq!(letter.text(), "fail-all");
    assert_eq!(said(&letter, "error"), "the whole batch fails on purpose");
    stage.committed(&host, &[(0, 16)]);
    // Twice with all 16, then once with each half that holds it.
    assert_eq!(count_lines(&host, &["attempt failed"]), 2 + 4);
    let parts: Vec<_> = stage
        .outputs(&host, 4)
        .iter()
        .map(|part| (field(part, "first"), field(part, "last")))
        .collect();
    // A failed part emits nothing, and the others are handled once, in their order.
    let expected = [("0", "3"), ("4", "4"), ("6", "7"), ("8", "15")];
    assert_eq!(
        parts,
        expected.map(|(first, last)| (first.to_owned(), last.to_owned()))
    );
}

#[test]
fn a_handler_of_batches_needs_no_bulk_table() {
    let stage = Stage::new("bulk-default", 1);
    stage.produce(&["a", "b"]);
    let host = stage.run("bulk", "");
    stage.committed(&host, &[(0, 2)]);
    let summaries = stage.read(&stage.output);
    let records: u64 = summaries
        .iter()
        .map(|summary| json(summary)["count"].as_u64().unwrap())
        .sum();
    assert_eq!(records, 2);
    let bulk = host.metric("kafka_wasm_bulk_partitions", &[]);
    assert_eq!(bulk.unwrap(), 1.0);
}

#[test]
fn a_bulk_table_that_does_not_fit_the_hooks_is_refused() {
    let by_lag = "bulk.enter-lag = 60\nbulk.exit-lag = 20\n";
    for (fixture, more, what) in [
        ("bulk", by_lag, "takes batches only"),
        ("act", "bulk.max-records = 5\n", "has no on-bulk"),
    ] {
        let stage = Stage::new("bulk-misfit", 1);
        let host = stage.run(fixture, more);
        wait_lines(&host, &["handler.toml", "bulk", what], 1);
        host.stop().unwrap();
    }
}

/// What a trace of the fixture `hooks` says was handled: the first offset, and how many records.
fn handled(trace: &TestRecord) -> Option<(u64, usize)> {
    let trace = json(trace);
    match trace["hook"].as_str()? {
        "on-message" => Some((trace["offset"].as_u64()?, 1)),
        "on-bulk" => Some((
            trace.pointer("/records/0/offset").and_then(Value::as_u64)?,
            trace["records"].as_array()?.len(),
        )),
        _ => None,
    }
}

#[test]
fn a_partition_that_lags_behind_is_handled_in_batches() {
    const BY_LAG: &str = "bulk.max-records = 50\nbulk.max-wait-ms = 5000\nbulk.enter-lag = 60\nbulk.exit-lag = 20\n\
                          retry.max-attempts = 2\nretry.initial-ms = 3000\nretry.jitter = 0\n";
    let (in_batches, one_by_one) = ("records come in batches", "records come one by one");
    let stage = Stage::new("bulk-by-lag", 1);
    stage.produce(&["v"; 110]);
    let host = stage.run("hooks", BY_LAG);
    stage.committed(&host, &[(0, 110)]);
    assert_eq!(count_lines(&host, &[in_batches, "lag_records=110"]), 1);
    assert_eq!(count_lines(&host, &[one_by_one, "lag_records=10"]), 1);
    // One that is tried again holds the partition, so that others gather behind it.
    stage.produce_records([value_on(0, "fail").header("verdict", Some(b"retry"))]);
    wait_lines(&host, &["attempt failed", "offset=110"], 1);
    stage.produce(&["v"; 100]);
    stage.committed(&host, &[(0, 211)]);
    stage.produce(&["v"]);
    stage.committed(&host, &[(0, 212)]);
    // Its attempts are counted on, though batches begin meanwhile.
    assert_eq!(said(&stage.letter(&host), "attempts"), "2");
    let traces = stage.outputs(&host, 4 * 3 + 11 * 3 + 1);
    let calls: Vec<_> = traces.iter().filter_map(handled).collect();
    let singles = (100..110).map(|offset| (offset, 1));
    let expected: Vec<_> = [(0, 50), (50, 50)]
        .into_iter()
        .chain(singles)
        .chain([(111, 50), (161, 50), (211, 1)])
        .collect();
    assert_eq!(calls, expected);
    assert_eq!(count_lines(&host, &[in_batches]), 2);
    assert_eq!(count_lines(&host, &[one_by_one]), 2);
    let bulk = host.metric("kafka_wasm_bulk_partitions", &[]);
    assert_eq!(bulk.unwrap(), 0.0);
}

#[test]
fn a_batch_is_bounded_by_records_by_bytes_and_by_time() {
    let sizes = |values: &[&str], bounds: &str, batches: usize| -> Vec<String> {
        let stage = Stage::new("bulk-bounds", 1);
        stage.produce(values);
        let host = stage.run("bulk", bounds);
        let summaries = stage.outputs(&host, batches);
        host.stop().unwrap();
        summaries
            .iter()
            .map(|summary| field(summary, "count"))
            .collect()
    };
    let long_wait = "bulk.max-wait-ms = 2000\n";
    let by_records = format!("bulk.max-records = 3\n{long_wait}");
    assert_eq!(sizes(&["v"; 7], &by_records, 3), ["3", "3", "1"]);
    // Ten bytes hold two values of four; one that is larger than all is a batch of its own.
    let by_bytes = format!("bulk.max-bytes = 10\n{long_wait}");
    let values = ["four", "four", "four", "more than ten", "four"];
    assert_eq!(sizes(&values, &by_bytes, 4), ["2", "1", "1", "1"]);
    // One that holds more than is fetched from the queue at once does not wait where more is there.
    let large = "bulk.max-records = 1200\nbulk.max-wait-ms = 100000\n";
    assert_eq!(sizes(&["v"; 2400], large, 2), ["1200", "1200"]);
    // Far from full, it is handed over when its first record has waited for so long.
    let by_time = "bulk.max-records = 1000\nbulk.max-wait-ms = 300\n";
    assert_eq!(sizes(&["v", "v"], by_time, 1), ["2"]);
}

#[test]
fn a_batch_that_waits_for_its_next_attempt_holds_nothing_up_but_its_partition() {
    let stage = Stage::new("bulk-waits", 1);
    stage.produce(&["a", "b", "again", "c"]);
    let waits = "retry.initial-ms = 6000\nretry.jitter = 0.0\nbulk.max-records = 2\n";
    let host = stage.run("bulk", waits);
    // What came before is committed meanwhile, and the instance is gone.
    stage.committed(&host, &[(0, 2)]);
    let rests = wait_until("the memory of the instance", PATIENCE, || {
        host.metric("kafka_wasm_guest_memory_bytes", &[]).unwrap() == 0.0
    });
    rests.unwrap_or_else(|error| panic!("{error}\n{}", host.tail()));
    assert_eq!(
        stage.outputs(&host, 2).len(),
        2,
        "the record was tried again already"
    );
    // The next attempt is that of the handler which serves by then, here one of single records.
    let manifest = stage.manifest("config.label = \"new\"\n");
    stage.folder.swap_manifest(&stage.name, &manifest).unwrap();
    stage
        .folder
        .swap_component(&stage.name, guest("act"))
        .unwrap();
    let output = stage.outputs(&host, 3).remove(2);
    assert_eq!(
        [field(&output, "label"), field(&output, "offset")],
        ["new", "2"]
    );
    stage.committed(&host, &[(0, 4)]);
    host.stop().unwrap();
}

/// A topic that takes only records of so many bytes, with all that Kafka puts around them.
fn narrow(stage: &Stage, bytes: &str) -> String {
    let topic = format!("{}.narrow", stage.name);
    let limit = [("max.message.bytes", bytes)];
    Kafka::shared().create_topic(&topic, 1, &limit).unwrap();
    topic
}

#[test]
fn a_refused_output_of_a_batch_gives_up_only_the_record_that_emitted_it() {
    for ordering in ["partition", "key", "none"] {
        gives_up_one(ordering);
    }
}

fn gives_up_one(ordering: &str) {
    let stage = Stage::new("bulk-refused", 1);
    let guilty = format!("emit-to {}", narrow(&stage, "80"));
    let record = |n: i64| {
        let value = if n == 17 { &guilty } else { "v" };
        TestRecord::new(format!("key-{}", n % 3), value).on(0)
    };
    stage.produce_records((0..60).map(record));
    let by = "bulk.max-records = 20\nbulk.max-wait-ms = 1000\nretry.max-attempts = 3\n";
    let host = stage.run("bulk", &format!("ordering = \"{ordering}\"\n{by}"));
    stage.committed(&host, &[(0, 60)]);
    let letter = stage.letter(&host);
    assert_eq!(said(&letter, "offset"), "17");
    assert_eq!(verdict(&letter), is("emit", "1"));
    // The outputs of the others are there, and none of them twice.
    stage.outputs(&host, 3);
    let ended = |outcome| {
        let records = host.metric("kafka_wasm_records_total", &[("outcome", outcome)]);
        records.unwrap()
    };
    assert_eq!((ended("handled"), ended("dead_lettered")), (59.0, 1.0));
    host.stop().unwrap();
}

#[test]
fn a_refused_output_of_a_whole_batch_gives_up_all_of_its_records() {
    let stage = Stage::new("bulk-sum-refused", 1);
    let output = |topic: &str| format!("config.output = \"{topic}\"");
    let narrow = narrow(&stage, "300");
    let manifest = stage.manifest(&format!("{BATCHES}config.dump = true\n"));
    let manifest = manifest.replace(&output(&stage.output), &output(&narrow));
    let folder = &stage.folder;
    folder
        .swap_in(&stage.name, guest("bulk"), &manifest)
        .unwrap();
    stage.produce(&["v"; 5]);
    let host = stage.serve(&[]);
    stage.committed(&host, &[(0, 5)]);
    for letter in stage.letters(&host, 5) {
        assert_eq!(verdict(&letter), is("emit", "1"));
    }
    assert_eq!(stage.read(&narrow), []);
    host.stop().unwrap();
}
