//! How long the running hook may take, with the waits that do not count.
//!
//! The guest's import begins and ends waits while the call that it is part of is being timed from outside.
//! **Invariant:** the time that a hook has for itself never grows; its waits together are bounded as well.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

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
    changed: Notify,
}

/// A wait that does not count.
#[derive(Debug)]
pub(super) struct Wait {
    began: Instant,
    /// When it ends at the latest.
    pub(super) until: Instant,
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
            changed: Notify::new(),
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

    /// Begins a wait of at most `timeout`.
    pub(super) fn pause(&self, timeout: Duration) -> Wait {
        let mut times = self.times.lock();
        let began = Instant::now();
        let until = began + timeout.min(times.wait_left);
        let left = times.deadline.saturating_duration_since(began);
        // Being let in again takes its time as well, and that is not the hook's either.
        times.deadline = until + times.wait_left + left;
        drop(times);
        self.changed.notify_one();
        Wait { began, until, left }
    }

    /// Ends a wait.
    pub(super) fn go_on(&self, wait: &Wait) {
        let mut times = self.times.lock();
        let now = Instant::now();
        times.wait_left = times.wait_left.saturating_sub(now - wait.began);
        times.deadline = now + wait.left;
        drop(times);
        self.changed.notify_one();
    }

    /// Waits until the hook has no time left.
    pub(super) async fn is_used_up(&self) {
        loop {
            let deadline = self.deadline();
            tokio::select! {
                biased;
                () = self.changed.notified() => {}
                () = sleep_until(deadline) => {
                    if self.deadline() <= Instant::now() {
                        return;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const BLINK: Duration = Duration::from_millis(20);

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
        let allowance = beginning(BLINK, HOUR);
        let wait = allowance.pause(HOUR / 2);
        assert!(!ends_within(&allowance, 5 * BLINK).await);
        allowance.go_on(&wait);
        let left = allowance.deadline() - Instant::now();
        assert!(left <= BLINK, "{left:?}");
        assert!(ends_within(&allowance, HOUR).await);
    }

    #[tokio::test]
    async fn the_end_of_a_wait_is_noticed_by_who_looks_on() {
        let allowance = beginning(BLINK, HOUR);
        let wait = allowance.pause(HOUR / 2);
        let looks_on = {
            let allowance = Arc::clone(&allowance);
            tokio::spawn(async move { allowance.is_used_up().await })
        };
        tokio::time::sleep(BLINK).await;
        allowance.go_on(&wait);
        // Else it would sleep until the wait could have ended at the latest.
        let ended = tokio::time::timeout(Duration::from_secs(10), looks_on);
        ended.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn the_waits_of_a_hook_are_bounded_together() {
        let allowance = beginning(HOUR, 2 * BLINK);
        let mut waited = Duration::ZERO;
        for _ in 0..5 {
            let began = Instant::now();
            let wait = allowance.pause(HOUR);
            assert!(wait.until <= began + 3 * BLINK);
            sleep_until(wait.until).await;
            allowance.go_on(&wait);
            waited += wait.until - wait.began;
        }
        assert!(waited <= 2 * BLINK, "{waited:?}");
    }
}
