//! Exports every hook and leaves a trace of each call: a JSON object in the topic that config
//! `trace` names (`trace`), or a log line where a hook may not emit or fails. `hook` is the hook's
//! name in the WIT; beside it are topic, partition, offset and value of the record (or `records`), and
//! what else the hook was given.
//!
//! The value `drop` is dropped by `did-receive`, `change` becomes `changed`, `fail …` fails with
//! `other`. The verdict of `on-error` is the record's header `verdict`, else `dead-letter`.

use kafka_wasm_guest::{
    Batch, BulkFailure, Config, Failure, Message, Outcome, Result, Verdict, config, emit, handler,
    log, other,
};
use serde_json::{Value, json};

thread_local! {
    static TRACE: String = config("trace").unwrap_or_else(|| "trace".into());
}

/// Emits the trace, or logs it where the host refuses.
fn trace(hook: &str, what: Value) {
    let text = line(hook, what);
    if TRACE.with(|topic| emit(topic).text(&text).send()).is_err() {
        log::info!("{text}");
    }
}

fn line(hook: &str, mut what: Value) -> String {
    what["hook"] = hook.into();
    what.to_string()
}

fn seen(message: &Message) -> Value {
    json!({
        "topic": message.topic,
        "partition": message.partition,
        "offset": message.offset,
        "value": message.value().map(String::from_utf8_lossy),
    })
}

fn all_seen(messages: &[Message]) -> Value {
    json!({ "records": messages.iter().map(seen).collect::<Value>() })
}

fn fails(message: &Message) -> bool {
    message
        .value()
        .is_some_and(|value| value.starts_with(b"fail"))
}

fn on_message(message: Message) -> Result {
    if fails(&message) {
        log::info!(
            "{}",
            json!({ "hook": "on-message", "what": seen(&message) })
        );
        return Err(other(message.text()?));
    }
    trace("on-message", seen(&message));
    Ok(())
}

fn on_tombstone(message: Message) -> Result {
    trace("on-tombstone", seen(&message));
    Ok(())
}

fn on_bulk(batch: Batch) -> Result<Vec<BulkFailure>> {
    on_batch("on-bulk", &batch)
}

fn on_bulk_list(batch: Batch) -> Result<Vec<BulkFailure>> {
    on_batch("on-bulk-list", &batch)
}

fn on_batch(hook: &str, batch: &[Message]) -> Result<Vec<BulkFailure>> {
    trace(hook, all_seen(batch));
    let failed = batch
        .iter()
        .enumerate()
        .filter(|(_, message)| fails(message));
    failed
        .map(|(index, message)| Ok(BulkFailure::new(index, other(message.text()?))))
        .collect()
}

fn verdict(message: Option<&Message>) -> Verdict {
    match message.and_then(|message| message.header_text("verdict")) {
        Some("resume") => Verdict::Resume,
        Some("retry") => Verdict::Retry,
        Some("halt") => Verdict::Halt,
        _ => Verdict::DeadLetter,
    }
}

fn failed(failure: &Failure, mut what: Value) -> Value {
    what["kind"] = failure.kind.to_string().into();
    what["message"] = failure.message.as_str().into();
    what["attempt"] = failure.attempt.into();
    what["max-attempts"] = failure.max_attempts.into();
    what
}

fn on_error(failure: &Failure, message: &Message) -> Verdict {
    trace("on-error", failed(failure, seen(message)));
    verdict(Some(message))
}

fn on_bulk_error(failure: &Failure, messages: &[Message]) -> Verdict {
    trace("on-bulk-error", failed(failure, all_seen(messages)));
    verdict(messages.first())
}

fn received(mut message: Message) -> Option<Message> {
    match message.value() {
        Some(b"drop") => return None,
        Some(b"change") => message.value = Some(b"changed".to_vec()),
        _ => {}
    }
    Some(message)
}

fn did_receive(message: Message) -> Result<Option<Message>> {
    trace("did-receive", seen(&message));
    Ok(received(message))
}

fn did_receive_bulk(batch: Batch) -> Result<Batch> {
    trace("did-receive-bulk", all_seen(&batch));
    Ok(batch.into_iter().filter_map(received).collect())
}

fn on_finished(messages: &[Message], outcome: Outcome) {
    let mut what = all_seen(messages);
    what["outcome"] = outcome.to_string().into();
    trace("on-finished", what);
}

fn define_context(config: Config) -> Result {
    let config: Value = config.iter().collect();
    trace("define-context", json!({ "config": config }));
    Ok(())
}

fn on_assigned(topic: &str, partition: u32) {
    trace(
        "on-assigned",
        json!({ "topic": topic, "partition": partition }),
    );
}

fn on_revoked(topic: &str, partition: u32) {
    trace(
        "on-revoked",
        json!({ "topic": topic, "partition": partition }),
    );
}

handler! {
    on_message, on_tombstone, on_bulk, on_bulk_list, on_error, on_bulk_error, did_receive,
    did_receive_bulk, on_finished, define_context, on_assigned, on_revoked,
}
