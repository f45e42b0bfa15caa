//! The counters of the record path.
//!
//! Each lane counts into its own [`LaneStats`], one atomic addition a fact; scrapes add lanes up. What a lane counted
//! stays counted when it ends.
//! **Invariant:** every settled record is counted once, under exactly one ending.

mod meter;
mod stages;
mod steps;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use self::meter::Meters;
pub(crate) use self::meter::{Meter, MeterReading};
use self::stages::Stages;
pub(crate) use self::stages::{Received, StageReading, StageStats};
pub(crate) use self::steps::StepReading;
use self::steps::Steps;
use crate::ids::{HandlerId, TenantId};
use crate::outcome::{Ending, FailureKind};

/// Upper bounds of the duration buckets, in microseconds.
pub(crate) const BUCKETS_US: [u64; 16] = [
    50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000,
    1_000_000, 5_000_000, 10_000_000,
];

/// A count that only rises.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub(crate) fn increment(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Reads the count.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A value that is set.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicI64);

impl Gauge {
    /// Sets the value.
    pub(crate) fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Reads the value.
    pub(crate) fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Durations, counted in buckets.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// One count for each bound of [`BUCKETS_US`], and one for all that is longer.
    buckets: [Counter; BUCKETS_US.len() + 1],
    sum_us: Counter,
}

impl Histogram {
    /// Counts one duration.
    pub(crate) fn observe(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let place = BUCKETS_US.partition_point(|&bound| bound < us);
        if let Some(bucket) = self.buckets.get(place) {
            bucket.increment();
        }
        self.sum_us.add(us);
    }

    /// Reads all buckets.
    pub(crate) fn read(&self) -> HistogramReading {
        HistogramReading {
            buckets: std::array::from_fn(|place| self.buckets.get(place).map_or(0, Counter::get)),
            sum_us: self.sum_us.get(),
        }
    }
}

/// What a histogram holds, added up over lanes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct HistogramReading {
    /// One count for each bound of [`BUCKETS_US`], and one for all that is longer; not cumulative.
    pub(crate) buckets: [u64; BUCKETS_US.len() + 1],
    /// All durations together.
    pub(crate) sum_us: u64,
}

impl HistogramReading {
    fn add(&mut self, other: &Self) {
        for (sum, more) in self.buckets.iter_mut().zip(other.buckets) {
            *sum += more;
        }
        self.sum_us += other.sum_us;
    }
}

/// Kept on cache lines of its own, because another thread than the lane's writes to it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart<T>(T);

/// What one lane counts.
#[derive(Debug, Default)]
pub(crate) struct LaneStats {
    /// Whose they are.
    pub(crate) handler: Option<HandlerId>,
    /// Counted by the producer's thread where outputs had to be acknowledged.
    endings: Apart<[Counter; Ending::ALL.len()]>,
    failures: [Counter; FailureKind::ALL.len()],
    /// Attempts after the first.
    pub(crate) retries: Counter,
    /// Bytes of keys and values that were fetched.
    pub(crate) bytes_in: Counter,
    /// Records that an earlier owner of the partition completed, so that they were not handled again.
    pub(crate) completed_before: Counter,
    /// Records that handlers emitted and that were handed to the producer.
    pub(crate) emitted: Counter,
    /// Outputs that were sent again because Kafka had refused them.
    pub(crate) repeated: Counter,
    /// Refused outputs that were sent to a topic for them.
    pub(crate) redirected: Counter,
    /// Instances that were made.
    pub(crate) instance_starts: Counter,
    /// Time in the guest, a record or a batch at a time.
    pub(crate) invoke: Histogram,
    /// Records taken and not settled, or settled behind one that is not.
    pub(crate) in_flight: Gauge,
    /// Records between the position and the partition's end; -1 while it is not known.
    pub(crate) lag_records: Gauge,
    /// Timestamp of the last record taken, in milliseconds since the Unix epoch; 0 before the first.
    pub(crate) last_timestamp_ms: Gauge,
    /// Bytes of the instance's linear memory.
    pub(crate) memory_bytes: Gauge,
    /// The partition that the lane stands for; none for those that work beside it.
    partition: Option<i32>,
    /// The offset of the record at which the lane halted; -1 while it is not halted.
    pub(crate) halted_at: Gauge,
    /// Whether the partition's records come in batches, 1 or 0.
    pub(crate) is_bulk: Gauge,
    /// 1 while no records are taken because the map of what is complete has no room.
    pub(crate) is_map_full: Gauge,
    /// Keys of the partition that are parked.
    pub(crate) parked_keys: Gauge,
}

impl LaneStats {
    /// Counts settled records.
    pub(crate) fn ended(&self, ending: Ending, records: usize) {
        let place = Ending::ALL.iter().position(|&other| other == ending);
        if let Some(counter) = place.and_then(|place| self.endings.0.get(place)) {
            counter.add(records as u64);
        }
    }

    /// Counts a failed attempt.
    pub(crate) fn failed(&self, kind: FailureKind) {
        let place = FailureKind::ALL.iter().position(|&other| other == kind);
        if let Some(counter) = place.and_then(|place| self.failures.get(place)) {
            counter.increment();
        }
    }
}

/// What the lanes of one handler and topic counted together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) endings: [u64; Ending::ALL.len()],
    pub(crate) failures: [u64; FailureKind::ALL.len()],
    pub(crate) retries: u64,
    pub(crate) bytes_in: u64,
    pub(crate) completed_before: u64,
    pub(crate) emitted: u64,
    pub(crate) repeated: u64,
    pub(crate) redirected: u64,
    pub(crate) instance_starts: u64,
    pub(crate) invoke: HistogramReading,
    /// Partitions that are served now; the fields below are of their lanes.
    pub(crate) lanes: usize,
    /// Halted partitions, each with the offset of its record.
    pub(crate) halted: Vec<(i32, i64)>,
    /// Partitions whose records come in batches.
    pub(crate) bulk: i64,
    /// Partitions that take no records because the map of what is complete has no room.
    pub(crate) map_full: i64,
    pub(crate) in_flight: i64,
    /// `None` when no lane knows its partition's end yet.
    pub(crate) lag_records: Option<i64>,
    /// The timestamp of the last record taken by the lane that is furthest behind.
    pub(crate) oldest_timestamp_ms: Option<i64>,
    pub(crate) memory_bytes: i64,
    pub(crate) parked_keys: i64,
}

impl Reading {
    fn add_counts(&mut self, lane: &LaneStats) {
        for (sum, counter) in self.endings.iter_mut().zip(&lane.endings.0) {
            *sum += counter.get();
        }
        for (sum, counter) in self.failures.iter_mut().zip(&lane.failures) {
            *sum += counter.get();
        }
        self.retries += lane.retries.get();
        self.bytes_in += lane.bytes_in.get();
        self.completed_before += lane.completed_before.get();
        self.emitted += lane.emitted.get();
        self.repeated += lane.repeated.get();
        self.redirected += lane.redirected.get();
        self.instance_starts += lane.instance_starts.get();
        self.invoke.add(&lane.invoke.read());
    }

    fn add_state(&mut self, lane: &LaneStats) {
        self.lanes += usize::from(lane.partition.is_some());
        let halted_at = Some(lane.halted_at.get()).filter(|offset| *offset >= 0);
        self.halted.extend(lane.partition.zip(halted_at));
        self.bulk += lane.is_bulk.get();
        self.map_full += lane.is_map_full.get();
        self.in_flight += lane.in_flight.get();
        self.memory_bytes += lane.memory_bytes.get();
        self.parked_keys += lane.parked_keys.get();
        let lag = lane.lag_records.get();
        if lag >= 0 {
            *self.lag_records.get_or_insert(0) += lag;
        }
        let timestamp = lane.last_timestamp_ms.get();
        if lag > 0 && timestamp > 0 {
            let oldest = self.oldest_timestamp_ms.get_or_insert(timestamp);
            *oldest = timestamp.min(*oldest);
        }
    }
}

/// What is known of one partition of a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartitionReading {
    pub(crate) partition: i32,
    /// Records between the position and the partition's end, if that is known.
    pub(crate) lag_records: Option<i64>,
    pub(crate) parked_keys: i64,
    /// The offset of the record at which it halted, if it did.
    pub(crate) halted_at: Option<i64>,
}

#[derive(Debug, Default)]
struct Series {
    ended: Reading,
    lanes: Vec<Arc<LaneStats>>,
}

/// All counters of the record path.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    series: Mutex<BTreeMap<(HandlerId, Arc<str>), Series>>,
    stages: Mutex<Stages>,
    steps: Mutex<Steps>,
    meters: Mutex<Meters>,
}

impl Registry {
    /// Opens the counters of a lane of `handler` on `topic`; `partition` is told of the first lane of each.
    pub(crate) fn open(
        self: &Arc<Self>,
        handler: &HandlerId,
        topic: &Arc<str>,
        partition: Option<i32>,
    ) -> OpenLane {
        let stats = Arc::new(LaneStats {
            partition,
            handler: Some(handler.clone()),
            ..LaneStats::default()
        });
        stats.lag_records.set(-1);
        stats.halted_at.set(-1);
        let key = (handler.clone(), Arc::clone(topic));
        self.series
            .lock()
            .entry(key.clone())
            .or_default()
            .lanes
            .push(Arc::clone(&stats));
        OpenLane {
            registry: Arc::clone(self),
            key,
            stats,
        }
    }

    /// Returns the counters of a component that works beside a handler's own.
    pub(crate) fn stage(&self, handler: &HandlerId, stage: &str) -> Arc<StageStats> {
        self.stages.lock().open(handler, stage)
    }

    /// Returns the durations of a step of a pipeline.
    pub(crate) fn step(&self, handler: &HandlerId, pipeline: &str, step: &str) -> Arc<Histogram> {
        self.steps.lock().open(handler, pipeline, step)
    }

    /// Returns what is counted of a tenant by the second.
    pub(crate) fn meter(&self, tenant: &TenantId) -> Arc<Meter> {
        self.meters.lock().open(tenant)
    }

    /// Reads what tenants have used.
    pub(crate) fn meters(&self) -> Vec<(TenantId, MeterReading)> {
        self.meters.lock().read()
    }

    /// Reads how long steps took.
    pub(crate) fn steps(&self) -> Vec<StepReading> {
        self.steps.lock().read()
    }

    /// Reads what such components have counted.
    pub(crate) fn stages(&self) -> Vec<StageReading> {
        self.stages.lock().read()
    }

    /// Reads what is known of the partitions of a topic that a handler speaks for.
    pub(crate) fn partitions(
        &self,
        handler: &HandlerId,
        topic: &Arc<str>,
    ) -> Vec<PartitionReading> {
        let series = self.series.lock();
        let Some(series) = series.get(&(handler.clone(), Arc::clone(topic))) else {
            return Vec::new();
        };
        let known = |value: i64| (value >= 0).then_some(value);
        let lanes = series.lanes.iter().filter_map(|lane| {
            Some(PartitionReading {
                partition: lane.partition?,
                lag_records: known(lane.lag_records.get()),
                parked_keys: lane.parked_keys.get(),
                halted_at: known(lane.halted_at.get()),
            })
        });
        lanes.collect()
    }

    /// Reads all series.
    pub(crate) fn read(&self) -> Vec<(HandlerId, Arc<str>, Reading)> {
        let series = self.series.lock();
        series
            .iter()
            .map(|((handler, topic), series)| {
                let mut reading = series.ended.clone();
                for lane in &series.lanes {
                    reading.add_counts(lane);
                    reading.add_state(lane);
                }
                (handler.clone(), Arc::clone(topic), reading)
            })
            .collect()
    }
}

/// The counters of a running lane; dropping it keeps what was counted.
#[derive(Debug)]
pub(crate) struct OpenLane {
    registry: Arc<Registry>,
    key: (HandlerId, Arc<str>),
    stats: Arc<LaneStats>,
}

impl OpenLane {
    /// Returns the counters, to be held by what outlives a call.
    pub(crate) fn stats(&self) -> &Arc<LaneStats> {
        &self.stats
    }
}

impl std::ops::Deref for OpenLane {
    type Target = LaneStats;

    fn deref(&self) -> &LaneStats {
        &self.stats
    }
}

impl Drop for OpenLane {
    fn drop(&mut self) {
        let mut series = self.registry.series.lock();
        if let Some(series) = series.get_mut(&self.key) {
            series.ended.add_counts(&self.stats);
            series.lanes.retain(|lane| !Arc::ptr_eq(lane, &self.stats));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_lane_counted_stays_counted_when_it_ends() {
        let registry = Arc::new(Registry::default());
        let handler: HandlerId = "a/b".parse().unwrap();
        let topic: Arc<str> = Arc::from("t");
        let lane = registry.open(&handler, &topic, Some(0));
        lane.ended(Ending::Handled, 3);
        lane.failed(FailureKind::Trap);
        lane.invoke.observe(Duration::from_micros(60));
        lane.lag_records.set(7);
        let before = registry.read();
        assert_eq!(before[0].2.lag_records, Some(7));
        drop(lane);
        let after = &registry.read()[0].2;
        assert_eq!(after.endings, [3, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(after.failures[3], 1);
        assert_eq!((after.invoke.buckets[1], after.invoke.sum_us), (1, 60));
        assert_eq!((after.lanes, after.lag_records), (0, None));
    }

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        for us in [50, 51, 10_000_000, 10_000_001] {
            histogram.observe(Duration::from_micros(us));
        }
        let buckets = histogram.read().buckets;
        assert_eq!(
            (buckets[0], buckets[1], buckets[15], buckets[16]),
            (1, 1, 1, 1)
        );
    }
}
