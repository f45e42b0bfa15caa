//! One record of a batch, read where the host has put it.
//!
//! It is handed the batch that the bindings made and owns nothing: every method finds its bytes by
//! the spans of the batch's entry.
//!
//! **Invariant:** nothing is copied but by [`MessageView::to_message`].

use std::fmt;

use serde::de::DeserializeOwned;

use crate::bindings::packed_bulk::exports::kafka::handler::packed_bulk_handler::{
    Entry, PackedBatch, Span,
};
use crate::message::{no_value, not_json, not_utf8};
use crate::{Header, Message, Result};

/// A record of a batch, borrowed from the batch: what `on_bulk` takes in place of [`Message`] where
/// every copy counts.
///
/// ```
/// use kafka_wasm_guest::{MessageView, Result, emit, handler};
///
/// fn on_bulk(records: Vec<MessageView<'_>>) -> Result {
///     let bytes: usize = records.iter().filter_map(|record| record.value()).map(<[u8]>::len).sum();
///     emit("sizes").text(&bytes.to_string()).send()?;
///     Ok(())
/// }
///
/// handler! { on_bulk }
/// # fn main() {}
/// ```
#[derive(Clone, Copy)]
pub struct MessageView<'a> {
    batch: &'a PackedBatch,
    entry: &'a Entry,
}

impl<'a> MessageView<'a> {
    /// All records of a batch.
    pub(crate) fn all(batch: &'a PackedBatch) -> impl ExactSizeIterator<Item = Self> {
        batch.entries.iter().map(move |entry| Self { batch, entry })
    }

    /// The topic that the record came from.
    pub fn topic(&self) -> &'a str {
        let topic = self.batch.topics.get(place(self.entry.topic));
        topic.map_or("", String::as_str)
    }

    /// The partition of the topic.
    pub fn partition(&self) -> u32 {
        self.entry.partition
    }

    /// The record's place in its partition.
    pub fn offset(&self) -> u64 {
        self.entry.offset
    }

    /// When the record was made, in milliseconds since the Unix epoch, if it says so.
    pub fn timestamp_ms(&self) -> Option<i64> {
        Some(self.entry.timestamp).filter(|timestamp| *timestamp >= 0)
    }

    /// The key's bytes; `None` when the record has no key.
    pub fn key(&self) -> Option<&'a [u8]> {
        self.bytes(self.entry.key)
    }

    /// The key as text; `None` when there is no key or it is not UTF-8.
    pub fn key_text(&self) -> Option<&'a str> {
        std::str::from_utf8(self.key()?).ok()
    }

    /// The value's bytes; `None` for a tombstone.
    pub fn value(&self) -> Option<&'a [u8]> {
        self.bytes(self.entry.value)
    }

    /// Whether the record is a tombstone: its value is null, which is not the same as empty.
    pub fn is_tombstone(&self) -> bool {
        self.value().is_none()
    }

    /// The value as text. A tombstone or a value that is not UTF-8 is an
    /// [`Error::Reject`](crate::Error::Reject).
    pub fn text(&self) -> Result<&'a str> {
        std::str::from_utf8(self.required()?).map_err(not_utf8)
    }

    /// The value read as JSON. A tombstone or a value that does not parse is an
    /// [`Error::Reject`](crate::Error::Reject).
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(self.required()?).map_err(|error| not_json(&error))
    }

    /// The headers, name and value, in the order in which they were written.
    pub fn headers(
        &self,
    ) -> impl DoubleEndedIterator<Item = (&'a str, Option<&'a [u8]>)> + use<'a> {
        let view = *self;
        let first = place(self.entry.headers_start);
        let last = first.saturating_add(place(self.entry.headers_count));
        let headers = self.batch.headers.get(first..last).unwrap_or_default();
        headers.iter().map(move |header| {
            let name = view.bytes(header.key).unwrap_or_default();
            let name = std::str::from_utf8(name).unwrap_or_default();
            (name, view.bytes(header.value))
        })
    }

    /// The bytes of the last header of this name; `None` when there is none or its value is null.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers().rev().find(|(key, _)| *key == name)?.1
    }

    /// The last header of this name as text; `None` also when it is not UTF-8.
    pub fn header_text(&self, name: &str) -> Option<&'a str> {
        std::str::from_utf8(self.header(name)?).ok()
    }

    /// The record with all of its parts, copied.
    pub fn to_message(&self) -> Message {
        let header = |(key, value): (&str, Option<&[u8]>)| Header {
            key: key.to_owned(),
            value: value.map(<[u8]>::to_vec),
        };
        Message {
            topic: self.topic().to_owned(),
            partition: self.partition(),
            offset: self.offset(),
            timestamp: self.timestamp_ms(),
            key: self.key().map(<[u8]>::to_vec),
            value: self.value().map(<[u8]>::to_vec),
            headers: self.headers().map(header).collect(),
        }
    }

    /// The value, or the reason why there is none.
    pub(crate) fn required(&self) -> Result<&'a [u8]> {
        self.value().ok_or_else(no_value)
    }

    fn bytes(&self, span: Span) -> Option<&'a [u8]> {
        let length = usize::try_from(span.length).ok()?;
        let start = place(span.start);
        let bytes = self.batch.data.get(start..start.saturating_add(length));
        // The host's spans lie within its data.
        Some(bytes.unwrap_or_default())
    }
}

impl fmt::Debug for MessageView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_message().fmt(f)
    }
}

/// A place in a list of the batch.
fn place(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn full() -> Vec<Message> {
        let begun = || testing::message("t").partition(3);
        vec![
            begun().offset(7).key("k").text("v").timestamp_ms(5).build(),
            begun().offset(9).key("").tombstone().build(),
            begun()
                .header("a", "1")
                .header("", None::<&str>)
                .header("a", "")
                .build(),
            testing::message("other")
                .key("\u{e9}")
                .text("\u{e9}")
                .build(),
        ]
    }

    #[test]
    fn a_view_shows_the_record_as_it_was() {
        let messages = full();
        let batch = testing::packed(&messages);
        let views: Vec<_> = MessageView::all(&batch).collect();
        let copies: Vec<_> = views.iter().map(MessageView::to_message).collect();
        assert_eq!(copies, messages);
        for (view, message) in views.iter().zip(&messages) {
            assert_eq!(view.key_text(), message.key_text());
            assert_eq!(view.text(), message.text());
            assert_eq!(view.is_tombstone(), message.is_tombstone());
            assert_eq!(view.header_text("a"), message.header_text("a"));
        }
    }

    #[test]
    fn a_view_borrows_from_the_batch() {
        let batch = testing::packed(&full());
        let Some(first) = MessageView::all(&batch).next() else {
            panic!("no record");
        };
        assert!(
            batch
                .data
                .as_ptr_range()
                .contains(&first.value().unwrap().as_ptr())
        );
    }
}
