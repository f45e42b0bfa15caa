//! Steps that the host does itself, without a component.
//!
//! Handed the arguments of the manifest when that is read, and messages afterwards.
//! **Invariant:** a step that exists has arguments of its own kind; what a message lacks is a fault of the message.

use std::fmt;

use serde_json::{Map, Value};

use crate::json::{Change, Kind, Picked, Pointer, PointerSet, edit, pick};
use crate::record::Changed;

/// The names of all of them, as the manifest has them.
pub const BUILT_INS: [&str; 6] = [
    "set",
    "remove",
    "require",
    "key-from",
    "headers",
    "drop-unless",
];

/// A step that the host does itself.
#[derive(Debug, Clone)]
pub enum BuiltIn {
    /// Sets or removes what pointers name in the value.
    Edit(Vec<Change>),
    /// Rejects a message in whose value something is missing or null.
    Require(Pointers),
    /// Makes what a pointer names in the value the key.
    KeyFrom(Pointers),
    /// Gives the message headers, in place of those of the same names.
    Headers(Vec<(String, String)>),
    /// Drops a message unless its value has all of these values.
    DropUnless(Pointers, Vec<Value>),
}

/// Pointers with what is found by them.
#[derive(Debug, Clone)]
pub struct Pointers {
    pointers: Vec<Pointer>,
    set: PointerSet,
}

/// Why arguments are none of a built-in step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltInError {
    /// The argument, empty for all of them.
    pub argument: String,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for BuiltInError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.argument.is_empty() {
            return f.write_str(&self.what);
        }
        write!(f, "{:?}: {}", self.argument, self.what)
    }
}

impl std::error::Error for BuiltInError {}

impl PartialEq for BuiltIn {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Edit(a), Self::Edit(b)) => a == b,
            (Self::Require(a), Self::Require(b)) | (Self::KeyFrom(a), Self::KeyFrom(b)) => {
                a.pointers == b.pointers
            }
            (Self::Headers(a), Self::Headers(b)) => a == b,
            (Self::DropUnless(a, x), Self::DropUnless(b, y)) => a.pointers == b.pointers && x == y,
            _ => false,
        }
    }
}

impl BuiltIn {
    /// Makes the step of this name; nothing where there is none.
    pub fn new(name: &str, arguments: &Map<String, Value>) -> Option<Result<Self, BuiltInError>> {
        let made = match name {
            "set" => by_pointer(arguments, "\"/checked\" = true").map(|entries| {
                let set =
                    |(pointer, value): (Pointer, &Value)| Change::Set(pointer, value.to_string());
                Self::Edit(entries.into_iter().map(set).collect())
            }),
            "remove" => listed(arguments)
                .map(|pointers| Self::Edit(pointers.into_iter().map(Change::Remove).collect())),
            "require" => listed(arguments).and_then(Pointers::new).map(Self::Require),
            "key-from" => pointer_argument(arguments)
                .and_then(|pointer| Pointers::new(vec![pointer]))
                .map(Self::KeyFrom),
            "headers" => headers(arguments).map(Self::Headers),
            "drop-unless" => by_pointer(arguments, "\"/status\" = \"paid\"").and_then(|entries| {
                let values = entries.iter().map(|(_, value)| (*value).clone()).collect();
                let pointers = entries.into_iter().map(|(pointer, _)| pointer).collect();
                Ok(Self::DropUnless(Pointers::new(pointers)?, values))
            }),
            _ => return None,
        };
        Some(made)
    }

    /// Does the step. `None` drops the message; an error says why the message cannot be handled.
    pub fn apply(&self, mut message: Changed) -> Result<Option<Changed>, String> {
        match self {
            Self::Edit(changes) => {
                let edited = edit(value_of(&message)?, changes);
                message.value = Some(edited.map_err(|error| error.to_string())?);
            }
            Self::Require(pointers) => {
                let picked = pointers.pick(&message)?;
                let is_there = |place: usize| {
                    let found = picked.get(place);
                    found.is_some_and(|found| found.kind() != Kind::Null)
                };
                let mut wanted = pointers.pointers.iter().enumerate();
                if let Some((_, pointer)) = wanted.find(|(place, _)| !is_there(*place)) {
                    return Err(format!("the value has nothing at {pointer}"));
                }
            }
            Self::KeyFrom(pointers) => message.key = Some(pointers.key(&message)?),
            Self::Headers(headers) => {
                for (name, value) in headers {
                    message.set_header(name, value.as_bytes());
                }
            }
            Self::DropUnless(pointers, values) => {
                let picked = pointers.pick(&message)?;
                let is_equal = |(place, wanted): (usize, &Value)| {
                    let found = picked.get(place);
                    found.is_some_and(|found| is_same(found.raw(), wanted))
                };
                let stays = values.iter().enumerate().all(is_equal);
                drop(picked);
                return Ok(stays.then_some(message));
            }
        }
        Ok(Some(message))
    }
}

impl Pointers {
    fn new(pointers: Vec<Pointer>) -> Result<Self, BuiltInError> {
        let set = PointerSet::new(&pointers).map_err(|error| BuiltInError {
            argument: String::new(),
            what: error.to_string(),
        })?;
        Ok(Self { pointers, set })
    }

    fn pick<'m>(&self, message: &'m Changed) -> Result<Picked<'m>, String> {
        let picked = pick(value_of(message)?, &self.set);
        picked.map_err(|error| format!("the value cannot be read: {error}"))
    }

    fn key(&self, message: &Changed) -> Result<Vec<u8>, String> {
        let picked = self.pick(message)?;
        let pointer = || {
            self.pointers
                .first()
                .map(ToString::to_string)
                .unwrap_or_default()
        };
        let Some(found) = picked.get(0) else {
            return Err(format!("the value has nothing at {}", pointer()));
        };
        match found.kind() {
            Kind::String => {
                let text = found.as_str().map_err(|error| error.to_string())?;
                Ok(text.as_bytes().to_vec())
            }
            Kind::Number | Kind::Bool => Ok(found.raw().as_bytes().to_vec()),
            other => Err(format!(
                "want a text, a number or a boolean at {} for the key, found {other}",
                pointer()
            )),
        }
    }
}

fn value_of(message: &Changed) -> Result<&[u8], String> {
    let value = message.value.as_deref();
    value.ok_or_else(|| "the record has no value: it is a tombstone".to_owned())
}

/// Returns whether a text is this value; numbers are equal where they are equally large.
fn is_same(found: &str, wanted: &Value) -> bool {
    match serde_json::from_str::<Value>(found) {
        Ok(Value::Number(found)) => {
            let is_as_large = wanted.as_f64().is_some_and(|it| found.as_f64() == Some(it));
            let is_whole = found.is_i64() || found.is_u64();
            let wants_whole = wanted.is_i64() || wanted.is_u64();
            if is_whole && wants_whole {
                Value::Number(found) == *wanted
            } else {
                is_as_large
            }
        }
        Ok(found) => found == *wanted,
        Err(_) => false,
    }
}

fn refused<T>(argument: &str, what: impl Into<String>) -> Result<T, BuiltInError> {
    Err(BuiltInError {
        argument: argument.to_owned(),
        what: what.into(),
    })
}

fn pointer(argument: &str, text: &str) -> Result<Pointer, BuiltInError> {
    Pointer::parse(text).or_else(|error| refused(argument, format!("no JSON pointer: {error}")))
}

/// Reads arguments each of which is a pointer with a value.
fn by_pointer<'a>(
    arguments: &'a Map<String, Value>,
    example: &str,
) -> Result<Vec<(Pointer, &'a Value)>, BuiltInError> {
    if arguments.is_empty() {
        return refused(
            "",
            format!("expected JSON pointers with values such as {example}"),
        );
    }
    let entries = arguments.iter();
    entries
        .map(|(text, value)| Ok((pointer(text, text)?, value)))
        .collect()
}

/// Reads the argument `pointers`.
fn listed(arguments: &Map<String, Value>) -> Result<Vec<Pointer>, BuiltInError> {
    const EXPECTED: &str = "expected a list of JSON pointers such as [\"/card\"]";
    let items = only(arguments, "pointers", EXPECTED)?.as_array();
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return refused("pointers", EXPECTED);
    };
    let read = |item: &Value| match item.as_str() {
        Some("") => refused("pointers", "the empty pointer names the whole value"),
        Some(text) => pointer("pointers", text),
        None => refused("pointers", EXPECTED),
    };
    items.iter().map(read).collect()
}

/// Reads the argument `pointer`.
fn pointer_argument(arguments: &Map<String, Value>) -> Result<Pointer, BuiltInError> {
    const EXPECTED: &str = "expected a JSON pointer such as \"/id\"";
    match only(arguments, "pointer", EXPECTED)?.as_str() {
        Some(text) => pointer("pointer", text),
        None => refused("pointer", EXPECTED),
    }
}

fn headers(arguments: &Map<String, Value>) -> Result<Vec<(String, String)>, BuiltInError> {
    if arguments.is_empty() {
        return refused(
            "",
            "expected names of headers with their texts such as region = \"eu\"",
        );
    }
    let read = |(name, value): (&String, &Value)| match value.as_str() {
        Some(text) => Ok((name.clone(), text.to_owned())),
        None => refused(name, format!("expected a text, found {value}")),
    };
    arguments.iter().map(read).collect()
}

/// Returns the only argument that there may be.
fn only<'a>(
    arguments: &'a Map<String, Value>,
    name: &str,
    expected: &str,
) -> Result<&'a Value, BuiltInError> {
    if let Some(other) = arguments.keys().find(|key| *key != name) {
        return refused(other, format!("unknown argument (known here: {name})"));
    }
    match arguments.get(name) {
        Some(value) => Ok(value),
        None => refused(name, format!("missing ({expected})")),
    }
}

#[cfg(test)]
mod tests;
