//! The probation of one revision, as lanes tell of records and the deployer hears of the verdict.
//!
//! **Invariant:** once there is a verdict, a record costs no lock, and none begins under a revision that has to go.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

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
    probation: Mutex<Probation<Instant, Spot>>,
    /// Told when there is a verdict.
    alarm: Arc<Notify>,
}

impl Proving {
    /// Begins a probation; `alarm` is told when it is over.
    pub(crate) fn new(policy: ProbationPolicy, alarm: Arc<Notify>) -> Self {
        Self {
            verdict: AtomicU8::new(OPEN),
            probation: Mutex::new(Probation::new(policy)),
            alarm,
        }
    }

    /// Takes note of so many records that were handled.
    pub(crate) fn handled(&self, records: usize) {
        self.tell(|it, now| it.handled(records as u64, now));
    }

    /// Takes note of a record that is about to be given up. Returns until when it shall wait instead, if it shall.
    pub(crate) fn failed(&self, spot: Spot) -> Option<Instant> {
        let mut failures = 0;
        let standing = self.tell(|it, now| {
            it.failed(spot, now);
            failures = it.counts().1;
        });
        (standing != Standing::Passed).then(|| Instant::now() + hold(failures))
    }

    /// Takes note of a record that is given up after it was handled: Kafka refused an output.
    pub(crate) fn refused(&self) {
        self.tell(Probation::refused);
    }

    /// Returns until when a record shall wait before it is tried, if it shall.
    pub(crate) fn held(&self, spot: impl FnOnce() -> Spot) -> Option<Instant> {
        let (mut is_held, mut failures) = (false, 0);
        let standing = self.tell(|it, _| {
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
        self.probation.lock().counts()
    }

    /// The same while there is no verdict.
    pub(crate) fn open_counts(&self) -> Option<(u64, u64)> {
        (self.standing() == Standing::Open).then(|| self.counts())
    }

    /// Lets the revision stay whatever was seen of it.
    pub(crate) fn pass(&self) {
        self.verdict.store(PASSED, Ordering::Release);
    }

    fn tell(&self, what: impl FnOnce(&mut Probation<Instant, Spot>, Instant)) -> Standing {
        match self.verdict.load(Ordering::Acquire) {
            PASSED => return Standing::Passed,
            FAILED => return Standing::Failed,
            _ => {}
        }
        let now = Instant::now();
        let mut probation = self.probation.lock();
        what(&mut probation, now);
        let standing = probation.standing(now);
        let verdict = match standing {
            Standing::Open => return standing,
            Standing::Passed => PASSED,
            Standing::Failed => FAILED,
        };
        self.verdict.store(verdict, Ordering::Release);
        self.alarm.notify_one();
        standing
    }
}

/// Returns how long a record is put off where so many wait.
fn hold(failures: u64) -> Duration {
    let turns = u32::try_from(failures / HELD_AT_ONCE).unwrap_or(u32::MAX);
    HOLD_MIN
        .saturating_mul(turns.saturating_add(1))
        .min(HOLD_MAX)
}
