//! `dead-letter show`: everything of one letter.
//!
//! It is handed a place and a writer, and only reads.
//! **Invariant:** whatever record the place holds is shown, a dead letter or not.

use std::io::Write;
use std::process::ExitCode;

use anyhow::bail;

use super::ReachArgs;
use super::filter::Place;
use super::print::{self, Item};
use super::topics::Session;
use super::which::WhichArgs;
use crate::cli::console::Console;

const EXAMPLES: &str = "\
Examples:
  kafka-wasm-host dead-letter show acme/orders 0@17 --handlers handlers --brokers kafka:9092
  kafka-wasm-host dead-letter show --topic acme.orders.dead-letter 0@17 --json

Bytes that are not text are shown in base64.";

/// Prints everything of one dead letter
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES, allow_missing_positional = true)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    which: WhichArgs,

    /// The letter's place in the dead-letter topic, as `list` prints it
    #[arg(value_name = "PARTITION@OFFSET")]
    place: Place,

    #[command(flatten)]
    reach: ReachArgs,

    /// Prints a JSON object; `headers` are those that the record had of its own
    #[arg(long)]
    json: bool,
}

pub(super) fn run(
    args: &ShowArgs,
    out: &mut dyn Write,
    console: &Console,
) -> anyhow::Result<ExitCode> {
    let which = args.which.find()?;
    let session = Session::new(&args.reach, console)?;
    let topic = session.letters(&which.topic)?;
    let replayed = which.replayed(&session)?;
    let found = topic.read_one(args.place, |record| {
        console.clear();
        let item = Item::of(record);
        let letter = item.letter.as_ref().ok();
        let replayed = replayed.as_ref().zip(letter);
        let replayed = replayed.map(|(replayed, letter)| replayed.contains(item.place, letter));
        if args.json {
            print::json(out, &item, replayed, true)?;
        } else {
            print::page(out, &item, replayed)?;
        }
        Ok(())
    })?;
    if !found {
        let holds = topic
            .bounds
            .iter()
            .find(|bounds| bounds.partition == args.place.partition);
        let holds = match holds {
            Some(bounds) if bounds.low < bounds.high => {
                format!(
                    "the partition holds offsets {} to {}",
                    bounds.low,
                    bounds.high - 1
                )
            }
            _ => "the partition is empty".to_owned(),
        };
        bail!("{} has no letter at {}: {holds}", which.topic, args.place);
    }
    Ok(ExitCode::SUCCESS)
}
