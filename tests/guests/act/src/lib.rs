//! Does what the value says, well or badly.
//!
//! The first word is the deed, the rest its argument; any other value is `ok`. What follows ` #` is a comment, and
//! `sometimes DEED` is the deed for a third of the time and `ok` for the rest. A deed that ends
//! well emits one record to the topic that config `output` names (`out`): the record's key and a
//! JSON object of topic, partition, offset, value, config `label`, and `result` where the deed has
//! something to tell.
//!
//! `ok` · `trap` · `panic TEXT` · `spin` · `alloc MIB` · `sleep MS` · `reject TEXT` ·
//! `retry [MS] TEXT` · `other TEXT` · `emit-big BYTES` (result: the refusal) · `emit-many N` (N
//! records to `output`, each with its number as result) · `emit-to TOPIC` ·
//! `emit-then-fail TOPIC` · `log TEXT` · `stdout TEXT` · `stderr TEXT` · `file` (result: what the
//! sandbox denied) · `config KEY` (result: the value) · `flaky N` (fails N times for its offset) ·
//! `ask TOPIC MS TEXT` (a request, its key that of the record and `?`; result: the response's text, or why there is
//! none) · `ask-many N TOPIC MS` (N requests at once; result: how many have their response) · `ask-several N TOPIC MS`
//! (one request; result: up to N responses) · `answer TEXT` (the response to a request) · `answer-to TOPIC TEXT` (to one
//! that does not say where to) · `receipt TOPIC MS TEXT` (sent at once; result: partition, offset and timestamp, or why there
//! is no receipt) · `receipt-then-fail TOPIC` · `sound` (`ok`, or `other` while there is a config `broken`; takes as long as config `slow-ms` says).
//!
//! For what only an enemy does: `work MS` (computes for so long) · `log-many N TEXT` · `shout MIB` (one line of that size) ·
//! `recurse` · `headers N` (emits a record with N headers; result: the refusal) · `nest N` (emits JSON that is N lists deep) ·
//! `emit-flood` (emits until it is refused; result: the refusal) · `hoard-times` (holds more and more times to wait for) ·
//! `hoard-fields` (the same with HTTP fields) · `spam` (calls the host without end).
//!
//! A JSON object has its deed in the member `deed`.

mod deeds;
mod misdeeds;

use kafka_wasm_guest::{Message, Result, config, emit, handler, log};
use serde_json::{Value, json};

thread_local! {
    static OUTPUT: String = config("output").unwrap_or_else(|| "out".into());
    static LABEL: String = config("label").unwrap_or_default();
}

fn on_message(message: Message) -> Result {
    let text = message
        .value()
        .map(String::from_utf8_lossy)
        .unwrap_or_default();
    let object = serde_json::from_str::<Value>(&text).ok();
    let text = object
        .as_ref()
        .and_then(|object| object["deed"].as_str())
        .unwrap_or(&text);
    let (text, _) = text.split_once(" #").unwrap_or((text, ""));
    let text = match text.strip_prefix("sometimes ") {
        Some(_) if deeds::is_well(&message) => "ok",
        Some(deed) => deed,
        None => text,
    };
    let (deed, rest) = text.split_once(' ').unwrap_or((text, ""));
    let result = match deed {
        "trap" => deeds::trap(),
        "panic" => panic!("{rest}"),
        "spin" => deeds::spin(),
        "alloc" => deeds::alloc(rest)?,
        "sleep" => deeds::sleep(rest)?,
        "reject" => return Err(kafka_wasm_guest::reject(rest)),
        "retry" => return Err(deeds::retry(rest)),
        "sound" if config("broken").is_some() => {
            return Err(kafka_wasm_guest::other("broken on purpose"));
        }
        "sound" => match config("slow-ms") {
            Some(ms) => deeds::sleep(&ms)?,
            None => None,
        },
        "other" => return Err(kafka_wasm_guest::other(rest)),
        "emit-big" => deeds::emit_big(&output(), rest)?,
        "emit-many" => return emit_many(&message, rest),
        "emit-to" => emit_to(&message, rest)?,
        "emit-then-fail" => {
            emit_to(&message, rest)?;
            return Err(kafka_wasm_guest::other("failed after an emit"));
        }
        "log" => log_line(rest),
        "stdout" => deeds::stdout(rest),
        "stderr" => deeds::stderr(rest),
        "file" => Some(deeds::escape()),
        "config" => config(rest),
        "flaky" => deeds::flaky(&message, rest)?,
        "ask" => Some(deeds::ask(&message, rest)?),
        "ask-many" => Some(deeds::ask_many(rest)?),
        "ask-several" => Some(deeds::ask_several(rest)?),
        "receipt" => Some(deeds::receipt(rest)?),
        "receipt-then-fail" => {
            deeds::receipt(&format!("{rest} 30000 kept"))?;
            return Err(kafka_wasm_guest::other("failed after a receipt"));
        }
        "work" => misdeeds::work(rest)?,
        "log-many" => misdeeds::log_many(rest)?,
        "shout" => misdeeds::shout(rest)?,
        "recurse" => Some(misdeeds::recurse(0).to_string()),
        "headers" => misdeeds::headers(&output(), rest)?,
        "nest" => misdeeds::nest(&output(), rest)?,
        "emit-flood" => Some(misdeeds::emit_flood(&output())),
        "hoard-times" => misdeeds::hoard_times(),
        "hoard-fields" => misdeeds::hoard_fields(),
        "spam" => misdeeds::spam(),
        "answer" => deeds::answer(&message, rest)?,
        "answer-to" => deeds::answer_to(&message, rest)?,
        _ => None,
    };
    report(&output(), &message, result)
}

fn output() -> String {
    OUTPUT.with(String::clone)
}

fn log_line(text: &str) -> Option<String> {
    log::info!("{text}");
    None
}

fn emit_to(message: &Message, topic: &str) -> Result<Option<String>> {
    report(topic, message, None)?;
    Ok(None)
}

fn emit_many(message: &Message, count: &str) -> Result {
    let output = output();
    for number in 0..count.parse::<u64>()? {
        report(&output, message, Some(number.to_string()))?;
    }
    Ok(())
}

/// Emits what became of `message`.
fn report(topic: &str, message: &Message, result: Option<String>) -> Result {
    let mut report = json!({
        "topic": message.topic,
        "partition": message.partition,
        "offset": message.offset,
        "value": message.value().map(String::from_utf8_lossy),
        "label": LABEL.with(String::clone),
    });
    if let Some(result) = result {
        report["result"] = result.into();
    }
    emit(topic).key(message.key()).json(&report)?.send()?;
    Ok(())
}

handler! { on_message }
