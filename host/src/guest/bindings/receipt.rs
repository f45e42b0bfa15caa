//! The words of `producer.emit-and-wait`.

use wasmtime::component::{ComponentType, Lower};

/// `producer.receipt`.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(in crate::guest) struct ReceiptParam {
    pub(in crate::guest) partition: u32,
    pub(in crate::guest) offset: u64,
    pub(in crate::guest) timestamp: Option<i64>,
}

/// `producer.receipt-error`.
#[derive(ComponentType, Lower)]
#[component(variant)]
pub(in crate::guest) enum ReceiptError {
    #[component(name = "timeout")]
    Timeout,
    #[component(name = "too-many-pending")]
    TooManyPending(String),
    #[component(name = "broker")]
    Broker(String),
    #[component(name = "too-large")]
    TooLarge(u64),
    #[component(name = "denied")]
    Denied(String),
    #[component(name = "not-now")]
    NotNow,
}
