//! `dead-letter replay`: has letters handled again, by the handler that gave them up and no other.
//!
//! It is handed a handler and flags, and writes the letters as they are to the topic from which the handler's group
//! replays.
//! **Invariant:** a letter that was replayed is not replayed again, whoever replayed it, unless `--again` is given.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;
use tokio::time::Instant;

use super::filter::{FilterArgs, is_of};
use super::list::Counts;
use super::print::{self, Item};
use super::replayed::Replayed;
use super::topics::{Session, Topic};
use super::which::{of_handler, reads_alone, replays};
use super::writer::Writer;
use super::{ReachArgs, counted, letters};
use crate::cli::async_runtime;
use crate::cli::connect::{Troubles, explain_config};
use crate::cli::console::Console;
use crate::ids::{HandlerId, TopicName};
use crate::record::RecordView;

/// How long a topic of replays keeps them, and with them what was replayed: 30 days.
const RETENTION_MS: &str = "2592000000";

const EXAMPLES: &str = "\
Examples:
  kafka-wasm-host dead-letter replay acme/orders --dry-run --handlers handlers --brokers kafka:9092
  kafka-wasm-host dead-letter replay acme/orders --kind trap --since 7d
  kafka-wasm-host dead-letter replay acme/orders --at 0@17 --again
  kafka-wasm-host dead-letter replay acme/orders --rate 100

Each letter is written, as it is, to the topic <group>.replay, which the handler's group reads beside its own topics.
Other readers of the record's topic see nothing of it. The last header, replay.of, says which letter it was; so a
replay that was interrupted can be run again, and goes on where it stopped. Of two replays of a group at once, the one
that began first ends with an error, and the other does what is left.

The topic is made at the first letter: as many partitions as the dead-letter topic has, the brokers' replication
factor, and a retention of 30 days. For that long it is known what was replayed.";

/// Has dead letters handled again by the handler that gave them up
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
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
    let writer = if args.dry_run {
        None
    } else {
        Some(Writer::begin(&args.reach, &replay_topic, args.rate)?)
    };
    let replayed = Replayed::read(&session, &replay_topic, &letter_topic)?;
    let mut replay = Replay {
        args,
        session: &session,
        letters: &topic,
        to: replay_topic,
        replayed,
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

/// Letters that were left alone.
#[derive(Debug, Default)]
struct Skipped {
    already: u64,
    of_others: u64,
    by_flags: u64,
    strangers: Counts,
}

struct Replay<'a> {
    args: &'a ReplayArgs,
    session: &'a Session<'a>,
    letters: &'a Topic<'a>,
    /// The topic of replays.
    to: TopicName,
    replayed: Replayed,
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
            self.make_topic()?;
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

    /// Makes the topic of replays, unless it is there.
    fn make_topic(&self) -> anyhow::Result<()> {
        let (session, name) = (self.session, &self.to);
        if session.partitions(name)?.is_some() {
            return Ok(());
        }
        let partitions = i32::try_from(self.letters.bounds.len())?;
        let admin: AdminClient<Troubles> = session
            .connect
            .config(&[], &[])?
            .create_with_context(Troubles::default())
            .map_err(explain_config)?;
        // The brokers know best how often to replicate.
        let topic = NewTopic::new(name.as_str(), partitions, TopicReplication::Fixed(-1))
            .set("cleanup.policy", "delete")
            .set("retention.ms", RETENTION_MS);
        let options = AdminOptions::new()
            .operation_timeout(Some(session.timeout))
            .request_timeout(Some(session.timeout));
        let remedy = || {
            format!(
                "cannot create topic {name}; create it, then replay again (kafka-topics.sh --create --topic {name} \
                 --partitions {partitions} --config retention.ms={RETENTION_MS} --bootstrap-server {})",
                session.connect.brokers
            )
        };
        let created = async_runtime()?
            .block_on(admin.create_topics([&topic], &options))
            .with_context(remedy)?;
        for result in created {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, code)) => return Err(anyhow::Error::new(code)).with_context(remedy),
            }
        }
        session.console.say(&format!(
            "created topic {name} with {}",
            counted(partitions.unsigned_abs().into(), "partition", "partitions")
        ));
        let deadline = Instant::now() + session.timeout;
        while session.partitions(name)?.is_none() {
            if Instant::now() >= deadline {
                bail!(
                    "topic {name} was created, but does not appear within {:?}",
                    session.timeout
                );
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
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
        ] {
            if n > 0 {
                console.say(&format!("  {what}: {n}"));
            }
        }
        skipped.strangers.tell_strangers(console);
    }
}
