//! What a guest may call: `producer`, wasi:logging, wasi:config, and WASI 0.2 with nothing granted.
//!
//! **Invariant:** no import fails the host, and none but that for requests waits: what is refused is refused with a typed
//! error.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmStr};

use super::bindings::{ConfigError, EmitError, LogLevel, Outgoing};
use super::clock;
use super::outgoing::with_record;
use super::requests;
use super::state::GuestState;
use crate::outbox::Outbox;

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
