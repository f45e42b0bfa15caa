//! Bulletins in order: for each seismic network, in the order of its earthquakes, where one was felt and by how many
//! people. Emitted to `bulletins`, keyed by network.
//!
//! Config says what the abbreviations of states mean. A place with another one fails, and the manifest parks the key of
//! its record: no later bulletin of that network is written before the one that is missing.

use kafka_wasm_guest::{Json, Record, Result, config, emit, handler, other};
use serde::Deserialize;

#[derive(Deserialize)]
struct Felt {
    place: String,
    reports: u32,
}

fn on_message(felt: Record<Json<Felt>>) -> Result {
    let Felt { place, reports } = &**felt;
    let (spot, region) = place.rsplit_once(", ").unwrap_or(("at sea", place));
    let is_short = region.len() == 2;
    let state = if is_short { config(region) } else { None };
    if is_short && state.is_none() {
        return Err(other(format!("config has no `{region}`")));
    }
    let region = state.as_deref().unwrap_or(region);
    emit("bulletins")
        .key(felt.message.key().unwrap_or_default())
        .text(&format!("{region}, {spot}: felt by {reports}"))
        .send()?;
    Ok(())
}

handler! { on_message }

#[cfg(test)]
mod tests;
