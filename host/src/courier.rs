//! Writing to Kafka at once: a record does not wait for others, and whoever sends it learns what became of it.
//!
//! Owns a producer with its thread. The order of outputs, their retries and their transactions are the business of
//! [`Sink`](crate::sink::Sink), which is cheaper by far where many records are sent.
//! **Invariant:** each record that is sent has exactly one report, or the courier is gone; after one that failed for good
//! another one takes the next record.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use rdkafka::Message as _;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, DeliveryResult};
use rdkafka::producer::{Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::{Notify, oneshot};

use crate::record::Emit;
use crate::sink::{client_config, record_of};

/// How long Kafka may take for a record before it is given up, in milliseconds.
const MESSAGE_TIMEOUT_MS: &str = "30000";

/// What became of a record: where it was written, or why it was not.
pub(crate) type Report = Result<Receipt, NotWritten>;

/// Why nobody knows that Kafka has a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotWritten {
    /// Kafka did not say in time that it has it.
    #[error("Kafka did not take the record in time")]
    Late,
    /// For this reason.
    #[error("{0}")]
    Refused(String),
}

impl From<&KafkaError> for NotWritten {
    fn from(error: &KafkaError) -> Self {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageTimedOut) => Self::Late,
            _ => Self::Refused(words(error)),
        }
    }
}

/// Where Kafka has a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) partition: i32,
    /// None where Kafka had the record already when it was sent again, and does not say where.
    pub(crate) offset: Option<u64>,
    pub(crate) timestamp_ms: Option<i64>,
}

impl Receipt {
    fn of(message: &BorrowedMessage<'_>) -> Self {
        Self {
            partition: message.partition(),
            offset: u64::try_from(message.offset()).ok(),
            timestamp_ms: message.timestamp().to_millis(),
        }
    }
}

/// What a producer tells of its records and of itself.
#[derive(Default)]
struct Reports {
    /// Why it sends nothing any more.
    fatal: OnceLock<String>,
}

impl Reports {
    fn fail(&self, reason: &str) {
        if self.fatal.set(reason.to_owned()).is_ok() {
            tracing::error!(
                reason,
                "a producer of requests and records with a receipt failed for good; another one takes its place"
            );
        }
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        crate::telemetry::log_kafka(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.fail(reason);
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Addressee>;

    fn delivery(&self, result: &DeliveryResult<'_>, addressee: Box<Addressee>) {
        let result = match result {
            Ok(message) => Ok(Receipt::of(message)),
            Err((error, _)) => Err(NotWritten::from(error)),
        };
        match *addressee {
            Addressee::Waits(report) => {
                // Whoever waits no more does not want to know.
                let _ = report.send(result);
            }
            Addressee::Looks(fate) => fate.tell(result.map(drop)),
        }
    }
}

/// Who is told what became of a record.
#[derive(Debug)]
enum Addressee {
    /// Who waits for the report.
    Waits(oneshot::Sender<Report>),
    /// Who waits for something else that comes of the record, and only wants to know of a failure at once.
    Looks(Arc<Fate>),
}

/// What became of a record for whose writing nobody waits.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    report: Mutex<Option<Result<(), NotWritten>>>,
    failed: Notify,
}

impl Fate {
    fn tell(&self, report: Result<(), NotWritten>) {
        let has_failed = report.is_err();
        *self.report.lock() = Some(report);
        if has_failed {
            self.failed.notify_one();
        }
    }

    /// Returns whether Kafka has the record.
    pub(crate) fn is_written(&self) -> bool {
        matches!(*self.report.lock(), Some(Ok(())))
    }

    /// Waits until it is known that Kafka does not take the record; returns why.
    pub(crate) async fn failed(&self) -> NotWritten {
        loop {
            if let Some(Err(why)) = &*self.report.lock() {
                return why.clone();
            }
            self.failed.notified().await;
        }
    }
}

/// See the module.
pub(crate) struct Courier {
    /// There as long as the courier is.
    producer: Option<ThreadedProducer<Reports>>,
}

impl std::fmt::Debug for Courier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Courier").finish_non_exhaustive()
    }
}

impl Courier {
    /// Makes a producer with librdkafka's keys in `kafka`, below the host's own.
    pub(crate) fn start(kafka: &BTreeMap<String, String>) -> Result<Self, KafkaError> {
        let mut config = client_config(kafka);
        config
            .set("linger.ms", "0")
            .set("message.timeout.ms", MESSAGE_TIMEOUT_MS);
        let producer = Some(config.create_with_context(Reports::default())?);
        Ok(Self { producer })
    }

    #[cfg(test)]
    fn reports(&self) -> Option<&Reports> {
        let producer = self.producer.as_ref()?;
        Some(producer.context())
    }

    /// Returns why it sends nothing any more, if it failed for good.
    fn fatal(&self) -> Option<String> {
        let producer = self.producer.as_ref()?;
        // It may be asked before its thread has told.
        let now = || producer.client().fatal_error().map(|(_, why)| why);
        producer.context().fatal.get().cloned().or_else(now)
    }

    /// Sends a record; the report comes when Kafka has it, or will not have it.
    pub(crate) fn send(&self, emit: &Emit<'_>) -> Result<oneshot::Receiver<Report>, String> {
        let (report, reported) = oneshot::channel();
        self.hand_over(emit, Addressee::Waits(report))?;
        Ok(reported)
    }

    /// Sends a record for whose writing nobody waits: that wakes nobody unless it fails.
    pub(crate) fn send_on(&self, emit: &Emit<'_>) -> Result<Arc<Fate>, String> {
        let fate = Arc::new(Fate::default());
        self.hand_over(emit, Addressee::Looks(Arc::clone(&fate)))?;
        Ok(fate)
    }

    fn hand_over(&self, emit: &Emit<'_>, addressee: Addressee) -> Result<(), String> {
        let Some(producer) = &self.producer else {
            return Err("the host stops".to_owned());
        };
        let sent = producer.send(record_of(emit, Box::new(addressee)));
        sent.map_err(|(error, _)| words(&error))
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        let has_failed = self.fatal().is_some();
        let producer = self.producer.take();
        if has_failed {
            // The last one who had it may be a guest, whose thread is not to wait for its end.
            let end = std::thread::Builder::new().name("courier".to_owned());
            // Without a thread it has ended here.
            let _ = end.spawn(move || drop(producer));
        }
    }
}

/// A courier that is made when it is needed first, since most handlers need none, and anew after one that failed for good.
#[derive(Debug)]
pub(crate) struct Post {
    kafka: BTreeMap<String, String>,
    courier: Mutex<Option<Arc<Courier>>>,
}

impl Post {
    /// Takes librdkafka's keys for the courier.
    pub(crate) fn new(kafka: &BTreeMap<String, String>) -> Arc<Self> {
        Arc::new(Self {
            kafka: kafka.clone(),
            courier: Mutex::default(),
        })
    }

    /// As [`Self::new`], with a courier from the start: it is known that the settings are good.
    pub(crate) fn open(kafka: &BTreeMap<String, String>) -> Result<Arc<Self>, KafkaError> {
        let courier = Arc::new(Courier::start(kafka)?);
        Ok(Arc::new(Self {
            kafka: kafka.clone(),
            courier: Mutex::new(Some(courier)),
        }))
    }

    /// Returns the courier.
    pub(crate) fn courier(&self) -> Result<Arc<Courier>, String> {
        let mut courier = self.courier.lock();
        if let Some(courier) = courier.as_ref().filter(|it| it.fatal().is_none()) {
            return Ok(Arc::clone(courier));
        }
        let new = Courier::start(&self.kafka).map_err(|error| words(&error))?;
        Ok(Arc::clone(courier.insert(Arc::new(new))))
    }

    /// Returns why the courier failed for good, if it has and no other one was needed since.
    pub(crate) fn fatal(&self) -> Option<String> {
        let courier = self.courier.lock();
        courier.as_ref()?.fatal()
    }
}

fn words(error: &KafkaError) -> String {
    let code = error.rdkafka_error_code();
    code.map_or_else(|| error.to_string(), |code| code.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rdkafka::mocking::MockCluster;
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
    use tokio::time::{Instant, timeout};

    use super::*;

    #[test]
    fn a_record_that_waited_too_long_is_late_and_any_other_is_refused() {
        let of = |code| NotWritten::from(&KafkaError::MessageProduction(code));
        assert_eq!(of(RDKafkaErrorCode::MessageTimedOut), NotWritten::Late);
        for code in [
            RDKafkaErrorCode::UnknownTopic,
            RDKafkaErrorCode::MessageSizeTooLarge,
            RDKafkaErrorCode::PurgeQueue,
        ] {
            assert_eq!(of(code), NotWritten::Refused(code.to_string()));
        }
    }

    #[test]
    fn a_producer_that_kafka_forbids_to_go_on_is_told_and_the_next_record_goes_by_another_one() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let broker = MockCluster::new(1).unwrap();
        broker.create_topic("out", 1, 1).unwrap();
        broker.request_errors(
            RDKafkaApiKey::InitProducerId,
            &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED],
        );
        let bootstrap = ("bootstrap.servers".to_owned(), broker.bootstrap_servers());
        let post = Post::open(&BTreeMap::from([bootstrap])).unwrap();
        let emit = Emit {
            topic: "out",
            key: None,
            value: Some(b"v"),
            headers: Vec::new(),
            partition: None,
            timestamp_ms: None,
        };
        let first = post.courier().unwrap();
        // It may have failed before.
        let sent = first
            .send(&emit)
            .map(|report| runtime.block_on(report).unwrap());
        let is_refused = matches!(sent, Err(_) | Ok(Err(NotWritten::Refused(_))));
        assert!(is_refused, "{sent:?}");
        let begun = Instant::now();
        while post.fatal().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(30), "{sent:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        let report = post.courier().unwrap().send(&emit).unwrap();
        let receipt = runtime.block_on(report).unwrap().unwrap();
        assert_eq!((receipt.partition, receipt.offset), (0, Some(0)));
        assert_eq!(post.fatal(), None);
    }

    #[test]
    fn another_courier_comes_after_one_that_failed_for_good() {
        let post = Post::new(&BTreeMap::new());
        assert_eq!(post.fatal(), None);
        let first = post.courier().unwrap();
        assert!(Arc::ptr_eq(&first, &post.courier().unwrap()));
        first.reports().unwrap().fail("fenced");
        assert_eq!(post.fatal().as_deref(), Some("fenced"));
        let second = post.courier().unwrap();
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&second, &post.courier().unwrap()));
        assert_eq!(post.fatal(), None);
    }

    #[tokio::test]
    async fn who_looks_is_woken_by_a_failure_and_by_nothing_else() {
        let fate = Fate::default();
        assert!(!fate.is_written());
        fate.tell(Ok(()));
        assert!(fate.is_written());
        let soon = Duration::from_millis(10);
        assert!(timeout(soon, fate.failed()).await.is_err());
        let fate = Arc::new(Fate::default());
        let waits = tokio::spawn({
            let fate = Arc::clone(&fate);
            async move { fate.failed().await }
        });
        fate.tell(Err(NotWritten::Refused("no".to_owned())));
        assert_eq!(waits.await.unwrap().to_string(), "no");
        assert!(!fate.is_written());
        // Whoever asks again learns it again.
        assert_eq!(fate.failed().await.to_string(), "no");
    }
}
