//! Refuses to be deployed: its `define-context` fails, or never ends where config has a `spin`.

use kafka_wasm_guest::{Config, Message, Result, handler, other};

fn on_message(_message: Message) -> Result {
    Ok(())
}

fn define_context(config: Config) -> Result {
    while config.get("spin").is_some() {
        std::hint::spin_loop();
    }
    Err(other("refused on purpose"))
}

handler! { define_context, on_message }
