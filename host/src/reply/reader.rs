//! Reads the topics of responses, and hands each record that bears the id of a request to the table of those that wait.
//!
//! Owns a consumer and its thread. It joins no group and commits nothing: every host reads every response.
//! **Invariant:** a topic counts as read only when its partitions are read from where they ended, so that the response to
//! a request that is written afterwards is seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Came, Counts, ID_HEADER, OpenError, Response, Waiter, arrive};
use crate::groupless::{Troubles, partitions, reader};
use crate::ids::TopicName;
use crate::pending::{CorrelationId, Pending};
use crate::policy::ResponseRoute;
use crate::topic_settings::client_config;

/// How long one poll lasts.
pub(super) const POLL: Duration = Duration::from_millis(100);
/// How long a broker may take to answer; no response is read meanwhile.
pub(super) const TIMEOUT: Duration = Duration::from_secs(2);
/// How often partitions are looked for that were added.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How often a topic is looked for that is not there, or of which nothing is known.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How much the client fetches ahead, in KiB; responses are handed over at once, so little is enough.
pub(super) const QUEUE: &str = "queued.max.messages.kbytes";
pub(super) const QUEUE_KIB: &str = "4096";
/// What stands where librdkafka wants the name of a group; it is never joined.
const NAME: &str = "kafka-wasm-host.responses";

/// What is known of the topics: whether each is there, and then read.
#[derive(Debug, Default)]
pub(super) struct Reading(BTreeMap<TopicName, bool>);

impl Reading {
    /// Returns whether all topics of these routes were looked for.
    pub(super) fn knows(&self, routes: &[ResponseRoute]) -> bool {
        routes.iter().all(|route| self.0.contains_key(&route.topic))
    }

    /// Returns whether it is known that there is no such topic.
    pub(super) fn is_missing(&self, topic: &TopicName) -> bool {
        self.0.get(topic) == Some(&false)
    }

    /// Returns why no response can come by these routes, if none can.
    pub(super) fn can_read(&self, routes: &[ResponseRoute]) -> Result<(), String> {
        let is_read = |route: &ResponseRoute| self.0.get(&route.topic) == Some(&true);
        if routes.iter().any(is_read) {
            return Ok(());
        }
        let missing: BTreeSet<&str> = routes.iter().map(|route| route.topic.as_str()).collect();
        let missing: Vec<&str> = missing.into_iter().collect();
        Err(format!(
            "no topic for responses exists: create {}",
            missing.join(" or ")
        ))
    }
}

/// What the thread shares with others.
#[derive(Debug)]
pub(super) struct Shared {
    wanted: Mutex<BTreeSet<TopicName>>,
    is_news: AtomicBool,
    reading: watch::Sender<Reading>,
    trouble: Mutex<Option<String>>,
    is_stopping: AtomicBool,
}

impl Shared {
    /// Lists the topics that are to be read.
    pub(super) fn wanted(&self) -> Vec<TopicName> {
        self.wanted.lock().iter().cloned().collect()
    }

    /// Returns whether topics were added since the last call.
    pub(super) fn takes_news(&self) -> bool {
        self.is_news.swap(false, Ordering::Acquire)
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    /// Says what stands in the way of reading.
    pub(super) fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock() = trouble;
    }

    /// Says that a topic is not there, or that it is read.
    pub(super) fn tell(&self, topic: &TopicName, is_there: bool) {
        self.reading.send_if_modified(|reading| {
            let before = reading.0.insert(topic.clone(), is_there);
            if !is_there && before != Some(false) {
                tracing::warn!(
                    topic = topic.as_str(),
                    "a topic for responses does not exist: create it"
                );
            }
            before != Some(is_there)
        });
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Reader {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Starts the thread, with librdkafka's keys of a consumer in `kafka`.
    pub(super) fn start(
        kafka: &BTreeMap<String, String>,
        exchange: u64,
        pending: Arc<Mutex<Pending<Waiter>>>,
        counts: Arc<Counts>,
    ) -> Result<Self, OpenError> {
        let mut config = reader(client_config(kafka, |_| true), NAME);
        // Should what is to be read next be gone, responses to requests that wait may only be behind it.
        config.set("auto.offset.reset", "earliest");
        if config.get(QUEUE).is_none() {
            config.set(QUEUE, QUEUE_KIB);
        }
        let consumer = config
            .create_with_context(Troubles::default())
            .map_err(OpenError::Settings)?;
        Self::spawn(|shared| {
            let task = Task {
                consumer,
                shared,
                partitions: BTreeMap::new(),
                look_at: Instant::now(),
                exchange,
                pending,
                counts,
            };
            move || task.run()
        })
    }

    /// Starts a thread that reads; `make` is handed what it shares.
    pub(super) fn spawn<F: FnOnce() + Send + 'static>(
        make: impl FnOnce(Arc<Shared>) -> F,
    ) -> Result<Self, OpenError> {
        let shared = Arc::new(Shared {
            wanted: Mutex::default(),
            is_news: AtomicBool::new(false),
            reading: watch::Sender::new(Reading::default()),
            trouble: Mutex::default(),
            is_stopping: AtomicBool::new(false),
        });
        let thread = std::thread::Builder::new()
            .name("responses".to_owned())
            .spawn(make(Arc::clone(&shared)))
            .map_err(OpenError::Thread)?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Has these topics read as well.
    pub(super) fn read(&self, topics: BTreeSet<TopicName>) {
        self.shared.wanted.lock().extend(topics);
        self.shared.is_news.store(true, Ordering::Release);
    }

    /// Returns what is known of the topics, as it changes.
    pub(super) fn reading(&self) -> watch::Receiver<Reading> {
        self.shared.reading.subscribe()
    }

    /// Has the thread end soon; what it is a member of it leaves.
    pub(super) fn stop(&self) {
        self.shared.is_stopping.store(true, Ordering::Relaxed);
    }

    /// Returns whether the thread has ended.
    pub(super) fn has_stopped(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Returns what stands in the way of reading, as of the last look.
    pub(super) fn trouble(&self) -> Option<String> {
        self.shared.trouble.lock().clone()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            // It ends within one poll or one answer; a panic in it was reported already.
            let _ = thread.join();
        }
    }
}

/// The thread.
struct Task {
    consumer: BaseConsumer<Troubles>,
    shared: Arc<Shared>,
    /// How many partitions of each topic are read; 0 where it was not there.
    partitions: BTreeMap<TopicName, i32>,
    look_at: Instant,
    exchange: u64,
    pending: Arc<Mutex<Pending<Waiter>>>,
    counts: Arc<Counts>,
}

impl Task {
    fn run(mut self) {
        while !self.shared.is_stopping() {
            let is_news = self.shared.takes_news();
            if is_news || Instant::now() >= self.look_at {
                self.look();
            }
            match self.consumer.poll(POLL) {
                Some(Ok(message)) => self.hand_over(&message),
                Some(Err(error)) => self.consumer.context().note(error.to_string()),
                None => {}
            }
        }
    }

    /// Looks for the topics and their partitions, and reads those that are new.
    fn look(&mut self) {
        let mut is_complete = true;
        for topic in self.shared.wanted() {
            match self.look_for(&topic) {
                Ok(partitions) => {
                    is_complete &= partitions > 0;
                    self.shared.tell(&topic, partitions > 0);
                    self.partitions.insert(topic, partitions);
                }
                Err(why) => {
                    is_complete = false;
                    let why = self.consumer.context().take().unwrap_or(why);
                    self.shared.set_trouble(Some(why));
                }
            }
        }
        if is_complete {
            self.shared.set_trouble(None);
        }
        let wait = if is_complete { LOOK_EVERY } else { LOOK_AGAIN };
        self.look_at = Instant::now() + wait;
    }

    /// Reads the partitions of a topic that are new; returns how many it has.
    fn look_for(&self, topic: &TopicName) -> Result<i32, String> {
        let known = self.partitions.get(topic).copied();
        let found = partitions(&self.consumer, topic, TIMEOUT)?;
        if found <= known.unwrap_or(0) {
            return Ok(found);
        }
        let mut list = TopicPartitionList::new();
        for partition in known.unwrap_or(0)..found {
            let offset = match known {
                // What was written to a partition that was not there before may be for those who wait.
                Some(_) => Offset::Beginning,
                None => Offset::Offset(self.end(topic, partition)?),
            };
            list.add_partition_offset(topic.as_str(), partition, offset)
                .map_err(|error| error.to_string())?;
        }
        let assigned = self.consumer.incremental_assign(&list);
        assigned.map(|()| found).map_err(|error| error.to_string())
    }

    fn end(&self, topic: &TopicName, partition: i32) -> Result<i64, String> {
        let ends = self
            .consumer
            .fetch_watermarks(topic.as_str(), partition, TIMEOUT);
        ends.map(|(_, end)| end).map_err(|error| error.to_string())
    }

    fn hand_over(&self, message: &BorrowedMessage<'_>) {
        let Some(id) = id_of(message) else {
            return;
        };
        let exchange = (&*self.pending, self.exchange, &*self.counts);
        let place = (Some(message.topic()), message.payload());
        if !arrive(exchange, id, Came::Told, place, |_| owned(message)) {
            self.counts.unknown.increment();
        }
    }
}

/// Returns the id that a record bears.
pub(super) fn id_of(message: &BorrowedMessage<'_>) -> Option<CorrelationId> {
    let headers = message.headers()?;
    let header = headers.iter().find(|header| header.key == ID_HEADER)?;
    std::str::from_utf8(header.value?).ok()?.parse().ok()
}

/// Copies a response out of the client.
pub(super) fn owned(message: &BorrowedMessage<'_>) -> Response {
    let headers = message
        .headers()
        .into_iter()
        .flat_map(|headers| headers.iter());
    Response {
        topic: message.topic().to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers
            .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
            .collect(),
    }
}
