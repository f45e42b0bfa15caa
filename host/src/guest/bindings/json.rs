//! The WIT types of `current`, `json` and `view-handler`.
//!
//! **Invariant:** as in the module above.

use wasmtime::component::{ComponentType, Lift, Lower, WasmList, WasmStr};

use super::{EmitError, OutgoingHeader};
use crate::prefix::TopicPrefix;
use crate::record::RecordView;

/// `view-handler.message-head`, lowered.
#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(in crate::guest) struct HeadParam<'a> {
    topic: &'a str,
    partition: u32,
    offset: u64,
    timestamp: Option<i64>,
    #[component(name = "key-size")]
    key_size: Option<u64>,
    #[component(name = "value-size")]
    value_size: Option<u64>,
    #[component(name = "headers-count")]
    headers_count: u32,
}

impl<'a> HeadParam<'a> {
    pub(in crate::guest) fn new(record: &RecordView<'a>, prefix: &TopicPrefix) -> Self {
        let size = |bytes: Option<&[u8]>| bytes.map(|bytes| bytes.len() as u64);
        Self {
            topic: prefix.short(record.topic),
            partition: record.partition.cast_unsigned(),
            offset: record.offset.cast_unsigned(),
            timestamp: record.timestamp_ms,
            key_size: size(record.key),
            value_size: size(record.value),
            headers_count: u32::try_from(record.headers.len()).unwrap_or(u32::MAX),
        }
    }
}

/// `current.current-error`.
#[derive(ComponentType, Lower, Debug, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
pub(in crate::guest) enum CurrentError {
    #[component(name = "no-message")]
    NoMessage,
}

/// `json.misplaced`.
#[derive(ComponentType, Lower, Debug, PartialEq, Eq)]
#[component(record)]
pub(in crate::guest) struct Misplaced {
    pub(in crate::guest) pointer: String,
    pub(in crate::guest) reason: String,
}

/// `json.fault`.
#[derive(ComponentType, Lower, Debug, PartialEq, Eq)]
#[component(record)]
pub(in crate::guest) struct TextFault {
    pub(in crate::guest) at: u64,
    pub(in crate::guest) reason: String,
}

/// `json.read-error`.
#[derive(ComponentType, Lower, Debug, PartialEq, Eq)]
#[component(variant)]
pub(in crate::guest) enum ReadError {
    #[component(name = "no-message")]
    NoMessage,
    #[component(name = "tombstone")]
    Tombstone,
    #[component(name = "invalid")]
    Invalid(TextFault),
    #[component(name = "too-large")]
    TooLarge(u64),
    #[component(name = "pointer")]
    Pointer(Misplaced),
}

/// `json.value`.
#[derive(ComponentType, Lower, Debug, PartialEq, Eq)]
#[component(variant)]
pub(in crate::guest) enum Value {
    #[component(name = "absent")]
    Absent,
    #[component(name = "null")]
    Null,
    #[component(name = "boolean")]
    Boolean(bool),
    #[component(name = "integer")]
    Integer(i64),
    #[component(name = "number")]
    Number(String),
    #[component(name = "text")]
    Text(String),
    #[component(name = "raw")]
    Raw(String),
}

/// `json.selection-error`.
#[derive(ComponentType, Lower, Debug, PartialEq, Eq)]
#[component(variant)]
pub(in crate::guest) enum SelectionError {
    #[component(name = "pointer")]
    Pointer(Misplaced),
    #[component(name = "too-many")]
    TooMany(String),
}

/// `json.envelope`, read in place from guest memory.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(in crate::guest) struct Envelope {
    pub(in crate::guest) topic: WasmStr,
    pub(in crate::guest) key: Option<WasmList<u8>>,
    pub(in crate::guest) headers: WasmList<OutgoingHeader>,
    pub(in crate::guest) partition: Option<u32>,
    pub(in crate::guest) timestamp: Option<i64>,
}

/// `json.setting`, read in place from guest memory.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(in crate::guest) struct SettingParam {
    pub(in crate::guest) pointer: WasmStr,
    pub(in crate::guest) value: WasmStr,
}

/// `json.change`, read in place from guest memory.
#[derive(ComponentType, Lift)]
#[component(variant)]
pub(in crate::guest) enum ChangeParam {
    #[component(name = "set")]
    Set(SettingParam),
    #[component(name = "remove")]
    Remove(WasmStr),
}

/// `json.change-error`.
#[derive(ComponentType, Lower)]
#[component(variant)]
pub(in crate::guest) enum ChangeError {
    #[component(name = "read")]
    Read(ReadError),
    #[component(name = "change")]
    Change(Misplaced),
    #[component(name = "emit")]
    Emit(EmitError),
}
