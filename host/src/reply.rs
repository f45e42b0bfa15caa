//! Requests of guests and the responses to them.
//!
//! An [`Exchange`] writes the requests of a tenant's handlers at once and has the topics of their responses read: by each host
//! all of them, which keeps what belongs to its own requests; or, where hosts share a store, by the hosts of a group
//! together, which hand responses to each other through it. An [`Asker`] is what one revision of a handler has of it.
//! **Invariant:** a response reaches the request whose id it bears, of a handler that names its topic and event, or
//! nobody; whatever becomes of a wait, nothing of it is left behind.

mod client;
mod exchanges;
mod inbox;
mod link;
mod member;
mod reader;
mod store;
mod wait_slots;

use std::borrow::Cow;
use std::cell::LazyCell;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::error::KafkaError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout_at};

pub(crate) use self::client::client;
pub(crate) use self::exchanges::Exchanges;
use self::inbox::{Came, Inbox};
use self::link::Link;
use self::reader::Reader;
pub(crate) use self::store::Store;
pub(crate) use self::wait_slots::{WaitSlot, WaitSlots};
use crate::courier::{Fate, Post};
use crate::ids::TenantId;
use crate::pending::{Arrival, CorrelationId, Pending, Taken};
use crate::policy::ResponseRoute;
use crate::record::{Emit, Header};
pub(crate) use crate::response::Response;
use crate::route::{Named, ValuePlace};
use crate::stats::{Counter, Gauge};

/// The header by which a response is recognized, as kafka-python-app has it.
pub(crate) const ID_HEADER: &str = "event_id";
/// The header that tells whoever answers where to.
pub(crate) const REPLY_TO_HEADER: &str = "reply-to";

/// What can go wrong when an exchange is opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// librdkafka refuses a setting.
    #[error("no client for requests and responses can be made: {0}")]
    Settings(#[source] KafkaError),
    /// The thread that reads responses cannot be started.
    #[error("the thread for responses cannot be started: {0}")]
    Thread(#[source] std::io::Error),
    /// Names without a tenant, and two tenants.
    #[error(
        "response.key = \"compat\" of host.toml is for one tenant, and {0} asks already: the names of two could not be told apart \
         (serve each on a host of its own, or write response.key = \"tenant\")"
    )]
    Compat(TenantId),
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
    /// Responses whose request is not in the store that hosts share.
    pub(crate) orphaned: Counter,
    /// Responses to requests of other hosts that the store has not taken yet.
    pub(crate) held: Gauge,
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
    post: Arc<Post>,
    reader: Reader,
    pending: Arc<Mutex<Pending<Waiter>>>,
    counts: Arc<Counts>,
    /// To the store that hosts share, where there is one.
    link: Option<Arc<Link>>,
}

/// What a handler asks by.
#[derive(Debug)]
pub(crate) struct Asker {
    exchange: Arc<Exchange>,
    routes: Arc<[ResponseRoute]>,
    /// One for each request of the handler that may wait.
    request_slots: Arc<Semaphore>,
    request_slots_max: usize,
    wait_slots: WaitSlots,
}

/// The right to make one request, whose response cannot be missed.
#[derive(Debug)]
pub(crate) struct Turn {
    id: CorrelationId,
    slot: OwnedSemaphorePermit,
}

impl Asker {
    /// Takes the right to wait, if there is one left.
    pub(crate) fn wait_slot(&self) -> Result<WaitSlot, Error> {
        self.wait_slots.take().map_err(Error::TooManyPending)
    }

    /// Takes the right to make a request that waits until `until`, once its response cannot be missed: the topics are read,
    /// and whoever reads it learns from the store that somebody waits. Gives up at `deadline`.
    pub(crate) async fn ready(&self, deadline: Instant, until: Instant) -> Result<Turn, Error> {
        // First, so that a guest writes no more into the store than it may have waiting.
        let slot = Arc::clone(&self.request_slots).try_acquire_owned();
        let slot = slot.map_err(|_| {
            Error::TooManyPending(format!(
                "the handler may have {} at once (limits.pending-requests)",
                self.request_slots_max
            ))
        })?;
        match self.prepare(deadline, until).await {
            Ok(id) => Ok(Turn { id, slot }),
            Err(why) => {
                self.exchange.counts.failed.increment();
                Err(Error::ReplyStore(why))
            }
        }
    }

    /// Returns why no response can come by a topic, as far as is known.
    pub(crate) fn trouble_with(&self, topic: &str) -> Option<String> {
        let route = self.routes.iter().find(|it| it.topic.as_str() == topic);
        let Some(route) = route else {
            return Some(format!("the manifest does not name {topic} for responses"));
        };
        let reading = self.exchange.reader.reading();
        let is_missing = reading.borrow().is_missing(&route.topic);
        is_missing.then(|| format!("there is no topic {topic}: create it (`topics apply` does)"))
    }

    async fn prepare(&self, deadline: Instant, until: Instant) -> Result<CorrelationId, String> {
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
        known?;
        let id = new_id().map_err(|error| error.to_string())?;
        if let Some(link) = &self.exchange.link {
            let timeout = until.saturating_duration_since(Instant::now());
            link.announce(id, timeout, deadline).await?;
        }
        Ok(id)
    }

    /// Writes a request, with the headers by which it is answered.
    pub(crate) fn ask(
        &self,
        Turn { id, slot }: Turn,
        emit: Emit<'_>,
        wants: Wants,
        deadline: Instant,
    ) -> Result<Ticket, Error> {
        if let Some(route) = expected(&self.routes, Some(emit.topic), emit.value) {
            return Err(Error::Denied(format!(
                "a request to {} would be taken for its own response, which the manifest expects there (give [[response]] \
                 another topic, or another event)",
                route.topic
            )));
        }
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
            written,
            deadline,
            _slot: slot,
        };
        let courier = self.exchange.post.courier();
        match courier.and_then(|courier| courier.send_on(&emit)) {
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
    written: Arc<Fate>,
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
        let result = tokio::select! {
            biased;
            response = self.inbox.take() => Ok(response),
            why = self.written.failed() => Err(Error::Broker(why.to_string())),
            () = sleep_until(deadline) => Err(if self.written.is_written() {
                Error::Timeout
            } else {
                Error::Broker("Kafka did not take the request in time".to_owned())
            }),
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

impl Drop for Ticket {
    fn drop(&mut self) {
        self.exchange.pending.lock().give_up(self.id);
        self.exchange.counts.ended.increment();
    }
}

/// Hands a response to whoever waits for it here; returns whether its request is known. `topic` is `None` where only the
/// value of the response is known.
fn arrive(
    (pending, exchange, counts): (&Mutex<Pending<Waiter>>, u64, &Counts),
    id: CorrelationId,
    came: Came,
    (topic, value): (Option<&str>, Option<&[u8]>),
    response: impl FnOnce(&ResponseRoute) -> Response,
) -> bool {
    let take = |waiter: &Waiter| {
        let route = (waiter.exchange == exchange)
            .then(|| expected(&waiter.routes, topic, value))
            .flatten();
        let Some(route) = route else {
            return Taken::Not;
        };
        match waiter.wants {
            _ if !waiter.inbox.put(came, || response(route)) => Taken::Not,
            Wants::One => Taken::Last,
            Wants::Several => Taken::OneOfSeveral,
        }
    };
    let arrival = pending.lock().arrive(id, take);
    match arrival {
        Arrival::Unknown => return false,
        Arrival::Late if came == Came::Told => counts.late.increment(),
        Arrival::Repeated if came == Came::Told => counts.repeated.increment(),
        Arrival::Awaited | Arrival::Late | Arrival::Repeated => {}
    }
    true
}

/// Returns the route by which a record is a response, if it may be one.
fn expected<'a>(
    routes: &'a [ResponseRoute],
    topic: Option<&str>,
    value: Option<&[u8]>,
) -> Option<&'a ResponseRoute> {
    // Read once, and only where a route asks for it.
    let event = LazyCell::new(|| event_of(value));
    routes.iter().find(|route| {
        topic.is_none_or(|topic| route.topic.as_str() == topic)
            && (route.event.is_none() || route.event.as_deref() == event.text())
    })
}

/// Returns the name that a value, a JSON object, has under `event`.
fn event_of(value: Option<&[u8]>) -> Named<'_> {
    static EVENT: LazyLock<Option<ValuePlace>> = LazyLock::new(|| ValuePlace::new("/event").ok());
    EVENT.as_ref().map_or(Named::Not, |place| place.read(value))
}

/// Makes an id that nobody can guess.
fn new_id() -> Result<CorrelationId, getrandom::Error> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits)?;
    Ok(CorrelationId::from_random(u128::from_ne_bytes(bits)))
}

/// The longest time that one call of a hook may wait for responses, all together.
pub(crate) const WAIT_MAX: Duration = Duration::from_hours(1);
