//! Records that stay with the host: read as JSON, sent on and changed there.
//!
//! The fixture `view` is told by a header what to do with its record, and tells what came of it.
//! **Invariant:** what is wrong with a value is seen by its own handler only, and each record is accounted for.

use harness::TestRecord;
use serde_json::{Value, json};

use super::batches::BATCHES;
use super::stage::{Stage, is, json as parsed, said, texts, value_on, verdict};

/// A record for the fixture: what it shall do, and with which value.
fn told(deed: &str, value: impl Into<Vec<u8>>) -> TestRecord {
    let record = TestRecord {
        value: Some(value.into()),
        ..TestRecord::default()
    };
    record.on(0).header("do", Some(deed.as_bytes()))
}

/// What the fixture tells of records, one by one.
fn answers(name: &str, records: Vec<TestRecord>) -> Vec<Value> {
    let stage = Stage::new(name, 1);
    let count = records.len();
    stage.produce_records(records);
    // A call that takes longer fails, and the fixture does not tell what it was asked.
    let host = stage.run("view", "limits.deadline-ms = 3000\n");
    let outputs = stage.outputs(&host, count);
    stage.committed(&host, &[(0, i64::try_from(count).unwrap())]);
    outputs.iter().map(parsed).collect()
}

const ORDER: &str = r#"{"id": "a\u00e9", "n": -7, "total": 2.50, "big": 1e400, "paid": true, "none": null,
    "items": [{"sku": "x"}, "y", 3], "a/b": {"~": "\ud800"}, "n": 8}"#;

#[test]
fn a_handler_reads_fields_without_the_value() {
    let asked = [
        (
            "get /id /n /total /big /paid /none /absent /items/0 /a~1b/~0",
            json!([
                "Value::Text(\"a\u{e9}\")",
                "Value::Integer(8)",
                "Value::Number(\"2.50\")",
                "Value::Number(\"1e400\")",
                "Value::Boolean(true)",
                "Value::Null",
                "Value::Absent",
                "Value::Raw(\"{\\\"sku\\\": \\\"x\\\"}\")",
                "Value::Raw(\"\\\"\\\\ud800\\\"\")",
            ]),
        ),
        (
            "select /items/2 /n /n /items/3",
            json!([
                "Value::Integer(3)",
                "Value::Integer(8)",
                "Value::Integer(8)",
                "Value::Absent",
            ]),
        ),
        ("raw /items/1", json!("\"y\"")),
        ("raw /items/7", json!(null)),
        ("exists /none", json!(true)),
        ("exists /items/-", json!(false)),
        ("len /items", json!(3)),
        ("len /a~1b", json!(1)),
        ("len /id", json!(null)),
        (
            "items /items",
            json!([
                "Value::Raw(\"{\\\"sku\\\": \\\"x\\\"}\")",
                "Value::Text(\"y\")",
                "Value::Integer(3)",
            ]),
        ),
    ];
    let records = asked.iter().map(|(deed, _)| told(deed, ORDER)).collect();
    let answers = answers("json-read", records);
    for ((deed, wanted), answer) in asked.iter().zip(&answers) {
        assert_eq!(answer, wanted, "{deed}");
    }
}

#[test]
fn a_value_that_stays_with_the_host_takes_no_memory_of_the_handler() {
    let small = "limits.memory-mib = 2\nretry.max-attempts = 1\n";
    let note = "x".repeat(990_000);
    let order = format!(r#"{{"id":1,"name":"n","total":2,"note":"{note}"}}"#);
    for (fixture, fits) in [("fields", true), ("json", false)] {
        let stage = Stage::new("json-memory", 1);
        stage.produce(&[&order]);
        let host = stage.run(fixture, small);
        if fits {
            assert_eq!(texts(&stage.outputs(&host, 1)), [order.as_str()]);
        } else {
            assert_eq!(verdict(&stage.letter(&host)), is("memory", "1"));
        }
    }
}

/// Records of each kind that could be mistaken for another, all of which shall do `deed`.
fn kinds(deed: &str) -> Vec<TestRecord> {
    let mut full = told(deed, "{}")
        .header("a", Some(b""))
        .header("a", None)
        .header("\u{e9}", Some(b"\xff\0"));
    full.key = Some(b"\xfe\0key".to_vec());
    full.timestamp_ms = Some(1_700_000_000_123);
    let mut keyed = told(deed, "");
    keyed.key = Some(Vec::new());
    let mut tombstone = told(deed, "");
    tombstone.value = None;
    vec![full, keyed, tombstone]
}

#[test]
fn a_view_asks_for_each_part_of_its_record() {
    let records = kinds("dump");
    let answers = answers("json-dump", records.clone());
    for (nth, (answer, record)) in answers.iter().zip(&records).enumerate() {
        let size = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(Vec::len);
        assert_eq!(answer["offset"], nth);
        assert_eq!(
            answer["sizes"],
            json!([size(&record.key), size(&record.value)])
        );
        assert_eq!(answer["key"], json!(record.key));
        assert_eq!(answer["value"], json!(record.value));
        assert_eq!(answer["headers"], json!(record.headers));
    }
    assert_eq!(answers[0]["timestamp"], 1_700_000_000_123_i64);
}

#[test]
fn a_forwarded_record_keeps_everything_and_gains_headers() {
    for delivery in ["at-least-once", "exactly-once"] {
        let stage = Stage::new("json-forward", 1);
        let records = kinds("forward");
        stage.produce_records(records.clone());
        let host = stage.run("view", &format!("delivery = \"{delivery}\"\n"));
        let outputs = stage.outputs(&host, records.len());
        let inputs = stage.read(&stage.input);
        for (output, input) in outputs.iter().zip(&inputs) {
            let more = input.clone().header("more", Some(b"1"));
            assert_eq!(output.payload(), more.header("more", None).payload());
            assert_eq!(output.timestamp_ms, input.timestamp_ms);
        }
        stage.committed(&host, &[(0, 3)]);
    }
}

#[test]
fn changes_are_serialised_by_the_host() {
    let stage = Stage::new("json-change", 1);
    let changes = r#"change [["set","/status","ok"],["remove","/card"],["set","/items/-",[3]],["set","/n",{"x":1}]]"#;
    let mut record = told(
        changes,
        " {\"n\" : 1.50, \"card\":\"1234\",\"items\": [ 1,\"\\u00e9\" ]}\n",
    );
    record.key = Some(b"k".to_vec());
    stage.produce_records([record, told("change [[\"set\",\"/a/b\",1]]", "{}")]);
    let host = stage.run("view", "");
    let [emitted, forwarded, refused] = stage.outputs(&host, 3).try_into().unwrap();
    let text = " {\"n\" : {\"x\":1}, \"items\": [ 1,\"\\u00e9\",[3]],\"status\":\"ok\"}\n";
    assert_eq!(parsed(&emitted), parsed(&TestRecord::new("", text)));
    // What no change concerns is as it was written.
    assert!(emitted.text().contains("[ 1,\"\\u00e9\""), "{emitted:?}");
    assert_eq!(emitted.value, forwarded.value);
    let headers = |names: &[(&str, &str)]| {
        let pair = |&(name, value): &(&str, &str)| (name.to_owned(), Some(value.as_bytes().into()));
        Some(names.iter().map(pair).collect::<Vec<_>>())
    };
    assert_eq!(
        (emitted.key_text().as_str(), &emitted.headers),
        ("changed", &headers(&[("own", "1")]))
    );
    assert_eq!(
        (forwarded.key_text().as_str(), &forwarded.headers),
        ("k", &headers(&[("do", changes), ("more", "1")]))
    );
    let reason = parsed(&refused).as_str().unwrap().to_owned();
    assert!(reason.starts_with("no change at `/a/b`"), "{reason}");
    stage.committed(&host, &[(0, 2)]);
}

#[test]
fn invalid_json_is_a_typed_error_and_hurts_nobody() {
    let records = vec![
        told("get /a", "{\"a\":"),
        told("select /a", "{\"a\":1,}"),
        told("get /a", b"{\"a\":\"\xff\"}"),
        told("exists /a", ""),
        told("get /a", "{\"a\":1}"),
        told("get a", "{\"a\":1}"),
        told("select /a /~2", "{\"a\":1}"),
        told("change [[\"remove\",\"/a\"]]", "[}"),
    ];
    let answers = answers("json-invalid", records);
    let wanted = [
        "\"the value is not JSON: the document ends too early at byte 5\"",
        "\"the value is not JSON: no name of a member at byte 7\"",
        "\"the value is not JSON: not UTF-8 at byte 6\"",
        "\"the value is not JSON: the document ends too early at byte 0\"",
        "[\"Value::Integer(1)\"]",
        "\"`a` is no JSON pointer: the pointer begins with 'a' in place of '/'\"",
        "\"`/~2` is no JSON pointer: '~' at byte 1 of the pointer must be written '~0', or '~1' where '/' is meant\"",
        "\"the value is not JSON: no value at byte 1\"",
    ];
    let answers: Vec<String> = answers.iter().map(Value::to_string).collect();
    assert_eq!(answers, wanted);
    // A handler that leaves it at that has its record rejected, and none is lost.
    let stage = Stage::new("json-rejected", 1);
    let good = r#"{"id":1,"name":"n","total":2}"#;
    stage.produce(&[good, "{\"id\":", good]);
    stage.produce_records([told("", "[]"), value_on(0, good)]);
    let host = stage.run("fields", "retry.max-attempts = 3\n");
    assert_eq!(texts(&stage.outputs(&host, 3)), [good; 3]);
    let letters = stage.letters(&host, 2);
    assert_eq!(texts(&letters), ["{\"id\":", "[]"]);
    for letter in &letters {
        assert_eq!(verdict(letter), is("reject", "1"));
    }
    assert_eq!(
        said(&letters[1], "error"),
        "at `/id` the value has nothing, not an integer of u64"
    );
    stage.committed(&host, &[(0, 5)]);
}

#[test]
fn hostile_json_is_refused_in_bounded_time() {
    let deep = |open: &str, close: &str| open.repeat(100_000) + "1" + &close.repeat(100_000);
    // As large as the producer sends.
    let largest = 990_000;
    let many = format!("[{}1]", "1,".repeat(largest / 2 - 100));
    let everything = format!("select{}", " /0".repeat(500));
    let records = vec![
        told("get /a", deep("[", "]")),
        told("select /a/a/a /a", deep("{\"a\":", "}")),
        told("get /a", "[".repeat(largest)),
        told("raw ", format!("\"{}", "\\u0000".repeat(largest / 6))),
        // As much again and again as there is: more than the guest has memory for.
        told(
            &everything,
            format!("[[{}1]]", "1,".repeat(largest / 2 - 5000)),
        ),
        told("len ", many),
        told("get /a", "{\"a\":1}"),
    ];
    let answers = answers("json-hostile", records);
    let texts: Vec<String> = answers.iter().map(Value::to_string).collect();
    let deep = "\"the value is not JSON: more than 128 arrays and objects within each other";
    assert!(texts[0].starts_with(deep), "{}", texts[0]);
    assert!(texts[1].starts_with(deep), "{}", texts[1]);
    assert!(texts[2].starts_with(deep), "{}", texts[2]);
    assert!(
        texts[3].contains("the document ends too early"),
        "{}",
        texts[3]
    );
    assert!(
        texts[4].contains("the limit is 67108864 bytes"),
        "{}",
        texts[4]
    );
    assert_eq!(texts[5], (largest / 2 - 99).to_string());
    assert_eq!(texts[6], "[\"Value::Integer(1)\"]");
}

#[test]
fn what_a_guest_has_of_selections_is_bounded() {
    let records = vec![
        told("hoard 64 16", "[1]"),
        told("hoard 65", "[1]"),
        told("hoard 2 513", "[1]"),
        // What the records before selected was dropped with them.
        told("hoard 1 1024", "[1]"),
    ];
    let answers = answers("json-hoard", records);
    assert_eq!(answers[0], json!([64, 16]));
    assert_eq!(
        answers[1],
        "too much is selected: an instance has at most 64 selections"
    );
    assert_eq!(
        answers[2],
        "too much is selected: the selections of an instance have at most 1024 pointers together"
    );
    assert_eq!(answers[3], json!([1, 1024]));
}

#[test]
fn the_record_in_hand_is_that_of_the_hook() {
    let stage = Stage::new("json-hooks", 1);
    let changed = told("get /a", "{\"a\":1}").header("received", Some(b"{\"a\":2}"));
    let failing = told("fail", "kept").header("received", Some(b"not kept"));
    stage.produce_records([changed, failing]);
    let host = stage.run("view", "");
    let [read, failed] = stage.outputs(&host, 2).try_into().unwrap();
    // A handler sees what `did_receive` returned, and the hook for errors the record itself.
    assert_eq!(parsed(&read), json!(["Value::Integer(2)"]));
    assert_eq!(failed.text(), "kept");
    assert_eq!(failed.header_text("failed").as_deref(), Some("told to"));
    // A batch has no record in hand.
    let stage = Stage::new("json-batch", 1);
    stage.produce(&["{}", "{}"]);
    let host = stage.run("view", BATCHES);
    assert_eq!(
        parsed(&stage.outputs(&host, 1)[0]),
        json!({
            "records": 2,
            "forward": "this hook may not emit",
            "read": "this hook has no single record",
        })
    );
}
