//! From what a pointer names to types of Rust.
//!
//! It is handed the value that the host gives and owns the conversions.
//!
//! **Invariant:** a number that does not fit is an error, never another number.

use serde::de::DeserializeOwned;

use super::JsonError;
use crate::Json;
use crate::bindings::imports::kafka::handler::json::Value;

/// A value is not of the kind that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherKind {
    expected: &'static str,
    found: &'static str,
}

impl OtherKind {
    /// Says what was expected and what `found` is.
    pub fn new(expected: &'static str, found: &Value) -> Self {
        let found = match found {
            Value::Absent => "nothing",
            Value::Null => "null",
            Value::Boolean(_) => "a boolean",
            Value::Integer(_) | Value::Number(_) => "a number",
            Value::Text(_) => "a string",
            // Or a string that is no text.
            Value::Raw(raw) if raw.starts_with('"') => "half a surrogate pair in a string",
            Value::Raw(_) => "an array or object",
        };
        Self { expected, found }
    }

    pub(crate) fn at(self, pointer: &str) -> JsonError {
        JsonError::Unexpected {
            pointer: pointer.to_owned(),
            expected: self.expected,
            found: self.found,
        }
    }
}

/// A type that a part of a JSON value can be read as.
pub trait FromJson: Sized {
    /// Reads what a pointer named.
    fn from_json(value: Value) -> Result<Self, OtherKind>;
}

impl FromJson for Value {
    fn from_json(value: Value) -> Result<Self, OtherKind> {
        Ok(value)
    }
}

impl FromJson for String {
    fn from_json(value: Value) -> Result<Self, OtherKind> {
        match value {
            Value::Text(text) => Ok(text),
            other => Err(OtherKind::new("a string", &other)),
        }
    }
}

impl FromJson for bool {
    fn from_json(value: Value) -> Result<Self, OtherKind> {
        match value {
            Value::Boolean(boolean) => Ok(boolean),
            other => Err(OtherKind::new("a boolean", &other)),
        }
    }
}

impl FromJson for f64 {
    #[expect(clippy::cast_precision_loss, reason = "the nearest one is meant")]
    fn from_json(value: Value) -> Result<Self, OtherKind> {
        let number = match &value {
            Value::Integer(integer) => Some(*integer as Self),
            Value::Number(text) => text.parse().ok().filter(|number: &Self| number.is_finite()),
            _ => None,
        };
        number.ok_or_else(|| OtherKind::new("a number of 64 bits", &value))
    }
}

/// Integers, written without fraction and exponent.
macro_rules! integers {
    ($($type:ident)*) => {$(
        impl FromJson for $type {
            fn from_json(value: Value) -> Result<Self, OtherKind> {
                let integer = match &value {
                    Value::Integer(integer) => Self::try_from(*integer).ok(),
                    Value::Number(text) => text.parse().ok(),
                    _ => None,
                };
                integer.ok_or_else(|| OtherKind::new(concat!("an integer of ", stringify!($type)), &value))
            }
        }
    )*};
}

integers! { i8 i16 i32 i64 u8 u16 u32 u64 }

/// `None` for `null`, and where there is nothing.
impl<T: FromJson> FromJson for Option<T> {
    fn from_json(value: Value) -> Result<Self, OtherKind> {
        match value {
            Value::Absent | Value::Null => Ok(None),
            some => T::from_json(some).map(Some),
        }
    }
}

/// An array or object, parsed in the handler.
impl<T: DeserializeOwned> FromJson for Json<T> {
    fn from_json(value: Value) -> Result<Self, OtherKind> {
        let parsed = match &value {
            Value::Raw(text) => serde_json::from_str(text).ok(),
            _ => None,
        };
        let expected = "an array or object as the handler expects it";
        parsed
            .map(Json)
            .ok_or_else(|| OtherKind::new(expected, &value))
    }
}
