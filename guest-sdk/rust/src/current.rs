//! The record in hand, which stays with the host until it is asked for, and sending it on.
//!
//! It is handed the head of the record and owns nothing of the rest: each method asks the host.
//!
//! **Invariant:** a view lives no longer than the call of its hook, so it never shows another record.

use std::borrow::Cow;

#[cfg(target_arch = "wasm32")]
use crate::bindings::imports::kafka::handler::current;
use crate::bindings::view::exports::kafka::handler::view_handler::MessageHead;
use crate::message::{find, no_value, not_utf8};
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::record as current;
use crate::{EmitError, Header, IntoBytes, JsonView, Message, Result};

/// The record in hand: what `on_view` takes, so that no byte is copied which the handler does not
/// ask for.
///
/// ```
/// use kafka_wasm_guest::{Result, View, forward, handler};
///
/// fn on_view(order: View<'_>) -> Result {
///     if order.json().f64("/total")? > 100.0 {
///         forward("orders.large").header("seen-by", "sieve").send()?;
///     }
///     Ok(())
/// }
///
/// handler! { on_view }
/// # fn main() {}
/// ```
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    head: &'a MessageHead,
}

impl<'a> View<'a> {
    pub(crate) fn new(head: &'a MessageHead) -> Self {
        Self { head }
    }

    /// The topic that the record came from.
    pub fn topic(&self) -> &'a str {
        &self.head.topic
    }

    /// The partition of the topic.
    pub fn partition(&self) -> u32 {
        self.head.partition
    }

    /// The record's place in its partition.
    pub fn offset(&self) -> u64 {
        self.head.offset
    }

    /// When the record was made, in milliseconds since the Unix epoch, if it says so.
    pub fn timestamp_ms(&self) -> Option<i64> {
        self.head.timestamp
    }

    /// The bytes that the key has; `None` when the record has no key.
    pub fn key_size(&self) -> Option<u64> {
        self.head.key_size
    }

    /// The bytes that the value has; `None` for a tombstone.
    pub fn value_size(&self) -> Option<u64> {
        self.head.value_size
    }

    /// Whether the record is a tombstone: its value is null, which is not the same as empty.
    pub fn is_tombstone(&self) -> bool {
        self.head.value_size.is_none()
    }

    /// The key's bytes; `None` when the record has no key.
    pub fn key(&self) -> Option<Vec<u8>> {
        // While there is a view there is a record.
        current::key().ok().flatten()
    }

    /// The key as text; `None` when there is no key or it is not UTF-8.
    pub fn key_text(&self) -> Option<String> {
        String::from_utf8(self.key()?).ok()
    }

    /// The value's bytes; `None` for a tombstone.
    pub fn value(&self) -> Option<Vec<u8>> {
        current::value().ok().flatten()
    }

    /// The value as text. A tombstone or a value that is not UTF-8 is an
    /// [`Error::Reject`](crate::Error::Reject).
    pub fn text(&self) -> Result<String> {
        let value = self.value().ok_or_else(no_value)?;
        String::from_utf8(value).map_err(|error| not_utf8(error.utf8_error()))
    }

    /// The value as JSON that the host reads.
    pub fn json(&self) -> JsonView<'a> {
        JsonView::of_current()
    }

    /// The headers, in the order in which they were written.
    pub fn headers(&self) -> Vec<Header> {
        match self.head.headers_count {
            0 => Vec::new(),
            _ => current::headers().unwrap_or_default(),
        }
    }

    /// The bytes of the last header of this name; `None` when there is none or its value is null.
    pub fn header(&self, name: &str) -> Option<Vec<u8>> {
        find(&self.headers(), name).map(<[u8]>::to_vec)
    }

    /// The record with all of its parts, copied.
    pub fn to_message(&self) -> Message {
        Message {
            topic: self.topic().to_owned(),
            partition: self.partition(),
            offset: self.offset(),
            timestamp: self.timestamp_ms(),
            key: self.key(),
            value: self.value(),
            headers: self.headers(),
        }
    }
}

/// What `on_view` can take: the [`View`], or a type made by [`json_view!`](crate::json_view).
pub trait FromView<'a>: Sized {
    /// Reads the record in hand.
    fn from_view(view: View<'a>) -> Result<Self>;
}

impl<'a> FromView<'a> for View<'a> {
    fn from_view(view: Self) -> Result<Self> {
        Ok(view)
    }
}

/// Begins to send the record in hand on to `topic` as it is: key, value, headers and timestamp. It
/// is taken by [`Forward::send`], sent by the host after the hook succeeded and dropped when the
/// hook fails. In hooks for batches, which have no single record, that is [`EmitError::NotNow`].
///
/// ```
/// # fn main() -> kafka_wasm_guest::Result {
/// use kafka_wasm_guest::{Message, Result, forward, testing};
///
/// fn on_message(_order: Message) -> Result {
///     Ok(forward("archive").header("kept", "7 years").send()?)
/// }
///
/// let order = testing::message("orders").key("a").header("b", "c").text("1").build();
/// testing::deliver(on_message, order)?;
/// let [copy] = testing::emitted().try_into().unwrap();
/// assert_eq!((copy.key_text(), copy.text()), (Some("a"), Some("1")));
/// assert_eq!(copy.headers.len(), 2);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is sent on before `send`"]
pub fn forward(topic: &str) -> Forward<'_> {
    Forward {
        topic,
        headers: Vec::new(),
    }
}

/// The record in hand on its way, made by [`forward`].
#[derive(Clone, Debug)]
#[must_use = "nothing is sent on before `send`"]
pub struct Forward<'a> {
    topic: &'a str,
    headers: Vec<Header>,
}

impl Forward<'_> {
    /// Adds a header after those of the record; `None` is a null value.
    pub fn header<'v>(mut self, name: impl Into<String>, value: impl IntoBytes<'v>) -> Self {
        let value = value.into_bytes().map(Cow::into_owned);
        self.headers.push(Header {
            key: name.into(),
            value,
        });
        self
    }

    /// Hands the record to the host, which has it already.
    pub fn send(self) -> Result<(), EmitError> {
        self.lend(|topic, headers| current::forward(topic, headers).map_err(EmitError::from))
    }

    /// Lends topic and headers as the host takes them.
    pub(crate) fn lend<T>(&self, take: impl FnOnce(&str, &[&Header]) -> T) -> T {
        let headers: Vec<&Header> = self.headers.iter().collect();
        take(self.topic, &headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{emit, reject, testing};

    fn order() -> Message {
        testing::message("orders")
            .partition(3)
            .offset(7)
            .timestamp_ms(5)
            .key("k")
            .header("a", "1")
            .header("a", None::<&str>)
            .text(r#"{"id":"x"}"#)
            .build()
    }

    #[test]
    fn a_view_shows_the_record_as_it_is() {
        let hook = |view: View<'_>| {
            assert_eq!(view.to_message(), order());
            assert_eq!((view.key_size(), view.value_size()), (Some(1), Some(10)));
            assert_eq!(view.header("a"), None);
            Ok::<_, crate::Error>(())
        };
        testing::deliver_view(hook, order()).unwrap();
        let hook = |view: View<'_>| {
            assert!(view.is_tombstone());
            view.text().map(drop)
        };
        let tombstone = testing::message("t").tombstone().build();
        assert_eq!(
            testing::deliver_view(hook, tombstone),
            Err(reject("the record has no value: it is a tombstone"))
        );
    }

    #[test]
    fn what_is_sent_on_is_the_record_and_more_headers() {
        let hook = |_: View<'_>| forward("out").header("b", "2").send();
        testing::deliver_view(hook, order()).unwrap();
        let message = order();
        emit("out")
            .key(message.key())
            .bytes(message.value())
            .headers(&message.headers)
            .header("b", "2")
            .timestamp_ms(5)
            .send()
            .unwrap();
        let [sent_on, wanted] = testing::emitted().try_into().unwrap();
        assert_eq!(sent_on, wanted);
        assert_eq!(forward("out").send(), Err(EmitError::NotNow));
    }
}
