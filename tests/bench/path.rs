//! A record's path through the host, measured against native loops on a real Kafka.
//!
//! It is handed a number of records, starts one Kafka, fills its topics and runs the variants one after the
//! other, several times over; each is a process of its own. It prints a table and can write it to a page.
//! **Invariant:** all variants of a table ran in one run of this program, against one node and the same records.
#![allow(
    clippy::disallowed_types,
    reason = "a benchmark runs in real time, and its parts share no locks"
)]

mod floors;
mod inputs;
mod json_view;
mod machine;
mod profile;
mod report;
mod run;
mod start;
mod subject;
mod tuned;
mod usage;
mod user;
mod variant;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand};
use harness::Kafka;
use harness::kafka::unique;

use crate::inputs::{Input, Shape};
use crate::report::Report;
use crate::run::Bench;
use crate::start::Started;
use crate::subject::Cache;
use crate::variant::Variant;

#[derive(Debug, Parser)]
#[command(about = "Measures a record's path through the host against native loops")]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What is measured, and where the table goes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Records of each run
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// Runs of each variant; the median counts
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Bytes of a value; may be repeated
    #[arg(long = "size", value_name = "BYTES", default_values_t = [200, 1024])]
    sizes: Vec<usize>,
    /// What the values look like
    #[arg(long, value_enum, default_value_t = Shape::Order)]
    shape: Shape,
    /// Only this variant; may be repeated
    #[arg(long = "only", value_name = "VARIANT")]
    only: Vec<Variant>,
    /// Also measure only consuming and only producing
    #[arg(long)]
    floors: bool,
    /// Record the host's variants with perf (into target/bench) and print where they spend their time
    #[arg(long)]
    profile: bool,
    /// Write the table into this page, between its markers
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

impl Options {
    fn variants(&self) -> Vec<Variant> {
        let wanted = |variant: &Variant| {
            if self.only.is_empty() {
                !variant.is_extra() || variant.is_floor() && self.floors
            } else {
                self.only.contains(variant)
            }
        };
        Variant::ALL.into_iter().filter(wanted).collect()
    }
}

#[derive(Debug, Subcommand)]
enum Part {
    /// One native variant, in a process of its own, until its stdin ends
    #[command(hide = true)]
    Native(NativeArgs),
}

/// What a native variant works on.
#[derive(Debug, Args)]
pub(crate) struct NativeArgs {
    /// Which one
    #[arg(long)]
    pub(crate) variant: Variant,
    /// Where Kafka is
    #[arg(long)]
    pub(crate) brokers: String,
    /// Topic to read
    #[arg(long)]
    pub(crate) input: String,
    /// Topic to write
    #[arg(long)]
    pub(crate) output: String,
    /// Consumer group
    #[arg(long)]
    pub(crate) group: String,
    /// Records to write, where nothing is read
    #[arg(long)]
    pub(crate) records: u64,
    /// Bytes of a value, where nothing is read
    #[arg(long)]
    pub(crate) size: usize,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    match cli.part {
        Some(Part::Native(args)) => {
            subject::end_with_stdin();
            native(&args)
        }
        None => measure(&cli.options),
    }
}

fn native(args: &NativeArgs) -> Result<()> {
    match args.variant {
        Variant::Native => user::run(args, user::Work::PassThrough),
        Variant::NativeJson => user::run(args, user::Work::Json),
        Variant::NativeFields => user::run(args, user::Work::Fields),
        Variant::Tuned => tuned::run(args, |_| Ok(())),
        Variant::TunedFields => tuned::run(args, json_view::check),
        Variant::ConsumeOnly => floors::consume(args),
        Variant::ProduceOnly => floors::produce(args),
        _ => bail!("the host is no native variant"),
    }
}

fn measure(options: &Options) -> Result<()> {
    if let Some(page) = &options.write {
        report::check_page(page)?;
    }
    eprintln!("starting Kafka");
    let kafka = Kafka::builder()
        // A deleted output leaves the disk before the next run.
        .set("log.segment.delete.delay.ms", "1000")
        .start()?;
    let cache = Cache::new()?;
    eprintln!("starting the host, idle");
    let started = Started::measure(&kafka, &cache)?;
    let mut report = Report::new(options, started);
    for &size in &options.sizes {
        eprintln!("writing {} records of {size} bytes", options.records);
        let values = (size, options.shape);
        let input = Input::write(&kafka, &unique("input"), options.records, values)?;
        let bench = Bench {
            kafka: &kafka,
            cache: &cache,
            input: &input,
            profile: options.profile,
        };
        for variant in options.variants() {
            bench.compile(variant)?;
        }
        for nth in 1..=options.runs {
            for variant in options.variants() {
                let run = bench.run(variant).with_context(|| variant.to_string())?;
                eprintln!("  run {nth}: {size} B, {variant}: {run}");
                report.add(variant, size, run);
            }
        }
        kafka.delete_topic(&input.topic)?;
    }
    let text = report.text();
    println!("{text}");
    match &options.write {
        Some(page) => report::write_into(page, &text),
        None => Ok(()),
    }
}
