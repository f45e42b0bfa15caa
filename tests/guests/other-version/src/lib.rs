//! A handler for another version of the WIT package, which the host must refuse by name.

wit_bindgen::generate!({ path: "wit", world: "handler" });

struct Handler;

impl exports::kafka::handler::message_handler::Guest for Handler {
    fn on_message(_value: Vec<u8>) {}
}

export!(Handler);
