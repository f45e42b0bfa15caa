//! Running guests: the engine, components, instances and what guests may call.
//!
//! The only place that knows wasmtime. Handed records as views; answers with outcomes, and with an outbox of emits.
//! **Invariant:** a trap, a deadline or a breach of memory costs the instance and nothing else.

mod allowance;
mod aot;
mod bindings;
mod clock;
pub(crate) mod component;
mod current;
mod engine;
#[cfg(any(fuzzing, test))]
mod fuzzed;
mod imports;
mod instance;
mod invoke;
mod lent;
mod library;
mod log;
mod machine;
mod outgoing;
mod packed;
mod places;
mod reading;
mod receipts;
mod requests;
mod room;
mod seal;
mod setup;
mod slow;
mod stage;
mod state;
mod step;
mod stopwatch;

pub(crate) use aot::AotCache;
pub(crate) use component::{EMPTY, Error as LoadError, Handler, Role};
pub(crate) use engine::Runtime;
#[cfg(any(fuzzing, test))]
pub(crate) use fuzzed::imports_fuzzed;
pub(crate) use instance::{BulkOutcome, Instance};
pub(crate) use lent::{Admitted, Lent};
pub(crate) use log::GuestLog;
pub(crate) use places::{Place, Places};
pub(crate) use receipts::Receipts;
pub(crate) use setup::{Conversation, Setup};
pub(crate) use stage::{Reception, Stage};

/// Why the runtime cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Wasmtime refuses its configuration.
    #[error("the WebAssembly engine cannot be made: {0}")]
    Engine(#[source] wasmtime::Error),
    /// The system does not allow what so many instances need.
    #[error("{0}")]
    Mappings(String),
    /// The system forbids what every instance needs.
    #[error("{0}")]
    Forbidden(String),
    /// The ticker's thread cannot be started.
    #[error("the engine's ticker cannot be started: {0}")]
    Ticker(#[source] std::io::Error),
}
