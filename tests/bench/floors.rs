//! Halves of the native user loop, to see what each costs alone.
//!
//! **Invariant:** the same clients with the same settings as in the whole loop.

use std::collections::VecDeque;

use anyhow::Result;
use rdkafka::Message as _;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::NativeArgs;
use crate::inputs::{Shape, key, value};
use crate::user::{UNDER_WAY_MAX, consumer_config, producer_config};

/// Reads and drops, until the process is killed.
pub(crate) fn consume(args: &NativeArgs) -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let consumer: StreamConsumer = consumer_config(args)
            // Nothing has to be waited for.
            .set("enable.auto.offset.store", "true")
            .create()?;
        consumer.subscribe(&[&args.input])?;
        loop {
            let message = consumer.recv().await?;
            std::hint::black_box(message.payload());
        }
    })
}

/// Writes as many records as the input has, then waits to be killed.
pub(crate) fn produce(args: &NativeArgs) -> Result<()> {
    let (key, value) = (key(0), value(0, args.size, Shape::Order));
    tokio::runtime::Runtime::new()?.block_on(async {
        let producer: FutureProducer = producer_config(args).create()?;
        let mut under_way = VecDeque::with_capacity(UNDER_WAY_MAX);
        for nth in 0..args.records {
            if under_way.len() == UNDER_WAY_MAX
                && let Some(oldest) = under_way.pop_front()
            {
                acknowledged(oldest).await?;
            }
            let partition = i32::try_from(nth % 4)?;
            let record = FutureRecord::to(&args.output)
                .key(&key)
                .payload(&value)
                .partition(partition);
            let delivery = producer.send_result(record);
            under_way.push_back(delivery.map_err(|(error, _)| error)?);
        }
        for delivery in under_way {
            acknowledged(delivery).await?;
        }
        std::future::pending().await
    })
}

async fn acknowledged(delivery: rdkafka::producer::DeliveryFuture) -> Result<()> {
    delivery.await?.map_err(|(error, _)| error)?;
    Ok(())
}
