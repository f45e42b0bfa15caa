//! How much may be used in a second, and what is owed where more was used.
//!
//! Handed amounts and the time; says whether there is room for one more, or when what was used is paid for.
//! **Invariant:** in no span of time more is taken than its seconds and one more are worth. What was used beyond that is paid
//! by waiting, however much it was.

mod lately;

use std::time::Duration;

pub use self::lately::Lately;

/// What is saved up at most: this long may nothing be used, and all of it at once afterwards.
const SAVED_MAX: Duration = Duration::from_secs(1);

/// What of a tenant is counted by the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// Records that handlers are handed, each attempt on its own.
    Records,
    /// Records that they emit.
    EmitRecords,
    /// Bytes of these.
    EmitBytes,
    /// Nanoseconds for which hooks run.
    Cpu,
    /// Lines of the log.
    LogLines,
}

impl Rate {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 5] = [
        Self::Records,
        Self::EmitRecords,
        Self::EmitBytes,
        Self::Cpu,
        Self::LogLines,
    ];

    /// Returns the name of the quota, below `quotas`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Records => "records-per-s",
            Self::EmitRecords => "emit-records-per-s",
            Self::EmitBytes => "emit-mib-per-s",
            Self::Cpu => "cpu-percent",
            Self::LogLines => "log-lines-per-s",
        }
    }

    /// Returns what one unit of the quota is in what is counted: bytes of a MiB, nanoseconds of a percent of a second.
    pub const fn scale(self) -> u64 {
        match self {
            Self::EmitBytes => 1 << 20,
            Self::Cpu => 10_000_000,
            Self::Records | Self::EmitRecords | Self::LogLines => 1,
        }
    }
}

/// How much of each may be used in a second; what is left out is not bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates([Option<u64>; Rate::ALL.len()]);

impl Rates {
    /// Bounds one of them, in the unit of its quota.
    #[must_use]
    pub fn with(mut self, rate: Rate, quota: Option<u64>) -> Self {
        if let Some(per_s) = self.0.get_mut(rate as usize) {
            *per_s = quota.map(|quota| quota.saturating_mul(rate.scale()));
        }
        self
    }

    /// Returns what may be used in a second, as it is counted.
    pub fn per_s(&self, rate: Rate) -> Option<u64> {
        self.0.get(rate as usize).copied().flatten()
    }

    /// Returns the quota, in its own unit.
    pub fn quota(&self, rate: Rate) -> Option<u64> {
        self.per_s(rate).map(|per_s| per_s / rate.scale())
    }
}

/// What was used of one of them. Moments are times since any moment of the past that stays the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bucket {
    /// All that was used is worth the time until then.
    paid_until: Duration,
}

impl Bucket {
    /// Uses `amount` where so much is there; returns whether it was.
    pub fn take(&mut self, amount: u64, per_s: u64, now: Duration) -> bool {
        let after = self.after(amount, per_s, now);
        let has_room = after <= now.saturating_add(SAVED_MAX);
        if has_room {
            self.paid_until = after;
        }
        has_room
    }

    /// Uses `amount`, whether it is there or not; returns when no more is owed, which may be long over.
    pub fn spend(&mut self, amount: u64, per_s: u64, now: Duration) -> Duration {
        self.paid_until = self.after(amount, per_s, now);
        self.due()
    }

    /// Returns when no more is owed.
    pub fn due(&self) -> Duration {
        self.paid_until.saturating_sub(SAVED_MAX)
    }

    fn after(&self, amount: u64, per_s: u64, now: Duration) -> Duration {
        // Rounded up, so that never more goes through.
        let worth = (u128::from(amount) * 1_000_000_000).div_ceil(u128::from(per_s.max(1)));
        let worth = Duration::from_nanos(u64::try_from(worth).unwrap_or(u64::MAX));
        self.paid_until.max(now).saturating_add(worth)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    /// What is there, in billionths, filled up at each use.
    struct Naive {
        per_s: i128,
        there: i128,
        at_ns: i128,
    }

    impl Naive {
        fn new(per_s: u64) -> Self {
            let per_s = i128::from(per_s);
            Self {
                per_s,
                there: per_s * i128::from(SECOND_NS),
                at_ns: 0,
            }
        }

        fn fill(&mut self, now_ns: u64) {
            let full = self.per_s * i128::from(SECOND_NS);
            let now_ns = i128::from(now_ns);
            self.there = full.min(self.there + (now_ns - self.at_ns) * self.per_s);
            self.at_ns = now_ns;
        }

        fn take(&mut self, amount: u64, now_ns: u64) -> bool {
            self.fill(now_ns);
            let wanted = i128::from(amount) * i128::from(SECOND_NS);
            let has_room = wanted <= self.there;
            if has_room {
                self.there -= wanted;
            }
            has_room
        }

        fn spend(&mut self, amount: u64, now_ns: u64) {
            self.fill(now_ns);
            self.there -= i128::from(amount) * i128::from(SECOND_NS);
        }
    }

    /// Amounts and the pauses before them.
    fn uses() -> impl Strategy<Value = Vec<(u64, u64)>> {
        let pause_ns = prop_oneof![Just(0), 0..SECOND_NS / 100, 0..3 * SECOND_NS];
        proptest::collection::vec((0..40u64, pause_ns), 1..60)
    }

    /// Of which a second is a whole number of nanoseconds each.
    fn even_rate() -> impl Strategy<Value = u64> {
        prop::sample::select(vec![1, 2, 5, 8, 10, 50, 64, 1000, 1_000_000])
    }

    proptest! {
        #[test]
        fn what_is_taken_is_what_a_bucket_that_is_filled_has(uses in uses(), per_s in even_rate()) {
            let (mut bucket, mut naive, mut now_ns) = (Bucket::default(), Naive::new(per_s), 0);
            for (amount, pause_ns) in uses {
                now_ns += pause_ns;
                let taken = bucket.take(amount, per_s, Duration::from_nanos(now_ns));
                prop_assert_eq!(taken, naive.take(amount, now_ns));
            }
        }

        #[test]
        fn who_has_used_too_much_is_free_of_debt_when_it_is_said(uses in uses(), per_s in even_rate()) {
            let (mut bucket, mut naive, mut now_ns) = (Bucket::default(), Naive::new(per_s), 0);
            for (amount, pause_ns) in uses {
                now_ns += pause_ns;
                let due = bucket.spend(amount, per_s, Duration::from_nanos(now_ns));
                naive.spend(amount, now_ns);
                let owes = naive.there < 0;
                prop_assert_eq!(due > Duration::from_nanos(now_ns), owes);
                prop_assert_eq!(bucket.due(), due);
                if owes {
                    now_ns = u64::try_from(due.as_nanos()).unwrap();
                    naive.fill(now_ns);
                    prop_assert_eq!(naive.there, 0);
                }
            }
        }

        #[test]
        fn in_no_span_more_is_taken_than_it_is_worth(uses in uses(), per_s in 1..5000u64) {
            let (mut bucket, mut now_ns, mut taken) = (Bucket::default(), 0, Vec::new());
            for (amount, pause_ns) in uses {
                now_ns += pause_ns;
                if bucket.take(amount, per_s, Duration::from_nanos(now_ns)) {
                    taken.push((now_ns, amount));
                }
            }
            for (from, (begin_ns, _)) in taken.iter().enumerate() {
                let mut sum = 0;
                for (at_ns, amount) in &taken[from..] {
                    sum += u128::from(*amount);
                    let span_ns = u128::from(at_ns - begin_ns + SECOND_NS);
                    prop_assert!(sum * u128::from(SECOND_NS) <= span_ns * u128::from(per_s));
                }
            }
        }
    }

    #[test]
    fn nothing_is_too_large() {
        let mut bucket = Bucket::default();
        let now = Duration::from_secs(5);
        assert!(!bucket.take(u64::MAX, 1, now));
        assert!(bucket.spend(u64::MAX, 1, now) > Duration::from_hours(1));
        assert!(bucket.spend(u64::MAX, 1, now) > Duration::from_hours(1));
        assert!(Bucket::default().take(0, 0, now));
    }

    #[test]
    fn a_quota_is_counted_in_its_own_unit() {
        let rates = Rates::default()
            .with(Rate::EmitBytes, Some(3))
            .with(Rate::Cpu, Some(50));
        assert_eq!(rates.per_s(Rate::EmitBytes), Some(3 << 20));
        assert_eq!(rates.per_s(Rate::Cpu), Some(SECOND_NS / 2));
        assert_eq!(rates.quota(Rate::Cpu), Some(50));
        assert_eq!(rates.quota(Rate::Records), None);
        let names = Rate::ALL.map(|rate| (rate as usize, rate.as_str()));
        assert!(
            names
                .iter()
                .enumerate()
                .all(|(at, (place, _))| at == *place)
        );
    }
}
