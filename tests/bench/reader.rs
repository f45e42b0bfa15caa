//! The least that reading costs: batches from a raw partition queue, dropped at once.
//!
//! **Invariant:** reads each record of partition 0 once, and nothing else of this process runs meanwhile.

use std::ffi::CString;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::Kafka;
use rdkafka::bindings as sys;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::usage;

/// Records that are taken from the queue at once, as the host does.
const TAKE_MAX: usize = 500;
/// How long an empty queue is waited for at once.
const WAIT_MS: i32 = 10;
/// What a run may take.
const PATIENCE: Duration = Duration::from_mins(5);

/// Reads so many records and drops them; returns the CPU time of it, with all threads of the client.
pub(crate) fn cpu(kafka: &Kafka, topic: &str, records: u64) -> Result<Duration> {
    let before = usage::cpu(std::process::id())?;
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap())
        .set("group.id", "bench-reader")
        .set("enable.auto.commit", "false")
        // As the host does.
        .set("queued.max.messages.kbytes", "4096")
        .set("fetch.queue.backoff.ms", "5")
        .create()?;
    let name = CString::new(topic)?;
    // SAFETY: the consumer is alive and the name ends with NUL. The queue is destroyed below, before the consumer.
    let queue = unsafe {
        let client = consumer.client().native_ptr();
        let queue = sys::rd_kafka_queue_get_partition(client, name.as_ptr(), 0);
        sys::rd_kafka_queue_forward(queue, null_mut());
        queue
    };
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, 0, Offset::Beginning)?;
    consumer.assign(&assignment)?;
    let began = Instant::now();
    let mut taken = vec![null_mut(); TAKE_MAX];
    let (mut count, mut bytes) = (0, 0);
    while count < records {
        ensure!(
            began.elapsed() < PATIENCE,
            "{count} of {records} records were read"
        );
        // SAFETY: the buffer has room for `TAKE_MAX` pointers.
        let found = unsafe {
            sys::rd_kafka_consume_batch_queue(queue, WAIT_MS, taken.as_mut_ptr(), TAKE_MAX)
        };
        for &message in &taken[..usize::try_from(found)?] {
            // SAFETY: a message that was just taken and is destroyed once, here.
            unsafe {
                count += u64::from(
                    (*message).err == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
                );
                bytes += (*message).len;
                sys::rd_kafka_message_destroy(message);
            }
        }
        if let Some(event) = consumer.poll(Duration::ZERO) {
            event?;
        }
    }
    std::hint::black_box(bytes);
    // SAFETY: the queue is not used any more.
    unsafe { sys::rd_kafka_queue_destroy(queue) };
    drop(consumer);
    Ok(usage::cpu(std::process::id())? - before)
}
