//! Each limit of the manifest, obeyed and violated.
//!
//! The fixture `act` is told to stay just below a limit, then to pass it.
//! **Invariant:** a test shows both sides of its limit in one run of the host.

use std::time::Duration;

use super::stage::{Stage, TWICE, count_lines, field, is, never, said, verdict, wait_lines};

/// One record of each odd kind.
fn odd_records() -> Vec<TestRecord> {
    let mut records = vec![
        TestRecord::new("plain", "value"),
        TestRecord {
            key: Some(b"tombstone".to_vec()),
            ..TestRecord::default()
        },
        TestRecord {
            value: Some(b"no key".to_vec()),
            ..TestRecord::default()
        },
        TestRecord::default().header("neither key nor value", Some(b"")),
        TestRecord::new("", ""),
        TestRecord::new(vec![0, 0xff, 0xfe], (0..=255).collect::<Vec<u8>>()),
        TestRecord::new("headers", "")
            .header("binary", Some(b"\x00\xc3\x28\xff"))
            .header("null", None)
            .header("empty", Some(b""))
            .header("", Some(b"a header without a name"))
            .header("twice", Some(b"first"))
            .header("between", None)
            .header("twice", Some(b"second")),
        TestRecord::new("large", vec![b'x'; 900_000]),
    ];
    for (n, record) in records.iter_mut().enumerate() {
        record.partition = Some(0);
        record.timestamp_ms = Some(1_517_364_031_800 + 1000 * i64::try_from(n).unwrap());
    }
    records
}

#[test]
fn tombstones_nulls_empty_values_binary_headers_and_keyless_records_arrive_unchanged() {
    let stage = Stage::new("unchanged", 1);
    let odd = odd_records();
    let sent: Vec<TestRecord> = odd.iter().map(TestRecord::payload).collect();
    stage.produce_records(odd.clone());
    let host = stage.run("pass", "");
    let outputs = stage.outputs(&host, odd.len());
    let arrived: Vec<TestRecord> = outputs.iter().map(TestRecord::payload).collect();
    for (arrived, sent) in arrived.iter().zip(&sent) {
        assert!(arrived == sent, "{arrived:.200?} is not {sent:.200?}");
    }
    host.stop().unwrap();

    // As dead letters they keep their timestamps too, and their headers come first.
    let refused = Stage::new("unchanged-dead", 1);
    refused.produce_records(odd.clone());
    let host = refused.run("error", TWICE);
    let letters = refused.letters(&host, odd.len());
    for (letter, sent) in letters.iter().zip(&odd) {
        let headers = sent.headers.clone().unwrap_or_default();
        let found = letter.headers.as_ref().unwrap();
        assert_eq!(found[..headers.len()], headers);
        let ours = |(name, _): &(String, _)| name.starts_with("dead-letter.");
        assert!(found[headers.len()..].iter().all(ours));
        assert_eq!(letter.key, sent.key);
        assert_eq!(letter.timestamp_ms, sent.timestamp_ms);
        assert!(letter.value == sent.value, "another value");
    }
}

#[test]
fn a_dead_letter_tells_where_it_came_from() {
    let stage = Stage::new("origin", 3);
    let mut record = value_on(2, "reject not today").header("trace", Some(b"7f"));
    record.timestamp_ms = Some(1_517_364_031_800);
    stage.produce_records([value_on(2, "ok"), record]);
    let host = stage.run("act", TWICE);
    let letter = stage.letter(&host);
    let names: Vec<&str> = letter
        .headers
        .as_ref()
        .unwrap()
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    let ours = [
        "topic",
        "partition",
        "offset",
        "timestamp",
        "handler",
        "revision",
        "attempts",
        "error-kind",
        "error",
        "time",
    ];
    let mut expected = vec!["trace".to_owned()];
    expected.extend(ours.iter().map(|name| format!("dead-letter.{name}")));
    assert_eq!(names, expected);
    assert_eq!(said(&letter, "topic"), stage.input);
    assert_eq!(said(&letter, "partition"), "2");
    assert_eq!(said(&letter, "offset"), "1");
    assert_eq!(said(&letter, "timestamp"), "2018-01-31T02:00:31.800Z");
    assert_eq!(said(&letter, "handler"), format!("default/{}", stage.name));
    let revision = said(&letter, "revision");
    assert_eq!(
        count_lines(&host, &["deployed", &format!("revision={revision}")]),
        1
    );
    assert_eq!(said(&letter, "attempts"), "1");
    assert_eq!(said(&letter, "error-kind"), "reject");
    assert_eq!(said(&letter, "error"), "not today");
    // The log's lines begin with the same clock's time, in the same form.
    let time = said(&letter, "time");
    let line = host
        .lines()
        .into_iter()
        .find(|line| line.contains("attempt failed"))
        .unwrap();
    let apart_s = second_of_the_day(&time) - second_of_the_day(&line);
    // Half a minute for both, since one of them is cut to milliseconds.
    assert!(
        (0.0..60.0).contains(&(apart_s + 30.0).rem_euclid(86_400.0)),
        "{time} {line}"
    );
}

#[test]
fn an_emit_that_kafka_refuses_fails_its_record() {
    let stage = Stage::new("refused", 1);
    let nowhere = format!("emit-to {}.nowhere", stage.name);
    stage.produce(&["ok before", &nowhere, "ok behind"]);
    stage.deploy("act", TWICE);
    let host = stage.serve(&["--kafka-setting", "topic.metadata.propagation.max.ms=500"]);
