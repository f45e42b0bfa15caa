//! Batches: one summary per seismic network and batch, emitted to `summaries` and keyed by network.
//!
//! A value that is no earthquake is rejected alone; the rest of its batch is summed up.

use std::collections::BTreeMap;

use kafka_wasm_guest::{Json, Result, emit, handler};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Quake {
    network: String,
    magnitude: f64,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Summary {
    network: String,
    count: u32,
    magnitude_max: f64,
}

fn on_bulk(quakes: Vec<Json<Quake>>) -> Result {
    let mut summaries: BTreeMap<&str, Summary> = BTreeMap::new();
    for quake in &quakes {
        let summary = summaries.entry(&quake.network).or_insert_with(|| Summary {
            network: quake.network.clone(),
            count: 0,
            magnitude_max: f64::NEG_INFINITY,
        });
        summary.count += 1;
        summary.magnitude_max = summary.magnitude_max.max(quake.magnitude);
    }
    for (network, summary) in &summaries {
        emit("summaries").key(*network).json(summary)?.send()?;
    }
    Ok(())
}

handler! { on_bulk }

#[cfg(test)]
mod tests;
