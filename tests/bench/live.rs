//! What a host costs and does while it lives: swaps under load, quotas, bad neighbours, memory, a thousand handlers, compiling.
//!
//! It is handed which of these parts to run, starts one Kafka, and prints a small table for each.
//! **Invariant:** what is compared was measured in one run of this program, against one node, in turns.
#![allow(
    clippy::disallowed_types,
    reason = "a benchmark runs in real time, and its parts share no locks"
)]

#[allow(dead_code, reason = "another benchmark reads more shapes of values")]
mod inputs;
mod machine;
mod profile;
#[allow(dead_code, reason = "another benchmark waits for lines of the log")]
mod run;
#[allow(dead_code, reason = "another benchmark runs native loops as well")]
mod subject;
mod usage;
#[allow(dead_code, reason = "another benchmark runs all of them")]
mod variant;

/// The parts, and what they share.
mod live {
    pub(crate) mod backlog;
    pub(crate) mod compile;
    pub(crate) mod enemies;
    pub(crate) mod load;
    pub(crate) mod memory;
    pub(crate) mod neighbours;
    pub(crate) mod quotas;
    pub(crate) mod seen;
    pub(crate) mod site;
    pub(crate) mod swaps;
    pub(crate) mod thousand;
}

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use harness::Kafka;

use crate::live::site::Scene;
use crate::live::{compile, memory, neighbours, quotas, swaps, thousand};
use crate::subject::Cache;

/// Measures what swaps, quotas, bad neighbours, many handlers and compiling cost a host, and what its memory is
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// What is measured; all of it where nothing is named
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Seconds of each stretch of time under a steady load
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// How often each of what is compared has its turn
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,
    /// Records of a backlog
    #[arg(long, default_value_t = 500_000)]
    pub(crate) records: u64,
    /// Records a second of the steady load, in place of a share of what the host can do
    #[arg(long)]
    pub(crate) rate: Option<u32>,
    /// How many handlers the host starts with; a multiple of 20
    #[arg(long, default_value_t = 1000)]
    pub(crate) handlers: usize,
    /// Of how many idle handlers the memory is compared: few, then many
    #[arg(long, num_args = 2, default_values_t = [50, 250])]
    pub(crate) idle: Vec<usize>,
    /// Components that are compiled one after the other
    #[arg(long, default_value_t = 10)]
    pub(crate) components: usize,
}

impl Options {
    /// A stretch of time under a steady load.
    pub(crate) fn stretch(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// How long records take, and how large the gaps are, while a handler is replaced again and again.
    Swaps,
    /// What quotas cost a record.
    Quotas,
    /// What a bad neighbour does to a tenant that does its work.
    Neighbours,
    /// What an idle handler and a warm instance take.
    Memory,
    /// How soon a host with many handlers reads all of their partitions.
    Thousand,
    /// How many components are compiled in a second, and what that does to records.
    Compile,
}

fn main() -> Result<()> {
    let options = Options::parse();
    eprintln!("starting Kafka");
    let kafka = Kafka::builder()
        // A deleted topic leaves the disk before the next run.
        .set("log.segment.delete.delay.ms", "1000")
        .start()?;
    let cache = Cache::new()?;
    let scene = Scene::new(&kafka, &cache, &options);
    println!(
        "{} · {} · load at the start {} · Apache Kafka {}, one node on the same machine\n",
        machine::date(),
        machine::cores(),
        machine::load(),
        machine::kafka(),
    );
    for part in Part::value_variants() {
        if !options.parts.is_empty() && !options.parts.contains(part) {
            continue;
        }
        let done = match part {
            Part::Swaps => swaps::print(&scene),
            Part::Quotas => quotas::print(&scene),
            Part::Neighbours => neighbours::print(&scene),
            Part::Memory => memory::print(&scene),
            Part::Thousand => thousand::print(&scene),
            Part::Compile => compile::print(&scene),
        };
        done.with_context(|| format!("{part:?}"))?;
        println!();
    }
    Ok(())
}
