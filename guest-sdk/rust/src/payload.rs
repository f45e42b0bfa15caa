//! From a record to what a hook wants to see.
//!
//! It is handed the record of a hook's call and owns the conversions to the types that a hook may
//! name: the whole [`Message`], [`Json`], text, bytes, [`Option`], [`Record`] or a type of yours.
//!
//! **Invariant:** a conversion moves bytes out of the record or borrows them; it never copies them.
//! Only of a batch, whose bytes lie in one block, is it a copy of what the type keeps.

use std::ops::{Deref, DerefMut};

use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};

use crate::message::{no_value, not_json, not_utf8};
use crate::{Error, Message, MessageView, Result};

/// A type that a hook can take in place of the whole record.
///
/// ```
/// use kafka_wasm_guest::{FromMessage, Message, Result, ResultExt};
///
/// struct Celsius(f64);
///
/// impl FromMessage for Celsius {
///     fn from_message(message: &mut Message) -> Result<Self> {
///         Ok(Celsius(message.text()?.parse().or_reject()?))
///     }
/// }
/// ```
pub trait FromMessage: Sized {
    /// Reads the record; may move parts out of it. A payload that does not parse should be an
    /// [`Error::Reject`]: another attempt would not help.
    fn from_message(message: &mut Message) -> Result<Self>;

    /// Reads a record of a batch. Left out, that is [`from_message`](Self::from_message) of a copy;
    /// a type that needs only some of the parts can save the rest of it.
    fn from_view(view: MessageView<'_>) -> Result<Self> {
        Self::from_message(&mut view.to_message())
    }
}

/// What the records of a batch can be seen as: every [`FromMessage`], and the [`MessageView`] that
/// borrows. It is not for other types.
pub trait FromBatch<'a>: Sized {
    /// Reads one record of the batch.
    fn from_batch(view: MessageView<'a>) -> Result<Self>;
}

impl<T: FromMessage> FromBatch<'_> for T {
    fn from_batch(view: MessageView<'_>) -> Result<Self> {
        T::from_view(view)
    }
}

impl<'a> FromBatch<'a> for MessageView<'a> {
    fn from_batch(view: Self) -> Result<Self> {
        Ok(view)
    }
}

/// The whole record.
impl FromMessage for Message {
    fn from_message(message: &mut Message) -> Result<Self> {
        Ok(message.take())
    }
}

/// The bytes of the value, moved out of the record.
impl FromMessage for Vec<u8> {
    fn from_message(message: &mut Message) -> Result<Self> {
        message.value.take().ok_or_else(no_value)
    }

    fn from_view(view: MessageView<'_>) -> Result<Self> {
        view.required().map(<[u8]>::to_vec)
    }
}

/// The value as UTF-8 text, moved out of the record.
impl FromMessage for String {
    fn from_message(message: &mut Message) -> Result<Self> {
        Self::from_utf8(Vec::from_message(message)?).map_err(|error| not_utf8(error.utf8_error()))
    }

    fn from_view(view: MessageView<'_>) -> Result<Self> {
        view.text().map(str::to_owned)
    }
}

/// `None` for a tombstone.
impl<T: FromMessage> FromMessage for Option<T> {
    fn from_message(message: &mut Message) -> Result<Self> {
        if message.is_tombstone() {
            Ok(None)
        } else {
            T::from_message(message).map(Some)
        }
    }

    fn from_view(view: MessageView<'_>) -> Result<Self> {
        if view.is_tombstone() {
            Ok(None)
        } else {
            T::from_view(view).map(Some)
        }
    }
}

/// What became of the conversion, for a hook that wants to decide about bad payloads itself.
impl<T: FromMessage> FromMessage for Result<T, Error> {
    fn from_message(message: &mut Message) -> Result<Self> {
        Ok(T::from_message(message))
    }

    fn from_view(view: MessageView<'_>) -> Result<Self> {
        Ok(T::from_view(view))
    }
}

/// A value in JSON. It derefs to `T` and serialises as `T`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromMessage for Json<T> {
    fn from_message(message: &mut Message) -> Result<Self> {
        let value = message.value().ok_or_else(no_value)?;
        serde_json::from_slice(value)
            .map(Json)
            .map_err(|error| not_json(&error))
    }

    fn from_view(view: MessageView<'_>) -> Result<Self> {
        view.json().map(Json)
    }
}

impl<T> Deref for Json<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Json<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Serialize> Serialize for Json<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// The whole record beside its typed payload. It derefs to the payload.
///
/// Bytes and text move into the payload: then `message.value` is `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct Record<T> {
    /// The record: topic, partition, offset, timestamp, key, headers.
    pub message: Message,
    /// The payload.
    pub payload: T,
}

impl<T: FromMessage> FromMessage for Record<T> {
    fn from_message(message: &mut Message) -> Result<Self> {
        let payload = T::from_message(message)?;
        Ok(Self {
            message: message.take(),
            payload,
        })
    }
}

impl<T> Deref for Record<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.payload
    }
}

impl<T> DerefMut for Record<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Order {
        total: f64,
    }

    fn read<T: FromMessage>(mut message: Message) -> Result<T> {
        T::from_message(&mut message)
    }

    #[test]
    fn a_payload_that_does_not_parse_is_rejected_in_words() {
        let error = read::<Json<Order>>(testing::message("t").text("{}").build()).unwrap_err();
        let text = "the value is not the JSON that this handler expects: missing field `total` at line 1 column 2";
        assert_eq!(error, crate::reject(text));
        let error = read::<String>(testing::message("t").bytes([b'a', 0xff]).build()).unwrap_err();
        assert!(
            error.reason().starts_with("the value is not UTF-8 text: "),
            "{error}"
        );
    }

    #[test]
    fn an_option_is_none_for_a_tombstone_only() {
        let tombstone = testing::message("t").tombstone().build();
        assert_eq!(read::<Option<Json<Order>>>(tombstone.clone()), Ok(None));
        assert!(matches!(
            read::<Json<Order>>(tombstone),
            Err(Error::Reject(_))
        ));
        let empty = testing::message("t").text("").build();
        assert_eq!(read::<Option<Vec<u8>>>(empty), Ok(Some(Vec::new())));
    }

    #[test]
    fn a_record_of_a_batch_reads_as_one_by_itself() {
        fn same<T: FromMessage + PartialEq + std::fmt::Debug>(message: &Message) {
            let batch = testing::packed(std::slice::from_ref(message));
            let of_batch: Vec<_> = MessageView::all(&batch).map(T::from_view).collect();
            assert_eq!(of_batch, [read::<T>(message.clone())]);
        }
        let begun = || testing::message("t").key("k").header("a", "1");
        for message in [
            begun().text(r#"{"total": 2.5}"#).build(),
            begun().bytes([b'a', 0xff]).build(),
            begun().text("").build(),
            begun().tombstone().build(),
        ] {
            same::<Message>(&message);
            same::<Vec<u8>>(&message);
            same::<String>(&message);
            same::<Option<String>>(&message);
            same::<Result<String>>(&message);
            same::<Json<Order>>(&message);
            same::<Record<String>>(&message);
            same::<Record<Option<Json<Order>>>>(&message);
        }
    }

    #[test]
    fn bytes_move_out_of_the_record_without_a_copy() {
        let message = testing::message("t").key("k").text("payload").build();
        let before = message.value().unwrap().as_ptr();
        let record = read::<Record<Vec<u8>>>(message).unwrap();
        assert_eq!(record.payload.as_ptr(), before);
        assert_eq!(
            (record.message.key_text(), record.message.value()),
            (Some("k"), None)
        );
    }

    #[test]
    fn a_record_derefs_to_its_payload() {
        let message = testing::message("t")
            .offset(7)
            .text(r#"{"total": 2.5}"#)
            .build();
        let record = read::<Record<Json<Order>>>(message).unwrap();
        assert_eq!((record.total, record.message.offset), (2.5, 7));
    }
}
