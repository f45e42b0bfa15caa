//! Reading the parts of a record.
//!
//! It is handed the [`Message`] that the bindings made and adds methods to it; the fields are
//! public too.
//!
//! **Invariant:** nothing is copied: every method borrows from the record.

use serde::de::DeserializeOwned;

use crate::{Error, Header, Message, Result, reject};

impl Message {
    /// The topic that the record came from.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The key's bytes; `None` when the record has no key.
    pub fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    /// The key as text; `None` when there is no key or it is not UTF-8.
    pub fn key_text(&self) -> Option<&str> {
        std::str::from_utf8(self.key()?).ok()
    }

    /// The value's bytes; `None` for a tombstone.
    pub fn value(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }

    /// Whether the record is a tombstone: its value is null, which is not the same as empty.
    pub fn is_tombstone(&self) -> bool {
        self.value.is_none()
    }

    /// The value as text. A tombstone or a value that is not UTF-8 is an [`Error::Reject`].
    pub fn text(&self) -> Result<&str> {
        std::str::from_utf8(self.required()?).map_err(not_utf8)
    }

    /// The value read as JSON. A tombstone or a value that does not parse is an
    /// [`Error::Reject`].
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(self.required()?).map_err(|e| not_json(&e))
    }

    /// The bytes of the last header of this name; `None` when there is none or its value is null.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        find(&self.headers, name)
    }

    /// The last header of this name as text; `None` also when it is not UTF-8.
    pub fn header_text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.header(name)?).ok()
    }

    /// When the record was made, in milliseconds since the Unix epoch, if it says so.
    pub fn timestamp_ms(&self) -> Option<i64> {
        self.timestamp
    }

    fn required(&self) -> Result<&[u8]> {
        self.value().ok_or_else(no_value)
    }

    /// The record itself, moved out; an empty one stays behind.
    pub(crate) fn take(&mut self) -> Self {
        std::mem::replace(
            self,
            Self {
                topic: String::new(),
                partition: self.partition,
                offset: self.offset,
                timestamp: self.timestamp,
                key: None,
                value: None,
                headers: Vec::new(),
            },
        )
    }
}

/// The bytes of the last header called `name`, as Kafka's own clients look it up.
pub(crate) fn find<'a>(headers: &'a [Header], name: &str) -> Option<&'a [u8]> {
    headers
        .iter()
        .rev()
        .find(|header| header.key == name)?
        .value
        .as_deref()
}

pub(crate) fn no_value() -> Error {
    reject("the record has no value: it is a tombstone")
}

pub(crate) fn not_utf8(error: impl std::fmt::Display) -> Error {
    reject(format!("the value is not UTF-8 text: {error}"))
}

pub(crate) fn not_json(error: &serde_json::Error) -> Error {
    reject(format!(
        "the value is not the JSON that this handler expects: {error}"
    ))
}

#[cfg(test)]
mod tests {
    use crate::testing;

    #[test]
    fn the_last_header_of_a_name_counts_and_null_is_none() {
        let message = testing::message("t")
            .header("a", "1")
            .header("a", "2")
            .build();
        assert_eq!(message.header_text("a"), Some("2"));
        let message = testing::message("t")
            .header("a", "1")
            .header("a", None::<&str>)
            .build();
        assert_eq!(message.header("a"), None);
    }

    #[test]
    fn a_tombstone_is_not_an_empty_value() {
        let tombstone = testing::message("t").tombstone().build();
        assert!(tombstone.is_tombstone());
        let error = tombstone.text().unwrap_err();
        assert_eq!(error.reason(), "the record has no value: it is a tombstone");
        assert_eq!(testing::message("t").text("").build().text(), Ok(""));
    }
}
