//! Records that stay with the host: does what the header `do` says, well or badly.
//!
//! The first word is the deed, the rest its argument. A deed emits what it has to tell to the topic
//! that config `output` names (`out`), as JSON; what fails is told as text.
//!
//! `dump` (all parts of the record) · `get POINTER…` (one by one) · `select POINTER…` (in one call) ·
//! `raw POINTER` · `exists POINTER` · `len POINTER` · `items POINTER` · `forward` (sends the record on
//! with two headers more) · `change CHANGES` (emits the changed value, and sends it on with a header
//! more; `CHANGES` is `[["set", POINTER, VALUE], ["remove", POINTER], …]`) · `hoard N POINTERS` (N
//! selections of so many pointers) · `fail` (then `on_error` sends the record on).
//!
//! `did_receive` gives records with a header `received` that as their value. A batch tells whether it
//! has a record in hand.

use kafka_wasm_guest::{
    Change, Error, Failure, Header, JsonSelection, Message, Result, Verdict, View, config, emit,
    forward, handler, other,
};
use serde_json::{Value, json};

fn on_view(view: View<'_>) -> Result {
    let told = view.header("do").unwrap_or_default();
    let told = String::from_utf8(told)?;
    let (deed, rest) = told.split_once(' ').unwrap_or((&told, ""));
    let told = match deed {
        "dump" => Ok(dump(view)),
        "forward" => {
            let output = output();
            let forwarded = forward(&output).header("more", "1");
            return Ok(forwarded.header("more", None::<&str>).send()?);
        }
        "change" => match change(rest) {
            Ok(()) => return Ok(()),
            Err(error) => Err(error),
        },
        "fail" => return Err(other("told to")),
        "hoard" => hoard(rest),
        _ => read(view, deed, rest),
    };
    tell(&told.unwrap_or_else(|error| error.to_string().into()))
}

fn on_error(failure: &Failure, _message: &Message) -> Verdict {
    let sent = forward(&output())
        .header("failed", failure.message.as_str())
        .send();
    if sent.is_ok() {
        Verdict::Resume
    } else {
        Verdict::Halt
    }
}

fn did_receive(mut message: Message) -> Result<Option<Message>> {
    if let Some(value) = message.header("received").map(Vec::from) {
        message.value = Some(value);
    }
    Ok(Some(message))
}

fn on_bulk(batch: Vec<Message>) -> Result {
    let forwarded = forward(&output())
        .send()
        .err()
        .map(|error| error.to_string());
    let read = JsonSelection::new(&["/a"])?.read().err();
    let read = read.map(|error| error.to_string());
    tell(&json!({ "records": batch.len(), "forward": forwarded, "read": read }))
}

fn output() -> String {
    config("output").unwrap_or_else(|| "out".into())
}

fn tell(told: &Value) -> Result {
    emit(&output()).json(told)?.send()?;
    Ok(())
}

fn dump(view: View<'_>) -> Value {
    let pair = |header: &Header| json!([header.key, header.value]);
    json!({
        "topic": view.topic(),
        "partition": view.partition(),
        "offset": view.offset(),
        "timestamp": view.timestamp_ms(),
        "sizes": [view.key_size(), view.value_size()],
        "key": view.key(),
        "value": view.value(),
        "headers": view.headers().iter().map(pair).collect::<Vec<_>>(),
    })
}

/// Reads by one of the getters; values are told as the bindings show them.
fn read(view: View<'_>, deed: &str, rest: &str) -> Result<Value> {
    let json = view.json();
    Ok(match deed {
        "get" => {
            let get = |pointer| json.get::<kafka_wasm_guest::JsonValue>(pointer);
            let values = rest.split(' ').map(get).collect::<Result<Vec<_>, _>>()?;
            values.iter().map(|value| format!("{value:?}")).collect()
        }
        "select" => {
            let pointers: Vec<_> = rest.split(' ').collect();
            let values = JsonSelection::new(&pointers)?.read()?;
            values.iter().map(|value| format!("{value:?}")).collect()
        }
        "raw" => json!(json.raw(rest)?),
        "exists" => json!(json.exists(rest)?),
        "len" => json!(json.len(rest)?),
        "items" => json
            .items(rest)?
            .map(|value| format!("{value:?}"))
            .collect(),
        _ => return Err(other(format!("no deed: {deed}"))),
    })
}

/// Fills the instance with selections, and reads the last one.
fn hoard(rest: &str) -> Result<Value> {
    let (count, pointers) = rest.split_once(' ').unwrap_or((rest, "1"));
    let pointers: Vec<String> = (0..pointers.parse()?)
        .map(|nth: u32| format!("/{nth}"))
        .collect();
    let pointers: Vec<&str> = pointers.iter().map(String::as_str).collect();
    let mut hoard = Vec::new();
    for _ in 0..count.parse::<u32>()? {
        hoard.push(JsonSelection::new(&pointers)?);
    }
    let read = hoard.last().map(JsonSelection::read).transpose()?;
    Ok(json!([hoard.len(), read.map(|values| values.len())]))
}

fn change(rest: &str) -> Result {
    let listed: Vec<Vec<Value>> = serde_json::from_str(rest)?;
    let change = |parts: Vec<Value>| -> Result<Change> {
        match parts.as_slice() {
            [Value::String(word), Value::String(pointer)] if word == "remove" => {
                Ok(Change::remove(pointer))
            }
            [_, Value::String(pointer), value] => Ok(Change::set(pointer, value)?),
            _ => Err(other("no change")),
        }
    };
    let changes: Vec<Change> = listed.into_iter().map(change).collect::<Result<_>>()?;
    let output = output();
    let emitted = emit(&output)
        .key("changed")
        .header("own", "1")
        .changes(changes.clone());
    emitted.send().map_err(Error::from)?;
    Ok(forward(&output)
        .header("more", "1")
        .changes(changes)
        .send()?)
}

handler! { on_view, on_error, did_receive, on_bulk }
