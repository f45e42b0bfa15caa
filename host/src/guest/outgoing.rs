//! A record that a guest hands over, read in place from its memory.
//!
//! **Invariant:** what is lent may be written: its topic has a valid name and is not Kafka's own, and it is not over-large.

use std::borrow::Cow;

use wasmtime::StoreContextMut;

use super::bindings::{EmitError, Outgoing};
use super::state::GuestState;
use crate::ids::TopicName;
use crate::record::{Emit, Header};

/// Lends a record that lies in guest memory, if it may be written at all.
pub(super) fn with_record<T, E: From<EmitError>>(
    store: &mut StoreContextMut<'_, GuestState>,
    outgoing: &Outgoing,
    take: impl FnOnce(Emit<'_>) -> Result<T, E>,
) -> wasmtime::Result<Result<T, E>> {
    let found = match outgoing.headers.len() {
        0 => Vec::new(),
        _ => outgoing
            .headers
            .iter(&mut *store)?
            .collect::<wasmtime::Result<Vec<_>>>()?,
    };
    let store = &*store;
    let topic = outgoing.topic.to_str(store)?;
    if let Some(reason) = refusal(&topic) {
        return Ok(Err(EmitError::Denied(reason).into()));
    }
    let mut headers = Vec::with_capacity(found.len());
    for header in &found {
        let key: Cow<'_, str> = header.key.to_str(store)?;
        headers.push(Header {
            key,
            value: header.value.as_ref().map(|value| value.as_le_slice(store)),
        });
    }
    let record = Emit {
        topic: &topic,
        key: outgoing.key.as_ref().map(|key| key.as_le_slice(store)),
        value: outgoing
            .value
            .as_ref()
            .map(|value| value.as_le_slice(store)),
        headers,
        // A partition beyond i32 exists nowhere; Kafka's answer to the largest one is the same.
        partition: outgoing
            .partition
            .map(|partition| i32::try_from(partition).unwrap_or(i32::MAX)),
        timestamp_ms: outgoing.timestamp,
    };
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
