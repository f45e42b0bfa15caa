//! The native loop as a careful user writes it: StreamConsumer, FutureProducer, at least once.
//!
//! Up to [`UNDER_WAY_MAX`] records are under way. The position of a record is stored when its output, and that
//! of every earlier record, is acknowledged; librdkafka commits the stored positions.
//! **Invariant:** no position is stored before its output is in Kafka.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::future::pending;

use anyhow::Result;
use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::message::{BorrowedHeaders, BorrowedMessage};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord};

use crate::{NativeArgs, json_view};

/// Records whose outputs are not acknowledged.
pub(crate) const UNDER_WAY_MAX: usize = 10_000;

/// What is done with a value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    /// Nothing.
    PassThrough,
    /// What the fixture `json` does.
    Json,
    /// What the fixture `fields` does.
    Fields,
}

impl Work {
    fn apply(self, value: &[u8]) -> Result<Cow<'_, [u8]>> {
        Ok(match self {
            Self::PassThrough => Cow::Borrowed(value),
            Self::Json => Cow::Owned(upper_name(value)?),
            Self::Fields => {
                json_view::check(value)?;
                Cow::Borrowed(value)
            }
        })
    }
}

/// Parses, changes `name` to upper case, serialises.
fn upper_name(value: &[u8]) -> Result<Vec<u8>> {
    let mut payload: serde_json::Value = serde_json::from_slice(value)?;
    if let Some(serde_json::Value::String(name)) = payload.get_mut("name") {
        *name = name.to_uppercase();
    }
    Ok(serde_json::to_vec(&payload)?)
}

/// Settings of a native consumer.
pub(crate) fn consumer_config(args: &NativeArgs) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &args.brokers)
        .set("group.id", &args.group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "true")
        // As often as the host does.
        .set("auto.commit.interval.ms", "1000")
        .set("enable.auto.offset.store", "false");
    config
}

/// Settings of a native producer.
pub(crate) fn producer_config(args: &NativeArgs) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &args.brokers)
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "5");
    config
}

/// A record whose output is not acknowledged.
struct UnderWay {
    partition: i32,
    offset: i64,
    delivery: DeliveryFuture,
}

/// Runs until the process is killed.
pub(crate) fn run(args: &NativeArgs, work: Work) -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(serve(args, work))
}

async fn serve(args: &NativeArgs, work: Work) -> Result<()> {
    let consumer: StreamConsumer = consumer_config(args).create()?;
    let producer: FutureProducer = producer_config(args).create()?;
    consumer.subscribe(&[&args.input])?;
    let mut under_way = VecDeque::with_capacity(UNDER_WAY_MAX);
    loop {
        tokio::select! {
            biased;
            done = oldest(&mut under_way) => {
                let (partition, offset) = done?;
                under_way.pop_front();
                consumer.store_offset(&args.input, partition, offset)?;
            }
            message = consumer.recv(), if under_way.len() < UNDER_WAY_MAX => {
                under_way.push_back(send(&producer, &args.output, &message?, work)?);
            }
        }
    }
}

/// Waits until the output of the oldest record is acknowledged.
async fn oldest(under_way: &mut VecDeque<UnderWay>) -> Result<(i32, i64)> {
    match under_way.front_mut() {
        None => pending().await,
        Some(first) => {
            (&mut first.delivery).await?.map_err(|(error, _)| error)?;
            Ok((first.partition, first.offset))
        }
    }
}

fn send(
    producer: &FutureProducer,
    output: &str,
    message: &BorrowedMessage<'_>,
    work: Work,
) -> Result<UnderWay> {
    let value = message.payload().map(|value| work.apply(value));
    let value = value.transpose()?;
    let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(output);
    record.key = message.key();
    record.payload = value.as_deref();
    record.headers = message.headers().map(BorrowedHeaders::detach);
    // Fewer records are under way than the producer's queue holds, so it is never full.
    let delivery = producer.send_result(record).map_err(|(error, _)| error)?;
    Ok(UnderWay {
        partition: message.partition(),
        offset: message.offset(),
        delivery,
    })
}
