//! What one bad record can do: nothing, to any other record.
//!
//! The fixture `act` misbehaves as the record tells it; the claims look at what became of that record and of those
//! before and behind it.

use harness::{TestRecord, wait_until};

use super::stage::{
    PATIENCE, Stage, TWICE, count_lines, field, is, json, said, texts, value_on, verdict,
    wait_lines,
};

/// Handles a good, the bad and a good record, and returns the dead letter.
fn poison(name: &str, deed: &str, more: &str) -> TestRecord {
    let stage = Stage::new(name, 1);
    stage.produce(&["ok before", deed, "ok behind"]);
    let host = stage.run("act", &format!("{TWICE}{more}"));
    let outputs = stage.outputs(&host, 2);
    let handled: Vec<String> = outputs
        .iter()
        .map(|output| field(output, "value"))
        .collect();
    assert_eq!(handled, ["ok before", "ok behind"]);
    let letter = stage.letter(&host);
    assert_eq!(letter.text(), deed);
    stage.committed(&host, &[(0, 3)]);
    host.stop().unwrap();
    println!("{deed}: {}", said(&letter, "error"));
    letter
}

#[test]
fn a_poison_record_is_dead_lettered_and_the_partition_goes_on() {
    const RECORDS: usize = 1200;
    let deeds = ["trap", "panic again", "reject bad", "other bad", "alloc 90"];
    let stage = Stage::new("poison", 3);
    let is_poison = |n: usize| n % 40 == 7;
    let value = |n: usize| match is_poison(n) {
        true => format!("{} {n}", deeds[n / 40 % deeds.len()]),
        false => format!("ok {n}"),
    };
    let partition = |n: usize| i32::try_from(n % 3).unwrap();
    stage.produce_records((0..RECORDS).map(|n| value_on(partition(n), &value(n))));
    let host = stage.run("act", &format!("{TWICE}limits.memory-mib = 16"));

    let poisoned = (0..RECORDS).filter(|n| is_poison(*n)).count();
    let outputs = stage.outputs(&host, RECORDS - poisoned);
    let letters = stage.letters(&host, poisoned);
    let mut found: Vec<String> = outputs
        .iter()
        .map(|output| field(output, "value"))
        .collect();
    found.extend(texts(&letters));
    found.sort();
    let mut expected: Vec<String> = (0..RECORDS).map(value).collect();
    expected.sort();
    assert_eq!(found, expected);
    let third = i64::try_from(RECORDS / 3).unwrap();
    stage.committed(&host, &[(0, third), (1, third), (2, third)]);
    println!("{poisoned} of {RECORDS} records were poison");
}

#[test]
fn a_trap_is_dead_lettered() {
    let letter = poison("trap", "trap", "");
    assert_eq!(verdict(&letter), is("trap", "2"));
    assert!(said(&letter, "error").contains("unreachable"));
}

#[test]
fn an_endless_loop_is_ended_by_the_deadline() {
    let letter = poison("spin", "spin", "limits.deadline-ms = 250");
    assert_eq!(verdict(&letter), is("deadline", "2"));
    let error = said(&letter, "error");
    assert!(error.contains("did not return within 250 ms"), "{error}");
}

#[test]
fn a_memory_hog_is_ended_by_its_limit() {
    let letter = poison("hog", "alloc 200", "limits.memory-mib = 32");
    assert_eq!(verdict(&letter), is("memory", "2"));
    let error = said(&letter, "error");
    assert!(error.contains("its limit is 32 MiB"), "{error}");
    assert!(error.contains("memory-mib"), "{error}");
}

#[test]
fn a_slow_import_is_ended_by_the_deadline() {
    let letter = poison("slow", "sleep 600000", "limits.deadline-ms = 250");
    assert_eq!(verdict(&letter), is("deadline", "2"));
}

#[test]
fn a_rejected_record_is_not_tried_again() {
    let letter = poison("reject", "reject no such customer", "");
    assert_eq!(verdict(&letter), is("reject", "1"));
    assert_eq!(said(&letter, "error"), "no such customer");
}

#[test]
fn a_panic_tells_its_text_and_its_place() {
    let letter = poison("panic", "panic the tank is empty", "");
    assert_eq!(verdict(&letter), is("trap", "2"));
    let error = said(&letter, "error");
    assert!(error.contains("the tank is empty"), "{error}");
    assert!(error.contains("src/lib.rs:"), "{error}");
}

#[test]
fn a_retry_waits_as_long_as_the_guest_asked() {
    let stage = Stage::new("retry-after", 1);
    stage.produce(&["retry 1500 the other side is busy", "ok"]);
    let host = stage.run("act", TWICE);
    let letter = stage.letter(&host);
    assert_eq!(verdict(&letter), is("retry", "2"));
    assert_eq!(said(&letter, "error"), "the other side is busy");
    let failed_at = |attempt: &str| {
        let lines = host.lines();
        let line = lines
            .iter()
            .find(|line| line.contains("attempt failed") && line.contains(attempt));
        second_of_the_day(line.unwrap_or_else(|| panic!("no line with {attempt}")))
    };
    let waited_s = (failed_at("attempt=2") - failed_at("attempt=1")).rem_euclid(86_400.0);
    println!("the second attempt came after {waited_s:.3} s");
    assert!((1.5..20.0).contains(&waited_s), "{waited_s} s");
    // Order holds: the next record waits for the one that is tried again.
    assert_eq!(field(&stage.outputs(&host, 1)[0], "value"), "ok");
}

/// Of a log line that begins with its time: `2026-01-31T02:00:31.800000Z`.
fn second_of_the_day(line: &str) -> f64 {
    let time = line.split('T').nth(1).unwrap().split('Z').next().unwrap();
    time.split(':')
        .map(|part| part.parse::<f64>().unwrap())
        .fold(0.0, |sum, part| sum * 60.0 + part)
}

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

    // As dead letters they keep all but Kafka's own timestamp, by which old ones are forgotten, and their headers come first.
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
        assert!(
            letter.timestamp_ms > Some(1_700_000_000_000),
            "{letter:.200?}"
        );
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
    let letter = stage.letter(&host);
    assert_eq!(
        (letter.text(), said(&letter, "error-kind")),
        (nowhere, "emit".to_owned())
    );
    let error = said(&letter, "error");
    println!("{error}");
    assert!(
        error.contains(&format!("{}.nowhere", stage.name)),
        "{error}"
    );
    stage.committed(&host, &[(0, 3)]);
    // The refused record's other output and those of the others were sent.
    assert_eq!(stage.outputs(&host, 3).len(), 3);
}

#[test]
fn a_dead_letter_that_cannot_be_written_halts_the_partition_and_no_other() {
    let stage = Stage::without_dead_letters("unwritable", 2);
    stage.produce_on(0, &["ok a0", "reject a1"]);
    stage.produce_on(1, &["ok b0"]);
    stage.deploy("act", TWICE);
    let host = stage.serve(&[
        "--kafka-setting",
        "topic.metadata.propagation.max.ms=500",
        "--kafka-setting",
        "topic.metadata.refresh.interval.ms=500",
    ]);
    wait_lines(
        &host,
        &[
            "the partition is halted",
            "partition=0",
            "offset=1",
            &stage.dead_letters,
        ],
        1,
    );
    stage.produce_on(0, &["ok a2"]);
    stage.produce_on(1, &["ok b1", "ok b2"]);
    let values = |n| -> Vec<String> {
        stage
            .outputs(&host, n)
            .iter()
            .map(|output| field(output, "value"))
            .collect()
    };
    assert_eq!(
        values(4)
            .iter()
            .filter(|value| value.starts_with("ok b"))
            .count(),
        3
    );
    // Nothing behind the halted record is committed, the other partition goes on.
    stage.committed(&host, &[(0, 1), (1, 3)]);
    assert_eq!(
        values(4)
            .iter()
            .filter(|value| value.starts_with("ok a"))
            .count(),
        1
    );

    // With the topic there and the handler replaced, the partition goes on where it stopped.
    stage.create_topic(&stage.dead_letters, 1);
    for attempt in 1.. {
        let manifest = stage.manifest(&format!("{TWICE}config.label = \"{attempt}\""));
        stage.folder.swap_manifest(&stage.name, &manifest).unwrap();
        // The producer learns of the topic with its next look at the cluster; until then the partition halts again.
        let is_written = || !stage.read(&stage.dead_letters).is_empty();
        let is_halted = || count_lines(&host, &["the partition is halted"]) > attempt;
        wait_until("an answer", PATIENCE, || is_written() || is_halted()).unwrap();
        if is_written() {
            break;
        }
        assert!(attempt < 20, "{}", host.tail());
    }
    assert_eq!(stage.letter(&host).text(), "reject a1");
    stage.committed(&host, &[(0, 3), (1, 3)]);
    assert_eq!(
        values(5)
            .iter()
            .filter(|value| value.starts_with("ok a"))
            .count(),
        2
    );
}

#[test]
fn nothing_is_granted_to_a_guest() {
    let stage = Stage::new("granted", 1);
    stage.produce(&["file"]);
    stage.deploy("act", TWICE);
    let host = stage.serve(&[]);
    let output = stage.outputs(&host, 1).remove(0);
    let result = json(&output)["result"].as_str().unwrap().to_owned();
    println!("{result}");
    let parts: Vec<&str> = result.split("; ").collect();
    assert_eq!(parts.len(), 4, "{result}");
    assert!(parts[0].starts_with("file denied ("), "{result}");
    assert_eq!(parts[1], "environment 0 variables");
    assert!(parts[2].starts_with("socket denied ("), "{result}");
    assert_eq!(parts[3], "web denied (ErrorCode::HttpRequestDenied)");
}
