//! What order by key costs a handler that does not wait, against order by partition.
//!
//! It is handed a Kafka, fills topics with records of 1,000 keys, and lets the host pass them on under both orderings, which
//! take turns.
//! **Invariant:** a run counts only when the input's end was committed, and as many records came out as went in.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::kafka::unique;
use harness::{HandlersDir, Host, Kafka, clients, guest, wait_until};

use crate::usage;

const KEYS: u64 = 1000;
const PARTITIONS: i32 = 4;
const ORDERINGS: [&str; 2] = ["partition", "key"];
/// What a run may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// Measures values of each size, each ordering so many times, and prints the table.
pub(crate) fn print(kafka: &Kafka, records: u64, count: usize) -> Result<()> {
    let cache = tempfile::tempdir()?;
    println!(
        "\n{records} records of {KEYS} keys, {PARTITIONS} partitions, pass-through, median of {count} runs\n\n\
         | Value | By partition | By key | all runs by partition | all runs by key | Ratio |\n\
         |---:|---:|---:|---|---|---:|"
    );
    for (name, bytes) in [("100 B", 100), ("1 KiB", 1024)] {
        let input = unique("keys");
        kafka.create_topic(&input, PARTITIONS, &[])?;
        let value = "v".repeat(bytes);
        let all = (0..records).map(|nth| (Some(key(nth)), Some(value.clone())));
        clients::produce(kafka.bootstrap(), &input, all)?;
        let mut runs = [const { Vec::new() }; 2];
        for _ in 0..count {
            for (ordering, runs) in ORDERINGS.iter().zip(&mut runs) {
                let cpu = host_cpu(kafka, &input, ordering, (records, cache.path()))?;
                runs.push(cpu.as_secs_f64() * 1e6 / records as f64);
            }
        }
        kafka.delete_topic(&input)?;
        for runs in &mut runs {
            runs.sort_by(f64::total_cmp);
        }
        let median = |runs: &Vec<f64>| runs.get(count / 2).copied().unwrap_or_default();
        let [partition, key] = runs.each_ref().map(median);
        let [partitions, keys] = runs.each_ref().map(|runs| told(runs));
        println!(
            "| {name} | {partition:.2} µs | {key:.2} µs | {partitions} | {keys} | {:.2} × |",
            key / partition
        );
    }
    println!();
    Ok(())
}

fn told(runs: &[f64]) -> String {
    let runs: Vec<String> = runs.iter().map(|us| format!("{us:.2}")).collect();
    runs.join(" ")
}

/// A key of eight bytes; neighbours differ.
fn key(nth: u64) -> String {
    format!("key-{:04}", nth * 7919 % KEYS)
}

/// Returns the CPU time of a host from its start until it has committed the end of the input.
fn host_cpu(
    kafka: &Kafka,
    input: &str,
    ordering: &str,
    (records, cache): (u64, &Path),
) -> Result<Duration> {
    let [output, group] = ["passed", "keys"].map(unique);
    kafka.create_topic(&output, PARTITIONS, &[])?;
    let handlers = HandlersDir::new()?;
    let manifest = format!(
        "topics = [\"{input}\"]\ngroup = \"{group}\"\nordering = \"{ordering}\"\nconfig.output = \"{output}\"\n"
    );
    handlers.handler("keys", guest("pass"), &manifest)?;
    let host = Host::builder(kafka.bootstrap())
        .handlers(handlers.path())
        .args(["--cache".as_ref(), cache.as_os_str()])
        .start()?;
    let ends = clients::end_offsets(kafka.bootstrap(), input)?;
    let committed = || clients::committed(kafka.bootstrap(), &group, input);
    wait_until("a commit of the input's end", PATIENCE, || {
        committed().is_ok_and(|found| found == ends)
    })
    .with_context(|| format!("{:?}\n{}", committed(), host.tail()))?;
    let cpu = usage::cpu(host.pid())?;
    host.stop()?;
    let outputs = clients::end_offsets(kafka.bootstrap(), &output)?;
    let count: i64 = outputs.iter().map(|(_, end)| end).sum();
    ensure!(count == i64::try_from(records)?, "{count} outputs");
    kafka.delete_topic(&output)?;
    Ok(cpu)
}
