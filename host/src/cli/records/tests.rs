//! The JSON line, case by case and as a property: printing and parsing are inverse.
//!
//! No Kafka is involved.
//! **Invariant:** every variant of [`ParseError`] is produced here.

use proptest::prelude::*;

use super::*;

fn value(line: &str) -> Option<Vec<u8>> {
    parse(line.as_bytes()).unwrap().value
}

fn printed(record: &LineRecord) -> String {
    let emit = record.as_emit("orders");
    let view = RecordView {
        topic: emit.topic,
        partition: record.partition.unwrap_or(0),
        offset: 7,
        timestamp_ms: emit.timestamp_ms,
        key: emit.key,
        value: emit.value,
        headers: emit.headers,
    };
    let mut out = Vec::new();
    print(&mut out, &view).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn text_json_null_and_empty_values_stay_apart() {
    assert_eq!(value(r#"{"value":"text"}"#), Some(b"text".to_vec()));
    assert_eq!(value(r#"{"value":""}"#), Some(Vec::new()));
    assert_eq!(value(r#"{"value":null}"#), None);
    assert_eq!(value(r#"{"key":"k"}"#), None);
    assert_eq!(
        value(r#" {"value": {"a": [1, 2.0 ], "b c": "d \" e"} } "#).unwrap(),
        br#"{"a":[1,2.0],"b c":"d \" e"}"#
    );
    assert_eq!(value(r#"{"value":"/w=="}"#), Some(b"/w==".to_vec()));
    assert_eq!(value(r#"{"value-base64":"/w=="}"#), Some(vec![255]));
    assert_eq!(value(r#"{"value":false}"#), Some(b"false".to_vec()));
}

#[test]
fn a_number_is_sent_as_it_was_written() {
    let number = "123456789012345678901234567890.10e2";
    assert_eq!(
        value(&format!(r#"{{"value":{number}}}"#)).unwrap(),
        number.as_bytes()
    );
}

#[test]
fn headers_come_as_an_object_or_as_pairs() {
    let pair = |name: &str, value: Option<&[u8]>| (name.to_owned(), value.map(<[u8]>::to_vec));
    let headers = |line: &str| parse(line.as_bytes()).unwrap().headers;
    assert_eq!(
        headers(r#"{"headers":{"b":"1","a":null}}"#),
        [pair("b", Some(b"1")), pair("a", None)]
    );
    assert_eq!(
        headers(r#"{"headers":[["k","v"],["k",null],["k",{"base64":"AA=="}],["k",""]]}"#),
        [
            pair("k", Some(b"v")),
            pair("k", None),
            pair("k", Some(&[0])),
            pair("k", Some(b""))
        ]
    );
}

#[test]
fn what_is_no_record_says_why() {
    let problem = |line: &str| parse(line.as_bytes()).unwrap_err().to_string();
    assert!(problem("").starts_with("expected a JSON object"));
    assert!(
        problem(r#"{"vlaue":"x"}"#)
            .starts_with("column 8: unknown field `vlaue`, expected one of `key`")
    );
    assert!(problem("[1]").starts_with("expected a JSON object"));
    assert!(
        problem("{\"value\": 1").starts_with("column 11: EOF"),
        "{}",
        problem("{\"value\": 1")
    );
    assert!(problem(r#"{"headers":{"a":1}}"#).contains("a header's value is text, null or"));
    assert!(problem(r#"{"headers":7}"#).contains("expected headers as an object"));
    assert_eq!(
        problem(r#"{"value":1,"value-base64":""}"#),
        "\"value\" and \"value-base64\" exclude each other"
    );
    assert!(problem(r#"{"key-base64":"!"}"#).starts_with("\"key-base64\" is not base64: "));
    assert!(
        problem(r#"{"headers":{"h":{"base64":"!"}}}"#).starts_with("header \"h\" is not base64: ")
    );
    assert_eq!(problem(r#"{"partition":-1}"#), "\"partition\" is negative");
    assert_eq!(problem(r#"{"timestamp":-1}"#), "\"timestamp\" is negative");
    assert_eq!(
        problem(r#"{"headers":{"a\u0000":""}}"#),
        "the header name \"a\\0\" contains a NUL character"
    );
    assert!(matches!(
        parse(b"{\"value\":\"\xff\"}"),
        Err(ParseError::Json { .. })
    ));
}

#[test]
fn a_line_shows_where_the_record_lay() {
    let record = LineRecord {
        value: Some(vec![0xff]),
        headers: vec![("a".to_owned(), None)],
        timestamp_ms: Some(1_700_000_000_000),
        ..LineRecord::default()
    };
    assert_eq!(
        printed(&record),
        concat!(
            r#"{"topic":"orders","partition":0,"offset":7,"timestamp":1700000000000,"#,
            r#""key":null,"headers":{"a":null},"value-base64":"/w=="}"#,
            "\n"
        )
    );
}

fn bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop_oneof![
        Just(None),
        any::<String>().prop_map(|text| Some(text.into_bytes())),
        any::<Vec<u8>>().prop_map(Some),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]{0,2}", "[^\0]{0,12}"]
}

proptest! {
    #[test]
    fn a_printed_record_parses_back_unchanged(
        key in bytes(),
        value in bytes(),
        headers in proptest::collection::vec((name(), bytes()), 0..6),
        partition in 0..i32::MAX,
        timestamp_ms in proptest::option::of(0..i64::MAX),
    ) {
        let record = LineRecord { key, value, headers, partition: Some(partition), timestamp_ms };
        let line = printed(&record);
        prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
        prop_assert_eq!(parse(line.as_bytes()), Ok(record));
    }

    #[test]
    fn any_line_parses_or_says_why(line in any::<Vec<u8>>()) {
        let _ = parse(&line);
    }
}
