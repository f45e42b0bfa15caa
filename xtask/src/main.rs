//! The tasks of this repository: `cargo xtask <task>`.
//!
//! It is the only script language here, and it is built first, on a machine that has nothing but cargo
//! and a C compiler. So it depends on no crate of this workspace and on nothing that links a C library.
//! **Invariant:** every task can be run again at any time, and does only what is still missing.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what a task runner does"
)]
#![expect(
    clippy::disallowed_types,
    reason = "no tokio here: tasks are timed by the clock of std"
)]

mod check;
mod demo;
mod feed;
mod fuzz;
mod guests;
mod json;
mod kafka;
mod languages;
mod orders;
mod python;
mod redis;
mod served;
mod setup;
mod sh;
mod tenants;
mod test;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "The tasks of this repository"
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Finds or installs what the other tasks need, one line each
    Setup {
        /// Leave out Java, Kafka, Redis, Python and cargo-deny
        #[arg(long)]
        fast: bool,
    },
    /// Builds the examples and the test fixtures for wasm32-wasip2
    Guests,
    /// Formatting, lints, licences and documentation
    Check,
    /// Every test, with a real Apache Kafka that the tests start themselves
    Test {
        /// Skip, and count, the tests that need a real Kafka
        #[arg(long)]
        fast: bool,
        /// Run only the tests whose name contains this
        filter: Option<String>,
    },
    /// Runs the examples on real data and checks what comes out
    Demo {
        /// What is run
        #[arg(long, value_enum, default_value_t = Shown::Earthquakes)]
        example: Shown,
        /// Run two tenants on one host, one of them hostile; the same as --example tenants
        #[arg(long, conflicts_with = "example")]
        tenants: bool,
        /// Use this Kafka (host:port,…), which has to make topics on first use but for the orders, and not the embedded
        /// broker
        #[arg(long, value_name = "LIST")]
        brokers: Option<String>,
        /// Stay up afterwards, to try things, until Ctrl-C
        #[arg(long)]
        keep: bool,
    },
    /// Kills, freezes and cuts off hosts and brokers under load, and accounts for every record
    Torture {
        /// What it is told, such as --seed 7 --minutes 5 --ordering key; see target/release/torture --help
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "OPTIONS"
        )]
        options: Vec<String>,
    },
    /// Hands whatever a fuzzer makes up to what reads bytes of others
    Fuzz {
        /// Only this target, such as manifest
        target: Option<String>,
        /// How long each target is run
        #[arg(long, value_name = "N", default_value_t = 600)]
        seconds: u64,
    },
    /// Measures speed and memory
    Bench {
        #[command(subcommand)]
        bench: Bench,
    },
    /// Writes the generated pages of docs/ anew
    Docs,
}

/// What the demo runs.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Shown {
    /// A week of earthquakes through three handlers
    Earthquakes,
    /// Orders through a middleware, a pipeline and a handler that it asks
    Orders,
    /// A calm tenant and a hostile one on one host, on the embedded broker
    Tenants,
}

#[derive(Subcommand)]
enum Bench {
    /// A record's path through the host against native loops, on a real Kafka
    Path {
        /// What the benchmark is told, such as --records 100000 or --write docs/BENCHMARKS.md; see its --help
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "OPTIONS"
        )]
        options: Vec<String>,
    },
    /// What handlers in Python and JavaScript save when the host reads the JSON, on a real Kafka
    Languages {
        /// What the benchmark is told, such as --records 50000; see target/release/bench-path --help
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "OPTIONS"
        )]
        options: Vec<String>,
    },
    /// How long a request and its response take, against native clients and a Python application, on a real Kafka
    Conversations {
        /// What the benchmark is told; see its --help
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "OPTIONS"
        )]
        options: Vec<String>,
    },
    /// What swaps, quotas, bad neighbours, many handlers and compiling cost, on a real Kafka
    Live {
        /// What the benchmark is told, such as swaps or compile --rounds 5; see its --help
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "OPTIONS"
        )]
        options: Vec<String>,
    },
    /// What order costs where a handler waits, on a real Kafka
    Guarantees {
        /// What the benchmark is told; see its --help
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "OPTIONS"
        )]
        options: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Setup { fast } => setup::all(fast),
        Task::Guests => sh::step("guests", || guests::build(&guests::ALL)),
        Task::Check => check::run_all(),
        Task::Test { fast, filter } => test::run_all(fast, filter.as_deref()),
        Task::Demo {
            example,
            tenants,
            brokers,
            keep,
        } => match (example, tenants) {
            (_, true) | (Shown::Tenants, _) => tenants::run(brokers.as_deref(), keep),
            (Shown::Earthquakes, _) => demo::run(brokers.as_deref(), keep),
            (Shown::Orders, _) => orders::run(brokers.as_deref(), keep),
        },
        Task::Bench {
            bench: Bench::Path { options },
        } => test::with_kafka("bench-path", &options),
        Task::Bench {
            bench: Bench::Languages { options },
        } => test::with_languages(&options),
        Task::Bench {
            bench: Bench::Guarantees { options },
        } => test::with_kafka("bench-guarantees", &options),
        Task::Bench {
            bench: Bench::Live { options },
        } => test::with_kafka("bench-live", &options),
        Task::Bench {
            bench: Bench::Conversations { options },
        } => test::with_python("bench-conversations", &options),
        Task::Torture { options } => test::with_kafka("torture", &options),
        Task::Fuzz { target, seconds } => fuzz::run_targets(target.as_deref(), seconds),
        Task::Docs => test::docs(),
    }
}
