//! What is remembered of the attempts of a record.

use std::time::Duration;

use tokio::time::Instant;

use crate::moment::now_ms;
use crate::returned::{Deferral, Returned};

/// One attempt of a record or a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    /// Which one it is, from 1.
    pub(crate) number: u32,
    /// When the first one began.
    first_begun: Instant,
}

impl Attempt {
    /// Returns how long ago the first one began.
    pub(crate) fn age(&self) -> Duration {
        self.first_begun.elapsed()
    }

    /// Returns the last attempt of a record that came back by a topic of its own.
    pub(crate) fn before(returned: &Returned) -> Self {
        let age_ms = returned.begun_ms.map(|begun_ms| now_ms() - begun_ms);
        let age = Duration::from_millis(age_ms.unwrap_or_default().try_into().unwrap_or_default());
        let now = Instant::now();
        Self {
            number: returned.letter.attempts,
            first_begun: now.checked_sub(age).unwrap_or(now),
        }
    }

    /// Returns what is written down of a record that is tried again after a wait in a topic.
    pub(crate) fn deferral(&self, after: Duration) -> Deferral {
        let (now_ms, age) = (now_ms(), self.age());
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Deferral {
            due_ms: now_ms.saturating_add(millis(after)),
            begun_ms: now_ms.saturating_sub(millis(age)),
        }
    }

    /// Returns the attempt that begins at `begun`, after the one that failed last, if any did.
    pub(crate) fn after(last: Option<Self>, begun: Instant) -> Self {
        Self {
            number: last.map_or(0, |last| last.number) + 1,
            first_begun: last.map_or(begun, |last| last.first_begun),
        }
    }
}
