//! What a run is about: the log, the group, the handler and its manifest, drawn from the seed.
//!
//! **Invariant:** fixed when the run begins; what happens in it is drawn later, by the world.

use std::time::Duration;

use kafka_wasm_host::outcome::FailureKind;
use kafka_wasm_host::policy::{
    Backoff, BackoffKind, KindPolicy, OnExhausted, Ordering, RetryPolicy,
};

use harness::dice::Dice;

/// How the handler takes one record.
#[derive(Debug, Clone, Copy)]
pub(super) enum Nature {
    /// It succeeds.
    Fine,
    /// It fails in this many of 100 attempts.
    Flaky(usize),
    /// It always fails so, until the handler is replaced.
    Poison(FailureKind),
}

/// A record as it was produced.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) offset: i64,
    pub(super) nature: Nature,
    pub(super) key: Option<u64>,
    /// Kafka refuses what a handler makes of it, where the scenario has that.
    pub(super) is_large: bool,
    /// Of a record that is replayed.
    pub(super) replayed: Option<Replayed>,
}

/// What a replay of a dead letter says of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Replayed {
    /// Where the record was first.
    pub(super) from: (usize, usize),
    /// Which of the dead letters it is.
    pub(super) letter: usize,
    /// When that was written.
    pub(super) time_ms: i64,
    /// How many attempts were made before.
    pub(super) attempts: u32,
    pub(super) session: u32,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) hosts: usize,
    /// The records of each partition; their offsets have gaps.
    pub(super) partitions: Vec<Vec<Entry>>,
    pub(super) ordering: Ordering,
    /// Records or batches that may be handled beside each other, where not all keep their order.
    pub(super) concurrency: usize,
    /// Numbers that stand for keys. Where they are fewer than keys, two keys wait for each other.
    pub(super) key_numbers: u64,
    /// Commits say what is complete above the position.
    pub(super) has_map: bool,
    /// Outputs and positions are committed together.
    pub(super) is_exactly_once: bool,
    pub(super) retry: RetryPolicy,
    pub(super) on_exhausted: OnExhausted,
    /// How many records make up a batch, where there are batches.
    pub(super) bulk: Option<usize>,
    /// A handler of batches names the records that failed.
    pub(super) answers_each: bool,
    /// The partition by which the dead letters of parked keys come back.
    pub(super) replays: Option<usize>,
    /// For how long a replay may have a key held without asking again.
    pub(super) lease_ms: u64,
    pub(super) has_error_hook: bool,
    pub(super) in_flight_max: usize,
    pub(super) outbox_max: usize,
    /// No crash, no lost assignment, no drain that is cut off.
    pub(super) is_graceful: bool,
    /// Of 100 outputs, how many Kafka refuses for good.
    pub(super) refused_percent: usize,
    /// Kafka refuses what is made of large records, so that transactions are aborted.
    pub(super) refuses_large: bool,
    /// Steps before the world calms down.
    pub(super) steps: usize,
}

impl Scenario {
    pub(super) fn draw(dice: &mut Dice) -> Self {
        let trouble = dice.pick(&[0, 10, 30]);
        let mut partitions: Vec<_> = (0..dice.between(1, 3))
            .map(|_| log(dice, trouble))
            .collect();
        let ordering = dice.pick(&[Ordering::Partition, Ordering::Key, Ordering::None]);
        let is_exactly_once = dice.chance(30);
        let on_exhausted = match dice.chance(60) {
            true if ordering == Ordering::Key => OnExhausted::Park,
            _ => dice.pick(&[
                OnExhausted::DeadLetter,
                OnExhausted::Skip,
                OnExhausted::Halt,
            ]),
        };
        let parks = on_exhausted == OnExhausted::Park;
        let replays = parks.then_some(partitions.len());
        partitions.extend(parks.then(Vec::new));
        let bulk = (!parks && dice.chance(40)).then(|| dice.between(2, 16));
        let answers_each = bulk.is_some() && dice.chance(50);
        let is_graceful = dice.chance(30);
        Self {
            hosts: dice.between(1, 3),
            partitions,
            ordering,
            concurrency: dice.between(1, 4),
            key_numbers: dice.pick(&[2, KEYS as u64, KEYS as u64]),
            has_map: ordering != Ordering::Partition
                || is_exactly_once
                || answers_each
                || dice.chance(50),
            is_exactly_once,
            retry: retry(dice, parks),
            on_exhausted,
            bulk,
            answers_each,
            replays,
            lease_ms: dice.between(1000, 4000) as u64,
            has_error_hook: dice.chance(30),
            in_flight_max: dice.between(1, if bulk.is_some() { 20 } else { 6 }),
            outbox_max: dice.between(1, 3),
            is_graceful,
            // In a transaction a refusal takes back what others did, so it says whose it is: the large ones'.
            refuses_large: is_exactly_once && !is_graceful && !parks,
            refused_percent: if is_exactly_once {
                0
            } else {
                dice.pick(&[0, 0, 5, 20])
            },
            steps: dice.between(100, 700) + if parks { 300 } else { 0 },
        }
    }
}

impl Scenario {
    /// Something of each record of each partition, which is told its place, too.
    pub(super) fn each<T>(&self, get: impl Fn((usize, usize), &Entry) -> T) -> Vec<Vec<T>> {
        let log = |(partition, log): (usize, &Vec<Entry>)| {
            let entries = log.iter().enumerate();
            entries
                .map(|(index, entry)| get((partition, index), entry))
                .collect()
        };
        self.partitions.iter().enumerate().map(log).collect()
    }

    /// Records of equal chains keep their order.
    pub(super) fn chain(&self, partition: usize, index: usize) -> usize {
        let key = self.partitions[partition][index].key;
        match (self.ordering, key) {
            (Ordering::Partition, _) => 0,
            (Ordering::Key, Some(key)) => key as usize,
            (Ordering::Key, None) | (Ordering::None, _) => KEYS + index,
        }
    }

    /// What stands for a record's key.
    pub(super) fn number(&self, entry: &Entry) -> Option<u64> {
        let key = entry.key.filter(|_| self.ordering == Ordering::Key)?;
        Some(key % self.key_numbers)
    }

    /// Whether a partition is one by which records come back.
    pub(super) fn is_replay(&self, partition: usize) -> bool {
        self.replays == Some(partition)
    }

    /// Records or batches of a partition that may be in guests at once.
    pub(super) fn lanes(&self) -> usize {
        match self.ordering {
            Ordering::Partition => 1,
            Ordering::Key | Ordering::None => self.concurrency,
        }
    }
}

/// Keys that records have.
pub(super) const KEYS: usize = 3;

fn log(dice: &mut Dice, trouble_percent: usize) -> Vec<Entry> {
    // Retention may have removed the beginning, compaction and transaction markers leave gaps.
    let mut offset = dice.pick(&[0, 0, 0, 17]);
    let gaps = dice.pick(&[0, 20, 60]);
    let mut records = Vec::new();
    for _ in 0..dice.between(0, 20) {
        if dice.chance(gaps) {
            offset += dice.between(1, 40) as i64;
        }
        let nature = match dice.chance(trouble_percent) {
            false => Nature::Fine,
            true if dice.chance(50) => Nature::Flaky(dice.between(20, 80)),
            true => Nature::Poison(dice.pick(&FailureKind::ALL)),
        };
        // Some have none.
        let key = dice.below(KEYS + 1);
        records.push(Entry {
            offset,
            nature,
            key: (key < KEYS).then_some(key as u64),
            is_large: dice.chance(trouble_percent / 3),
            replayed: None,
        });
        offset += 1;
    }
    records
}

/// The same for all kinds of failures, or another policy for one or two of them.
fn retry(dice: &mut Dice, parks: bool) -> RetryPolicy {
    let mut policy = RetryPolicy::new(kind_policy(dice, parks));
    for _ in 0..dice.pick(&[0, 0, 1, 2]) {
        policy = policy.with(dice.pick(&FailureKind::ALL), kind_policy(dice, parks));
    }
    policy
}

/// Where keys are parked there is no bound of age: that of a replay begins before its first attempt.
fn kind_policy(dice: &mut Dice, parks: bool) -> KindPolicy {
    let initial_ms = dice.between(1, 200) as u64;
    let has_max_age = dice.chance(30) && !parks;
    let max_age = Duration::from_millis(dice.between(1, 3000) as u64);
    KindPolicy {
        max_attempts: dice.between(1, 5) as u32,
        max_age: has_max_age.then_some(max_age),
        backoff: Backoff {
            kind: backoff_kind(dice),
            initial: Duration::from_millis(initial_ms),
            max: Duration::from_millis(initial_ms * dice.between(1, 8) as u64),
            multiplier: 2.0,
            jitter: dice.pick(&[0.0, 0.2, 1.0]),
        },
    }
}

fn backoff_kind(dice: &mut Dice) -> BackoffKind {
    match dice.below(4) {
        0 => BackoffKind::Exponential,
        1 => BackoffKind::Fixed,
        2 => BackoffKind::Fibonacci,
        _ => {
            let delays = (0..dice.between(1, 3)).map(|_| dice.between(0, 1000) as u64);
            BackoffKind::List(delays.map(Duration::from_millis).collect())
        }
    }
}
