//! Batches only, as a list of records; else it is the fixture `bulk`.

#[path = "../../bulk/src/hook.rs"]
mod hook;

use kafka_wasm_guest::handler;

handler! { on_bulk_list: hook::on_bulk }
