//! What a record of a batch costs, beyond being read.
//!
//! It is handed a Kafka, fills one partition, and lets the host hand its records to handlers of batches.
//! **Invariant:** a run counts only when the input's end was committed; the cost of reading is measured in the same run
//! of the program.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result};
use harness::kafka::unique;
use harness::{HandlersDir, Host, Kafka, clients, guest, wait_until};

use crate::{reader, usage};

/// Bytes of a value.
const VALUE_BYTES: usize = 100;
/// Records of a batch.
const BATCH_RECORDS: u32 = 1000;
/// What a run may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// Runs of each row; the median counts. The first one of each compiles its component.
const RUNS: usize = 3;

/// The rows of the table, with their fixtures; without one, records are only read.
const ROWS: [(&str, Option<&str>); 4] = [
    ("read and dropped, no host", None),
    ("packed, read where it lies", Some("bulk-view")),
    ("packed, as records", Some("bulk")),
    ("list of records", Some("bulk-list")),
];

/// Measures every row and prints the table.
pub(crate) fn measure(kafka: &Kafka, records: u64) -> Result<()> {
    let input = unique("batches");
    kafka.create_topic(&input, 1, &[])?;
    let value = "v".repeat(VALUE_BYTES);
    let all = (0..records).map(|nth| (Some(format!("key-{nth:06}")), Some(value.clone())));
    clients::produce(kafka.bootstrap(), &input, all)?;
    let cache = tempfile::tempdir()?;
    println!(
        "\n{records} records of {VALUE_BYTES} B, batches of {BATCH_RECORDS}, median of {RUNS} runs\n\n\
         | Batches | CPU a record | Beyond reading |\n|---|---:|---:|"
    );
    let mut floor = None;
    for (name, fixture) in ROWS {
        let mut runs = Vec::new();
        for _ in 0..RUNS {
            let cpu = match fixture {
                None => reader::cpu(kafka, &input, records)?,
                Some(fixture) => host_cpu(kafka, &input, fixture, (records, cache.path()))?,
            };
            runs.push(cpu.as_secs_f64() * 1e6 / records as f64);
        }
        runs.sort_by(f64::total_cmp);
        let us = runs.get(RUNS / 2).copied().unwrap_or_default();
        let beyond = Beyond(us - *floor.get_or_insert(us));
        println!("| {name} | {us:.2} µs | {beyond} |");
    }
    Ok(())
}

/// Microseconds, none where there is nothing to compare with.
struct Beyond(f64);

impl fmt::Display for Beyond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0.0 {
            return f.write_str("");
        }
        write!(f, "{:.2} µs", self.0)
    }
}

/// Returns the CPU time of a host from its start until it has committed the end of the input.
fn host_cpu(
    kafka: &Kafka,
    input: &str,
    fixture: &str,
    (records, cache): (u64, &std::path::Path),
) -> Result<Duration> {
    let [output, group] = ["sums", "batches"].map(unique);
    kafka.create_topic(&output, 1, &[])?;
    let handlers = HandlersDir::new()?;
    let manifest = format!(
        "topics = [\"{input}\"]\ngroup = \"{group}\"\nbulk.max-records = {BATCH_RECORDS}\n\
         bulk.max-wait-ms = 1000\nconfig.output = \"{output}\"\n"
    );
    handlers.handler("batches", guest(fixture), &manifest)?;
    let host = Host::builder(kafka.bootstrap())
        .handlers(handlers.path())
        .args(["--cache".as_ref(), cache.as_os_str()])
        .start()?;
    let end = [(0, i64::try_from(records)?)];
    let committed = || clients::committed(kafka.bootstrap(), &group, input);
    wait_until("a commit of the input's end", PATIENCE, || {
        committed().is_ok_and(|found| found == end)
    })
    .with_context(|| format!("{:?}\n{}", committed(), host.tail()))?;
    let cpu = usage::cpu(host.pid())?;
    host.stop()?;
    Ok(cpu)
}
