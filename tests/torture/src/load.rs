//! The load: producers that number the records of each key and write down what Kafka acknowledged.
//!
//! They are handed the direct address of the brokers and a seed, and are idempotent, with `acks=all`.
//! **Invariant:** when `stop` returns, every record that was sent is acknowledged. Where Kafka had to be asked twice, it
//! does not tell the offset, which is then below 0.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use harness::dice::Dice;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};

use crate::account::{Id, Input, Place};
use crate::deed::Deed;

/// Producers, each with keys of its own.
const PRODUCERS: u32 = 2;
/// Keys of each producer.
const KEYS: u32 = 150;
/// Records that a producer sends at each tick: 300 a second.
const PER_TICK: u64 = 3;
/// How often a producer sends some.
const TICK: Duration = Duration::from_millis(10);
/// What the last acknowledgements may take, once all brokers are back.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);

/// Where the load goes.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) bootstrap: String,
    pub(crate) input: String,
    /// What failed attempts emit to.
    pub(crate) unwanted: String,
    pub(crate) seed: u64,
}

/// Producers that run until they are stopped.
#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Result<Vec<Input>>>>,
}

impl Load {
    /// Starts the producers.
    pub(crate) fn start(target: &Target) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let threads = (0..PRODUCERS)
            .map(|nth| {
                let (target, stop, sent) = (target.clone(), Arc::clone(&stop), Arc::clone(&sent));
                thread::spawn(move || produce(&target, nth, &stop, &sent))
            })
            .collect();
        Self {
            stop,
            sent,
            threads,
        }
    }

    /// Records that were sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends the load; returns what was acknowledged, which is all.
    pub(crate) fn stop(mut self) -> Result<Vec<Input>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut inputs = Vec::new();
        for thread in self.threads.drain(..) {
            inputs.extend(thread.join().ok().context("a producer panicked")??);
        }
        Ok(inputs)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Writes down the acknowledgements, and the first refusal.
#[derive(Debug, Default)]
struct Reports(Mutex<Reported>);

#[derive(Debug, Default)]
struct Reported {
    acknowledged: Vec<(Sent, Place)>,
    refusal: Option<String>,
}

impl Reports {
    fn with<T>(&self, act: impl FnOnce(&mut Reported) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    key: u32,
    sequence: u64,
}

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Sent>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Sent>) {
        self.with(|reported| match result {
            Ok(message) => {
                let (partition, offset) = (message.partition(), message.offset());
                let place = Place { partition, offset };
                reported.acknowledged.push((*sent, place));
            }
            Err((error, _)) => {
                reported.refusal.get_or_insert(error.to_string());
            }
        });
    }
}

fn produce(target: &Target, nth: u32, stop: &AtomicBool, count: &AtomicU64) -> Result<Vec<Input>> {
    let producer = producer(&target.bootstrap)?;
    let mut dice = Dice::new(target.seed.wrapping_add(u64::from(nth)));
    let mut next = vec![0_u64; KEYS as usize];
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(TICK);
        for _ in 0..PER_TICK {
            let own = dice.below(next.len());
            let (key, sequence) = (nth * KEYS + own as u32, next[own]);
            next[own] += 1;
            send(&producer, target, Sent { key, sequence })?;
            sent += 1;
        }
        count.fetch_add(PER_TICK, Ordering::Relaxed);
    }
    producer
        .flush(FLUSH_TIMEOUT)
        .context("the last records are not acknowledged")?;
    let Reported {
        acknowledged,
        refusal,
    } = producer.context().with(std::mem::take);
    if let Some(refusal) = refusal {
        bail!("Kafka refused a record of the load: {refusal}");
    }
    ensure!(
        acknowledged.len() == sent,
        "{} of {sent} records were acknowledged",
        acknowledged.len()
    );
    let inputs = acknowledged
        .into_iter()
        .map(|(Sent { key, sequence }, place)| {
            let deed = Deed::of(target.seed, key, sequence);
            Input {
                id: Id {
                    key: key_text(key),
                    sequence,
                },
                place,
                value: deed.value(sequence, &target.unwanted),
                fate: deed.fate(),
            }
        });
    Ok(inputs.collect())
}

fn key_text(key: u32) -> String {
    format!("key-{key}")
}

fn send(producer: &ThreadedProducer<Reports>, target: &Target, sent: Sent) -> Result<()> {
    let key = key_text(sent.key);
    let deed = Deed::of(target.seed, sent.key, sent.sequence);
    let value = deed.value(sent.sequence, &target.unwanted);
    let mut record = BaseRecord::with_opaque_to(&target.input, Box::new(sent))
        .key(&key)
        .payload(&value);
    // A full queue empties while reports are taken.
    while let Err((error, back)) = producer.send(record) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
            return Err(error).context("the load cannot go on");
        }
        thread::sleep(TICK);
        record = back;
    }
    Ok(())
}

fn producer(bootstrap: &str) -> Result<ThreadedProducer<Reports>> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("log_level", "2")
        .set("enable.idempotence", "true")
        .set("acks", "all")
        // What was sent once is acknowledged at last, however long a broker is away.
        .set("message.timeout.ms", "0")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "5")
        .set("reconnect.backoff.max.ms", "500");
    Ok(config.create_with_context(Reports::default())?)
}
