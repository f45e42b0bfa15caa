//! The queue of one assigned partition, read in batches.
//!
//! Taken in the rebalance callback, before `assign()`, so that not one record of the partition passes through the
//! consumer's main queue. Not taking from it is the whole back-pressure: librdkafka stops fetching at its own bound.
//! **Invariant:** a queue is gone before its consumer is dropped (the consumer's thread waits for its token).

#![expect(
    unsafe_code,
    reason = "rdkafka offers no batch reading of a partition's queue and no split inside callbacks"
)]

use std::ffi::{CString, c_void};
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;

use rdkafka::bindings as sys;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::Notify;

use super::record::Record;
use super::start::{Begun, Held};
use crate::offset_map::{CommitPoint, OffsetMap};

/// The consumer's native handle, held by its queues.
#[derive(Debug, Clone)]
pub(super) struct Client {
    handle: *mut sys::rd_kafka_t,
    /// While a clone of this exists the consumer's thread does not drop the consumer.
    _alive: Arc<()>,
}

// SAFETY: librdkafka's handles may be used from any thread.
unsafe impl Send for Client {}
// SAFETY: as above.
unsafe impl Sync for Client {}

impl Client {
    pub(super) fn new(handle: *mut sys::rd_kafka_t, alive: Arc<()>) -> Self {
        Self {
            handle,
            _alive: alive,
        }
    }
}

/// The queue of one partition, from its assignment to its revocation.
#[derive(Debug)]
pub(crate) struct PartitionQueue {
    client: Client,
    queue: NonNull<sys::rd_kafka_queue_t>,
    topic: Arc<str>,
    topic_c: CString,
    partition: i32,
    /// Told by librdkafka when the empty queue gets its first record.
    filled: Arc<Notify>,
    /// Room for the next batch, reused.
    batch: Vec<*mut sys::rd_kafka_message_t>,
    /// What an earlier owner of the partition completed beyond the committed offset.
    completed: Option<Arc<OffsetMap>>,
    /// Where reading begins is not known yet.
    held: Option<Held>,
    /// Where reading begins, where that is known.
    begin: Option<i64>,
    /// The partition's end when its first records were fetched.
    first_end: Option<i64>,
    /// The end of the partition as reading last came to it.
    end_reached: Option<i64>,
}

// SAFETY: the queue may be read from any thread, one at a time, which `&mut self` ensures; the raw pointers in `batch`
// are only set during `take`.
unsafe impl Send for PartitionQueue {}
// SAFETY: `&self` methods only call thread-safe functions of librdkafka.
unsafe impl Sync for PartitionQueue {}

unsafe extern "C" fn on_filled(_client: *mut sys::rd_kafka_t, notify: *mut c_void) {
    // SAFETY: `notify` is the Notify of a PartitionQueue, which switches the callback off before it drops it;
    // librdkafka calls back under the queue's lock, so no call outlives the switch.
    let notify = unsafe { &*notify.cast::<Notify>() };
    notify.notify_one();
}

/// What reading a partition's queue can meet besides records.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("reading {topic}[{partition}] failed: {code}")]
pub(crate) struct QueueError {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) code: RDKafkaErrorCode,
}

impl PartitionQueue {
    /// Splits the partition's queue off the consumer's main queue. To be called in the rebalance callback before the
    /// assignment takes effect; `None` when librdkafka does not know the partition.
    pub(super) fn take_from(
        client: Client,
        topic: &str,
        partition: i32,
        completed: Option<OffsetMap>,
    ) -> Option<Self> {
        let topic_c = CString::new(topic).ok()?;
        // SAFETY: the handle is alive (token), the name ends with NUL.
        let queue = unsafe {
            sys::rd_kafka_queue_get_partition(client.handle, topic_c.as_ptr(), partition)
        };
        let queue = NonNull::new(queue)?;
        let filled = Arc::new(Notify::new());
        // SAFETY: the queue is ours. Forwarding to null makes it readable by itself; the application's forward
        // survives the fetch start, and must be set anew at each assignment (rust-rdkafka#535).
        unsafe {
            sys::rd_kafka_queue_forward(queue.as_ptr(), null_mut());
            sys::rd_kafka_queue_cb_event_enable(
                queue.as_ptr(),
                Some(on_filled),
                Arc::as_ptr(&filled).cast_mut().cast::<c_void>(),
            );
        }
        Some(Self {
            client,
            queue,
            topic: Arc::from(topic),
            topic_c,
            partition,
            filled,
            batch: Vec::new(),
            completed: completed.map(Arc::new),
            held: None,
            begin: None,
            first_end: None,
            end_reached: None,
        })
    }

    /// Takes note of where reading begins, where the group has committed that.
    pub(super) fn beginning_at(mut self, committed: Option<i64>) -> Self {
        self.begin = committed;
        self
    }

    /// Holds the queue back until it is known where reading begins.
    pub(super) fn held_by(mut self, held: Option<Held>) -> Self {
        self.held = held;
        self
    }

    /// Waits until reading may begin, which is at once unless the queue is held.
    pub(crate) async fn may_begin(&mut self) {
        let Some(mut held) = self.held.take() else {
            return;
        };
        let Ok(begun) = held.wait_for(Option::is_some).await else {
            // The partition was revoked; its task is told to stop.
            return std::future::pending().await;
        };
        if let Some(Begun {
            completed,
            position,
        }) = &*begun
        {
            self.completed.clone_from(completed);
            self.begin = *position;
        }
    }

    /// Returns the topic.
    pub(crate) fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// Returns the partition.
    pub(crate) fn partition(&self) -> i32 {
        self.partition
    }

    /// Returns the offset at which reading begins, where that is known; all before it is complete.
    pub(crate) fn begin(&self) -> Option<i64> {
        self.begin
    }

    /// Moves up to `max` waiting records to the end of `records` without waiting; returns how many it were.
    ///
    /// Errors that librdkafka puts between the records are handed to `on_error` and take no place.
    pub(crate) fn take(
        &mut self,
        max: usize,
        records: &mut impl Extend<Record>,
        mut on_error: impl FnMut(QueueError),
    ) -> usize {
        self.batch.resize(max, null_mut());
        // SAFETY: the buffer has room for `max` pointers; a timeout of 0 never blocks.
        let taken = unsafe {
            sys::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, self.batch.as_mut_ptr(), max)
        };
        let taken = usize::try_from(taken).unwrap_or(0);
        let mut count = 0;
        for &message in self.batch.iter().take(taken) {
            let Some(message) = NonNull::new(message) else {
                continue;
            };
            // SAFETY: each of the `taken` pointers is a message that is now ours.
            let record = unsafe { Record::from_raw(message) };
            if record.error() == Some(RDKafkaErrorCode::PartitionEOF) {
                self.end_reached = Some(record.offset());
            } else if let Some(code) = record.error() {
                on_error(QueueError {
                    topic: Arc::clone(&self.topic),
                    partition: self.partition,
                    code,
                });
            } else {
                records.extend(Some(record));
                count += 1;
            }
        }
        if taken > 0 && self.first_end.is_none() {
            self.first_end = self.end_offset().or(self.end_reached);
        }
        count
    }

    /// Returns the offset at which the partition ended when reading began; `None` before the first fetch.
    pub(crate) fn first_end(&self) -> Option<i64> {
        self.first_end
    }

    /// Returns the end of the partition as reading last came to it, of a consumer that is told of ends.
    pub(crate) fn end_reached(&self) -> Option<i64> {
        self.end_reached
    }

    /// Waits until the queue, once found empty, has something to take.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Returns what earlier owners of the partition completed beyond the committed offset, as far as that is not behind.
    pub(crate) fn completed(&self) -> Option<Arc<OffsetMap>> {
        self.completed.clone()
    }

    /// Returns which records from offset `first` on an earlier owner of the partition completed and said so in the
    /// metadata of its commit.
    pub(crate) fn completed_before(&mut self, first: i64) -> Option<Arc<OffsetMap>> {
        let completed = self.completed.as_ref()?;
        if first < completed.base() {
            tracing::warn!(
                topic = &*self.topic,
                partition = self.partition,
                offset = first,
                committed = completed.base(),
                "reading begins before the committed offset; what was complete behind it is handled again"
            );
            self.completed = None;
        } else if first >= completed.end() {
            self.completed = None;
        }
        self.completed.clone()
    }

    /// Stores `point` for librdkafka's next commit. After a revocation the store is refused, which is as it should be.
    ///
    /// librdkafka commits by itself only an offset that `has_moved`; where the metadata alone is news, it is committed
    /// here, without waiting.
    pub(crate) fn store(&self, point: &CommitPoint, has_moved: bool) {
        let Some(offsets) = self.offsets(point) else {
            return;
        };
        // SAFETY: handle (token) and list are alive.
        unsafe { sys::rd_kafka_offsets_store(self.client.handle, offsets.ptr()) };
        if !has_moved {
            // SAFETY: as above; with `async` set the call only enqueues a request. Its answer goes to the commit
            // callback.
            unsafe { sys::rd_kafka_commit(self.client.handle, offsets.ptr(), 1) };
        }
    }

    fn offsets(&self, point: &CommitPoint) -> Option<TopicPartitionList> {
        let mut offsets = TopicPartitionList::with_capacity(1);
        let mut element = offsets.add_partition(&self.topic, self.partition);
        element.set_offset(Offset::Offset(point.offset)).ok()?;
        if !point.metadata.is_empty() {
            element.set_metadata(&point.metadata);
        }
        Some(offsets)
    }

    /// Returns the partition's end offset as of the last fetch, `None` before the first.
    pub(crate) fn end_offset(&self) -> Option<i64> {
        let (mut low, mut high) = (0, 0);
        // SAFETY: reads the client's cache; handle and name are alive.
        let code = unsafe {
            sys::rd_kafka_get_watermark_offsets(
                self.client.handle,
                self.topic_c.as_ptr(),
                self.partition,
                &raw mut low,
                &raw mut high,
            )
        };
        (code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
    }
}

impl Drop for PartitionQueue {
    fn drop(&mut self) {
        // SAFETY: the callback is switched off before its Notify goes; the queue is destroyed once.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, null_mut());
            sys::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}
