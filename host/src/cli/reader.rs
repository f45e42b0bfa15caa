//! A reader of one topic without a consumer group.
//!
//! It is handed what to read, waits for the topic, and hands records on until there is a reason to end.
//! **Invariant:** it joins no group and commits nothing; librdkafka's queue bounds its memory.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::Offset;
use tokio::time::Instant;

use super::connect::{Lookup, Troubles, explain_config, look_up};
use super::console::Console;
use super::consume::{ConsumeArgs, Start};

/// A broker that does not answer is asked again after this time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a topic that does not exist is looked for.
const LOOK_UP_PERIOD: Duration = Duration::from_millis(300);
/// How long the leader of a partition gets to name the partition's offsets.
const OFFSETS_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest sleep between two looks at the clock.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// How long to look for what the client has to say about its connections.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(20);

/// Keeps the reader silent towards groups and its memory small.
const DEFAULTS: &[(&str, &str)] = &[
    // Librdkafka assigns partitions only to a client with a group's name. The group is never joined.
    ("group.id", "kafka-wasm-host.consume"),
    ("auto.offset.reset", "earliest"),
    ("queued.max.messages.kbytes", "16384"),
    // The default of a second makes a reader wait that is faster than the broker.
    ("fetch.queue.backoff.ms", "5"),
];
const FIXED: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
];

/// Why reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The wanted number of records, the end of the topic, or what the caller looks for was reached.
    Done,
    /// No record came in time.
    TimedOut,
    /// The topic did not appear in time.
    NoTopic,
}

impl ConsumerContext for Troubles {}

/// What a [`Reader`] hands on.
pub(crate) enum Event<'m> {
    /// A record that was asked for.
    Record(&'m BorrowedMessage<'m>),
    /// Nothing is waiting to be read.
    Idle,
}

/// Reads the partitions of one topic.
pub(crate) struct Reader<'a> {
    args: &'a ConsumeArgs,
    consumer: BaseConsumer<Troubles>,
    console: &'a Console,
    got: u64,
    idle_since: Instant,
    /// With `--until-end`, where each partition ended at the start.
    ends: Option<BTreeMap<i32, i64>>,
    /// Partitions whose end was not reached yet.
    pending: BTreeSet<i32>,
}

impl<'a> Reader<'a> {
    /// Configures a reader; nothing is sent yet.
    pub(crate) fn connect(args: &'a ConsumeArgs, console: &'a Console) -> anyhow::Result<Self> {
        let config = args.connect.config(DEFAULTS, FIXED)?;
        let consumer = config
            .create_with_context(Troubles::default())
            .map_err(explain_config)?;
        let idle_since = Instant::now();
        Ok(Self {
            args,
            consumer,
            console,
            got: 0,
            idle_since,
            ends: None,
            pending: BTreeSet::new(),
        })
    }

    /// Hands on events until there is a reason to end, one of which is that `take` has had enough.
    pub(crate) fn run(
        &mut self,
        mut take: impl FnMut(Event<'_>) -> anyhow::Result<ControlFlow<()>>,
    ) -> anyhow::Result<Ended> {
        let Some(partitions) = self.await_topic()? else {
            return Ok(Ended::NoTopic);
        };
        self.assign(partitions)?;
        // Finding the topic is not waiting for a record.
        self.idle_since = Instant::now();
        let mut told = String::new();
        let mut patience = Duration::ZERO;
        while !self.is_done() {
            let Some(event) = self.consumer.poll(patience) else {
                // Let what there is be shown before going to sleep.
                if take(Event::Idle)?.is_break() {
                    return Ok(Ended::Done);
                }
                patience = match self.idle_left() {
                    Some(Duration::ZERO) => return Ok(Ended::TimedOut),
                    left => left.map_or(POLL_TIMEOUT, |left| left.min(POLL_TIMEOUT)),
                };
                continue;
            };
            patience = Duration::ZERO;
            match event {
                Ok(message) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    let wanted = self.is_wanted(partition, offset);
                    if wanted && take(Event::Record(&message))?.is_break() {
                        return Ok(Ended::Done);
                    }
                    drop(message);
                    self.advance(partition, offset, wanted);
                }
                Err(KafkaError::PartitionEOF(partition)) => {
                    self.pending.remove(&partition);
                }
                Err(error) => self.report(&error, &mut told)?,
            }
        }
        Ok(Ended::Done)
    }

    /// Returns how many records were handed on.
    pub(crate) fn got(&self) -> u64 {
        self.got
    }

    /// Leaves out what lies before the start, and behind the end where there is one.
    fn is_wanted(&self, partition: i32, offset: i64) -> bool {
        let starts = !matches!(self.args.from, Start::Offset(first) if offset < first);
        let end = self.ends.as_ref().and_then(|ends| ends.get(&partition));
        starts && end.is_none_or(|&end| offset < end)
    }

    fn is_done(&self) -> bool {
        let all_there = self.args.count.is_some_and(|count| self.got >= count);
        all_there || (self.ends.is_some() && self.pending.is_empty())
    }

    fn advance(&mut self, partition: i32, offset: i64, printed: bool) {
        self.idle_since = Instant::now();
        self.got += u64::from(printed);
        let end = self.ends.as_ref().and_then(|ends| ends.get(&partition));
        if end.is_some_and(|&end| offset + 1 >= end) {
            self.pending.remove(&partition);
        }
    }

    /// Returns what is left of the timeout, `None` without one.
    fn idle_left(&self) -> Option<Duration> {
        self.args
            .timeout
            .map(|timeout| timeout.saturating_sub(self.idle_since.elapsed()))
    }

    /// Tells what went wrong, once in a row; fails where waiting does not help.
    fn report(&self, error: &KafkaError, told: &mut String) -> anyhow::Result<()> {
        use RDKafkaErrorCode as Code;
        let code = error.rdkafka_error_code();
        match code {
            // The group is not used.
            Some(
                Code::GroupAuthorizationFailed
                | Code::CoordinatorNotAvailable
                | Code::NotCoordinator,
            ) => {
                return Ok(());
            }
            Some(Code::TopicAuthorizationFailed) => {
                bail!(
                    "the brokers do not let this user read topic {}: grant it Read",
                    self.args.topic
                )
            }
            _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => {
                return Err(anyhow!(error.clone()).context("reading ended for good"));
            }
            _ => {}
        }
        let text = code.map_or_else(|| error.to_string(), |code| code.to_string());
        if *told != text {
            self.console.say(&format!(
                "{text}, still trying{}",
                self.consumer.context().suffix()
            ));
            *told = text;
        }
        Ok(())
    }

    /// Waits for the topic; returns its number of partitions, or nothing when time is up.
    fn await_topic(&self) -> anyhow::Result<Option<i32>> {
        let (topic, brokers) = (self.args.topic.as_str(), &self.args.connect.brokers);
        let mut told = None;
        loop {
            let left = self.idle_left().unwrap_or(ANSWER_TIMEOUT);
            // A timeout of zero still gets one answer from a broker that is there.
            let patience = left.clamp(Duration::from_millis(200), ANSWER_TIMEOUT);
            let lookup = look_up(self.consumer.client(), topic, patience)?;
            if let Lookup::Found(partitions) = lookup {
                return Ok(Some(partitions));
            }
            // Connection errors wait in a queue, behind log lines that each end a poll of no duration.
            while self.consumer.poll(DRAIN_TIMEOUT).is_some() {}
            if self.idle_left() == Some(Duration::ZERO) {
                if lookup == Lookup::NoAnswer {
                    let timeout = self.args.timeout.unwrap_or_default();
                    return Err(self.consumer.context().no_answer(brokers, timeout));
                }
                return Ok(None);
            }
            if told != Some(lookup) {
                self.console.say(&match lookup {
                    Lookup::NoAnswer => self.consumer.context().no_answer_yet(brokers),
                    _ => format!("topic {topic} does not exist yet, waiting for it"),
                });
                told = Some(lookup);
            }
            thread::sleep(LOOK_UP_PERIOD.min(self.idle_left().unwrap_or(LOOK_UP_PERIOD)));
        }
    }

    /// Takes the partitions, each from where it shall start.
    fn assign(&mut self, partitions: i32) -> anyhow::Result<()> {
        let topic = self.args.topic.as_str();
        let wanted = match self.args.partition {
            Some(partition) if partition >= partitions => {
                bail!(
                    "{topic} has no partition {partition}, only 0 to {}",
                    partitions - 1
                )
            }
            Some(partition) => partition..partition + 1,
            None => 0..partitions,
        };
        let needs_offsets = self.args.until_end || self.args.from != Start::Beginning;
        let mut list = TopicPartitionList::new();
        let mut ends = BTreeMap::new();
        for partition in wanted {
            let mut start = Offset::Beginning;
            if needs_offsets {
                let (low, high) = self
                    .consumer
                    .fetch_watermarks(topic, partition, OFFSETS_TIMEOUT)
                    .with_context(|| {
                        format!("cannot ask where partition {partition} of {topic} ends")
                    })?;
                let first = self.first_offset(partition, low, high);
                if first < high {
                    self.pending.insert(partition);
                }
                ends.insert(partition, high);
                start = Offset::Offset(first);
            }
            list.add_partition_offset(topic, partition, start)?;
        }
        if self.args.until_end {
            self.ends = Some(ends);
        }
        if self.args.from == Start::End {
            self.console
                .say(&format!("waiting for new records of {topic}"));
        }
        self.consumer
            .assign(&list)
            .with_context(|| format!("cannot read {topic}"))
    }

    /// Returns the offset to start at, given the oldest record's and the one behind the newest.
    fn first_offset(&self, partition: i32, low: i64, high: i64) -> i64 {
        match self.args.from {
            Start::Beginning => low,
            Start::End => high,
            Start::Offset(offset) if offset > high => {
                self.console.say(&format!(
                    "partition {partition} ends at offset {high}, waiting for {offset}"
                ));
                high
            }
            Start::Offset(offset) => offset.max(low),
        }
    }
}
