//! A stand-in for the host, so that handlers are tested natively, without wasm and without Kafka.
//!
//! It is handed what a handler emits and logs, and owns it per thread, so that tests do not see
//! each other. It exists off wasm only.
//!
//! ```
//! use kafka_wasm_guest::{Json, Result, emit, testing};
//!
//! fn on_message(number: Json<u32>) -> Result {
//!     emit("squares").json(&(*number * *number))?.send()?;
//!     Ok(())
//! }
//!
//! testing::deliver(on_message, testing::message("numbers").json(&7).build()).unwrap();
//! assert_eq!(testing::emitted()[0].text(), Some("49"));
//! ```
//!
//! **Invariant:** as with the host, what a failed hook emitted is gone.

mod pipeline;
pub(crate) mod record;

pub use self::pipeline::{decide, transform};
pub use self::record::deliver_view;

use std::cell::RefCell;
use std::collections::VecDeque;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::imports::kafka::handler::producer::Outgoing;
use crate::bindings::packed_bulk::exports::kafka::handler::packed_bulk_handler::{
    Entry, PackedBatch, PackedHeader, Span,
};
use crate::log::Level;
use crate::message::find;
use crate::{
    BulkFailure, EmitError, Error, FromBatch, FromMessage, Header, IntoBulkResult, IntoBytes,
    Message, MessageView, Receipt, ReceiptError, RequestError, Result, batch,
};

#[derive(Default)]
struct Host {
    emitted: Vec<Emitted>,
    logged: Vec<Logged>,
    config: Vec<(String, String)>,
    refusal: Option<EmitError>,
    requested: Vec<Emitted>,
    responses: VecDeque<std::result::Result<Message, RequestError>>,
    written: Vec<Emitted>,
    /// How many were written so far.
    write_count: u64,
    receipts: VecDeque<std::result::Result<Receipt, ReceiptError>>,
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::default();
}

fn with_host<T>(use_it: impl FnOnce(&mut Host) -> T) -> T {
    HOST.with_borrow_mut(use_it)
}

/// A record that the handler emitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emitted {
    /// Where to.
    pub topic: String,
    /// `None` is no key.
    pub key: Option<Vec<u8>>,
    /// `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// In the order in which they were added.
    pub headers: Vec<Header>,
    /// `None` leaves it to the key.
    pub partition: Option<u32>,
    /// Milliseconds since the Unix epoch; `None` is the time of sending.
    pub timestamp_ms: Option<i64>,
}

impl Emitted {
    /// The key as text; `None` when there is none or it is not UTF-8.
    pub fn key_text(&self) -> Option<&str> {
        std::str::from_utf8(self.key.as_deref()?).ok()
    }

    /// The value as text; `None` for a tombstone or when it is not UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.value.as_deref()?).ok()
    }

    /// The value read as JSON; `None` for a tombstone or when it does not parse as `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(self.value.as_deref()?).ok()
    }

    /// The bytes of the last header of this name; `None` when there is none or its value is null.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        find(&self.headers, name)
    }
}

impl From<&Outgoing<'_>> for Emitted {
    fn from(outgoing: &Outgoing<'_>) -> Self {
        Self {
            topic: outgoing.topic.to_owned(),
            key: outgoing.key.map(Vec::from),
            value: outgoing.value.map(Vec::from),
            headers: outgoing.headers.iter().copied().cloned().collect(),
            partition: outgoing.partition,
            timestamp_ms: outgoing.timestamp,
        }
    }
}

/// A line that the handler logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// How much it matters.
    pub level: Level,
    /// The module that spoke.
    pub context: String,
    /// What it said.
    pub text: String,
}

/// Takes what was emitted on this thread since the last call.
pub fn emitted() -> Vec<Emitted> {
    with_host(|host| std::mem::take(&mut host.emitted))
}

/// Takes what was asked on this thread since the last call. A request stays asked when its hook fails.
pub fn requested() -> Vec<Emitted> {
    with_host(|host| std::mem::take(&mut host.requested))
}

/// Gives the response, or its failure, to whoever waits next on this thread. Who waits without
/// one being left runs out of time.
pub fn respond(response: std::result::Result<Message, RequestError>) {
    with_host(|host| host.responses.push_back(response));
}

/// Takes what was sent at once on this thread since the last call. A record stays written when its hook fails.
pub fn written() -> Vec<Emitted> {
    with_host(|host| std::mem::take(&mut host.written))
}

/// Gives the receipt, or its failure, to whoever sends at once next on this thread. Without one
/// being left each record has a receipt: its own partition or 0, and its place among all of them.
pub fn acknowledge(receipt: std::result::Result<Receipt, ReceiptError>) {
    with_host(|host| host.receipts.push_back(receipt));
}

/// Takes what was logged on this thread since the last call.
pub fn logged() -> Vec<Logged> {
    with_host(|host| std::mem::take(&mut host.logged))
}

/// Sets a value of the manifest's `[config]` for this thread.
pub fn set_config(key: impl Into<String>, value: impl Into<String>) {
    let (key, value) = (key.into(), value.into());
    with_host(|host| {
        host.config.retain(|(name, _)| *name != key);
        host.config.push((key, value));
    });
}

/// Makes the next emit on this thread fail.
pub fn refuse_next_emit(error: EmitError) {
    with_host(|host| host.refusal = Some(error));
}

/// Forgets everything on this thread: emits, requests and their responses, what was sent at once and its receipts, log
/// lines, config, a refusal.
pub fn reset() {
    with_host(|host| *host = Host::default());
}

/// Calls `on_message` or `on_tombstone` as the host would: converts the record, and drops what was
/// emitted when the hook fails.
pub fn deliver<T, E>(
    hook: impl FnOnce(T) -> std::result::Result<(), E>,
    mut message: Message,
) -> Result
where
    T: FromMessage,
    E: Into<Error>,
{
    record::in_hand(message.clone(), || {
        or_forget(|| hook(T::from_message(&mut message)?).map_err(Into::into))
    })
}

/// Calls `on_bulk` as the host would: records that do not parse are failures of their own, and
/// what was emitted is dropped when the whole batch fails.
///
/// The batch is never freed, so that a hook may borrow from it for as long as its test likes.
#[expect(
    clippy::needless_pass_by_value,
    reason = "a hook owns its batch, and tests read better so"
)]
pub fn deliver_bulk<T, R>(
    hook: impl FnOnce(Vec<T>) -> R,
    messages: Vec<Message>,
) -> Result<Vec<BulkFailure>>
where
    T: FromBatch<'static>,
    R: IntoBulkResult,
{
    let packed: &'static PackedBatch = Box::leak(Box::new(packed(&messages)));
    or_forget(|| batch::call(hook, MessageView::all(packed).map(T::from_batch)))
}

/// Lays records out as the host does.
pub(crate) fn packed(messages: &[Message]) -> PackedBatch {
    let mut batch = PackedBatch {
        topics: Vec::new(),
        entries: Vec::new(),
        headers: Vec::new(),
        data: Vec::new(),
    };
    for message in messages {
        let headers_start = small(batch.headers.len());
        for header in &message.headers {
            let key = pack(&mut batch.data, Some(header.key.as_bytes()));
            let value = pack(&mut batch.data, header.value.as_deref());
            batch.headers.push(PackedHeader { key, value });
        }
        let known = batch.topics.iter().position(|name| *name == message.topic);
        let topic = known.unwrap_or(batch.topics.len());
        if known.is_none() {
            batch.topics.push(message.topic.clone());
        }
        let (key, value) = (
            pack(&mut batch.data, message.key.as_deref()),
            pack(&mut batch.data, message.value.as_deref()),
        );
        batch.entries.push(Entry {
            offset: message.offset,
            timestamp: message.timestamp.unwrap_or(-1),
            topic: small(topic),
            partition: message.partition,
            key,
            value,
            headers_start,
            headers_count: small(message.headers.len()),
        });
    }
    batch
}

fn pack(data: &mut Vec<u8>, bytes: Option<&[u8]>) -> Span {
    let start = small(data.len());
    data.extend_from_slice(bytes.unwrap_or_default());
    Span {
        start,
        length: bytes.map_or(-1, |bytes| i32::try_from(bytes.len()).unwrap_or(i32::MAX)),
    }
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn or_forget<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = with_host(|host| host.emitted.len());
    run().inspect_err(|_| with_host(|host| host.emitted.truncate(before)))
}

/// Begins a record as a hook gets it: partition 0, offset 0, no key, an empty value.
pub fn message(topic: impl Into<String>) -> MessageBuilder {
    MessageBuilder(Message {
        topic: topic.into(),
        partition: 0,
        offset: 0,
        timestamp: None,
        key: None,
        value: Some(Vec::new()),
        headers: Vec::new(),
    })
}

/// A record in the making, begun by [`message`].
#[derive(Clone, Debug)]
#[must_use = "`build` makes the record"]
pub struct MessageBuilder(Message);

impl MessageBuilder {
    /// The key; `None` is no key.
    pub fn key<'v>(mut self, key: impl IntoBytes<'v>) -> Self {
        self.0.key = owned(key);
        self
    }

    /// The value as bytes; `None` is a tombstone.
    pub fn bytes<'v>(mut self, value: impl IntoBytes<'v>) -> Self {
        self.0.value = owned(value);
        self
    }

    /// The value as text.
    pub fn text(self, value: &str) -> Self {
        self.bytes(value)
    }

    /// The value as JSON. Panics where `T` has no JSON: the test is wrong then.
    #[expect(clippy::panic, reason = "a test shall fail where it is wrong")]
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(bytes) => self.bytes(bytes),
            Err(error) => panic!("this value has no JSON: {error}"),
        }
    }

    /// A null value.
    pub fn tombstone(mut self) -> Self {
        self.0.value = None;
        self
    }

    /// Adds a header; `None` is a null value.
    pub fn header<'v>(mut self, name: impl Into<String>, value: impl IntoBytes<'v>) -> Self {
        self.0.headers.push(Header {
            key: name.into(),
            value: owned(value),
        });
        self
    }

    /// The partition it comes from.
    pub fn partition(mut self, partition: u32) -> Self {
        self.0.partition = partition;
        self
    }

    /// Its place in the partition.
    pub fn offset(mut self, offset: u64) -> Self {
        self.0.offset = offset;
        self
    }

    /// Its time, in milliseconds since the Unix epoch.
    pub fn timestamp_ms(mut self, timestamp_ms: i64) -> Self {
        self.0.timestamp = Some(timestamp_ms);
        self
    }

    /// The record.
    pub fn build(self) -> Message {
        self.0
    }
}

fn owned<'v>(bytes: impl IntoBytes<'v>) -> Option<Vec<u8>> {
    bytes.into_bytes().map(std::borrow::Cow::into_owned)
}

pub(crate) fn take_emit(outgoing: &Outgoing<'_>) -> std::result::Result<(), EmitError> {
    with_host(|host| {
        if let Some(refusal) = host.refusal.take() {
            return Err(refusal);
        }
        host.emitted.push(Emitted::from(outgoing));
        Ok(())
    })
}

pub(crate) fn start_request(outgoing: &Outgoing<'_>) {
    with_host(|host| host.requested.push(Emitted::from(outgoing)));
}

pub(crate) fn next_response() -> std::result::Result<Message, RequestError> {
    let response = with_host(|host| host.responses.pop_front());
    response.unwrap_or(Err(RequestError::Timeout))
}

pub(crate) fn write(outgoing: &Outgoing<'_>) -> std::result::Result<Receipt, ReceiptError> {
    with_host(|host| {
        let offset = host.write_count;
        host.write_count += 1;
        host.written.push(Emitted::from(outgoing));
        let receipt = Receipt {
            partition: outgoing.partition.unwrap_or_default(),
            offset,
            timestamp_ms: outgoing.timestamp,
        };
        host.receipts.pop_front().unwrap_or(Ok(receipt))
    })
}

pub(crate) fn take_log(level: Level, context: &str, text: &str) {
    let line = Logged {
        level,
        context: context.to_owned(),
        text: text.to_owned(),
    };
    with_host(|host| host.logged.push(line));
}

pub(crate) fn config_value(key: &str) -> Option<String> {
    with_host(|host| {
        host.config
            .iter()
            .find_map(|(name, value)| (name == key).then(|| value.clone()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config, emit, reject};

    #[test]
    fn what_a_failed_hook_emitted_is_gone() {
        fn hook(text: String) -> Result {
            emit("t").text(&text).send()?;
            if text == "bad" {
                Err(reject(text))
            } else {
                Ok(())
            }
        }
        assert_eq!(deliver(hook, message("t").text("good").build()), Ok(()));
        assert_eq!(
            deliver(hook, message("t").text("bad").build()),
            Err(reject("bad"))
        );
        let texts: Vec<_> = emitted()
            .iter()
            .map(|e| e.text().map(str::to_owned))
            .collect();
        assert_eq!(texts, [Some("good".to_owned())]);
    }

    #[test]
    fn config_is_what_the_test_set_last() {
        assert_eq!(config("limit"), None);
        set_config("limit", "1");
        set_config("limit", "2");
        assert_eq!(config("limit").as_deref(), Some("2"));
        reset();
        assert_eq!(config("limit"), None);
    }
}
