//! Whether a new revision has proven itself, or has to go.
//!
//! Told how records ended under it, says how the revision stands. Time is whatever the caller counts it in, and `Record` is
//! whatever tells records apart.
//! **Invariant:** a verdict is final, and until there is one no record has to be given up: each that failed is kept in mind
//! once, however often it fails.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::policy::ProbationPolicy;

/// How a revision stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is not yet decided.
    Open,
    /// It stays.
    Passed,
    /// It goes, and the one before it comes back.
    Failed,
}

/// See the module.
#[derive(Debug)]
pub struct Probation<At, Record> {
    policy: ProbationPolicy,
    /// When it ends whatever happens; begins with the first record.
    ends: Option<At>,
    handled: u64,
    failed: BTreeSet<Record>,
    /// Records that failed when it was too late to keep them.
    lost: u64,
    standing: Standing,
}

impl<At, Record> Probation<At, Record>
where
    At: Copy + Ord + std::ops::Add<Duration, Output = At>,
    Record: Ord,
{
    /// Begins one.
    pub fn new(policy: ProbationPolicy) -> Self {
        Self {
            policy,
            ends: None,
            handled: 0,
            failed: BTreeSet::new(),
            lost: 0,
            standing: Standing::Open,
        }
    }

    /// Takes note of so many records that were handled.
    pub fn handled(&mut self, records: u64, now: At) {
        if self.standing(now) == Standing::Open {
            self.begin(now);
            self.handled += records;
            self.judge();
        }
    }

    /// Takes note of a record that would be given up now.
    pub fn failed(&mut self, record: Record, now: At) {
        if self.standing(now) == Standing::Open {
            self.begin(now);
            self.failed.insert(record);
            self.judge();
        }
    }

    /// Takes note of a record that is given up, since it was handled and only then refused.
    pub fn refused(&mut self, now: At) {
        if self.standing(now) == Standing::Open {
            self.begin(now);
            self.lost += 1;
            self.judge();
        }
    }

    /// Returns whether a record failed under the revision.
    pub fn has_failed(&self, record: &Record) -> bool {
        self.failed.contains(record)
    }

    /// Returns how many records were handled, and how many failed.
    pub fn counts(&self) -> (u64, u64) {
        (self.handled, self.failures())
    }

    /// Returns how the revision stands.
    pub fn standing(&mut self, now: At) -> Standing {
        if self.standing == Standing::Open && self.ends.is_some_and(|ends| ends <= now) {
            let seen = self.handled + self.failures();
            self.standing = if self.failures() > allowed(self.policy.failure_share, seen) {
                Standing::Failed
            } else {
                Standing::Passed
            };
        }
        self.standing
    }

    fn begin(&mut self, now: At) {
        self.ends.get_or_insert(now + self.policy.time);
    }

    fn failures(&self) -> u64 {
        self.failed.len() as u64 + self.lost
    }

    /// Decides as soon as no further record can change it.
    fn judge(&mut self) {
        let (records, failures) = (self.policy.records, self.failures());
        if failures > allowed(self.policy.failure_share, records) {
            self.standing = Standing::Failed;
        } else if self.handled + failures >= records {
            self.standing = Standing::Passed;
        }
    }
}

/// Returns how many of so many records may fail.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a count is no more than it, and counts are far below 2^52"
)]
pub(crate) fn allowed(share: f64, records: u64) -> u64 {
    (share * records as f64) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A clock of milliseconds.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    struct At(u64);

    impl std::ops::Add<Duration> for At {
        type Output = Self;
        fn add(self, wait: Duration) -> Self {
            Self(self.0 + u64::try_from(wait.as_millis()).unwrap())
        }
    }

    fn probation(records: u64, ms: u64, failure_share: f64) -> Probation<At, u64> {
        Probation::new(ProbationPolicy {
            records,
            time: Duration::from_millis(ms),
            failure_share,
        })
    }

    #[test]
    fn one_failure_too_many_is_the_end_of_it() {
        let mut it = probation(100, 1000, 0.02);
        it.handled(50, At(0));
        it.failed(1, At(1));
        it.failed(2, At(2));
        // Once more does not count.
        it.failed(2, At(3));
        assert_eq!(it.standing(At(4)), Standing::Open);
        assert!(it.has_failed(&2) && !it.has_failed(&3));
        it.failed(3, At(5));
        assert_eq!(it.standing(At(6)), Standing::Failed);
        it.handled(100_000, At(7));
        assert_eq!(it.standing(At(10_000)), Standing::Failed);
    }

    #[test]
    fn enough_records_end_it_well() {
        let mut it = probation(100, 1000, 0.02);
        it.failed(1, At(0));
        it.handled(98, At(1));
        assert_eq!(it.standing(At(2)), Standing::Open);
        it.refused(At(3));
        assert_eq!(it.standing(At(4)), Standing::Passed);
        assert_eq!(it.counts(), (98, 2));
    }

    #[test]
    fn time_begins_with_the_first_record_and_decides_by_what_was_seen() {
        let mut it = probation(1000, 100, 0.1);
        assert_eq!(it.standing(At(1_000_000)), Standing::Open);
        // One that waits behind nothing else: all that was seen failed.
        it.failed(1, At(1_000_000));
        assert_eq!(it.standing(At(1_000_099)), Standing::Open);
        assert_eq!(it.standing(At(1_000_100)), Standing::Failed);
        let mut it = probation(1000, 100, 0.1);
        it.failed(1, At(0));
        it.handled(9, At(99));
        assert_eq!(it.standing(At(100)), Standing::Passed);
    }

    fn real(count: u64) -> f64 {
        f64::from(u32::try_from(count).unwrap())
    }

    proptest! {
        /// The verdict is what counting from the beginning gives, and it comes as soon as it is certain.
        #[test]
        fn it_judges_as_counting_does(
            records in 1u64..40,
            share in 0.0f64..0.6,
            steps in proptest::collection::vec((0u64..12, 0u64..6, any::<bool>()), 0..80),
        ) {
            let mut it = probation(records, 50, share);
            let (mut now, mut began) = (0, None);
            let (mut handled, mut failed) = (0u64, BTreeSet::new());
            let mut expected = Standing::Open;
            for (record, pause, is_good) in steps {
                now += pause;
                let tolerated = |seen: u64| {
                    let is_fine = |it: &u64| real(*it) <= share * real(seen);
                    (0..=seen).rev().find(is_fine).unwrap()
                };
                if expected == Standing::Open && began.is_some_and(|began| now >= began + 50) {
                    let bad = failed.len() as u64;
                    expected = if bad > tolerated(handled + bad) { Standing::Failed } else { Standing::Passed };
                }
                if expected == Standing::Open {
                    began.get_or_insert(now);
                    if is_good { handled += 1 } else { failed.insert(record); }
                    let bad = failed.len() as u64;
                    if bad > tolerated(records) {
                        expected = Standing::Failed;
                    } else if handled + bad >= records {
                        expected = Standing::Passed;
                    }
                }
                if is_good { it.handled(1, At(now)) } else { it.failed(record, At(now)) }
                prop_assert_eq!(it.standing(At(now)), expected);
            }
        }
    }
}
