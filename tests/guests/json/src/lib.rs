//! The JSON transform of the benchmark: parses the value, upper-cases its field `name`, serialises
//! it and emits it with the same key to the topic that config `output` names (`out`).

use kafka_wasm_guest::{Json, Record, Result, config, emit, handler};
use serde_json::Value;

thread_local! {
    static OUTPUT: String = config("output").unwrap_or_else(|| "out".into());
}

fn on_message(mut record: Record<Json<Value>>) -> Result {
    if let Some(Value::String(name)) = record.payload.get_mut("name") {
        *name = name.to_uppercase();
    }
    OUTPUT.with(|output| -> Result {
        emit(output)
            .key(record.message.key())
            .json(&record.payload)?
            .send()?;
        Ok(())
    })
}

handler! { on_message }
