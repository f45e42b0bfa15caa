//! One fetched record, still in librdkafka's fetch buffer.
//!
//! **Invariant:** a record is destroyed exactly once, and before its consumer is dropped: librdkafka waits for the
//! last record when a consumer closes.

#![expect(
    unsafe_code,
    reason = "raw partition queues hand out raw messages; the safe wrapper cannot carry them"
)]

use std::ffi::CStr;
use std::ptr::NonNull;

use rdkafka::bindings as sys;

use crate::record::{Header, RecordView};

/// A fetched record that owns its place in the fetch buffer.
#[derive(Debug)]
pub(crate) struct Record(NonNull<sys::rd_kafka_message_t>);

// SAFETY: librdkafka's messages may be read and destroyed from any thread, see INTRODUCTION.md "Thread safety".
unsafe impl Send for Record {}
// SAFETY: all access through `&Record` reads fields that nobody writes after the fetch. Headers are parsed lazily by
// the first reader, therefore a record is only ever shared after its view was taken once by its owner.
unsafe impl Sync for Record {}

impl Record {
    /// Takes over a message from a batch.
    ///
    /// # Safety
    /// `message` must come from `rd_kafka_consume_batch_queue` and nobody else may destroy it.
    pub(super) unsafe fn from_raw(message: NonNull<sys::rd_kafka_message_t>) -> Self {
        Self(message)
    }

    fn message(&self) -> &sys::rd_kafka_message_t {
        // SAFETY: the pointer is valid until drop.
        unsafe { self.0.as_ref() }
    }

    /// Returns the error that librdkafka delivered in place of a record.
    pub(super) fn error(&self) -> Option<rdkafka::types::RDKafkaErrorCode> {
        let err = self.message().err;
        (err != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| err.into())
    }

    /// Returns the offset.
    pub(crate) fn offset(&self) -> i64 {
        self.message().offset
    }

    /// Returns the bytes of key and value.
    pub(crate) fn size_bytes(&self) -> usize {
        self.message().len + self.message().key_len
    }

    /// Lends the record's key.
    pub(crate) fn key(&self) -> Option<&[u8]> {
        let message = self.message();
        // SAFETY: librdkafka keeps the key alive with the message.
        unsafe { bytes(message.key, message.key_len) }
    }

    /// Lends the record's parts. `topic` is the topic of the queue it came from.
    pub(crate) fn view<'a>(&'a self, topic: &'a str) -> RecordView<'a> {
        let message = self.message();
        RecordView {
            topic,
            partition: message.partition,
            offset: message.offset,
            timestamp_ms: self.timestamp_ms(),
            key: self.key(),
            // SAFETY: librdkafka keeps the payload alive with the message.
            value: unsafe { bytes(message.payload, message.len) },
            headers: self.headers(),
        }
    }

    /// Returns the record's timestamp in milliseconds since the Unix epoch.
    pub(crate) fn timestamp_ms(&self) -> Option<i64> {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: reads two fields of a valid message.
        let timestamp = unsafe { sys::rd_kafka_message_timestamp(self.0.as_ptr(), &raw mut kind) };
        (kind != sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE && timestamp >= 0)
            .then_some(timestamp)
    }

    /// Returns whether it has a header of this name.
    pub(crate) fn has_header(&self, name: &CStr) -> bool {
        let Some(list) = self.header_list() else {
            return false;
        };
        let (mut value, mut len) = (std::ptr::null(), 0);
        // SAFETY: the list is valid, and the name ends with a NUL.
        let found = unsafe {
            sys::rd_kafka_header_get_last(list, name.as_ptr(), &raw mut value, &raw mut len)
        };
        found == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
    }

    fn header_list(&self) -> Option<*mut sys::rd_kafka_headers_t> {
        let mut list = std::ptr::null_mut();
        // SAFETY: parses the headers in place on first use; the list lives as long as the message.
        let found = unsafe { sys::rd_kafka_message_headers(self.0.as_ptr(), &raw mut list) };
        (found == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then_some(list)
    }

    fn headers(&self) -> Vec<Header<'_>> {
        let Some(list) = self.header_list() else {
            return Vec::new();
        };
        let mut headers = Vec::new();
        for index in 0.. {
            let (mut key, mut value, mut len) = (std::ptr::null(), std::ptr::null(), 0);
            // SAFETY: the list is valid; an index past its end is answered by an error.
            let found = unsafe {
                sys::rd_kafka_header_get_all(
                    list,
                    index,
                    &raw mut key,
                    &raw mut value,
                    &raw mut len,
                )
            };
            if found != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                break;
            }
            // SAFETY: librdkafka ends header keys with a NUL and keeps both alive with the message.
            let (key, value) = unsafe { (CStr::from_ptr(key), bytes(value, len)) };
            headers.push(Header {
                key: String::from_utf8_lossy(key.to_bytes()),
                value,
            });
        }
        headers
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        // SAFETY: the message is ours and is destroyed only here.
        unsafe { sys::rd_kafka_message_destroy(self.0.as_ptr()) };
    }
}

/// Reads a C byte string in which the null pointer means Kafka's null.
///
/// # Safety
/// A non-null `start` must be valid for `len` bytes for `'a`.
unsafe fn bytes<'a>(start: *const std::ffi::c_void, len: usize) -> Option<&'a [u8]> {
    if start.is_null() {
        return None;
    }
    // SAFETY: by the caller's promise.
    Some(unsafe { std::slice::from_raw_parts(start.cast::<u8>(), len) })
}
