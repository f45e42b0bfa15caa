//! The import `conversation`: a guest asks others and waits for their responses.
//!
//! **Invariant:** a guest that waits holds its instance and the right to wait, and nothing else that others may need.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::WasiView as _;

use super::allowance::Allowance;
use super::bindings::{EmitError, Outgoing, RequestError, ResponseMessage};
use super::lent::Lent;
use super::outgoing::with_record;
use super::setup::Conversation;
use super::state::GuestState;
use crate::reply::{Asker, Error, Response, Ticket, WAIT_MAX, WaitSlot, Wants};
use crate::route::{next_hop, with_hops};

/// What a call of an import returns: a trap, or a result for the guest.
type Answer<T> = wasmtime::Result<Result<T, RequestError>>;

/// A request that was written, as guests hold it.
pub(super) struct PendingRequest {
    ticket: Ticket,
    asker: Arc<Asker>,
}

/// Defines the import.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    let mut conversation = linker.instance("kafka:handler/conversation@0.1.0")?;
    conversation.resource(
        "pending-request",
        ResourceType::host::<PendingRequest>(),
        |mut store, handle| {
            let request = Resource::<PendingRequest>::new_own(handle);
            store.data_mut().ctx().table.delete(request)?;
            Ok(())
        },
    )?;
    conversation.func_wrap_async(
        "emit-with-response",
        |mut store: StoreContextMut<'_, GuestState>, (outgoing, timeout_ms): (Outgoing, u64)| {
            Box::new(async move {
                let result = emit_with_response(&mut store, &outgoing, timeout_ms).await?;
                let message = |it| ResponseMessage::new(it, &store.data().prefix);
                Ok((result.map(message),))
            })
        },
    )?;
    conversation.func_wrap_async(
        "start-request",
        |mut store: StoreContextMut<'_, GuestState>, (outgoing, timeout_ms): (Outgoing, u64)| {
            Box::new(async move { Ok((start_request(&mut store, &outgoing, timeout_ms).await?,)) })
        },
    )?;
    conversation.func_wrap_async(
        "[method]pending-request.next-response",
        |mut store: StoreContextMut<'_, GuestState>, (request,): (Resource<PendingRequest>,)| {
            Box::new(async move {
                let result = next_response(&mut store, &request).await?;
                let message = |it| ResponseMessage::new(it, &store.data().prefix);
                Ok((result.map(message),))
            })
        },
    )
}

async fn emit_with_response(
    store: &mut StoreContextMut<'_, GuestState>,
    outgoing: &Outgoing,
    timeout_ms: u64,
) -> Answer<Response> {
    let (asker, _slot) = match asker(store.data()) {
        Ok(asker) => asker,
        Err(error) => return Ok(Err(error)),
    };
    let until = deadline(timeout_ms);
    let mut ticket = match ask(store, outgoing, &asker, Wants::One, until).await? {
        Ok(ticket) => ticket,
        Err(error) => return Ok(Err(error)),
    };
    let mut clock = OffTheClock::of(store.data());
    let response = clock.response(&mut ticket).await;
    clock.let_in(store);
    Ok(response)
}

async fn start_request(
    store: &mut StoreContextMut<'_, GuestState>,
    outgoing: &Outgoing,
    timeout_ms: u64,
) -> Answer<Resource<PendingRequest>> {
    let (asker, _slot) = match asker(store.data()) {
        Ok(asker) => asker,
        Err(error) => return Ok(Err(error)),
    };
    let until = deadline(timeout_ms);
    let ticket = match ask(store, outgoing, &asker, Wants::Several, until).await? {
        Ok(ticket) => ticket,
        Err(error) => return Ok(Err(error)),
    };
    let request = PendingRequest { ticket, asker };
    Ok(Ok(store.data_mut().ctx().table.push(request)?))
}

async fn next_response(
    store: &mut StoreContextMut<'_, GuestState>,
    handle: &Resource<PendingRequest>,
) -> Answer<Response> {
    if !store.data().may_emit {
        return Ok(Err(RequestError::NotNow));
    }
    let mut clock = OffTheClock::of(store.data());
    let request = store.data_mut().ctx().table.get_mut(handle)?;
    let _slot = match request.asker.wait_slot() {
        Ok(slot) => slot,
        Err(error) => return Ok(Err(error.into())),
    };
    let response = clock.response(&mut request.ticket).await;
    clock.let_in(store);
    Ok(response)
}

/// Returns until when a guest waits that named a time.
pub(super) fn deadline(timeout_ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(timeout_ms).min(WAIT_MAX)
}

/// Returns what the guest asks by, with the right to wait; that is held until the guest is let in again.
fn asker(state: &GuestState) -> Result<(Arc<Asker>, WaitSlot), RequestError> {
    match &state.conversation {
        _ if !state.may_emit => Err(RequestError::NotNow),
        Conversation::Allowed(asker) => Ok((Arc::clone(asker), asker.wait_slot()?)),
        Conversation::Denied(why) => Err(RequestError::Denied((*why).to_owned())),
    }
}

/// Writes a request, once the topics of its responses are read.
async fn ask(
    store: &mut StoreContextMut<'_, GuestState>,
    outgoing: &Outgoing,
    asker: &Asker,
    wants: Wants,
    until: Instant,
) -> Answer<Ticket> {
    let mut clock = OffTheClock::of(store.data());
    let ready = clock.wait(until, |deadline| asker.ready(deadline, until));
    let ready = ready.await;
    clock.let_in(store);
    let turn = match ready {
        Ok(turn) => turn,
        Err(error) => return Ok(Err(error.into())),
    };
    // Whoever answers may ask in turn, on whatever host.
    let count = next_hop(store.data().hops).to_string();
    let meter = Arc::clone(&store.data().meter);
    with_record(store, outgoing, |record| {
        meter.emitted(1, record.size_bytes());
        Ok(asker.ask(turn, with_hops(record, &count), wants, until)?)
    })
}

/// How a guest waits: without its permit, in time that is not the hook's.
pub(super) struct OffTheClock {
    allowance: Arc<Allowance>,
    lent: Lent,
    /// Whether others had their turn meanwhile.
    has_waited: bool,
}

impl OffTheClock {
    pub(super) fn of(state: &GuestState) -> Self {
        Self {
            allowance: Arc::clone(&state.allowance),
            lent: state.lent.clone(),
            has_waited: false,
        }
    }

    /// Waits for what `begin` makes, which is told how long it may take.
    pub(super) async fn wait<T, F: Future<Output = T>>(
        &mut self,
        until: Instant,
        begin: impl FnOnce(Instant) -> F,
    ) -> T {
        let until = self.allowance.until(until);
        let mut awaited = pin!(begin(until));
        // What is there already is taken without giving back what would be needed again at once.
        let first = poll_fn(|context| Poll::Ready(awaited.as_mut().poll(context)));
        if let Poll::Ready(result) = first.await {
            return result;
        }
        let pause = self.allowance.pause(until);
        let result = {
            let mut waiting = pin!(self.lent.wait(awaited));
            poll_fn(|context| {
                let poll = waiting.as_mut().poll(context);
                self.has_waited |= poll.is_pending();
                poll
            })
            .await
        };
        self.allowance.go_on(&pause);
        result
    }

    /// Lets the guest in again. The epoch went on while it waited, and would send it to the end of the line as if it had
    /// computed, in time that is its own. One that did not wait gains nothing: it could else go on for ever.
    pub(super) fn let_in(&self, store: &mut StoreContextMut<'_, GuestState>) {
        if self.has_waited {
            store.set_epoch_deadline(1);
        }
    }

    /// Waits for a response to a request.
    async fn response(&mut self, ticket: &mut Ticket) -> Result<Response, RequestError> {
        let response = self.wait(ticket.deadline(), |until| ticket.response(until));
        Ok(response.await?)
    }
}

impl From<Error> for RequestError {
    fn from(error: Error) -> Self {
        match error {
            Error::Timeout => Self::Timeout,
            Error::TooManyPending(limit) => Self::TooManyPending(limit),
            Error::ReplyStore(why) => Self::ReplyStore(why),
            Error::Broker(why) => Self::Broker(why),
            Error::Denied(why) => Self::Denied(why),
        }
    }
}

impl From<EmitError> for RequestError {
    fn from(error: EmitError) -> Self {
        match error {
            EmitError::TooLarge(limit) => Self::TooLarge(limit),
            EmitError::Denied(why) | EmitError::QuotaExceeded(why) => Self::Denied(why),
            EmitError::NotNow => Self::NotNow,
        }
    }
}
