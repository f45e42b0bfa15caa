//! What is read agrees with `serde_json`, for valid documents, damaged ones and any bytes.

mod edits;
mod hostile;
mod pointers;
mod reader;
mod values;

use super::*;
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, value::RawValue};
use std::collections::HashMap;

/// Reads a pointer that a test wrote right.
fn pointer(source: &str) -> Pointer {
    Pointer::parse(source).unwrap()
}

/// Reads one value.
fn one<'a>(document: &'a [u8], source: &str) -> Result<Option<JsonText<'a>>, JsonError> {
    let set = PointerSet::new([&pointer(source)]).unwrap();
    pick(document, &set).map(|picked| picked.get(0))
}

/// The text of one value.
fn raw<'a>(document: &'a str, source: &str) -> Option<&'a str> {
    let value = one(document.as_bytes(), source).unwrap();
    value.map(|value| value.raw())
}

/// Whitespace, mostly none.
fn space() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => Just(""), 1 => select(vec![" ", "\n", "\t\r", " \n  "])]
}

/// The texts of strings in all forms, with quotes.
fn string() -> impl Strategy<Value = String> {
    let parts = vec![
        "a",
        "b",
        "é",
        "😀",
        "\\u0061",
        "\\u00e9",
        "\\u00E9",
        "\\ud83d\\ude00",
        "\\\"",
        "\\\\",
        "\\/",
        "/",
        "~",
        "~1",
        "0",
        "\\b\\f\\n\\r\\t",
        "\u{7f}",
        "\\u0000",
        "eight by",
        "ÿ{}[]:,",
    ];
    prop_oneof![
        3 => vec(select(parts), 0..5).prop_map(|parts| format!("\"{}\"", parts.concat())),
        1 => any::<String>().prop_map(|text| Value::from(text).to_string()),
    ]
}

/// The texts of names, few, so that some come twice, written differently.
fn name() -> impl Strategy<Value = String> {
    let few = vec![
        "a", "a", "\\u0061", "b", "\\u0062", "", "0", "\\u0030", "1", "-", "a/b", "~",
    ];
    prop_oneof![
        6 => select(few).prop_map(|name| format!("\"{name}\"")),
        1 => string(),
    ]
}

fn number() -> impl Strategy<Value = String> {
    let odd = vec![
        "0",
        "-0",
        "0.0",
        "-0.5e-3",
        "1E+2",
        "1e0",
        "123456789012345678901234567890",
        "1e-400",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775808",
        "0.1e1",
        "1.50",
    ];
    prop_oneof![
        select(odd).prop_map(ToOwned::to_owned),
        any::<i64>().prop_map(|number| number.to_string()),
        (-1e300f64..1e300).prop_map(|number| format!("{number:e}")),
    ]
}

/// Puts parts between brackets, with commas and space.
fn bracketed(open: char, parts: &[(&str, String, &str)], close: char) -> String {
    let part = |(before, part, after): &(&str, String, &str)| format!("{before}{part}{after}");
    let parts: Vec<_> = parts.iter().map(part).collect();
    format!("{open}{}{close}", parts.join(","))
}

/// The texts of values; `unique` ones have no name twice in an object.
fn value(unique: bool) -> impl Strategy<Value = String> {
    let word = select(vec!["null", "true", "false", "[]", "{}", "[ ]", "{\n}"]);
    let leaf = prop_oneof![word.prop_map(ToOwned::to_owned), number(), string()];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        let items = vec((space(), inner.clone(), space()), 0..6);
        let member = (space(), name(), space(), space(), inner, space());
        let members = vec(member, 0..6).prop_map(move |members| {
            let (mut names, mut parts) = (Vec::new(), Vec::new());
            for (before, name, middle, third, value, after) in members {
                let read: String = serde_json::from_str(&name).unwrap();
                if !unique || !names.contains(&read) {
                    parts.push((before, format!("{name}{middle}:{third}{value}"), after));
                }
                names.push(read);
            }
            bracketed('{', &parts, '}')
        });
        prop_oneof![
            1 => items.prop_map(|items| bracketed('[', &items, ']')),
            2 => members,
        ]
    })
}

fn document() -> impl Strategy<Value = String> {
    (space(), value(false), space())
        .prop_map(|(before, value, after)| format!("{before}{value}{after}"))
}

/// The text of a pointer of a few tokens that documents may have.
fn any_pointer() -> impl Strategy<Value = Pointer> {
    let tokens = vec![
        "a", "b", "", "0", "1", "2", "3", "-", "01", "a~1b", "~0", "é",
    ];
    vec(select(tokens), 0..5).prop_map(|tokens| {
        let source: String = tokens.iter().flat_map(|token| ["/", *token]).collect();
        pointer(&source)
    })
}

/// Adds the pointers of all values in a value.
fn all_pointers(value: &Value, source: &str, found: &mut Vec<Pointer>) {
    found.extend(Pointer::parse(source));
    let mut below = |token: &str, value| {
        let token = token.replace('~', "~0").replace('/', "~1");
        all_pointers(value, &format!("{source}/{token}"), found);
    };
    match value {
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(i, v)| below(&i.to_string(), v)),
        Value::Object(members) => members.iter().for_each(|(name, value)| below(name, value)),
        _ => {}
    }
}

/// Adds the pointers of all values as they are written, also of those that a later member of the same name replaces.
fn written_pointers(value: JsonText<'_>, source: &str, found: &mut Vec<Pointer>) {
    found.extend(Pointer::parse(source));
    for (index, item) in value.items().into_iter().flatten().enumerate() {
        written_pointers(item, &format!("{source}/{index}"), found);
    }
    for (name, value) in value.entries().into_iter().flatten() {
        let token = name.as_str().unwrap().replace('~', "~0").replace('/', "~1");
        written_pointers(value, &format!("{source}/{token}"), found);
    }
}

/// What is given for a value of another kind.
fn wrong<T: std::fmt::Debug>(got: &Result<T, JsonError>) {
    assert!(matches!(got, Err(JsonError::Kind { .. })), "{got:?}");
}

/// Checks that a text reads as the value that `serde_json` made of it.
fn same(text: JsonText<'_>, value: &Value) {
    assert_eq!(text.kind() == Kind::Null, value.is_null());
    match (text.as_str(), value) {
        (Ok(got), Value::String(want)) => assert_eq!(got, want.as_str()),
        (got, _) => wrong(&got),
    }
    match (text.as_bool(), value) {
        (Ok(got), Value::Bool(want)) => assert_eq!(got, *want),
        (got, _) => wrong(&got),
    }
    match (text.as_number(), value) {
        (Ok(_), Value::Number(want)) => same_number(text, want),
        (got, _) => wrong(&got),
    }
    match (text.items(), value) {
        (Ok(got), Value::Array(want)) => {
            let is_empty = want.is_empty();
            assert_eq!(
                (text.len(), text.is_empty()),
                (Ok(want.len()), Ok(is_empty))
            );
            assert_eq!(got.clone().count(), want.len());
            got.zip(want).for_each(|(got, want)| same(got, want));
        }
        (got, _) => wrong(&got),
    }
    match (text.entries(), value) {
        (Ok(got), Value::Object(want)) => {
            assert_eq!(text.len(), Ok(got.clone().count()));
            let got: HashMap<_, _> = got.map(|(n, value)| (n.as_str().unwrap(), value)).collect();
            assert_eq!(got.len(), want.len());
            want.iter()
                .for_each(|(name, want)| same(got[name.as_str()], want));
        }
        (got, _) => wrong(&got),
    }
}

fn same_number(text: JsonText<'_>, want: &serde_json::Number) {
    assert_eq!(
        &serde_json::from_str::<serde_json::Number>(text.raw()).unwrap(),
        want
    );
    if text.raw() != "-0" {
        assert_eq!(
            (text.as_i64().ok(), text.as_u64().ok()),
            (want.as_i64(), want.as_u64())
        );
    }
    // Without `float_roundtrip` the last digit differs.
    let (got, want) = (text.as_f64().unwrap(), want.as_f64().unwrap());
    assert!(
        (got - want).abs() <= want.abs() * 1e-15,
        "{got} is not {want}"
    );
}

/// Checks that pointers read what `serde_json` reads, and that what it refuses is refused.
fn agree(document: &[u8], mut pointers: Vec<Pointer>) {
    let reference = serde_json::from_slice::<Value>(document);
    if let Ok(value) = &reference {
        all_pointers(value, "", &mut pointers);
        let written = JsonText::parse(document, Limits::default()).unwrap();
        written_pointers(written, "", &mut pointers);
    }
    pointers.truncate(POINTERS_MAX);
    let set = PointerSet::new(&pointers).unwrap();
    let picked = pick(document, &set);
    let syntax =
        str::from_utf8(document).is_ok_and(|text| serde_json::from_str::<&RawValue>(text).is_ok());
    assert_eq!(picked.is_ok(), syntax, "{picked:?}");
    let (value, picked) = match (reference, picked) {
        (Ok(value), picked) => (value, picked.unwrap()),
        (Err(error), Ok(_)) => {
            // What the module says that it accepts beyond.
            let error = error.to_string();
            let beyond = [
                "recursion limit",
                "number out of range",
                "surrogate",
                "end of hex escape",
            ];
            return assert!(
                beyond.iter().any(|reason| error.contains(reason)),
                "{error}"
            );
        }
        (Err(_), Err(_)) => return,
    };
    assert_eq!(picked.iter().len(), pointers.len());
    for (pointer, got) in pointers.iter().zip(picked.iter()) {
        let want = value.pointer(pointer.as_str());
        assert_eq!(got.is_some(), want.is_some(), "{pointer}: {got:?}");
        if let (Some(got), Some(want)) = (got, want) {
            same(got, want);
        }
    }
}

/// Damages a document at some places.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let bytes = b"{}[]\",:\\u0dD8c1eE+-.tfn \n\x00\x1f\x80\xff/".to_vec();
    let damage = (any::<prop::sample::Index>(), 0..4, select(bytes));
    (document(), vec(damage, 1..4)).prop_map(|(document, damages)| {
        let mut document = document.into_bytes();
        for (place, how, byte) in damages {
            let place = place.index(document.len().max(1));
            match how {
                0 => document.insert(place, byte),
                1 if place < document.len() => document[place] = byte,
                2 if place < document.len() => drop(document.remove(place)),
                _ => document.truncate(place),
            }
        }
        document
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn json_views_agree_with_serde_json(
        document in document(),
        pointers in vec(any_pointer(), 0..8),
    ) {
        prop_assert!(serde_json::from_str::<Value>(&document).is_ok(), "{}", document);
        agree(document.as_bytes(), pointers);
    }

    #[test]
    fn json_views_agree_with_serde_json_on_damaged_documents(
        document in damaged(),
        pointers in vec(any_pointer(), 0..8),
    ) {
        agree(&document, pointers);
    }

    #[test]
    fn json_views_agree_with_serde_json_on_any_bytes(
        bytes in prop_oneof![
            vec(any::<u8>(), 0..40),
            "[\\[\\]{}\":,a0 ]{0,12}".prop_map(String::into_bytes),
            "\"(\\\\u[dD][89abcCdDeEfF0-9]{2,4}|\\\\.|a){0,4}\"".prop_map(String::into_bytes),
            "-?[0-9.eE+-]{0,6}".prop_map(String::into_bytes),
        ],
        pointers in vec(any_pointer(), 0..4),
    ) {
        agree(&bytes, pointers);
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Brackets of both kinds, deeper than the words of bits that note them, some closed by the wrong one.
    #[test]
    fn any_nesting_is_checked(
        kinds in vec(any::<bool>(), 0..200),
        wrong in any::<Option<prop::sample::Index>>(),
        again in 0usize..200,
    ) {
        let open = |kinds: &[bool]| -> String { kinds.iter().map(|o| if *o { "{\"a\":" } else { "[" }).collect() };
        let close = |kinds: &[bool]| -> String { kinds.iter().rev().map(|o| if *o { '}' } else { ']' }).collect() };
        // Out a part of the way, in again, and out.
        let (outer, inner) = kinds.split_at(again.min(kinds.len()));
        let next = outer.last().map_or("", |object| if *object { ",\"b\":" } else { "," });
        let mut document = format!("{}{}1{}", open(outer), open(inner), close(inner));
        if !next.is_empty() {
            document = format!("{document}{next}{}1{}", open(inner), close(inner));
        }
        let mut document = format!("{document}{}", close(outer)).into_bytes();
        let closing: Vec<_> = (0..document.len()).filter(|i| b"}]".contains(&document[*i])).collect();
        let wrong = wrong.filter(|_| !closing.is_empty());
        if let Some(wrong) = wrong {
            document[closing[wrong.index(closing.len())]] ^= b'}' ^ b']';
        }
        let got = one(&document, "/a/0");
        prop_assert_eq!(got.is_ok(), wrong.is_none());
        prop_assert_eq!(got.is_ok(), serde_json::from_slice::<&RawValue>(&document).is_ok());
    }
}
