//! Has functions for certain events, and one for all other records. Emits to the topic that config `output` names
//! (`out`): the record's key and value, with the function as the header `function` and the event as the header `event`.
//! `order.refused` is rejected, `order.flaky` fails with its first attempt.

use std::cell::Cell;

use kafka_wasm_guest::{Message, Result, config, emit, event, events, handler};

thread_local! {
    static OUTPUT: String = config("output").unwrap_or_else(|| "out".into());
    static HAS_FAILED: Cell<bool> = const { Cell::new(false) };
}

events! {
    #[on("order.created")]
    fn created(message: Message) -> Result {
        tell("created", &message)
    }

    #[on("order.refused")]
    fn refused(_message: Message) -> Result {
        Err(kafka_wasm_guest::reject("refused"))
    }

    #[on("order.flaky")]
    fn flaky(message: Message) -> Result {
        if !HAS_FAILED.replace(true) {
            return Err(kafka_wasm_guest::other("the first attempt"));
        }
        tell("flaky", &message)
    }

    #[on("order.*")]
    fn changed(message: Message) -> Result {
        tell("changed", &message)
    }
}

fn on_message(message: Message) -> Result {
    tell("on_message", &message)
}

fn tell(function: &str, message: &Message) -> Result {
    OUTPUT.with(|output| {
        emit(output)
            .key(message.key())
            .bytes(message.value())
            .header("function", function)
            .header("event", event())
            .send()
    })?;
    Ok(())
}

handler! { on_message }
