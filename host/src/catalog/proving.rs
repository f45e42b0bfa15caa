//! The probation of one revision, or its trial beside another one, as lanes tell of records and the deployer hears of the verdict.
//!
//! **Invariant:** once there is a verdict, a record costs no lock, and none begins under a revision that has to go.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::canary::{Canary, CanaryPolicy, Side};
use crate::policy::ProbationPolicy;
use crate::probation::{Probation, Standing};

/// How long a record is put off at least that waits for the verdict, or for the revision before to come back.
const HOLD_MIN: Duration = Duration::from_millis(50);
/// How long it is put off at most. Many that wait would else keep a processor busy with looking.
const HOLD_MAX: Duration = Duration::from_secs(5);
/// Of so many that wait each is put off a further [`HOLD_MIN`].
const HELD_AT_ONCE: u64 = 64;

const OPEN: u8 = 0;
const PASSED: u8 = 1;
const FAILED: u8 = 2;

/// A record: its topic, partition and offset.
pub(crate) type Spot = (Arc<str>, i32, i64);

/// See the module.
#[derive(Debug)]
pub(crate) struct Proving {
    verdict: AtomicU8,
    judge: Mutex<Judge>,
    /// Told when there is a verdict.
    alarm: Arc<Notify>,
}

/// Who judges.
#[derive(Debug)]
enum Judge {
    /// Of a revision that serves alone.
    Probation(Probation<Instant, Spot>),
    /// Of one that has a share of the keys.
    Canary(Canary<Instant, Spot>),
}

impl Judge {
    /// Takes note of a record that failed; returns whether it waits.
    fn failed(&mut self, spot: Spot, now: Instant) -> bool {
        match self {
            Self::Probation(it) => {
                it.failed(spot, now);
                it.standing(now) != Standing::Passed
            }
            Self::Canary(it) => it.failed(spot, now),
        }
    }

    fn has_failed(&self, spot: &Spot) -> bool {
        match self {
            Self::Probation(it) => it.has_failed(spot),
            Self::Canary(it) => it.is_waiting(spot),
        }
    }

    fn counts(&self) -> (u64, u64) {
        match self {
            Self::Probation(it) => it.counts(),
            Self::Canary(it) => {
                let (_, new) = it.sides();
                (new.handled, new.failed)
            }
        }
    }

    fn standing(&mut self, now: Instant) -> Standing {
        match self {
            Self::Probation(it) => it.standing(now),
            Self::Canary(it) => it.standing(now),
        }
    }
}

impl Proving {
    /// Begins a probation; `alarm` is told when it is over.
    pub(crate) fn new(policy: ProbationPolicy, alarm: Arc<Notify>) -> Self {
        Self::by(Judge::Probation(Probation::new(policy)), alarm)
    }

    /// Begins the trial of a revision that has a share of the keys.
    pub(crate) fn of_canary(policy: CanaryPolicy, alarm: Arc<Notify>) -> Self {
        Self::by(Judge::Canary(Canary::new(policy)), alarm)
    }

    fn by(judge: Judge, alarm: Arc<Notify>) -> Self {
        Self {
            verdict: AtomicU8::new(OPEN),
            judge: Mutex::new(judge),
            alarm,
        }
    }

    /// Takes note of a record that was handled, and how long that took.
    pub(crate) fn handled(&self, took: Duration) {
        self.tell(|it, now| match it {
            Judge::Probation(it) => it.handled(1, now),
            Judge::Canary(it) => it.handled(took, now),
        });
    }

    /// Takes note of so many records that were handled as a batch.
    pub(crate) fn handled_all(&self, records: usize) {
        self.tell(|it, now| match it {
            Judge::Probation(it) => it.handled(records as u64, now),
            // None is handed batches.
            Judge::Canary(_) => {}
        });
    }

    /// Takes note of a record that is about to be given up. Returns until when it shall wait instead, if it shall.
    pub(crate) fn failed(&self, spot: Spot) -> Option<Instant> {
        let (mut waits, mut failures) = (false, 0);
        let standing = self.tell(|it, now| {
            waits = it.failed(spot, now);
            failures = it.counts().1;
        });
        let waits = waits && standing != Standing::Passed || standing == Standing::Failed;
        waits.then(|| Instant::now() + hold(failures))
    }

    /// Takes note of a record that is given up after it was handled: Kafka refused an output.
    pub(crate) fn refused(&self) {
        self.tell(|it, now| match it {
            Judge::Probation(it) => it.refused(now),
            Judge::Canary(it) => it.refused(now),
        });
    }

    /// Takes note of a record that the revision beside it handled, or failed to handle where it took no time.
    pub(crate) fn beside(&self, took: Option<Duration>) {
        self.tell(|it, _| match (it, took) {
            (Judge::Canary(it), Some(took)) => it.old_handled(took),
            (Judge::Canary(it), None) => it.old_failed(),
            (Judge::Probation(_), _) => {}
        });
    }

    /// Returns until when a record shall wait before it is tried, if it shall.
    pub(crate) fn held(&self, spot: impl FnOnce() -> Spot) -> Option<Instant> {
        let (mut is_held, mut failures) = (false, 0);
        let standing = self.tell(|it, now| {
            // What waits may be let go by now.
            it.standing(now);
            is_held = it.has_failed(&spot());
            failures = it.counts().1;
        });
        let waits = match standing {
            Standing::Open => is_held,
            Standing::Passed => false,
            Standing::Failed => true,
        };
        waits.then(|| Instant::now() + hold(failures))
    }

    /// Returns how the revision stands.
    pub(crate) fn standing(&self) -> Standing {
        self.tell(|_, _| ())
    }

    /// Returns how many records were handled, and how many failed.
    pub(crate) fn counts(&self) -> (u64, u64) {
        self.judge.lock().counts()
    }

    /// The same of a probation, while there is no verdict.
    pub(crate) fn open_counts(&self) -> Option<(u64, u64)> {
        let is_open = self.standing() == Standing::Open && self.sides().is_none();
        is_open.then(|| self.counts())
    }

    /// Returns what the old and the new revision did, where the new one has a share of the keys.
    pub(crate) fn sides(&self) -> Option<(Side, Side)> {
        match &*self.judge.lock() {
            Judge::Canary(it) => Some(it.sides()),
            Judge::Probation(_) => None,
        }
    }

    /// Lets the revision stay whatever was seen of it.
    pub(crate) fn pass(&self) {
        self.verdict.store(PASSED, Ordering::Release);
    }

    /// Lets the revision go whatever was seen of it.
    pub(crate) fn fail(&self) {
        self.verdict.store(FAILED, Ordering::Release);
    }

    fn tell(&self, what: impl FnOnce(&mut Judge, Instant)) -> Standing {
        match self.verdict.load(Ordering::Acquire) {
            PASSED => return Standing::Passed,
            FAILED => return Standing::Failed,
            _ => {}
        }
        let now = Instant::now();
        let mut judge = self.judge.lock();
        what(&mut judge, now);
        let standing = judge.standing(now);
        let verdict = match standing {
            Standing::Open => return standing,
            Standing::Passed => PASSED,
            Standing::Failed => FAILED,
        };
        // Somebody may have decided meanwhile.
        let decided =
            self.verdict
                .compare_exchange(OPEN, verdict, Ordering::AcqRel, Ordering::Acquire);
        self.alarm.notify_one();
        match decided.unwrap_or_else(|other| other) {
            PASSED => Standing::Passed,
            FAILED => Standing::Failed,
            _ => standing,
        }
    }
}

/// Returns how long a record is put off where so many wait.
fn hold(failures: u64) -> Duration {
    let turns = u32::try_from(failures / HELD_AT_ONCE).unwrap_or(u32::MAX);
    HOLD_MIN
        .saturating_mul(turns.saturating_add(1))
        .min(HOLD_MAX)
}
