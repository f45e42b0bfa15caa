//! A producer for one topic whose records come from numbered lines.
//!
//! It is handed records, gives them to librdkafka and turns the delivery reports into counts and notes.
//! **Invariant:** a record that Kafka did not acknowledge is counted as failed; memory is bounded by librdkafka's queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::bail;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message;
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer,
};
use tokio::time::Instant;

use super::connect::{ConnectArgs, Lookup, Troubles, explain_config, look_up};
use super::console::Console;
use crate::ids::TopicName;
use crate::record::Emit;

/// Failures that are told one by one; the others are only counted.
const FAILURES_TOLD_MAX: u64 = 20;
/// How long the brokers get to create a topic that they do not know.
const CREATION_GRACE: Duration = Duration::from_secs(5);
/// A broker that does not answer is asked again after this time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Librdkafka's default of `message.max.bytes`.
const MESSAGE_BYTES_MAX: usize = 1_000_000;

/// What became of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Records that Kafka acknowledged.
    pub acknowledged: u64,
    /// Lines that are no record, or whose record Kafka did not acknowledge.
    pub failed: u64,
}

/// Counts what the delivery reports say. Runs on the producer's own thread.
struct Reports {
    troubles: Troubles,
    console: Arc<Console>,
    acknowledged: AtomicU64,
    failed: AtomicU64,
}

impl Reports {
    fn fail(&self, line: u64, reason: &str) {
        match self.failed.fetch_add(1, Ordering::Relaxed) {
            told if told < FAILURES_TOLD_MAX => self.console.say(&format!("line {line}: {reason}")),
            FAILURES_TOLD_MAX => self
                .console
                .say("more lines failed, they are only counted from here on"),
            _ => {}
        }
    }

    fn refuse(&self, line: u64, error: &KafkaError) {
        let reason = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                "too large; the limits are --kafka-setting message.max.bytes=N here and max.message.bytes of the topic"
                    .to_owned()
            }
            Some(RDKafkaErrorCode::MessageTimedOut) => {
                format!("not acknowledged within --timeout{}", self.troubles.suffix())
            }
            Some(code) => format!("Kafka refused it: {code}"),
            None => format!("Kafka refused it: {error}"),
        };
        self.fail(line, &reason);
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.troubles.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.troubles.error(error, reason);
    }
}

impl ProducerContext for Reports {
    /// The number of the line.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, line: usize) {
        match result {
            Ok(_) => {
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => self.refuse(line as u64, error),
        }
    }
}

/// A producer for one topic that is known to exist.
pub(crate) struct Sender {
    topic: TopicName,
    producer: ThreadedProducer<Reports>,
    reports: Arc<Reports>,
    partitions: i32,
    record_bytes_max: usize,
}

impl Sender {
    /// Connects and waits at most `timeout` for the topic; the same time is given to each record later.
    pub(crate) fn connect(
        connect: &ConnectArgs,
        topic: &TopicName,
        timeout: Duration,
        console: &Arc<Console>,
    ) -> anyhow::Result<Self> {
        let timeout_ms = timeout.as_millis().clamp(1, i32::MAX as u128).to_string();
        let defaults = [
            // Keys land where Java's clients put them.
            ("partitioner", "murmur2_random"),
            ("enable.idempotence", "true"),
            ("message.timeout.ms", timeout_ms.as_str()),
            // A line that was typed shall not wait for the next one.
            ("linger.ms", "5"),
            ("queue.buffering.max.messages", "100000"),
        ];
        let mut config = connect.config(&defaults, &[])?;
        let record_bytes_max = config
            .get("message.max.bytes")
            .and_then(|text| text.parse().ok())
            .unwrap_or(MESSAGE_BYTES_MAX);
        if config.get("queue.buffering.max.kbytes").is_none() {
            // Room for the largest record beside others, and nothing near librdkafka's gigabyte.
            let kbytes = (record_bytes_max / 1024 * 2).max(32 * 1024);
            config.set("queue.buffering.max.kbytes", kbytes.to_string());
        }
        let reports = Reports {
            troubles: Troubles::default(),
            console: Arc::clone(console),
            acknowledged: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        };
        let producer: ThreadedProducer<Reports> = config
            .create_with_context(reports)
            .map_err(explain_config)?;
        let reports = Arc::clone(producer.context());
        let partitions = await_topic(&producer, topic, &connect.brokers, timeout)?;
        Ok(Self {
            topic: topic.clone(),
            producer,
            reports,
            partitions,
            record_bytes_max,
        })
    }

    /// Returns the bytes that librdkafka allows a record.
    pub(crate) fn record_bytes_max(&self) -> usize {
        self.record_bytes_max
    }

    /// Fails where the topic has no such partition.
    pub(crate) fn check_partition(&self, partition: Option<i32>) -> Result<(), String> {
        match partition.filter(|&partition| partition >= self.partitions) {
            Some(partition) => Err(format!(
                "{} has no partition {partition}, only 0 to {}",
                self.topic,
                self.partitions - 1
            )),
            None => Ok(()),
        }
    }

    /// Counts a line as failed and tells why.
    pub(crate) fn fail(&self, line: u64, reason: &str) {
        self.reports.fail(line, reason);
    }

    /// Renews the line of progress.
    pub(crate) fn show_progress(&self) {
        self.reports.console.progress(|| {
            let acknowledged = self.reports.acknowledged.load(Ordering::Relaxed);
            format!(
                "{acknowledged} acknowledged, {} on their way",
                self.producer.in_flight_count()
            )
        });
    }

    /// Hands a record to librdkafka, waiting while its queue is full.
    pub(crate) fn send(&self, line: u64, emit: &Emit<'_>) -> anyhow::Result<()> {
        if let Err(problem) = self.check_partition(emit.partition) {
            self.fail(line, &problem);
            return Ok(());
        }
        let mut record = to_base_record(emit, usize::try_from(line)?);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), unsent)) => {
                    // Acknowledgements make room, or the records' timeout does.
                    thread::sleep(Duration::from_millis(5));
                    self.show_progress();
                    record = unsent;
                }
                Err((error, _)) => {
                    self.reports.refuse(line, &error);
                    return self.check_fatal();
                }
            }
        }
    }

    /// An idempotent producer that lost its place sends nothing more.
    fn check_fatal(&self) -> anyhow::Result<()> {
        match self.producer.client().fatal_error() {
            Some((code, reason)) => {
                bail!("Kafka does not take anything more from this producer: {reason} ({code})")
            }
            None => Ok(()),
        }
    }

    /// Waits until every record is acknowledged or has failed; each does in its time.
    pub(crate) fn finish(self) -> anyhow::Result<Tally> {
        while self.producer.in_flight_count() > 0 {
            thread::sleep(Duration::from_millis(2));
            self.show_progress();
        }
        self.check_fatal()?;
        Ok(Tally {
            acknowledged: self.reports.acknowledged.load(Ordering::Relaxed),
            failed: self.reports.failed.load(Ordering::Relaxed),
        })
    }
}

/// Turns an emit into a record for librdkafka; its delivery report will carry the number.
pub(super) fn to_base_record<'a>(
    emit: &Emit<'a>,
    number: usize,
) -> BaseRecord<'a, [u8], [u8], usize> {
    let mut record = BaseRecord::with_opaque_to(emit.topic, number);
    record.key = emit.key;
    record.payload = emit.value;
    record.partition = emit.partition;
    record.timestamp = emit.timestamp_ms;
    if !emit.headers.is_empty() {
        let headers = message::OwnedHeaders::new_with_capacity(emit.headers.len());
        record.headers = Some(emit.headers.iter().fold(headers, |headers, header| {
            headers.insert(message::Header {
                key: &header.key,
                value: header.value,
            })
        }));
    }
    record
}

/// Waits for the topic, which the question itself may create; returns its number of partitions.
fn await_topic(
    producer: &ThreadedProducer<Reports>,
    topic: &TopicName,
    brokers: &str,
    timeout: Duration,
) -> anyhow::Result<i32> {
    let reports = producer.context();
    let deadline = Instant::now() + timeout;
    let mut missing_until: Option<Instant> = None;
    let mut told = false;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // At the end of its time, a broker that is there still gets to say why there is no topic.
        let patience = left.clamp(Duration::from_millis(200), ANSWER_TIMEOUT);
        match look_up(producer.client(), topic.as_str(), patience)? {
            Lookup::Found(partitions) => return Ok(partitions),
            Lookup::NoAnswer => {
                if Instant::now() >= deadline {
                    return Err(reports.troubles.no_answer(brokers, timeout));
                }
                if !told {
                    told = true;
                    reports
                        .console
                        .say(&reports.troubles.no_answer_yet(brokers));
                }
            }
            Lookup::Missing => {
                let until = *missing_until
                    .get_or_insert_with(|| deadline.min(Instant::now() + CREATION_GRACE));
                if Instant::now() >= until {
                    bail!(
                        "topic {topic} does not exist, and the brokers do not create topics at their first use: \
                         check its name, or create it (kafka-topics.sh --create --topic {topic} --bootstrap-server {brokers})"
                    );
                }
                thread::sleep(Duration::from_millis(200));
            }
        }
    }
}
