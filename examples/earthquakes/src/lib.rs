//! Alerts by magnitude: reads earthquakes, emits the strong ones to `alerts`, keyed by the seismic
//! network that reported them.
//!
//! Config `magnitude-min` says what is strong (5.0). A value that is no earthquake is rejected; what
//! else fails is tried again.

use std::cell::Cell;

use kafka_wasm_guest::{
    Config, Failure, FailureKind, Json, Message, Result, Verdict, emit, handler, other,
};
use serde::{Deserialize, Serialize};

/// What an alert tells; the value of an earthquake has more fields.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Quake {
    id: String,
    network: String,
    magnitude: f64,
    place: String,
    time_ms: i64,
}

thread_local! {
    static MAGNITUDE_MIN: Cell<f64> = const { Cell::new(5.0) };
}

fn define_context(config: Config) -> Result {
    if let Some(magnitude) = config.parse("magnitude-min")? {
        if !f64::is_finite(magnitude) {
            return Err(other("config `magnitude-min` must be a finite number"));
        }
        MAGNITUDE_MIN.set(magnitude);
    }
    Ok(())
}

fn on_message(quake: Json<Quake>) -> Result {
    if quake.magnitude >= MAGNITUDE_MIN.get() {
        emit("alerts").key(&quake.network).json(&quake)?.send()?;
    }
    Ok(())
}

fn on_error(failure: &Failure, _message: &Message) -> Verdict {
    match failure.kind {
        FailureKind::Reject => Verdict::DeadLetter,
        _ => Verdict::Retry,
    }
}

handler! { define_context, on_message, on_error }

#[cfg(test)]
mod tests;
