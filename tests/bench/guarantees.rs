//! What order costs where a handler waits: one partition, pauses at random, many instances. And what batches cost.
//!
//! It starts one Kafka and lets the host handle the same records under each ordering. Beside the time it prints the
//! least that the order allows: no key faster than its own pauses, nobody faster than all of them shared out. Then how
//! long a record takes from its producer to a reader of what became of it, under each kind of delivery; what a key that
//! waits does to others; and what order by key costs where nothing waits.
//! **Invariant:** every run wrote as many outputs as there were records, or it does not count.
#![allow(
    clippy::disallowed_types,
    reason = "a benchmark runs in real time, and its parts share no locks"
)]

mod batches;
mod hot_key;
mod key_order;
mod latency;
mod linger;
mod machine;
mod reader;
#[allow(dead_code, reason = "the other benchmark also asks for memory")]
mod usage;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use harness::kafka::unique;
use harness::{HandlersDir, Host, Kafka, TestRecord, clients, guest};

/// What a run may take.
const PATIENCE: Duration = Duration::from_mins(5);

/// Measures the time of records that wait, under each ordering
#[derive(Debug, Parser)]
struct Options {
    /// Records of each run
    #[arg(long, default_value_t = 10_000)]
    records: u32,
    /// All pauses are shorter than so many milliseconds; each record has a whole number of them at random, from 0 on
    #[arg(long, default_value_t = 5)]
    pause_ms: u32,
    /// Instances at once, and records in flight
    #[arg(long, default_value_t = 1000)]
    concurrency: u32,
    /// Seconds for which records are written one by one, 1,000 a second, to see how long each takes
    #[arg(long, default_value_t = 10)]
    latency_seconds: u32,
    /// Records of each run with batches
    #[arg(long, default_value_t = 1_000_000)]
    batch_records: u64,
    /// Records of a key that waits for an hour
    #[arg(long, default_value_t = 1_000_000)]
    hot_records: u32,
    /// Records of each run by key and by partition
    #[arg(long, default_value_t = 500_000)]
    key_records: u64,
    /// How often each of these runs; the median counts
    #[arg(long, default_value_t = 3)]
    key_runs: usize,
    /// How often each setting of `linger.ms` runs at each rate; the median counts
    #[arg(long, default_value_t = 3)]
    linger_runs: usize,
    /// Records a second at which they run; may be repeated
    #[arg(long = "linger-rate", value_name = "RECORDS", default_values_t = [1000, 10_000])]
    linger_rates: Vec<u32>,
    /// Only this table; may be repeated
    #[arg(long, value_enum)]
    only: Vec<Table>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Table {
    /// The time of records that wait, under each ordering.
    Orders,
    /// The time from a producer to a reader, under each delivery.
    Latency,
    /// The CPU of batches.
    Batches,
    /// What a key that waits does to others.
    HotKey,
    /// The CPU of order by key against that of order by partition.
    KeyOrder,
    /// What it costs and brings that the producer of outputs waits for more of them.
    Linger,
}

impl Options {
    fn wants(&self, table: Table) -> bool {
        self.only.is_empty() || self.only.contains(&table)
    }
}

/// One line of the table.
struct Row {
    name: &'static str,
    ordering: &'static str,
    keys: u32,
}

const ROWS: [Row; 4] = [
    Row {
        name: "partition",
        ordering: "partition",
        keys: 20,
    },
    Row {
        name: "20 keys",
        ordering: "key",
        keys: 20,
    },
    Row {
        name: "1,000 keys",
        ordering: "key",
        keys: 1000,
    },
    Row {
        name: "none",
        ordering: "none",
        keys: 20,
    },
];

fn main() -> Result<()> {
    let options = Options::parse();
    let kafka = Kafka::start()?;
    println!(
        "{} · {} · load at the start {} · Apache Kafka {}, one node on the same machine · one partition\n\n    \
         cargo xtask bench guarantees --records {} --pause-ms {} --concurrency {} --batch-records {} \
         --hot-records {} --key-records {}\n",
        machine::date(),
        machine::cores(),
        machine::load(),
        machine::kafka(),
        options.records,
        options.pause_ms,
        options.concurrency,
        options.batch_records,
        options.hot_records,
        options.key_records
    );
    if options.wants(Table::Orders) {
        orders(&kafka, &options)?;
    }
    if options.wants(Table::Latency) {
        latency::print(&kafka, options.latency_seconds)?;
    }
    if options.wants(Table::Batches) {
        batches::measure(&kafka, options.batch_records)?;
    }
    if options.wants(Table::HotKey) {
        hot_key::print(&kafka, options.hot_records)?;
    }
    if options.wants(Table::KeyOrder) {
        key_order::print(&kafka, options.key_records, options.key_runs)?;
    }
    if options.wants(Table::Linger) {
        let (rates, seconds) = (&options.linger_rates, options.latency_seconds);
        linger::print(&kafka, rates, seconds, options.linger_runs)?;
    }
    Ok(())
}

fn orders(kafka: &Kafka, options: &Options) -> Result<()> {
    println!("| Order | Time | Least possible | Records/s |\n|---|---:|---:|---:|");
    for row in ROWS {
        let took_s = measure(kafka, options, &row)?;
        println!(
            "| {} | {took_s:.2} s | {:.2} s | {:.0} |",
            row.name,
            least_s(options, &row),
            f64::from(options.records) / took_s
        );
    }
    println!();
    Ok(())
}

/// The pause of a record, the same in every run: the high bits of a multiplicative hash of its number.
fn pause_ms(nth: u32, below_ms: u32) -> u32 {
    (nth.wrapping_mul(2_654_435_761) >> 16) % below_ms.max(1)
}

fn key(nth: u32, row: &Row) -> u32 {
    nth % row.keys
}

/// The least time: that of the busiest key, or of all pauses shared out among the instances.
fn least_s(options: &Options, row: &Row) -> f64 {
    let mut by_key: BTreeMap<u32, u32> = BTreeMap::new();
    let mut all_ms = 0;
    for nth in 0..options.records {
        let pause = pause_ms(nth, options.pause_ms);
        *by_key.entry(key(nth, row)).or_default() += pause;
        all_ms += pause;
    }
    let longest_ms = match row.ordering {
        "partition" => all_ms,
        "key" => by_key.into_values().max().unwrap_or(0),
        _ => options.pause_ms.saturating_sub(1),
    };
    f64::from(longest_ms).max(f64::from(all_ms) / f64::from(options.concurrency)) / 1e3
}

/// Returns the seconds from the first output to the last.
fn measure(kafka: &Kafka, options: &Options, row: &Row) -> Result<f64> {
    let [input, output, group] = ["waits", "waited", "waiting"].map(unique);
    kafka.create_topic(&input, 1, &[])?;
    kafka.create_topic(&output, 1, &[])?;
    let records = (0..options.records).map(|nth| {
        let pause = format!("sleep {}", pause_ms(nth, options.pause_ms));
        TestRecord::new(format!("key-{}", key(nth, row)), pause)
    });
    clients::produce_records(kafka.bootstrap(), &input, records)?;
    let handlers = HandlersDir::new()?;
    let manifest = format!(
        "topics = [\"{input}\"]\ngroup = \"{group}\"\nordering = \"{}\"\nconcurrency = {instances}\n\
         config.output = \"{output}\"\nlimits.in-flight-records = {instances}\n",
        row.ordering,
        instances = options.concurrency,
    );
    handlers.handler("waits", guest("act"), &manifest)?;
    let host = Host::builder(kafka.bootstrap())
        .handlers(handlers.path())
        .start()?;
    let wanted = usize::try_from(options.records)?;
    let outputs = clients::consume_until(kafka.bootstrap(), &output, wanted, PATIENCE)?;
    host.stop()?;
    let outputs_all = clients::consume_all(kafka.bootstrap(), &output, true)?;
    ensure!(outputs_all.len() == wanted, "{} outputs", outputs_all.len());
    let times: Vec<i64> = outputs.iter().filter_map(|it| it.timestamp_ms).collect();
    let first = times.iter().min().copied().unwrap_or_default();
    let last = times.iter().max().copied().unwrap_or_default();
    Ok(f64::from(i32::try_from(last - first)?) / 1e3)
}
