//! The clock by which guests sleep: as fine as the system's, where tokio's counts in milliseconds and rounds up.
//!
//! All sleeping guests share one timer of the system, which is set to the first of them. Where there is none (another
//! system than Linux, no descriptor left), they sleep by tokio's.
//! **Invariant:** the timer is set to the earliest of those who sleep, or goes off before.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use wasmtime::component::{HasData, Linker, Resource};
use wasmtime_wasi::clocks::{WasiClocksCtxView, WasiClocksView as _};
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use self::system::Timer;
use super::state::GuestState;

/// When someone wants to be woken, and a number that tells those of one moment apart.
type Place = (Instant, u64);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Clock {
    sleepers: Mutex<Sleepers>,
    /// Made for the first one who sleeps, since it belongs to the runtime that runs guests.
    timer: OnceLock<Option<Timer>>,
}

#[derive(Debug, Default)]
struct Sleepers {
    wakers: BTreeMap<Place, Waker>,
    count: u64,
}

impl Clock {
    /// Sleeps until `deadline`.
    async fn sleep_until(self: &Arc<Self>, deadline: Instant) {
        let timer = self
            .timer
            .get_or_init(|| Timer::start(Arc::downgrade(self)));
        if timer.is_none() {
            return tokio::time::sleep_until(deadline).await;
        }
        let number = {
            let mut sleepers = self.sleepers.lock();
            sleepers.count += 1;
            sleepers.count
        };
        let clock = Arc::clone(self);
        let place = (deadline, number);
        Sleep { clock, place }.await;
    }

    /// Wakes all whose time has come, and sets the timer to the next one.
    fn ring(&self) {
        let now = Instant::now();
        let mut sleepers = self.sleepers.lock();
        let later = sleepers.wakers.split_off(&(now, u64::MAX));
        let woken = std::mem::replace(&mut sleepers.wakers, later);
        if let Some((&(next, _), _)) = sleepers.wakers.first_key_value() {
            self.set(next);
        }
        // Who is woken may want this lock.
        drop(sleepers);
        for waker in woken.into_values() {
            waker.wake();
        }
    }

    /// Sets the timer. Called with the sleepers locked, so that no later moment takes the place of an earlier one.
    fn set(&self, moment: Instant) {
        if let Some(Some(timer)) = self.timer.get() {
            timer.set(moment.saturating_duration_since(Instant::now()));
        }
    }
}

struct Sleep {
    clock: Arc<Clock>,
    place: Place,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.place.0 {
            return Poll::Ready(());
        }
        let waker = context.waker().clone();
        let mut sleepers = self.clock.sleepers.lock();
        let before = sleepers.wakers.insert(self.place, waker);
        let first = sleepers.wakers.first_key_value();
        if first.is_some_and(|(place, _)| *place == self.place) {
            self.clock.set(self.place.0);
        }
        drop(sleepers);
        drop(before);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let waker = self.clock.sleepers.lock().wakers.remove(&self.place);
        drop(waker);
    }
}

#[cfg(target_os = "linux")]
mod system {
    //! A timer of the system as a descriptor that tokio waits for.

    use std::os::fd::OwnedFd;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::unix::AsyncFd;
    use tokio::task::AbortHandle;

    use super::{Arc, Clock, Duration, Weak};

    #[derive(Debug)]
    pub(super) struct Timer {
        descriptor: Arc<AsyncFd<OwnedFd>>,
        ringing: AbortHandle,
    }

    impl Timer {
        /// Makes a timer that lets the clock ring; `None` where the system has no descriptor left.
        #[expect(
            deprecated,
            reason = "not sound for all that has a descriptor, but for an OwnedFd, which keeps its own"
        )]
        pub(super) fn start(clock: Weak<Clock>) -> Option<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let descriptor = timerfd_create(TimerfdClockId::Monotonic, flags).ok()?;
            let descriptor = Arc::new(AsyncFd::new(descriptor).ok()?);
            let ringing = tokio::spawn(ring(Arc::clone(&descriptor), clock)).abort_handle();
            Some(Self {
                descriptor,
                ringing,
            })
        }

        /// Lets the clock ring after `wait`, and not at the time it was set to before.
        pub(super) fn set(&self, wait: Duration) {
            // Zero would turn it off.
            let wait = wait.max(Duration::from_nanos(1));
            let never = Timespec::default();
            let spec = Itimerspec {
                it_interval: never,
                it_value: Timespec::try_from(wait).unwrap_or(Timespec {
                    tv_sec: i64::MAX,
                    ..never
                }),
            };
            let set = timerfd_settime(&*self.descriptor, TimerfdTimerFlags::empty(), &spec);
            if let Err(error) = set {
                tracing::error!(%error, "the timer of sleeping guests cannot be set");
            }
        }
    }

    impl Drop for Timer {
        fn drop(&mut self) {
            self.ringing.abort();
        }
    }

    async fn ring(descriptor: Arc<AsyncFd<OwnedFd>>, clock: Weak<Clock>) {
        while let Ok(mut ready) = descriptor.readable().await {
            ready.clear_ready();
            // How often it went off does not matter, nor whether this was the time it was set to.
            let _ = rustix::io::read(&*descriptor, &mut [0; 8]);
            let Some(clock) = clock.upgrade() else {
                return;
            };
            clock.ring();
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    //! No timer: tokio's is used.

    use super::{Clock, Duration, Weak};

    #[derive(Debug)]
    pub(super) enum Timer {}

    impl Timer {
        pub(super) fn start(_clock: Weak<Clock>) -> Option<Self> {
            None
        }

        pub(super) fn set(&self, _wait: Duration) {}
    }
}

/// What a guest waits for when it sleeps.
struct Alarm {
    clock: Arc<Clock>,
    deadline: Instant,
}

#[wasmtime_wasi::async_trait]
impl Pollable for Alarm {
    async fn ready(&mut self) {
        self.clock.sleep_until(self.deadline).await;
    }
}

/// wasi:clocks/monotonic-clock for one guest.
struct GuestClock<'a> {
    clock: Arc<Clock>,
    wasi: WasiClocksCtxView<'a>,
}

struct HasClock;

impl HasData for HasClock {
    type Data<'a> = GuestClock<'a>;
}

impl monotonic_clock::Host for GuestClock<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        self.wasi.now()
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        self.wasi.resolution()
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let now = self.wasi.now()?;
        self.subscribe_duration(when.saturating_sub(now))
    }

    fn subscribe_duration(&mut self, wait_ns: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let deadline = Instant::now().checked_add(Duration::from_nanos(wait_ns));
        match deadline {
            Some(deadline) if wait_ns > 0 => {
                let clock = Arc::clone(&self.clock);
                let alarm = self.wasi.table.push(Alarm { clock, deadline })?;
                subscribe(self.wasi.table, alarm)
            }
            // At once, or never.
            _ => self.wasi.subscribe_duration(wait_ns),
        }
    }
}

/// Puts this clock in the place of that of wasmtime-wasi.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    monotonic_clock::add_to_linker::<_, HasClock>(linker, |state| GuestClock {
        clock: Arc::clone(&state.clock),
        wasi: state.clocks(),
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLEEPS: u32 = 200;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nobody_is_woken_early_and_all_are_woken() {
        let clock = Arc::new(Clock::default());
        let sleeps = (0..SLEEPS).map(|nth| {
            let clock = Arc::clone(&clock);
            tokio::spawn(async move {
                let deadline = Instant::now() + Duration::from_micros(u64::from(nth % 50) * 100);
                clock.sleep_until(deadline).await;
                assert!(Instant::now() >= deadline);
            })
        });
        for sleep in sleeps.collect::<Vec<_>>() {
            sleep.await.unwrap();
        }
        assert!(clock.sleepers.lock().wakers.is_empty());
    }

    #[tokio::test]
    async fn who_sleeps_no_more_is_forgotten_and_holds_nobody_up() {
        let clock = Arc::new(Clock::default());
        let soon = Duration::from_millis(5);
        for _ in 0..10 {
            let now = Instant::now();
            let sleep = clock.sleep_until(now + soon);
            let given_up = clock.sleep_until(now + Duration::from_millis(1));
            let far = clock.sleep_until(now + Duration::from_hours(1));
            tokio::select! {
                biased;
                () = far => unreachable!("an hour is over"),
                () = async {
                    let _ = tokio::time::timeout(Duration::ZERO, given_up).await;
                    sleep.await;
                } => {}
            }
        }
        assert!(clock.sleepers.lock().wakers.is_empty());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_pause_of_a_fraction_of_a_millisecond_is_one() {
        let clock = Arc::new(Clock::default());
        let pause = Duration::from_micros(200);
        let mut fastest = Duration::MAX;
        for _ in 0..SLEEPS {
            let start = Instant::now();
            clock.sleep_until(start + pause).await;
            fastest = fastest.min(start.elapsed());
        }
        // The fastest: the machine may have other work. Tokio's clock never takes less than a millisecond and the rest.
        assert!(fastest >= pause && fastest < 3 * pause, "{fastest:?}");
    }
}
