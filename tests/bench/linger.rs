//! What it costs that a producer of outputs waits for more of them, and what it costs that it does not.
//!
//! Records come at a steady rate and are passed through; each setting of `linger.ms` has its turn. Looked at is the CPU time of
//! the host and of the broker, and how long a record takes to a reader of its output.
//! **Invariant:** the settings of a rate take turns, and every record was read, or the run does not count.

use std::time::Duration;

use anyhow::Result;
use harness::Kafka;

use crate::latency::{self, Pace, Seen};

/// What is compared: the host's own default, and a producer that waits for so many milliseconds.
const SETTINGS: [(&str, &str); 4] = [
    ("of the host", ""),
    ("0", "kafka.producer.\"linger.ms\" = 0\n"),
    ("1", "kafka.producer.\"linger.ms\" = 1\n"),
    ("5", "kafka.producer.\"linger.ms\" = 5\n"),
];
/// Up to this rate records come one by one; whoever writes more a second waits 1 ms for more.
const SINGLE_MAX: u32 = 1000;

/// What a run came to: microseconds a record of the host and of the broker, and milliseconds within which half of the records
/// and 99 of a hundred were there.
type Figures = [f64; 4];

/// Measures each rate for so many seconds, each setting so many times, and prints the table.
pub(crate) fn print(kafka: &Kafka, rates: &[u32], seconds: u32, count: usize) -> Result<()> {
    println!(
        "| Records/s | `linger.ms` | CPU a record, host | all runs | of 5 | CPU a record, broker | p50 | p99 |\n\
         |---:|---|---:|---|---:|---:|---:|---:|"
    );
    for &records_per_s in rates {
        let mut runs = SETTINGS.map(|_| Vec::new());
        for nth in 1..=count {
            for ((name, manifest), runs) in SETTINGS.iter().zip(&mut runs) {
                let pace = Pace {
                    records_per_s,
                    seconds,
                    manifest,
                    partitions: 4,
                    linger_ms: u32::from(records_per_s > SINGLE_MAX),
                };
                let figures = figures(&latency::measure(kafka, pace)?);
                eprintln!("  run {nth}: {records_per_s} records/s, {name}: {figures:.2?}");
                runs.push(figures);
            }
        }
        rows(records_per_s, &runs);
    }
    println!();
    Ok(())
}

fn figures(seen: &Seen) -> Figures {
    let us = |cpu: Duration| cpu.as_secs_f64() * 1e6 / seen.took.len() as f64;
    let ms = |share| seen.at_ms(share).unwrap_or_default();
    [us(seen.host_cpu), us(seen.broker_cpu), ms(50), ms(99)]
}

fn rows(records_per_s: u32, all: &[Vec<Figures>]) {
    let sorted = |runs: &[Figures], nth: usize| {
        let mut sorted: Vec<f64> = runs.iter().map(|figures| figures[nth]).collect();
        sorted.sort_by(f64::total_cmp);
        sorted
    };
    let median = |runs: &[Figures], nth| {
        let sorted = sorted(runs, nth);
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    };
    let longest = all.last().map_or(1.0, |runs| median(runs, 0));
    for ((name, _), runs) in SETTINGS.iter().zip(all) {
        let [host, broker, p50, p99] = [0, 1, 2, 3].map(|nth| median(runs, nth));
        let told: Vec<String> = sorted(runs, 0)
            .iter()
            .map(|us| format!("{us:.1}"))
            .collect();
        println!(
            "| {records_per_s} | {name} | {host:.1} µs | {} | {:.2} × | {broker:.1} µs | {p50:.1} ms | {p99:.1} ms |",
            told.join(" "),
            host / longest
        );
    }
}
