//! Emits one summary of each batch to the topic that config `output` names (`out`). With a config `dump`
//! the summary has all parts of all records; with `sleep-ms` each batch takes so long.
//!
//! The value `bad` rejects its record, `again` fails it with `other`, `fail-all` fails the batch. `emit-to TOPIC` is
//! emitted to that topic besides. With a config `broken` every batch fails as a whole, or with the value `each` every record.

use std::time::Duration;

use kafka_wasm_guest::{Batch, BulkFailure, Message, Result, config, emit, other, reject};
use serde_json::{Value, json};

pub fn on_bulk(batch: Batch) -> Result<Vec<BulkFailure>> {
    let broken = config("broken");
    if broken.as_deref().is_some_and(|how| how != "each")
        || batch
            .iter()
            .any(|message| message.value() == Some(b"fail-all"))
    {
        return Err(other("the whole batch fails on purpose"));
    }
    if let Some(ms) = config("sleep-ms") {
        std::thread::sleep(Duration::from_millis(ms.parse()?));
    }
    for message in &batch {
        let text = std::str::from_utf8(message.value().unwrap_or_default());
        if let Some(topic) = text.ok().and_then(|text| text.strip_prefix("emit-to ")) {
            emit(topic).bytes(message.value()).send()?;
        }
    }
    let mut summary = json!({
        "topic": batch.first().map(Message::topic),
        "partition": batch.first().map(|message| message.partition),
        "count": batch.len(),
        "first": batch.first().map(|message| message.offset),
        "last": batch.last().map(|message| message.offset),
    });
    if config("dump").is_some() {
        summary["records"] = batch.iter().map(dump).collect();
    }
    let output = config("output").unwrap_or_else(|| "out".into());
    emit(&output).json(&summary)?.send()?;
    if broken.is_some() {
        let failure = |index| BulkFailure::new(index, other("broken on purpose"));
        return Ok((0..batch.len()).map(failure).collect());
    }
    Ok(batch.iter().enumerate().filter_map(failure).collect())
}

fn dump(message: &Message) -> Value {
    let headers = message.headers.iter();
    let headers: Vec<_> = headers.map(|it| (&it.key, &it.value)).collect();
    json!({
        "topic": message.topic,
        "partition": message.partition,
        "offset": message.offset,
        "timestamp": message.timestamp,
        "key": message.key,
        "value": message.value,
        "headers": headers,
    })
}

fn failure((index, message): (usize, &Message)) -> Option<BulkFailure> {
    match message.value()? {
        b"bad" => Some(BulkFailure::new(index, reject("bad on purpose"))),
        b"again" => Some(BulkFailure::new(index, other("failed on purpose"))),
        _ => None,
    }
}
