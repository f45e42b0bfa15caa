//! How outputs are written: by which key, at once with a receipt, and what becomes of those that Kafka refuses.
//!
//! It is handed one stage for each test.
//! **Invariant:** what is said of an output is read from the topic that it was written to.

mod receipts;
mod refused;

use harness::TestRecord;

use super::stage::{Stage, TWICE, is, said, value_on, verdict};

fn keys(records: &[TestRecord]) -> Vec<Option<&[u8]>> {
    records.iter().map(|record| record.key.as_deref()).collect()
}

#[test]
fn an_output_without_a_key_gets_the_one_in_its_value() {
    for delivery in ["at-least-once", "exactly-once"] {
        let stage = Stage::new("key-from", 1);
        let more = format!("delivery = \"{delivery}\"\npublish.key-from = \"/value\"\n");
        stage.produce(&["ok a", "ok \u{e9}\""]);
        stage.produce_records(["own", ""].map(|key| TestRecord::new(key, "ok b").on(0)));
        let host = stage.run("act", &more);
        let outputs = stage.outputs(&host, 4);
        let expected: [&[u8]; 4] = [b"ok a", "ok \u{e9}\"".as_bytes(), b"own", b""];
        assert_eq!(keys(&outputs), expected.map(Some), "{delivery}");
        stage.committed(&host, &[(0, 4)]);
    }
}

#[test]
fn a_record_that_is_sent_on_gets_the_key_in_its_value_too() {
    let stage = Stage::new("key-forward", 1);
    let told = |deed: &str, value| value_on(0, value).header("do", Some(deed.as_bytes()));
    stage.produce_records([
        told("forward", "{\"id\": 7.50}"),
        // The key of what is changed is that of the changed value.
        told("change [[\"set\", \"/id\", true]]", "{\"id\": 1}"),
    ]);
    let host = stage.run("view", "publish.key-from = \"/id\"\n");
    let outputs = stage.outputs(&host, 3);
    let expected: [&[u8]; 3] = [b"7.50", b"changed", b"true"];
    assert_eq!(keys(&outputs), expected.map(Some));
}

#[test]
fn an_output_whose_value_has_no_key_fails_its_hook_with_the_place_and_the_reason() {
    let stage = Stage::new("key-missing", 1);
    stage.produce(&["ok", "config label", "ok"]);
    let more = format!("{TWICE}publish.key-from = \"/result\"\nconfig.label = \"x\"\n");
    let host = stage.run("act", &more);
    for letter in stage.letters(&host, 2) {
        assert_eq!(verdict(&letter), is("other", "2"));
        assert_eq!(
            said(&letter, "error"),
            "the emit was denied: there is no key under `/result` of its value (publish.key-from): nothing stands there"
        );
    }
    assert_eq!(keys(&stage.outputs(&host, 1)), [Some(&b"x"[..])]);
    stage.committed(&host, &[(0, 3)]);
}
