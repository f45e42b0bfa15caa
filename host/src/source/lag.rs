//! How far a group is behind the ends of what it reads, over all partitions and whoever reads them.
//!
//! Handed the settings of a group's consumer, makes a client that speaks for the group without joining it, and asks
//! Kafka for positions and ends. Takes as long as Kafka does: for a thread that may block.
//! **Invariant:** it never commits, and what is not known is an error, never a zero.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, SystemTime};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message as _;
use rdkafka::metadata::MetadataTopic;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::time::Instant;

use super::committed::{Committed, committed};
use super::settings::ConsumerSettings;
use super::start::{at_time, list};
use crate::offset_map::OffsetMap;
use crate::policy::Start;

/// How long Kafka gets for each answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long one poll lasts while a partition is looked into.
const POLL: Duration = Duration::from_millis(20);
/// Settings that make a member of a group what it is.
const OF_MEMBERS: [&str; 2] = ["group.protocol", "group.instance.id"];

/// Topic and partition.
type Name = (String, i32);

/// Why it is not known how far a group is behind.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A topic that is to be read is not there.
    #[error("topic {0} does not exist")]
    Missing(String),
    /// Kafka does not answer, or refuses.
    #[error("Kafka does not say {what}: {source}")]
    Kafka {
        what: &'static str,
        source: KafkaError,
    },
}

impl Error {
    fn about(what: &'static str) -> impl Fn(KafkaError) -> Self {
        move |source| Self::Kafka { what, source }
    }
}

/// What of a group's topics is asked for.
pub(crate) struct Reads<'a> {
    /// Topics that have to exist; none where a pattern says which are read.
    pub(crate) names: Option<Vec<String>>,
    /// Topics that are read once they exist.
    pub(crate) returns: Vec<String>,
    /// Whether a topic is read, for patterns.
    pub(crate) matches: &'a dyn Fn(&str) -> bool,
}

/// Where a partition was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    position: i64,
    end: i64,
}

/// What is known of a partition that was behind.
#[derive(Debug, Clone, Copy)]
struct Seen {
    place: Place,
    /// Whether there is no record from its position to its end, once it was looked into.
    is_empty: Option<bool>,
}

/// See the module.
pub(crate) struct GroupLag {
    group: String,
    start: Start,
    client: BaseConsumer<Quiet>,
    seen: HashMap<Name, Seen>,
}

impl std::fmt::Debug for GroupLag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupLag")
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

impl GroupLag {
    /// Makes the client; nothing is asked yet.
    pub(crate) fn new(settings: &ConsumerSettings) -> Result<Self, Error> {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Debug);
        for (key, value) in &settings.kafka {
            if !OF_MEMBERS.contains(&key.as_str()) {
                config.set(key, value);
            }
        }
        if settings.transactions.is_some() {
            config.set("isolation.level", "read_committed");
        }
        let client = config
            .set("group.id", &settings.group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("allow.auto.create.topics", "false")
            .set("statistics.interval.ms", "0")
            .set("queued.min.messages", "1")
            .set("fetch.wait.max.ms", "10")
            .create_with_context(Quiet)
            .map_err(Error::about("how far the group is behind"))?;
        Ok(Self {
            group: settings.group.clone(),
            start: settings.start,
            client,
            seen: HashMap::new(),
        })
    }

    /// Returns how many records the group has not settled of these topics.
    ///
    /// What lies behind a position is counted by offsets, so marks of transactions and what compaction left out count as
    /// well; but where no record is left at all, nothing is behind.
    pub(crate) fn records(&mut self, reads: &Reads<'_>) -> Result<u64, Error> {
        // What the client reports meanwhile lies in its queue; nothing is assigned, so no record does.
        while self.client.poll(Duration::ZERO).is_some() {}
        let partitions = self.partitions(reads)?;
        if partitions.is_empty() {
            return Ok(0);
        }
        let found = committed(&self.client, &self.group, &list(&partitions), TIMEOUT)
            .map_err(Error::about("what the group has committed"))?;
        let places = self
            .places(&partitions, &found)
            .map_err(Error::about("where the partitions end"))?;
        let (mut behind, mut still) = (0, BTreeMap::<String, Vec<(i32, i64)>>::new());
        for (name, place) in &places {
            let left = left(*place, found.completed.get(name));
            let seen = self.seen.get(name).filter(|seen| seen.place == *place);
            let is_empty = seen.and_then(|seen| seen.is_empty);
            if left == 0 || is_empty == Some(true) {
                continue;
            }
            behind += left;
            if seen.is_some() && is_empty.is_none() {
                let places = still.entry(name.0.clone()).or_default();
                places.push((name.1, place.position));
            }
        }
        self.remember(places);
        for (topic, places) in still {
            let empty = self
                .empty(&topic, &places)
                .map_err(Error::about("what the partitions hold"))?;
            behind -= self.take_note(&topic, &places, &empty, &found);
        }
        Ok(behind)
    }

    /// Lists the partitions of the topics.
    fn partitions(&self, reads: &Reads<'_>) -> Result<Vec<Name>, Error> {
        let failed = Error::about("which partitions there are");
        let mut partitions = Vec::new();
        let asked: Vec<(Option<&str>, bool)> = match &reads.names {
            Some(names) => names
                .iter()
                .map(|name| (Some(name.as_str()), true))
                .collect(),
            None => vec![(None, true)],
        };
        let returns = reads
            .returns
            .iter()
            .map(|name| (Some(name.as_str()), false));
        for (name, must_exist) in asked.into_iter().chain(returns) {
            let metadata = self.client.fetch_metadata(name, TIMEOUT).map_err(&failed)?;
            for topic in metadata.topics() {
                let is_read = name.is_some() || (reads.matches)(topic.name());
                match topic.error().map(RDKafkaErrorCode::from) {
                    _ if !is_read => {}
                    None => partitions.extend(names(topic)),
                    Some(RDKafkaErrorCode::UnknownTopicOrPartition) if !must_exist => {}
                    Some(RDKafkaErrorCode::UnknownTopicOrPartition) => {
                        return Err(Error::Missing(topic.name().to_owned()));
                    }
                    Some(code) => return Err(failed(KafkaError::MetadataFetch(code))),
                }
            }
        }
        Ok(partitions)
    }

    /// Asks where the group is in each partition, and where that ends.
    fn places(&self, names: &[Name], found: &Committed) -> KafkaResult<HashMap<Name, Place>> {
        let (low, end) = (
            self.offsets(names, Offset::Beginning)?,
            self.offsets(names, Offset::End)?,
        );
        let times = match self.start {
            Start::Time(moment) => {
                let time_ms = moment.unix_ms(SystemTime::now());
                at_time(&self.client, &found.missing, time_ms, TIMEOUT)?
            }
            _ => HashMap::new(),
        };
        let mut places = HashMap::new();
        for (name, low) in low {
            // Asked after the beginning, so it is not before it.
            let end = end.get(&name).copied().unwrap_or(low);
            let beginning = || match self.start {
                Start::Earliest => low,
                // Nothing that is there is to be read; what comes later counts from the first commit on.
                Start::Latest => end,
                Start::Offset(offset) => offset,
                Start::Time(_) => times.get(&name).copied().unwrap_or(end),
            };
            let position = found.positions.get(&name).copied();
            let position = position.unwrap_or_else(beginning).max(low).min(end);
            places.insert(name, Place { position, end });
        }
        Ok(places)
    }

    /// Asks for the beginnings or the ends of all partitions at once. An end is that of committed records, where these
    /// are what the group reads.
    fn offsets(&self, names: &[Name], which: Offset) -> KafkaResult<HashMap<Name, i64>> {
        let question = list(names);
        for mut element in question.elements() {
            element.set_offset(which)?;
        }
        let answer = self.client.offsets_for_times(question, TIMEOUT)?;
        let mut offsets = HashMap::new();
        for element in answer.elements() {
            element.error()?;
            let Offset::Offset(offset) = element.offset() else {
                return Err(KafkaError::OffsetFetch(RDKafkaErrorCode::NoOffset));
            };
            offsets.insert((element.topic().to_owned(), element.partition()), offset);
        }
        Ok(offsets)
    }

    /// Keeps where partitions were found, and what is known of those that have not moved since.
    fn remember(&mut self, places: HashMap<Name, Place>) {
        for (name, place) in places {
            let before = self.seen.get(&name).filter(|seen| seen.place == place);
            let is_empty = before.and_then(|seen| seen.is_empty);
            self.seen.insert(name, Seen { place, is_empty });
        }
    }

    /// Keeps which partitions hold nothing more; returns what was counted for these.
    fn take_note(
        &mut self,
        topic: &str,
        places: &[(i32, i64)],
        empty: &BTreeSet<i32>,
        found: &Committed,
    ) -> u64 {
        let mut counted = 0;
        for (partition, _) in places {
            let name = (topic.to_owned(), *partition);
            let is_empty = empty.contains(partition);
            if let Some(seen) = self.seen.get_mut(&name) {
                seen.is_empty = Some(is_empty);
                if is_empty {
                    counted += left(seen.place, found.completed.get(&name));
                }
            }
        }
        counted
    }

    /// Returns those partitions of a topic that have no record from these positions on. Where a partition stands still, all
    /// that is left may be marks of transactions, which have offsets and are no records.
    fn empty(&self, topic: &str, places: &[(i32, i64)]) -> KafkaResult<BTreeSet<i32>> {
        let mut assignment = TopicPartitionList::new();
        for (partition, position) in places {
            assignment.add_partition_offset(topic, *partition, Offset::Offset(*position))?;
        }
        self.client.assign(&assignment)?;
        let deadline = Instant::now() + TIMEOUT;
        // What each partition told first: that it has ended, or a record.
        let mut told: BTreeMap<i32, bool> = BTreeMap::new();
        let mut trouble = KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut);
        while told.len() < places.len() && Instant::now() < deadline {
            match self.client.poll(POLL) {
                Some(Ok(message)) => {
                    told.entry(message.partition()).or_insert(false);
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    told.entry(partition).or_insert(true);
                }
                // The client goes on by itself; what lasts is told when the time is over.
                Some(Err(error)) => trouble = error,
                None => {}
            }
        }
        self.client.unassign()?;
        if told.len() < places.len() {
            return Err(trouble);
        }
        let empty = told.into_iter().filter(|(_, is_empty)| *is_empty);
        Ok(empty.map(|(partition, _)| partition).collect())
    }
}

/// Counts what lies between position and end and is not complete.
fn left(place: Place, completed: Option<&OffsetMap>) -> u64 {
    let complete: i64 = completed
        .into_iter()
        .flat_map(OffsetMap::runs)
        .map(|run| (run.end.min(place.end) - run.start.max(place.position)).max(0))
        .sum();
    let open = place.end - place.position - complete;
    u64::try_from(open).unwrap_or(0)
}

fn names(topic: &MetadataTopic) -> impl Iterator<Item = Name> {
    let partitions = topic.partitions().iter();
    partitions.map(|partition| (topic.name().to_owned(), partition.id()))
}

/// Says nothing of connections: the group's own consumer does.
struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        crate::telemetry::log_kafka(level, facility, message);
    }

    fn error(&self, _: KafkaError, _: &str) {}
}

impl ConsumerContext for Quiet {}
