//! A step of pipelines that decides as its argument `actions` says: a list of them, each a word and what it needs.
//!
//! `["pipe", TOPIC, EVENT?]` · `["ask", TOPIC, MS, RESPONSE_TOPIC?]` · `["replace", TEXT]` · `["finish"]` · `["drop"]`.

use std::time::Duration;

use kafka_wasm_guest::{Action, Message, Result, handler, other};
use serde::Deserialize;

#[derive(Deserialize)]
struct Arguments {
    actions: Vec<Vec<String>>,
}

fn decide(message: Message, arguments: Arguments) -> Result<Vec<Action>> {
    let action = |words: &Vec<String>| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Ok(match *words.as_slice() {
            ["pipe", topic] => Action::pipe(topic),
            ["pipe", topic, event] => Action::pipe(topic).event(event),
            ["ask", topic, ms] => Action::ask(topic, Duration::from_millis(ms.parse()?)),
            ["ask", topic, ms, response] => {
                Action::ask(topic, Duration::from_millis(ms.parse()?)).response_topic(response)
            }
            ["replace", text] => {
                let mut changed = message.clone();
                changed.value = Some(text.as_bytes().to_vec());
                Action::Replace(changed)
            }
            ["finish"] => Action::Finish,
            ["drop"] => Action::Drop,
            _ => return Err(other(format!("no action: {words:?}"))),
        })
    };
    arguments.actions.iter().map(action).collect()
}

handler! { decide }
