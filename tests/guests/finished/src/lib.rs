//! Traps on the value `trap`; emits to `out` how each record ended. It has no error hook, so after a
//! trap `on-finished` is the first hook of a fresh instance.

use kafka_wasm_guest::{Message, Outcome, Result, emit, handler};

fn on_message(text: String) -> Result {
    assert!(text != "trap", "told to");
    Ok(())
}

fn on_finished(messages: &[Message], outcome: Outcome) {
    for message in messages {
        let text = message.text().unwrap_or("?");
        let told = emit("out").text(&format!("{text} {outcome}")).send();
        assert!(told.is_ok(), "the outbox takes a small record");
    }
}

handler! { on_message, on_finished }
