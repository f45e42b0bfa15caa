//! `dead-letter list`: a line for each letter, and how many there are of each handler and kind.
//!
//! It is handed flags and a writer, and only reads.
//! **Invariant:** a record that is no dead letter is never counted as one, and never left unsaid.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;

use serde_json::json;

use super::filter::{FilterArgs, is_of};
use super::parked::{self, ParkedKey, ParkedTopic};
use super::print::{self, Item};
use super::topics::Session;
use super::which::{Which, WhichArgs};
use super::{ReachArgs, Usage, letters};
use crate::cli::console::Console;
use crate::ids::HandlerId;
use crate::outcome::FailureKind;

const EXAMPLES: &str = "\
Examples:
  kafka-wasm-host dead-letter list acme/orders --handlers handlers --brokers kafka:9092
  kafka-wasm-host dead-letter list acme/orders --kind trap --since 2h
  kafka-wasm-host dead-letter list --topic acme.orders.dead-letter --group acme.orders --count
  kafka-wasm-host dead-letter list acme/orders --parked
  kafka-wasm-host dead-letter list acme/orders --json | jq .\\\"dead-letter\\\".error

A line is: place in the dead-letter topic, place of the record, handler, kind of failure, attempts, when it was given
up, whether it was replayed (? where that is not known), first line of the error.";

/// Prints a line for each dead letter, and how many there are
///
/// Reads from the beginning of the dead-letter topic to where it ends at the start, without a consumer group.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ListArgs {
    #[command(flatten)]
    which: WhichArgs,

    #[command(flatten)]
    reach: ReachArgs,

    /// Prints each letter as a JSON object in a line of its own, and no counts
    #[arg(long)]
    json: bool,

    /// Prints only how many there are; with --json an object for each handler and kind
    #[arg(long)]
    count: bool,

    /// Prints a line for each parked key in place of letters, and how many there are
    #[arg(long, conflicts_with = "count")]
    parked: bool,

    // Last, since its heading would be that of what follows.
    #[command(flatten)]
    filter: FilterArgs,
}

pub(super) fn run(
    args: &ListArgs,
    out: &mut dyn Write,
    console: &Console,
) -> anyhow::Result<ExitCode> {
    let which = args.which.find()?;
    let session = Session::new(&args.reach, console)?;
    let keys = args.parked_keys(&which, &session)?;
    if args.parked {
        parked::print(out, &keys, args.json)?;
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    let topic = session.letters(&which.topic)?;
    let replayed = which.replayed(&session)?;
    let mut counts = Counts::default();
    topic.read(|record| {
        let item = Item::of(record);
        let letter = match &item.letter {
            Ok(letter) => letter,
            Err(problem) => {
                counts.stranger(|| format!("{}: {problem}", item.place));
                return Ok(ControlFlow::Continue(()));
            }
        };
        let handler = which.handler.as_ref();
        if !is_of(handler, letter)
            || args
                .filter
                .mismatch(item.place, record.key, letter)
                .is_some()
        {
            return Ok(ControlFlow::Continue(()));
        }
        let was_replayed = replayed
            .as_ref()
            .map(|replayed| replayed.contains(item.place, letter));
        counts.letter(&letter.handler, letter.kind, was_replayed);
        if !args.count {
            console.clear();
            if args.json {
                print::json(out, &item, was_replayed, false)?;
            } else {
                print::line(out, item.place, letter, was_replayed)?;
            }
        }
        Ok(if args.filter.is_enough(counts.total) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    })?;
    console.clear();
    match (args.json, args.count) {
        (true, true) => counts.print_json(out)?,
        (true, false) => {}
        (false, _) => counts.print(out)?,
    }
    out.flush()?;
    counts.tell_strangers(console);
    if !keys.is_empty() {
        let keys = parked::summary(keys.len() as u64);
        console.say(&format!("{keys} (list them by --parked)"));
    }
    Ok(ExitCode::SUCCESS)
}

impl ListArgs {
    /// Reads which keys are parked, of those that are asked for.
    fn parked_keys(&self, which: &Which, session: &Session<'_>) -> anyhow::Result<Vec<ParkedKey>> {
        let Some(group) = &which.group else {
            if self.parked {
                let what = "whose parked keys? Name the group beside --topic by --group";
                return Err(Usage(what.to_owned()).into());
            }
            return Ok(Vec::new());
        };
        let Some(parked) = ParkedTopic::open(session, &self.reach, group)? else {
            return Ok(Vec::new());
        };
        let mut keys = parked.keys(which.handler.as_ref());
        if let Some(text) = &self.filter.key {
            keys.retain(|key| key.key == text.as_bytes());
        }
        Ok(keys)
    }
}

/// How many letters there are.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) total: u64,
    /// Letters and replayed ones of each handler and kind; none where it is not known which were replayed.
    by_kind: BTreeMap<(HandlerId, FailureKind), (u64, Option<u64>)>,
    strangers: u64,
    /// Where the first stranger is, and why it is one.
    first_stranger: String,
}

impl Counts {
    pub(super) fn letter(
        &mut self,
        handler: &HandlerId,
        kind: FailureKind,
        replayed: Option<bool>,
    ) {
        self.total += 1;
        let key = (handler.clone(), kind);
        let (letters, so_far) = self.by_kind.entry(key).or_insert((0, replayed.map(|_| 0)));
        *letters += 1;
        *so_far = so_far
            .zip(replayed)
            .map(|(n, replayed)| n + u64::from(replayed));
    }

    /// Counts a record that is no letter.
    pub(super) fn stranger(&mut self, what: impl FnOnce() -> String) {
        self.strangers += 1;
        if self.strangers == 1 {
            self.first_stranger = what();
        }
    }

    /// Tells of records that are no letters.
    pub(super) fn tell_strangers(&self, console: &Console) {
        match self.strangers {
            0 => {}
            1 => console.say(&format!(
                "1 record is no dead letter, {}",
                self.first_stranger
            )),
            n => console.say(&format!(
                "{n} records are no dead letters, the first is {}",
                self.first_stranger
            )),
        }
    }

    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", letters(self.total))?;
        for ((handler, kind), (letters, replayed)) in &self.by_kind {
            let replayed = match replayed {
                Some(0) | None => String::new(),
                Some(n) => format!(", {n} replayed"),
            };
            writeln!(out, "  {handler}  {}  {letters}{replayed}", kind.as_str())?;
        }
        Ok(())
    }

    fn print_json(&self, out: &mut dyn Write) -> io::Result<()> {
        for ((handler, kind), (letters, replayed)) in &self.by_kind {
            let line = json!({
                "handler": handler.to_string(), "error-kind": kind.as_str(), "letters": letters, "replayed": replayed,
            });
            writeln!(out, "{line}")?;
        }
        Ok(())
    }
}
