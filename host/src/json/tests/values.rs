//! What a value gives, and which errors.

use super::*;

fn value(text: &str) -> JsonText<'_> {
    JsonText::parse(text.as_bytes(), Limits::default()).unwrap()
}

#[test]
fn numbers_keep_their_text_and_say_why_they_do_not_fit() {
    let digits = "9".repeat(30);
    assert_eq!(value(&digits).as_number(), Ok(digits.as_str()));
    assert_eq!(
        value(&digits).as_i64(),
        Err(JsonError::Range { wanted: "i64" })
    );
    assert_eq!(value(&digits).as_f64(), Ok(1e30));
    assert_eq!(value("18446744073709551615").as_u64(), Ok(u64::MAX));
    assert_eq!(
        value("18446744073709551615").as_i64(),
        Err(JsonError::Range { wanted: "i64" })
    );
    assert_eq!(value("-9223372036854775808").as_i64(), Ok(i64::MIN));
    assert_eq!(
        value("-1").as_u64(),
        Err(JsonError::Range { wanted: "u64" })
    );
    assert_eq!((value("-0").as_u64(), value("-0").as_i64()), (Ok(0), Ok(0)));
    assert_eq!(
        value("1.0").as_i64(),
        Err(JsonError::NotInteger { wanted: "i64" })
    );
    assert_eq!(
        value("1e3").as_u64(),
        Err(JsonError::NotInteger { wanted: "u64" })
    );
    assert_eq!(
        value("1e400").as_f64(),
        Err(JsonError::Range { wanted: "f64" })
    );
    assert_eq!(
        value("-1e400").as_f64(),
        Err(JsonError::Range { wanted: "f64" })
    );
    assert_eq!(value("1e-400").as_f64(), Ok(0.0));
    assert_eq!(value("0.1").as_f64(), Ok(0.1));
}

#[test]
fn a_value_of_another_kind_says_what_it_is() {
    let error = value("[1]").as_str().unwrap_err();
    assert_eq!(
        error,
        JsonError::Kind {
            wanted: "a string",
            found: Kind::Array
        }
    );
    assert_eq!(error.to_string(), "want a string, found an array");
    assert_eq!(
        value("{}").as_bool().unwrap_err().to_string(),
        "want a boolean, found an object"
    );
    assert_eq!(
        value("1").len().unwrap_err().to_string(),
        "want an array or object, found a number"
    );
}

#[test]
fn a_string_is_copied_only_if_it_has_escapes() {
    use std::borrow::Cow;
    assert!(matches!(
        value("\"grün\"").as_str(),
        Ok(Cow::Borrowed("grün"))
    ));
    assert!(
        matches!(value(r#""gr\u00FCn\/\ud83d\uDE00\"""#).as_str(), Ok(Cow::Owned(text)) if text == "grün/😀\"")
    );
}

#[test]
fn half_a_surrogate_pair_is_no_text() {
    for (text, at) in [
        (r#""\ud800""#, 0),
        (r#""ab\udc00""#, 2),
        (r#""\ud83d\ude00\ud800\u0061""#, 12),
        (r#""\ud800\ud83d\ude00""#, 0),
        (r#""\ud800\n""#, 0),
        (r#""\ud800x""#, 0),
    ] {
        assert_eq!(
            value(text).as_str(),
            Err(JsonError::Surrogate { at }),
            "{text}"
        );
    }
}

#[test]
fn members_come_as_they_are_written() {
    let object = value("{ \"a\" : 1 ,\n\"\\u0061\":[ 2 ], \"b\" :{} }");
    let got: Vec<_> = object
        .entries()
        .unwrap()
        .map(|(name, value)| (name.raw(), value.raw()))
        .collect();
    assert_eq!(
        got,
        [("\"a\"", "1"), ("\"\\u0061\"", "[ 2 ]"), ("\"b\"", "{}")]
    );
    assert_eq!((object.len(), object.is_empty()), (Ok(3), Ok(false)));
    let mut items = value("[ 1 ]").items().unwrap();
    assert_eq!(
        items.by_ref().map(|item| item.raw()).collect::<Vec<_>>(),
        ["1"]
    );
    assert_eq!(items.next(), None);
}

#[test]
fn the_document_is_without_the_space_around_it() {
    assert_eq!(raw(" \n{\"a\" : 1}\t", ""), Some("{\"a\" : 1}"));
    assert_eq!(raw(" \n{\"a\" : 1}\t", "/a"), Some("1"));
}
