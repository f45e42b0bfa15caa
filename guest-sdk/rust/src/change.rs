//! Changing the value of the record in hand without reading it: the host makes the changes.
//!
//! It is handed a record on its way and changes by JSON pointer, and gives both to the host.
//!
//! **Invariant:** every byte of the value that no change concerns is written as it was read.

use std::fmt;

use serde::Serialize;

use crate::bindings::imports::kafka::handler::json::{self, Setting};
use crate::{Emit, EmitError, Error, Forward, JsonError, reject};

/// What to change in a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pointer: String,
    /// `None` removes.
    value: Option<String>,
}

impl Change {
    /// Sets what a pointer names, there or not; the array or object around it must be there. `-` as
    /// the last part is the end of an array. Fails where `T` has no JSON.
    pub fn set<T: Serialize + ?Sized>(
        pointer: impl Into<String>,
        value: &T,
    ) -> serde_json::Result<Self> {
        Ok(Self {
            pointer: pointer.into(),
            value: Some(serde_json::to_string(value)?),
        })
    }

    /// Removes what a pointer names, if it is there.
    pub fn remove(pointer: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            value: None,
        }
    }

    fn lend(&self) -> json::Change<'_> {
        match &self.value {
            Some(value) => json::Change::Set(Setting {
                pointer: &self.pointer,
                value,
            }),
            None => json::Change::Remove(&self.pointer),
        }
    }
}

/// A record on its way whose value is that of the record in hand, changed.
#[derive(Clone, Debug)]
#[must_use = "nothing is sent before `send`"]
pub struct Changed<R> {
    record: R,
    changes: Vec<Change>,
}

impl Emit<'_> {
    /// Takes the value of the record in hand, with changes made one after the other, in place of a
    /// value of its own.
    ///
    /// ```
    /// # fn main() -> kafka_wasm_guest::Result {
    /// use kafka_wasm_guest::{Change, Message, Result, emit, testing};
    ///
    /// fn on_message(order: Message) -> Result {
    ///     let changes = [Change::set("/checked", &true)?, Change::remove("/card")];
    ///     emit("orders.checked").key(order.key()).changes(changes).send()?;
    ///     Ok(())
    /// }
    ///
    /// let order = testing::message("orders").text(r#"{"id":7,"card":"1234"}"#).build();
    /// testing::deliver(on_message, order)?;
    /// assert_eq!(testing::emitted()[0].text(), Some(r#"{"checked":true,"id":7}"#));
    /// # Ok(())
    /// # }
    /// ```
    pub fn changes(self, changes: impl IntoIterator<Item = Change>) -> Changed<Self> {
        Changed {
            record: self,
            changes: changes.into_iter().collect(),
        }
    }
}

impl Forward<'_> {
    /// Sends the record on with changes to its value, made one after the other.
    pub fn changes(self, changes: impl IntoIterator<Item = Change>) -> Changed<Self> {
        Changed {
            record: self,
            changes: changes.into_iter().collect(),
        }
    }
}

impl Changed<Emit<'_>> {
    /// Hands the record to the host.
    pub fn send(self) -> Result<(), ChangeError> {
        let changes: Vec<_> = self.changes.iter().map(Change::lend).collect();
        self.record.lend(|outgoing| {
            #[cfg(target_arch = "wasm32")]
            {
                let envelope = json::Envelope {
                    topic: outgoing.topic,
                    key: outgoing.key,
                    headers: outgoing.headers,
                    partition: outgoing.partition,
                    timestamp: outgoing.timestamp,
                };
                json::emit_with_changes(envelope, &changes).map_err(ChangeError::from)
            }
            #[cfg(not(target_arch = "wasm32"))]
            crate::testing::record::emit_with_changes(&outgoing, &changes)
                .map_err(ChangeError::from)
        })
    }
}

impl Changed<Forward<'_>> {
    /// Hands the record to the host, which has it already.
    pub fn send(self) -> Result<(), ChangeError> {
        #[cfg(target_arch = "wasm32")]
        use json::forward_with_changes;

        #[cfg(not(target_arch = "wasm32"))]
        use crate::testing::record::forward_with_changes;

        let changes: Vec<_> = self.changes.iter().map(Change::lend).collect();
        self.record.lend(|topic, headers| {
            forward_with_changes(topic, headers, &changes).map_err(ChangeError::from)
        })
    }
}

/// Why the host did not take a changed value.
///
/// By `?` it becomes an [`Error::Reject`] where value and changes do not go together, as another
/// attempt would not help, and else what the error in it becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeError {
    /// The value of the record in hand cannot be read.
    Read(JsonError),
    /// A change cannot be made.
    Change {
        /// Of what.
        pointer: String,
        /// Why not.
        reason: String,
    },
    /// The record was not taken.
    Emit(EmitError),
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::Change { pointer, reason } => write!(f, "no change at `{pointer}`: {reason}"),
            Self::Emit(error) => error.fmt(f),
        }
    }
}

impl From<ChangeError> for Error {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Read(error) => error.into(),
            ChangeError::Emit(error) => error.into(),
            ChangeError::Change { .. } => reject(error.to_string()),
        }
    }
}

impl From<json::ChangeError> for ChangeError {
    fn from(error: json::ChangeError) -> Self {
        match error {
            json::ChangeError::Read(error) => Self::Read(error.into()),
            json::ChangeError::Change(misplaced) => Self::Change {
                pointer: misplaced.pointer,
                reason: misplaced.reason,
            },
            json::ChangeError::Emit(error) => Self::Emit(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{View, emit, forward, testing};

    fn deliver(changes: Vec<Change>) -> Result<String, Error> {
        let message = testing::message("t")
            .key("k")
            .text(r#"{"a":[1,2],"b":3}"#)
            .build();
        let hook = |_: View<'_>| {
            forward("out")
                .header("h", "1")
                .changes(changes.clone())
                .send()?;
            emit("out").changes(changes).send()
        };
        testing::deliver_view(hook, message)?;
        let [first, second] = testing::emitted().try_into().unwrap();
        assert_eq!((first.key_text(), second.key_text()), (Some("k"), None));
        assert_eq!(first.value, second.value);
        Ok(first.text().unwrap().to_owned())
    }

    #[test]
    fn changes_are_made_one_after_the_other() {
        let set = |pointer, value: &str| Change::set(pointer, value).unwrap();
        let changes = vec![
            set("/c", "new"),
            Change::remove("/b"),
            Change::remove("/x/y"),
            set("/a/-", "last"),
            Change::remove("/a/0"),
        ];
        assert_eq!(
            deliver(changes),
            Ok(r#"{"a":[2,"last"],"c":"new"}"#.to_owned())
        );
    }

    #[test]
    fn a_change_that_cannot_be_made_rejects_the_record_and_sends_nothing() {
        for pointer in ["/x/y", "/a/3", "/b/c"] {
            let error = deliver(vec![Change::set(pointer, &1).unwrap()]).unwrap_err();
            assert!(matches!(error, Error::Reject(_)), "{error:?}");
            assert!(error.reason().starts_with("no change at"), "{error}");
            assert!(testing::emitted().is_empty());
        }
        let error = deliver(vec![Change::remove("")]).unwrap_err();
        assert!(matches!(error, Error::Reject(_)), "{error:?}");
    }
}
