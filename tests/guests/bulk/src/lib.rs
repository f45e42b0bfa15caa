//! Batches only, by the packed interface; see `hook.rs`.

mod hook;

use kafka_wasm_guest::handler;

handler! { on_bulk: hook::on_bulk }
