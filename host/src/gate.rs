//! The gate between the lanes of a group, which send, and its transaction, which must not end between two outputs of a
//! record.
//!
//! Lanes pass it for the time of one sending and are handed what lies behind it; who ends a transaction closes it.
//! **Invariant:** while the gate is closed and [`Gate::close`] said so, nobody is inside, and who left in mid-sending is
//! known.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;
use tokio::time::Instant;

#[derive(Debug)]
struct State<T> {
    /// What lies behind the gate while it is open.
    behind: Option<T>,
    inside: usize,
    /// Whether anybody passed since it was opened last.
    was_passed: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Gate<T> {
    state: Mutex<State<T>>,
    /// Who waits before the closed gate.
    opened: Notify,
    /// Who waits for the last one inside.
    left: Condvar,
    torn: Arc<AtomicBool>,
}

/// The right to send, held by a lane inside. Dropped without [`Pass::leave`], it leaves a tear.
#[derive(Debug)]
pub(crate) struct Pass<T> {
    gate: Arc<Gate<T>>,
    behind: T,
    has_left: bool,
}

impl<T: Clone> Gate<T> {
    /// Makes a closed gate.
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                behind: None,
                inside: 0,
                was_passed: false,
            }),
            opened: Notify::new(),
            left: Condvar::new(),
            torn: Arc::default(),
        }
    }

    /// Opens the gate to what lies behind it, and forgets tears and passes of before.
    pub(crate) fn open(&self, behind: T) {
        self.torn.store(false, Ordering::Release);
        let mut state = self.state.lock();
        state.behind = Some(behind);
        state.was_passed = false;
        self.opened.notify_waiters();
    }

    /// Enters, once the gate is open.
    pub(crate) async fn enter(self: &Arc<Self>) -> Pass<T> {
        loop {
            // Before the look, so that an opening in between is not missed.
            let opened = self.opened.notified();
            if let Some(pass) = self.try_enter() {
                return pass;
            }
            opened.await;
        }
    }

    /// Enters, if the gate is open.
    pub(crate) fn try_enter(self: &Arc<Self>) -> Option<Pass<T>> {
        let mut state = self.state.lock();
        let behind = state.behind.clone()?;
        state.inside += 1;
        state.was_passed = true;
        Some(Pass {
            gate: Arc::clone(self),
            behind,
            has_left: false,
        })
    }

    /// Closes the gate and waits until nobody is inside; returns what lay behind it, or `None` where somebody still is
    /// inside after `timeout`: then it is open as before. Blocks the thread.
    pub(crate) fn close(&self, timeout: Duration) -> Option<T> {
        let deadline = Instant::now() + timeout;
        let mut state = self.state.lock();
        let behind = state.behind.take();
        while state.inside > 0 {
            if self
                .left
                .wait_until(&mut state, deadline.into_std())
                .timed_out()
                && state.inside > 0
            {
                state.behind = behind;
                self.opened.notify_waiters();
                return None;
            }
        }
        behind
    }

    /// Closes the gate without waiting. Who is inside may go on and leave.
    pub(crate) fn shut(&self) {
        self.state.lock().behind = None;
    }

    /// Returns whether anybody has passed since the gate was opened.
    pub(crate) fn was_passed(&self) -> bool {
        self.state.lock().was_passed
    }

    /// Returns whether a sending broke off since the gate was opened, or a tear was told.
    pub(crate) fn is_torn(&self) -> bool {
        self.torn.load(Ordering::Acquire)
    }

    /// Returns what is to be set when something that was sent is not to stay.
    pub(crate) fn tear(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.torn)
    }
}

impl<T> Pass<T> {
    /// Returns what lies behind the gate.
    pub(crate) fn behind(&self) -> &T {
        &self.behind
    }

    /// Leaves after the sending is complete.
    pub(crate) fn leave(mut self) {
        self.has_left = true;
    }
}

impl<T> Drop for Pass<T> {
    fn drop(&mut self) {
        if !self.has_left {
            self.gate.torn.store(true, Ordering::Release);
        }
        let mut state = self.gate.state.lock();
        state.inside -= 1;
        if state.inside == 0 {
            self.gate.left.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_closed_gate_holds_who_comes_until_it_is_open() {
        let gate = Arc::new(Gate::new());
        assert!(tokio::time::timeout(SOON, gate.enter()).await.is_err());
        let waiting = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { *gate.enter().await.behind() }
        });
        tokio::task::yield_now().await;
        gate.open(7);
        assert_eq!(waiting.await.unwrap(), 7);
    }

    #[tokio::test]
    async fn it_closes_only_when_nobody_is_inside() {
        let gate = Arc::new(Gate::new());
        gate.open(1);
        let pass = gate.enter().await;
        assert_eq!(gate.close(SOON), None);
        pass.leave();
        assert_eq!(gate.close(SOON), Some(1));
        assert!(gate.was_passed() && !gate.is_torn());
        assert!(tokio::time::timeout(SOON, gate.enter()).await.is_err());
        gate.open(2);
        assert!(!gate.was_passed());
    }

    #[tokio::test]
    async fn a_sending_that_broke_off_leaves_a_tear_until_the_gate_is_opened_anew() {
        let gate = Arc::new(Gate::new());
        gate.open(1);
        drop(gate.enter().await);
        assert!(gate.is_torn());
        assert_eq!(gate.close(SOON), Some(1));
        gate.open(1);
        assert!(!gate.is_torn());
        gate.tear().store(true, Ordering::Release);
        assert!(gate.is_torn());
    }
}
