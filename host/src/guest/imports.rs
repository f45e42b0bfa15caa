//! What a guest may call: `producer`, wasi:logging, wasi:config, and WASI 0.2 with nothing granted.
//!
//! **Invariant:** no import fails the host, and none but that for requests waits: what is refused is refused with a typed
//! error.

use std::borrow::Cow;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmStr};

use super::bindings::{ConfigError, EmitError, LogLevel, Outgoing};
use super::clock;
use super::requests;
use super::state::GuestState;
use crate::ids::TopicName;
use crate::outbox::Outbox;
use crate::record::{Emit, Header};

/// Defines everything that a component may import.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    clock::add_to_linker(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    linker.instance("kafka:handler/producer@0.1.0")?.func_wrap(
        "emit",
        |store: StoreContextMut<'_, GuestState>, (outgoing,): (Outgoing,)| {
            Ok((emit(store, &outgoing)?,))
        },
    )?;
    requests::add_to_linker(linker)?;
    linker
        .instance("wasi:logging/logging@0.1.0-draft")?
        .func_wrap(
            "log",
            |store: StoreContextMut<'_, GuestState>,
             (level, context, message): (LogLevel, WasmStr, WasmStr)| {
                let (context, message) = (context.to_str(&store)?, message.to_str(&store)?);
                store.data().log.log(level, &context, &message);
                Ok(())
            },
        )?;
    let mut config = linker.instance("wasi:config/store@0.2.0-rc.1")?;
    config.func_wrap(
        "get",
        |store: StoreContextMut<'_, GuestState>, (key,): (WasmStr,)| {
            let key = key.to_str(&store)?;
            Ok((Ok::<_, ConfigError>(
                store.data().config.get(&*key).cloned(),
            ),))
        },
    )?;
    config.func_wrap(
        "get-all",
        |store: StoreContextMut<'_, GuestState>, (): ()| {
            let config = &store.data().config;
            let all: Vec<(String, String)> = config
                .iter()
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            Ok((Ok::<_, ConfigError>(all),))
        },
    )?;
    Ok(())
}

/// Takes a record from guest memory into the outbox: the only copy before the producer's own.
fn emit(
    mut store: StoreContextMut<'_, GuestState>,
    outgoing: &Outgoing,
) -> wasmtime::Result<Result<(), EmitError>> {
    if !store.data().may_emit {
        return Ok(Err(EmitError::NotNow));
    }
    // The outbox leaves the store while the record borrows guest memory from it.
    let mut outbox = std::mem::replace(&mut store.data_mut().outbox, Outbox::new(0, 0));
    let result = with_record(&mut store, outgoing, |record| {
        outbox
            .push(&record)
            .map_err(|full| EmitError::QuotaExceeded(full.to_string()))
    });
    store.data_mut().outbox = outbox;
    result
}

/// Lends a record that lies in guest memory, if it may be written at all.
pub(super) fn with_record<T>(
    store: &mut StoreContextMut<'_, GuestState>,
    outgoing: &Outgoing,
    take: impl FnOnce(Emit<'_>) -> Result<T, EmitError>,
) -> wasmtime::Result<Result<T, EmitError>> {
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
        return Ok(Err(EmitError::Denied(reason)));
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
        return Ok(Err(EmitError::TooLarge(limit as u64)));
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
