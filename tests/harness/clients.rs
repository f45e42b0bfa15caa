//! Plain clients over librdkafka, as a test wants them: write these records, read all there are.
//!
//! They are handed a bootstrap address; each call makes its own client and ends when it is done.
//! **Invariant:** a call that returns `Ok` has seen every acknowledgement, or every record, it was asked for.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::record::TestRecord;

/// What one request or one silence may take.
const TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// Writes keys and values as fast as they are acknowledged; returns how many.
pub fn produce<K, V>(
    bootstrap: &str,
    topic: &str,
    records: impl IntoIterator<Item = (Option<K>, Option<V>)>,
) -> Result<u64>
where
    K: Into<Vec<u8>>,
    V: Into<Vec<u8>>,
{
    produce_records(bootstrap, topic, records.into_iter().map(TestRecord::from))
}

/// Writes whole records and waits for every acknowledgement; returns how many.
pub fn produce_records(
    bootstrap: &str,
    topic: &str,
    records: impl IntoIterator<Item = TestRecord>,
) -> Result<u64> {
    let producer = producer(bootstrap, None)?;
    send(&producer, topic, records)
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Readers of committed records see it.
    Commit,
    /// Only a gap in the offsets is left.
    Abort,
}

/// Writes records in one transaction, which then ends as asked.
pub fn produce_transaction(
    bootstrap: &str,
    topic: &str,
    records: impl IntoIterator<Item = TestRecord>,
    end: End,
) -> Result<u64> {
    let id = crate::kafka::unique("transaction");
    let producer = producer(bootstrap, Some(&id))?;
    let deadline = Instant::now() + TIMEOUT;
    // The coordinator of a fresh cluster needs a moment.
    while let Err(error) = producer.init_transactions(TIMEOUT) {
        if Instant::now() > deadline {
            return Err(error).context("cannot begin transactions");
        }
    }
    producer.begin_transaction()?;
    let sent = send(&producer, topic, records)?;
    match end {
        End::Commit => producer.commit_transaction(TIMEOUT)?,
        End::Abort => producer.abort_transaction(TIMEOUT)?,
    }
    Ok(sent)
}

/// Writes records in a transaction of this id, and goes away as a killed process would: Kafka has the records, and
/// the transaction is neither committed nor aborted.
pub fn leave_transaction_open(
    bootstrap: &str,
    id: &str,
    topic: &str,
    records: impl IntoIterator<Item = TestRecord>,
) -> Result<u64> {
    let producer = producer(bootstrap, Some(id))?;
    producer.init_transactions(TIMEOUT)?;
    producer.begin_transaction()?;
    send(&producer, topic, records)
}

/// Reads every partition from its beginning to the end that it has when the reading gets there.
pub fn consume_all(bootstrap: &str, topic: &str, read_committed: bool) -> Result<Vec<TestRecord>> {
    let partitions = partitions(bootstrap, topic)?;
    let consumer = reader(bootstrap, topic, &partitions, read_committed)?;
    let mut open: BTreeSet<i32> = partitions.into_iter().collect();
    let mut records = Vec::new();
    let mut deadline = Instant::now() + TIMEOUT;
    while !open.is_empty() {
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                records.push(TestRecord::read(&message));
                deadline = Instant::now() + TIMEOUT;
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                open.remove(&partition);
            }
            Some(Err(error)) if is_fatal(&error) => return Err(error.into()),
            _ if Instant::now() > deadline => bail!("{topic}: no end of {open:?} in {TIMEOUT:?}"),
            _ => {}
        }
    }
    Ok(records)
}

/// Reads from the beginning, waiting for the topic and for more, until there are `n` records; fewer in time is an error.
/// Records that come later are not waited for: compare with [`end_offsets`] or [`consume_all`] for these.
pub fn consume_until(
    bootstrap: &str,
    topic: &str,
    n: usize,
    timeout: Duration,
) -> Result<Vec<TestRecord>> {
    let deadline = Instant::now() + timeout;
    // A topic that is made by its first record may not be there yet.
    let partitions = loop {
        match partitions(bootstrap, topic) {
            Err(_) if Instant::now() < deadline => thread::sleep(POLL),
            found => break found?,
        }
    };
    let consumer = reader(bootstrap, topic, &partitions, true)?;
    let mut records = Vec::with_capacity(n);
    while records.len() < n {
        match consumer.poll(POLL) {
            Some(Ok(message)) => records.push(TestRecord::read(&message)),
            Some(Err(error)) if is_fatal(&error) => return Err(error.into()),
            _ if Instant::now() > deadline => {
                bail!("{topic}: {} of {n} records in {timeout:?}", records.len())
            }
            _ => {}
        }
    }
    Ok(records)
}

/// The committed positions of a group, of the partitions that have one, in order.
pub fn committed(bootstrap: &str, group: &str, topic: &str) -> Result<Vec<(i32, i64)>> {
    let found = committed_metadata(bootstrap, group, topic)?;
    Ok(found
        .into_iter()
        .map(|(partition, offset, _)| (partition, offset))
        .collect())
}

/// The committed positions of a group with the metadata of their commits: partition, offset, metadata.
pub fn committed_metadata(
    bootstrap: &str,
    group: &str,
    topic: &str,
) -> Result<Vec<(i32, i64, String)>> {
    let consumer = member(bootstrap, group)?;
    let mut wanted = TopicPartitionList::new();
    for partition in partitions(bootstrap, topic)? {
        wanted.add_partition(topic, partition);
    }
    let found = consumer.committed_offsets(wanted, TIMEOUT)?;
    let mut positions = Vec::new();
    for element in found.elements() {
        element.error()?;
        if let Offset::Offset(offset) = element.offset() {
            positions.push((element.partition(), offset, element.metadata().to_owned()));
        }
    }
    positions.sort_unstable();
    Ok(positions)
}

/// The strategy by which the members of a classic group share out its partitions; none where there is no such group.
pub fn assignor(bootstrap: &str, group: &str) -> Result<Option<String>> {
    let list = member(bootstrap, group)?.fetch_group_list(Some(group), TIMEOUT)?;
    let mut found = list.groups().iter();
    let stable = found.find(|found| found.name() == group && found.state() == "Stable");
    Ok(stable.map(|found| found.protocol().to_owned()))
}

/// How many members a classic group has, those that are about to join among them.
pub fn members(bootstrap: &str, group: &str) -> Result<usize> {
    let list = member(bootstrap, group)?.fetch_group_list(Some(group), TIMEOUT)?;
    let found = list.groups().iter().find(|found| found.name() == group);
    Ok(found.map_or(0, |found| found.members().len()))
}

/// How many members a classic group has to whom it gave partitions.
pub fn readers(bootstrap: &str, group: &str) -> Result<usize> {
    let list = member(bootstrap, group)?.fetch_group_list(Some(group), TIMEOUT)?;
    let found = list.groups().iter().find(|found| found.name() == group);
    // Behind two bytes of a version stands the number of topics, in four.
    let reads = |assignment: Option<&[u8]>| {
        assignment
            .and_then(|bytes| bytes.get(2..6))
            .is_some_and(|topics| topics != [0; 4])
    };
    Ok(found.map_or(0, |found| {
        let members = found.members().iter();
        members.filter(|member| reads(member.assignment())).count()
    }))
}

/// Commits an offset with metadata for a group that has no members.
pub fn commit_metadata(
    bootstrap: &str,
    group: &str,
    (topic, partition): (&str, i32),
    offset: i64,
    metadata: &str,
) -> Result<()> {
    let consumer = member(bootstrap, group)?;
    let mut offsets = TopicPartitionList::new();
    let mut element = offsets.add_partition(topic, partition);
    element.set_offset(Offset::Offset(offset))?;
    element.set_metadata(metadata);
    consumer.commit(&offsets, CommitMode::Sync)?;
    Ok(())
}

/// The end of each partition: the offset that the next record gets.
pub fn end_offsets(bootstrap: &str, topic: &str) -> Result<Vec<(i32, i64)>> {
    let consumer: BaseConsumer = client_config(bootstrap).create()?;
    partitions(bootstrap, topic)?
        .into_iter()
        .map(|partition| {
            let (_, end) = consumer.fetch_watermarks(topic, partition, TIMEOUT)?;
            Ok((partition, end))
        })
        .collect()
}

/// The partitions of a topic that have a leader, in order; an unknown topic is an error.
pub fn partitions(bootstrap: &str, topic: &str) -> Result<Vec<i32>> {
    let consumer: BaseConsumer = client_config(bootstrap).create()?;
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
    let found = metadata
        .topics()
        .first()
        .context("an answer without topics")?;
    if let Some(error) = found.error() {
        bail!("topic {topic}: {}", RDKafkaErrorCode::from(error));
    }
    let led = found
        .partitions()
        .iter()
        .filter(|partition| partition.leader() >= 0);
    let mut ids: Vec<i32> = led.map(rdkafka::metadata::MetadataPartition::id).collect();
    ids.sort_unstable();
    Ok(ids)
}

/// How many brokers answer for the cluster; asks once, for a second.
pub(crate) fn brokers(bootstrap: &str) -> Result<usize> {
    let consumer: BaseConsumer = client_config(bootstrap).create()?;
    let metadata = consumer.fetch_metadata(None, Duration::from_secs(1))?;
    Ok(metadata.brokers().len())
}

/// The replicas of the partition of a topic that has the fewest.
pub fn replicas(bootstrap: &str, topic: &str) -> Result<usize> {
    let consumer: BaseConsumer = client_config(bootstrap).create()?;
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
    let partitions = metadata.topics().iter().flat_map(|it| it.partitions());
    let fewest = partitions.map(|it| it.replicas().len()).min();
    fewest.with_context(|| format!("topic {topic} has no partitions"))
}

/// Whether so many brokers answer for the cluster, and every partition has a leader and all of its replicas in sync.
pub(crate) fn are_in_sync(bootstrap: &str, brokers: usize) -> Result<bool> {
    let consumer: BaseConsumer = client_config(bootstrap).create()?;
    let metadata = consumer.fetch_metadata(None, Duration::from_secs(2))?;
    let mut partitions = metadata
        .topics()
        .iter()
        .flat_map(|topic| topic.partitions());
    let complete = partitions.all(|partition| {
        partition.leader() >= 0 && partition.isr().len() == partition.replicas().len()
    });
    Ok(complete && metadata.brokers().len() == brokers)
}

fn client_config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        // A group name is required also where no group is joined.
        .set("group.id", "harness")
        .set("allow.auto.create.topics", "false")
        // Brokers go down in these tests; the clients report what matters by their results.
        .set("log_level", "2")
        .set("reconnect.backoff.ms", "20")
        .set("reconnect.backoff.max.ms", "200");
    config
}

/// A client that speaks for a group without joining it.
fn member(bootstrap: &str, group: &str) -> Result<BaseConsumer> {
    let mut config = client_config(bootstrap);
    Ok(config.set("group.id", group).create()?)
}

fn reader(
    bootstrap: &str,
    topic: &str,
    partitions: &[i32],
    read_committed: bool,
) -> Result<BaseConsumer> {
    let isolation = if read_committed {
        "read_committed"
    } else {
        "read_uncommitted"
    };
    let mut config = client_config(bootstrap);
    let consumer: BaseConsumer = config
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error")
        .set("isolation.level", isolation)
        .set("fetch.wait.max.ms", "50")
        .create()?;
    let mut assignment = TopicPartitionList::new();
    for partition in partitions {
        assignment.add_partition_offset(topic, *partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    Ok(consumer)
}

/// Whether reading on is of no use. While a broker is away, librdkafka tells and tries again by itself.
fn is_fatal(error: &KafkaError) -> bool {
    !matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::PartitionEOF
        )
    ) && !matches!(error, KafkaError::PartitionEOF(_))
}

fn producer(bootstrap: &str, transactional_id: Option<&str>) -> Result<BaseProducer<Reports>> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("log_level", "2")
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "5")
        .set("batch.num.messages", "10000")
        .set("queue.buffering.max.messages", "200000")
        .set("reconnect.backoff.max.ms", "200");
    if let Some(id) = transactional_id {
        config.set("transactional.id", id);
    }
    Ok(config.create_with_context(Reports::default())?)
}

/// Counts the acknowledgements and keeps the first refusal.
#[derive(Debug, Default)]
struct Reports {
    acknowledged: AtomicU64,
    refusal: OnceLock<KafkaError>,
}

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => drop(self.refusal.set(error.clone())),
        }
    }
}

fn send(
    producer: &BaseProducer<Reports>,
    topic: &str,
    records: impl IntoIterator<Item = TestRecord>,
) -> Result<u64> {
    let before = producer.context().acknowledged.load(Ordering::Relaxed);
    let mut sent = 0;
    for record in records {
        let mut next: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic);
        next.key = record.key.as_deref();
        next.payload = record.value.as_deref();
        next.partition = record.partition;
        next.timestamp = record.timestamp_ms;
        next.headers = record.headers.as_ref().map(|headers| {
            headers
                .iter()
                .fold(OwnedHeaders::new(), |all, (key, value)| {
                    let value = value.as_deref();
                    all.insert(Header { key, value })
                })
        });
        // A full queue empties while reports are taken.
        while let Err((error, back)) = producer.send(next) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(error).with_context(|| format!("cannot send to {topic}"));
            }
            producer.poll(POLL);
            next = back;
        }
        sent += 1;
        if sent % 1000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(TIMEOUT)?;
    if let Some(error) = producer.context().refusal.get() {
        bail!("{topic}: a record was refused: {error}");
    }
    let acknowledged = producer.context().acknowledged.load(Ordering::Relaxed) - before;
    if acknowledged != sent {
        bail!("{topic}: {acknowledged} of {sent} records were acknowledged");
    }
    Ok(sent)
}
