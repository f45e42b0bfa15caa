//! Counts that are added up: emits to `felt`, keyed by seismic network, how many people reported an earthquake.
//!
//! Whoever adds up `felt` must not find a report twice, so the manifest asks for exactly once.

use kafka_wasm_guest::{Json, Result, emit, handler};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Quake {
    id: String,
    network: String,
    place: String,
    felt_reports: Option<u32>,
}

/// The value of a record of `felt`.
#[derive(Debug, PartialEq, Deserialize, Serialize)]
struct Felt {
    id: String,
    place: String,
    reports: u32,
}

fn on_message(quake: Json<Quake>) -> Result {
    let Json(quake) = quake;
    if let Some(reports) = quake.felt_reports.filter(|count| *count > 0) {
        let Quake { id, place, .. } = quake;
        let felt = Felt { id, place, reports };
        emit("felt").key(&quake.network).json(&felt)?.send()?;
    }
    Ok(())
}

handler! { on_message }

#[cfg(test)]
mod tests;
