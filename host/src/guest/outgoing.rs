//! A record that a guest hands over, read in place from its memory and from the record in hand.
//!
//! **Invariant:** what is lent may be written: its topic begins with the tenant's prefix, has a valid name and is not Kafka's own, it is not over-large, and it
//! has a key where the manifest takes keys from values.

use std::borrow::Cow;

use wasmtime::StoreContextMut;
use wasmtime::component::{WasmList, WasmStr};

use super::bindings::json::Envelope;
use super::bindings::{EmitError, Outgoing, OutgoingHeader};
use super::state::GuestState;
use crate::outbox::Outbox;
use crate::publish::{Unwritable, key_for};
use crate::record::{Emit, Header};

/// A record as a guest hands it over.
pub(super) struct Draft<'d> {
    topic: &'d WasmStr,
    /// They come after those of the base.
    headers: &'d WasmList<OutgoingHeader>,
    base: Base<'d>,
    /// In place of the value of the base.
    value: Option<&'d [u8]>,
}

/// What all else of a draft is taken from.
enum Base<'d> {
    /// The guest says it.
    Given {
        key: Option<&'d WasmList<u8>>,
        value: Option<&'d WasmList<u8>>,
        partition: Option<u32>,
        timestamp_ms: Option<i64>,
    },
    /// The record in hand.
    Current,
}

impl<'d> Draft<'d> {
    /// Makes a draft of the record in hand for another topic, with more headers.
    pub(super) fn of_current(topic: &'d WasmStr, headers: &'d WasmList<OutgoingHeader>) -> Self {
        Self {
            topic,
            headers,
            base: Base::Current,
            value: None,
        }
    }

    /// Gives it a value that the host has.
    pub(super) fn with_value(self, value: &'d [u8]) -> Self {
        Self {
            value: Some(value),
            ..self
        }
    }

    /// Lends all but the topic and the last headers; nothing where that is to be the record in hand and there is none.
    fn rest<'a>(&self, store: &'a StoreContextMut<'_, GuestState>) -> Option<Emit<'a>>
    where
        'd: 'a,
    {
        let base = match self.base {
            Base::Current => store.data().current.record()?,
            Base::Given {
                key,
                value,
                partition,
                timestamp_ms,
            } => Emit {
                topic: "",
                key: key.map(|key| key.as_le_slice(store)),
                value: value.map(|value| value.as_le_slice(store)),
                headers: Vec::new(),
                // A partition beyond i32 exists nowhere; Kafka's answer to the largest one is the same.
                partition: partition.map(|partition| i32::try_from(partition).unwrap_or(i32::MAX)),
                timestamp_ms,
            },
        };
        Some(Emit {
            value: self.value.or(base.value),
            ..base
        })
    }
}

impl<'d> From<&'d Outgoing> for Draft<'d> {
    fn from(outgoing: &'d Outgoing) -> Self {
        Self {
            topic: &outgoing.topic,
            headers: &outgoing.headers,
            base: Base::Given {
                key: outgoing.key.as_ref(),
                value: outgoing.value.as_ref(),
                partition: outgoing.partition,
                timestamp_ms: outgoing.timestamp,
            },
            value: None,
        }
    }
}

impl<'d> From<&'d Envelope> for Draft<'d> {
    fn from(envelope: &'d Envelope) -> Self {
        Self {
            topic: &envelope.topic,
            headers: &envelope.headers,
            base: Base::Given {
                key: envelope.key.as_ref(),
                value: None,
                partition: envelope.partition,
                timestamp_ms: envelope.timestamp,
            },
            value: None,
        }
    }
}

/// Takes a record into the outbox: the only copy of what lies in guest memory before the producer's own.
pub(super) fn emit<'d>(
    store: &mut StoreContextMut<'_, GuestState>,
    draft: impl Into<Draft<'d>>,
) -> wasmtime::Result<Result<(), EmitError>> {
    if !store.data().may_emit {
        return Ok(Err(EmitError::NotNow));
    }
    // The outbox leaves the store while the record borrows guest memory from it.
    let mut outbox = std::mem::replace(&mut store.data_mut().outbox, Outbox::new(0, 0));
    let result = with_record(store, draft, |record| {
        outbox
            .push(&record)
            .map_err(|full| EmitError::QuotaExceeded(full.to_string()))
    });
    store.data_mut().outbox = outbox;
    result
}

/// Lends a record that a guest hands over, if it may be written at all.
pub(super) fn with_record<'d, T, E: From<EmitError>>(
    store: &mut StoreContextMut<'_, GuestState>,
    draft: impl Into<Draft<'d>>,
    take: impl FnOnce(Emit<'_>) -> Result<T, E>,
) -> wasmtime::Result<Result<T, E>> {
    let draft = draft.into();
    let found = match draft.headers.len() {
        0 => Vec::new(),
        _ => draft
            .headers
            .iter(&mut *store)?
            .collect::<wasmtime::Result<Vec<_>>>()?,
    };
    let store = &*store;
    let topic = draft.topic.to_str(store)?;
    let topic = store.data().prefix.full(&topic);
    let Some(rest) = draft.rest(store) else {
        return Ok(Err(EmitError::NotNow.into()));
    };
    let mut record = Emit {
        topic: &topic,
        ..rest
    };
    record.headers.reserve_exact(found.len());
    for header in &found {
        let key: Cow<'_, str> = header.key.to_str(store)?;
        record.headers.push(Header {
            key,
            value: header.value.as_ref().map(|value| value.as_le_slice(store)),
        });
    }
    let state = store.data();
    let (key_from, max_bytes) = (state.key_from.as_ref(), state.message_max_bytes);
    let key = match key_for(&record, key_from, max_bytes, &state.grants) {
        Ok(key) => key,
        Err(why) => return Ok(Err(EmitError::from(why).into())),
    };
    if key.is_some() {
        record.key = key.as_deref();
    }
    Ok(take(record))
}

impl From<Unwritable> for EmitError {
    fn from(why: Unwritable) -> Self {
        match why {
            Unwritable::Topic(why) => Self::Denied(why),
            Unwritable::NoKey(why) => Self::Denied(why.to_string()),
            Unwritable::TooLarge { max, .. } => Self::TooLarge(max as u64),
        }
    }
}
