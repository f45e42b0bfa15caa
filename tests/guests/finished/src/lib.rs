//! Traps on the value `trap`; emits to `out` how each record ended. It has no error hook, so after a
//! trap `on-finished` is the first hook of a fresh instance. Of the value `receipt TOPIC` it tells at once, to that topic,
//! and waits for the receipt.

use std::time::Duration;

use kafka_wasm_guest::{Message, Outcome, Result, emit, handler};

fn on_message(text: String) -> Result {
    assert!(text != "trap", "told to");
    Ok(())
}

fn on_finished(messages: &[Message], outcome: Outcome) {
    for message in messages {
        let text = message.text().unwrap_or("?");
        let told = match text.strip_prefix("receipt ") {
            Some(topic) => {
                let sent = emit(topic).text(text);
                sent.send_and_wait(Duration::from_secs(60)).is_ok()
            }
            None => emit("out")
                .text(&format!("{text} {outcome}"))
                .send()
                .is_ok(),
        };
        assert!(told, "a small record is taken");
    }
}

handler! { on_message, on_finished }
