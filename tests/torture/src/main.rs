//! Torture: hosts and brokers are killed, frozen and cut off under load, and every record is accounted for.
//!
//! Three real Kafka nodes, two or three hosts of the built binary, producers that number what they send, faults by a
//! schedule that a seed decides. At the end the account is made from what is in Kafka.
//! **Invariant:** it ends well only where nothing was lost, nothing came out of order, and every dead letter is right.
#![allow(
    clippy::disallowed_types,
    reason = "it runs in real time, and a poisoned lock is a failed run anyway"
)]

mod account;
mod brokers;
mod deed;
mod hosts;
mod load;
mod plan;
mod read;
mod report;
mod skew;

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use harness::{Cluster, clients, root, wait_until};

use crate::account::{Account, Repeats, Rules, account};
use crate::hosts::Hosts;
use crate::load::{Load, Target};
use crate::plan::{Kind, Plan};

/// Names of one cluster that belongs to the run alone.
const INPUT: &str = "torture-in";
const OUTPUT: &str = "torture-out";
const LETTERS: &str = "torture-letters";
const UNWANTED: &str = "torture-unwanted";
const GROUP: &str = "torture";

const PARTITIONS: i32 = 12;
/// What the rest may take when all is well again.
const DRAIN_TIMEOUT: Duration = Duration::from_mins(3);
/// A record that comes out again later than this was done again without need: what a crash leaves is a second's worth
/// of commits, and whoever goes on with it does so within a session, a start and a rebalance, each slowed down by faults.
const REPEAT_WINDOW_MS: i64 = 60_000;

/// Kills, freezes and cuts off hosts and brokers under load, and accounts for every record
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// Decides the records, their failures and the faults
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How long faults go on
    #[arg(long, value_name = "M", default_value = "1", value_parser = minutes)]
    minutes: f64,
    /// How many times faster than usual one fault follows another
    #[arg(long, value_name = "TIMES", default_value = "1", value_parser = pace)]
    pace: f64,
    /// What is promised
    #[arg(long, value_enum, value_name = "PROMISE", default_value_t = Delivery::AtLeastOnce)]
    delivery: Delivery,
    /// Which records keep their order
    #[arg(long, value_enum, default_value_t = Ordering::Partition)]
    ordering: Ordering,
    /// How the group shares the partitions: as ever, or as the broker says (KIP-848)
    #[arg(long, value_enum, default_value_t = Protocol::Classic)]
    group_protocol: Protocol,
    /// Only these faults, with commas between them; where all of them are graceful, nothing may be repeated
    #[arg(long, value_name = "LIST", value_enum, value_delimiter = ',')]
    faults: Vec<Kind>,
    /// Writes the result as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keeps the logs also when nothing is wrong
    #[arg(long)]
    keep: bool,
}

/// What is promised of how often a record comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Delivery {
    AtLeastOnce,
    ExactlyOnce,
}

impl Delivery {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::AtLeastOnce => "at-least-once",
            Self::ExactlyOnce => "exactly-once",
        }
    }
}

fn minutes(text: &str) -> Result<f64, String> {
    number(text, 0.1, 1440.0)
}

fn pace(text: &str) -> Result<f64, String> {
    number(text, 1.0, 20.0)
}

fn number(text: &str, least: f64, most: f64) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "expected a number")?;
    (least..=most)
        .contains(&number)
        .then_some(number)
        .ok_or_else(|| format!("expected a number from {least} to {most}"))
}

/// The handler's `ordering`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ordering {
    Partition,
    Key,
    None,
}

impl Ordering {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Partition => "partition",
            Self::Key => "key",
            Self::None => "none",
        }
    }

    pub(crate) fn is_ordered(self) -> bool {
        self != Self::None
    }

    /// Its lines in the manifest.
    pub(crate) fn manifest(self) -> String {
        let word = self.word();
        match self {
            Self::Partition => format!("ordering = \"{word}\""),
            Self::Key | Self::None => format!("ordering = \"{word}\"\nconcurrency = 8"),
        }
    }
}

/// The consumers' `group.protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    Classic,
    Consumer,
}

impl Options {
    fn kinds(&self) -> Vec<Kind> {
        let mut kinds = self.wanted().to_vec();
        kinds.retain(|kind| kind.is_possible());
        kinds
    }

    fn wanted(&self) -> &[Kind] {
        if self.faults.is_empty() {
            Kind::value_variants()
        } else {
            &self.faults
        }
    }

    /// Whether no fault excuses a repeat.
    fn is_graceful(&self) -> bool {
        self.kinds().iter().all(|kind| kind.is_graceful())
    }

    fn rules(&self) -> Rules {
        Rules {
            ordered: self.ordering.is_ordered(),
            repeats: if self.is_graceful() || self.delivery == Delivery::ExactlyOnce {
                Repeats::Never
            } else {
                Repeats::Within(REPEAT_WINDOW_MS)
            },
        }
    }

    /// The value of `--faults`, where not all are wanted.
    fn faults_text(&self) -> Option<String> {
        let name = |kind: &Kind| Some(kind.to_possible_value()?.get_name().to_owned());
        let names: Option<Vec<String>> = self.faults.iter().map(name).collect();
        names
            .filter(|names| !names.is_empty())
            .map(|names| names.join(","))
    }

    /// Where the logs are.
    fn folder(&self) -> PathBuf {
        let (ordering, delivery) = (self.ordering.word(), self.delivery.word());
        let name = format!("seed-{}-{ordering}-{delivery}", self.seed);
        root().join("target/torture").join(name)
    }
}

/// Tells what happens, with the seconds since the load began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn tell(self, what: &impl Display) {
        println!("{:7.1} s  {what}", self.0.elapsed().as_secs_f64());
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let folder = options.folder();
    let begun = Instant::now();
    let plan = Plan::new(
        options.seed,
        Duration::from_secs_f64(options.minutes * 60.0),
        &options.kinds(),
        options.pace,
    );
    println!("{}", report::command(&options));
    if options.wanted().iter().any(|kind| !kind.is_possible()) {
        println!("left out: clock (a process has a wall clock of its own on Linux only)");
    }
    let is_well = match run(&options, &plan, &folder) {
        Ok(account) => {
            report::print(&options, &plan, &account, begun.elapsed());
            let text = report::json(&options, &plan, &account, begun.elapsed());
            let written = options.json.as_ref().map(|path| fs::write(path, text));
            if let Some(Err(error)) = &written {
                eprintln!("cannot write the JSON: {error}");
            }
            account.violations.is_empty() && !matches!(written, Some(Err(_)))
        }
        Err(error) => {
            println!("\nthe run failed: {error:#}");
            false
        }
    };
    if is_well && !options.keep {
        // Nobody needs the logs of a run that went well; a later run clears what is left.
        let _ = fs::remove_dir_all(&folder);
    } else {
        println!("logs: {}", folder.display());
    }
    if !is_well {
        println!("again: {}", report::command(&options));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Starts everything, does what is planned, lets the rest drain and makes the account.
fn run(options: &Options, plan: &Plan, folder: &Path) -> Result<Account> {
    if folder.exists() {
        fs::remove_dir_all(folder).context("cannot clear the logs of the last run")?;
    }
    fs::create_dir_all(folder)?;
    show(plan);
    let mut cluster = Cluster::start(folder)?;
    let at = cluster.bootstrap();
    cluster.create_topic(INPUT, PARTITIONS, &[])?;
    // The time of a repeat is that of the broker, not of what is repeated.
    let by_broker = [("message.timestamp.type", "LogAppendTime")];
    cluster.create_topic(OUTPUT, 4, &by_broker)?;
    cluster.create_topic(LETTERS, 2, &by_broker)?;
    cluster.create_topic(UNWANTED, 1, &[])?;
    let mut hosts = Hosts::start(plan.hosts, &cluster.bootstrap_of_hosts(), folder, options)?;
    let load = Load::start(&Target {
        bootstrap: at.clone(),
        input: INPUT.to_owned(),
        unwanted: UNWANTED.to_owned(),
        seed: options.seed,
    });
    let clock = Clock(Instant::now());
    thread::scope(|scope| {
        let of_hosts = scope.spawn(|| hosts.run(&plan.of_hosts, clock));
        let of_brokers = scope.spawn(|| brokers::run(&mut cluster, &plan.of_brokers, clock));
        let joined = [of_hosts.join(), of_brokers.join()];
        joined
            .into_iter()
            .try_for_each(|result| result.ok().context("a track panicked")?)
    })?;
    clock.tell(&format!(
        "all faults are over after {} records",
        load.sent()
    ));
    let inputs = load.stop()?;
    let drained = drain(&at);
    match &drained {
        Ok(()) => clock.tell(&"everything is committed"),
        Err(error) => println!("{error}\n{}", hosts.state()),
    }
    let problems = hosts.finish()?;
    let facts = read::facts(&at, inputs)?;
    let mut account = account(&facts, options.rules());
    account.violations.extend(problems);
    Ok(account)
}

/// Waits until the group has committed every partition to its end.
fn drain(at: &str) -> Result<()> {
    let mut ends = clients::end_offsets(at, INPUT)?;
    ends.retain(|(_, end)| *end > 0);
    let mut positions = Vec::new();
    let waited = wait_until("everything committed", DRAIN_TIMEOUT, || {
        thread::sleep(Duration::from_millis(300));
        positions = clients::committed(at, GROUP, INPUT).unwrap_or_default();
        positions == ends
    });
    waited.with_context(|| format!("the ends are {ends:?}, the positions {positions:?}"))
}

fn show(plan: &Plan) {
    println!("{} hosts, 3 brokers, {PARTITIONS} partitions", plan.hosts);
    for (name, steps) in [("hosts", &plan.of_hosts), ("brokers", &plan.of_brokers)] {
        println!("planned for {name}:");
        for step in steps {
            println!("  after {:4.1} s  {step}", step.pause.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(args: &[&str]) -> Result<Options, clap::Error> {
        Options::try_parse_from([&["torture"], args].concat())
    }

    #[test]
    fn a_time_that_nobody_can_wait_for_is_refused() {
        assert!(options(&["--minutes", "0.5"]).is_ok());
        for bad in ["0", "-1", "NaN", "1e9", "long"] {
            assert!(options(&[&format!("--minutes={bad}")]).is_err(), "{bad}");
            assert!(options(&[&format!("--pace={bad}")]).is_err(), "{bad}");
        }
    }

    #[test]
    fn nothing_may_be_repeated_where_all_faults_are_graceful_or_delivery_is_exactly_once() {
        let rules = |faults| options(&["--faults", faults]).unwrap().rules();
        assert_eq!(rules("term,join,replace,clock").repeats, Repeats::Never);
        assert_ne!(rules("term,kill").repeats, Repeats::Never);
        assert_ne!(options(&[]).unwrap().rules().repeats, Repeats::Never);
        let once = options(&["--delivery", "exactly-once"]).unwrap();
        assert_eq!(once.rules().repeats, Repeats::Never);
        assert!(!options(&["--ordering", "none"]).unwrap().rules().ordered);
    }

    #[test]
    fn the_command_of_a_report_does_the_same_run() {
        let all = [
            "--group-protocol",
            "consumer",
            "--seed",
            "7",
            "--minutes",
            "0.5",
            "--pace",
            "2.5",
            "--ordering",
            "key",
            "--delivery",
            "exactly-once",
            "--faults",
            "kill,broker",
        ];
        let first = options(&all).unwrap();
        let command = report::command(&first);
        let words: Vec<&str> = command.split(' ').skip(3).collect();
        assert_eq!(report::command(&options(&words).unwrap()), command);
        assert_eq!(first.kinds(), [Kind::Kill, Kind::Broker]);
    }
}
