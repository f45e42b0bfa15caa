//! Records of a partition that do not all wait for each other: order within a key, or none.
//!
//! It is handed one stage for each test; the fixture `act` tells the offset of every record that it handled.
//! **Invariant:** what came out is read back from Kafka; times are only ever bounded from below.

use std::collections::BTreeMap;
use std::time::Duration;

use harness::{TestRecord, clients, guest, wait_until};

use super::stage::{
    PATIENCE, Stage, count_lines, field, never, texts, value_on, verdict, wait_lines,
};

/// A deed that waits for its next attempt for so long that no test sees it.
const IN_AN_HOUR: &str = "retry 3600000 later";
const BY_KEY: &str = "ordering = \"key\"\nlimits.deadline-ms = 10000\n";

/// A record with a key, for partition 0.
fn keyed(key: &str, value: &str) -> TestRecord {
    TestRecord::new(key, value).on(0)
}

/// So many records that are handled at once, of ten keys.
fn others(count: usize) -> impl Iterator<Item = TestRecord> {
    (0..count).map(|n| keyed(&format!("other-{}", n % 10), "ok"))
}

fn offset_of(output: &TestRecord) -> i64 {
    field(output, "offset").parse().unwrap()
}

/// Sees that the outputs of each key are in the order of their inputs; returns the offsets in the order of the outputs.
fn in_order_by_key(outputs: &[TestRecord]) -> Vec<i64> {
    let mut last: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
    for output in outputs {
        let (key, offset) = (output.key.clone().unwrap(), offset_of(output));
        if let Some(before) = last.insert(key, offset) {
            assert!(before < offset, "{before} came before {offset}: {output:?}");
        }
    }
    outputs.iter().map(offset_of).collect()
}

#[test]
fn equal_keys_keep_their_order_while_others_go_on() {
    let stage = Stage::new("by-key", 1);
    let host = stage.run("act", &format!("{BY_KEY}concurrency = 8\n"));
    stage.produce_records((0..600).map(|n| keyed(&format!("key-{}", n % 30), &pause(n))));
    let outputs = stage.outputs(&host, 600);
    let offsets = in_order_by_key(&outputs);
    assert!(!offsets.is_sorted(), "nothing was handled in parallel");
    stage.committed(&host, &[(0, 600)]);
    host.stop().unwrap();
}

/// A pause of 0 to 6 ms that differs from record to record.
fn pause(n: usize) -> String {
    format!("sleep {}", n * 7 % 13 / 2)
}

#[test]
fn order_by_key_holds_while_hosts_join_and_leave() {
    let stage = Stage::new("by-key-moving", 4);
    stage.deploy("act", &format!("{BY_KEY}concurrency = 4\n"));
    let write = |range: std::ops::Range<usize>| {
        let records = range.map(|n| TestRecord::new(format!("key-{}", n % 40), pause(n)));
        stage.produce_records(records);
    };
    let one = stage.serve(&[]);
    write(0..2000);
    let mut two = stage.serve(&[]);
    two.wait_for_line("partitions assigned", PATIENCE).unwrap();
    write(2000..4000);
    one.stop().unwrap();
    write(4000..5000);
    let outputs = stage.outputs(&two, 5000);
    two.stop().unwrap();
    // A key stays in its partition, so its offsets rise.
    in_order_by_key(&outputs);
}

#[test]
fn a_retry_holds_only_its_own_key() {
    let stage = Stage::new("retry-by-key", 1);
    let host = stage.run("act", &format!("{BY_KEY}retry.max-attempts = 2\n"));
    stage.produce_records([keyed("failing", "retry 2000 again"), keyed("failing", "ok")]);
    stage.produce_records(others(200));
    let outputs = clients::consume_until(&stage.bootstrap, &stage.output, 200, PATIENCE).unwrap();
    assert!(
        outputs.iter().all(|output| offset_of(output) >= 2),
        "a record overtook the failed one of its key"
    );
    let letter = stage.letter(&host);
    assert_eq!(verdict(&letter).1, "2");
    assert_eq!(offset_of(&stage.outputs(&host, 201)[200]), 1);
    stage.committed(&host, &[(0, 202)]);
    host.stop().unwrap();
}

#[test]
fn what_completed_above_the_watermark_is_not_repeated_after_a_kill() {
    let stage = Stage::new("above", 1);
    let more = format!("{BY_KEY}\"kafka\".consumer.\"session.timeout.ms\" = 6000\n");
    let mut host = stage.run("act", &more);
    stage.produce_records([keyed("failing", IN_AN_HOUR)]);
    stage.produce_records(others(500));
    stage.outputs(&host, 500);
    let waited = wait_until("the map of what is complete", PATIENCE, || {
        clients::committed_metadata(&stage.bootstrap, &stage.name, &stage.input)
            .unwrap()
            .iter()
            .any(|(_, offset, metadata)| *offset == 0 && metadata.starts_with("kwh1:"))
    });
    waited.unwrap_or_else(|error| panic!("{error}\n{}", host.tail()));
    // The last map may be a moment old.
    std::thread::sleep(Duration::from_secs(1));
    host.kill9();

    let host = stage.serve(&[]);
    stage.produce_records([keyed("new", "ok")]);
    stage.outputs(&host, 501);
    wait_lines(&host, &["attempt failed", "offset=0"], 1);
    let before = host.metric("kafka_wasm_completed_before_total", &[]);
    assert_eq!(before.unwrap(), 500.0);
    stage.committed(&host, &[(0, 0)]);
    host.stop().unwrap();

    // A graceful stop keeps the map as well, and a handler that keeps the order of partitions honours it.
    let in_order = stage.manifest("retry.max-attempts = 1\n");
    stage.folder.swap_manifest(&stage.name, &in_order).unwrap();
    let host = stage.serve(&[]);
    stage.letter(&host);
    stage.committed(&host, &[(0, 502)]);
    stage.outputs(&host, 501);
    host.stop().unwrap();
}

#[test]
fn what_is_complete_stays_known_where_an_owner_did_not_get_there() {
    let stage = Stage::new("handed-on", 1);
    let host = stage.run("act", BY_KEY);
    stage.produce_records([keyed("failing", IN_AN_HOUR)]);
    stage.produce_records(others(1500));
    stage.outputs(&host, 1500);
    host.stop().unwrap();

    // In the order of the partition the first record holds up all others, and few of them are taken.
    let in_order = stage.manifest("limits.deadline-ms = 10000\n");
    stage.folder.swap_manifest(&stage.name, &in_order).unwrap();
    let host = stage.serve(&[]);
    wait_lines(&host, &["attempt failed", "offset=0"], 1);
    let before = host.metric("kafka_wasm_completed_before_total", &[]);
    assert!(before.unwrap() < 1500.0, "it took them all");
    host.stop().unwrap();

    let by_key = stage.manifest(BY_KEY);
    stage.folder.swap_manifest(&stage.name, &by_key).unwrap();
    let host = stage.serve(&[]);
    stage.produce_records([keyed("new", "ok")]);
    stage.outputs(&host, 1501);
    let before = host.metric("kafka_wasm_completed_before_total", &[]);
    assert_eq!(before.unwrap(), 1500.0);
    host.stop().unwrap();
}

#[test]
fn metadata_that_is_not_ours_is_ignored() {
    let stage = Stage::new("foreign", 3);
    let damaged = "kwh1:AAAAAAAA";
    for (partition, metadata) in [(0, "somebody else's"), (1, damaged), (2, "")] {
        stage.produce_on(partition, &["ok", "ok"]);
        let place = (stage.input.as_str(), partition);
        clients::commit_metadata(&stage.bootstrap, &stage.name, place, 1, metadata).unwrap();
    }
    let host = stage.run("act", BY_KEY);
    stage.outputs(&host, 3);
    stage.committed(&host, &[(0, 2), (1, 2), (2, 2)]);
    let ignored = "the metadata of the last commit is ignored";
    assert_eq!(count_lines(&host, &[ignored]), 2);
    host.stop().unwrap();
}

#[test]
fn without_order_no_record_waits_for_another() {
    let stage = Stage::new("unordered", 1);
    let more = "ordering = \"none\"\nlimits.deadline-ms = 10000\n";
    let host = stage.run("act", more);
    stage.produce_records([keyed("same", IN_AN_HOUR), keyed("same", "sleep 1500")]);
    stage.produce_records((0..50).map(|_| keyed("same", "ok")));
    let offsets: Vec<i64> = stage.outputs(&host, 51).iter().map(offset_of).collect();
    assert_eq!(offsets[50], 1, "the slow one comes last: {offsets:?}");
    host.stop().unwrap();
}

#[test]
fn no_more_instances_run_at_once_than_concurrency_says() {
    let stage = Stage::new("two-at-once", 4);
    let more = "ordering = \"none\"\nconcurrency = 2\nlimits.deadline-ms = 10000\n";
    let host = stage.run("act", more);
    for partition in 0..4 {
        stage.produce_records((0..10).map(|_| value_on(partition, "sleep 50")));
    }
    let outputs = stage.outputs(&host, 40);
    let times = outputs.iter().filter_map(|output| output.timestamp_ms);
    let took_ms = times.clone().max().unwrap() - times.min().unwrap();
    // 19 pairs after the first one; eight at once would need 200 ms.
    assert!(took_ms >= 900, "{took_ms} ms for 2 s of work by two");
    host.stop().unwrap();
}

#[test]
fn a_halt_stops_all_lanes_until_the_handler_is_replaced() {
    let stage = Stage::new("halt-by-key", 1);
    let halting = format!("{BY_KEY}retry.max-attempts = 1\non-exhausted = \"halt\"\n");
    let host = stage.run("act", &halting);
    stage.produce_records([keyed("failing", "other no"), keyed("failing", "ok 1")]);
    wait_lines(&host, &["the partition is halted"], 1);
    let (_, ready) = host.get("/readyz").unwrap();
    assert!(
        ready.contains(&format!("{}[0] at offset 0", stage.input)),
        "{ready}"
    );
    stage.produce_records(others(20));
    never(
        "an output of a halted partition",
        Duration::from_secs(1),
        || !stage.read(&stage.output).is_empty(),
    );
    stage
        .folder
        .swap_component(&stage.name, guest("pass"))
        .unwrap();
    let outputs = stage.outputs(&host, 22);
    let failing: Vec<String> = texts(&outputs)
        .into_iter()
        .filter(|text| text != "ok")
        .collect();
    assert_eq!(failing, ["other no", "ok 1"]);
    stage.committed(&host, &[(0, 22)]);
    host.stop().unwrap();
}

#[test]
fn a_change_of_ordering_takes_the_records_along_that_wait() {
    let stage = Stage::new("reordered", 1);
    let host = stage.run("act", BY_KEY);
    stage.produce_records([keyed("failing", IN_AN_HOUR), keyed("failing", "ok")]);
    stage.produce_records(others(20));
    stage.outputs(&host, 20);
    let in_order = stage.manifest("retry.max-attempts = 1\n");
    stage.folder.swap_manifest(&stage.name, &in_order).unwrap();
    // The one that waited is tried at once, and those of its key follow.
    stage.letter(&host);
    stage.outputs(&host, 21);
    let back = stage.manifest(BY_KEY);
    stage.folder.swap_manifest(&stage.name, &back).unwrap();
    wait_lines(&host, &["deployed"], 3);
    stage.produce_records(others(20));
    stage.outputs(&host, 41);
    stage.committed(&host, &[(0, 42)]);
    host.stop().unwrap();
}

#[test]
fn a_long_wait_does_not_hold_an_instance() {
    let stage = Stage::new("resting", 2);
    // Partition order: the record waits, and nothing of its lane stays in memory.
    let host = stage.run("act", "limits.deadline-ms = 10000\n");
    stage.produce(&[IN_AN_HOUR]);
    wait_lines(&host, &["attempt failed"], 1);
    let gone = wait_until("the instance is gone", PATIENCE, || {
        host.metric("kafka_wasm_guest_memory_bytes", &[]).unwrap() == 0.0
    });
    gone.unwrap_or_else(|error| panic!("{error}\n{}", host.tail()));
    // The wait ends with the host, at once.
    host.stop().unwrap();
    assert!(stage.read(&stage.dead_letters).is_empty());
}

#[test]
fn partitions_share_the_instances_that_the_host_may_run() {
    let stage = Stage::new("few-instances", 4);
    stage.deploy("act", "limits.deadline-ms = 10000\n");
    let host = stage.serve(&["--instances-max", "2"]);
    // Each partition needs an instance, and those that had one keep it for their next record.
    for round in 1..=3 {
        for partition in 0..4 {
            stage.produce_on(partition, &["ok", "sleep 20", "ok"]);
        }
        stage.outputs(&host, round * 12);
    }
    wait_lines(
        &host,
        &["all instances that the host may run are in use"],
        1,
    );
    let max = host.metric("kafka_wasm_instances_max", &[]);
    assert_eq!(max.unwrap(), 2.0);
    // A trial needs no place among them.
    let label = stage.manifest("limits.deadline-ms = 10000\nconfig.label = \"new\"\n");
    stage.folder.swap_manifest(&stage.name, &label).unwrap();
    wait_lines(&host, &["deployed"], 2);
    host.stop().unwrap();
}

#[test]
fn a_slow_handler_commits_as_it_goes() {
    let stage = Stage::new("slow", 1);
    let host = stage.run("act", "kafka.consumer.\"auto.commit.interval.ms\" = 100\n");
    let sleeps = ["sleep 100"; 100];
    stage.produce(&sleeps);
    let early = wait_until("a commit before the end", PATIENCE, || {
        let committed = clients::committed(&stage.bootstrap, &stage.name, &stage.input).unwrap();
        committed
            .iter()
            .any(|(_, position)| (10..90).contains(position))
    });
    early.unwrap_or_else(|error| panic!("{error}\n{}", host.tail()));
    for shown in ["kafka_wasm_in_flight_records", "kafka_wasm_lag_records"] {
        assert!(host.metric(shown, &[]).unwrap() > 0.0, "{shown}");
    }
    host.stop().unwrap();
}
