//! What a guest may call: interfaces of modules of their own, `producer`, wasi:logging, wasi:config, and WASI 0.2 with nothing granted.
//!
//! **Invariant:** no import fails the host, and none but those for requests and receipts waits: what is refused is refused
//! with a typed error.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmStr};

use super::bindings::{ConfigError, LogLevel, Outgoing};
use super::outgoing::emit;
use super::state::GuestState;
use super::{clock, current, reading, receipts, requests};

/// Defines everything that a component may import.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    clock::add_to_linker(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    let mut producer = linker.instance("kafka:handler/producer@0.1.0")?;
    producer.func_wrap(
        "emit",
        |mut store: StoreContextMut<'_, GuestState>, (outgoing,): (Outgoing,)| {
            Ok((emit(&mut store, &outgoing)?,))
        },
    )?;
    receipts::add_to_linker(&mut producer)?;
    requests::add_to_linker(linker)?;
    current::add_to_linker(linker)?;
    reading::add_to_linker(linker)?;
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
