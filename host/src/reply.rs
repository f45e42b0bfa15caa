//! Requests of guests and the responses to them.
//!
//! An [`Exchange`] writes the requests of a tenant's handlers at once and reads the topics of their responses, from the end,
//! as nobody's member: each host reads all of them, and keeps what belongs to its own requests. An [`Asker`] is what one
//! revision of a handler has of it.
//! **Invariant:** a response reaches the request whose id it bears, of a handler that names its topic and event, or
//! nobody; whatever becomes of a wait, nothing of it is left behind.

mod exchanges;
mod reader;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::error::KafkaError;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};

pub(crate) use self::exchanges::Exchanges;
use self::reader::Reader;
use crate::courier::{Courier, Report};
use crate::json::{Pointer, PointerSet, pick};
use crate::pending::{Arrival, CorrelationId, Pending, Taken};
use crate::policy::ResponseRoute;
use crate::record::{Emit, Header};
use crate::stats::Counter;

/// The header by which a response is recognized, as kafka-python-app has it.
pub(crate) const ID_HEADER: &str = "event_id";
/// The header that tells whoever answers where to.
pub(crate) const REPLY_TO_HEADER: &str = "reply-to";

/// How many responses to one request wait to be taken.
const RESPONSES_MAX: usize = 64;
/// With so many bytes of them no more are kept.
const RESPONSES_BYTES_MAX: usize = 1 << 20;

/// What can go wrong when an exchange is opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// librdkafka refuses a setting.
    #[error("no client for requests and responses can be made: {0}")]
    Settings(#[source] KafkaError),
    /// The thread that reads responses cannot be started.
    #[error("the thread for responses cannot be started: {0}")]
    Thread(#[source] std::io::Error),
}

/// Why a request has no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Error {
    /// None came in time.
    Timeout,
    /// As many requests wait as may.
    TooManyPending(String),
    /// Responses cannot be read.
    ReplyStore(String),
    /// Kafka did not take the request.
    Broker(String),
    /// The request would be taken for its own response.
    Denied(String),
}

/// A response as it was read.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: Option<i64>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

/// How many responses a request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    One,
    Several,
}

/// Who waits for a response.
#[derive(Debug)]
struct Waiter {
    /// Of which exchange; an id alone opens no other's response.
    exchange: u64,
    routes: Arc<[ResponseRoute]>,
    wants: Wants,
    inbox: Arc<Inbox>,
}

/// Responses that wait to be taken. Smaller than a channel, of which ten thousand may wait.
#[derive(Debug, Default)]
struct Inbox {
    responses: Mutex<VecDeque<Response>>,
    came: Notify,
}

impl Response {
    fn size_bytes(&self) -> usize {
        let headers = self.headers.iter();
        let headers = headers.map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len));
        let payload = [&self.key, &self.value].map(|bytes| bytes.as_ref().map_or(0, Vec::len));
        payload.iter().sum::<usize>() + headers.sum::<usize>()
    }
}

impl Inbox {
    /// Takes a response in, if there is room; returns whether there was.
    fn put(&self, response: impl FnOnce() -> Response) -> bool {
        let mut responses = self.responses.lock();
        // A single one of any size has room.
        let bytes: usize = responses.iter().map(Response::size_bytes).sum();
        let has_room = responses.len() < RESPONSES_MAX && bytes < RESPONSES_BYTES_MAX;
        if has_room {
            responses.push_back(response());
            self.came.notify_one();
        }
        has_room
    }

    async fn take(&self) -> Response {
        loop {
            if let Some(response) = self.responses.lock().pop_front() {
                return response;
            }
            self.came.notified().await;
        }
    }
}

/// What was counted of a tenant's requests.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Requests that were handed to Kafka, and those of them that do not wait any more.
    pub(crate) begun: Counter,
    pub(crate) ended: Counter,
    pub(crate) answered: Counter,
    pub(crate) timed_out: Counter,
    /// Requests that had neither a response nor the time to wait for one.
    pub(crate) failed: Counter,
    /// Responses that came after their request was given up.
    pub(crate) late: Counter,
    /// Responses to requests that had one already.
    pub(crate) repeated: Counter,
    /// Responses to requests of others, or of long ago.
    pub(crate) unknown: Counter,
}

impl Counts {
    /// Returns how many requests wait.
    pub(crate) fn pending(&self) -> u64 {
        // In this order, so that it is never less than none.
        let ended = self.ended.get();
        self.begun.get().saturating_sub(ended)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Exchange {
    number: u64,
    courier: Courier,
    reader: Reader,
    pending: Arc<Mutex<Pending<Waiter>>>,
    counts: Arc<Counts>,
}

/// What a handler asks by.
#[derive(Debug)]
pub(crate) struct Asker {
    exchange: Arc<Exchange>,
    routes: Arc<[ResponseRoute]>,
    /// One for each request of the handler that may wait.
    request_slots: Arc<Semaphore>,
    request_slots_max: usize,
    /// One for each guest of the host that may wait.
    wait_slots: Arc<Semaphore>,
}

/// The right to wait for responses. Held until the guest is at work again, so that guests that wait, or have waited and are
/// not let in yet, never take all places for instances.
pub(crate) type WaitSlot = OwnedSemaphorePermit;

impl Asker {
    /// Takes the right to wait, if there is one left.
    pub(crate) fn wait_slot(&self) -> Result<WaitSlot, Error> {
        let slot = Arc::clone(&self.wait_slots).try_acquire_owned();
        slot.map_err(|_| {
            let what = "three of four instances of the host wait (instances-max)";
            Error::TooManyPending(what.to_owned())
        })
    }

    /// Waits until the topics of the responses are read: what was written before is not seen.
    pub(crate) async fn ready(&self, deadline: Instant) -> Result<(), Error> {
        let mut reading = self.exchange.reader.reading();
        let known = reading.wait_for(|reading| reading.knows(&self.routes));
        let known = match timeout_at(deadline, known).await {
            Ok(Ok(reading)) => reading.can_read(&self.routes),
            Ok(Err(_)) => Err("responses are not read any more".to_owned()),
            Err(_) => Err(self
                .exchange
                .reader
                .trouble()
                .unwrap_or_else(|| "Kafka does not say where the topics end".to_owned())),
        };
        known.map_err(|why| {
            self.exchange.counts.failed.increment();
            Error::ReplyStore(why)
        })
    }

    /// Writes a request, with the headers by which it is answered.
    pub(crate) fn ask(
        &self,
        emit: Emit<'_>,
        wants: Wants,
        deadline: Instant,
    ) -> Result<Ticket, Error> {
        let slot = Arc::clone(&self.request_slots).try_acquire_owned();
        let slot = slot.map_err(|_| {
            Error::TooManyPending(format!(
                "the handler may have {} at once (limits.pending-requests)",
                self.request_slots_max
            ))
        })?;
        if let Some(route) = expected(&self.routes, emit.topic, emit.value) {
            return Err(Error::Denied(format!(
                "a request to {} would be taken for its own response, which the manifest expects there (give [[response]] \
                 another topic, or another event)",
                route.topic
            )));
        }
        let id = new_id().map_err(|error| Error::ReplyStore(error.to_string()))?;
        let text = id.to_string();
        let mut emit = emit;
        emit.headers.retain(|header| header.key != ID_HEADER);
        emit.headers.push(Header {
            key: Cow::Borrowed(ID_HEADER),
            value: Some(text.as_bytes()),
        });
        let is_told = emit
            .headers
            .iter()
            .any(|header| header.key == REPLY_TO_HEADER);
        if let Some(first) = self.routes.first()
            && !is_told
        {
            emit.headers.push(Header {
                key: Cow::Borrowed(REPLY_TO_HEADER),
                value: Some(first.topic.as_str().as_bytes()),
            });
        }
        let inbox = Arc::new(Inbox::default());
        let waiter = Waiter {
            exchange: self.exchange.number,
            routes: Arc::clone(&self.routes),
            wants,
            inbox: Arc::clone(&inbox),
        };
        // Before it is sent: its response may be faster than the next line.
        self.exchange.pending.lock().begin(id, waiter);
        let ticket = |written| Ticket {
            exchange: Arc::clone(&self.exchange),
            id,
            inbox,
            written: Some(written),
            deadline,
            _slot: slot,
        };
        match self.exchange.courier.send(&emit) {
            Ok(written) => {
                self.exchange.counts.begun.increment();
                Ok(ticket(written))
            }
            Err(why) => {
                self.exchange.pending.lock().give_up(id);
                self.exchange.counts.failed.increment();
                Err(Error::Broker(why))
            }
        }
    }
}

/// A request that was written, or is about to be. Dropped, it is given up.
#[derive(Debug)]
pub(crate) struct Ticket {
    exchange: Arc<Exchange>,
    id: CorrelationId,
    inbox: Arc<Inbox>,
    /// Until Kafka has it.
    written: Option<oneshot::Receiver<Report>>,
    deadline: Instant,
    _slot: OwnedSemaphorePermit,
}

impl Ticket {
    /// Returns until when a response may come.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Waits for a response, until `deadline` or the request's own.
    pub(crate) async fn response(&mut self, deadline: Instant) -> Result<Response, Error> {
        let deadline = deadline.min(self.deadline);
        let result = loop {
            tokio::select! {
                biased;
                response = self.inbox.take() => break Ok(response),
                report = written(&mut self.written) => {
                    self.written = None;
                    if let Err(why) = report {
                        break Err(Error::Broker(why));
                    }
                }
                () = sleep_until(deadline) => break Err(if self.written.is_none() {
                    Error::Timeout
                } else {
                    Error::Broker("Kafka did not take the request in time".to_owned())
                }),
            }
        };
        let counts = &self.exchange.counts;
        match &result {
            Ok(_) => counts.answered.increment(),
            Err(Error::Timeout) => counts.timed_out.increment(),
            Err(_) => counts.failed.increment(),
        }
        result
    }
}

/// Waits for the report of a request that has none yet.
async fn written(report: &mut Option<oneshot::Receiver<Report>>) -> Report {
    match report {
        Some(report) => report
            .await
            .unwrap_or_else(|_| Err("the host stops".to_owned())),
        None => std::future::pending().await,
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.exchange.pending.lock().give_up(self.id);
        self.exchange.counts.ended.increment();
    }
}

/// Hands a response that was read to whoever waits for it.
fn arrive(
    pending: &Mutex<Pending<Waiter>>,
    exchange: u64,
    counts: &Counts,
    id: CorrelationId,
    (topic, value): (&str, Option<&[u8]>),
    response: impl FnOnce() -> Response,
) {
    let take = |waiter: &Waiter| {
        let is_expected =
            waiter.exchange == exchange && expected(&waiter.routes, topic, value).is_some();
        match waiter.wants {
            _ if !is_expected => Taken::Not,
            _ if !waiter.inbox.put(response) => Taken::Not,
            Wants::One => Taken::Last,
            Wants::Several => Taken::OneOfSeveral,
        }
    };
    let arrival = pending.lock().arrive(id, take);
    match arrival {
        Arrival::Awaited => {}
        Arrival::Late => counts.late.increment(),
        Arrival::Repeated => counts.repeated.increment(),
        Arrival::Unknown => counts.unknown.increment(),
    }
}

/// Returns the route by which a record is a response, if it may be one.
fn expected<'a>(
    routes: &'a [ResponseRoute],
    topic: &str,
    value: Option<&[u8]>,
) -> Option<&'a ResponseRoute> {
    routes.iter().find(|route| {
        route.topic.as_str() == topic && (route.event.is_none() || route.event == event_of(value))
    })
}

/// Returns the name that a value, a JSON object, has under `event`.
fn event_of(value: Option<&[u8]>) -> Option<String> {
    static EVENT: LazyLock<Option<PointerSet>> = LazyLock::new(|| {
        let pointer = Pointer::parse("/event").ok()?;
        PointerSet::new([&pointer]).ok()
    });
    let picked = pick(value?, EVENT.as_ref()?).ok()?;
    let name = picked.get(0)?.as_str().ok()?;
    Some(name.into_owned())
}

/// Makes an id that nobody can guess.
fn new_id() -> Result<CorrelationId, getrandom::Error> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits)?;
    Ok(CorrelationId::from_random(u128::from_ne_bytes(bits)))
}

/// The longest time that one call of a hook may wait for responses, all together.
pub(crate) const WAIT_MAX: Duration = Duration::from_hours(1);
