//! What a key with very many records does to others while it waits for its retry.
//!
//! The same records of many keys are handled twice: alone, and behind a million records of one key whose first one
//! waits for an hour.
//! **Invariant:** every record that is counted came out, and none of the waiting key did.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::kafka::unique;
use harness::{HandlersDir, Host, Kafka, TestRecord, clients, guest};

const PARTITIONS: i32 = 12;
/// The partition of the key that waits; the others have the other keys.
const HOT: i32 = 0;
const KEYS: u32 = 1000;
const PATIENCE: Duration = Duration::from_mins(5);

/// Measures and prints the table: `hot` records of the waiting key, and a fifth as many others.
pub(crate) fn print(kafka: &Kafka, hot: u32) -> Result<()> {
    println!(
        "| {} records of {KEYS} keys | Time | Records/s | Peak memory |\n|---|---:|---:|---:|",
        hot / 5
    );
    for (name, hot_records) in [("alone", 0), ("beside a key that waits", hot)] {
        let run = measure(kafka, hot_records, hot / 5)?;
        println!(
            "| {name} | {:.2} s | {:.0} | {:.0} MiB |",
            run.took_s,
            f64::from(hot / 5) / run.took_s,
            run.peak_bytes as f64 / f64::from(1 << 20)
        );
    }
    println!();
    Ok(())
}

struct Run {
    took_s: f64,
    peak_bytes: u64,
}

fn measure(kafka: &Kafka, hot: u32, others: u32) -> Result<Run> {
    let [input, output, group] = ["keys", "told", "hot"].map(unique);
    kafka.create_topic(&input, PARTITIONS, &[])?;
    kafka.create_topic(&output, 1, &[])?;
    let padding = "x".repeat(90);
    let waiting = (0..hot).map(|nth| {
        let deed = if nth == 0 { "retry 3600000" } else { "ok" };
        TestRecord::new("hot", format!("{deed} {padding}")).on(HOT)
    });
    clients::produce_records(kafka.bootstrap(), &input, waiting)?;
    let handlers = HandlersDir::new()?;
    let manifest = format!(
        "topics = [\"{input}\"]\ngroup = \"{group}\"\nordering = \"key\"\nconcurrency = 8\n\
         config.output = \"{output}\"\n"
    );
    handlers.handler("keys", guest("act"), &manifest)?;
    let host = Host::builder(kafka.bootstrap())
        .handlers(handlers.path())
        .start_ready()?;
    let records = (0..others).map(|nth| {
        let key = nth % KEYS;
        let partition = 1 + i32::try_from(key).unwrap_or(0) % (PARTITIONS - 1);
        TestRecord::new(format!("key-{key}"), format!("ok {padding}")).on(partition)
    });
    clients::produce_records(kafka.bootstrap(), &input, records)?;
    let wanted = usize::try_from(others)?;
    let outputs = clients::consume_until(kafka.bootstrap(), &output, wanted, PATIENCE)?;
    let peak_bytes = host.peak_rss_bytes()?;
    host.stop()?;
    let is_other = |output: &TestRecord| output.key_text() != "hot";
    ensure!(outputs.iter().all(is_other), "a record overtook its key");
    let times = || outputs.iter().filter_map(|it| it.timestamp_ms);
    let first = times().min().context("no output")?;
    let last = times().max().context("no output")?;
    Ok(Run {
        took_s: f64::from(i32::try_from(last - first)?) / 1e3,
        peak_bytes,
    })
}
