//! Emits key and value to the topic that config `output` names (`out`), with config `label` as the
//! header `label`: it shows which deployment handled a record.

use kafka_wasm_guest::{Message, Result, config, emit, handler};

thread_local! {
    static OUTPUT: String = config("output").unwrap_or_else(|| "out".into());
    static LABEL: String = config("label").unwrap_or_default();
}

fn on_message(message: Message) -> Result {
    OUTPUT.with(|output| {
        emit(output)
            .key(message.key())
            .bytes(message.value())
            .header("label", LABEL.with(String::clone))
            .send()
    })?;
    Ok(())
}

handler! { on_message }
