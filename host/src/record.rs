//! What a Kafka record consists of, borrowed from wherever it lies.
//!
//! The source lends records to the flow as a [`RecordView`]; the outbox lends emits to the sink as an [`Emit`].
//! **Invariant:** nothing here decodes or defaults: null and empty stay different things.

use std::borrow::Cow;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::str::FromStr;
use std::sync::Arc;

/// One header of a record. A value of `None` is Kafka's null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header<'a> {
    /// The key; Kafka's protocol makes it UTF-8, anything else is replaced by U+FFFD.
    pub key: Cow<'a, str>,
    /// The value, `None` for null.
    pub value: Option<&'a [u8]>,
}

/// The place of a record in Kafka.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RecordId {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition, counted from 0.
    pub partition: i32,
    /// The offset in the partition.
    pub offset: i64,
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]@{}", self.topic, self.partition, self.offset)
    }
}

/// A text is not the place of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected TOPIC[PARTITION]@OFFSET")]
pub struct PlaceError;

impl FromStr for RecordId {
    type Err = PlaceError;

    /// Parses what [`Display`](fmt::Display) writes.
    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let parts = text.rsplit_once("]@").and_then(|(place, offset)| {
            let (topic, partition) = place.rsplit_once('[')?;
            Some((topic, partition.parse().ok()?, offset.parse().ok()?))
        });
        match parts {
            Some((topic, partition @ 0.., offset @ 0..)) if !topic.is_empty() => Ok(Self {
                topic: topic.into(),
                partition,
                offset,
            }),
            _ => Err(PlaceError),
        }
    }
}

/// A fetched record, borrowed from the client's fetch buffer.
#[derive(Debug, Clone)]
pub struct RecordView<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition, counted from 0.
    pub partition: i32,
    /// The offset in the partition.
    pub offset: i64,
    /// Milliseconds since the Unix epoch, if the record carries a timestamp.
    pub timestamp_ms: Option<i64>,
    /// The key, `None` for null.
    pub key: Option<&'a [u8]>,
    /// The value, `None` for a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers in their order.
    pub headers: Vec<Header<'a>>,
}

impl RecordView<'_> {
    /// Returns the bytes of key, value and headers together.
    pub fn size_bytes(&self) -> usize {
        size_bytes(self.key, self.value, &self.headers)
    }
}

/// A record that is handled in place of the one that was fetched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changed {
    /// Milliseconds since the Unix epoch, if it carries a timestamp.
    pub timestamp_ms: Option<i64>,
    /// The key, `None` for null.
    pub key: Option<Vec<u8>>,
    /// The value, `None` for a tombstone.
    pub value: Option<Vec<u8>>,
    /// The headers in their order; a value of `None` is Kafka's null.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Changed {
    /// Returns the bytes of key, value and headers together.
    pub fn size_bytes(&self) -> usize {
        let bytes = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
        let headers = self.headers.iter();
        let headers: usize = headers.map(|(key, value)| key.len() + bytes(value)).sum();
        bytes(&self.key) + bytes(&self.value) + headers
    }

    /// Lends it. Its place is that of the original.
    pub fn view<'a>(&'a self, original: &RecordView<'a>) -> RecordView<'a> {
        RecordView {
            topic: original.topic,
            partition: original.partition,
            offset: original.offset,
            timestamp_ms: self.timestamp_ms,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: lend_headers(&self.headers),
        }
    }
}

/// Lends headers that somebody owns.
pub(crate) fn lend_headers(headers: &[(String, Option<Vec<u8>>)]) -> Vec<Header<'_>> {
    let headers = headers.iter().map(|(key, value)| Header {
        key: key.as_str().into(),
        value: value.as_deref(),
    });
    headers.collect()
}

/// Copies headers that somebody lends.
pub(crate) fn own_headers(headers: &[Header<'_>]) -> Vec<(String, Option<Vec<u8>>)> {
    let headers = headers.iter();
    headers
        .map(|header| (header.key.to_string(), header.value.map(Vec::from)))
        .collect()
}

/// A record to be produced, borrowed from an outbox.
#[derive(Debug, Clone)]
pub struct Emit<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The key, `None` for null.
    pub key: Option<&'a [u8]>,
    /// The value, `None` for a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers in their order.
    pub headers: Vec<Header<'a>>,
    /// The partition; `None` lets the key decide.
    pub partition: Option<i32>,
    /// Milliseconds since the Unix epoch; `None` is the time of sending.
    pub timestamp_ms: Option<i64>,
}

impl Emit<'_> {
    /// Returns the bytes of key, value and headers together.
    pub fn size_bytes(&self) -> usize {
        size_bytes(self.key, self.value, &self.headers)
    }

    /// Returns what it is recognized by.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.topic, self.key, self.value)
    }
}

/// What an emit is recognized by when it is made again: topic, key and value. Only within a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Takes that of an emit with these parts.
    pub fn of(topic: &str, key: Option<&[u8]>, value: Option<&[u8]>) -> Self {
        let mut hasher = DefaultHasher::new();
        (topic, key, value).hash(&mut hasher);
        Self(hasher.finish())
    }
}

fn size_bytes(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header<'_>]) -> usize {
    let headers: usize = headers
        .iter()
        .map(|header| header.key.len() + header.value.map_or(0, <[u8]>::len))
        .sum();
    key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + headers
}
