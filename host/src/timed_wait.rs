//! Waits of librdkafka that do not depend on the time of day.
//!
//! librdkafka reads the time of day, adds what it wants to wait, and calls C11's `cnd_timedwait` with the sum. When the
//! clock is set back while it waits, libc's own function waits for longer by as much: for an hour no heartbeat is sent, no
//! call returns. This one stands in its place for everything that is linked into the host. It takes the time that is left
//! at the moment of the call, and waits by the clock that nobody sets.
//! **Invariant:** no wait lasts longer than asked for, or than [`STEP_MAX_NS`] where the clock was set back between the
//! question and the wait; librdkafka asks again for what is left then.
#![cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
#![expect(
    unsafe_code,
    reason = "it is called by C, with C's conditions and locks"
)]

use libc::{c_int, clockid_t, pthread_cond_t, pthread_mutex_t, timespec};

/// The longest wait at once.
const STEP_MAX_NS: i64 = NS_PER_S;
const NS_PER_S: i64 = 1_000_000_000;
/// The answers of C11's functions, as glibc numbers them.
const THRD_SUCCESS: c_int = 0;
const THRD_ERROR: c_int = 2;
const THRD_TIMEDOUT: c_int = 4;

unsafe extern "C" {
    /// `pthread_cond_timedwait` by any clock. In glibc since 2.30.
    fn pthread_cond_clockwait(
        cond: *mut pthread_cond_t,
        mutex: *mut pthread_mutex_t,
        clock: clockid_t,
        end: *const timespec,
    ) -> c_int;
}

/// Waits for a condition until a time of day, or shorter; with glibc's types, which are those of pthreads.
///
/// # Safety
///
/// As in C11: all three exist, and the calling thread holds the lock.
#[unsafe(no_mangle)]
unsafe extern "C" fn cnd_timedwait(
    cond: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    end: *const timespec,
) -> c_int {
    // SAFETY: the caller's promise.
    let left_ns = left_ns(unsafe { &*end }, &now(libc::CLOCK_REALTIME));
    let end = later(&now(libc::CLOCK_MONOTONIC), left_ns);
    // SAFETY: the caller's promise, and a time of its own.
    match unsafe { pthread_cond_clockwait(cond, mutex, libc::CLOCK_MONOTONIC, &raw const end) } {
        0 => THRD_SUCCESS,
        libc::ETIMEDOUT => THRD_TIMEDOUT,
        _ => THRD_ERROR,
    }
}

/// Returns the nanoseconds from `now` to `end`, from 0 to [`STEP_MAX_NS`].
fn left_ns(end: &timespec, now: &timespec) -> i64 {
    let seconds = end.tv_sec.saturating_sub(now.tv_sec);
    let left_ns = seconds
        .saturating_mul(NS_PER_S)
        .saturating_add(end.tv_nsec - now.tv_nsec);
    left_ns.clamp(0, STEP_MAX_NS)
}

/// Returns the time `ns` after `time`; `ns` is at most [`STEP_MAX_NS`].
fn later(time: &timespec, ns: i64) -> timespec {
    let ns = time.tv_nsec + ns;
    timespec {
        tv_sec: time.tv_sec + ns / NS_PER_S,
        tv_nsec: ns % NS_PER_S,
    }
}

fn now(clock: clockid_t) -> timespec {
    let mut now = timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: it writes to a place that is there for it, and knows both clocks that are asked for here.
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    now
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(ns: i64) -> timespec {
        later(
            &timespec {
                tv_sec: ns / NS_PER_S,
                tv_nsec: 0,
            },
            ns % NS_PER_S,
        )
    }

    proptest! {
        #[test]
        fn what_is_left_is_never_negative_and_never_long(now_ns in 0i64..1 << 61, more_ns in -(1i64 << 60)..1 << 60) {
            let end_ns = (now_ns + more_ns).max(0);
            let expected = (end_ns - now_ns).clamp(0, STEP_MAX_NS);
            prop_assert_eq!(left_ns(&time(end_ns), &time(now_ns)), expected);
        }

        #[test]
        fn a_later_time_is_later_by_as_much(ns in 0i64..1 << 61, more_ns in 0i64..=STEP_MAX_NS) {
            let later = later(&time(ns), more_ns);
            prop_assert!((0..NS_PER_S).contains(&later.tv_nsec));
            prop_assert_eq!(later.tv_sec * NS_PER_S + later.tv_nsec, ns + more_ns);
        }
    }
}
