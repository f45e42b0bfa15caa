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

const RECORDS_PER_S: u32 = 1000;
const PATIENCE: Duration = Duration::from_secs(30);
/// Records before these warm everything up.
const WARM_UP: u32 = 2 * RECORDS_PER_S;

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
        let mut took = measure(kafka, seconds, manifest)?;
        took.sort_unstable();
        let at = |share: usize| {
            let place = (took.len() * share / 100).min(took.len() - 1);
            took[place].as_secs_f64() * 1e3
        };
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

fn measure(kafka: &Kafka, seconds: u32, more: &str) -> Result<Vec<Duration>> {
    let [input, output, group] = ["sent", "seen", "latency"].map(unique);
    kafka.create_topic(&input, 4, &[])?;
    kafka.create_topic(&output, 1, &[])?;
    let handlers = HandlersDir::new()?;
    let manifest = format!(
        "topics = [\"{input}\"]\ngroup = \"{group}\"\n{more}config.output = \"{output}\"\n"
    );
    handlers.handler("passes", guest("pass"), &manifest)?;
    let host = Host::builder(kafka.bootstrap())
        .handlers(handlers.path())
        .start_ready()?;
    let reader = reader(kafka.bootstrap(), &output)?;
    let count = WARM_UP + seconds * RECORDS_PER_S;
    let begun = Instant::now();
    let bootstrap = kafka.bootstrap().to_owned();
    let writer = thread::spawn(move || write(&bootstrap, &input, count, begun));
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
        if sent_us >= u64::from(WARM_UP / RECORDS_PER_S) * 1_000_000 {
            took.push(
                begun
                    .elapsed()
                    .saturating_sub(Duration::from_micros(sent_us)),
            );
        }
    }
    host.stop()?;
    writer.join().ok().context("the writer panicked")??;
    Ok(took)
}

fn reader(bootstrap: &str, topic: &str) -> Result<BaseConsumer> {
    let reader: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "latency")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .create()?;
    let mut partitions = rdkafka::TopicPartitionList::new();
    partitions.add_partition(topic, 0);
    reader.assign(&partitions)?;
    Ok(reader)
}

/// Writes the microseconds since `begun` as values, at the rate.
fn write(bootstrap: &str, topic: &str, count: u32, begun: Instant) -> Result<()> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("linger.ms", "0")
        .create()?;
    for nth in 0..count {
        let due = Duration::from_secs(1) * nth / RECORDS_PER_S;
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
