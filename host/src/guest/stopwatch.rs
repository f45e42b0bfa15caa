//! How long a guest runs: the time that it has a thread, without what it waits.
//!
//! Handed the reading of the clock that the call's deadline counts from, so that most calls cost one more reading.
//! **Invariant:** what lies between two polls is not counted.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::stats::Meter;

/// So much is gathered before it is told: lanes of a tenant share what they tell it to.
const TELL_FROM: Duration = Duration::from_micros(100);

/// See the module.
#[derive(Debug)]
pub(super) struct Stopwatch {
    ran: Duration,
    /// Since when the guest runs.
    since: Option<Instant>,
}

impl Stopwatch {
    /// Begins with a guest that runs since `began`.
    pub(super) fn since(began: Instant) -> Self {
        Self {
            ran: Duration::ZERO,
            since: Some(began),
        }
    }

    /// Takes note that the guest does not run any more.
    pub(super) fn pause(&mut self) {
        if let Some(since) = self.since.take() {
            self.ran += since.elapsed();
        }
    }

    /// Waits for a call, and counts what it runs.
    pub(super) async fn time<F: Future>(&mut self, mut call: Pin<&mut F>) -> F::Output {
        poll_fn(|context| {
            let began = Instant::now();
            let poll = call.as_mut().poll(context);
            self.ran += began.elapsed();
            poll
        })
        .await
    }

    /// Ends; returns how long the guest ran, and when this was asked.
    pub(super) fn stop(self) -> (Duration, Instant) {
        let now = Instant::now();
        let last = self.since.map(|since| now.saturating_duration_since(since));
        (self.ran + last.unwrap_or_default(), now)
    }
}

/// How long an instance ran, told to its tenant's meter from time to time and when the instance goes.
#[derive(Debug)]
pub(super) struct Bill {
    meter: Arc<Meter>,
    untold: Duration,
}

impl Bill {
    pub(super) fn of(meter: &Arc<Meter>) -> Self {
        Self {
            meter: Arc::clone(meter),
            untold: Duration::ZERO,
        }
    }

    /// Takes note that the instance ran.
    pub(super) fn add(&mut self, ran: Duration) {
        self.untold += ran;
        if self.untold >= TELL_FROM {
            self.tell();
        }
    }

    fn tell(&mut self) {
        self.meter.ran(std::mem::take(&mut self.untold));
    }
}

impl Drop for Bill {
    fn drop(&mut self) {
        self.tell();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    const WORK: Duration = Duration::from_millis(20);

    fn work() {
        let began = Instant::now();
        while began.elapsed() < WORK {}
    }

    #[tokio::test]
    async fn what_a_call_waits_is_not_counted() {
        let mut watch = Stopwatch::since(Instant::now());
        work();
        watch.pause();
        let call = async {
            work();
            tokio::time::sleep(20 * WORK).await;
            work();
        };
        watch.time(pin!(call)).await;
        let (ran, _) = watch.stop();
        assert!(ran >= 3 * WORK && ran < 20 * WORK, "{ran:?}");
    }

    #[test]
    fn nothing_that_ran_is_left_out() {
        let meter = Arc::new(Meter::default());
        let mut bill = Bill::of(&meter);
        bill.add(TELL_FROM / 2);
        assert_eq!(meter.read().cpu, Duration::ZERO);
        bill.add(TELL_FROM);
        assert_eq!(meter.read().cpu, TELL_FROM * 3 / 2);
        bill.add(TELL_FROM / 2);
        drop(bill);
        assert_eq!(meter.read().cpu, TELL_FROM * 2);
    }
}
