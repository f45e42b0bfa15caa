//! Passes every record through, to the topic that config `output` names (`out`).
//!
//! Also the pass-through handler of the benchmark: nothing is copied on the way.

use kafka_wasm_guest::{Message, Result, config, emit, handler};

thread_local! {
    static OUTPUT: String = config("output").unwrap_or_else(|| "out".into());
}

fn on_message(message: Message) -> Result {
    OUTPUT.with(|output| {
        emit(output)
            .key(message.key())
            .bytes(message.value())
            .headers(&message.headers)
            .send()
    })?;
    Ok(())
}

handler! { on_message }
