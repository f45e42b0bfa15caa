//! Refuses to be deployed: its `define-context` fails.

use kafka_wasm_guest::{Config, Message, Result, handler, other};

fn on_message(_message: Message) -> Result {
    Ok(())
}

fn define_context(_config: Config) -> Result {
    Err(other("refused on purpose"))
}

handler! { on_message, define_context }
