//! What is known of a consumer from outside, for readiness and metrics.
//!
//! Written by the consumer's thread and librdkafka's callbacks, read by whoever asks.
//! **Invariant:** a consumer counts as out of reach until Kafka has answered it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::Statistics;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use tokio::time::Instant;

use crate::watchdog::Fetched;

/// What was fetched, by topic and partition.
pub(crate) type FetchedPartitions = BTreeMap<String, BTreeMap<i32, Fetched>>;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct SourceStatus {
    assigned: AtomicUsize,
    rebalances: AtomicU64,
    /// Why Kafka is out of reach; `None` when it answers. Begins as "not connected yet".
    trouble: Mutex<Option<String>>,
    /// Why nothing is read though Kafka may answer: no transaction can be begun, or no consumer be made.
    standstill: Mutex<Option<String>>,
    /// Why the last consumer came to its end, until the group has taken another one.
    ended: Mutex<Option<String>>,
    /// What the last broken connection came to, with its address.
    broken: Mutex<String>,
    missing_topics: Mutex<BTreeSet<String>>,
    /// When partitions were assigned or revoked last.
    changed_at: Mutex<Option<Instant>>,
    /// Whether positions were given up that could not be committed.
    uncommitted: AtomicBool,
    /// How often the consumer's thread came round.
    rounds: AtomicU64,
    /// Whether that thread waits for the partitions of a rebalance.
    draining: AtomicBool,
    /// What was fetched of each partition, as of the last statistics.
    fetched: Mutex<Arc<FetchedPartitions>>,
    /// Whether being given nothing is not called back, as it is where a broker assigns partitions.
    hears_of_partitions_only: AtomicBool,
}

impl SourceStatus {
    pub(crate) fn new(hears_of_partitions_only: bool) -> Self {
        Self {
            hears_of_partitions_only: AtomicBool::new(hears_of_partitions_only),
            trouble: Mutex::new(Some("not connected yet".to_owned())),
            ..Self::default()
        }
    }

    /// Returns how many partitions are assigned.
    pub(crate) fn assigned_partitions(&self) -> usize {
        self.assigned.load(Ordering::Relaxed)
    }

    /// Returns how often partitions were assigned or revoked.
    pub(crate) fn rebalances(&self) -> u64 {
        self.rebalances.load(Ordering::Relaxed)
    }

    /// Returns why Kafka is out of reach, if it is.
    pub(crate) fn trouble(&self) -> Option<String> {
        let ended = || self.ended.lock().clone();
        let standstill = || self.standstill.lock().clone();
        let trouble = self.trouble.lock().clone();
        trouble.or_else(ended).or_else(standstill)
    }

    /// Takes note of why nothing is read though Kafka may answer; returns whether that is news.
    pub(super) fn set_standstill(&self, why: Option<String>) -> bool {
        let mut standstill = self.standstill.lock();
        let is_news = *standstill != why;
        *standstill = why;
        is_news
    }

    /// Takes note that another consumer has taken the place of one that has no partitions any more.
    pub(super) fn begins(&self, hears_of_partitions_only: bool) {
        self.hears_of_partitions_only
            .store(hears_of_partitions_only, Ordering::Relaxed);
        self.assigned.store(0, Ordering::Relaxed);
        *self.changed_at.lock() = None;
    }

    /// Takes note that the consumer came to its end, for this reason, and has no partitions any more.
    pub(super) fn came_to_its_end(&self, why: &str) {
        *self.ended.lock() = Some(format!("its consumer has come to its end: {why}"));
        self.assigned.store(0, Ordering::Relaxed);
        self.rebalanced();
    }

    /// Takes note that the group has taken another consumer.
    pub(super) fn is_taken(&self) {
        *self.ended.lock() = None;
    }

    /// Returns the subscribed topics that do not exist.
    pub(crate) fn missing_topics(&self) -> Vec<String> {
        self.missing_topics.lock().iter().cloned().collect()
    }

    /// Returns the time since partitions were assigned or revoked, be it none.
    pub(crate) fn unchanged_for(&self) -> Option<Duration> {
        self.changed_at.lock().map(|at| at.elapsed())
    }

    /// Returns whether positions were given up that could not be committed.
    pub(crate) fn is_uncommitted(&self) -> bool {
        self.uncommitted.load(Ordering::Relaxed)
    }

    pub(super) fn gave_up_uncommitted(&self) {
        self.uncommitted.store(true, Ordering::Relaxed);
    }

    /// Returns how often the consumer's thread came round.
    pub(crate) fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    pub(super) fn came_round(&self) {
        self.rounds.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns whether the consumer's thread waits, no longer than the drain timeout, for the partitions of a rebalance.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(super) fn set_draining(&self, is_draining: bool) {
        self.draining.store(is_draining, Ordering::Relaxed);
    }

    /// Returns what was fetched of each partition, as of the last statistics.
    pub(crate) fn fetched(&self) -> Arc<FetchedPartitions> {
        Arc::clone(&self.fetched.lock())
    }

    pub(super) fn set_missing_topics(&self, topics: BTreeSet<String>) {
        *self.missing_topics.lock() = topics;
    }

    /// Takes note that Kafka has answered.
    pub(super) fn answered(&self) {
        *self.trouble.lock() = None;
    }

    pub(super) fn assigned(&self, partitions: usize) {
        self.assigned.fetch_add(partitions, Ordering::Relaxed);
        *self.trouble.lock() = None;
    }

    pub(super) fn revoked(&self, partitions: usize) {
        // Of a consumer that came to its end they are gone already.
        let less = |assigned: usize| Some(assigned.saturating_sub(partitions));
        let _ = self
            .assigned
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    pub(super) fn rebalanced(&self) {
        self.rebalances.fetch_add(1, Ordering::Relaxed);
        *self.changed_at.lock() = Some(Instant::now());
    }

    /// Kafka counts as reached when one broker's connection is up.
    pub(super) fn observe(&self, statistics: &Statistics) {
        *self.fetched.lock() = Arc::new(fetched(statistics));
        if statistics
            .brokers
            .values()
            .any(|broker| broker.state == "UP")
        {
            *self.trouble.lock() = None;
            if self.hears_of_partitions_only.load(Ordering::Relaxed) {
                self.changed_at.lock().get_or_insert_with(Instant::now);
            }
        }
    }

    /// Takes note of an error of the whole client; returns why Kafka is out of reach, where that is new.
    pub(super) fn failed(&self, error: &KafkaError, reason: &str) -> Option<String> {
        let reason = match error.rdkafka_error_code()? {
            RDKafkaErrorCode::BrokerTransportFailure => {
                // What follows, such as the time it took, differs each time.
                let lasting = reason.split(" (after").next().unwrap_or(reason);
                lasting.clone_into(&mut self.broken.lock());
                return None;
            }
            RDKafkaErrorCode::AllBrokersDown => format!("{reason}; {}", self.broken.lock()),
            RDKafkaErrorCode::Authentication | RDKafkaErrorCode::Resolve => reason.to_owned(),
            _ => return None,
        };
        let mut trouble = self.trouble.lock();
        if trouble.as_ref() == Some(&reason) {
            return None;
        }
        Some(trouble.insert(reason).clone())
    }
}

fn fetched(statistics: &Statistics) -> FetchedPartitions {
    let topics = statistics.topics.iter();
    let topics = topics.map(|(name, topic)| {
        let partitions = topic.partitions.iter();
        let partitions = partitions.map(|(partition, of)| {
            let fetched = Fetched {
                next: of.next_offset,
                end: of.hi_offset,
                taken: of.app_offset,
                queued: of.fetchq_cnt,
            };
            (*partition, fetched)
        });
        (name.clone(), partitions.collect())
    });
    topics.collect()
}
