//! What a replay of a key asks of the host that reads the key's partition.
//!
//! It is handed a parked key and a session. A hold is asked for again and again by a thread of its own, so that it ends by
//! itself soon after the command does, however that ends.
//! **Invariant:** nothing is asked for after the end of a [`Requests`], and what others ask for the key stays as it is.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};

use super::ReachArgs;
use super::parked::ParkedKey;
use crate::cli::connect::explain_config;
use crate::ids::TopicName;
use crate::marker::{MarkerKey, Request, Says, Slot, Want};

/// A hold that is not asked for again ends after this time.
const LEASE: Duration = Duration::from_secs(10);
/// How often it is asked for.
const AGAIN: Duration = Duration::from_secs(2);

/// Why Kafka did not take the last marker, if it did not.
#[derive(Default)]
struct Refusal(Mutex<Option<KafkaError>>);

impl ClientContext for Refusal {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "kafka", ?level, facility, "{message}");
    }
}

impl ProducerContext for Refusal {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        *self.0.lock() = result.as_ref().err().map(|(error, _)| error.clone());
    }
}

struct Desk {
    producer: BaseProducer<Refusal>,
    topic: TopicName,
    key: ParkedKey,
    session: String,
    timeout: Duration,
}

impl Desk {
    /// Writes a marker, and waits until Kafka has it.
    fn write(&self, key: &MarkerKey, value: Option<&[u8]>) -> anyhow::Result<()> {
        self.write_within(self.timeout, key, value)
    }

    fn write_within(
        &self,
        timeout: Duration,
        key: &MarkerKey,
        value: Option<&[u8]>,
    ) -> anyhow::Result<()> {
        let key = key.encode();
        let mut record = BaseRecord::<[u8], [u8]>::to(self.topic.as_str()).key(&key);
        record.payload = value;
        let failed = || {
            format!(
                "cannot write to {} (this user needs Write on it)",
                self.topic
            )
        };
        self.producer
            .send(record)
            .map_err(|(error, _)| anyhow!(error))
            .with_context(failed)?;
        self.producer.flush(timeout).with_context(failed)?;
        match self.producer.context().0.lock().take() {
            None => Ok(()),
            Some(error) => Err(anyhow!(error)).with_context(failed),
        }
    }

    fn ask(&self, want: Want, last: Option<i64>) -> anyhow::Result<()> {
        let request = Request {
            session: self.session.clone(),
            want,
            lease_ms: u64::try_from(LEASE.as_millis())?,
            last,
        };
        self.write(&self.key(), Some(&request.encode()))
    }

    fn key(&self) -> MarkerKey {
        MarkerKey {
            place: self.key.place.clone(),
            slot: self.key.slot(),
            says: Says::Request(self.session.clone()),
        }
    }
}

/// See the module.
pub(super) struct Requests {
    desk: Arc<Desk>,
    hold: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
    is_withdrawn: bool,
}

impl Requests {
    /// Asks for the key to be held, until told otherwise.
    pub(super) fn hold(
        reach: &ReachArgs,
        topic: &TopicName,
        key: &ParkedKey,
        session: &str,
    ) -> anyhow::Result<Self> {
        let config = reach.connect.config(
            &[("linger.ms", "0")],
            &[
                ("enable.idempotence", "true"),
                ("partitioner", "murmur2_random"),
            ],
        )?;
        let desk = Arc::new(Desk {
            producer: config
                .create_with_context(Refusal::default())
                .map_err(explain_config)?,
            topic: topic.clone(),
            key: key.clone(),
            session: session.to_owned(),
            timeout: reach.timeout,
        });
        desk.ask(Want::Hold, None)?;
        let (stop, stopped) = mpsc::channel();
        let again = Arc::clone(&desk);
        let thread = std::thread::Builder::new()
            .name("hold".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(AGAIN) == Err(RecvTimeoutError::Timeout) {
                    // Where Kafka is away for longer than the lease, the hold ends; the host says so.
                    let _ = again.ask(Want::Hold, None);
                }
            })?;
        Ok(Self {
            desk,
            hold: Some((stop, thread)),
            is_withdrawn: false,
        })
    }

    fn stop(&mut self) {
        if let Some((stop, thread)) = self.hold.take() {
            drop(stop);
            // A panic in it was reported already.
            let _ = thread.join();
        }
    }

    /// Asks for the key to be unparked, all parked records of which up to offset `last` are handled.
    pub(super) fn unpark(&mut self, last: i64) -> anyhow::Result<()> {
        self.stop();
        self.desk.ask(Want::Unpark, Some(last))
    }

    /// Deletes the marker of the replay that failed; all of its session is settled.
    pub(super) fn forget(&self, place: (String, i32), slot: Slot) -> anyhow::Result<()> {
        let says = Says::State;
        self.desk.write(&MarkerKey { place, slot, says }, None)
    }

    /// Takes the request back.
    pub(super) fn withdraw(&mut self) -> anyhow::Result<()> {
        self.stop();
        self.is_withdrawn = true;
        self.desk.write(&self.desk.key(), None)
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.stop();
        if !self.is_withdrawn {
            // The command ends with an error that tells more. If Kafka does not take this, the hold ends by itself.
            let _ = self.desk.write_within(AGAIN, &self.desk.key(), None);
        }
    }
}
