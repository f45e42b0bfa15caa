//! Batches only: emits one summary of each batch to the topic that config `output` names (`out`).
//!
//! The value `bad` rejects its record, `again` fails it with `other`, `fail-all` fails the batch.

use kafka_wasm_guest::{Batch, BulkFailure, Message, Result, config, emit, handler, other, reject};
use serde_json::json;

fn on_bulk(batch: Batch) -> Result<Vec<BulkFailure>> {
    if batch
        .iter()
        .any(|message| message.value() == Some(b"fail-all"))
    {
        return Err(other("the whole batch fails on purpose"));
    }
    let summary = json!({
        "topic": batch.first().map(Message::topic),
        "partition": batch.first().map(|message| message.partition),
        "count": batch.len(),
        "first": batch.first().map(|message| message.offset),
        "last": batch.last().map(|message| message.offset),
    });
    let output = config("output").unwrap_or_else(|| "out".into());
    emit(&output).json(&summary)?.send()?;
    Ok(batch.iter().enumerate().filter_map(failure).collect())
}

fn failure((index, message): (usize, &Message)) -> Option<BulkFailure> {
    match message.value()? {
        b"bad" => Some(BulkFailure::new(index, reject("bad on purpose"))),
        b"again" => Some(BulkFailure::new(index, other("failed on purpose"))),
        _ => None,
    }
}

handler! { on_bulk }
