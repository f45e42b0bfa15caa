//! The middleware of the benchmark: lets every record pass, or with config `change` hands it back.

use kafka_wasm_guest::{Message, Reception, Result, config, handler};

thread_local! {
    static CHANGE: bool = config("change").is_some();
}

fn middleware(message: Message) -> Result<Reception> {
    Ok(if CHANGE.with(|change| *change) {
        Reception::Change(message)
    } else {
        Reception::Pass
    })
}

handler! { middleware }
