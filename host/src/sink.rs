//! Writing to Kafka.
//!
//! Owns a producer, or two of which one has its turn, and the threads that serve their delivery reports. Handed emits with
//! the flight that waits for their acknowledgement. Its transactions, if it has any, are begun and ended elsewhere.
//! **Invariant:** each output that was taken is acknowledged to its flight exactly once, as delivered or as refused.

mod lines;
mod refusal;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header as KafkaHeader, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::util::IntoOpaque;
use tokio::time::Instant;

use self::lines::Lines;
use self::refusal::{emit_of, is_own, may_pass};
use crate::api_versions::{ApiVersions, Needed, Told};
use crate::courier::Post;
use crate::flight::{Fault, Flight};
use crate::record::{Emit, Header};

/// How long a producer waits for more outputs that go in the same request, in milliseconds.
const LINGER: &str = "linger.ms";
const GATHERS_MS: &str = "5";
/// librdkafka's other name of it.
const LINGER_TOO: &str = "queue.buffering.max.ms";
/// The default of brokers and, other than librdkafka's own, of this producer for `message.max.bytes`.
pub(crate) const MESSAGE_MAX_BYTES: usize = 1_048_588;

/// What can go wrong when a producer is made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// librdkafka refuses a setting.
    #[error("the producer cannot be made: {0}")]
    Settings(#[source] KafkaError),
    /// The thread for delivery reports cannot be started.
    #[error("the producer's thread cannot be started: {0}")]
    Thread(#[source] std::io::Error),
}

/// What became of an attempt to hand an output to the producer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Taken; its flight will be told.
    Taken,
    /// The producer's queue is full, or outputs are under way that this one would overtake: wait and try again. Its flight
    /// was not told.
    NotYet,
}

/// What a producer tells of its outputs and of itself.
#[derive(Default)]
pub(crate) struct Reports {
    refused: AtomicU64,
    delivered: AtomicU64,
    fatal: Mutex<Option<String>>,
    /// What a producer of transactions has heard of its brokers.
    brokers: Option<ApiVersions>,
}

impl Reports {
    fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if let Some(brokers) = &self.brokers {
            brokers.hear(facility, message);
            // It logs more than the errors of other producers only to be heard here.
            if matches!(
                level,
                RDKafkaLogLevel::Warning
                    | RDKafkaLogLevel::Notice
                    | RDKafkaLogLevel::Info
                    | RDKafkaLogLevel::Debug
            ) {
                return;
            }
        }
        crate::telemetry::log_kafka(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            if self.brokers.is_some() {
                // Its transaction is aborted, and another one takes its place.
                return tracing::warn!(reason, "a producer of transactions is of no use any more");
            }
            tracing::error!(reason, "the producer failed for good; restart the host");
            *self.fatal.lock() = Some(reason.to_owned());
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Arc<Flight>;

    fn delivery(&self, result: &DeliveryResult<'_>, flight: Arc<Flight>) {
        match result {
            Ok(_) => {
                self.delivered.fetch_add(1, Ordering::Relaxed);
                flight.acknowledge();
            }
            Err((error, message)) => {
                use rdkafka::Message as _;
                let topic = message.topic();
                let code = error.rdkafka_error_code();
                let error = code.map_or_else(|| error.to_string(), |code| code.to_string());
                let reason = format!("kafka refused a record for topic {topic}: {error}");
                match code {
                    Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) => {
                        flight.forget_output();
                    }
                    code => {
                        self.refused.fetch_add(1, Ordering::Relaxed);
                        fail(&flight, code, reason, &emit_of(message));
                    }
                }
            }
        }
    }
}

/// Tells a flight that an output of it was not written.
fn fail(flight: &Arc<Flight>, code: Option<RDKafkaErrorCode>, reason: String, emit: &Emit<'_>) {
    let fault = Fault {
        is_own: code.is_some_and(is_own),
        may_pass: code.is_some_and(may_pass),
    };
    flight.fail(emit, fault, reason);
}

/// A producer that several handlers may share.
pub(crate) struct Sink {
    lines: Arc<Lines>,
    message_max_bytes: usize,
    /// For what is not to wait with other outputs.
    post: Arc<Post>,
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink")
            .field("message_max_bytes", &self.message_max_bytes)
            .finish_non_exhaustive()
    }
}

/// Makes the settings of a producer of librdkafka's keys in `kafka`, below the host's own.
pub(crate) fn client_config(kafka: &BTreeMap<String, String>) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("queue.buffering.max.messages", "100000")
        .set("queue.buffering.max.kbytes", "65536")
        .set(LINGER, GATHERS_MS)
        // A topic that was missing is found this soon after it was made; the default is 5 min.
        .set("topic.metadata.refresh.interval.ms", "10000")
        .set("message.max.bytes", MESSAGE_MAX_BYTES.to_string());
    for (key, value) in kafka {
        config.set(key, value);
    }
    config
        // A retry inside the client neither repeats nor reorders.
        .set("enable.idempotence", "true")
        // Keys land where Java clients put them.
        .set("partitioner", "murmur2_random")
        // Never give up on an output for the time it took: the flow waits, and readiness says so.
        .set("message.timeout.ms", "0");
    config
}

/// How long the coordinator leaves a transaction open of which it hears nothing: readers of committed records wait for it.
const TRANSACTION_TIMEOUT_MS: &str = "10000";

fn transactional_config(kafka: &BTreeMap<String, String>, id: &str) -> ClientConfig {
    let defaults = [
        ("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS),
        // The coordinator answers "not yet" to who is quick, which is no reason to wait long.
        ("retry.backoff.ms", "5"),
        // That a topic does not exist is to be known before its transaction times out: then the output is refused, and not
        // all that is in the transaction.
        ("topic.metadata.propagation.max.ms", "5000"),
    ];
    let mut kafka = kafka.clone();
    for (key, value) in defaults {
        kafka
            .entry(key.to_owned())
            .or_insert_with(|| value.to_owned());
    }
    let mut config = client_config(&kafka);
    let timeout_ms = kafka.get("transaction.timeout.ms").cloned();
    config
        .set("transactional.id", id)
        // What takes longer ends with its transaction, and is done again in the next one.
        .set("message.timeout.ms", timeout_ms.unwrap_or_default());
    config
}

impl Sink {
    /// Makes a producer with librdkafka's keys in `kafka`, below the host's own. It waits for more outputs only while there are
    /// many, unless the keys say how long.
    pub(crate) fn start(kafka: &BTreeMap<String, String>) -> Result<Self, Error> {
        let config = client_config(kafka);
        let is_told = [LINGER, LINGER_TOO]
            .iter()
            .any(|key| kafka.contains_key(*key));
        let lines = if is_told {
            Lines::one(&config, Reports::default())
        } else {
            let mut at_once = config.clone();
            at_once.set(LINGER, "0");
            Lines::two(&at_once, config.clone())
        };
        Ok(Self::of(lines?, &config, kafka))
    }

    /// Makes a producer of transactions; `id` is their `transactional.id`, `needed` what its brokers are to have.
    pub(crate) fn start_transactional(
        kafka: &BTreeMap<String, String>,
        id: &str,
        needed: Needed,
    ) -> Result<Self, Error> {
        let mut config = transactional_config(kafka, id);
        ApiVersions::ask(&mut config);
        let reports = Reports {
            brokers: Some(ApiVersions::new(needed)),
            ..Reports::default()
        };
        let lines = Lines::one(&config, reports)?;
        Ok(Self::of(lines, &config, kafka))
    }

    fn of(lines: Arc<Lines>, config: &ClientConfig, kafka: &BTreeMap<String, String>) -> Self {
        let message_max_bytes = config
            .get("message.max.bytes")
            .and_then(|text| text.parse().ok())
            .unwrap_or(MESSAGE_MAX_BYTES);
        Self {
            lines,
            message_max_bytes,
            post: Post::new(kafka),
        }
    }

    /// Returns the largest record that may be sent, in bytes of key, value and headers.
    pub(crate) fn message_max_bytes(&self) -> usize {
        self.message_max_bytes
    }

    /// Returns how a record is sent with the same settings that is not to wait with other outputs.
    pub(crate) fn post(&self) -> &Arc<Post> {
        &self.post
    }

    /// Hands an output to the producer, without waiting.
    pub(crate) fn send(&self, emit: &Emit<'_>, flight: &Arc<Flight>) -> Sent {
        let Some(producer) = self.lines.turn() else {
            return Sent::NotYet;
        };
        flight.add_output();
        match producer.send(record_of(emit, Arc::clone(flight))) {
            Ok(()) => Sent::Taken,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), record)) => {
                // The sender holds the flight open, so this never lands it.
                record.delivery_opaque.acknowledge();
                Sent::NotYet
            }
            Err((error, record)) => {
                producer.context().refused.fetch_add(1, Ordering::Relaxed);
                let reason = format!(
                    "the record for topic {} cannot be sent: {error}",
                    emit.topic
                );
                let code = error.rdkafka_error_code();
                fail(&record.delivery_opaque, code, reason, emit);
                Sent::Taken
            }
        }
    }

    /// Returns the producer, for those who begin and end its transactions.
    pub(crate) fn producer(&self) -> &impl Producer<Reports> {
        self.lines.first()
    }

    /// Returns what the brokers have told of what a producer of transactions needs.
    pub(crate) fn told(&self) -> Told {
        let brokers = self.lines.first().context().brokers.as_ref();
        brokers.map(ApiVersions::told).unwrap_or_default()
    }

    fn reports(&self) -> impl Iterator<Item = &Reports> {
        self.lines.all().map(|producer| &**producer.context())
    }

    /// Returns why the producer is dead, if it is; only a restart of the host helps.
    pub(crate) fn fatal(&self) -> Option<String> {
        self.lines.fatal()
    }

    /// Returns how many outputs wait for their delivery report.
    pub(crate) fn under_way(&self) -> usize {
        self.lines.under_way()
    }

    /// Returns how many outputs were delivered and how many refused.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let refused = |reports: &Reports| reports.refused.load(Ordering::Relaxed);
        (
            self.reports().map(Reports::delivered).sum(),
            self.reports().map(refused).sum(),
        )
    }

    /// Waits until all outputs are acknowledged; returns whether that was within `timeout`. Blocks the thread.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let left = || deadline.saturating_duration_since(Instant::now());
        self.lines
            .all()
            .all(|producer| producer.flush(left()).is_ok())
    }
}

/// Makes the record of an emit as rdkafka takes it, with what its delivery report shall bring back.
pub(crate) fn record_of<'a, O: IntoOpaque>(
    emit: &Emit<'a>,
    opaque: O,
) -> BaseRecord<'a, [u8], [u8], O> {
    let mut record = BaseRecord::with_opaque_to(emit.topic, opaque);
    record.key = emit.key;
    record.payload = emit.value;
    record.partition = emit.partition;
    record.timestamp = emit.timestamp_ms;
    if !emit.headers.is_empty() {
        record.headers = Some(owned_headers(&emit.headers));
    }
    record
}

fn owned_headers(headers: &[Header<'_>]) -> OwnedHeaders {
    headers.iter().fold(
        OwnedHeaders::new_with_capacity(headers.len()),
        |owned, header| {
            owned.insert(KafkaHeader {
                key: &header.key,
                value: header.value,
            })
        },
    )
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.lines.stop();
    }
}
