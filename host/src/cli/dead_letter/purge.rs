//! `dead-letter purge`: deletes letters, as far as Kafka can: from the beginning of a partition on.
//!
//! It is handed flags, decides for each partition how long its beginning is that may go, and has Kafka delete it.
//! **Invariant:** a record that does not match, and everything behind it in its partition, stays; what is no dead letter
//! never matches.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;

use anyhow::{anyhow, bail};
use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::Offset;

use super::filter::{FilterArgs, Place, Since, is_of};
use super::print::Item;
use super::replayed::Replayed;
use super::topics::{Session, Topic};
use super::which::{Which, WhichArgs};
use super::{ReachArgs, Usage, letters};
use crate::cli::connect::{Troubles, explain_config};
use crate::cli::console::Console;
use crate::cli::{EX_USAGE, async_runtime};
use crate::letter::time_text;

const EXAMPLES: &str = "\
Examples:
  kafka-wasm-host dead-letter purge acme/orders --replayed --handlers handlers --brokers kafka:9092   # only looks
  kafka-wasm-host dead-letter purge acme/orders --replayed --yes --handlers handlers --brokers kafka:9092
  kafka-wasm-host dead-letter purge acme/orders --before 30d --yes
  kafka-wasm-host dead-letter purge --topic acme.gone.dead-letter --all --yes

Kafka deletes from the beginning of a partition on, and nothing from its middle. So in each partition the letters go
that match and have only such before them; the first that does not match keeps itself and all behind it.

Without --yes nothing is deleted: it says what would be, and exits with 64 where that is anything.";

/// Deletes dead letters, from the beginning of each partition on
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(group(clap::ArgGroup::new("matching").args(["before", "replayed", "all"]).required(true).multiple(true)))]
pub(super) struct PurgeArgs {
    #[command(flatten)]
    which: WhichArgs,

    /// Deletes those given up before this time: 2026-01-31T02:00:00Z, or a duration ago such as 30d
    #[arg(long, value_name = "TIME")]
    before: Option<Since>,

    /// Deletes those that were replayed
    #[arg(long)]
    replayed: bool,

    /// Deletes all that the other flags let through
    #[arg(long, conflicts_with_all = ["before", "replayed"])]
    all: bool,

    /// Deletes indeed
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    reach: ReachArgs,

    // Last, since its heading would be that of what follows.
    #[command(flatten)]
    filter: FilterArgs,
}

pub(super) fn run(
    args: &PurgeArgs,
    out: &mut dyn Write,
    console: &Console,
) -> anyhow::Result<ExitCode> {
    let which = args.which.find()?;
    let session = Session::new(&args.reach, console)?;
    let topic = session.letters(&which.topic)?;
    let replayed = match &which.replays {
        Some(replays) if args.replayed => Replayed::read(&session, replays, &which.topic)?,
        None if args.replayed => {
            let what = "which letters were replayed? Name the group beside --topic by --group, or a handler instead";
            return Err(Usage(what.to_owned()).into());
        }
        _ => Replayed::default(),
    };
    let prefixes = prefixes(args, &which, &topic, &replayed)?;
    console.clear();
    let total: u64 = prefixes.values().map(|prefix| prefix.letters).sum();
    print(out, &prefixes, &topic, args.yes)?;
    out.flush()?;
    if total == 0 {
        console.say("no letters to delete");
        return Ok(ExitCode::SUCCESS);
    }
    if !args.yes {
        console.say(&format!(
            "{} would be deleted; nothing was: say --yes",
            letters(total)
        ));
        return Ok(ExitCode::from(EX_USAGE));
    }
    delete(&session, &topic, &prefixes)?;
    console.say(&format!("deleted {} of {}", letters(total), topic.name));
    Ok(ExitCode::SUCCESS)
}

fn prefixes(
    args: &PurgeArgs,
    which: &Which,
    topic: &Topic<'_>,
    replayed: &Replayed,
) -> anyhow::Result<BTreeMap<i32, Prefix>> {
    let mut prefixes: BTreeMap<i32, Prefix> = BTreeMap::new();
    let mut matching = 0;
    topic.read(|record| {
        let item = Item::of(record);
        let mut mismatch = mismatch(args, which, replayed, &item);
        if mismatch.is_none() {
            if args.filter.is_enough(matching) {
                mismatch = Some("is beyond --limit".to_owned());
            } else {
                matching += 1;
            }
        }
        prefixes
            .entry(record.partition)
            .or_default()
            .take(item.place, mismatch);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(prefixes)
}

/// Returns why a record is not to be deleted, if it is not.
fn mismatch(
    args: &PurgeArgs,
    which: &Which,
    replayed: &Replayed,
    item: &Item<'_>,
) -> Option<String> {
    let letter = match &item.letter {
        Ok(letter) => letter,
        Err(problem) => return Some(format!("is no dead letter: {problem}")),
    };
    if !is_of(which.handler.as_ref(), letter) {
        return Some(format!("is of {}", letter.handler));
    }
    if let Some(flag) = args.filter.mismatch(item.place, item.record.key, letter) {
        return Some(format!("does not match {flag}"));
    }
    if args.before.is_some_and(|before| letter.time_ms >= before.0) {
        return Some(format!("was given up at {}", time_text(letter.time_ms)));
    }
    (args.replayed && !replayed.contains(item.place, letter)).then(|| "was not replayed".to_owned())
}

/// The beginning of a partition that may be deleted.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Prefix {
    /// Its letters.
    letters: u64,
    /// The offset behind the last of them.
    end: i64,
    /// The first record that stays, and why.
    stays: Option<(Place, String)>,
    /// Letters that match and stay nevertheless, since they are behind it.
    behind: u64,
}

impl Prefix {
    /// Takes the next record of the partition.
    fn take(&mut self, place: Place, mismatch: Option<String>) {
        match (mismatch, &self.stays) {
            (None, None) => {
                self.letters += 1;
                self.end = place.offset + 1;
            }
            (None, Some(_)) => self.behind += 1,
            (Some(why), None) => self.stays = Some((place, why)),
            (Some(_), Some(_)) => {}
        }
    }
}

fn print(
    out: &mut dyn Write,
    prefixes: &BTreeMap<i32, Prefix>,
    topic: &Topic<'_>,
    is_certain: bool,
) -> io::Result<()> {
    for (partition, prefix) in prefixes {
        let goes = match (prefix.letters, is_certain) {
            (0, _) => "nothing to delete".to_owned(),
            (n, true) => format!("deletes {}, up to offset {}", letters(n), prefix.end - 1),
            (n, false) => format!(
                "would delete {}, up to offset {}",
                letters(n),
                prefix.end - 1
            ),
        };
        let stays = match &prefix.stays {
            Some((place, why)) if prefix.behind > 0 => format!(
                "; {} match{} but stay{} behind {place}, which {why}",
                letters(prefix.behind),
                if prefix.behind == 1 { "es" } else { "" },
                if prefix.behind == 1 { "s" } else { "" },
            ),
            Some((place, why)) => format!("; the first that stays is {place}, which {why}"),
            None => String::new(),
        };
        writeln!(out, "{}[{partition}]: {goes}{stays}", topic.name)?;
    }
    Ok(())
}

fn delete(
    session: &Session<'_>,
    topic: &Topic<'_>,
    prefixes: &BTreeMap<i32, Prefix>,
) -> anyhow::Result<()> {
    let mut ends = TopicPartitionList::new();
    for (partition, prefix) in prefixes.iter().filter(|(_, prefix)| prefix.letters > 0) {
        ends.add_partition_offset(topic.name.as_str(), *partition, Offset::Offset(prefix.end))?;
    }
    let admin: AdminClient<Troubles> = session
        .connect
        .config(&[], &[])?
        .create_with_context(Troubles::default())
        .map_err(explain_config)?;
    let options = AdminOptions::new()
        .operation_timeout(Some(session.timeout))
        .request_timeout(Some(session.timeout));
    let deleted = async_runtime()?
        .block_on(admin.delete_records(&ends, &options))
        .map_err(|error| explain(topic, error.rdkafka_error_code(), &error.to_string()))?;
    let mut problems = Vec::new();
    for element in deleted.elements() {
        if let Err(error) = element.error() {
            let problem = explain(topic, error.rdkafka_error_code(), &error.to_string());
            problems.push(format!("partition {}: {problem}", element.partition()));
        }
    }
    if !problems.is_empty() {
        bail!("not everything was deleted: {}", problems.join("; "));
    }
    Ok(())
}

fn explain(topic: &Topic<'_>, code: Option<RDKafkaErrorCode>, text: &str) -> anyhow::Error {
    let name = &topic.name;
    match code {
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
            anyhow!(
                "the brokers do not let this user delete records of {name}: grant it Delete on the topic"
            )
        }
        Some(RDKafkaErrorCode::PolicyViolation) => {
            anyhow!("Kafka deletes no records of {name}: its cleanup.policy has to contain delete")
        }
        Some(code) => anyhow!("Kafka does not delete records of {name}: {code}"),
        None => anyhow!("Kafka does not delete records of {name}: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Offsets have gaps, where transactions ended.
        #[test]
        fn a_prefix_ends_before_the_first_record_that_stays(
            records in proptest::collection::vec((1..4_i64, any::<bool>()), 0..20),
        ) {
            let mut prefix = Prefix::default();
            let mut offset = 0;
            let mut all = Vec::new();
            for (gap, matches) in records {
                offset += gap;
                all.push((offset, matches));
                let why = (!matches).then(|| "stays".to_owned());
                prefix.take(Place { partition: 0, offset }, why);
            }
            let first_that_stays = all.iter().find(|(_, matches)| !matches).map(|(offset, _)| *offset);
            let goes = |offset: i64| first_that_stays.is_none_or(|first| offset < first);
            let gone: Vec<i64> = all.iter().map(|(offset, _)| *offset).filter(|offset| goes(*offset)).collect();
            let behind = all.iter().filter(|(offset, matches)| *matches && !goes(*offset)).count();
            prop_assert_eq!(prefix.letters, gone.len() as u64);
            prop_assert_eq!(prefix.behind, behind as u64);
            prop_assert_eq!(prefix.end, gone.last().map_or(0, |last| last + 1));
            prop_assert_eq!(prefix.stays.map(|(place, _)| place.offset), first_that_stays);
            // Kafka deletes what is below the end, and nothing else.
            for (offset, matches) in all {
                prop_assert!(offset >= gone.last().map_or(0, |last| last + 1) || matches);
            }
        }
    }
}
