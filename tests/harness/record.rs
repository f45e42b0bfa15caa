//! A record as tests see it: owned, comparable, with null and empty kept apart.
//!
//! It is handed to the clients to be written, and they hand it back as it was read.
//! **Invariant:** reading what was written gives the same payload, byte for byte.

use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message};

/// A record as a test writes and compares it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TestRecord {
    /// Null is `None`, which is not the same as empty.
    pub key: Option<Vec<u8>>,
    /// Null, a tombstone, is `None`.
    pub value: Option<Vec<u8>>,
    /// Names and values in their order; `None` is a record without headers.
    pub headers: Option<Vec<(String, Option<Vec<u8>>)>>,
    /// `None` lets the key decide; always known of a record that was read.
    pub partition: Option<i32>,
    /// Only of a record that was read.
    pub offset: Option<i64>,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: Option<i64>,
}

impl TestRecord {
    /// A record with a key and a value.
    pub fn new(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self {
            key: Some(key.into()),
            value: Some(value.into()),
            ..Self::default()
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: Option<&[u8]>) -> Self {
        let header = (name.to_owned(), value.map(<[u8]>::to_vec));
        self.headers.get_or_insert_default().push(header);
        self
    }

    /// Names the partition to write to.
    #[must_use]
    pub fn on(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// The key as text; null and what is not UTF-8 are shown as such.
    pub fn key_text(&self) -> String {
        text(self.key.as_deref())
    }

    /// The value as text, like [`Self::key_text`].
    pub fn text(&self) -> String {
        text(self.value.as_deref())
    }

    /// The text of the first header of this name.
    pub fn header_text(&self, name: &str) -> Option<String> {
        let headers = self.headers.as_ref()?;
        let (_, value) = headers.iter().find(|(key, _)| key == name)?;
        Some(text(value.as_deref()))
    }

    /// The same key, value and headers, without what a broker added.
    #[must_use]
    pub fn payload(&self) -> Self {
        Self {
            key: self.key.clone(),
            value: self.value.clone(),
            headers: self.headers.clone(),
            ..Self::default()
        }
    }

    pub(crate) fn read(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().map(|headers| {
            let pair = |header: Header<'_, &[u8]>| {
                (header.key.to_owned(), header.value.map(<[u8]>::to_vec))
            };
            headers.iter().map(pair).collect()
        });
        Self {
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers,
            partition: Some(message.partition()),
            offset: Some(message.offset()),
            timestamp_ms: message.timestamp().to_millis(),
        }
    }
}

impl<K: Into<Vec<u8>>, V: Into<Vec<u8>>> From<(Option<K>, Option<V>)> for TestRecord {
    fn from((key, value): (Option<K>, Option<V>)) -> Self {
        Self {
            key: key.map(Into::into),
            value: value.map(Into::into),
            ..Self::default()
        }
    }
}

fn text(bytes: Option<&[u8]>) -> String {
    match bytes {
        None => "(null)".to_owned(),
        Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
    }
}
