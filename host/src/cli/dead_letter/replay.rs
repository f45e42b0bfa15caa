//! `dead-letter replay`: has letters handled again, by the handler that gave them up and no other.
//!
//! It is handed a handler and flags, and writes the letters as they are to the topic from which the handler's group
//! replays.
//! **Invariant:** a letter that was replayed is not replayed again, whoever replayed it, unless `--again` is given.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use super::filter::{FilterArgs, is_of};
use super::key_replay::{self, KeyReplay};
use super::list::Counts;
use super::parked::{self, ParkedKey, ParkedTopic};
use super::print::{self, Item};
use super::replay_topic::make_topic;
use super::replayed::Replayed;
use super::topics::{Session, Topic};
use super::which::{of_handler, reads_alone, replays};
use super::writer::Writer;
use super::{ReachArgs, Usage, letters};
use crate::cli::console::Console;
use crate::ids::{HandlerId, TopicName};
use crate::letter::Letter;
use crate::record::RecordView;

const EXAMPLES: &str = "\
Examples:
  kafka-wasm-host dead-letter replay acme/orders --dry-run --handlers handlers --brokers kafka:9092
  kafka-wasm-host dead-letter replay acme/orders --kind trap --since 7d
  kafka-wasm-host dead-letter replay acme/orders --at 0@17 --again
  kafka-wasm-host dead-letter replay acme/orders --rate 100
  kafka-wasm-host dead-letter replay acme/orders --key customer-17

Each letter is written, as it is, to the topic <group>.replay, which the handler's group reads beside its own topics.
Other readers of the record's topic see nothing of it. The last header, replay.of, says which letter it was; so a
replay that was interrupted can be run again, and goes on where it stopped. Of two replays of a group at once, the one
that began first ends with an error, and the other does what is left.

A parked key (on-exhausted = \"park\") is replayed as a whole by --key, and all of them by --parked: in the order of its
records, while later records of the key wait. When all are handled the key is unparked; when one fails again the key stays
parked, and the exit code is 1. Letters of parked keys are left alone by other replays.

The topic is made at the first letter: as many partitions as the dead-letter topic has, the brokers' replication
factor, and a retention of 30 days. For that long it is known what was replayed.";

/// Has dead letters handled again by the handler that gave them up
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(super) struct ReplayArgs {
    /// The handler whose letters it shall handle again, as tenant/handler
    #[arg(value_name = "HANDLER")]
    handler: HandlerId,

    /// Folder of the handlers; the handler's manifest names the dead-letter topic and the group
    #[arg(long, env = "KAFKA_WASM_HANDLERS", value_name = "DIR")]
    handlers: Option<PathBuf>,

    #[command(flatten)]
    reach: ReachArgs,

    /// Replays also what was replayed already
    #[arg(long)]
    again: bool,

    /// Replays every parked key of the handler as a whole and unparks it
    #[arg(long, conflicts_with_all = ["again", "key", "kind", "since", "until", "at", "from_topic", "from_partition", "from_offsets", "limit"])]
    parked: bool,

    /// Replays a parked key also where the letter of its first failure is gone
    #[arg(long)]
    despite_gap: bool,

    /// Writes at most so many letters a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,

    /// Prints the letters that would be replayed, and writes nothing
    #[arg(long)]
    dry_run: bool,

    // Last, since its heading would be that of what follows.
    #[command(flatten)]
    filter: FilterArgs,
}

pub(super) fn run(
    args: &ReplayArgs,
    out: &mut dyn Write,
    console: &Console,
) -> anyhow::Result<ExitCode> {
    let (letter_topic, group) = of_handler(&args.handler, args.handlers.as_deref())?;
    reads_alone(&args.handler, &group, args.handlers.as_deref())?;
    let replay_topic = replays(&group)?;
    let session = Session::new(&args.reach, console)?;
    let topic = session.letters(&letter_topic)?;
    // Only then is what was replayed known for good: whoever replayed before can write no more.
    let mut writer = if args.dry_run {
        None
    } else {
        Some(Writer::begin(&args.reach, &replay_topic, args.rate)?)
    };
    let mut parked = ParkedTopic::open(&session, &args.reach, &group)?;
    let keys = parked
        .as_ref()
        .map(|parked| parked.keys(Some(&args.handler)));
    let keys = keys.unwrap_or_default();
    let chosen: Vec<&ParkedKey> = keys.iter().filter(|key| args.chooses(key)).collect();
    if let Some(parked) = parked.as_mut().filter(|_| !chosen.is_empty()) {
        let replay = KeyReplay {
            session: &session,
            reach: &args.reach,
            handler: &args.handler,
            group: &group,
            letter_topic: &letter_topic,
            replay_topic: &replay_topic,
            parked,
            despite_gap: args.despite_gap,
        };
        return args.replay_keys(replay, &chosen, writer.as_mut(), out);
    }
    if args.parked {
        console.say(&parked::summary(0));
        return Ok(ExitCode::SUCCESS);
    }
    let replayed = Replayed::read(&session, &replay_topic, &letter_topic)?;
    let mut replay = Replay {
        args,
        session: &session,
        letters: &topic,
        to: replay_topic,
        replayed,
        keys,
        writer,
        is_there: false,
        chosen: 0,
        skipped: Skipped::default(),
    };
    let result = topic
        .read(|record| replay.take(record, out))
        .and_then(|()| replay.writer.as_mut().map_or(Ok(()), Writer::commit));
    console.clear();
    out.flush()?;
    replay.tell(result.is_ok());
    result.map(|()| ExitCode::SUCCESS)
}

impl ReplayArgs {
    /// Returns whether a parked key is to be replayed as a whole.
    fn chooses(&self, key: &ParkedKey) -> bool {
        let named = self.filter.key.as_ref();
        self.parked || named.is_some_and(|text| text.as_bytes() == key.key)
    }

    /// Replays parked keys, one after the other.
    fn replay_keys(
        &self,
        mut replay: KeyReplay<'_>,
        keys: &[&ParkedKey],
        mut writer: Option<&mut Writer>,
        out: &mut dyn Write,
    ) -> anyhow::Result<ExitCode> {
        if self.again || !self.filter.is_key_only() {
            return Err(Usage(
                "the key is parked, so all of its letters are replayed in their order, each once: leave the other flags out"
                    .to_owned(),
            )
            .into());
        }
        let console = replay.session.console;
        let mut code = ExitCode::SUCCESS;
        for key in keys {
            let Some(writer) = writer.as_deref_mut() else {
                let count = replay.print(key, out)?;
                console.say(&format!(
                    "would replay {} of {} and unpark it; nothing was written",
                    letters(count),
                    key.name()
                ));
                continue;
            };
            if replay.run(key, writer)? == key_replay::Ended::FailedAgain {
                code = ExitCode::FAILURE;
            }
        }
        out.flush()?;
        Ok(code)
    }
}

fn is_of_key(key: &ParkedKey, record: &RecordView<'_>, letter: &Letter) -> bool {
    record.key == Some(key.key.as_slice())
        && (letter.topic.as_str(), letter.partition) == (key.place.0.as_str(), key.place.1)
}

/// Letters that were left alone.
#[derive(Debug, Default)]
struct Skipped {
    already: u64,
    of_others: u64,
    by_flags: u64,
    of_parked_keys: u64,
    strangers: Counts,
}

struct Replay<'a> {
    args: &'a ReplayArgs,
    session: &'a Session<'a>,
    letters: &'a Topic<'a>,
    /// The topic of replays.
    to: TopicName,
    replayed: Replayed,
    keys: Vec<ParkedKey>,
    /// None where nothing is to be written.
    writer: Option<Writer>,
    /// Whether the topic of replays is known to exist.
    is_there: bool,
    chosen: u64,
    skipped: Skipped,
}

impl Replay<'_> {
    fn take(
        &mut self,
        record: &RecordView<'_>,
        out: &mut dyn Write,
    ) -> anyhow::Result<ControlFlow<()>> {
        if let Some(writer) = &mut self.writer {
            writer.keep_up()?;
        }
        let item = Item::of(record);
        let skipped = &mut self.skipped;
        let letter = match &item.letter {
            Ok(letter) => letter,
            Err(problem) => {
                skipped
                    .strangers
                    .stranger(|| format!("{}: {problem}", item.place));
                return Ok(ControlFlow::Continue(()));
            }
        };
        let was_replayed = self.replayed.contains(item.place, letter);
        let filter = &self.args.filter;
        if !is_of(Some(&self.args.handler), letter) {
            skipped.of_others += 1;
        } else if filter.mismatch(item.place, record.key, letter).is_some() {
            skipped.by_flags += 1;
        } else if self.keys.iter().any(|key| is_of_key(key, record, letter)) {
            skipped.of_parked_keys += 1;
        } else if was_replayed && !self.args.again {
            skipped.already += 1;
        } else {
            self.chosen += 1;
            if self.writer.is_some() {
                self.write(record)?;
            } else {
                self.session.console.clear();
                print::line(out, item.place, letter, Some(was_replayed))?;
            }
        }
        Ok(if self.args.filter.is_enough(self.chosen) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    }

    fn write(&mut self, record: &RecordView<'_>) -> anyhow::Result<()> {
        if !self.is_there {
            make_topic(self.session, &self.to, self.letters.bounds.len())?;
            self.is_there = true;
        }
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        writer.write(record)?;
        let (written, taken) = (writer.written(), writer.taken());
        self.session
            .console
            .progress(|| format!("{written} of {} replayed", letters(taken)));
        Ok(())
    }

    /// Says what was done and what was left alone.
    fn tell(&self, is_done: bool) {
        let console = self.session.console;
        let (handler, to) = (&self.args.handler, &self.to);
        let until = if is_done { "" } else { " before the error" };
        match &self.writer {
            Some(writer) => {
                console.say(&format!(
                    "replayed {} of {handler} to {to}{until}",
                    letters(writer.written())
                ));
            }
            None => console.say(&format!(
                "would replay {} of {handler} to {to}{until}; nothing was written",
                letters(self.chosen)
            )),
        }
        let skipped = &self.skipped;
        for (n, what) in [
            (skipped.already, "already replayed"),
            (skipped.by_flags, "left out by flags"),
            (skipped.of_others, "of other handlers"),
            (
                skipped.of_parked_keys,
                "of parked keys, which are replayed as a whole (--key K, or --parked for all)",
            ),
        ] {
            if n > 0 {
                console.say(&format!("  {what}: {n}"));
            }
        }
        skipped.strangers.tell_strangers(console);
    }
}
