//! Each limit of the manifest, obeyed and violated.
//!
//! The fixture `act` is told to stay just below a limit, then to pass it.
//! **Invariant:** a test shows both sides of its limit in one run of the host.

use std::time::Duration;

use super::stage::{Stage, TWICE, count_lines, field, is, never, said, verdict, wait_lines};

#[test]
fn memory_mib_is_the_memory_of_an_instance() {
    let stage = Stage::new("memory-mib", 1);
    stage.produce(&["alloc 10", "alloc 15"]);
    let host = stage.run("act", &format!("{TWICE}limits.memory-mib = 16"));
    assert_eq!(field(&stage.outputs(&host, 1)[0], "value"), "alloc 10");
    let letter = stage.letter(&host);
    assert_eq!(
        (letter.text().as_str(), verdict(&letter)),
        ("alloc 15", is("memory", "2"))
    );
}

#[test]
fn deadline_ms_is_the_time_of_a_call() {
    let stage = Stage::new("deadline-ms", 1);
    stage.produce(&["sleep 500", "sleep 3000"]);
    let host = stage.run("act", &format!("{TWICE}limits.deadline-ms = 2000"));
    assert_eq!(field(&stage.outputs(&host, 1)[0], "value"), "sleep 500");
    let letter = stage.letter(&host);
    assert_eq!(
        (letter.text().as_str(), verdict(&letter)),
        ("sleep 3000", is("deadline", "2"))
    );
}

#[test]
fn outbox_records_is_what_a_call_may_emit() {
    let stage = Stage::new("outbox-records", 1);
    stage.produce(&["emit-many 10", "emit-many 11"]);
    let host = stage.run("act", &format!("{TWICE}limits.outbox-records = 10"));
    let letter = stage.letter(&host);
    assert_eq!(
        (letter.text().as_str(), verdict(&letter)),
        ("emit-many 11", is("other", "2"))
    );
    let error = said(&letter, "error");
    assert!(error.contains("at most 10 records"), "{error}");
    // Nothing of the call that failed was sent.
    let outputs = stage.outputs(&host, 10);
    assert!(
        outputs
            .iter()
            .all(|output| field(output, "value") == "emit-many 10")
    );
}

#[test]
fn outbox_mib_is_the_size_of_what_a_call_may_emit() {
    let stage = Stage::new("outbox-mib", 1);
    stage.produce(&["emit-big 1000000", "emit-big 1048570", "emit-big 2000000"]);
    let host = stage.run("act", &format!("{TWICE}limits.outbox-mib = 1"));
    // The first one is taken; the others are refused at once, and the guest tells how.
    let outputs = stage.outputs(&host, 4);
    assert_eq!(outputs[0].value.as_ref().unwrap().len(), 1_000_000);
    let results: Vec<String> = outputs[1..]
        .iter()
        .map(|output| field(output, "result"))
        .collect();
    println!("{results:?}");
    assert_eq!(results[0], "");
    assert!(results[1].contains("at most 1048576 bytes"), "{results:?}");
    assert!(
        results[2].contains("1048588"),
        "too large for Kafka: {results:?}"
    );
}

#[test]
fn in_flight_records_bounds_what_is_under_way() {
    in_flight(
        "in-flight-records",
        "limits.in-flight-records = 10",
        10,
        1,
        50,
    );
}

#[test]
fn in_flight_mib_bounds_what_is_under_way() {
    // A record and its output are 512 KiB together.
    in_flight(
        "in-flight-mib",
        "limits.in-flight-mib = 1",
        2,
        256 << 10,
        10,
    );
}

/// The outputs have nowhere to go until their topic appears, so what is under way cannot end before.
fn in_flight(name: &str, limit: &str, bound: usize, size: usize, records: usize) {
    let stage = Stage::new(name, 1);
    let late = format!("{}.late", stage.name);
    let value = format!("log {}", "x".repeat(size));
    stage.produce(&vec![value.as_str(); records]);
    let manifest = stage.manifest(limit).replace(&stage.output, &late);
    stage
        .folder
        .swap_in(&stage.name, harness::guest("act"), &manifest)
        .unwrap();
    let host = stage.serve(&["--kafka-setting", "topic.metadata.propagation.max.ms=60000"]);
    let guest_lines = [" guest: ", "offset="];
    wait_lines(&host, &guest_lines, bound);
    never("one record too many", Duration::from_secs(1), || {
        count_lines(&host, &guest_lines) > bound
    });
    stage.create_topic(&late, 1);
    assert_eq!(stage.exactly(&late, &host, records).len(), records);
    assert_eq!(count_lines(&host, &guest_lines), records);
}

#[test]
fn max_attempts_is_how_often_a_record_is_tried() {
    let stage = Stage::new("max-attempts", 1);
    stage.produce(&["flaky 2", "flaky 3"]);
    let host = stage.run("act", "retry.max-attempts = 3\nretry.initial-ms = 10");
    let outputs = stage.outputs(&host, 1);
    assert_eq!(field(&outputs[0], "value"), "flaky 2");
    assert_eq!(field(&outputs[0], "result"), "call 3");
    let letter = stage.letter(&host);
    assert_eq!(
        (letter.text().as_str(), verdict(&letter)),
        ("flaky 3", is("other", "3"))
    );
    assert_eq!(said(&letter, "error"), "flaky: call 3 of 3 that fail");
}
