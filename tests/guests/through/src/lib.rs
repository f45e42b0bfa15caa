//! What stands between in the benchmark: a middleware that lets every record pass, or with config `change` hands it back,
//! and a step of pipelines that hands each back.

use std::collections::BTreeMap;

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

fn transform(message: Message, _: BTreeMap<String, String>) -> Result<Option<Message>> {
    Ok(Some(message))
}

handler! { middleware, transform }
