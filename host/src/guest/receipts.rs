//! The import `emit-and-wait`: a guest sends a record at once and waits until Kafka has it.
//!
//! **Invariant:** a receipt says where the record is; a guest that waits for one holds its instance and the right to wait, which
//! is one of those that guests have who wait for responses.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout_at;
use wasmtime::StoreContextMut;
use wasmtime::component::LinkerInstance;

use super::bindings::receipt::{ReceiptError, ReceiptParam};
use super::bindings::{EmitError, Outgoing};
use super::outgoing::with_record;
use super::requests::{OffTheClock, deadline};
use super::state::GuestState;
use crate::courier::{Courier, NotWritten, Post, Receipt, Report};
use crate::reply::{WaitSlot, WaitSlots};
use crate::route::{next_hop, with_hops};

/// Whether a guest may send records at once, and by what.
#[derive(Debug, Clone)]
pub(crate) enum Receipts {
    /// By this.
    Allowed(Arc<Desk>),
    /// Not at all; why.
    Denied(&'static str),
}

/// What the instances of a handler send by, together.
#[derive(Debug)]
pub(crate) struct Desk {
    post: Arc<Post>,
    /// One for each record of the handler that may be under way.
    slots: Arc<Semaphore>,
    slots_max: usize,
    /// Those of the host.
    wait_slots: WaitSlots,
}

impl Receipts {
    /// Lets instances of a handler send by `post`, so many records at once.
    pub(crate) fn by(post: &Arc<Post>, slots_max: usize, wait_slots: &WaitSlots) -> Self {
        Self::Allowed(Arc::new(Desk {
            post: Arc::clone(post),
            slots: Arc::new(Semaphore::new(slots_max)),
            slots_max,
            wait_slots: wait_slots.clone(),
        }))
    }

    fn desk(&self) -> Result<&Desk, ReceiptError> {
        match self {
            Self::Allowed(desk) => Ok(desk),
            Self::Denied(why) => Err(ReceiptError::Denied((*why).to_owned())),
        }
    }
}

/// A place among those who wait on the host, and one among those of the handler.
type Entry = (Option<WaitSlot>, OwnedSemaphorePermit);

impl Desk {
    /// Takes the right to wait, and what to send by. The right is held until the guest is let in again.
    fn enter(&self) -> Result<(Entry, Arc<Courier>), ReceiptError> {
        let wait = self
            .wait_slots
            .take_for_receipt()
            .map_err(ReceiptError::TooManyPending)?;
        let slot = Arc::clone(&self.slots).try_acquire_owned().map_err(|_| {
            ReceiptError::TooManyPending(format!(
                "the handler may have {} at once (limits.pending-requests)",
                self.slots_max
            ))
        })?;
        let courier = self.post.courier().map_err(ReceiptError::Broker)?;
        Ok(((wait, slot), courier))
    }
}

/// Defines the import.
pub(super) fn add_to_linker(producer: &mut LinkerInstance<'_, GuestState>) -> wasmtime::Result<()> {
    producer.func_wrap_async(
        "emit-and-wait",
        |mut store: StoreContextMut<'_, GuestState>, (outgoing, timeout_ms): (Outgoing, u64)| {
            Box::new(async move { Ok((emit_and_wait(&mut store, &outgoing, timeout_ms).await?,)) })
        },
    )
}

async fn emit_and_wait(
    store: &mut StoreContextMut<'_, GuestState>,
    outgoing: &Outgoing,
    timeout_ms: u64,
) -> wasmtime::Result<Result<ReceiptParam, ReceiptError>> {
    if !store.data().may_emit {
        return Ok(Err(ReceiptError::NotNow));
    }
    let until = deadline(timeout_ms);
    let (_entry, courier) = match store.data().receipts.desk().and_then(Desk::enter) {
        Ok(entered) => entered,
        Err(error) => return Ok(Err(error)),
    };
    let count = next_hop(store.data().hops).to_string();
    let meter = Arc::clone(&store.data().meter);
    let sent = with_record(store, outgoing, |record| {
        meter.emitted(1, record.size_bytes());
        let record = with_hops(record, &count);
        courier.send(&record).map_err(ReceiptError::Broker)
    })?;
    let reported = match sent {
        Ok(reported) => reported,
        Err(error) => return Ok(Err(error)),
    };
    let mut clock = OffTheClock::of(store.data());
    let reported = clock.wait(until, |until| timeout_at(until, reported)).await;
    clock.let_in(store);
    let report = match reported {
        Ok(report) => said(report),
        Err(_) => return Ok(Err(ReceiptError::Timeout)),
    };
    Ok(report.and_then(ReceiptParam::try_from))
}

fn said(report: Result<Report, oneshot::error::RecvError>) -> Result<Receipt, ReceiptError> {
    let stops = |_| Err(NotWritten::Refused("the host stops".to_owned()));
    report.unwrap_or_else(stops).map_err(ReceiptError::from)
}

impl From<NotWritten> for ReceiptError {
    fn from(why: NotWritten) -> Self {
        match why {
            NotWritten::Late => Self::Timeout,
            NotWritten::Refused(why) => Self::Broker(why),
        }
    }
}

impl TryFrom<Receipt> for ReceiptParam {
    type Error = ReceiptError;

    fn try_from(receipt: Receipt) -> Result<Self, ReceiptError> {
        let Some(offset) = receipt.offset else {
            let what = "the record is written, and Kafka does not say at which offset";
            return Err(ReceiptError::Broker(what.to_owned()));
        };
        Ok(Self {
            partition: receipt.partition.cast_unsigned(),
            offset,
            timestamp: receipt.timestamp_ms,
        })
    }
}

impl From<EmitError> for ReceiptError {
    fn from(error: EmitError) -> Self {
        match error {
            EmitError::TooLarge(limit) => Self::TooLarge(limit),
            EmitError::Denied(why) | EmitError::QuotaExceeded(why) => Self::Denied(why),
            EmitError::NotNow => Self::NotNow,
        }
    }
}
