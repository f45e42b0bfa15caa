//! A steady load: somebody writes records at a pace, and somebody reads what the host makes of them.
//!
//! It is handed an input, an output and a pace, and tells of each stretch of time when each record was sent and seen. A record
//! says in its value when it was sent and to which partition.
//! **Invariant:** every record that was written was read, or the load does not count.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use harness::{Kafka, wait_until};
use rdkafka::TopicPartitionList;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::seen::{Sample, Seen, Stretch};
use crate::inputs::PARTITIONS;

/// Partitions of the input, by which the records take turns.
pub(crate) const LANES: usize = PARTITIONS as usize;
/// How often the writer wakes up.
const TICK: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a host is waited for that has fallen behind.
const CATCH_UP: Duration = Duration::from_secs(15);
/// A load has settled when no more wait than are written in this time.
const SETTLED: Duration = Duration::from_millis(100);
/// What is written before anything is measured warms everything up.
const WARM_UP: Duration = Duration::from_secs(2);
/// Records that may be on their way where the writer has no pace.
const AHEAD: u64 = 20_000;
/// Fills a value up to about 100 bytes.
const PADDING: usize = 80;

/// What the threads and who looks on share.
#[derive(Debug, Default)]
struct Counts {
    stop: AtomicBool,
    written: AtomicU64,
    seen: AtomicU64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Load {
    begun: Instant,
    rate: u32,
    counts: Arc<Counts>,
    writer: JoinHandle<Result<()>>,
    reader: JoinHandle<Result<Vec<Sample>>>,
}

impl Load {
    /// Returns how many records a second get through where the writer is as fast as the host and the reader let it be.
    pub(crate) fn capacity(
        kafka: &Kafka,
        (input, output): (&str, &str),
        length: Duration,
    ) -> Result<f64> {
        let load = Self::begin(kafka, input, output, None)?;
        thread::sleep(WARM_UP);
        let stretch = load.stretch(length, |_| Ok(()))?;
        let samples = load.finish()?;
        Ok(Seen::within(&samples, &[stretch], LANES).per_s)
    }

    /// Begins to write at so many records a second; returns when the load is steady.
    pub(crate) fn start(kafka: &Kafka, input: &str, output: &str, rate: u32) -> Result<Self> {
        let load = Self::begin(kafka, input, output, Some(rate))?;
        thread::sleep(WARM_UP);
        load.settle()?;
        Ok(load)
    }

    fn begin(kafka: &Kafka, input: &str, output: &str, rate: Option<u32>) -> Result<Self> {
        let begun = Instant::now();
        let counts = Arc::new(Counts::default());
        let consumer = consumer(kafka.bootstrap(), output)?;
        let own = Arc::clone(&counts);
        let reader = thread::spawn(move || read(&consumer, &own, begun));
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", kafka.bootstrap())
            // A batch a millisecond and partition would keep the broker busier than the records do.
            .set("linger.ms", "5")
            .set("log_level", "2")
            .create()?;
        let (own, topic) = (Arc::clone(&counts), input.to_owned());
        let writer = thread::spawn(move || write(&producer, &topic, rate, &own, begun));
        Ok(Self {
            begun,
            rate: rate.unwrap_or_default(),
            counts,
            writer,
            reader,
        })
    }

    /// Lets a stretch of time go by, of which `what` may take a part.
    pub(crate) fn stretch(
        &self,
        length: Duration,
        what: impl FnOnce(Instant) -> Result<()>,
    ) -> Result<Stretch> {
        let from = self.begun.elapsed();
        let until = Instant::now() + length;
        what(until)?;
        thread::sleep(until.saturating_duration_since(Instant::now()));
        self.check()?;
        Ok(Stretch {
            from,
            to: self.begun.elapsed(),
        })
    }

    /// Waits until the host has caught up, if it does; a machine that others use as well may be too slow for that.
    pub(crate) fn settle(&self) -> Result<()> {
        let few = (SETTLED.as_secs_f64() * f64::from(self.rate)) as u64 + 1;
        let behind = || {
            let seen = self.counts.seen.load(Ordering::Relaxed);
            let written = self.counts.written.load(Ordering::Relaxed);
            written.saturating_sub(seen)
        };
        let settled = wait_until("a host that keeps up", CATCH_UP, || {
            behind() <= few || self.check().is_err()
        });
        if settled.is_err() {
            eprintln!(
                "  {} records behind: the figures are worth little",
                behind()
            );
        }
        self.check()
    }

    /// Ends the load, and tells of all records.
    pub(crate) fn finish(self) -> Result<Vec<Sample>> {
        self.counts.stop.store(true, Ordering::Release);
        self.writer.join().ok().context("the writer panicked")??;
        self.reader.join().ok().context("the reader panicked")?
    }

    fn check(&self) -> Result<()> {
        if self.writer.is_finished() || self.reader.is_finished() {
            bail!("the load has ended by itself");
        }
        Ok(())
    }
}

fn consumer(bootstrap: &str, topic: &str) -> Result<BaseConsumer> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "live")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("fetch.queue.backoff.ms", "5")
        .set("log_level", "2")
        .create()?;
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_range(topic, 0, PARTITIONS - 1);
    consumer.assign(&partitions)?;
    Ok(consumer)
}

/// Writes what is due at each tick, or may be on its way; what could not be written in time is written later.
fn write(
    producer: &BaseProducer,
    topic: &str,
    rate: Option<u32>,
    counts: &Counts,
    begun: Instant,
) -> Result<()> {
    let mut count = 0_u64;
    while !counts.stop.load(Ordering::Acquire) {
        let due = match rate {
            Some(rate) => (begun.elapsed().as_secs_f64() * f64::from(rate)) as u64,
            None => counts.seen.load(Ordering::Relaxed) + AHEAD,
        };
        while count < due {
            let partition = (count % LANES as u64) as i32;
            let sent = begun.elapsed().as_micros();
            let value = format!("{sent} {partition} {:.<PADDING$}", "");
            let key = format!("key-{:06}", count % 100_000);
            let mut record = BaseRecord::to(topic)
                .partition(partition)
                .key(&key)
                .payload(&value);
            while let Err((error, back)) = producer.send(record) {
                if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                    return Err(error.into());
                }
                producer.poll(TICK);
                record = back;
            }
            count += 1;
        }
        counts.written.store(count, Ordering::Release);
        producer.poll(Duration::ZERO);
        thread::sleep(TICK);
    }
    producer.flush(PATIENCE)?;
    Ok(())
}

/// Reads until the writer is told to stop and all that it wrote is there.
fn read(consumer: &BaseConsumer, counts: &Counts, begun: Instant) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    let mut last = Instant::now();
    loop {
        match consumer.poll(Duration::from_millis(50)) {
            Some(Ok(record)) => {
                let seen = begun.elapsed();
                samples.push(sample(record.payload(), seen)?);
                counts.seen.store(samples.len() as u64, Ordering::Relaxed);
                last = Instant::now();
            }
            _ => {
                let written = counts.written.load(Ordering::Acquire);
                let is_all = samples.len() as u64 >= written;
                if is_all && counts.stop.load(Ordering::Acquire) {
                    return Ok(samples);
                }
                if last.elapsed() > PATIENCE {
                    bail!("{} of {written} records", samples.len());
                }
            }
        }
    }
}

/// What the value of a record says.
fn sample(value: Option<&[u8]>, seen: Duration) -> Result<Sample> {
    let text = std::str::from_utf8(value.context("no value")?)?;
    let mut words = text.split(' ');
    let mut next = || words.next().context("a word is missing");
    let sent: u64 = next()?.parse()?;
    let partition = next()?.parse()?;
    Ok(Sample {
        partition,
        sent: Duration::from_micros(sent),
        seen,
    })
}
