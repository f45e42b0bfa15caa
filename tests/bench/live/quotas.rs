//! What quotas and the counting for them cost a record, and what it would save to interrupt nothing.
//!
//! The variants are those of the benchmark of a record's path: pass-through of a tenant without quotas against one that has
//! every quota and reaches none, and the JSON transform of a tenant that is not trusted against one that is.
//! **Invariant:** the variants of a kind take turns.

use anyhow::{Context as _, Result};

use super::site::Scene;
use crate::inputs::{Input, Shape};
use crate::run::Bench;
use crate::variant::Variant;

/// Bytes of a value.
const SIZE: usize = 200;
/// What is compared with the first of its kind, and how often all of a kind run in a round: a ratio near one needs more runs.
const KINDS: [(&[Variant], usize); 2] = [
    (
        &[Variant::HostTenant, Variant::HostQuotas, Variant::Host],
        2,
    ),
    (&[Variant::HostJson, Variant::HostJsonTrusted], 1),
];

/// Measures and prints the table.
pub(crate) fn print(scene: &Scene<'_>) -> Result<()> {
    let (kafka, records) = (scene.kafka, scene.options.records);
    eprintln!("writing {records} records of {SIZE} bytes");
    let topic = harness::kafka::unique("quotas");
    let input = Input::write(kafka, &topic, records, (SIZE, Shape::Order))?;
    let bench = Bench {
        kafka,
        cache: scene.cache,
        input: &input,
        profile: false,
    };
    for variant in KINDS.iter().flat_map(|(variants, _)| *variants) {
        bench.compile(*variant)?;
    }
    println!(
        "{records} records of {SIZE} B\n\n\
         | Variant | CPU a record, median | all runs | of the first of its kind |\n|---|---:|---|---:|"
    );
    for (variants, runs_per_round) in KINDS {
        let mut all = vec![Vec::new(); variants.len()];
        for nth in 1..=scene.options.rounds * runs_per_round {
            for (variant, own) in variants.iter().zip(&mut all) {
                let run = bench.run(*variant).with_context(|| variant.to_string())?;
                eprintln!("  run {nth}: {variant}: {run}");
                own.push(run.cpu_us);
            }
        }
        let first = all.first().cloned().map_or(0.0, median);
        for (variant, mut own) in variants.iter().zip(all) {
            own.sort_by(f64::total_cmp);
            let told: Vec<String> = own.iter().map(|us| format!("{us:.2}")).collect();
            let (us, told) = (median(own), told.join(" "));
            println!("| {variant} | {us:.2} µs | {told} | {:.2} × |", us / first);
        }
    }
    kafka.delete_topic(&topic)
}

/// The middle of some figures, the lower one of two.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len().saturating_sub(1) / 2;
    figures.get(middle).copied().unwrap_or_default()
}
