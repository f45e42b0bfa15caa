//! A request and its response by librdkafka alone: one thread asks, one answers, as fast as they can.
//!
//! The settings of the clients are those of the host's, but that no producer waits for more records, and nobody is the member
//! of a group.
//! **Invariant:** a response counts for the request whose id it bears, and for no other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use harness::Kafka;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

use crate::talk::{PARTITIONS, Topics, number};
use crate::{Load, PATIENCE, Places, Talk, Times};

const POLL: Duration = Duration::from_millis(100);
const ID: &str = "event_id";
const REPLY_TO: &str = "reply-to";

type Sender = ThreadedProducer<DefaultProducerContext>;

/// Returns the times of each asker.
pub(crate) fn measure(kafka: &Kafka, load: Load) -> Result<Talk> {
    let topics = Topics::create(kafka)?;
    let is_over = AtomicBool::new(false);
    let result = thread::scope(|scope| {
        let answering = scope.spawn(|| answer(kafka, &topics.requests, &is_over));
        let times = ask(kafka, &topics, load);
        is_over.store(true, Ordering::Relaxed);
        answering.join().ok().context("the answerer panicked")??;
        times
    });
    topics.delete(kafka)?;
    Ok(Talk {
        times: result?,
        cpu: None,
    })
}

/// One who asks: how often it has done so, when it did last, and what became of it before.
struct Asker {
    begun: Instant,
    asked_us: u64,
    times: Vec<Times>,
}

fn ask(kafka: &Kafka, topics: &Topics, load: Load) -> Result<Vec<Vec<Times>>> {
    let (producer, consumer) = (sender(kafka)?, reader(kafka, &topics.responses)?);
    let mut askers = Vec::with_capacity(load.askers);
    for number in 0..load.askers {
        askers.push(Asker {
            begun: Instant::now(),
            asked_us: 0,
            times: Vec::with_capacity(load.each),
        });
        request(&producer, topics, number, &mut askers[number])?;
    }
    let mut left = load.askers * load.each;
    let mut last = Instant::now();
    while left > 0 {
        let Some(message) = consumer.poll(POLL) else {
            if last.elapsed() > PATIENCE {
                bail!("{left} responses are missing");
            }
            continue;
        };
        let message = message?;
        let id = header(&message, ID).context("a response without an id")?;
        let (asker, turn) = id.split_once('-').context("an id of others")?;
        let nth: usize = asker.parse()?;
        let asker = askers.get_mut(nth).context("nobody asked")?;
        if turn.parse() != Ok(asker.times.len()) {
            bail!("{id} was answered twice");
        }
        last = Instant::now();
        let took_us = u64::try_from((last - asker.begun).as_micros())?;
        let text = std::str::from_utf8(message.payload().unwrap_or_default())?;
        let places = Places {
            asked_us: asker.asked_us,
            written_ms: number(text, "\"written_ms\":")?,
            at_us: number(text, "\"at_us\":")?,
            answered_ms: written_ms(&message)?,
        };
        asker.times.push(Times {
            took_us,
            places: Some(places),
        });
        left -= 1;
        if asker.times.len() < load.each {
            request(&producer, topics, nth, asker)?;
        }
    }
    Ok(askers.into_iter().map(|asker| asker.times).collect())
}

fn request(producer: &Sender, topics: &Topics, number: usize, asker: &mut Asker) -> Result<()> {
    let turn = asker.times.len();
    let text = format!("{{\"event\":\"price\",\"count\":{turn}}}");
    // As long as the ids that the host makes.
    let id = format!("{number:08}-{turn:027}");
    (asker.asked_us, asker.begun) = (now_us()?, Instant::now());
    send(
        producer,
        &topics.requests,
        &text,
        &[(ID, &id), (REPLY_TO, &topics.responses)],
    )
}

fn answer(kafka: &Kafka, requests: &str, is_over: &AtomicBool) -> Result<()> {
    let (producer, consumer) = (sender(kafka)?, reader(kafka, requests)?);
    while !is_over.load(Ordering::Relaxed) {
        let Some(message) = consumer.poll(POLL) else {
            continue;
        };
        let (message, at_us) = (message?, now_us()?);
        let written_ms = written_ms(&message)?;
        let text =
            format!("{{\"event\":\"priced\",\"written_ms\":{written_ms},\"at_us\":{at_us}}}");
        let id = header(&message, ID).context("a request without an id")?;
        let topic = header(&message, REPLY_TO).context("a request without a topic")?;
        send(&producer, topic, &text, &[(ID, id)])?;
    }
    producer.flush(PATIENCE)?;
    Ok(())
}

fn send(producer: &Sender, topic: &str, text: &str, headers: &[(&str, &str)]) -> Result<()> {
    let mut owned = OwnedHeaders::new_with_capacity(headers.len());
    for (key, value) in headers {
        let value = Some(*value);
        owned = owned.insert(Header { key, value });
    }
    let record = BaseRecord::<(), str>::to(topic)
        .payload(text)
        .headers(owned);
    producer.send(record).map_err(|(error, _)| error)?;
    Ok(())
}

fn header<'a>(message: &'a BorrowedMessage<'_>, name: &str) -> Option<&'a str> {
    let mut headers = message.headers()?.iter();
    let header = headers.find(|header| header.key == name)?;
    std::str::from_utf8(header.value?).ok()
}

/// When the broker wrote a record, in milliseconds since 1970.
fn written_ms(message: &BorrowedMessage<'_>) -> Result<u64> {
    let written_ms = message.timestamp().to_millis();
    Ok(u64::try_from(written_ms.context("no timestamp")?)?)
}

fn sender(kafka: &Kafka) -> Result<Sender> {
    let producer = ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap())
        .set("queue.buffering.max.messages", "100000")
        .set("queue.buffering.max.kbytes", "65536")
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random")
        .set("message.timeout.ms", "30000")
        .set("linger.ms", "0")
        .create()?;
    Ok(producer)
}

fn reader(kafka: &Kafka, topic: &str) -> Result<BaseConsumer> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap())
        .set("group.id", "conversations")
        .set("enable.auto.commit", "false")
        .set("queued.max.messages.kbytes", "4096")
        .set("fetch.queue.backoff.ms", "5")
        .create()?;
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        partitions.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&partitions)?;
    Ok(consumer)
}

fn now_us() -> Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(u64::try_from(now.as_micros())?)
}
