//! What the handlers of a tenant use by the second, and what they owe where that is more than they may.
//!
//! Shared by all lanes and instances of the tenant on the host.
//! **Invariant:** a tenant without such quotas costs its records one look at an atomic that nobody writes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::Counter;
use crate::ids::TenantId;
use crate::rate::{Bucket, Lately, Rate, Rates};

/// How often it is told that lines were dropped.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// What was used, and what of it was too much.
#[derive(Debug, Default)]
struct Books {
    rates: Rates,
    buckets: [Bucket; Rate::ALL.len()],
    used: [u64; Rate::ALL.len()],
    lately: Lately,
    /// Lines that were dropped and not told yet, and when some were told last.
    untold: u64,
    told: Option<Duration>,
    /// How long the slowest component took to compile, and how long one may.
    slowest: Option<Duration>,
    compile_max: Option<Duration>,
}

impl Books {
    /// Returns the bucket of a rate that is bounded, what a second is worth, and what was used of it.
    fn of(&mut self, rate: Rate) -> Option<(&mut Bucket, u64, &mut u64)> {
        let per_s = self.rates.per_s(rate)?;
        let bucket = self.buckets.get_mut(rate as usize)?;
        Some((bucket, per_s, self.used.get_mut(rate as usize)?))
    }

    /// Returns what was used in the last second that is over, before more is.
    fn look_back(&mut self, now: Duration) -> [u64; Rate::ALL.len()] {
        self.lately.at(now, &self.used)
    }

    fn due(&self) -> Duration {
        let throttling = Rate::ALL.iter().zip(&self.buckets);
        let dues = throttling
            .filter(|(rate, _)| **rate != Rate::LogLines && self.rates.per_s(**rate).is_some())
            .map(|(_, bucket)| bucket.due());
        dues.max().unwrap_or_default()
    }
}

/// What becomes of a line of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    /// Whether it is written.
    pub(crate) is_written: bool,
    /// Lines that were dropped since it was told last; none where it is not time to tell.
    pub(crate) dropped: Option<u64>,
}

/// See the module.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Meter {
    origin: Instant,
    /// Whether there is any quota by the second.
    is_bounded: AtomicBool,
    /// Nanoseconds after `origin` at which no more is owed.
    due_ns: AtomicU64,
    counts: Counts,
    books: Mutex<Books>,
}

/// Kept on cache lines of its own, since lanes write to it that have no quota.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Counts {
    cpu_ns: Counter,
    waited_ns: Counter,
    dropped_lines: Counter,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            is_bounded: AtomicBool::new(false),
            due_ns: AtomicU64::new(0),
            counts: Counts::default(),
            books: Mutex::default(),
        }
    }
}

impl Meter {
    /// Bounds what may be used. What is owed of a rate whose bound changes is forgiven.
    pub(crate) fn bound(&self, rates: Rates) {
        let mut books = self.books.lock();
        if books.rates == rates {
            return;
        }
        for rate in Rate::ALL {
            let is_new = books.rates.per_s(rate) != rates.per_s(rate);
            if let Some(bucket) = books.buckets.get_mut(rate as usize).filter(|_| is_new) {
                *bucket = Bucket::default();
            }
        }
        books.rates = rates;
        self.is_bounded
            .store(rates != Rates::default(), Ordering::Relaxed);
        self.note_due(books.due());
    }

    /// Takes note of how long a component took to compile, where that is known, and of how long one may.
    pub(crate) fn compiled(&self, took: Option<Duration>, max: Option<Duration>) {
        let mut books = self.books.lock();
        books.compile_max = max;
        books.slowest = books.slowest.max(took);
    }

    /// Takes note that so much was used.
    pub(crate) fn spend(&self, rate: Rate, amount: u64) {
        if !self.is_bounded.load(Ordering::Relaxed) || amount == 0 {
            return;
        }
        let mut books = self.books.lock();
        let now = self.origin.elapsed();
        books.look_back(now);
        if let Some((bucket, per_s, used)) = books.of(rate) {
            *used += amount;
            bucket.spend(amount, per_s, now);
            self.note_due(books.due());
        }
    }

    /// Takes note of so many records of so many bytes together that handlers emitted.
    pub(crate) fn emitted(&self, records: usize, bytes: usize) {
        self.spend(Rate::EmitRecords, records as u64);
        self.spend(Rate::EmitBytes, bytes as u64);
    }

    /// Takes note that hooks ran for so long.
    pub(crate) fn ran(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.counts.cpu_ns.add(ns);
        self.spend(Rate::Cpu, ns);
    }

    /// Takes note that a lane waited for so long since the tenant owed something.
    pub(crate) fn waited(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.counts.waited_ns.add(ns);
    }

    /// Returns until when no record may be begun, if something is owed.
    pub(crate) fn owes_until(&self) -> Option<Instant> {
        if !self.is_bounded.load(Ordering::Relaxed) {
            return None;
        }
        let due = Duration::from_nanos(self.due_ns.load(Ordering::Relaxed));
        (due > self.origin.elapsed()).then(|| self.origin + due)
    }

    /// Takes note of a line of the log; says what becomes of it.
    pub(crate) fn line(&self) -> Line {
        let mut books = self.books.lock();
        let now = self.origin.elapsed();
        books.look_back(now);
        let is_written = books
            .of(Rate::LogLines)
            .is_none_or(|(bucket, per_s, used)| {
                *used += 1;
                bucket.take(1, per_s, now)
            });
        if !is_written {
            self.counts.dropped_lines.increment();
            books.untold += 1;
        }
        let is_due = books.told.is_none_or(|told| now >= told + TELL_EVERY);
        let dropped = (books.untold > 0 && is_due).then(|| {
            books.told = Some(now);
            std::mem::take(&mut books.untold)
        });
        Line {
            is_written,
            dropped,
        }
    }

    /// Reads what was counted.
    pub(crate) fn read(&self) -> MeterReading {
        let mut books = self.books.lock();
        let lately = books.look_back(self.origin.elapsed());
        let quotas = Rate::ALL.iter().zip(books.used).filter_map(|(rate, used)| {
            let quota = books.rates.quota(*rate)?;
            Some((*rate, used, quota))
        });
        let lately = Rate::ALL.iter().zip(lately);
        let lately = lately.filter(|(rate, _)| books.rates.per_s(**rate).is_some());
        MeterReading {
            cpu: Duration::from_nanos(self.counts.cpu_ns.get()),
            waited: Duration::from_nanos(self.counts.waited_ns.get()),
            dropped_lines: self.counts.dropped_lines.get(),
            quotas: quotas.collect(),
            compile: books.slowest.zip(books.compile_max),
            lately: lately.map(|(rate, used)| (*rate, used)).collect(),
        }
    }

    fn note_due(&self, due: Duration) {
        // A debt of centuries is one of centuries.
        let ns = u64::try_from(due.as_nanos()).unwrap_or(u64::MAX / 2);
        self.due_ns.store(ns.min(u64::MAX / 2), Ordering::Relaxed);
    }
}

/// What a meter has counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct MeterReading {
    /// How long hooks ran.
    pub(crate) cpu: Duration,
    /// How long lanes waited since something was owed, all of them together.
    pub(crate) waited: Duration,
    /// Lines of the log that were dropped.
    pub(crate) dropped_lines: u64,
    /// What was used, as it is counted, and the quota, of each that is bounded.
    pub(crate) quotas: Vec<(Rate, u64, u64)>,
    /// How long the slowest component took to compile, and how long one may, where that is bounded.
    pub(crate) compile: Option<(Duration, Duration)>,
    /// What was used in the last second that is over, as it is counted, of each that is bounded.
    pub(crate) lately: Vec<(Rate, u64)>,
}

/// The meters of all tenants.
#[derive(Debug, Default)]
pub(super) struct Meters(BTreeMap<TenantId, Arc<Meter>>);

impl Meters {
    /// Returns the meter of a tenant.
    pub(super) fn open(&mut self, tenant: &TenantId) -> Arc<Meter> {
        Arc::clone(self.0.entry(tenant.clone()).or_default())
    }

    /// Reads all of them.
    pub(super) fn read(&self) -> Vec<(TenantId, MeterReading)> {
        let readings = self.0.iter();
        readings
            .map(|(tenant, meter)| (tenant.clone(), meter.read()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_bounded_is_never_owed() {
        let meter = Meter::default();
        meter.spend(Rate::Records, u64::MAX);
        meter.ran(Duration::from_hours(1));
        assert_eq!(meter.owes_until(), None);
        assert!(meter.line().is_written);
        let reading = meter.read();
        assert_eq!(reading.cpu, Duration::from_hours(1));
        assert_eq!(reading.quotas, []);
    }

    #[test]
    fn the_slowest_compilation_is_told_where_it_is_bounded() {
        let ms = |ms| Some(Duration::from_millis(ms));
        let meter = Meter::default();
        meter.compiled(ms(20), None);
        assert_eq!(meter.read().compile, None);
        meter.compiled(ms(10), ms(100));
        // Another one came from the cache.
        meter.compiled(None, ms(100));
        assert_eq!(meter.read().compile, ms(20).zip(ms(100)));
    }

    #[test]
    fn what_is_owed_is_owed_until_it_is_paid_or_forgiven() {
        let meter = Meter::default();
        let rates = Rates::default().with(Rate::Records, Some(10));
        meter.bound(rates);
        meter.spend(Rate::EmitRecords, 1_000);
        assert_eq!(meter.owes_until(), None);
        meter.spend(Rate::Records, 100);
        let wait = meter.owes_until().unwrap() - Instant::now();
        assert!((8..=9).contains(&wait.as_secs()), "{wait:?}");
        // The same quota again changes nothing.
        meter.bound(rates);
        assert!(meter.owes_until().is_some());
        assert_eq!(meter.read().quotas, [(Rate::Records, 100, 10)]);
        meter.bound(Rates::default().with(Rate::Records, Some(20)));
        assert_eq!(meter.owes_until(), None);
        meter.spend(Rate::Records, u64::MAX);
        assert!(meter.owes_until().is_some());
    }

    #[test]
    fn lines_beyond_the_quota_are_dropped_and_told_once_a_second() {
        let meter = Meter::default();
        meter.bound(Rates::default().with(Rate::LogLines, Some(2)));
        let lines: Vec<Line> = (0..5).map(|_| meter.line()).collect();
        let written = lines.iter().filter(|line| line.is_written).count();
        assert_eq!(written, 2);
        let told: Vec<u64> = lines.iter().filter_map(|line| line.dropped).collect();
        assert_eq!(told, [1]);
        assert_eq!(meter.read().dropped_lines, 3);
        // Lanes do not wait for the log.
        assert_eq!(meter.owes_until(), None);
    }
}
