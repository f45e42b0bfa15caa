//! A record that a guest hands over, read in place from its memory and from the record in hand.
//!
//! **Invariant:** what is lent may be written: its topic has a valid name and is not Kafka's own, it is not over-large, and it
//! has a key where the manifest takes keys from values.

use std::borrow::Cow;

use wasmtime::StoreContextMut;
use wasmtime::component::{WasmList, WasmStr};

use super::bindings::json::Envelope;
use super::bindings::{EmitError, Outgoing, OutgoingHeader};
use super::state::GuestState;
use crate::ids::TopicName;
use crate::outbox::Outbox;
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
    if let Some(reason) = refusal(&topic) {
        return Ok(Err(EmitError::Denied(reason).into()));
    }
    let Some(rest) = draft.rest(store) else {
        return Ok(Err(EmitError::NotNow.into()));
    };
    let mut record = Emit {
        topic: &topic,
        ..rest
    };
    let key;
    if record.key.is_none()
        && let Some(place) = &store.data().key_from
    {
        key = match place.read(record.value) {
            Ok(key) => key,
            Err(why) => return Ok(Err(EmitError::Denied(why.to_string()).into())),
        };
        record.key = Some(&key);
    }
    record.headers.reserve_exact(found.len());
    for header in &found {
        let key: Cow<'_, str> = header.key.to_str(store)?;
        record.headers.push(Header {
            key,
            value: header.value.as_ref().map(|value| value.as_le_slice(store)),
        });
    }
    let limit = store.data().message_max_bytes;
    if record.size_bytes() > limit {
        return Ok(Err(EmitError::TooLarge(limit as u64).into()));
    }
    Ok(take(record))
}

/// Returns why nothing may be written to a topic of this name. On the record path: no allocation when it may.
fn refusal(topic: &str) -> Option<String> {
    let valid = !topic.is_empty()
        && topic.len() <= 249
        && topic != "."
        && topic != ".."
        && topic
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    if !valid {
        return Some(match topic.parse::<TopicName>() {
            Err(error) => format!("{topic:?} is no topic name: {error}"),
            Ok(_) => format!("{topic:?} is no topic name"),
        });
    }
    TopicName::is_internal(topic).then(|| format!("{topic} belongs to Kafka itself"))
}
