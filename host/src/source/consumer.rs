//! One Kafka consumer and its thread.
//!
//! The thread polls the main queue for callbacks only; records flow through the partition queues. It is handed the
//! names to subscribe to and an order to stop, and owns the consumer to its end.
//! **Invariant:** the thread never waits for the flow, except in a revocation, and there no longer than the drain
//! deadline of the listener.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use tokio::time::Instant;

use super::exactly_once::ExactlyOnce;
use super::rebalance::{Callbacks, RebalanceListener};
use super::status::SourceStatus;
use super::transactions::Transactions;
use crate::policy::Start;

/// How long one poll of the main queue lasts; orders are looked at in between.
const POLL: Duration = Duration::from_millis(100);
/// How often topics that do not exist are looked for.
const TOPIC_CHECK: Duration = Duration::from_secs(2);
/// How long a stopping consumer waits for the end of a rebalance, so that its last positions are taken.
const SETTLE_MAX: Duration = Duration::from_secs(10);
/// How long a stopping consumer waits for its partitions to be given back.
const LEAVE_MAX: Duration = Duration::from_mins(1);

/// What can go wrong when a consumer is made or told something.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// librdkafka refuses a setting.
    #[error("the consumer of group {group} cannot be made: {source}")]
    Settings { group: String, source: KafkaError },
    /// The consumer's thread cannot be started.
    #[error("the thread of group {group} cannot be started: {source}")]
    Thread {
        group: String,
        source: std::io::Error,
    },
}

/// What a consumer is made of: users' settings first, the host's own last, so that they cannot be overridden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConsumerSettings {
    pub(crate) group: String,
    /// librdkafka keys from the command line, host.toml and the manifest, lowest authority first.
    pub(crate) kafka: BTreeMap<String, String>,
    /// Where reading begins in a partition without a committed position.
    pub(crate) start: Start,
    /// Whether the partition queues are told when reading comes to the end.
    pub(crate) tells_ends: bool,
    /// How outputs and positions are committed together, where delivery is exactly once.
    pub(crate) transactions: Option<TransactionSettings>,
}

/// What the transactions of a group are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TransactionSettings {
    /// librdkafka keys for the producer, as those of the consumer.
    pub(crate) kafka: BTreeMap<String, String>,
    /// How often a transaction is committed.
    pub(crate) interval: Duration,
}

impl ConsumerSettings {
    /// Returns whether the group's coordinator gives out partitions (KIP-848), not one of its members.
    fn is_assigned_by_broker(&self) -> bool {
        let protocol = self.kafka.get("group.protocol");
        protocol.is_some_and(|protocol| protocol != "classic")
    }

    /// Returns whether the consumer is the same member of its group after a restart (KIP-345).
    pub(crate) fn is_static(&self) -> bool {
        self.kafka.contains_key("group.instance.id")
    }

    /// Makes the transactions that the settings ask for.
    pub(crate) fn transactions(&self) -> Option<Arc<Transactions>> {
        let TransactionSettings { kafka, interval } = self.transactions.as_ref()?;
        let instance = self.kafka.get("group.instance.id").map(String::as_str);
        let transactions = Transactions::new(kafka.clone(), &self.group, instance, *interval);
        Some(Arc::new(transactions))
    }

    fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        // Lines of this level come only from what the setting `debug` names.
        config.set_log_level(RDKafkaLogLevel::Debug);
        // Defaults that users may change. Split queues are bounded one by one: 4 MiB a partition, not 64.
        config
            .set("queued.min.messages", "10000")
            .set("queued.max.messages.kbytes", "4096")
            .set("fetch.message.max.bytes", "1048576")
            // A reader that is faster than the broker waits this long before it asks again; the default is 1 s.
            .set("fetch.queue.backoff.ms", "5")
            .set("auto.commit.interval.ms", "1000")
            .set("topic.metadata.refresh.interval.ms", "10000")
            .set("statistics.interval.ms", "5000");
        if !self.is_assigned_by_broker() {
            config.set("partition.assignment.strategy", "cooperative-sticky");
            if self.transactions.is_some() {
                // After a crash the partitions move on within seconds; the default is 45 s.
                config.set("session.timeout.ms", "10000");
            }
        }
        for (key, value) in &self.kafka {
            config.set(key, value);
        }
        // With a time or an offset this is for a position whose record the broker no longer has.
        let reset = match self.start {
            Start::Latest => "latest",
            Start::Earliest | Start::Time(_) | Start::Offset(_) => "earliest",
        };
        config
            .set("group.id", &self.group)
            .set("auto.offset.reset", reset)
            .set(
                "enable.auto.commit",
                self.transactions.is_none().to_string(),
            )
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", self.tells_ends.to_string());
        if self.transactions.is_some() {
            config.set("isolation.level", "read_committed");
        }
        config
    }
}

/// What a consumer subscribes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Topics {
    /// Topics, or patterns that begin with `^`.
    pub(crate) names: Vec<String>,
    /// Topics that exist only once something came back.
    pub(crate) returns: Vec<String>,
}

enum Order {
    Subscribe(Topics),
    Stop,
}

/// A running consumer.
#[derive(Debug)]
pub(crate) struct Consumer {
    orders: mpsc::Sender<Order>,
    status: Arc<SourceStatus>,
    thread: Option<JoinHandle<()>>,
}

impl Consumer {
    /// Makes the consumer, subscribes it and starts its thread. It subscribes only when the threads of its `predecessors`
    /// have ended.
    pub(crate) fn start(
        settings: &ConsumerSettings,
        topics: Topics,
        transactions: Option<Arc<Transactions>>,
        listener: Arc<dyn RebalanceListener>,
        predecessors: Vec<JoinHandle<()>>,
    ) -> Result<Self, Error> {
        let group = settings.group.clone();
        let status = Arc::new(SourceStatus::new(settings.is_assigned_by_broker()));
        let alive = Arc::new(());
        let callbacks = Callbacks::new(
            group.clone(),
            settings.start,
            transactions,
            Arc::clone(&listener),
            Arc::clone(&status),
            Arc::clone(&alive),
        );
        let consumer: BaseConsumer<Callbacks> = settings
            .client_config()
            .create_with_context(callbacks)
            .map_err(|source| Error::Settings {
                group: group.clone(),
                source,
            })?;
        let (orders, inbox) = mpsc::channel();
        let poller = Poller {
            group: group.clone(),
            consumer,
            topics,
            listener,
            status: Arc::clone(&status),
            alive,
            predecessors,
        };
        let thread = std::thread::Builder::new()
            .name(format!("poll {group}"))
            .spawn(move || poller.run(&inbox))
            .map_err(|source| Error::Thread { group, source })?;
        Ok(Self {
            orders,
            status,
            thread: Some(thread),
        })
    }

    /// Returns what is known of the consumer.
    pub(crate) fn status(&self) -> &Arc<SourceStatus> {
        &self.status
    }

    /// Replaces the subscription; the group rebalances only where it differs.
    pub(crate) fn subscribe(&self, topics: Topics) {
        // The thread ends only after Stop, which consumes the sender's owner.
        let _ = self.orders.send(Order::Subscribe(topics));
    }

    /// Begins to leave the group: partitions are drained and revoked, then the consumer is dropped by its thread.
    pub(crate) fn stop(mut self) -> Option<JoinHandle<()>> {
        let _ = self.orders.send(Order::Stop);
        self.thread.take()
    }
}

struct Poller {
    group: String,
    consumer: BaseConsumer<Callbacks>,
    topics: Topics,
    listener: Arc<dyn RebalanceListener>,
    status: Arc<SourceStatus>,
    alive: Arc<()>,
    /// Threads of consumers that are the same static member, or would be.
    predecessors: Vec<JoinHandle<()>>,
}

impl Poller {
    fn run(mut self, inbox: &mpsc::Receiver<Order>) {
        let mut is_subscribed = false;
        let mut next_check = Instant::now();
        loop {
            self.status.came_round();
            match inbox.try_recv() {
                Ok(Order::Subscribe(topics)) => {
                    self.topics = topics;
                    is_subscribed = false;
                }
                Ok(Order::Stop) | Err(mpsc::TryRecvError::Disconnected) => break,
                Err(mpsc::TryRecvError::Empty) => {}
            }
            self.predecessors.retain(|thread| !thread.is_finished());
            if !self.predecessors.is_empty() {
                // The group would take the two for one, and so would the coordinator of transactions.
                std::thread::sleep(POLL);
                continue;
            }
            self.tend_transactions();
            if !is_subscribed && self.may_subscribe() {
                self.subscribe();
                is_subscribed = true;
                next_check = Instant::now();
            }
            self.poll();
            if is_subscribed && next_check <= Instant::now() {
                self.look_for_missing_topics();
                let callbacks = self.consumer.context();
                callbacks.beginning().ask_again(&self.consumer);
                next_check = Instant::now() + TOPIC_CHECK;
            }
        }
        let predecessors = std::mem::take(&mut self.predecessors);
        self.leave();
        for thread in predecessors {
            // Ended or panicked: either way it is no member any more.
            let _ = thread.join();
        }
    }

    /// Commits, or does what else is due, where delivery is exactly once.
    fn tend_transactions(&self) {
        let callbacks = self.consumer.context();
        if let Some(exactly_once) = callbacks.exactly_once() {
            let fenced = exactly_once.tend(&self.consumer);
            if !fenced.is_empty() {
                callbacks.begin_again(&self.consumer, fenced);
            }
        }
    }

    fn may_subscribe(&self) -> bool {
        let exactly_once = self.consumer.context().exactly_once();
        exactly_once.is_none_or(ExactlyOnce::has_started)
    }

    fn subscribe(&self) {
        let Topics { names, returns } = &self.topics;
        let names: Vec<&str> = names.iter().chain(returns).map(String::as_str).collect();
        match self.consumer.subscribe(&names) {
            Ok(()) => tracing::info!(group = self.group, topics = ?names, "subscribed"),
            Err(error) => {
                tracing::error!(group = self.group, topics = ?names, %error, "subscribing failed");
            }
        }
    }

    fn poll(&self) {
        let exactly_once = self.consumer.context().exactly_once();
        let rest = exactly_once.map_or(POLL, |exactly_once| exactly_once.rest().min(POLL));
        match self.consumer.poll(rest) {
            None => {}
            // Cannot happen while every assigned partition is split off; its record is not lost but read again after
            // the next rebalance, so all that is left is to say so.
            Some(Ok(_)) => {
                tracing::error!(group = self.group, "a record came through the main queue");
            }
            Some(Err(error)) => self.on_error(&error),
        }
    }

    fn on_error(&self, error: &KafkaError) {
        match error.rdkafka_error_code() {
            // The first two are told by `look_for_missing_topics` with the topic's name, the others by the client's
            // error callback with the reason.
            Some(
                RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::BrokerTransportFailure,
            ) => {}
            _ => {
                tracing::warn!(group = self.group, %error, "the consumer reports an error and goes on");
            }
        }
    }

    /// Asks Kafka for those plain topics that nothing is assigned of. Not while Kafka is out of reach.
    fn look_for_missing_topics(&self) {
        let assigned: BTreeSet<String> = self
            .consumer
            .assignment()
            .ok()
            .filter(|assignment| assignment.count() > 0)
            .map(|assignment| {
                assignment
                    .elements()
                    .iter()
                    .map(|element| element.topic().to_owned())
                    .collect()
            })
            .unwrap_or_default();
        let mut missing = BTreeSet::new();
        for name in self
            .topics
            .names
            .iter()
            .filter(|name| !name.starts_with('^') && !assigned.contains(*name))
        {
            let Ok(metadata) = self
                .consumer
                .fetch_metadata(Some(name), Duration::from_millis(500))
            else {
                return;
            };
            self.status.answered();
            if metadata
                .topics()
                .iter()
                .any(|topic| topic.error().is_some() || topic.partitions().is_empty())
            {
                missing.insert(name.clone());
            }
        }
        let known: BTreeSet<String> = self.status.missing_topics().into_iter().collect();
        for topic in missing.difference(&known) {
            tracing::warn!(
                group = self.group,
                topic,
                "the topic does not exist; waiting for it"
            );
        }
        for topic in known.difference(&missing) {
            tracing::info!(group = self.group, topic, "the topic exists now");
        }
        self.status.set_missing_topics(missing);
    }

    /// Ends all work, gives all partitions back and closes the consumer.
    fn leave(self) {
        // First: a consumer that closes no longer takes part in a rebalance that goes on, and its commits are refused.
        self.consumer.context().end_work();
        let settled_by = Instant::now() + SETTLE_MAX;
        while !self.consumer.context().commit_ended(&self.consumer) {
            if settled_by < Instant::now() {
                tracing::warn!(
                    group = self.group,
                    "the rebalance goes on; the last positions may not be committed"
                );
                break;
            }
            self.poll();
        }
        let deadline = Instant::now() + LEAVE_MAX;
        // Closing revokes, commits and tells the group. Not after `unsubscribe`: a close that overtakes it loses the
        // message to the group (librdkafka 2.12), and the next member waits for the whole session timeout.
        if let Err(error) = self.consumer.close_queue() {
            tracing::error!(group = self.group, %error, "closing the consumer failed");
        }
        while !self.consumer.closed() && Instant::now() < deadline {
            self.poll();
        }
        if !self.consumer.closed() {
            tracing::error!(group = self.group, "the group was not left in time");
            std::mem::forget(self.consumer);
            return;
        }
        self.listener.closed();
        let Self {
            group,
            consumer,
            alive,
            ..
        } = self;
        // The consumer's context holds one, this is the other.
        while Arc::strong_count(&alive) > 2 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        if Arc::strong_count(&alive) > 2 {
            tracing::error!(
                group,
                "partition queues are still in use; the consumer is left open"
            );
            std::mem::forget(consumer);
            return;
        }
        drop(consumer);
        tracing::info!(group, "left the group");
    }
}
