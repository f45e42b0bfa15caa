//! What waits until a time of day: `pthread_cond_timedwait` and C11's `cnd_timedwait`.
//!
//! Whoever calls them has read this process's clock and added to it, but the kernel waits by the machine's. So the end of
//! a wait is translated, and as with a real clock, one that is set back while somebody waits makes the wait longer.
//! **Invariant:** a wait that the machine's clock says is over goes on while this process's clock says that it is not.

use std::ffi::CStr;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use libc::{c_int, c_void, pthread_cond_t, pthread_mutex_t, timespec};

use crate::{offset, time};

/// Who waits by the time since the start of the machine, hands in less than this: no machine runs for thirty years.
const OF_DAY_ABOVE_S: i64 = 1_000_000_000;
/// How soon it is noticed that a clock that was set back is right again.
const LOOK_EVERY_NS: i128 = 100_000_000;
/// The codes of C11, as glibc has them.
const THRD_SUCCESS: c_int = 0;
const THRD_ERROR: c_int = 2;
const THRD_TIMEDOUT: c_int = 4;

const NAME: &CStr = c"pthread_cond_timedwait";
/// libc's own; null until it was looked for.
static REAL: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

type Wait =
    unsafe extern "C" fn(*mut pthread_cond_t, *mut pthread_mutex_t, *const timespec) -> c_int;

fn real() -> Option<Wait> {
    let mut found = REAL.load(Ordering::Acquire);
    if found.is_null() {
        // SAFETY: the name ends with 0.
        found = unsafe { libc::dlsym(libc::RTLD_NEXT, NAME.as_ptr()) };
        REAL.store(found, Ordering::Release);
    }
    // SAFETY: a function of this name is of this type; null is none.
    unsafe { std::mem::transmute::<*mut c_void, Option<Wait>>(found) }
}

/// # Safety
///
/// As in POSIX.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_cond_timedwait(
    cond: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    end: *const timespec,
) -> c_int {
    let Some(wait) = real() else {
        return libc::ENOSYS;
    };
    // SAFETY: the caller's promise.
    let end_time = unsafe { &*end };
    if end_time.tv_sec < OF_DAY_ABOVE_S {
        // SAFETY: the caller's promise.
        return unsafe { wait(cond, mutex, end) };
    }
    let end = time::nanos(end_time);
    let mut until = end - i128::from(offset::nanos());
    loop {
        let step = time::timespec(until);
        // SAFETY: the caller's promise, and a time of its own.
        let result = unsafe { wait(cond, mutex, &raw const step) };
        if result != libc::ETIMEDOUT || time::of_day() >= end {
            return result;
        }
        // The clock was set back. A signal that comes between two steps would be missed, so they are not short.
        let now = time::machine_time_of_day();
        until = (now + LOOK_EVERY_NS).min(end - i128::from(offset::nanos()));
    }
}

/// # Safety
///
/// As in C11. In glibc its types are those of pthreads under other names.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cnd_timedwait(
    cond: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    end: *const timespec,
) -> c_int {
    // SAFETY: the caller's promise.
    match unsafe { pthread_cond_timedwait(cond, mutex, end) } {
        0 => THRD_SUCCESS,
        libc::ETIMEDOUT => THRD_TIMEDOUT,
        _ => THRD_ERROR,
    }
}
