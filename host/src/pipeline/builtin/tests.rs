//! Tests of the built-in steps, against a reader that has the whole value as a tree.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn step(name: &str, arguments: &Value) -> Result<BuiltIn, String> {
    let arguments = arguments.as_object().unwrap();
    let made = BuiltIn::new(name, arguments).unwrap();
    made.map_err(|error| error.to_string())
}

fn message(value: &Value) -> Changed {
    Changed {
        value: Some(value.to_string().into_bytes()),
        headers: vec![("a".to_owned(), None)],
        ..Changed::default()
    }
}

fn value(message: &Changed) -> Value {
    serde_json::from_slice(message.value.as_deref().unwrap()).unwrap()
}

/// Small values with few names, so that pointers meet them.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        (-2_i64..3).prop_map(Value::from),
        Just(json!(1.5)),
        prop::sample::select(vec!["", "x", "é\"\\"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[ab]", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn pointers() -> impl Strategy<Value = String> {
    "(/[ab01]){1,2}"
}

proptest! {
    #[test]
    fn what_is_required_is_there_and_not_null(document in values(), wanted in prop::collection::vec(pointers(), 1..3)) {
        let required = step("require", &json!({ "pointers": wanted })).unwrap();
        let is_there = |pointer: &String| document.pointer(pointer).is_some_and(|it| !it.is_null());
        let result = required.apply(message(&document));
        prop_assert_eq!(result.is_ok(), wanted.iter().all(is_there));
    }

    #[test]
    fn a_message_stays_where_all_its_values_are_the_wanted_ones(
        document in values(),
        wanted in prop::collection::btree_map(pointers(), values(), 1..3),
        copied in any::<bool>(),
    ) {
        let wanted: Map<String, Value> = wanted
            .into_iter()
            .map(|(pointer, other)| {
                let own = document.pointer(&pointer).filter(|_| copied);
                let value = own.cloned().unwrap_or(other);
                (pointer, value)
            })
            .collect();
        let expected = wanted.iter().all(|(pointer, value)| document.pointer(pointer) == Some(value));
        let step = step("drop-unless", &Value::Object(wanted)).unwrap();
        let result = step.apply(message(&document)).unwrap();
        prop_assert_eq!(result.is_some(), expected);
    }

    #[test]
    fn the_key_is_a_text_a_number_or_a_boolean_of_the_value(document in values(), pointer in pointers()) {
        let step = step("key-from", &json!({ "pointer": pointer })).unwrap();
        let key = step.apply(message(&document)).ok().flatten().and_then(|it| it.key);
        let expected = match document.pointer(&pointer) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(other @ (Value::Number(_) | Value::Bool(_))) => Some(other.to_string()),
            _ => None,
        };
        prop_assert_eq!(key, expected.map(String::into_bytes));
    }
}

#[test]
fn a_value_is_changed_and_headers_are_replaced() {
    let set = step("set", &json!({ "/a": { "b": 1 }, "/c": "x" })).unwrap();
    let changed = set.apply(message(&json!({ "a": 0, "z": 2 })));
    let changed = changed.unwrap().unwrap();
    assert_eq!(
        value(&changed),
        json!({ "a": { "b": 1 }, "z": 2, "c": "x" })
    );
    let remove = step("remove", &json!({ "pointers": ["/a", "/none"] })).unwrap();
    let changed = remove.apply(changed).unwrap().unwrap();
    assert_eq!(value(&changed), json!({ "z": 2, "c": "x" }));
    let headers = step("headers", &json!({ "a": "1", "b": "2" })).unwrap();
    let changed = headers.apply(changed).unwrap().unwrap();
    let expected = [("a", "1"), ("b", "2")];
    let expected = expected.map(|(name, value)| (name.to_owned(), Some(Vec::from(value))));
    assert_eq!(changed.headers, expected);
}

#[test]
fn numbers_are_equal_where_they_are_equally_large() {
    assert!(is_same("1.0", &json!(1)) && is_same("10", &json!(1e1)));
    assert!(!is_same(
        "9007199254740993",
        &json!(9_007_199_254_740_992_u64)
    ));
}

#[test]
fn a_message_that_a_step_cannot_be_done_to_says_why() {
    let fault = |name: &str, arguments: Value, message: Changed| {
        step(name, &arguments).unwrap().apply(message).unwrap_err()
    };
    let tombstone = "the record has no value: it is a tombstone";
    let none = Changed::default;
    assert_eq!(fault("set", json!({ "/a": 1 }), none()), tombstone);
    assert_eq!(
        fault("key-from", json!({ "pointer": "/a" }), none()),
        tombstone
    );
    let list = || message(&json!([]));
    assert_eq!(
        fault("require", json!({ "pointers": ["/a"] }), list()),
        "the value has nothing at /a"
    );
    assert_eq!(
        fault("key-from", json!({ "pointer": "" }), list()),
        "want a text, a number or a boolean at  for the key, found an array"
    );
    let no_json = Changed {
        value: Some(b"{".to_vec()),
        ..none()
    };
    assert_eq!(
        fault("drop-unless", json!({ "/a": 1 }), no_json),
        "the value cannot be read: the document ends too early at byte 1"
    );
}

#[test]
fn arguments_of_another_kind_are_refused_in_words() {
    let cases = [
        (
            "set",
            json!({}),
            "expected JSON pointers with values such as \"/checked\" = true",
        ),
        (
            "set",
            json!({ "a": 1 }),
            "\"a\": no JSON pointer: the pointer begins with 'a' in place of '/'",
        ),
        (
            "remove",
            json!({ "pointers": "/a" }),
            "\"pointers\": expected a list of JSON pointers such as [\"/card\"]",
        ),
        (
            "remove",
            json!({ "pointers": [""] }),
            "\"pointers\": the empty pointer names the whole value",
        ),
        (
            "require",
            json!({ "pointer": ["/a"] }),
            "\"pointer\": unknown argument (known here: pointers)",
        ),
        (
            "key-from",
            json!({}),
            "\"pointer\": missing (expected a JSON pointer such as \"/id\")",
        ),
        (
            "key-from",
            json!({ "pointer": 7 }),
            "\"pointer\": expected a JSON pointer such as \"/id\"",
        ),
        (
            "headers",
            json!({ "a": 7 }),
            "\"a\": expected a text, found 7",
        ),
        (
            "drop-unless",
            json!({ "/~": 7 }),
            "\"/~\": no JSON pointer: '~' at byte 1 of the pointer must be written '~0', or '~1' where '/' is meant",
        ),
    ];
    for (name, arguments, expected) in cases {
        assert_eq!(
            step(name, &arguments).unwrap_err(),
            expected,
            "{name} {arguments}"
        );
    }
    assert!(BuiltIn::new("sett", &Map::new()).is_none());
}
