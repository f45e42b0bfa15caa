//! Batches that are read where they lie: emits one summary of each to the topic that config `output`
//! names (`out`), with the bytes of all values. With a config `dump` it has all parts of all records.
//!
//! Also the handler of batches of the benchmark: nothing is copied.

use kafka_wasm_guest::{MessageView, Result, config, emit, handler};
use serde_json::{Value, json};

fn on_bulk(batch: Vec<MessageView<'_>>) -> Result {
    let values = batch.iter().filter_map(MessageView::value);
    let mut summary = json!({
        "count": batch.len(),
        "bytes": values.map(<[u8]>::len).sum::<usize>(),
    });
    if config("dump").is_some() {
        summary["records"] = batch.iter().map(dump).collect();
    }
    let output = config("output").unwrap_or_else(|| "out".into());
    emit(&output).json(&summary)?.send()?;
    Ok(())
}

fn dump(view: &MessageView<'_>) -> Value {
    let headers: Vec<_> = view.headers().collect();
    json!({
        "topic": view.topic(),
        "partition": view.partition(),
        "offset": view.offset(),
        "timestamp": view.timestamp_ms(),
        "key": view.key(),
        "value": view.value(),
        "headers": headers,
    })
}

handler! { on_bulk }
