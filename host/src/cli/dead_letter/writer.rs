//! Writes replays, in transactions.
//!
//! It is handed letters and a topic. Its transactional id is that of the group's replays, so Kafka lets one writer of a
//! group live: the newest.
//! **Invariant:** a replay is in the topic once its transaction is committed, and else it never happened; after the
//! first error nothing more is written.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use anyhow::anyhow;
use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use tokio::time::Instant;

use super::ReachArgs;
use crate::cli::connect::{Troubles, explain_config};
use crate::cli::sender::to_base_record;
use crate::ids::TopicName;
use crate::letter::{REPLAY_OF, REPLAY_SESSION, forget_hops};
use crate::record::{Emit, Header, RecordId, RecordView};

/// Letters of one transaction.
const TRANSACTION_RECORDS_MAX: usize = 500;
/// Bytes after which a transaction ends, whatever its letters; one letter may be larger.
const TRANSACTION_BYTES_MAX: usize = 8 << 20;
/// A transaction ends after this time, since it holds back who reads the topic.
const TRANSACTION_TIME_MAX: Duration = Duration::from_secs(5);
/// The brokers' own bound of `transaction.timeout.ms`, unless it was changed there.
const TRANSACTION_TIMEOUT_MS_MAX: u128 = 900_000;
/// The brokers decide what is too large, so librdkafka shall not be the one to refuse.
const MESSAGE_BYTES_MAX: &str = "100000000";

/// The first delivery report that was none.
#[derive(Default)]
struct Reports {
    troubles: Troubles,
    /// The number of the letter in its transaction, and why.
    refusal: Mutex<Option<(usize, RDKafkaErrorCode)>>,
    /// The offset of the last replay in each partition.
    last: Mutex<BTreeMap<i32, i64>>,
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
    /// The number of the letter in its transaction.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        use RDKafkaErrorCode::{PurgeInflight, PurgeQueue};
        match result {
            Ok(message) => {
                self.last
                    .lock()
                    .insert(message.partition(), message.offset());
            }
            Err((error, _)) => match error.rdkafka_error_code() {
                // It goes down with another.
                Some(PurgeInflight | PurgeQueue) | None => {}
                Some(code) => {
                    self.refusal.lock().get_or_insert((number, code));
                }
            },
        }
    }
}

/// The one writer of a group's replays.
pub(super) struct Writer {
    producer: ThreadedProducer<Reports>,
    topic: TopicName,
    timeout: Duration,
    /// Letters a second at most.
    rate: Option<u32>,
    began: Instant,
    /// The letters of the transaction under way.
    open: Vec<RecordId>,
    open_bytes: usize,
    opened: Instant,
    written: u64,
    /// In which replay of a whole key the letters are written.
    pub(super) session: Option<String>,
}

impl Writer {
    /// Takes over from any writer before this one: what that one has not committed is aborted, and it can write no more.
    pub(super) fn begin(
        reach: &ReachArgs,
        topic: &TopicName,
        rate: Option<u32>,
    ) -> anyhow::Result<Self> {
        // One silence while letters are read does not end a transaction.
        let timeout_ms = (reach.timeout.as_millis() + 30_000).min(TRANSACTION_TIMEOUT_MS_MAX);
        let config = reach.connect.config(
            &[
                ("linger.ms", "5"),
                ("transaction.timeout.ms", &timeout_ms.to_string()),
                ("queue.buffering.max.kbytes", "65536"),
                ("message.max.bytes", MESSAGE_BYTES_MAX),
            ],
            &[
                ("transactional.id", topic.as_str()),
                ("enable.idempotence", "true"),
                // A key's letters stay in one partition, the one that the sink would choose.
                ("partitioner", "murmur2_random"),
            ],
        )?;
        let producer: ThreadedProducer<Reports> = config
            .create_with_context(Reports::default())
            .map_err(explain_config)?;
        let writer = Self {
            producer,
            topic: topic.clone(),
            timeout: reach.timeout,
            rate,
            began: Instant::now(),
            open: Vec::new(),
            open_bytes: 0,
            opened: Instant::now(),
            written: 0,
            session: None,
        };
        writer.patiently(|| writer.producer.init_transactions(reach.timeout))?;
        Ok(writer)
    }

    /// Returns how many letters are committed.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Returns how many letters were taken, committed or not.
    pub(super) fn taken(&self) -> u64 {
        self.written + self.open.len() as u64
    }

    /// Returns the offset of the last replay in each partition to which any was written.
    pub(super) fn last(&self) -> BTreeMap<i32, i64> {
        self.producer.context().last.lock().clone()
    }

    /// Takes a letter; many letters make a transaction.
    pub(super) fn write(&mut self, letter: &RecordView<'_>) -> anyhow::Result<()> {
        if self.open.is_empty() {
            self.producer
                .begin_transaction()
                .map_err(|error| self.explain(&error))?;
            self.opened = Instant::now();
        }
        let place = RecordId {
            topic: letter.topic.into(),
            partition: letter.partition,
            offset: letter.offset,
        };
        let of = place.to_string();
        let mut headers = letter.headers.clone();
        forget_hops(&mut headers);
        if let Some(session) = &self.session {
            headers.push(Header {
                key: Cow::Borrowed(REPLAY_SESSION),
                value: Some(session.as_bytes()),
            });
        }
        headers.push(Header {
            key: Cow::Borrowed(REPLAY_OF),
            value: Some(of.as_bytes()),
        });
        let emit = Emit {
            topic: self.topic.as_str(),
            key: letter.key,
            value: letter.value,
            headers,
            partition: None,
            // The time of writing: by the letter's own, retention might remove it at once.
            timestamp_ms: None,
        };
        let mut record = to_base_record(&emit, self.open.len());
        self.open.push(place);
        loop {
            match self.producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), unsent)) => {
                    thread::sleep(Duration::from_millis(5));
                    record = unsent;
                }
                Err((error, _)) => return Err(self.abort(&error)),
            }
        }
        self.open_bytes += emit.size_bytes();
        let per_second = self.rate.map_or(usize::MAX, |rate| rate.max(1) as usize);
        if self.open.len() >= TRANSACTION_RECORDS_MAX.min(per_second)
            || self.open_bytes >= TRANSACTION_BYTES_MAX
        {
            self.commit()?;
        }
        Ok(())
    }

    /// Commits what was taken some time ago; to be called also while there is nothing to write.
    pub(super) fn keep_up(&mut self) -> anyhow::Result<()> {
        if self.opened.elapsed() < TRANSACTION_TIME_MAX {
            return Ok(());
        }
        self.commit()
    }

    /// Commits what was taken, and waits as long as the rate asks for.
    pub(super) fn commit(&mut self) -> anyhow::Result<()> {
        if self.open.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.retried(|| self.producer.commit_transaction(self.timeout)) {
            return Err(self.abort(&error));
        }
        self.written += self.open.len() as u64;
        self.open.clear();
        self.open_bytes = 0;
        if let Some(rate) = self.rate {
            let due = Duration::from_millis(self.written * 1000 / u64::from(rate.max(1)));
            thread::sleep(due.saturating_sub(self.began.elapsed()));
        }
        Ok(())
    }

    /// Gives up the transaction under way, and says why.
    fn abort(&mut self, error: &KafkaError) -> anyhow::Error {
        let reason = self.explain(error);
        // A fenced producer's transaction was aborted by Kafka; whatever else stays open, Kafka aborts in time.
        let _ = self.producer.abort_transaction(self.timeout);
        self.open.clear();
        reason
    }

    fn patiently(&self, call: impl Fn() -> Result<(), KafkaError>) -> anyhow::Result<()> {
        self.retried(call).map_err(|error| self.explain(&error))
    }

    /// Repeats what Kafka says may be repeated, until the time is over.
    fn retried(&self, call: impl Fn() -> Result<(), KafkaError>) -> Result<(), KafkaError> {
        let deadline = Instant::now() + self.timeout;
        loop {
            match call() {
                Err(KafkaError::Transaction(error))
                    if error.is_retriable() && Instant::now() < deadline =>
                {
                    thread::sleep(Duration::from_millis(50));
                }
                other => return other,
            }
        }
    }

    fn explain(&self, error: &KafkaError) -> anyhow::Error {
        use RDKafkaErrorCode as Code;
        let context = self.producer.context();
        let topic = &self.topic;
        let fatal = self.producer.client().fatal_error().map(|(code, _)| code);
        let refusal = *context.refusal.lock();
        let code = fatal
            .or(refusal.map(|(_, code)| code))
            .or(error.rdkafka_error_code());
        match code {
            Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch) => anyhow!(
                "another replay of the group has begun and taken over, or this one stood still for too long; nothing \
                 was written twice, and replaying again goes on with what is left"
            ),
            Some(Code::UnsupportedFeature | Code::UnsupportedVersion | Code::NotImplemented) => {
                anyhow!(
                    "these brokers know no transactions, without which a replay could not be repeated safely: {error}"
                )
            }
            Some(code @ Code::TransactionalIdAuthorizationFailed) => anyhow!(
                "the brokers do not let this user replay ({code}): grant it Write and Describe on the transactional id \
                 {topic}"
            ),
            Some(code @ (Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed)) => {
                anyhow!(
                    "the brokers do not let this user write to {topic} ({code}): grant it Write and Describe"
                )
            }
            code => {
                let too_large = code == Some(Code::MessageSizeTooLarge);
                let code = code.map_or_else(|| error.to_string(), |code| code.to_string());
                let which = refusal.and_then(|(number, _)| self.open.get(number));
                match which {
                    Some(place) if too_large => anyhow!(
                        "{topic} does not take the letter {place}, or one that was sent along with it: {code}; raise \
                         max.message.bytes of {topic}, or leave that letter out by --at or other flags"
                    ),
                    Some(place) => anyhow!("{topic} does not take the letter {place}: {code}"),
                    None => anyhow!(
                        "Kafka does not take the replay: {code}{}",
                        context.troubles.suffix()
                    ),
                }
            }
        }
    }
}
