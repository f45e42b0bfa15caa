//! The transactions of one consumer group on this host: outputs and the positions of their records, together or not at
//! all (KIP-98, KIP-447).
//!
//! Owns the transactional producer. Lanes reach it through the gate; the consumer's thread begins, commits and aborts,
//! each by a call on a thread of its own, which is left behind with its producer when it does not come back.
//! **Invariant:** the gate is open only while a transaction is begun, and a transaction is committed only with positions
//! that are those of a current member of the group.

#![expect(
    unsafe_code,
    reason = "rdkafka's commit_transaction takes 100 ms, since its flush polls so long; and it hides the generation of a member"
)]

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::TopicPartitionList;
use rdkafka::bindings as sys;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::producer::Producer as _;
use rdkafka::types::RDKafkaErrorCode;
use tokio::time::Instant;

use crate::api_versions::{Needed, Told};
use crate::gate::Gate;
use crate::sink::{Error as SinkError, Sink};

/// How long one call that waits for the coordinator may take; in between the consumer's thread does its other work.
const STEP_MAX: Duration = Duration::from_secs(1);
/// How long a commit is tried again when there is no answer.
const COMMIT_MAX: Duration = Duration::from_secs(8);
/// How long the consumer's thread waits for a call to come back at all.
const CALL_MAX: Duration = Duration::from_secs(10);
/// How long the producer's thread is given to take what librdkafka tells, before it is looked for again.
const HEARING: Duration = Duration::from_micros(100);

/// The positions of a transaction with the generation of the member that it is from. Brokers before Kafka 2.5 know only
/// lower versions, and take positions of former members of the group without a word.
const FENCED_POSITIONS: Needed = Needed {
    name: "TxnOffsetCommit",
    key: 28,
    version: 3,
    kip: "KIP-447",
};

/// Why a transaction did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// It is to be aborted, and what was in it is to be done again.
    #[error("{0}")]
    Abort(String),
    /// What became of it is not known, or its producer is of no use any more.
    #[error("{0}")]
    Rebuild(String),
    /// There was no answer in time; the same may be tried again.
    #[error("{0}")]
    Again(String),
    /// The broker cannot do it at all.
    #[error("{0}")]
    Unsupported(String),
}

impl From<SinkError> for Error {
    fn from(error: SinkError) -> Self {
        Self::Unsupported(error.to_string())
    }
}

impl From<KafkaError> for Error {
    fn from(error: KafkaError) -> Self {
        match &error {
            KafkaError::Transaction(inner) => classify(
                inner.code(),
                inner.to_string(),
                inner.is_fatal(),
                inner.txn_requires_abort(),
                inner.is_retriable(),
            ),
            _ => Self::Abort(error.to_string()),
        }
    }
}

fn classify(
    code: RDKafkaErrorCode,
    message: String,
    is_fatal: bool,
    requires_abort: bool,
    is_retriable: bool,
) -> Error {
    match code {
        RDKafkaErrorCode::UnsupportedFeature
        | RDKafkaErrorCode::UnsupportedVersion
        | RDKafkaErrorCode::TransactionalIdAuthorizationFailed
        | RDKafkaErrorCode::ClusterAuthorizationFailed => Error::Unsupported(message),
        _ if is_fatal => Error::Rebuild(message),
        _ if requires_abort => Error::Abort(message),
        _ if is_retriable || code == RDKafkaErrorCode::OperationTimedOut => Error::Again(message),
        _ => Error::Abort(message),
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Transactions {
    kafka: BTreeMap<String, String>,
    id: String,
    /// How often a transaction is committed.
    pub(super) interval: Duration,
    pub(crate) gate: Arc<Gate<Arc<Sink>>>,
    /// The producer that is to begin, for as many calls as that takes: librdkafka takes no other call meanwhile.
    starting: Mutex<Option<Arc<Sink>>>,
    /// The producer, with a transaction begun or one that is to be aborted.
    sink: Mutex<Option<Arc<Sink>>>,
    committed: AtomicU64,
    aborted: AtomicU64,
}

impl Transactions {
    /// Makes the transactions of a group; the producer is made later, since it needs the brokers.
    ///
    /// With an `instance`, as static members have it, the id is the same after a restart, and what was left open is
    /// aborted at once. Otherwise it is one of its own: two hosts with the same one would fence each other.
    pub(crate) fn new(
        kafka: BTreeMap<String, String>,
        group: &str,
        instance: Option<&str>,
        interval: Duration,
    ) -> Self {
        let unique = || format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        let name = instance.map_or_else(unique, ToOwned::to_owned);
        Self {
            kafka,
            id: format!("{group}.{name}"),
            interval,
            gate: Arc::new(Gate::new()),
            starting: Mutex::default(),
            sink: Mutex::default(),
            committed: AtomicU64::new(0),
            aborted: AtomicU64::new(0),
        }
    }

    /// Returns how many transactions were committed and how many aborted.
    pub(crate) fn counts(&self) -> [u64; 2] {
        [&self.committed, &self.aborted].map(|count| count.load(Ordering::Relaxed))
    }

    /// Returns the producer, if there is one now.
    pub(crate) fn sink(&self) -> Option<Arc<Sink>> {
        self.sink.lock().clone()
    }

    /// Returns the `transactional.id`.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Makes the producer, has the coordinator abort what an earlier one of its id left open, and begins.
    pub(super) fn start(&self) -> Result<(), Error> {
        let waiting = self.starting.lock().take();
        let sink = match waiting {
            Some(sink) => sink,
            None => Arc::new(Sink::start_transactional(
                &self.kafka,
                &self.id,
                FENCED_POSITIONS,
            )?),
        };
        let begun = call(&sink, |sink| {
            let producer = sink.producer();
            producer.init_transactions(STEP_MAX)?;
            fences_former_members(sink)?;
            Ok(producer.begin_transaction()?)
        });
        match begun {
            Ok(()) => {
                *self.sink.lock() = Some(Arc::clone(&sink));
                self.gate.open(sink);
                Ok(())
            }
            Err(Error::Again(why)) => {
                *self.starting.lock() = Some(sink);
                Err(Error::Again(why))
            }
            Err(error) => Err(error),
        }
    }

    /// Commits the transaction behind the closed gate together with these positions, and begins the next one.
    pub(super) fn commit<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        offsets: &TopicPartitionList,
    ) -> Result<(), Error> {
        let missing = || Error::Rebuild("there is no producer".to_owned());
        let sink = self.sink().ok_or_else(missing)?;
        let positions = if offsets.count() > 0 {
            // Taken before the look at the generation: should the membership end in between, it is one of the past.
            let member = consumer.group_metadata();
            let member = member.filter(|_| is_member(consumer));
            let Some(member) = member else {
                return Err(Error::Abort(
                    "the host is no member of the group now".to_owned(),
                ));
            };
            Some((offsets.clone(), member))
        } else {
            None
        };
        call(&sink, move |sink| {
            let deadline = Instant::now() + COMMIT_MAX;
            if let Some((offsets, member)) = positions {
                until(deadline, || {
                    let sent = sink
                        .producer()
                        .send_offsets_to_transaction(&offsets, &member, STEP_MAX);
                    sent.map_err(Error::from)
                })?;
                // The group's coordinator may be a broker that the producer had not met before.
                fences_former_members(sink)?;
            }
            until(deadline, || commit(sink))
        })?;
        self.committed.fetch_add(1, Ordering::Relaxed);
        sink.producer().begin_transaction()?;
        self.gate.open(sink);
        Ok(())
    }

    /// Aborts the transaction and begins the next one; gives the producer up where it is of no use any more.
    pub(super) fn abort(&self) -> Result<(), Error> {
        let Some(sink) = self.sink() else {
            return self.start();
        };
        let aborted = call(&sink, |sink| {
            let producer = sink.producer();
            producer.abort_transaction(STEP_MAX)?;
            Ok(producer.begin_transaction()?)
        });
        match aborted {
            Ok(()) => {
                self.aborted.fetch_add(1, Ordering::Relaxed);
                self.gate.open(sink);
                Ok(())
            }
            Err(Error::Again(why)) => Err(Error::Again(why)),
            Err(_) => {
                drop(sink);
                self.discard();
                self.start()
            }
        }
    }

    /// Gives the producer up, and with it what is not committed.
    pub(super) fn discard(&self) {
        if self.sink.lock().take().is_some() {
            self.aborted.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Makes a call that waits for brokers on a thread of its own.
///
/// librdkafka 2.12 bounds neither the search for a group's coordinator nor what waits for it: once such a search got no
/// answer, it goes on when a connection to any broker changes, which may be never. A call that does not come back is left behind
/// with the producer it has; the next producer of the same id ends whatever it may still do (KIP-98: the epoch).
fn call(
    sink: &Arc<Sink>,
    act: impl FnOnce(&Sink) -> Result<(), Error> + Send + 'static,
) -> Result<(), Error> {
    let sink = Arc::clone(sink);
    let (answer, answered) = mpsc::sync_channel(1);
    let thread = thread::Builder::new().name("transaction".to_owned());
    let made = thread.spawn(move || {
        // Where nobody waits any more, nobody wants to know.
        let _ = answer.send(act(&sink));
    });
    if let Err(error) = made {
        return Err(Error::Again(format!(
            "no thread for a call to the producer: {error}"
        )));
    }
    let lost = |_| Error::Rebuild(format!("a call did not come back within {CALL_MAX:?}"));
    answered.recv_timeout(CALL_MAX).map_err(lost)?
}

/// Looks whether the brokers that the producer has met take positions from members of the group only.
fn fences_former_members(sink: &Sink) -> Result<(), Error> {
    let missing = |what: &str| Err(Error::Rebuild(what.to_owned()));
    if !hears_all(sink, Instant::now() + STEP_MAX) {
        return missing("what brokers can do is not heard in time");
    }
    match sink.told() {
        Told::Offered => Ok(()),
        Told::Lacking(why) => Err(Error::Unsupported(why)),
        Told::Nothing => missing("no broker has told what it can do"),
    }
}

/// Waits until the producer's thread has taken all that librdkafka had to tell; returns whether it did in time.
///
/// The last line may still be in its hands. There are many after the one that decides.
fn hears_all(sink: &Sink, deadline: Instant) -> bool {
    // SAFETY: the producer is alive. The reference to its queue is ours and given back once.
    unsafe {
        let queue = sys::rd_kafka_queue_get_main(sink.producer().client().native_ptr());
        let is_heard = loop {
            if sys::rd_kafka_queue_length(queue) == 0 {
                break true;
            }
            if Instant::now() >= deadline {
                break false;
            }
            thread::sleep(HEARING);
        };
        sys::rd_kafka_queue_destroy(queue);
        is_heard
    }
}

/// Does it again until it is answered or the time is over; then what became of it is not known.
fn until(deadline: Instant, mut step: impl FnMut() -> Result<(), Error>) -> Result<(), Error> {
    loop {
        match step() {
            Err(Error::Again(why)) if Instant::now() >= deadline => {
                return Err(Error::Rebuild(why));
            }
            Err(Error::Again(_)) => {}
            result => return result,
        }
    }
}

fn commit(sink: &Sink) -> Result<(), Error> {
    let timeout_ms = i32::try_from(STEP_MAX.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the producer is alive. The error is null or ours; it is read before it is destroyed, which is done once.
    unsafe {
        let error =
            sys::rd_kafka_commit_transaction(sink.producer().client().native_ptr(), timeout_ms);
        if error.is_null() {
            return Ok(());
        }
        let code = RDKafkaErrorCode::from(sys::rd_kafka_error_code(error));
        let message = CStr::from_ptr(sys::rd_kafka_error_string(error));
        let found = classify(
            code,
            message.to_string_lossy().into_owned(),
            sys::rd_kafka_error_is_fatal(error) == 1,
            sys::rd_kafka_error_txn_requires_abort(error) == 1,
            sys::rd_kafka_error_is_retriable(error) == 1,
        );
        sys::rd_kafka_error_destroy(error);
        Err(found)
    }
}

/// Returns whether the consumer is a member of its group: an empty group takes positions from anybody, also from a
/// member of the past that knows nothing of what others have done since.
fn is_member<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> bool {
    if consumer.assignment_lost() {
        return false;
    }
    // SAFETY: the consumer is alive; what is returned is null or ours, and destroyed once.
    unsafe {
        let metadata = sys::rd_kafka_consumer_group_metadata(consumer.client().native_ptr());
        if metadata.is_null() {
            return false;
        }
        let generation = sys::rd_kafka_consumer_group_metadata_generation_id(metadata);
        sys::rd_kafka_consumer_group_metadata_destroy(metadata);
        generation >= 0
    }
}

#[cfg(test)]
mod tests;
