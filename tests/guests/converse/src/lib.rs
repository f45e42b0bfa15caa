//! Asks and answers, and tells how long that took. For the benchmark of requests and responses.
//!
//! `ask N TOPIC` makes N requests, one after the other. A record to the topic that config `output` names has a line for
//! each: when it was asked (µs since 1970), written (ms), seen by whoever answers (µs), and answered (ms), and how long it
//! took in all (µs). Any other record is a request, and is answered. When a record was written is its timestamp.

#![expect(clippy::disallowed_types, reason = "a guest has no tokio")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kafka_wasm_guest::{Message, Result, config, emit, handler, other, reply};

const TIMEOUT: Duration = Duration::from_secs(60);

fn on_message(message: Message) -> Result {
    let text = message.text()?;
    match text
        .strip_prefix("ask ")
        .and_then(|rest| rest.split_once(' '))
    {
        Some((count, topic)) => {
            let times = (0..count.parse::<u32>()?).map(|nth| ask(topic, nth));
            let output = config("output").unwrap_or_else(|| "out".into());
            emit(&output)
                .text(&times.collect::<Result<String>>()?)
                .send()?;
        }
        None => {
            let (written_ms, at_us) = (message.timestamp_ms().unwrap_or_default(), now_us()?);
            let answer =
                format!("{{\"event\":\"priced\",\"written_ms\":{written_ms},\"at_us\":{at_us}}}");
            reply(&message)?.text(&answer).send()?;
        }
    }
    Ok(())
}

fn ask(topic: &str, nth: u32) -> Result<String> {
    let request = format!("{{\"event\":\"price\",\"count\":{nth}}}");
    let (asked_us, begun) = (now_us()?, Instant::now());
    let response = emit(topic).text(&request).with_response(TIMEOUT)?;
    let took_us = begun.elapsed().as_micros();
    let (text, answered_ms) = (
        response.text()?,
        response.timestamp_ms().unwrap_or_default(),
    );
    let (written_ms, at_us) = (
        number(text, "\"written_ms\":")?,
        number(text, "\"at_us\":")?,
    );
    Ok(format!(
        "{asked_us} {written_ms} {at_us} {answered_ms} {took_us}\n"
    ))
}

/// The number after a name in JSON.
fn number(text: &str, name: &str) -> Result<u64> {
    let rest = text.split_once(name).map(|(_, rest)| rest);
    let digits = rest.and_then(|rest| rest.split([',', '}']).next());
    Ok(digits
        .ok_or_else(|| other("a response without a time"))?
        .parse()?)
}

fn now_us() -> Result<u128> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())
}

handler! { on_message }
