//! Kafka handlers as WebAssembly components, in one small file.
//!
//! A handler is a set of hooks: plain functions, named in [`handler!`]. The host calls them with
//! the records of a topic and sends what they [`emit`]. Nothing else is needed: no WIT, no Kafka
//! client, no async runtime.
//!
//! ```
//! use kafka_wasm_guest::{Json, Result, emit, handler};
//!
//! #[derive(serde::Deserialize, serde::Serialize)]
//! struct Order {
//!     id: String,
//!     total: f64,
//! }
//!
//! fn on_message(order: Json<Order>) -> Result {
//!     emit("orders.checked").key(&order.id).json(&order)?.send()?;
//!     Ok(())
//! }
//!
//! handler! { on_message }
//! # fn main() {}
//! ```
//!
//! Build it as a `cdylib` for `wasm32-wasip2`; the same file compiles natively too, where
//! `testing` stands in for the host.
//!
//! **Invariant:** a payload is copied once, by the host into the guest, or stays with the host. From there it moves, or is
//! lent; only what a handler keeps of a batch as a value of its own is copied again.

pub mod log;

mod batch;
mod bindings;
mod change;
mod config;
mod conversation;
mod current;
mod emit;
mod error;
mod events;
mod handler;
mod hook;
mod json;
mod message;
mod payload;
mod pipeline;
mod receipt;
mod stderr;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod view;
mod words;

pub use batch::{Batch, BulkFailure, IntoBulkResult};
pub use bindings::imports::kafka::handler::json::Value as JsonValue;
pub use bindings::imports::kafka::handler::types::{
    Failure, FailureKind, Header, Message, Outcome, Verdict,
};
pub use bindings::middleware::exports::kafka::handler::middleware::Reception;
pub use change::{Change, ChangeError, Changed};
pub use config::{Config, config};
pub use conversation::{NoRequest, PendingRequest, RequestError, reply};
pub use current::{Forward, FromView, View, forward};
pub use emit::{Emit, EmitError, IntoBytes, emit};
pub use error::{Error, Result, ResultExt, other, reject, retry, retry_after};
pub use events::event;
pub use json::{FromJson, JsonError, JsonFields, JsonSelection, JsonView, OtherKind};
pub use payload::{FromBatch, FromMessage, Json, Record};
pub use pipeline::Action;
pub use receipt::{Receipt, ReceiptError};
pub use serde_json;
pub use view::MessageView;

/// What the macros of this crate expand to. Not for direct use: it changes without notice.
#[doc(hidden)]
pub mod __private {
    pub use crate::bindings::decide::exports::kafka::handler::decider::Action as WireAction;
    pub use crate::bindings::imports::kafka::handler::types::{
        BulkFailure as WireFailure, HandlerError, Message,
    };
    pub use crate::bindings::packed_bulk::exports::kafka::handler::packed_bulk_handler::PackedBatch;
    pub use crate::bindings::view::exports::kafka::handler::view_handler::MessageHead;
    pub use crate::bindings::{
        bulk, bulk_error, bulk_received, context, decide, error, events, finished, message,
        middleware, packed_bulk, partition, received, tombstone, transform, view,
    };
    pub use crate::events::{unknown, with_event};
    pub use crate::hook::*;
    pub use crate::json::field;
}

/// Compiles the code of the README with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
