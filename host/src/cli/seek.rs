//! `seek`: moves the committed positions of a consumer group that nobody reads with.
//!
//! It is handed a group and topics, or a handler's folder that names both, and asks Kafka for everything else.
//! **Invariant:** positions are changed only when all that was asked for can be done, and lie where the partition has
//! records, or at its end.

mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, anyhow};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use self::plan::{Move, Place, Target};
use super::connect::{ConnectArgs, Lookup, Troubles, explain_config, look_up};
use super::console::Console;
use super::{EX_USAGE, counted};
use crate::deploy::find_manifest;
use crate::ids::{GroupId, HandlerId, TopicName};
use crate::policy::Subscription;

/// How long Kafka gets for each answer.
const TIMEOUT: Duration = Duration::from_secs(10);

const FIXED: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
];

const EXAMPLES: &str = "\
Examples:
  kafka-wasm-host seek default.orders orders --to beginning --dry-run --brokers localhost:9092
  kafka-wasm-host seek default.orders orders --to 2026-01-31T00:00:00Z  # the first record of that time or later
  kafka-wasm-host seek default.orders orders --to -2h                   # the same, two hours ago
  kafka-wasm-host seek default.orders orders --to +1 --partition 3      # over the record that partition 3 halted at
  kafka-wasm-host seek orders --handlers handlers/ --to -1000           # group and topics of a handler's manifest

The group must have no members, so stop its hosts first: Kafka refuses positions from outside while they run, and they
would write their own over them. What a group completed beyond its position is forgotten with the position.
Exit code: 0 moved, 1 the group has members or Kafka does not answer, 64 no such group, topic, partition or handler.";

/// Moves the committed positions of a consumer group
///
/// Prints for each partition the old and the new position. A position outside of a partition becomes its beginning or
/// its end. The hosts of the group have to be stopped meanwhile.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct SeekArgs {
    /// The consumer group; with --handlers, a handler as tenant/handler
    pub group: String,

    /// The topics; with --handlers, those of the handler's manifest unless named
    #[arg(value_name = "TOPIC")]
    pub topics: Vec<TopicName>,

    /// How to reach Kafka.
    #[command(flatten)]
    pub connect: ConnectArgs,

    /// Where to: beginning, end, a time, an offset, or so many records on (+N) or back (-N)
    #[arg(
        long,
        value_name = "beginning|end|TIME|OFFSET|+N|-N",
        allow_hyphen_values = true
    )]
    pub to: Target,

    /// Moves only this partition of each topic; may be repeated
    #[arg(long = "partition", value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub partitions: Vec<i32>,

    /// Shows what would be moved, and moves nothing; works while the group has members, too
    #[arg(long)]
    pub dry_run: bool,

    /// Takes group and topics from the manifest of a handler in this folder
    #[arg(long, value_name = "DIR")]
    pub handlers: Option<PathBuf>,
}

/// Why nothing was moved.
#[derive(Debug)]
pub enum Refusal {
    /// What was asked for does not exist or makes no sense; a line each.
    Usage(Vec<String>),
    /// It could not be done.
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

fn usage(line: impl Into<String>) -> Refusal {
    Refusal::Usage(vec![line.into()])
}

/// Runs the command. Blocks, so call it outside of an async task.
pub fn run(args: &SeekArgs) -> anyhow::Result<ExitCode> {
    let console = Console::stderr();
    match seek(args, &mut std::io::stdout(), &console) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(Refusal::Usage(lines)) => {
            for line in lines {
                console.say(&line);
            }
            Ok(ExitCode::from(EX_USAGE))
        }
        Err(Refusal::Failed(error)) => Err(error),
    }
}

/// Moves positions, with a table of them on `out`.
pub fn seek(
    args: &SeekArgs,
    out: &mut impl std::io::Write,
    console: &Console,
) -> Result<(), Refusal> {
    let (group, topics) = subject(args)?;
    let config = args
        .connect
        .config(&[("group.id", group.as_str())], FIXED)?;
    let consumer: BaseConsumer<Troubles> = config
        .create_with_context(Troubles::default())
        .map_err(explain_config)?;
    let kafka = Kafka {
        consumer,
        group: &group,
        brokers: &args.connect.brokers,
    };
    let partitions = kafka.partitions(&topics, &args.partitions)?;
    let members = kafka.members()?;
    let committed = kafka.committed(&partitions)?;
    if members.is_none() && committed.is_empty() {
        return Err(usage(format!(
            "there is no group {group}: it has no members, and no position of {} (a group comes into being when a \
             handler serves; where a new one begins is said by `start` in its manifest)",
            joined(&topics)
        )));
    }
    let members = members.unwrap_or_default();
    if !members.is_empty() && !args.dry_run {
        return Err(has_members(&group, &members).into());
    }
    let moves = kafka.moves(&partitions, &committed, args.to)?;
    write!(out, "{}", plan::table(&moves)).context("the table cannot be printed")?;
    let count = moves.iter().filter(|one| one.new.is_some()).count();
    if count == 0 {
        return Err(usage(format!(
            "group {group} has no position that could be moved by so many records (name an offset, a time, beginning \
             or end)"
        )));
    }
    if args.dry_run {
        console.say("dry run: nothing was moved");
        if !members.is_empty() {
            console.say(&has_members(&group, &members).to_string());
        }
        return Ok(());
    }
    kafka.commit(&moves)?;
    console.say(&format!(
        "group {group}: {} moved",
        counted(count, "position")
    ));
    Ok(())
}

/// Returns the group and the topics that are meant.
fn subject(args: &SeekArgs) -> Result<(GroupId, Vec<TopicName>), Refusal> {
    let Some(folder) = &args.handlers else {
        let group = args
            .group
            .parse()
            .map_err(|error| usage(format!("{:?} is no group: {error}", args.group)))?;
        if args.topics.is_empty() {
            return Err(usage(
                "name the topics of the group whose positions are to be moved: seek GROUP TOPIC … (or a handler: \
                 seek HANDLER --handlers DIR …)",
            ));
        }
        return Ok((group, args.topics.clone()));
    };
    let (group, subscription) = of_handler(folder, &args.group)?;
    if !args.topics.is_empty() {
        return Ok((group, args.topics.clone()));
    }
    match subscription {
        Subscription::Topics(topics) => Ok((group, topics)),
        Subscription::Pattern(pattern) => Err(usage(format!(
            "handler {} reads topics by the pattern {}; name those that are meant: seek {} TOPIC … --handlers {}",
            args.group,
            pattern.source(),
            args.group,
            folder.display()
        ))),
    }
}

fn of_handler(folder: &Path, name: &str) -> Result<(GroupId, Subscription), Refusal> {
    let id: HandlerId = name
        .parse()
        .map_err(|error| usage(format!("{name:?} is no handler: {error}")))?;
    let manifest = find_manifest(folder, &id).map_err(|error| usage(error.to_string()))?;
    Ok((manifest.group, manifest.subscription))
}

fn has_members(group: &GroupId, members: &[String]) -> anyhow::Error {
    anyhow!(
        "group {group} has {}, its positions cannot be moved while they run (stop them; one that was killed counts \
         until its session has ended): {}",
        counted(members.len(), "member"),
        members.join(", ")
    )
}

fn joined(topics: &[TopicName]) -> String {
    let names: Vec<&str> = topics.iter().map(TopicName::as_str).collect();
    names.join(", ")
}

/// A topic and a partition.
type Name = (String, i32);

/// What is asked of Kafka, for one group.
struct Kafka<'a> {
    consumer: BaseConsumer<Troubles>,
    group: &'a GroupId,
    brokers: &'a str,
}

impl Kafka<'_> {
    /// Lists the partitions that are meant; names every topic and partition that does not exist.
    fn partitions(&self, topics: &[TopicName], only: &[i32]) -> Result<Vec<Name>, Refusal> {
        let (mut names, mut problems) = (BTreeSet::new(), Vec::new());
        for topic in topics {
            match look_up(self.consumer.client(), topic.as_str(), TIMEOUT)? {
                Lookup::NoAnswer => {
                    // Connection errors wait in a queue.
                    while self.consumer.poll(Duration::from_millis(20)).is_some() {}
                    let troubles = self.consumer.context();
                    return Err(troubles.no_answer(self.brokers, TIMEOUT).into());
                }
                Lookup::Missing => problems.push(format!("topic {topic} does not exist")),
                Lookup::Found(count) => {
                    for partition in only.iter().filter(|partition| **partition >= count) {
                        problems.push(format!(
                            "{topic} has no partition {partition}, only 0 to {}",
                            count - 1
                        ));
                    }
                    let wanted = (0..count).filter(|one| only.is_empty() || only.contains(one));
                    names.extend(wanted.map(|one| (topic.to_string(), one)));
                }
            }
        }
        if problems.is_empty() {
            Ok(names.into_iter().collect())
        } else {
            Err(Refusal::Usage(problems))
        }
    }

    /// Lists the group's members; none where Kafka does not know the group.
    fn members(&self) -> anyhow::Result<Option<Vec<String>>> {
        let list = self
            .consumer
            .fetch_group_list(Some(self.group.as_str()), TIMEOUT)
            .with_context(|| format!("cannot ask for the members of group {} (the embedded broker of serve --dev cannot say)", self.group))?;
        let found = list
            .groups()
            .iter()
            .find(|found| found.name() == self.group.as_str() && found.state() != "Dead");
        Ok(found.map(|found| {
            let member = |member: &rdkafka::groups::GroupMemberInfo| {
                format!("{} at {}", member.client_id(), member.client_host())
            };
            found.members().iter().map(member).collect()
        }))
    }

    fn committed(&self, names: &[Name]) -> anyhow::Result<BTreeMap<Name, i64>> {
        let failed = || format!("cannot ask for the positions of group {}", self.group);
        let found = self
            .consumer
            .committed_offsets(list(names), TIMEOUT)
            .with_context(failed)?;
        let mut committed = BTreeMap::new();
        for element in found.elements() {
            element.error().with_context(failed)?;
            if let Offset::Offset(offset) = element.offset() {
                committed.insert((element.topic().to_owned(), element.partition()), offset);
            }
        }
        Ok(committed)
    }

    /// Decides about each partition.
    fn moves(
        &self,
        names: &[Name],
        committed: &BTreeMap<Name, i64>,
        target: Target,
    ) -> anyhow::Result<Vec<Move>> {
        let times = match target {
            Target::Time(moment) => self.offsets_at(names, moment.unix_ms(SystemTime::now()))?,
            _ => BTreeMap::new(),
        };
        let mut moves = Vec::with_capacity(names.len());
        for name in names {
            let (topic, partition) = name;
            let (low, high) = self
                .consumer
                .fetch_watermarks(topic, *partition, TIMEOUT)
                .with_context(|| {
                    format!("cannot ask where partition {partition} of {topic} ends")
                })?;
            let place = Place {
                low,
                high,
                committed: committed.get(name).copied(),
                at_time: times.get(name).copied(),
            };
            moves.push(plan::decide(topic, *partition, place, target));
        }
        Ok(moves)
    }

    /// Asks for the first record of each partition that is not older; partitions without one are left out.
    fn offsets_at(&self, names: &[Name], time_ms: i64) -> anyhow::Result<BTreeMap<Name, i64>> {
        let failed = "cannot ask for the records of that time";
        let question = list(names);
        for mut element in question.elements() {
            // Kafka means something else by negative times.
            element.set_offset(Offset::Offset(time_ms.max(0)))?;
        }
        let answer = self
            .consumer
            .offsets_for_times(question, TIMEOUT)
            .context(failed)?;
        let mut offsets = BTreeMap::new();
        for element in answer.elements() {
            element.error().context(failed)?;
            if let Offset::Offset(offset) = element.offset() {
                offsets.insert((element.topic().to_owned(), element.partition()), offset);
            }
        }
        Ok(offsets)
    }

    /// Commits the new positions, without metadata: it told what was complete beyond the old ones.
    fn commit(&self, moves: &[Move]) -> anyhow::Result<()> {
        let mut offsets = TopicPartitionList::new();
        for (one, new) in moves.iter().filter_map(|one| Some((one, one.new?))) {
            offsets.add_partition_offset(&one.topic, one.partition, Offset::Offset(new))?;
        }
        match self.consumer.commit(&offsets, CommitMode::Sync) {
            Ok(()) => Ok(()),
            Err(KafkaError::ConsumerCommit(
                RDKafkaErrorCode::UnknownMemberId
                | RDKafkaErrorCode::IllegalGeneration
                | RDKafkaErrorCode::RebalanceInProgress
                | RDKafkaErrorCode::StaleMemberEpoch,
            )) => Err(anyhow!(
                "nothing was moved: group {} has members that Kafka does not name here (stop them first)",
                self.group
            )),
            Err(error) => Err(error).with_context(|| {
                format!(
                    "the positions of group {} may not have been moved (ask again with --dry-run)",
                    self.group
                )
            }),
        }
    }
}

fn list(names: &[Name]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(names.len());
    for (topic, partition) in names {
        list.add_partition(topic, *partition);
    }
    list
}
