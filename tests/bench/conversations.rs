//! How long a request and its response take: two hosts against native clients and against a Python application.
//!
//! Askers make their requests one after the other, so as many are in flight as there are askers. It is the asker's own view
//! that counts, from the call until it has the response: what the author of a handler gets. Where a guest asks, its clock
//! does. The broker stamps each record when it writes it, and whoever answers tells when it had the request, which cuts the time
//! into four parts.
//! **Invariant:** every request had its response, or the run does not count.
#![allow(
    clippy::disallowed_types,
    reason = "a benchmark runs in real time, and its parts share no locks"
)]

mod bare;
mod machine;
mod talk;
#[allow(dead_code, reason = "another benchmark also asks for memory")]
mod usage;

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Parser, ValueEnum};
use harness::{Kafka, Redis, python};

use crate::talk::Setup;

/// What a run may take.
pub(crate) const PATIENCE: Duration = Duration::from_mins(5);
/// An asker makes at least so many requests, and at most [`EACH_MAX`].
const EACH_MIN: usize = 10;
const EACH_MAX: usize = 1000;

/// Measures requests and their responses
#[derive(Debug, Parser)]
struct Options {
    /// Requests of each run, shared out among its askers; one makes no fewer than 10 and no more than 1,000
    #[arg(long, default_value_t = 20_000)]
    requests: usize,
    /// Askers at once; may be repeated
    #[arg(long = "in-flight", value_name = "ASKERS", default_values_t = [1, 100, 1000])]
    in_flight: Vec<usize>,
    /// As many of the Python application, of which an asker makes no fewer than 3
    #[arg(long, default_value_t = 2000)]
    python_requests: usize,
    /// Runs of each variant; the median counts
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Only this variant; may be repeated
    #[arg(long, value_enum)]
    only: Vec<Variant>,
}

/// Who asks and answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Variant {
    /// librdkafka on both sides, and nothing else.
    Bare,
    /// Two hosts with the default settings.
    Memory,
    /// Two hosts, and the producer of the one that answers does not wait for more records.
    MemoryAtOnce,
    /// Two hosts with the default settings, of which the one that asks shares a Redis with others.
    Redis,
    /// Two applications of kafka-python-app, where Python is set up.
    Python,
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bare => "bare produce and consume",
            Self::Memory => "hosts, requests in memory",
            Self::MemoryAtOnce => "hosts, requests in memory, answers with `linger.ms = 0`",
            Self::Redis => "hosts, requests in Redis",
            Self::Python => "kafka-python-app",
        })
    }
}

/// How a run is shared out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Who ask at the same time.
    pub(crate) askers: usize,
    /// What each of them asks, one request after the other.
    pub(crate) each: usize,
}

/// What a request took, as whoever asked saw it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) took_us: u64,
    /// Unknown where the asker is not told.
    pub(crate) places: Option<Places>,
}

/// What became of a run.
#[derive(Debug)]
pub(crate) struct Talk {
    /// Of each asker.
    pub(crate) times: Vec<Vec<Times>>,
    /// Of the process that asks and of the one that answers, where each is a process of its own.
    pub(crate) cpu: Option<[Duration; 2]>,
}

/// When a request was made, written by the broker, and seen by whoever answers, and when the answer was written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places {
    pub(crate) asked_us: u64,
    pub(crate) written_ms: u64,
    pub(crate) at_us: u64,
    pub(crate) answered_ms: u64,
}

/// Milliseconds until the request was written, until it was read, until the answer was written, until that was read.
type Parts = [f64; 4];

impl Times {
    fn parts(&self) -> Option<Parts> {
        let places = self.places?;
        let us = |us: u64| us as f64 / 1e3;
        // The broker leaves out what is less than a millisecond: half of one, on average.
        let ms = |ms: u64| ms as f64 + 0.5;
        let (asked, at) = (us(places.asked_us), us(places.at_us));
        let (written, answered) = (ms(places.written_ms), ms(places.answered_ms));
        let end = asked + us(self.took_us);
        Some([written - asked, at - written, answered - at, end - answered])
    }
}

/// What a run came to, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Figures {
    p50: f64,
    p99: f64,
    /// The mean of each.
    parts: Option<Parts>,
    /// Microseconds of CPU time a request, of who asks and of who answers.
    cpu: Option<[f64; 2]>,
}

impl Figures {
    /// Of the times of each asker, without the first and the last tenth: others begin later, or have ended.
    fn of(talk: &Talk) -> Result<Self> {
        let middle = |times: &Vec<Times>| {
            let edge = times.len() / 10;
            times[edge..times.len() - edge].to_vec()
        };
        let times: Vec<Times> = talk.times.iter().flat_map(middle).collect();
        let count: usize = talk.times.iter().map(Vec::len).sum();
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / count as f64;
        let mut sorted: Vec<u64> = times.iter().map(|times| times.took_us).collect();
        sorted.sort_unstable();
        let at = |share: usize| {
            let figure = sorted.get(sorted.len() * share / 100).context("no times")?;
            Ok::<_, anyhow::Error>(*figure as f64 / 1e3)
        };
        let parts: Option<Vec<Parts>> = times.iter().map(Times::parts).collect();
        let mean = |all: Vec<Parts>| {
            [0, 1, 2, 3]
                .map(|nth| all.iter().map(|parts| parts[nth]).sum::<f64>() / all.len() as f64)
        };
        Ok(Self {
            p50: at(50)?,
            p99: at(99)?,
            parts: parts.map(mean),
            cpu: talk.cpu.map(|cpu| cpu.map(each)),
        })
    }

    /// The median of each figure of several runs.
    fn median(runs: &[Self]) -> Result<Self> {
        let middle = |of: &dyn Fn(&Self) -> Option<f64>| {
            let mut sorted: Vec<f64> = runs.iter().filter_map(of).collect();
            sorted.sort_by(f64::total_cmp);
            sorted.get(sorted.len().saturating_sub(1) / 2).copied()
        };
        let part = |nth: usize| middle(&|run| run.parts.map(|parts| parts[nth]));
        let parts = [part(0), part(1), part(2), part(3)];
        let cpu = |nth: usize| middle(&|run| run.cpu.map(|cpu| cpu[nth]));
        Ok(Self {
            p50: middle(&|run| Some(run.p50)).context("no runs")?,
            p99: middle(&|run| Some(run.p99)).context("no runs")?,
            parts: match parts {
                [Some(a), Some(b), Some(c), Some(d)] => Some([a, b, c, d]),
                _ => None,
            },
            cpu: cpu(0).zip(cpu(1)).map(|(asks, answers)| [asks, answers]),
        })
    }

    /// The parts, as cells of a table.
    fn cells(&self) -> String {
        let cell = |nth: usize| {
            let part = self.parts.map(|parts| format!("{:.2} ms", parts[nth]));
            part.unwrap_or_else(|| "–".to_owned())
        };
        let cpu = self.cpu.map(|cpu| cpu.map(|us| format!("{us:.1} µs")));
        let cpu = cpu.unwrap_or_else(|| ["–", "–"].map(str::to_owned));
        format!(
            "{} | {}",
            [0, 1, 2, 3].map(cell).join(" | "),
            cpu.join(" | ")
        )
    }
}

fn main() -> Result<()> {
    let options = Options::parse();
    let kafka = Kafka::start()?;
    println!(
        "{} · {} · load at the start {} · Apache Kafka {}, one node on the same machine · {} runs of {} requests, median\n\n    \
         cargo xtask bench conversations --requests {}\n",
        machine::date(),
        machine::cores(),
        machine::load(),
        machine::kafka(),
        options.runs,
        options.requests,
        options.requests
    );
    println!(
        "| In flight | Who | p50 | p99 | p50 of bare | p99 of bare | request written | read | response written | read | \
         CPU, asks | answers |"
    );
    println!("|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for &askers in &options.in_flight {
        ensure!(askers > 0, "--in-flight is at least 1");
        rows(&kafka, &options, askers)?;
    }
    if !python::is_set_up() {
        println!("\nkafka-python-app was not measured: no Python in target/tools/python");
    }
    Ok(())
}

/// Prints the rows of so many askers; the variants take turns.
fn rows(kafka: &Kafka, options: &Options, askers: usize) -> Result<()> {
    let wanted = |variant: &Variant| {
        (options.only.is_empty() || options.only.contains(variant))
            && (*variant != Variant::Python || python::is_set_up())
    };
    let variants = Variant::value_variants().iter().copied().filter(wanted);
    let mut found: Vec<(Variant, Vec<Figures>)> = variants.map(|it| (it, Vec::new())).collect();
    let load = |variant: Variant| Load {
        askers,
        each: match variant {
            Variant::Python => (options.python_requests / askers).clamp(3, EACH_MAX),
            _ => (options.requests / askers).clamp(EACH_MIN, EACH_MAX),
        },
    };
    for nth in 1..=options.runs {
        for (variant, runs) in &mut found {
            let figures =
                run(kafka, *variant, load(*variant)).with_context(|| variant.to_string())?;
            let (p50, p99, cells) = (figures.p50, figures.p99, figures.cells());
            eprintln!(
                "  run {nth}: {askers} in flight, {variant}: {p50:.2} ms, {p99:.2} ms, {cells}"
            );
            runs.push(figures);
        }
    }
    let mut bare = None;
    for (variant, runs) in &found {
        let figures = Figures::median(runs)?;
        let bare = *bare.get_or_insert(figures);
        let of_bare = |own: f64, bare: f64| format!("{:.2} ×", own / bare);
        println!(
            "| {askers} | {variant} | {:.2} ms | {:.2} ms | {} | {} | {} |",
            figures.p50,
            figures.p99,
            of_bare(figures.p50, bare.p50),
            of_bare(figures.p99, bare.p99),
            figures.cells()
        );
    }
    Ok(())
}

fn run(kafka: &Kafka, variant: Variant, load: Load) -> Result<Figures> {
    let talk = match variant {
        Variant::Bare => bare::measure(kafka, load),
        Variant::Memory => talk::between_hosts(kafka, load, &Setup::default()),
        Variant::MemoryAtOnce => {
            let setup = Setup {
                answering: "kafka.producer.\"linger.ms\" = 0\n",
                store: None,
            };
            talk::between_hosts(kafka, load, &setup)
        }
        Variant::Redis => {
            let redis = Redis::start()?;
            let setup = Setup {
                answering: "",
                store: Some(&redis),
            };
            talk::between_hosts(kafka, load, &setup)
        }
        Variant::Python => talk::between_python_apps(kafka, load),
    }?;
    let count: usize = talk.times.iter().map(Vec::len).sum();
    if count != load.askers * load.each {
        bail!("{count} responses");
    }
    Figures::of(&talk)
}

#[cfg(test)]
mod tests {
    use super::{Figures, Places, Talk, Times};

    #[test]
    fn the_edges_of_a_run_do_not_count() {
        let times = |took_us| Times {
            took_us,
            places: Some(Places {
                asked_us: 10_000,
                written_ms: 10,
                at_us: 11_000,
                answered_ms: 12,
            }),
        };
        let mut asker: Vec<Times> = (0..20).map(|_| times(3000)).collect();
        for edge in [0, 1, 18, 19] {
            asker[edge] = times(90_000);
        }
        let talk = Talk {
            times: vec![asker],
            cpu: None,
        };
        let figures = Figures::of(&talk).unwrap();
        assert_eq!((figures.p50, figures.p99), (3.0, 3.0));
        assert_eq!(figures.parts, Some([0.5, 0.5, 1.5, 0.5]));
        let nothing = Talk {
            times: Vec::new(),
            cpu: None,
        };
        assert!(Figures::of(&nothing).is_err());
    }
}
