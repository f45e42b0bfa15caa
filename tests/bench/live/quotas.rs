//! What quotas and the counting for them cost a record, and what it would save to interrupt nothing.
//!
//! The variants are those of the benchmark of a record's path: pass-through of a tenant without quotas against one that has
//! every quota and reaches none, and the JSON transform of a tenant that is not trusted against one that is.
//! **Invariant:** the variants of a pair take turns.

use anyhow::{Context as _, Result};

use super::site::Scene;
use crate::inputs::{Input, Shape};
use crate::run::Bench;
use crate::variant::Variant;

/// Bytes of a value.
const SIZE: usize = 200;
const PAIRS: [[Variant; 2]; 2] = [
    [Variant::Host, Variant::HostQuotas],
    [Variant::HostJson, Variant::HostJsonTrusted],
];
/// A ratio near one needs more runs than others.
const RUNS_PER_ROUND: usize = 2;

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
    for variant in PAIRS.as_flattened() {
        bench.compile(*variant)?;
    }
    let runs = scene.options.rounds * RUNS_PER_ROUND;
    println!(
        "{records} records of {SIZE} B, {runs} runs\n\n\
         | Variant | CPU a record, median | all runs | of the first of the pair |\n|---|---:|---|---:|"
    );
    for pair in PAIRS {
        let mut all = pair.map(|_| Vec::new());
        for nth in 1..=runs {
            for (variant, own) in pair.iter().zip(&mut all) {
                let run = bench.run(*variant).with_context(|| variant.to_string())?;
                eprintln!("  run {nth}: {variant}: {run}");
                own.push(run.cpu_us);
            }
        }
        let first = median(all[0].clone());
        for (variant, mut own) in pair.into_iter().zip(all) {
            own.sort_by(f64::total_cmp);
            let told: Vec<String> = own.iter().map(|us| format!("{us:.2}")).collect();
            let us = median(own);
            println!(
                "| {variant} | {us:.2} µs | {} | {:.2} × |",
                told.join(" "),
                us / first
            );
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
