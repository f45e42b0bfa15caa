//! The WIT types of `kafka:handler@0.1.0` as the host lowers and lifts them.
//!
//! Written by hand, because the parameters borrow from the fetch buffer and so reach guest memory in one copy;
//! generated bindings cannot borrow through an interface that is imported and exported at once.
//! **Invariant:** field and case order are those of wit/; a mismatch is found when a component is loaded.

pub(super) mod json;
pub(super) mod receipt;
pub(super) mod steps;

use wasmtime::component::{ComponentType, Lift, Lower, WasmList, WasmStr};

use crate::outcome::{Ending, Failure, FailureKind, Verdict};
use crate::prefix::TopicPrefix;
use crate::record::{Changed, Header, RecordView};
use crate::reply::Response;

/// `types.header`, lowered.
#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(super) struct HeaderParam<'a> {
    key: &'a str,
    value: Option<&'a [u8]>,
}

/// Makes the parameter for a record's headers.
pub(super) fn header_params<'a>(headers: &'a [Header<'a>]) -> Vec<HeaderParam<'a>> {
    headers
        .iter()
        .map(|header| HeaderParam {
            key: &header.key,
            value: header.value,
        })
        .collect()
}

/// `types.message`, lowered.
#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(super) struct MessageParam<'a> {
    topic: &'a str,
    partition: u32,
    offset: u64,
    timestamp: Option<i64>,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: &'a [HeaderParam<'a>],
}

impl<'a> MessageParam<'a> {
    pub(super) fn new(
        record: &RecordView<'a>,
        headers: &'a [HeaderParam<'a>],
        prefix: &TopicPrefix,
    ) -> Self {
        Self {
            topic: prefix.short(record.topic),
            partition: record.partition.cast_unsigned(),
            offset: record.offset.cast_unsigned(),
            timestamp: record.timestamp_ms,
            key: record.key,
            value: record.value,
            headers,
        }
    }
}

/// `types.header`, lifted.
#[derive(ComponentType, Lift, Debug)]
#[component(record)]
pub(super) struct HeaderResult {
    key: String,
    value: Option<Vec<u8>>,
}

/// `types.message`, lifted from `did-receive` and `did-receive-bulk`.
#[derive(ComponentType, Lift, Debug)]
#[component(record)]
#[expect(
    dead_code,
    reason = "a returned record keeps the place of the original"
)]
pub(super) struct MessageResult {
    topic: String,
    partition: u32,
    pub(super) offset: u64,
    timestamp: Option<i64>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<HeaderResult>,
}

impl From<MessageResult> for Changed {
    fn from(message: MessageResult) -> Self {
        let headers = message.headers.into_iter();
        Self {
            timestamp_ms: message.timestamp,
            key: message.key,
            value: message.value,
            headers: headers.map(|header| (header.key, header.value)).collect(),
        }
    }
}

/// `middleware.reception`.
#[derive(ComponentType, Lift, Debug)]
#[component(variant)]
pub(super) enum ReceptionResult {
    #[component(name = "pass")]
    Pass,
    #[component(name = "change")]
    Change(MessageResult),
    #[component(name = "drop")]
    Drop,
}

/// `types.retry-request`.
#[derive(ComponentType, Lift, Debug)]
#[component(record)]
pub(super) struct RetryRequest {
    #[component(name = "delay-ms")]
    delay_ms: Option<u64>,
    reason: String,
}

/// `types.handler-error`.
#[derive(ComponentType, Lift, Debug)]
#[component(variant)]
pub(super) enum HandlerError {
    #[component(name = "retry")]
    Retry(RetryRequest),
    #[component(name = "reject")]
    Reject(String),
    #[component(name = "other")]
    Other(String),
}

impl From<HandlerError> for Failure {
    fn from(error: HandlerError) -> Self {
        match error {
            HandlerError::Retry(RetryRequest { delay_ms, reason }) => Self {
                retry_after: delay_ms.map(std::time::Duration::from_millis),
                ..Self::new(FailureKind::Retry, reason)
            },
            HandlerError::Reject(message) => Self::new(FailureKind::Reject, message),
            HandlerError::Other(message) => Self::new(FailureKind::Other, message),
        }
    }
}

/// `types.failure-kind`.
#[derive(ComponentType, Lower, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
pub(super) enum FailureKindParam {
    #[component(name = "retry")]
    Retry,
    #[component(name = "reject")]
    Reject,
    #[component(name = "other")]
    Other,
    #[component(name = "trap")]
    Trap,
    #[component(name = "deadline")]
    Deadline,
    #[component(name = "memory")]
    Memory,
}

/// `types.failure`, lowered.
#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(super) struct FailureParam<'a> {
    kind: FailureKindParam,
    message: &'a str,
    attempt: u32,
    #[component(name = "max-attempts")]
    max_attempts: u32,
}

impl<'a> FailureParam<'a> {
    pub(super) fn new(failure: &'a Failure, attempt: u32, max_attempts: u32) -> Self {
        let kind = match failure.kind {
            FailureKind::Retry => FailureKindParam::Retry,
            FailureKind::Reject => FailureKindParam::Reject,
            // These are settled without the guest.
            FailureKind::Other
            | FailureKind::Emit
            | FailureKind::Parked
            | FailureKind::Unmatched
            | FailureKind::Loop => FailureKindParam::Other,
            FailureKind::Trap => FailureKindParam::Trap,
            FailureKind::Deadline => FailureKindParam::Deadline,
            FailureKind::Memory => FailureKindParam::Memory,
        };
        Self {
            kind,
            message: &failure.message,
            attempt,
            max_attempts,
        }
    }
}

/// `types.verdict`.
#[derive(ComponentType, Lift, Debug, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "made by lifting only")]
pub(super) enum VerdictResult {
    #[component(name = "resume")]
    Resume,
    #[component(name = "retry")]
    Retry,
    #[component(name = "dead-letter")]
    DeadLetter,
    #[component(name = "halt")]
    Halt,
}

impl From<VerdictResult> for Verdict {
    fn from(verdict: VerdictResult) -> Self {
        match verdict {
            VerdictResult::Resume => Self::Resume,
            VerdictResult::Retry => Self::Retry,
            VerdictResult::DeadLetter => Self::DeadLetter,
            VerdictResult::Halt => Self::Halt,
        }
    }
}

/// `types.outcome`.
#[derive(ComponentType, Lower, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
pub(super) enum OutcomeParam {
    #[component(name = "handled")]
    Handled,
    #[component(name = "filtered")]
    Filtered,
    #[component(name = "skipped")]
    Skipped,
    #[component(name = "dead-lettered")]
    DeadLettered,
    #[component(name = "halted")]
    Halted,
}

impl From<Ending> for OutcomeParam {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Handled => Self::Handled,
            Ending::Filtered => Self::Filtered,
            Ending::Skipped => Self::Skipped,
            Ending::DeadLettered | Ending::Parked => Self::DeadLettered,
            // No hook is told of a record that is not at its end, or was not handed over.
            Ending::Halted | Ending::Deferred | Ending::Compacted | Ending::Unmatched => {
                Self::Halted
            }
        }
    }
}

/// `types.bulk-failure`.
#[derive(ComponentType, Lift, Debug)]
#[component(record)]
pub(super) struct BulkFailure {
    pub(super) index: u32,
    pub(super) error: HandlerError,
}

/// `packed-bulk-handler.span`.
#[derive(ComponentType, Lower, Debug, Clone, Copy, PartialEq, Eq)]
#[component(record)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) length: i32,
}

/// `packed-bulk-handler.packed-header`.
#[derive(ComponentType, Lower, Debug, Clone, Copy)]
#[component(record)]
pub(super) struct PackedHeader {
    pub(super) key: Span,
    pub(super) value: Span,
}

/// `packed-bulk-handler.entry`.
#[derive(ComponentType, Lower, Debug, Clone, Copy)]
#[component(record)]
pub(super) struct Entry {
    pub(super) offset: u64,
    pub(super) timestamp: i64,
    pub(super) topic: u32,
    pub(super) partition: u32,
    pub(super) key: Span,
    pub(super) value: Span,
    #[component(name = "headers-start")]
    pub(super) headers_start: u32,
    #[component(name = "headers-count")]
    pub(super) headers_count: u32,
}

/// `packed-bulk-handler.packed-batch`.
#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(super) struct PackedBatch<'a> {
    pub(super) topics: &'a [&'a str],
    pub(super) entries: &'a [Entry],
    pub(super) headers: &'a [PackedHeader],
    pub(super) data: &'a [u8],
}

/// `producer.outgoing`, read in place from guest memory.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct Outgoing {
    pub(super) topic: WasmStr,
    pub(super) key: Option<WasmList<u8>>,
    pub(super) value: Option<WasmList<u8>>,
    pub(super) headers: WasmList<OutgoingHeader>,
    pub(super) partition: Option<u32>,
    pub(super) timestamp: Option<i64>,
}

/// `types.header`, read in place from guest memory.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct OutgoingHeader {
    pub(super) key: WasmStr,
    pub(super) value: Option<WasmList<u8>>,
}

/// `producer.emit-error`.
#[derive(ComponentType, Lower)]
#[component(variant)]
pub(super) enum EmitError {
    #[component(name = "too-large")]
    TooLarge(u64),
    #[component(name = "denied")]
    Denied(String),
    #[component(name = "quota-exceeded")]
    QuotaExceeded(String),
    #[component(name = "not-now")]
    NotNow,
}

/// `conversation.request-error`.
#[derive(ComponentType, Lower)]
#[component(variant)]
pub(super) enum RequestError {
    #[component(name = "timeout")]
    Timeout,
    #[component(name = "too-many-pending")]
    TooManyPending(String),
    #[component(name = "reply-store")]
    ReplyStore(String),
    #[component(name = "broker")]
    Broker(String),
    #[component(name = "too-large")]
    TooLarge(u64),
    #[component(name = "denied")]
    Denied(String),
    #[component(name = "not-now")]
    NotNow,
}

/// `types.header`, lowered from what the host owns.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(super) struct ResponseHeader {
    key: String,
    value: Option<Vec<u8>>,
}

impl From<&Header<'_>> for ResponseHeader {
    fn from(header: &Header<'_>) -> Self {
        Self {
            key: header.key.to_string(),
            value: header.value.map(Vec::from),
        }
    }
}

/// `types.message`, lowered from a response that the host owns.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(super) struct ResponseMessage {
    topic: String,
    partition: u32,
    offset: u64,
    timestamp: Option<i64>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<ResponseHeader>,
}

impl ResponseMessage {
    pub(super) fn new(response: Response, prefix: &TopicPrefix) -> Self {
        let headers = response.headers.into_iter();
        Self {
            topic: prefix.short(&response.topic).to_owned(),
            partition: response.partition.cast_unsigned(),
            offset: response.offset.cast_unsigned(),
            timestamp: response.timestamp_ms,
            key: response.key,
            value: response.value,
            headers: headers
                .map(|(key, value)| ResponseHeader { key, value })
                .collect(),
        }
    }
}

/// `wasi:logging/logging.level`.
#[derive(ComponentType, Lift, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "most cases are made by lifting only")]
pub(super) enum LogLevel {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
    #[component(name = "critical")]
    Critical,
}

/// `wasi:config/store.error`.
#[derive(ComponentType, Lower)]
#[component(variant)]
#[expect(
    dead_code,
    reason = "the host's configuration is in memory and never fails"
)]
pub(super) enum ConfigError {
    #[component(name = "upstream")]
    Upstream(String),
    #[component(name = "io")]
    Io(String),
}
