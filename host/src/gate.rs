//! The gate between the lanes of a group, which send, and its transaction, which must not end between two outputs of a
//! record.
//!
//! Each lane has a door of its own, passes it for the time of one sending and is handed what lies behind it; who ends a
//! transaction closes the gate. A pass costs nothing that lanes share: only the first one of a lane after an opening
//! takes the lock.
//! **Invariant:** while the gate is closed and [`Gate::close`] said so, nobody is inside, and who left in mid-sending is
//! known.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;
use tokio::time::Instant;

/// [`Gate::open_as`] while the gate is closed.
const CLOSED: u64 = 0;

#[derive(Debug)]
struct State<T> {
    /// What lies behind the gate while it is open.
    behind: Option<T>,
    /// Counts the openings.
    opening: u64,
    /// Those of lanes that passed since the gate was opened last, or are inside since before.
    seats: Vec<Arc<Seat<T>>>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Gate<T> {
    state: Mutex<State<T>>,
    /// The number of the opening, or [`CLOSED`].
    open_as: AtomicU64,
    /// Who waits before the closed gate.
    opened: Notify,
    /// Who waits for the last one inside.
    left: Condvar,
    torn: Arc<AtomicBool>,
}

/// A lane's place behind the gate, for one opening.
#[derive(Debug)]
struct Seat<T> {
    gate: Arc<Gate<T>>,
    opening: u64,
    is_taken: AtomicBool,
    behind: T,
}

/// A lane's way through the gate. One that is cloned has no seat yet.
#[derive(Debug)]
pub(crate) struct Door<T> {
    gate: Arc<Gate<T>>,
    seat: Option<Arc<Seat<T>>>,
}

/// The right to send, held by a lane inside. Dropped without [`Pass::leave`], it leaves a tear.
#[derive(Debug)]
pub(crate) struct Pass<T> {
    seat: Arc<Seat<T>>,
    has_left: bool,
}

impl<T: Clone> Gate<T> {
    /// Makes a closed gate.
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                behind: None,
                opening: CLOSED,
                seats: Vec::new(),
            }),
            open_as: AtomicU64::new(CLOSED),
            opened: Notify::new(),
            left: Condvar::new(),
            torn: Arc::default(),
        }
    }

    /// Makes a door for a lane.
    pub(crate) fn door(self: &Arc<Self>) -> Door<T> {
        Door {
            gate: Arc::clone(self),
            seat: None,
        }
    }

    /// Opens the gate to what lies behind it, and forgets tears and passes of before.
    pub(crate) fn open(&self, behind: T) {
        self.torn.store(false, Ordering::Release);
        let mut state = self.state.lock();
        state.behind = Some(behind);
        state.opening += 1;
        // Who is inside since before is waited for as any other.
        state.seats.retain(|seat| seat.is_taken());
        self.open_as.store(state.opening, Ordering::SeqCst);
        self.opened.notify_waiters();
    }

    /// Closes the gate and waits until nobody is inside; returns what lay behind it, or `None` where somebody still is
    /// inside after `timeout`: then it is open as before. Blocks the thread.
    pub(crate) fn close(&self, timeout: Duration) -> Option<T> {
        let deadline = Instant::now() + timeout;
        let mut state = self.state.lock();
        let behind = state.behind.take();
        self.open_as.store(CLOSED, Ordering::SeqCst);
        while state.seats.iter().any(|seat| seat.is_taken()) {
            let waited = self.left.wait_until(&mut state, deadline.into_std());
            if waited.timed_out() && state.seats.iter().any(|seat| seat.is_taken()) {
                if behind.is_some() {
                    self.open_as.store(state.opening, Ordering::SeqCst);
                }
                state.behind = behind;
                self.opened.notify_waiters();
                return None;
            }
        }
        behind
    }

    /// Closes the gate without waiting. Who is inside may go on and leave.
    pub(crate) fn shut(&self) {
        let mut state = self.state.lock();
        state.behind = None;
        self.open_as.store(CLOSED, Ordering::SeqCst);
    }

    /// Returns whether anybody has passed since the gate was opened.
    pub(crate) fn was_passed(&self) -> bool {
        let state = self.state.lock();
        let mut seats = state.seats.iter();
        seats.any(|seat| seat.opening == state.opening)
    }

    /// Returns whether a sending broke off since the gate was opened, or a tear was told.
    pub(crate) fn is_torn(&self) -> bool {
        self.torn.load(Ordering::Acquire)
    }

    /// Returns what is to be set when something that was sent is not to stay.
    pub(crate) fn tear(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.torn)
    }

    /// Gives out a seat that is taken already, if the gate is open.
    fn seat(self: &Arc<Self>) -> Option<Arc<Seat<T>>> {
        let mut state = self.state.lock();
        let seat = Arc::new(Seat {
            gate: Arc::clone(self),
            opening: state.opening,
            is_taken: AtomicBool::new(true),
            behind: state.behind.clone()?,
        });
        state.seats.push(Arc::clone(&seat));
        Some(seat)
    }
}

impl<T: Clone> Door<T> {
    /// Enters, once the gate is open.
    pub(crate) async fn enter(&mut self) -> Pass<T> {
        let gate = Arc::clone(&self.gate);
        loop {
            // Before the look, so that an opening in between is not missed.
            let opened = gate.opened.notified();
            if let Some(pass) = self.try_enter() {
                return pass;
            }
            opened.await;
        }
    }

    /// Enters, if the gate is open.
    pub(crate) fn try_enter(&mut self) -> Option<Pass<T>> {
        let seat = self.seat.as_ref().filter(|seat| seat.take());
        if seat.is_none() {
            self.seat = self.gate.seat();
        }
        let seat = self.seat.as_ref()?;
        Some(Pass {
            seat: Arc::clone(seat),
            has_left: false,
        })
    }
}

impl<T> Clone for Door<T> {
    fn clone(&self) -> Self {
        Self {
            gate: Arc::clone(&self.gate),
            seat: None,
        }
    }
}

impl<T> Seat<T> {
    /// Takes the seat, if the gate is still open as it was when the seat was given out.
    ///
    /// Who takes it writes here and reads there, who closes the gate writes there and reads here, both in the one order
    /// of `SeqCst`: one of them sees the other.
    fn take(&self) -> bool {
        self.is_taken.store(true, Ordering::SeqCst);
        let is_open = self.gate.open_as.load(Ordering::SeqCst) == self.opening;
        if !is_open {
            self.give_back();
        }
        is_open
    }

    fn give_back(&self) {
        self.is_taken.store(false, Ordering::SeqCst);
        if self.gate.open_as.load(Ordering::SeqCst) != self.opening {
            // Who waits holds this lock while it looks, so it either saw this or hears of it.
            let state = self.gate.state.lock();
            self.gate.left.notify_all();
            drop(state);
        }
    }

    fn is_taken(&self) -> bool {
        self.is_taken.load(Ordering::SeqCst)
    }
}

impl<T> Pass<T> {
    /// Returns what lies behind the gate.
    pub(crate) fn behind(&self) -> &T {
        &self.seat.behind
    }

    /// Leaves after the sending is complete.
    pub(crate) fn leave(mut self) {
        self.has_left = true;
    }
}

impl<T> Drop for Pass<T> {
    fn drop(&mut self) {
        if !self.has_left {
            self.seat.gate.torn.store(true, Ordering::Release);
        }
        self.seat.give_back();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    use super::*;

    const SOON: Duration = Duration::from_millis(20);
    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_closed_gate_holds_who_comes_until_it_is_open() {
        let gate = Arc::new(Gate::new());
        let mut door = gate.door();
        assert!(tokio::time::timeout(SOON, door.enter()).await.is_err());
        let waiting = tokio::spawn(async move { *door.enter().await.behind() });
        tokio::task::yield_now().await;
        gate.open(7);
        assert_eq!(waiting.await.unwrap(), 7);
    }

    #[tokio::test]
    async fn it_closes_only_when_nobody_is_inside() {
        let gate = Arc::new(Gate::new());
        gate.open(1);
        let mut door = gate.door();
        let pass = door.try_enter().unwrap();
        assert_eq!(gate.close(SOON), None);
        pass.leave();
        door.try_enter().unwrap().leave();
        assert_eq!(gate.close(SOON), Some(1));
        assert!(gate.was_passed() && !gate.is_torn());
        assert!(door.try_enter().is_none());
        gate.open(2);
        assert!(!gate.was_passed());
        assert_eq!(*door.try_enter().unwrap().behind(), 2);
        assert!(gate.was_passed());
    }

    #[tokio::test]
    async fn a_sending_that_broke_off_leaves_a_tear_until_the_gate_is_opened_anew() {
        let gate = Arc::new(Gate::new());
        gate.open(1);
        drop(gate.door().enter().await);
        assert!(gate.is_torn());
        assert_eq!(gate.close(SOON), Some(1));
        gate.open(1);
        assert!(!gate.is_torn());
        gate.tear().store(true, Ordering::Release);
        assert!(gate.is_torn());
    }

    #[test]
    fn who_is_inside_since_before_the_last_opening_is_waited_for() {
        let gate = Arc::new(Gate::new());
        gate.open(1);
        let pass = gate.door().try_enter().unwrap();
        gate.shut();
        assert!(gate.door().try_enter().is_none());
        gate.open(2);
        assert_eq!(gate.close(SOON), None);
        pass.leave();
        assert_eq!(gate.close(SOON), Some(2));
    }

    #[test]
    fn nobody_is_inside_a_closed_gate_however_many_come_and_go() {
        let gate = Arc::new(Gate::new());
        let (inside, passed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let is_over = AtomicBool::new(false);
        let pass_often = || {
            let mut door = gate.door();
            while !is_over.load(Ordering::Relaxed) {
                let Some(pass) = door.try_enter() else {
                    thread::yield_now();
                    continue;
                };
                inside.fetch_add(1, Ordering::Relaxed);
                passed.fetch_add(1, Ordering::Relaxed);
                inside.fetch_sub(1, Ordering::Relaxed);
                pass.leave();
            }
        };
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(pass_often);
            }
            for nth in 0..1_000 {
                gate.open(nth);
                while !gate.was_passed() {
                    thread::yield_now();
                }
                assert_eq!(gate.close(PATIENCE), Some(nth));
                assert_eq!(inside.load(Ordering::Relaxed), 0);
            }
            is_over.store(true, Ordering::Relaxed);
        });
        assert!(passed.load(Ordering::Relaxed) >= 1_000 && !gate.is_torn());
    }
}
