//! Which records a new revision has on trial beside the one that serves, and how the two compare.
//!
//! [`KeyShare`] says of a record's key whether it is the new revision's. [`Canary`] is told how records ended under both, and
//! says how the new one stands. Time is whatever the caller counts it in, and `Record` is whatever tells records apart.
//! **Invariant:** a key has the same answer on every host, after every restart and for every revision, and a larger share
//! holds all keys of a smaller one. A verdict is final.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::policy::ProbationPolicy;
use crate::probation::{Standing, allowed};

/// Parts that all keys are divided into: a hundredth of a percent is the least that can be asked for.
const PARTS: u32 = 10_000;
/// A mean that is longer by less than this is not slower: so short a time is noise.
const NOISE: Duration = Duration::from_millis(1);

/// A share of the keys, in hundredths of a percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyShare(u32);

/// Why a text is no share of the keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no share of the keys such as \"10%\": more than 0% and less than 100%, in steps of 0.01%"
)]
pub struct NoShare(String);

impl KeyShare {
    /// Returns whether a record with this key is among them. One without a key never is: it has no order of its own that
    /// would tell where it belongs.
    pub fn has(self, key: Option<&[u8]>) -> bool {
        key.is_some_and(|key| part(key) < self.0)
    }
}

impl FromStr for KeyShare {
    type Err = NoShare;

    fn from_str(text: &str) -> Result<Self, NoShare> {
        let parts = text.strip_suffix('%').and_then(|number| {
            let (whole, rest) = number.split_once('.').unwrap_or((number, "0"));
            let of_digits = |it: &str| {
                let is_number = it.bytes().all(|it| it.is_ascii_digit()) && it.len() <= 2;
                (is_number && !it.is_empty()).then(|| format!("{it:0<2}"))
            };
            let whole: u32 = of_digits(whole).and(whole.parse().ok())?;
            let rest: u32 = of_digits(rest)?.parse().ok()?;
            Some(whole * 100 + rest)
        });
        let parts = parts.filter(|parts| (1..PARTS).contains(parts));
        parts.map(Self).ok_or_else(|| NoShare(text.to_owned()))
    }
}

impl fmt::Display for KeyShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 100, self.0 % 100);
        match rest {
            0 => write!(f, "{whole}%"),
            rest => write!(f, "{whole}.{}%", format!("{rest:02}").trim_end_matches('0')),
        }
    }
}

/// Returns in which of the parts a key lies.
///
/// It has nothing to do with the hash by which keys lie in partitions, so each partition has its share of them.
fn part(key: &[u8]) -> u32 {
    // FNV-1a, and the mixing of MurmurHash3, without which the keys of a sequence would lie side by side.
    let mut hash = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    for factor in [0xff51_afd7_ed55_8ccd_u64, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    let part = (hash ^ (hash >> 33)) % u64::from(PARTS);
    u32::try_from(part).unwrap_or(PARTS)
}

/// How a new revision is tried on a share of the keys.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CanaryPolicy {
    /// The keys that it has.
    pub share: KeyShare,
    /// After how long it is decided by itself; only by command where nothing is said.
    pub time: Option<Duration>,
    /// How many times as long as under the old revision a record may take on the mean.
    pub slower: f64,
    /// When too many records have failed, and how long those that did wait at most.
    pub probation: ProbationPolicy,
}

/// How a new revision is tried beside the one that serves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Trial {
    /// It has a share of the keys.
    Canary(CanaryPolicy),
    /// It has every record once more, and what it emits is compared and thrown away.
    Shadow,
}

impl CanaryPolicy {
    /// What holds where `deploy.canary-slower` is left out.
    pub const SLOWER: f64 = 1.5;
}

/// What one of the two revisions has done since the trial began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Side {
    /// Records that were handled.
    pub handled: u64,
    /// Records that failed.
    pub failed: u64,
    /// How long those that were handled took, all together.
    pub took: Duration,
}

impl Side {
    fn handle(&mut self, took: Duration) {
        self.handled += 1;
        self.took = self.took.saturating_add(took);
    }

    fn seen(&self) -> u64 {
        self.handled + self.failed
    }

    /// Returns how long a record took on the mean, if any was handled.
    pub fn mean(&self) -> Option<Duration> {
        let nanos = self.took.as_nanos().checked_div(self.handled.into())?;
        Some(Duration::from_nanos(
            u64::try_from(nanos).unwrap_or(u64::MAX),
        ))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a share need not be exact, and counts are far below 2^52"
    )]
    fn failure_share(&self) -> f64 {
        match self.seen() {
            0 => 0.0,
            seen => self.failed as f64 / seen as f64,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Canary<At, Record> {
    policy: CanaryPolicy,
    old: Side,
    new: Side,
    /// When it is decided by itself; begins with the first record.
    ends: Option<At>,
    /// Records that failed and wait, and until when the first of them does.
    waiting: BTreeSet<Record>,
    patience: Option<At>,
    /// Records that waited long enough while no more failed than may.
    released: BTreeSet<Record>,
    standing: Standing,
}

impl<At, Record> Canary<At, Record>
where
    At: Copy + Ord + std::ops::Add<Duration, Output = At>,
    Record: Ord,
{
    /// Begins one.
    pub fn new(policy: CanaryPolicy) -> Self {
        Self {
            policy,
            old: Side::default(),
            new: Side::default(),
            ends: None,
            waiting: BTreeSet::new(),
            patience: None,
            released: BTreeSet::new(),
            standing: Standing::Open,
        }
    }

    /// Takes note of a record that the new revision handled, and how long it took.
    pub fn handled(&mut self, took: Duration, now: At) {
        if self.begin(now) {
            self.new.handle(took);
        }
    }

    /// Takes note of a record that would be given up now under the new revision. Returns whether it waits instead.
    pub fn failed(&mut self, record: Record, now: At) -> bool {
        if !self.begin(now) {
            return self.standing == Standing::Failed;
        }
        if self.released.remove(&record) {
            return false;
        }
        if self.waiting.insert(record) {
            self.new.failed += 1;
            let patience = now + self.policy.probation.time;
            self.patience.get_or_insert(patience);
            self.judge_failures(self.policy.probation.records);
        }
        true
    }

    /// Takes note of a record that is given up, since the new revision handled it and only then an output was refused.
    pub fn refused(&mut self, now: At) {
        if self.begin(now) {
            self.new.failed += 1;
            self.judge_failures(self.policy.probation.records);
        }
    }

    /// Takes note of a record that the old revision handled, and how long it took.
    pub fn old_handled(&mut self, took: Duration) {
        self.old.handle(took);
    }

    /// Takes note of a record that failed under the old revision for good.
    pub fn old_failed(&mut self) {
        self.old.failed += 1;
    }

    /// Returns whether a record failed under the new revision, and waits.
    pub fn is_waiting(&self, record: &Record) -> bool {
        self.waiting.contains(record)
    }

    /// Returns what the old and the new revision did.
    pub fn sides(&self) -> (Side, Side) {
        (self.old, self.new)
    }

    /// Returns how the new revision stands.
    pub fn standing(&mut self, now: At) -> Standing {
        if self.standing != Standing::Open {
            return self.standing;
        }
        let is_due = |at: Option<At>| at.is_some_and(|at| at <= now);
        if is_due(self.ends) {
            self.judge_failures(0);
            if self.standing == Standing::Open {
                self.standing = if self.is_slower() {
                    Standing::Failed
                } else {
                    Standing::Passed
                };
            }
        } else if is_due(self.patience) {
            self.judge_failures(0);
            if self.standing == Standing::Open {
                self.patience = None;
                // Those of before may wait for their next attempt still.
                self.released.append(&mut self.waiting);
            }
        }
        self.standing
    }

    /// Returns whether the new revision takes longer than it may.
    pub fn is_slower(&self) -> bool {
        let (Some(old), Some(new)) = (self.old.mean(), self.new.mean()) else {
            return false;
        };
        new.as_secs_f64() > old.as_secs_f64() * self.policy.slower
            && new.saturating_sub(old) > NOISE
    }

    /// Begins with the first record; returns whether it is open.
    fn begin(&mut self, now: At) -> bool {
        let is_open = self.standing(now) == Standing::Open;
        if is_open && self.ends.is_none() {
            self.ends = self.policy.time.map(|time| now + time);
        }
        is_open
    }

    /// Ends it where more failed of what was seen, or of `at_least` so many, than may, the share that fails anyway added.
    fn judge_failures(&mut self, at_least: u64) {
        let share = self.policy.probation.failure_share + self.old.failure_share();
        if self.new.failed > allowed(share.min(1.0), self.new.seen().max(at_least)) {
            self.standing = Standing::Failed;
        }
    }
}

#[cfg(test)]
mod tests;
