//! A step of pipelines that leaves its name in the record, or misbehaves as the record says.
//!
//! Its arguments are its `name` and, if it shall emit as well, a topic `emit-to`. The value of a record is a JSON object:
//! to the list `trail` in it the step adds its name and how often this instance has been called for the record, as
//! `name1`. What the member `deeds` has under the step's name is done first: `fail N` (fails N times for its offset),
//! `reject TEXT`, `other TEXT`, `drop`, `trap`, `sleep MS`, `grow BYTES` (the value becomes so much larger), `receipt TOPIC`
//! (sends a record at once and waits for the receipt).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use kafka_wasm_guest::{Message, Result, emit, handler, other, reject};
use serde::Deserialize;
use serde_json::Value;

thread_local! {
    static CALLS: RefCell<BTreeMap<u64, u32>> = RefCell::default();
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Arguments {
    name: String,
    emit_to: Option<String>,
}

fn transform(mut message: Message, step: Arguments) -> Result<Option<Message>> {
    let mut value: Value = message.json()?;
    let calls = CALLS.with_borrow_mut(|calls| {
        let calls = calls.entry(message.offset).or_default();
        *calls += 1;
        *calls
    });
    let deed = value["deeds"][&step.name].as_str().unwrap_or_default();
    let (deed, rest) = deed.split_once(' ').unwrap_or((deed, ""));
    if let Some(topic) = &step.emit_to {
        let text = format!("{}{calls}", step.name);
        emit(topic).key(message.key()).text(&text).send()?;
    }
    match deed {
        "fail" if calls <= rest.parse()? => return Err(other(format!("failed {calls}"))),
        "reject" => return Err(reject(rest)),
        "other" => return Err(other(rest)),
        "drop" => return Ok(None),
        "trap" => std::process::abort(),
        "grow" => value["grown"] = "x".repeat(rest.parse()?).into(),
        "receipt" => {
            emit(rest)
                .text("x")
                .send_and_wait(Duration::from_secs(60))?;
        }
        "sleep" => std::thread::sleep(Duration::from_millis(rest.parse()?)),
        _ => {}
    }
    if !value["trail"].is_array() {
        value["trail"] = Value::Array(Vec::new());
    }
    if let Some(trail) = value["trail"].as_array_mut() {
        trail.push(format!("{}{calls}", step.name).into());
    }
    message.value = Some(serde_json::to_vec(&value)?);
    Ok(Some(message))
}

handler! { transform }
