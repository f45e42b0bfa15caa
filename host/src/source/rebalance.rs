//! What happens when Kafka moves partitions between the members of a group.
//!
//! librdkafka calls back on the consumer's own thread. A revocation is answered only after the flow has drained or
//! fenced its partitions, and their positions are committed.
//! **Invariant:** when the revocation callback returns, nothing of the revoked partitions moves a watermark, emits or
//! commits any more.

use std::sync::Arc;

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Statistics, TopicPartitionList};

use super::commit::{LastCommit, commit};
use super::committed::{TIMEOUT, committed};
use super::exactly_once::ExactlyOnce;
use super::protocol::Trial;
use super::queue::{Client, PartitionQueue};
use super::start::Beginning;
use super::status::SourceStatus;
use super::transactions::Transactions;
use crate::duration::millis;
use crate::offset_map::CommitPoint;
use crate::policy::Start;

/// What is to be committed of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) point: CommitPoint,
}

/// A partition of which all work was ended because its transaction is not to be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fenced {
    /// Topic and partition.
    pub(crate) name: (String, i32),
    /// Where the partition was begun, if anything was taken of it.
    pub(crate) first_taken: Option<i64>,
}

/// Who is told about assigned and revoked partitions. All calls come from the consumer's thread.
pub(crate) trait RebalanceListener: Send + Sync {
    /// Partitions were assigned; reading may begin, records arrive after the call returned.
    fn assigned(&self, queues: Vec<PartitionQueue>);

    /// Partitions are being taken away. Returns the positions to commit, after all work on them ended. With `lost` the
    /// group has given them to others already: nothing is waited for.
    fn revoked(&self, partitions: &[(String, i32)], lost: bool) -> Vec<Position>;

    /// Ends all work in good order, because the consumer is about to leave its group. Returns the positions to commit.
    fn leaving(&self) -> Vec<Position>;

    /// Returns what is complete of each partition, to be committed in a transaction.
    fn positions(&self) -> Vec<Position>;

    /// These positions were committed in a transaction.
    fn committed(&self, positions: &[Position]);

    /// Ends all work at once, without waiting for anything. What is not committed will be handled again.
    fn fence(&self) -> Vec<Fenced>;

    /// The consumer is closed or came to its end. Ends what still runs: librdkafka revokes neither what it was about to
    /// assign when it was told to close, nor anything after a fatal error.
    fn closed(&self);
}

/// librdkafka's callbacks for one consumer.
pub(super) struct Callbacks {
    group: String,
    listener: Arc<dyn RebalanceListener>,
    status: Arc<SourceStatus>,
    alive: Arc<()>,
    /// Where work ended because the consumer leaves, until that is committed.
    last_commit: LastCommit,
    beginning: Beginning,
    /// Why the last commit failed, if it did.
    refusal: Mutex<Option<RDKafkaErrorCode>>,
    /// Who commits positions where delivery is exactly once.
    exactly_once: Option<Arc<ExactlyOnce>>,
    /// Whether the brokers take the protocol, while that is not known.
    trial: Option<Trial>,
}

impl Callbacks {
    pub(super) fn new(
        group: String,
        start: Start,
        transactions: Option<Arc<Transactions>>,
        listener: Arc<dyn RebalanceListener>,
        status: Arc<SourceStatus>,
        alive: Arc<()>,
    ) -> Self {
        let exactly_once = transactions.map(|transactions| {
            let (listener, status) = (Arc::clone(&listener), Arc::clone(&status));
            Arc::new(ExactlyOnce::new(
                group.clone(),
                transactions,
                listener,
                status,
            ))
        });
        Self {
            beginning: Beginning::new(group.clone(), start),
            exactly_once,
            group,
            listener,
            status,
            alive,
            last_commit: LastCommit::default(),
            refusal: Mutex::new(None),
            trial: None,
        }
    }

    /// Has it heard whether the brokers take the protocol of the consumer.
    pub(super) fn trying(mut self, trial: Option<Trial>) -> Self {
        self.trial = trial;
        self
    }

    /// Returns the callbacks of a consumer that takes the place of this one, which has no partitions any more.
    pub(super) fn successor(&self, start: Start, alive: Arc<()>) -> Self {
        Self {
            group: self.group.clone(),
            listener: Arc::clone(&self.listener),
            status: Arc::clone(&self.status),
            alive,
            last_commit: LastCommit::default(),
            beginning: Beginning::new(self.group.clone(), start),
            refusal: Mutex::new(None),
            exactly_once: self.exactly_once.clone(),
            trial: None,
        }
    }

    /// Returns whether the brokers take the protocol, where that was to be found out.
    pub(super) fn trial(&self) -> Option<&Trial> {
        self.trial.as_ref()
    }

    /// Ends all work while the consumer is still a member that may commit. What is assigned from now on is not begun.
    pub(super) fn end_work(&self) {
        self.last_commit.begin();
        self.last_commit.set(self.listener.leaving());
    }

    /// Ends all work at once, because the consumer has come to its end. What it is assigned yet is not begun.
    pub(super) fn give_up(&self) {
        self.last_commit.begin();
        if let Some(exactly_once) = &self.exactly_once {
            exactly_once.give_up("the consumer has come to its end");
            exactly_once.forget_all();
        }
        self.listener.closed();
    }

    /// Commits where the work ended. Returns whether that is over, for good or ill: the coordinator takes no commits
    /// between the two halves of a rebalance, and this is to be called again when it went on.
    pub(super) fn commit_ended(&self, consumer: &BaseConsumer<Self>) -> bool {
        if let Some(exactly_once) = &self.exactly_once {
            let positions = self.last_commit.take_all();
            if exactly_once.has_started() && !exactly_once.commit(consumer, positions) {
                self.status.gave_up_uncommitted();
            }
            return true;
        }
        let Some(result) = self.last_commit.attempt(consumer) else {
            return false;
        };
        self.tell(result);
        true
    }

    /// Returns who commits positions where delivery is exactly once.
    pub(super) fn exactly_once(&self) -> Option<&ExactlyOnce> {
        self.exactly_once.as_deref()
    }

    /// Has partitions read again from what is committed.
    pub(super) fn begin_again(&self, consumer: &BaseConsumer<Self>, fenced: Vec<Fenced>) {
        let client = self.client(consumer);
        let queues = fenced
            .into_iter()
            .filter_map(|Fenced { name, first_taken }| {
                let queue = PartitionQueue::take_from(client.clone(), &name.0, name.1, None)?;
                Some(queue.held_by(Some(self.beginning.hold(name, first_taken))))
            });
        self.listener.assigned(queues.collect());
        self.beginning.ask_again(consumer);
    }

    fn client(&self, consumer: &BaseConsumer<Self>) -> Client {
        Client::new(consumer.client().native_ptr(), Arc::clone(&self.alive))
    }

    /// Returns who knows where reading begins.
    pub(super) fn beginning(&self) -> &Beginning {
        &self.beginning
    }

    fn assign(&self, consumer: &BaseConsumer<Self>, partitions: &TopicPartitionList) {
        if self.trial.as_ref().is_some_and(Trial::end) {
            tracing::info!(
                group = self.group,
                protocol = "consumer",
                why = "the brokers have KIP-848, and group.protocol is \"auto\"",
                "the brokers share out the partitions"
            );
        }
        if self.last_commit.has_begun() {
            self.status.assigned(partitions.count());
            return;
        }
        let client = self.client(consumer);
        let mut queues = Vec::new();
        let committed = committed(consumer, &self.group, partitions, TIMEOUT)
            .inspect_err(|error| {
                tracing::warn!(
                    group = self.group,
                    %error,
                    "the last commits cannot be read, and nothing is before they are"
                );
            })
            .ok();
        let mut held = self.beginning.set(consumer, committed.as_ref(), partitions);
        let mut committed = committed.unwrap_or_default();
        for (topic, partition) in names(partitions) {
            let name = (topic.clone(), partition);
            let (done, held) = (committed.completed.remove(&name), held.remove(&name));
            let begin = committed.positions.remove(&name);
            let queue = PartitionQueue::take_from(client.clone(), &topic, partition, done);
            if let Some(queue) = queue.map(|queue| queue.beginning_at(begin).held_by(held)) {
                queues.push(queue);
            } else {
                tracing::error!(
                    group = self.group,
                    topic,
                    partition,
                    "the assigned partition has no queue"
                );
            }
        }
        self.status.assigned(queues.len());
        if !queues.is_empty() {
            tracing::info!(
                group = self.group,
                partitions = queues.len(),
                "partitions assigned"
            );
            self.listener.assigned(queues);
        }
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>, partitions: &TopicPartitionList) {
        let gone = names(partitions);
        if gone.is_empty() {
            return;
        }
        self.beginning.forget(&gone);
        let lost = consumer.assignment_lost();
        if let Some(exactly_once) = self.exactly_once.as_ref().filter(|_| lost) {
            // Before others are told to stop: what the transaction holds of these partitions is not to be seen.
            exactly_once.give_up("the group has given partitions to others");
        }
        let started = tokio::time::Instant::now();
        self.status.set_draining(true);
        let mut positions = self.listener.revoked(&gone, lost);
        self.status.set_draining(false);
        positions.extend(self.last_commit.take(&gone));
        self.status.revoked(gone.len());
        let drained_ms = millis(started.elapsed());
        tracing::info!(
            group = self.group,
            partitions = gone.len(),
            lost,
            drained_ms,
            "partitions revoked"
        );
        match &self.exactly_once {
            None if !lost => self.tell(commit(consumer, &positions)),
            None => {}
            Some(exactly_once) => {
                // Should that fail, all are read again from what is committed, by whoever has them then.
                if !lost {
                    exactly_once.commit(consumer, positions);
                }
                exactly_once.forget(&gone);
            }
        }
    }

    fn tell(&self, committed: KafkaResult<()>) {
        if let Err(error) = committed {
            self.status.gave_up_uncommitted();
            tracing::warn!(
                group = self.group,
                %error,
                "the last positions could not be committed; their records will be handled again"
            );
        }
    }
}

fn names(partitions: &TopicPartitionList) -> Vec<(String, i32)> {
    // An empty list must not be asked for its elements: cooperative assignors report empty changes.
    if partitions.count() == 0 {
        return Vec::new();
    }
    partitions
        .elements()
        .iter()
        .map(|element| (element.topic().to_owned(), element.partition()))
        .collect()
}

impl ClientContext for Callbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if let Some(trial) = &self.trial {
            trial.hear(facility, message);
        }
        // Told in the host's own words: who shares out the partitions instead, or that another consumer follows.
        let level = if facility == "FATAL" {
            RDKafkaLogLevel::Debug
        } else {
            level
        };
        crate::telemetry::log_kafka(level, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        self.status.observe(&statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(reason) = self.status.failed(&error, reason) {
            tracing::warn!(
                group = self.group,
                reason,
                "kafka is out of reach; trying again"
            );
        }
    }
}

impl ConsumerContext for Callbacks {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        self.status.rebalanced();
        match rebalance {
            Rebalance::Assign(partitions) => self.assign(consumer, partitions),
            Rebalance::Revoke(partitions) => self.revoke(consumer, partitions),
            Rebalance::Error(error) => {
                tracing::error!(group = self.group, %error, "rebalance failed");
            }
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        let code = match &result {
            // NoOffset: there was nothing to commit.
            Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => None,
            Err(error) => error.rdkafka_error_code(),
        };
        // While Kafka is away each commit fails, and one line says so.
        let last = std::mem::replace(&mut *self.refusal.lock(), code);
        if let Err(error) = result
            && code.is_some()
            && code != last
        {
            tracing::warn!(group = self.group, %error, "commits fail; they are tried again");
        }
    }
}
