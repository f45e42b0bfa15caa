//! One Kafka consumer and its thread.
//!
//! The thread polls the main queue for callbacks only; records flow through the partition queues. It is handed the
//! names to subscribe to and an order to stop, and owns the consumer to its end.
//! **Invariant:** the thread never waits for the flow, except in a revocation, and there no longer than the drain
//! deadline of the listener.

mod succession;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use tokio::time::Instant;

use self::succession::Succession;
use super::exactly_once::ExactlyOnce;
use super::protocol::{Protocol, Trial};
use super::rebalance::{Callbacks, RebalanceListener};
use super::settings::ConsumerSettings;
use super::status::SourceStatus;
use super::transactions::Transactions;

/// How long one poll of the main queue lasts; orders are looked at in between.
const POLL: Duration = Duration::from_millis(100);
/// How often topics that do not exist are looked for.
const TOPIC_CHECK: Duration = Duration::from_secs(2);
/// How long a stopping consumer waits for the end of a rebalance, so that its last positions are taken.
const SETTLE_MAX: Duration = Duration::from_secs(10);
/// How long after it has subscribed a consumer that was given nothing may not leave yet.
const JOIN_BEGINS: Duration = Duration::from_secs(1);
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
        let protocol = Protocol::of(&settings.kafka);
        let status = Arc::new(SourceStatus::new(protocol != Protocol::Classic));
        let alive = Arc::new(());
        let callbacks = Callbacks::new(
            group.clone(),
            settings.start,
            transactions,
            Arc::clone(&listener),
            Arc::clone(&status),
            Arc::clone(&alive),
        )
        .trying((protocol == Protocol::Auto).then(Trial::default));
        let consumer: BaseConsumer<Callbacks> = settings
            .client_config(protocol)
            .create_with_context(callbacks)
            .map_err(|source| Error::Settings {
                group: group.clone(),
                source,
            })?;
        let (orders, inbox) = mpsc::channel();
        let poller = Poller {
            group: group.clone(),
            settings: settings.clone(),
            consumer,
            topics,
            listener,
            status: Arc::clone(&status),
            alive,
            predecessors,
            subscribed_at: None,
            protocol,
            succession: Succession::new(),
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
    settings: ConsumerSettings,
    consumer: BaseConsumer<Callbacks>,
    topics: Topics,
    listener: Arc<dyn RebalanceListener>,
    status: Arc<SourceStatus>,
    alive: Arc<()>,
    /// Threads of consumers that are the same static member, or would be.
    predecessors: Vec<JoinHandle<()>>,
    subscribed_at: Option<Instant>,
    /// What the consumer speaks, or tries.
    protocol: Protocol,
    succession: Succession,
}

impl Poller {
    fn run(mut self, inbox: &mpsc::Receiver<Order>) {
        let mut next_check = Instant::now();
        loop {
            self.status.came_round();
            match inbox.try_recv() {
                Ok(Order::Subscribe(topics)) => {
                    self.topics = topics;
                    self.subscribed_at = None;
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
            self.look_for_succession();
            if self.subscribed_at.is_none() && self.may_subscribe() {
                self.subscribe();
                self.subscribed_at = Some(Instant::now());
                next_check = Instant::now();
            }
            self.tend_transactions();
            if self.subscribed_at.is_none() && self.may_subscribe() {
                // Transactions have begun, which takes its time. An order to stop that came meanwhile is looked at first:
                // librdkafka 2.12 may crash when it is to leave a group that it is about to join.
                continue;
            }
            self.poll();
            if self.subscribed_at.is_some() && next_check <= Instant::now() {
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
        !self.succession.has_ended()
            && exactly_once.is_none_or(ExactlyOnce::has_started)
            && self.trial().is_none_or(Trial::may_subscribe)
    }

    fn trial(&self) -> Option<&Trial> {
        self.consumer.context().trial()
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
        if matches!(error, KafkaError::MessageConsumptionFatal(_)) {
            // Told by `look_for_succession`, with what follows.
            return;
        }
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
        let callbacks = self.consumer.context();
        callbacks.end_work();
        let settled_by = Instant::now() + SETTLE_MAX;
        while !callbacks.commit_ended(&self.consumer) {
            if settled_by < Instant::now() {
                tracing::warn!(
                    group = self.group,
                    "the rebalance goes on; the last positions may not be committed"
                );
                break;
            }
            self.poll();
        }
        self.let_join_begin();
        self.part_with_nothing();
        let deadline = Instant::now() + LEAVE_MAX;
        // Closing revokes, commits and tells the group. Not after `unsubscribe` where there is something to revoke: a
        // close that overtakes it loses the message to the group (librdkafka 2.12), and the next member waits for the
        // whole session timeout.
        let closing = self.consumer.close_queue();
        // One that came to its end is no member any more; it cannot be closed, and dropping it is enough.
        let has_ended = closing.is_err() && self.consumer.client().fatal_error().is_some();
        if let Err(error) = closing
            && !has_ended
        {
            tracing::error!(group = self.group, %error, "closing the consumer failed");
        }
        while !has_ended && !self.consumer.closed() && Instant::now() < deadline {
            self.poll();
        }
        if !has_ended && !self.consumer.closed() {
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

    /// Gives a subscription of just now the time to reach the group. Who leaves before the group's first answer stays behind
    /// as a member that nobody can sign off, and librdkafka 2.12 may crash.
    fn let_join_begin(&self) {
        let is_new = || {
            self.subscribed_at
                .is_some_and(|at| at.elapsed() < JOIN_BEGINS)
        };
        while is_new() && self.has_nothing() {
            self.poll();
        }
    }

    fn has_nothing(&self) -> bool {
        let assignment = self.consumer.assignment();
        assignment.is_ok_and(|assignment| assignment.count() == 0)
    }

    /// Tells the group of the end where no partition is assigned. Closing does not (librdkafka 2.12, cooperative and
    /// classic), and the others would wait for the whole session timeout with their next rebalance.
    fn part_with_nothing(&self) {
        // A static member is to be missed by nobody; it comes back.
        if self.has_nothing() && self.protocol == Protocol::Classic && !self.settings.is_static() {
            self.consumer.unsubscribe();
        }
    }
}

#[cfg(test)]
mod tests;
