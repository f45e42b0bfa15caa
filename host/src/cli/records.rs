//! The JSON line of a record: what `produce --format json` reads and `consume --format json` writes.
//!
//! It is handed bytes and returns records, or the other way round; it knows no Kafka client.
//! A key, value or header is text where it is UTF-8 and base64 where it is not.
//! **Invariant:** what [`print()`] writes, [`parse`] reads back unchanged, byte for byte, null and empty apart.

use std::fmt;
use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::record::{Emit, Header, RecordView, lend_headers};

/// A record read from a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LineRecord {
    /// The key, `None` for null.
    pub key: Option<Vec<u8>>,
    /// The value, `None` for a tombstone.
    pub value: Option<Vec<u8>>,
    /// Names and values in their order; `None` is null.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// The partition; `None` lets the key decide.
    pub partition: Option<i32>,
    /// Milliseconds since the Unix epoch; `None` is the time of sending.
    pub timestamp_ms: Option<i64>,
}

impl LineRecord {
    /// Lends the record, addressed to `topic`.
    pub fn as_emit<'a>(&'a self, topic: &'a str) -> Emit<'a> {
        Emit {
            topic,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: lend_headers(&self.headers),
            partition: self.partition,
            timestamp_ms: self.timestamp_ms,
        }
    }
}

/// Why a line is not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Its JSON is broken, or has a field that a record does not have.
    #[error("column {column}: {problem}")]
    Json {
        /// Counted from 1.
        column: usize,
        /// What the JSON parser says.
        problem: String,
    },
    /// It is no JSON object.
    #[error("expected a JSON object such as {{\"key\": \"k\", \"value\": \"v\"}}")]
    NotAnObject,
    /// A field is given as text and as base64.
    #[error("\"{0}\" and \"{0}-base64\" exclude each other")]
    Twice(&'static str),
    /// A field is not base64.
    #[error("{field} is not base64: {problem}")]
    Base64 {
        /// The field.
        field: String,
        /// What the decoder says.
        problem: String,
    },
    /// A partition or timestamp is below 0.
    #[error("\"{0}\" is negative")]
    Negative(&'static str),
    /// Clients read a header's name as a C string.
    #[error("the header name {0:?} contains a NUL character")]
    HeaderName(String),
}

/// The fields of a line. Others are refused, since a misspelt `value` would be a tombstone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Line<'a> {
    #[serde(borrow, default)]
    key: Option<&'a RawValue>,
    #[serde(default)]
    key_base64: Option<String>,
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
    #[serde(default)]
    value_base64: Option<String>,
    #[serde(default)]
    headers: Option<Headers>,
    #[serde(default)]
    partition: Option<i32>,
    #[serde(default)]
    timestamp: Option<i64>,
    // Where a record came from says nothing about where it goes.
    #[serde(borrow, default, rename = "topic")]
    _topic: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "offset")]
    _offset: Option<&'a RawValue>,
}

/// Headers as an object, or as a list of pairs where names repeat.
struct Headers(Vec<(String, Option<HeaderValue>)>);

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a header's value is text, null or {\"base64\": \"…\"}"
)]
enum HeaderValue {
    Text(String),
    Binary(Base64Text),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Base64Text {
    base64: String,
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Headers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("headers as an object or as a list of [name, value]")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Headers(pairs))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Headers, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = seq.next_element()? {
                    pairs.push(pair);
                }
                Ok(Headers(pairs))
            }
        }

        deserializer.deserialize_any(Pairs)
    }
}

/// Reads one line; white space around the object is ignored.
pub fn parse(line: &[u8]) -> Result<LineRecord, ParseError> {
    // The derived reader would take a list for the fields in their order.
    if !line.trim_ascii_start().starts_with(b"{") {
        return Err(ParseError::NotAnObject);
    }
    let fields: Line<'_> = serde_json::from_slice(line).map_err(|error| json_error(&error))?;
    if fields.partition.is_some_and(i32::is_negative) {
        return Err(ParseError::Negative("partition"));
    }
    if fields.timestamp.is_some_and(i64::is_negative) {
        return Err(ParseError::Negative("timestamp"));
    }
    let mut headers = Vec::new();
    for (name, value) in fields.headers.map(|headers| headers.0).unwrap_or_default() {
        if name.contains('\0') {
            return Err(ParseError::HeaderName(name));
        }
        let value = match value {
            None => None,
            Some(HeaderValue::Text(text)) => Some(text.into_bytes()),
            Some(HeaderValue::Binary(binary)) => {
                Some(decode(&binary.base64, || format!("header {name:?}"))?)
            }
        };
        headers.push((name, value));
    }
    Ok(LineRecord {
        key: either("key", fields.key, fields.key_base64.as_deref())?,
        value: either("value", fields.value, fields.value_base64.as_deref())?,
        headers,
        partition: fields.partition,
        timestamp_ms: fields.timestamp,
    })
}

fn json_error(error: &serde_json::Error) -> ParseError {
    let text = error.to_string();
    // The parser counts lines within what it is given, which is one line.
    let problem = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(problem, _)| problem);
    ParseError::Json {
        column: error.column(),
        problem: problem.to_owned(),
    }
}

fn either(
    field: &'static str,
    json: Option<&RawValue>,
    base64: Option<&str>,
) -> Result<Option<Vec<u8>>, ParseError> {
    match (json, base64) {
        (Some(_), Some(_)) => Err(ParseError::Twice(field)),
        (None, Some(text)) => decode(text, || format!("\"{field}-base64\"")).map(Some),
        (Some(json), None) if json.get().starts_with('"') => {
            let text: String =
                serde_json::from_str(json.get()).map_err(|error| json_error(&error))?;
            Ok(Some(text.into_bytes()))
        }
        (Some(json), None) => Ok(Some(compact(json.get()))),
        (None, None) => Ok(None),
    }
}

fn decode(text: &str, field: impl FnOnce() -> String) -> Result<Vec<u8>, ParseError> {
    BASE64.decode(text).map_err(|error| ParseError::Base64 {
        field: field(),
        problem: error.to_string(),
    })
}

/// Drops the white space between the tokens. Numbers stay as written, which a parsed number would not.
fn compact(json: &str) -> Vec<u8> {
    let (mut in_string, mut escaped) = (false, false);
    let is_kept = |&byte: &u8| {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            return true;
        }
        in_string = byte == b'"';
        !byte.is_ascii_whitespace()
    };
    json.bytes().filter(is_kept).collect()
}

/// Writes a record as one line with its line feed, in a form that [`parse`] takes.
///
/// Headers are an object, unless a name repeats: then they are a list of pairs.
pub fn print(out: &mut impl Write, record: &RecordView<'_>) -> io::Result<()> {
    out.write_all(b"{\"topic\":")?;
    serde_json::to_writer(&mut *out, record.topic)?;
    write!(
        out,
        ",\"partition\":{},\"offset\":{}",
        record.partition, record.offset
    )?;
    if let Some(timestamp_ms) = record.timestamp_ms {
        write!(out, ",\"timestamp\":{timestamp_ms}")?;
    }
    print_field(out, "key", record.key)?;
    if !record.headers.is_empty() {
        out.write_all(b",\"headers\":")?;
        print_headers(out, &record.headers)?;
    }
    print_field(out, "value", record.value)?;
    out.write_all(b"}\n")
}

fn print_field(out: &mut impl Write, field: &str, bytes: Option<&[u8]>) -> io::Result<()> {
    match bytes.map(|bytes| (std::str::from_utf8(bytes), bytes)) {
        None => write!(out, ",\"{field}\":null"),
        Some((Ok(text), _)) => {
            write!(out, ",\"{field}\":")?;
            Ok(serde_json::to_writer(out, text)?)
        }
        Some((Err(_), bytes)) => write!(out, ",\"{field}-base64\":\"{}\"", BASE64.encode(bytes)),
    }
}

fn print_headers(out: &mut impl Write, headers: &[Header<'_>]) -> io::Result<()> {
    let repeats = (1..headers.len()).any(|end| {
        let (before, rest) = headers.split_at(end);
        rest.first()
            .is_some_and(|header| before.iter().any(|other| other.key == header.key))
    });
    let [open, between, close, end] = if repeats {
        ["[", ",", "]", "]"]
    } else {
        ["", ":", "", "}"]
    };
    out.write_all(if repeats { b"[" } else { b"{" })?;
    for (index, header) in headers.iter().enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        out.write_all(open.as_bytes())?;
        serde_json::to_writer(&mut *out, &header.key)?;
        out.write_all(between.as_bytes())?;
        match header
            .value
            .map(|bytes| (std::str::from_utf8(bytes), bytes))
        {
            None => out.write_all(b"null")?,
            Some((Ok(text), _)) => serde_json::to_writer(&mut *out, text)?,
            Some((Err(_), bytes)) => write!(out, "{{\"base64\":\"{}\"}}", BASE64.encode(bytes))?,
        }
        out.write_all(close.as_bytes())?;
    }
    out.write_all(end.as_bytes())
}

#[cfg(test)]
mod tests;
