//! How long the running hook may take, with the waits that do not count.
//!
//! The guest's import begins and ends waits while the call that it is part of is being timed from outside, by the same task.
//! So nobody is woken by a wait: whoever times the call looks again whenever its task was at work.
//! **Invariant:** the time that a hook has for itself never grows; its waits together are bounded as well.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

/// A timer is not set anew for so little; tokio's do not tell it apart.
const BLINK: Duration = Duration::from_millis(1);

#[derive(Debug)]
struct Times {
    deadline: Instant,
    /// What the hook may still wait.
    wait_left: Duration,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Allowance {
    times: Mutex<Times>,
}

/// A wait that does not count.
#[derive(Debug)]
pub(super) struct Wait {
    began: Instant,
    /// What the hook has left for itself.
    left: Duration,
}

impl Allowance {
    pub(super) fn new(deadline: Instant) -> Arc<Self> {
        let times = Times {
            deadline,
            wait_left: Duration::ZERO,
        };
        Arc::new(Self {
            times: Mutex::new(times),
        })
    }

    /// Begins a hook that has time until `deadline`, and may wait for so long besides.
    pub(super) fn begin(&self, deadline: Instant, wait_max: Duration) {
        let mut times = self.times.lock();
        times.deadline = deadline;
        times.wait_left = wait_max;
    }

    /// Returns when the hook is stopped.
    pub(super) fn deadline(&self) -> Instant {
        self.times.lock().deadline
    }

    /// Returns until when a wait may last that would like to last until `until`.
    pub(super) fn until(&self, until: Instant) -> Instant {
        until.min(Instant::now() + self.times.lock().wait_left)
    }

    /// Begins a wait that ends at `until` at the latest, which [`Self::until`] allowed.
    pub(super) fn pause(&self, until: Instant) -> Wait {
        let mut times = self.times.lock();
        let began = Instant::now();
        let left = times.deadline.saturating_duration_since(began);
        // Being let in again takes its time as well, and that is not the hook's either.
        times.deadline = until + times.wait_left + left;
        Wait { began, left }
    }

    /// Ends a wait.
    pub(super) fn go_on(&self, wait: &Wait) {
        let mut times = self.times.lock();
        let now = Instant::now();
        times.wait_left = times.wait_left.saturating_sub(now - wait.began);
        times.deadline = now + wait.left;
    }

    /// Waits until the hook has no time left. Polled behind the call, by the same task.
    pub(super) async fn is_used_up(&self) {
        let mut alarm = pin!(sleep_until(self.deadline()));
        poll_fn(|context| {
            loop {
                let deadline = self.deadline();
                // For a later one the alarm goes off too early, which is cheaper than to set it at each wait.
                if deadline + BLINK < alarm.deadline() {
                    alarm.as_mut().reset(deadline);
                }
                ready!(alarm.as_mut().poll(context));
                if deadline <= Instant::now() {
                    return Poll::Ready(());
                }
                alarm.as_mut().reset(deadline);
            }
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const SOON: Duration = Duration::from_millis(20);

    fn beginning(own: Duration, wait_max: Duration) -> Arc<Allowance> {
        let allowance = Allowance::new(Instant::now());
        allowance.begin(Instant::now() + own, wait_max);
        allowance
    }

    async fn ends_within(allowance: &Allowance, time: Duration) -> bool {
        tokio::time::timeout(time, allowance.is_used_up())
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn a_wait_does_not_count_and_what_was_left_is_left() {
        let allowance = beginning(SOON, HOUR);
        let wait = allowance.pause(allowance.until(Instant::now() + HOUR / 2));
        assert!(!ends_within(&allowance, 5 * SOON).await);
        allowance.go_on(&wait);
        let left = allowance.deadline() - Instant::now();
        assert!(left <= SOON, "{left:?}");
        assert!(ends_within(&allowance, HOUR).await);
    }

    #[tokio::test]
    async fn the_end_of_a_wait_is_noticed_by_who_times_the_call() {
        let allowance = beginning(SOON, HOUR);
        let wait = allowance.pause(allowance.until(Instant::now() + HOUR / 2));
        let call = async {
            tokio::time::sleep(SOON).await;
            allowance.go_on(&wait);
            std::future::pending::<()>().await;
        };
        let timed = async {
            tokio::select! {
                biased;
                () = call => {}
                () = allowance.is_used_up() => {}
            }
        };
        // Else it would sleep until the wait could have ended at the latest.
        let ended = tokio::time::timeout(Duration::from_secs(10), timed);
        ended.await.unwrap();
    }

    #[tokio::test]
    async fn the_waits_of_a_hook_are_bounded_together() {
        let allowance = beginning(HOUR, 2 * SOON);
        let mut waited = Duration::ZERO;
        for _ in 0..5 {
            let began = Instant::now();
            let until = allowance.until(began + HOUR);
            assert!(until <= began + 3 * SOON);
            let wait = allowance.pause(until);
            sleep_until(until).await;
            allowance.go_on(&wait);
            waited += until - wait.began;
        }
        assert!(waited <= 2 * SOON, "{waited:?}");
    }
}
