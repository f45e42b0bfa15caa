//! How long a record takes from its producer to a reader of its output.
//!
//! Records are written at a steady rate, each with the time in its value; the handler passes it through, and a reader of
//! committed records looks at the clock when it has it.
//! **Invariant:** every record was read, or the run does not count.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use harness::kafka::unique;
use harness::{HandlersDir, Host, Kafka, guest};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::usage;

const RECORDS_PER_S: u32 = 1000;
const PATIENCE: Duration = Duration::from_secs(30);
/// Records of these first seconds warm everything up.
const WARM_UP_S: u32 = 2;

/// How fast records come, for how long, and what they meet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace<'a> {
    pub(crate) records_per_s: u32,
    /// After the warming up.
    pub(crate) seconds: u32,
    /// What the manifest says beside topics and group.
    pub(crate) manifest: &'a str,
    /// Of the topic of outputs.
    pub(crate) partitions: i32,
    /// How long who writes the records waits for more of them, in milliseconds.
    pub(crate) linger_ms: u32,
}

/// What was seen after the warming up.
#[derive(Debug)]
pub(crate) struct Seen {
    /// How long each record took, the shortest first.
    pub(crate) took: Vec<Duration>,
    pub(crate) host_cpu: Duration,
    pub(crate) broker_cpu: Duration,
}

impl Seen {
    /// Returns within which time so many of a hundred records were there, in milliseconds.
    pub(crate) fn at_ms(&self, share: usize) -> Option<f64> {
        let place = (self.took.len() * share / 100).min(self.took.len().saturating_sub(1));
        Some(self.took.get(place)?.as_secs_f64() * 1e3)
    }
}

const DELIVERIES: [(&str, &str); 4] = [
    ("at least once", ""),
    ("exactly once, 100 ms", "delivery = \"exactly-once\"\n"),
    (
        "exactly once, 20 ms",
        "delivery = \"exactly-once\"\ntransaction-interval-ms = 20\n",
    ),
    (
        "exactly once by key, 100 ms",
        "delivery = \"exactly-once\"\nordering = \"key\"\n",
    ),
];

/// Measures and prints the table.
pub(crate) fn print(kafka: &Kafka, seconds: u32) -> Result<()> {
    println!("| Delivery | p50 | p99 | Longest |\n|---|---:|---:|---:|");
    for (name, manifest) in DELIVERIES {
        let pace = Pace {
            records_per_s: RECORDS_PER_S,
            seconds,
            manifest,
            partitions: 1,
            linger_ms: 0,
        };
        let seen = measure(kafka, pace)?;
        let at = |share: usize| seen.at_ms(share).unwrap_or_default();
        println!(
            "| {name} | {:.1} ms | {:.1} ms | {:.1} ms |",
            at(50),
            at(99),
            at(100)
        );
    }
    println!();
    Ok(())
}

/// Writes records at a pace, and returns what became of them.
pub(crate) fn measure(kafka: &Kafka, pace: Pace<'_>) -> Result<Seen> {
    let [input, output, group] = ["sent", "seen", "latency"].map(unique);
    kafka.create_topic(&input, 4, &[])?;
    kafka.create_topic(&output, pace.partitions, &[])?;
    let handlers = HandlersDir::new()?;
    let more = pace.manifest;
    let manifest = format!(
        "topics = [\"{input}\"]\ngroup = \"{group}\"\n{more}\n[config]\noutput = \"{output}\"\n"
    );
    handlers.handler("passes", guest("pass"), &manifest)?;
    let host = Host::builder(kafka.bootstrap())
        .handlers(handlers.path())
        .start_ready()?;
    let reader = reader(kafka.bootstrap(), &output, pace.partitions)?;
    let count = (WARM_UP_S + pace.seconds) * pace.records_per_s;
    let begun = Instant::now();
    let topic = input.clone();
    let rate = pace.records_per_s;
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap())
        .set("linger.ms", pace.linger_ms.to_string())
        .create()?;
    let writer = thread::spawn(move || write(&producer, &topic, (count, rate), begun));
    let cpu = || Ok::<_, anyhow::Error>([usage::cpu(host.pid())?, usage::cpu(kafka.pid())?]);
    let mut before = None;
    let mut took = Vec::new();
    let mut last = Instant::now();
    for nth in 0..count {
        let record = loop {
            match reader.poll(Duration::from_millis(100)) {
                Some(Ok(record)) => break record,
                _ if last.elapsed() > PATIENCE => bail!("{nth} of {count} records"),
                _ => {}
            }
        };
        last = Instant::now();
        let value = record.payload().context("no value")?;
        let sent_us: u64 = std::str::from_utf8(value)?.parse()?;
        if sent_us >= u64::from(WARM_UP_S) * 1_000_000 {
            if before.is_none() {
                before = Some(cpu()?);
            }
            let sent = Duration::from_micros(sent_us);
            took.push(begun.elapsed().saturating_sub(sent));
        }
    }
    let (before, after) = (before.context("no records after the first")?, cpu()?);
    host.stop()?;
    writer.join().ok().context("the writer panicked")??;
    for topic in [&input, &output] {
        kafka.delete_topic(topic)?;
    }
    took.sort_unstable();
    Ok(Seen {
        took,
        host_cpu: after[0].saturating_sub(before[0]),
        broker_cpu: after[1].saturating_sub(before[1]),
    })
}

fn reader(bootstrap: &str, topic: &str, count: i32) -> Result<BaseConsumer> {
    let reader: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "latency")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .create()?;
    let mut partitions = rdkafka::TopicPartitionList::new();
    partitions.add_partition_range(topic, 0, count - 1);
    reader.assign(&partitions)?;
    Ok(reader)
}

/// Writes the microseconds since `begun` as values, at the rate.
fn write(
    producer: &BaseProducer,
    topic: &str,
    (count, rate): (u32, u32),
    begun: Instant,
) -> Result<()> {
    for nth in 0..count {
        let due = Duration::from_secs(1) * nth / rate;
        thread::sleep(due.saturating_sub(begun.elapsed()));
        let value = begun.elapsed().as_micros().to_string();
        let key = nth.to_string();
        let record = BaseRecord::to(topic).key(&key).payload(&value);
        producer.send(record).map_err(|(error, _)| error)?;
        producer.poll(Duration::ZERO);
    }
    producer.flush(PATIENCE)?;
    Ok(())
}
