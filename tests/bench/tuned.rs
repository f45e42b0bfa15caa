//! The native loop that leaves nothing on the table: batches from raw partition queues, one thread.
//!
//! A batch's position is stored when all its outputs and those of earlier batches are acknowledged. Partitions
//! are assigned by hand, so that no record passes through the consumer's main queue.
//! **Invariant:** no position is stored before the outputs of its batch are in Kafka.

use std::collections::VecDeque;
use std::ffi::CString;
use std::ptr::null_mut;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use rdkafka::bindings as sys;
use rdkafka::client::ClientContext;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use crate::NativeArgs;
use crate::inputs::PARTITIONS;
use crate::user::{consumer_config, producer_config};

/// Records that are taken from a queue at once.
const TAKE_MAX: usize = 500;
/// Batches of one partition that are under way.
const BATCHES_MAX: usize = 50;
/// How long an idle loop waits for acknowledgements before it looks for records again.
const IDLE: Duration = Duration::from_millis(5);

/// Looks at a value; an error ends the loop.
pub(crate) type Check = fn(&[u8]) -> Result<()>;

/// The outputs of one batch.
struct Batch {
    last_offset: i64,
    /// Outputs that are not acknowledged.
    waiting: AtomicUsize,
}

struct Reports;

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = Arc<Batch>;

    fn delivery(&self, result: &DeliveryResult<'_>, batch: Arc<Batch>) {
        if let Err((error, _)) = result {
            eprintln!("an output was refused: {error}");
            std::process::exit(1);
        }
        batch.waiting.fetch_sub(1, Ordering::Release);
    }
}

struct Partition {
    id: i32,
    queue: *mut sys::rd_kafka_queue_t,
    taken: Vec<*mut sys::rd_kafka_message_t>,
    under_way: VecDeque<Arc<Batch>>,
}

impl Partition {
    fn new(consumer: &BaseConsumer, topic: &str, id: i32) -> Result<Self> {
        let topic = CString::new(topic)?;
        // SAFETY: the consumer is alive and the name ends with NUL. The queue is used until the process ends.
        let queue = unsafe {
            let client = consumer.client().native_ptr();
            let queue = sys::rd_kafka_queue_get_partition(client, topic.as_ptr(), id);
            sys::rd_kafka_queue_forward(queue, null_mut());
            queue
        };
        Ok(Self {
            id,
            queue,
            taken: vec![null_mut(); TAKE_MAX],
            under_way: VecDeque::new(),
        })
    }

    /// Takes what waits, looks at it and sends it on; returns how many records it was.
    fn forward(
        &mut self,
        producer: &BaseProducer<Reports>,
        output: &str,
        check: Check,
    ) -> Result<usize> {
        // SAFETY: the buffer has room for `TAKE_MAX` pointers.
        let count = unsafe {
            let room = self.taken.as_mut_ptr();
            sys::rd_kafka_consume_batch_queue(self.queue, 0, room, TAKE_MAX)
        };
        let count = usize::try_from(count)?;
        let Some(&last) = self.taken[..count].last() else {
            return Ok(0);
        };
        let batch = Arc::new(Batch {
            // SAFETY: a message that was just taken.
            last_offset: unsafe { (*last).offset },
            waiting: AtomicUsize::new(count),
        });
        for &raw in &self.taken[..count] {
            // SAFETY: a message that was just taken and is destroyed once, here.
            unsafe {
                send(producer, output, &*raw, &batch, check)?;
                sys::rd_kafka_message_destroy(raw);
            }
        }
        self.under_way.push_back(batch);
        Ok(count)
    }

    /// Stores the position behind the batches that are acknowledged.
    fn store(&mut self, consumer: &BaseConsumer, topic: &str) -> Result<()> {
        let mut last = None;
        while let Some(batch) = self.under_way.front()
            && batch.waiting.load(Ordering::Acquire) == 0
        {
            last = Some(batch.last_offset);
            self.under_way.pop_front();
        }
        if let Some(offset) = last {
            consumer.store_offset(topic, self.id, offset)?;
        }
        Ok(())
    }
}

fn send(
    producer: &BaseProducer<Reports>,
    output: &str,
    message: &sys::rd_kafka_message_t,
    batch: &Arc<Batch>,
    check: Check,
) -> Result<()> {
    if message.err != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        bail!("consuming failed: {:?}", message.err);
    }
    let mut record: BaseRecord<'_, [u8], [u8], Arc<Batch>> =
        BaseRecord::with_opaque_to(output, Arc::clone(batch));
    // SAFETY: the message outlives the call, and its lengths are those of its bytes.
    unsafe {
        record.key = bytes(message.key, message.key_len);
        record.payload = bytes(message.payload, message.len);
    }
    if let Some(value) = record.payload {
        check(value)?;
    }
    while let Err((error, back)) = producer.send(record) {
        if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
            return Err(error.into());
        }
        producer.poll(IDLE);
        record = back;
    }
    Ok(())
}

/// # Safety
/// `start` is null or the start of `len` bytes that outlive the result.
unsafe fn bytes<'a>(start: *mut std::ffi::c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: as the caller says.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast::<u8>(), len) })
}

/// Runs until the process is killed; `check` looks at each value.
pub(crate) fn run(args: &NativeArgs, check: Check) -> Result<()> {
    let consumer: BaseConsumer = consumer_config(args)
        .set("fetch.queue.backoff.ms", "5")
        .create()?;
    let producer = BaseProducer::from_config_and_context(&producer_config(args), Reports)?;
    let mut assignment = TopicPartitionList::new();
    let mut partitions = Vec::new();
    for id in 0..PARTITIONS {
        partitions.push(Partition::new(&consumer, &args.input, id)?);
        assignment.add_partition_offset(&args.input, id, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    loop {
        let mut count = 0;
        for partition in &mut partitions {
            partition.store(&consumer, &args.input)?;
            if partition.under_way.len() < BATCHES_MAX {
                count += partition.forward(&producer, &args.output, check)?;
            }
        }
        if let Some(message) = consumer.poll(Duration::ZERO) {
            message?;
            bail!("a record came through the main queue");
        }
        producer.poll(if count == 0 { IDLE } else { Duration::ZERO });
    }
}
