//! Writing to Kafka.
//!
//! It is handed the parts of a record by a builder and owns nothing of them that it does not have
//! to: slices are passed to the host as they are.
//!
//! **Invariant:** a value is a tombstone only when the caller said so, by `tombstone` or by `None`.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

use crate::Header;
use crate::bindings::imports::kafka::handler::producer;

/// Begins a record for `topic`. It is taken by [`Emit::send`], sent by the host after the hook
/// succeeded and dropped when the hook fails, so that a retry does not duplicate it.
///
/// Without a key Kafka spreads the records, unless the manifest takes keys from values; without a value the value is
/// empty.
///
/// ```
/// # fn main() -> kafka_wasm_guest::Result {
/// use kafka_wasm_guest::{emit, testing};
///
/// emit("alerts").key("us").header("kind", "test").text("shaking").send()?;
///
/// let alerts = testing::emitted();
/// assert_eq!(alerts[0].key_text(), Some("us"));
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is emitted before `send`"]
pub fn emit(topic: &str) -> Emit<'_> {
    Emit {
        topic,
        key: None,
        value: Some(Cow::Borrowed(&[])),
        headers: Vec::new(),
        partition: None,
        timestamp_ms: None,
    }
}

/// A record on its way, made by [`emit`].
#[derive(Clone, Debug)]
#[must_use = "nothing is emitted before `send`"]
pub struct Emit<'a> {
    topic: &'a str,
    key: Option<Cow<'a, [u8]>>,
    value: Option<Cow<'a, [u8]>>,
    headers: Vec<Cow<'a, Header>>,
    partition: Option<u32>,
    timestamp_ms: Option<i64>,
}

impl<'a> Emit<'a> {
    /// The key: text or bytes, borrowed or owned; `None` is no key, or that in the value where the manifest takes keys
    /// from there (`publish.key-from`).
    pub fn key(mut self, key: impl IntoBytes<'a>) -> Self {
        self.key = key.into_bytes();
        self
    }

    /// The value as bytes, borrowed or owned; `None` is a tombstone.
    pub fn bytes(mut self, value: impl IntoBytes<'a>) -> Self {
        self.value = value.into_bytes();
        self
    }

    /// The value as text.
    pub fn text(self, value: &'a str) -> Self {
        self.bytes(value)
    }

    /// The value as JSON. Fails where `T` has no JSON, for example a map whose keys are no text.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> serde_json::Result<Self> {
        Ok(self.bytes(serde_json::to_vec(value)?))
    }

    /// A null value: it deletes the key from a compacted topic.
    pub fn tombstone(mut self) -> Self {
        self.value = None;
        self
    }

    /// Adds a header; `None` is a null value. The same name may be added several times.
    pub fn header<'v>(mut self, name: impl Into<String>, value: impl IntoBytes<'v>) -> Self {
        let value = value.into_bytes().map(Cow::into_owned);
        self.headers.push(Cow::Owned(Header {
            key: name.into(),
            value,
        }));
        self
    }

    /// Adds headers as they are, for example those of a [`Message`](crate::Message).
    pub fn headers(mut self, headers: impl IntoIterator<Item = &'a Header>) -> Self {
        self.headers.extend(headers.into_iter().map(Cow::Borrowed));
        self
    }

    /// The partition to write to. Without it the key decides, as Java clients do it.
    pub fn partition(mut self, partition: impl Into<Option<u32>>) -> Self {
        self.partition = partition.into();
        self
    }

    /// The record's time, in milliseconds since the Unix epoch. Without it: the time of sending.
    pub fn timestamp_ms(mut self, timestamp_ms: impl Into<Option<i64>>) -> Self {
        self.timestamp_ms = timestamp_ms.into();
        self
    }

    /// Hands the record to the host.
    pub fn send(self) -> Result<(), EmitError> {
        self.lend(|outgoing| {
            #[cfg(target_arch = "wasm32")]
            return producer::emit(outgoing).map_err(EmitError::from);
            #[cfg(not(target_arch = "wasm32"))]
            crate::testing::take_emit(&outgoing)
        })
    }

    /// Lends the record as the host takes it.
    pub(crate) fn lend<T>(&self, take: impl FnOnce(producer::Outgoing<'_>) -> T) -> T {
        let headers: Vec<&Header> = self.headers.iter().map(AsRef::as_ref).collect();
        take(producer::Outgoing {
            topic: self.topic,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: &headers,
            partition: self.partition,
            timestamp: self.timestamp_ms,
        })
    }
}

/// Why the host did not take a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmitError {
    /// The record is larger than the producer may send.
    TooLarge {
        /// The largest size, in bytes.
        limit_bytes: u64,
    },
    /// The topic may not be written to or has no valid name, or the value has no key where the manifest takes it
    /// from (`publish.key-from`); the reason.
    Denied(String),
    /// This invocation emitted more than its outbox holds; which limit.
    QuotaExceeded(String),
    /// The running hook may not emit.
    NotNow,
}

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { limit_bytes } => {
                write!(
                    f,
                    "the emitted record is too large: the limit is {limit_bytes} bytes"
                )
            }
            Self::Denied(reason) => write!(f, "the emit was denied: {reason}"),
            Self::QuotaExceeded(limit) => write!(f, "too much was emitted: {limit}"),
            Self::NotNow => f.write_str("this hook may not emit"),
        }
    }
}

impl std::error::Error for EmitError {}

impl From<producer::EmitError> for EmitError {
    fn from(error: producer::EmitError) -> Self {
        match error {
            producer::EmitError::TooLarge(limit_bytes) => Self::TooLarge { limit_bytes },
            producer::EmitError::Denied(reason) => Self::Denied(reason),
            producer::EmitError::QuotaExceeded(limit) => Self::QuotaExceeded(limit),
            producer::EmitError::NotNow => Self::NotNow,
        }
    }
}

/// Text or bytes, borrowed or owned, or none.
pub trait IntoBytes<'a> {
    /// The bytes, copied only by whoever needs to own them.
    fn into_bytes(self) -> Option<Cow<'a, [u8]>>;
}

impl<'a, T: IntoBytes<'a>> IntoBytes<'a> for Option<T> {
    fn into_bytes(self) -> Option<Cow<'a, [u8]>> {
        self.and_then(T::into_bytes)
    }
}

/// Says how a type becomes a `Cow` of bytes.
macro_rules! into_bytes {
    ($($type:ty, $this:ident => $bytes:expr;)*) => {$(
        impl<'a> IntoBytes<'a> for $type {
            fn into_bytes(self) -> Option<Cow<'a, [u8]>> {
                let $this = self;
                Some($bytes)
            }
        }
    )*};
}

into_bytes! {
    &'a str, this => Cow::Borrowed(this.as_bytes());
    &'a String, this => Cow::Borrowed(this.as_bytes());
    &'a [u8], this => Cow::Borrowed(this);
    &'a Vec<u8>, this => Cow::Borrowed(this);
    Cow<'a, [u8]>, this => this;
}

impl<'a, const N: usize> IntoBytes<'a> for &'a [u8; N] {
    fn into_bytes(self) -> Option<Cow<'a, [u8]>> {
        Some(Cow::Borrowed(self))
    }
}

impl<'a, const N: usize> IntoBytes<'a> for [u8; N] {
    fn into_bytes(self) -> Option<Cow<'a, [u8]>> {
        Some(Cow::Owned(self.to_vec()))
    }
}

impl<'a> IntoBytes<'a> for String {
    fn into_bytes(self) -> Option<Cow<'a, [u8]>> {
        Some(Cow::Owned(Self::into_bytes(self)))
    }
}

impl<'a> IntoBytes<'a> for Vec<u8> {
    fn into_bytes(self) -> Option<Cow<'a, [u8]>> {
        Some(Cow::Owned(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn every_part_of_a_record_arrives() {
        emit("t")
            .key("k")
            .bytes([1, 2])
            .header("a", "1")
            .header("a", None::<&str>)
            .partition(3)
            .timestamp_ms(4)
            .send()
            .unwrap();
        let [record] = testing::emitted().try_into().unwrap();
        assert_eq!((record.topic.as_str(), record.key_text()), ("t", Some("k")));
        assert_eq!(record.value.as_deref(), Some(&[1, 2][..]));
        assert_eq!((record.partition, record.timestamp_ms), (Some(3), Some(4)));
        let a = |value: Option<&[u8]>| Header {
            key: "a".to_owned(),
            value: value.map(Vec::from),
        };
        assert_eq!(record.headers, [a(Some(b"1")), a(None)]);
    }

    #[test]
    fn a_forgotten_value_is_empty_and_no_tombstone() {
        emit("t").send().unwrap();
        emit("t").tombstone().send().unwrap();
        emit("t").bytes(None::<&[u8]>).send().unwrap();
        let values: Vec<_> = testing::emitted()
            .into_iter()
            .map(|record| record.value)
            .collect();
        assert_eq!(values, [Some(Vec::new()), None, None]);
    }

    #[test]
    fn borrowed_parts_stay_borrowed() {
        let message = testing::message("t")
            .key("k")
            .text("v")
            .header("h", "1")
            .build();
        let record = emit("u")
            .key(message.key())
            .bytes(message.value())
            .headers(&message.headers);
        assert!(matches!(record.key, Some(Cow::Borrowed(_))));
        assert!(matches!(record.value, Some(Cow::Borrowed(_))));
        assert!(
            record
                .headers
                .iter()
                .all(|header| matches!(header, Cow::Borrowed(_)))
        );
    }

    #[test]
    fn a_refusal_is_an_error_in_words() {
        testing::refuse_next_emit(EmitError::TooLarge { limit_bytes: 10 });
        let error = crate::Error::from(emit("t").send().unwrap_err());
        assert_eq!(
            error.reason(),
            "the emitted record is too large: the limit is 10 bytes"
        );
        assert_eq!(emit("t").send(), Ok(()));
    }
}
