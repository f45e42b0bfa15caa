//! A handler made from the WIT alone, without the SDK: emits key and value to `out`.

wit_bindgen::generate!({ path: "../../../wit", world: "handler", generate_all });

use exports::kafka::handler::message_handler::{Guest, HandlerError, Message};
use kafka::handler::producer::{Outgoing, emit};

struct Handler;

impl Guest for Handler {
    fn on_message(message: Message) -> Result<(), HandlerError> {
        let outgoing = Outgoing {
            topic: "out".into(),
            key: message.key,
            value: message.value,
            headers: message.headers,
            partition: None,
            timestamp: None,
        };
        emit(&outgoing).map_err(|error| HandlerError::Other(error.to_string()))
    }
}

export!(Handler);
