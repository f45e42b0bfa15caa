//! Fails every record with its value as the text; `on-error` returns the verdict that the value
//! names, else `dead-letter`.

use kafka_wasm_guest::{Failure, Message, Result, Verdict, handler, other};

fn on_message(text: String) -> Result {
    Err(other(text))
}

fn decide(_failure: &Failure, message: &Message) -> Verdict {
    match message.text() {
        Ok("resume") => Verdict::Resume,
        Ok("retry") => Verdict::Retry,
        Ok("halt") => Verdict::Halt,
        _ => Verdict::DeadLetter,
    }
}

handler! { on_message, on_error: decide }
