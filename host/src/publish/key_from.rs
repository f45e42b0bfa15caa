//! The key of an output, taken from its own value.
//!
//! Handed the value, gives the bytes of the key, or why there is none.
//! **Invariant:** equal texts, and equal numbers that are written alike, are equal keys; no value gives an empty stand-in.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::json::{JsonError, Kind, Pointer, PointerError, PointerSet, pick};

/// Where in a value the key stands.
#[derive(Clone)]
pub struct KeyFrom(Arc<Place>);

struct Place {
    pointer: Pointer,
    set: PointerSet,
}

/// Why a value gives no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no key under `{pointer}` of its value (publish.key-from): {fault}")]
pub struct NoKey {
    /// Where it was to stand.
    pub pointer: Pointer,
    /// What is wrong.
    pub fault: NoKeyFault,
}

/// What is wrong with a value that gives no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoKeyFault {
    /// There is no value: the record is a tombstone.
    #[error("the value is null")]
    NoValue,
    /// The value cannot be read, or the text in it cannot.
    #[error("{0}")]
    Json(#[from] JsonError),
    /// The value has nothing there.
    #[error("nothing stands there")]
    Missing,
    /// What stands there is no key.
    #[error("found {0}, want a text, a number, true or false")]
    Kind(Kind),
}

impl KeyFrom {
    /// Takes the key from a value; a text is copied only if it has escapes.
    pub fn read<'a>(&self, value: Option<&'a [u8]>) -> Result<Cow<'a, [u8]>, NoKey> {
        self.find(value).map_err(|fault| NoKey {
            pointer: self.0.pointer.clone(),
            fault,
        })
    }

    fn find<'a>(&self, value: Option<&'a [u8]>) -> Result<Cow<'a, [u8]>, NoKeyFault> {
        let value = value.ok_or(NoKeyFault::NoValue)?;
        let picked = pick(value, &self.0.set)?;
        let found = picked.get(0).ok_or(NoKeyFault::Missing)?;
        match found.kind() {
            Kind::String => Ok(match found.as_str()? {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            }),
            Kind::Number | Kind::Bool => Ok(Cow::Borrowed(found.raw().as_bytes())),
            kind @ (Kind::Null | Kind::Array | Kind::Object) => Err(NoKeyFault::Kind(kind)),
        }
    }
}

impl FromStr for KeyFrom {
    type Err = PointerError;

    fn from_str(text: &str) -> Result<Self, PointerError> {
        let pointer = Pointer::parse(text)?;
        let set = PointerSet::new([&pointer])?;
        Ok(Self(Arc::new(Place { pointer, set })))
    }
}

impl fmt::Debug for KeyFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyFrom").field(&self.0.pointer).finish()
    }
}

impl PartialEq for KeyFrom {
    fn eq(&self, other: &Self) -> bool {
        self.0.pointer == other.0.pointer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn read(pointer: &str, value: Option<&str>) -> Result<String, String> {
        let place: KeyFrom = pointer.parse().unwrap();
        let key = place.read(value.map(str::as_bytes));
        key.map(|key| String::from_utf8(key.into_owned()).unwrap())
            .map_err(|error| error.fault.to_string())
    }

    #[test]
    fn a_key_is_a_text_or_what_json_writes() {
        let order = r#"{"id": "a\u00e9", "n": -7, "big": 1e400, "paid": true, "items": [{"sku": ""}], "a/b": 1}"#;
        for (pointer, key) in [
            ("/id", "a\u{e9}"),
            ("/n", "-7"),
            ("/big", "1e400"),
            ("/paid", "true"),
            ("/items/0/sku", ""),
            ("/a~1b", "1"),
        ] {
            assert_eq!(read(pointer, Some(order)).as_deref(), Ok(key), "{pointer}");
        }
        assert_eq!(read("", Some(" \"all\" ")).as_deref(), Ok("all"));
    }

    #[test]
    fn what_has_no_key_says_why() {
        let want = "want a text, a number, true or false";
        for (value, why) in [
            (None, "the value is null".to_owned()),
            (Some(""), "the document ends too early at byte 0".to_owned()),
            (Some("{}"), "nothing stands there".to_owned()),
            (Some("[1]"), "nothing stands there".to_owned()),
            (Some(r#"{"id": null}"#), format!("found null, {want}")),
            (Some(r#"{"id": [1]}"#), format!("found an array, {want}")),
            (Some(r#"{"id": {}}"#), format!("found an object, {want}")),
            (
                Some(r#"{"id": "\ud800"}"#),
                "a lone surrogate at byte 0 of the string".to_owned(),
            ),
            (
                Some(r#"{"id": 1} x"#),
                "something after the document at byte 10".to_owned(),
            ),
        ] {
            assert_eq!(read("/id", value), Err(why), "{value:?}");
        }
        let place: KeyFrom = "/a~1b".parse().unwrap();
        let words = place.read(None).unwrap_err().to_string();
        assert_eq!(
            words,
            "there is no key under `/a~1b` of its value (publish.key-from): the value is null"
        );
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(2, 8, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[ab]", inner, 0..3).prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_key_is_what_the_tree_has_there(value in any_value(), pointer in "(/[ab01]){0,2}") {
            let naive = match value.pointer(&pointer) {
                Some(Value::String(text)) => Ok(text.clone()),
                Some(found @ (Value::Number(_) | Value::Bool(_))) => Ok(found.to_string()),
                _ => Err(()),
            };
            let text = value.to_string();
            prop_assert_eq!(read(&pointer, Some(&text)).map_err(drop), naive, "{} {}", pointer, text);
        }

        #[test]
        fn no_value_makes_it_panic(value in any::<Vec<u8>>()) {
            let place: KeyFrom = "/a/0".parse().unwrap();
            let _ = place.read(Some(&value));
        }
    }
}
