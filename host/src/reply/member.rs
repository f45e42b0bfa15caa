//! Reads the topics of responses as a member of a group, so that each response is read by one host of it; hands on what
//! belongs to another one.
//!
//! Owns a consumer, its thread, and the responses that the store has not taken yet.
//! **Invariant:** a topic counts as read only when each of its partitions has a committed position, from which the response
//! to a request that is written afterwards is read by some member; a position is committed only when all before it is
//! handed on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::reader::{
    LOOK_AGAIN, LOOK_EVERY, POLL, QUEUE, QUEUE_KIB, Reader, Shared, TIMEOUT, id_of, owned,
};
use super::{Link, OpenError, Response};
use crate::groupless::{OF_MEMBERS, Troubles, partitions};
use crate::ids::TopicName;
use crate::pending::CorrelationId;
use crate::response::KeyForm;
use crate::topic_settings::client_config;

/// With so many bytes of responses to hand on no more are read.
const HELD_BYTES_MAX: usize = 4 << 20;
/// What one costs beside its key, value and headers.
const RESPONSE_BYTES: usize = 256;
/// How many are handed on at once, and with how many bytes no further one; a single one may be larger.
const BATCH_MAX: usize = 256;
const BATCH_BYTES: usize = 256 << 10;
/// How long a host may be silent until others read in its place, in milliseconds; librdkafka's 45 s are a long wait for
/// who asked.
const SESSION_TIMEOUT: (&str, &str) = ("session.timeout.ms", "10000");
/// How often positions are committed, in milliseconds.
const COMMIT_INTERVAL: (&str, &str) = ("auto.commit.interval.ms", "1000");

/// Starts a member of this group, with librdkafka's keys of a consumer in `kafka`. To be called within the async runtime.
pub(super) fn start(
    kafka: &BTreeMap<String, String>,
    group: &str,
    link: Arc<Link>,
) -> Result<Reader, OpenError> {
    let mut config = client_config(kafka, |_| true);
    // They are meant for the group of the handler.
    for key in OF_MEMBERS {
        config.remove(key);
    }
    for (key, value) in [(QUEUE, QUEUE_KIB), SESSION_TIMEOUT, COMMIT_INTERVAL] {
        if config.get(key).is_none() {
            config.set(key, value);
        }
    }
    let strategy = match link.form() {
        KeyForm::Tenant => "cooperative-sticky",
        // What Python's clients take by default: all members of a group have to know one strategy.
        KeyForm::Compat => "range,roundrobin",
    };
    config
        .set("group.id", group)
        .set("partition.assignment.strategy", strategy)
        .set("enable.auto.commit", "true")
        .set("enable.auto.offset.store", "false")
        // Only until the partition has a position, which it gets here.
        .set("auto.offset.reset", "latest");
    let consumer = config
        .create_with_context(Troubles::default())
        .map_err(OpenError::Settings)?;
    let runtime = Handle::current();
    Reader::spawn(|shared| {
        let task = Task {
            consumer,
            shared,
            link,
            runtime,
            subscribed: BTreeSet::new(),
            begun: BTreeMap::new(),
            look_at: Instant::now(),
            held: VecDeque::new(),
            held_bytes: 0,
            passed: BTreeMap::new(),
        };
        move || task.run()
    })
}

/// The thread.
struct Task {
    consumer: BaseConsumer<Troubles>,
    shared: Arc<Shared>,
    link: Arc<Link>,
    runtime: Handle,
    subscribed: BTreeSet<TopicName>,
    /// How many partitions of each topic were there when it was first read, and how many have a position.
    begun: BTreeMap<TopicName, (i32, i32)>,
    look_at: Instant,
    /// Responses to requests of other hosts, the oldest first.
    held: VecDeque<(CorrelationId, Response)>,
    held_bytes: usize,
    /// The last record of each partition that was read and whose position is not stored yet.
    passed: BTreeMap<(String, i32), i64>,
}

/// A record that was read.
struct Read {
    topic: String,
    partition: i32,
    offset: i64,
    /// A response to hand on.
    foreign: Option<(CorrelationId, Response)>,
}

impl Task {
    fn run(mut self) {
        // While there is more to read, or nothing is held, reading goes on; what is held goes on together.
        let mut wait = POLL;
        while !self.shared.is_stopping() {
            if self.shared.takes_news() || Instant::now() >= self.look_at {
                self.look();
            }
            if self.held_bytes >= HELD_BYTES_MAX {
                // Heartbeats go on meanwhile; only after minutes the group gives the partitions to others.
                std::thread::sleep(wait);
                wait = self.hand_on();
                continue;
            }
            let read = match self.consumer.poll(wait) {
                Some(Ok(message)) => Some(read(&self.link, &message)),
                Some(Err(error)) => {
                    self.consumer.context().note(error.to_string());
                    None
                }
                None => None,
            };
            let is_more = read.is_some();
            if let Some(read) = read {
                self.take(read);
            }
            wait = if self.held.is_empty() {
                POLL
            } else if is_more && self.held.len() < BATCH_MAX {
                Duration::ZERO
            } else {
                self.hand_on()
            };
        }
        self.hand_on();
        // What is stored is committed when the consumer is closed, which leaves the group.
    }

    fn take(&mut self, read: Read) {
        if let Some((id, response)) = read.foreign {
            self.held_bytes += weight(&response);
            self.held.push_back((id, response));
            self.link.holds(self.held.len());
        }
        self.passed
            .insert((read.topic, read.partition), read.offset);
        self.store_positions();
    }

    /// Hands on what is held, as far as the store takes it; returns how long the next poll may last.
    fn hand_on(&mut self) -> Duration {
        while !self.held.is_empty() {
            let n = batch(self.held.iter().map(|(_, response)| response.size_bytes()));
            let batch = self.held.iter().take(n);
            if self.runtime.block_on(self.link.hand_on(batch)).is_err() {
                break;
            }
            for (_, response) in self.held.drain(..n) {
                self.held_bytes = self.held_bytes.saturating_sub(weight(&response));
            }
        }
        self.link.holds(self.held.len());
        self.store_positions();
        POLL
    }

    /// Has the positions committed of what was read, once nothing of it is held.
    fn store_positions(&mut self) {
        if !self.held.is_empty() {
            return;
        }
        for ((topic, partition), offset) in std::mem::take(&mut self.passed) {
            // It fails where the partition is another one's by now, who reads it again.
            let _ = self.consumer.store_offset(&topic, partition, offset);
        }
    }

    /// Looks for the topics, joins for those that are there, and gives each partition a position that has none.
    fn look(&mut self) {
        let mut is_complete = true;
        let mut there = BTreeMap::new();
        for topic in self.shared.wanted() {
            match partitions(&self.consumer, &topic, TIMEOUT) {
                Ok(0) => {
                    is_complete = false;
                    // Should it come back, its partitions may be others that have no position.
                    self.begun.remove(&topic);
                    self.shared.tell(&topic, false);
                }
                Ok(n) => {
                    there.insert(topic, n);
                }
                Err(why) => {
                    is_complete = false;
                    self.trouble(why);
                }
            }
        }
        let result = self.subscribe(&there).and_then(|()| self.begin(&there));
        match result {
            Ok(has_all) => is_complete &= has_all,
            Err(error) => {
                is_complete = false;
                self.trouble(error.to_string());
            }
        }
        if is_complete {
            self.shared.set_trouble(None);
        }
        let wait = if is_complete { LOOK_EVERY } else { LOOK_AGAIN };
        self.look_at = Instant::now() + wait;
    }

    fn trouble(&self, why: String) {
        let why = self.consumer.context().take().unwrap_or(why);
        self.shared.set_trouble(Some(why));
    }

    /// Joins the group for these topics as well.
    fn subscribe(&mut self, there: &BTreeMap<TopicName, i32>) -> KafkaResult<()> {
        let topics: BTreeSet<TopicName> = there.keys().chain(&self.subscribed).cloned().collect();
        if topics == self.subscribed {
            return Ok(());
        }
        let names: Vec<&str> = topics.iter().map(TopicName::as_str).collect();
        self.consumer.subscribe(&names)?;
        self.subscribed = topics;
        Ok(())
    }

    /// Gives the partitions of this host a position that have none; returns whether all partitions have one now.
    fn begin(&mut self, there: &BTreeMap<TopicName, i32>) -> KafkaResult<bool> {
        let mut has_all = true;
        for (topic, n) in there {
            let (first, known) = self.begun.get(topic).copied().unwrap_or((*n, 0));
            if known >= *n {
                continue;
            }
            let mut open = self.without_position(topic, *n)?;
            let assigned = self.consumer.assignment()?;
            for partition in std::mem::take(&mut open) {
                let is_own = assigned.find_partition(topic.as_str(), partition).is_some();
                if is_own {
                    self.begin_partition(topic, partition, partition >= first)?;
                } else {
                    open.push(partition);
                }
            }
            if open.is_empty() {
                self.begun.insert(topic.clone(), (first, *n));
                self.shared.tell(topic, true);
            } else {
                // What is added from now on is new.
                self.begun.insert(topic.clone(), (first, known));
                has_all = false;
            }
        }
        Ok(has_all)
    }

    /// Lists the partitions that the group has no committed position of.
    fn without_position(&self, topic: &TopicName, n: i32) -> KafkaResult<Vec<i32>> {
        let mut list = TopicPartitionList::new();
        for partition in 0..n {
            list.add_partition(topic.as_str(), partition);
        }
        let committed = self.consumer.committed_offsets(list, TIMEOUT)?;
        let elements = committed.elements();
        let without = elements
            .iter()
            .filter(|element| !matches!(element.offset(), Offset::Offset(_)));
        Ok(without
            .map(rdkafka::topic_partition_list::TopicPartitionListElem::partition)
            .collect())
    }

    /// Reads a partition from where it ends now, or from its beginning where it was added while requests may wait.
    fn begin_partition(&self, topic: &TopicName, partition: i32, is_new: bool) -> KafkaResult<()> {
        let topic = topic.as_str();
        let (low, high) = self.consumer.fetch_watermarks(topic, partition, TIMEOUT)?;
        let position = Offset::Offset(if is_new { low } else { high });
        self.consumer.seek(topic, partition, position, TIMEOUT)?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, position)?;
        // Refused where the partition has moved on meanwhile: who has it now does the same.
        self.consumer.commit(&list, CommitMode::Sync)
    }
}

fn weight(response: &Response) -> usize {
    response.size_bytes() + RESPONSE_BYTES
}

/// Returns how many responses of these sizes are handed on together: at least one.
fn batch(sizes: impl Iterator<Item = usize>) -> usize {
    let before = sizes.scan(0usize, |sum, size| {
        let before = *sum;
        *sum = sum.saturating_add(size);
        Some(before)
    });
    before
        .take(BATCH_MAX)
        .take_while(|before| *before < BATCH_BYTES)
        .count()
}

/// Hands a response to whoever waits for it here, or copies it to hand it on.
fn read(link: &Link, message: &BorrowedMessage<'_>) -> Read {
    let place = (message.topic(), message.payload());
    let foreign = id_of(message).and_then(|id| {
        let is_own = link.read(id, place, || owned(message));
        (!is_own).then(|| (id, owned(message)))
    });
    Read {
        topic: message.topic().to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        foreign,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_so_many_responses_and_one_of_any_size() {
        assert_eq!(batch([BATCH_BYTES * 9, 1].into_iter()), 1);
        assert_eq!(batch([1, BATCH_BYTES * 9, 1].into_iter()), 2);
        assert_eq!(batch(std::iter::repeat_n(1, BATCH_MAX + 1)), BATCH_MAX);
        assert_eq!(batch([0; 3].into_iter()), 3);
    }
}
