//! Where reading begins in partitions of which the group has committed nothing, and where it begins again after a
//! transaction was aborted.
//!
//! Handed the partitions of an assignment without a committed position, asks Kafka for their offsets. What Kafka did
//! not answer in time is held: the consumer's thread asks again, and the partition's task takes nothing before.
//! **Invariant:** no record is taken from a partition whose beginning is not known.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::watch;

use super::committed::{Committed, committed};
use crate::offset_map::OffsetMap;
use crate::policy::Start;

/// How long an assignment waits for one answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long the consumer's thread waits for one answer when it asks again.
const AGAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Topic and partition.
type Name = (String, i32);

/// Tells the task of a held partition that it may begin.
pub(super) type Held = watch::Receiver<Option<Begun>>;

/// What was found where reading begins.
#[derive(Debug)]
pub(super) struct Begun {
    /// What earlier owners completed beyond the committed offset.
    pub(super) completed: Option<Arc<OffsetMap>>,
    /// The offset, where it is known.
    pub(super) position: Option<i64>,
}

#[derive(Debug)]
struct Waiting {
    begin: watch::Sender<Option<Begun>>,
    /// Where the partition was begun the first time, should nothing be committed.
    first_taken: Option<i64>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Beginning {
    group: String,
    start: Start,
    held: Mutex<HashMap<Name, Waiting>>,
}

impl Beginning {
    pub(super) fn new(group: String, start: Start) -> Self {
        Self {
            group,
            start,
            held: Mutex::default(),
        }
    }

    /// Sets the offsets of those partitions of an assignment that have no committed position. Returns those that are
    /// to be held, because Kafka did not answer.
    pub(super) fn set<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        committed: Option<&Committed>,
        partitions: &TopicPartitionList,
    ) -> HashMap<Name, Held> {
        let found = match committed {
            Some(committed) => self.offsets(consumer, &committed.missing, TIMEOUT),
            None => Err("the committed positions are not known".to_owned()),
        };
        match found {
            Ok(offsets) => {
                set(partitions, &offsets);
                self.commit(consumer, &offsets);
                HashMap::new()
            }
            Err(why) => {
                let all = names(partitions);
                let held = committed.map_or(all, |committed| committed.missing.clone());
                tracing::error!(
                    group = self.group,
                    start = %self.start,
                    partitions = held.len(),
                    why,
                    "kafka does not say where reading begins; nothing is read until it does"
                );
                held.into_iter()
                    .map(|name| (name.clone(), self.hold(name, None)))
                    .collect()
            }
        }
    }

    /// Asks again for what is held; called now and then.
    pub(super) fn ask_again<C: ConsumerContext>(&self, consumer: &BaseConsumer<C>) {
        let held: Vec<Name> = self.held.lock().keys().cloned().collect();
        if held.is_empty() {
            return;
        }
        match self.place(consumer, &held) {
            Ok(mut found) => {
                tracing::info!(
                    group = self.group,
                    partitions = held.len(),
                    "kafka says where reading begins"
                );
                let mut all = self.held.lock();
                for name in &held {
                    let begun = Begun {
                        completed: found.completed.remove(name).map(Arc::new),
                        position: found.positions.remove(name),
                    };
                    if let Some(waiting) = all.remove(name) {
                        let _ = waiting.begin.send(Some(begun));
                    }
                }
            }
            Err(why) => tracing::warn!(
                group = self.group,
                why,
                "kafka still does not say where reading begins"
            ),
        }
    }

    /// Forgets partitions that were revoked.
    pub(super) fn forget(&self, partitions: &[Name]) {
        let mut held = self.held.lock();
        for name in partitions {
            held.remove(name);
        }
    }

    /// Holds a partition back until [`Self::ask_again`] has had an answer. It then begins where the group has committed,
    /// or else at `first_taken`.
    pub(super) fn hold(&self, name: Name, first_taken: Option<i64>) -> Held {
        let (begin, held) = watch::channel(None);
        let waiting = Waiting { begin, first_taken };
        self.held.lock().insert(name, waiting);
        held
    }

    /// Moves held partitions, which librdkafka reads from somewhere meanwhile, to where they begin. What was fetched
    /// before is outdated then, and librdkafka does not hand it out. Returns where that is, and what earlier owners
    /// completed.
    fn place<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        held: &[Name],
    ) -> Result<Committed, String> {
        let mut committed = committed(consumer, &self.group, &list(held), AGAIN_TIMEOUT)
            .map_err(|error| error.to_string())?;
        for (name, waiting) in &*self.held.lock() {
            if let Some(offset) = waiting.first_taken {
                committed.positions.entry(name.clone()).or_insert(offset);
                committed.missing.retain(|missing| missing != name);
            }
        }
        let begun = self.offsets(consumer, &committed.missing, AGAIN_TIMEOUT)?;
        let mut offsets = begun.clone();
        offsets.extend(std::mem::take(&mut committed.positions));
        // Where nothing was taken and nothing is committed, librdkafka goes on from where it is.
        let known: Vec<Name> = held
            .iter()
            .filter(|name| offsets.contains_key(*name))
            .cloned()
            .collect();
        if known.is_empty() {
            return Ok(committed);
        }
        let wanted = list(&known);
        set(&wanted, &offsets);
        let moved = consumer
            .seek_partitions(wanted, AGAIN_TIMEOUT)
            .map_err(|error| error.to_string())?;
        for element in moved.elements() {
            element.error().map_err(|error| error.to_string())?;
        }
        self.commit(consumer, &begun);
        committed.positions = offsets;
        Ok(committed)
    }

    /// Commits where reading begins. Should the host die before a record is settled, the next one would else begin where
    /// `start` is by then, behind the records that this one took.
    fn commit<C: ConsumerContext>(&self, consumer: &BaseConsumer<C>, begun: &HashMap<Name, i64>) {
        if begun.is_empty() {
            return;
        }
        let mut positions = TopicPartitionList::with_capacity(begun.len());
        for ((topic, partition), offset) in begun {
            let offset = Offset::Offset(*offset);
            // Fails only for what is no offset.
            let _ = positions.add_partition_offset(topic, *partition, offset);
        }
        if let Err(error) = consumer.commit(&positions, CommitMode::Async) {
            tracing::warn!(group = self.group, %error, "where reading begins is not committed");
        }
    }

    /// Asks Kafka for the offset at which each partition begins.
    fn offsets<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        names: &[Name],
        timeout: Duration,
    ) -> Result<HashMap<Name, i64>, String> {
        if names.is_empty() {
            return Ok(HashMap::new());
        }
        let offsets = match self.start {
            // librdkafka does this by itself, and would do the same after a crash.
            Start::Earliest => return Ok(HashMap::new()),
            Start::Latest => ends(consumer, names, timeout),
            Start::Time(moment) => {
                let time_ms = moment.unix_ms(SystemTime::now());
                at_time(consumer, names, time_ms, timeout)
            }
            Start::Offset(offset) => self.at_offset(consumer, names, offset, timeout),
        };
        let offsets = offsets.map_err(|error| error.to_string())?;
        for ((topic, partition), offset) in &offsets {
            tracing::info!(
                group = self.group,
                topic,
                partition,
                offset,
                start = %self.start,
                "no committed position; reading begins here"
            );
        }
        Ok(offsets)
    }

    fn at_offset<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        names: &[Name],
        wanted: i64,
        timeout: Duration,
    ) -> KafkaResult<HashMap<Name, i64>> {
        let mut offsets = HashMap::new();
        for (topic, partition) in names {
            let (low, high) = consumer.fetch_watermarks(topic, *partition, timeout)?;
            let offset = wanted.max(low).min(high);
            if offset != wanted {
                tracing::warn!(
                    group = self.group,
                    topic,
                    partition,
                    wanted,
                    low,
                    high,
                    "the partition does not have the offset that `start` names; the nearest one is taken"
                );
            }
            offsets.insert((topic.clone(), *partition), offset);
        }
        Ok(offsets)
    }
}

fn ends<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    names: &[Name],
    timeout: Duration,
) -> KafkaResult<HashMap<Name, i64>> {
    let end = |name: &Name| {
        let (_, end) = consumer.fetch_watermarks(&name.0, name.1, timeout)?;
        Ok((name.clone(), end))
    };
    names.iter().map(end).collect()
}

/// Returns the offset of the first record that is not older, or of the end.
pub(super) fn at_time<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    names: &[Name],
    time_ms: i64,
    timeout: Duration,
) -> KafkaResult<HashMap<Name, i64>> {
    let mut offsets = not_before(consumer, names, time_ms, timeout)?;
    let late: Vec<Name> = names
        .iter()
        .filter(|name| !offsets.contains_key(*name))
        .cloned()
        .collect();
    let mut ends = ends(consumer, &late, timeout)?;
    if !late.is_empty() {
        // Asked once more, so that no record is missed that came between the two answers.
        ends.extend(not_before(consumer, &late, time_ms, timeout)?);
    }
    offsets.extend(ends);
    Ok(offsets)
}

/// Returns the offset of the first record that is not older, of the partitions that have one.
fn not_before<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    names: &[Name],
    time_ms: i64,
    timeout: Duration,
) -> KafkaResult<HashMap<Name, i64>> {
    let question = list(names);
    for mut element in question.elements() {
        // Kafka means something else by negative times.
        element.set_offset(Offset::Offset(time_ms.max(0)))?;
    }
    let answer = consumer.offsets_for_times(question, timeout)?;
    let mut offsets = HashMap::new();
    for element in answer.elements() {
        element.error()?;
        if let Offset::Offset(offset) = element.offset() {
            let name = (element.topic().to_owned(), element.partition());
            offsets.insert(name, offset);
        }
    }
    Ok(offsets)
}

/// Writes the offsets into librdkafka's own list.
fn set(partitions: &TopicPartitionList, offsets: &HashMap<Name, i64>) {
    for mut element in partitions.elements() {
        let name = (element.topic().to_owned(), element.partition());
        if let Some(offset) = offsets.get(&name) {
            // Fails only for what is no offset.
            let _ = element.set_offset(Offset::Offset(*offset));
        }
    }
}

pub(super) fn list(names: &[Name]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(names.len());
    for (topic, partition) in names {
        list.add_partition(topic, *partition);
    }
    list
}

fn names(list: &TopicPartitionList) -> Vec<Name> {
    let elements = list.elements();
    let name = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
        (element.topic().to_owned(), element.partition())
    };
    elements.iter().map(name).collect()
}

#[cfg(test)]
mod tests;
