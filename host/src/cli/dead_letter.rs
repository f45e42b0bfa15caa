//! `dead-letter`: looks at the records that could not be handled, has them handled again, and deletes them.
//!
//! It is handed flags, finds the dead-letter topic by a handler's manifest or by its name, and runs one of four commands.
//! **Invariant:** only `replay` and `purge --yes` change anything, and neither writes to a topic that a handler reads.

mod filter;
mod key_replay;
mod list;
mod parked;
mod print;
mod purge;
mod replay;
mod replay_topic;
mod replayed;
mod request;
mod show;
mod topics;
mod which;
mod writer;

use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::process::ExitCode;
use std::time::Duration;

use super::connect::ConnectArgs;
use super::console::Console;
use super::consume::is_broken_pipe;
use super::{EX_USAGE, complain};
use crate::duration::parse_duration;

const EXAMPLES: &str = "\
Examples:
  kafka-wasm-host dead-letter list acme/orders --handlers handlers --brokers kafka:9092
  kafka-wasm-host dead-letter show acme/orders 0@17 --handlers handlers --brokers kafka:9092
  kafka-wasm-host dead-letter replay acme/orders --kind trap --handlers handlers --brokers kafka:9092
  kafka-wasm-host dead-letter purge acme/orders --replayed --yes --handlers handlers --brokers kafka:9092

The dead-letter topic is that of the handler's manifest; --topic names it where there is no manifest any more.";

/// Shows, replays and deletes the records that could not be handled
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct DeadLetterArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Command {
    /// Print a line for each dead letter, and how many there are
    List(list::ListArgs),
    /// Print everything of one dead letter
    Show(show::ShowArgs),
    /// Have dead letters handled again by the handler that gave them up
    Replay(replay::ReplayArgs),
    /// Delete dead letters, from the beginning of each partition on
    Purge(purge::PurgeArgs),
}

/// How to reach Kafka, and how patiently.
#[derive(Debug, Clone, clap::Args)]
pub struct ReachArgs {
    /// How to reach Kafka.
    #[command(flatten)]
    pub connect: ConnectArgs,

    /// How long to wait for an answer of the brokers, and for a record that is known to be there
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    pub timeout: Duration,
}

/// The command cannot be meant as it was given.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

/// Runs the command. Blocks, so call it outside of an async task.
pub fn run(args: &DeadLetterArgs) -> anyhow::Result<ExitCode> {
    let console = Console::stderr();
    let stdout = io::stdout().lock();
    // Lines of a terminal take turns with the line of progress, so they are not held back there.
    let mut out: Box<dyn Write> = if stdout.is_terminal() {
        Box::new(stdout)
    } else {
        Box::new(BufWriter::with_capacity(1 << 16, stdout))
    };
    let result = match &args.command {
        Command::List(args) => list::run(args, &mut out, &console),
        Command::Show(args) => show::run(args, &mut out, &console),
        Command::Replay(args) => replay::run(args, &mut out, &console),
        Command::Purge(args) => purge::run(args, &mut out, &console),
    };
    let flushed = out.flush();
    console.clear();
    match result.and_then(|code| Ok(flushed.map(|()| code)?)) {
        Err(error) if error.is::<Usage>() => {
            complain(&format!("error: {error}"));
            Ok(ExitCode::from(EX_USAGE))
        }
        // `| head` has seen enough; but a purge that did not get to its end deleted nothing.
        Err(error) if is_broken_pipe(&error) && !matches!(args.command, Command::Purge(_)) => {
            Ok(ExitCode::SUCCESS)
        }
        other => other,
    }
}

/// Writes a number and a noun, as people do.
fn counted(n: u64, one: &str, more: &str) -> String {
    let noun = if n == 1 { one } else { more };
    format!("{n} {noun}")
}

/// [`counted`] for letters.
fn letters(n: u64) -> String {
    counted(n, "letter", "letters")
}
