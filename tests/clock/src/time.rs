//! What asks for the time: `clock_gettime`, `gettimeofday`, `time`.
//!
//! Asked by whatever runs in the process, also before `main` and from signal handlers; the kernel is asked directly.
//! **Invariant:** of a clock that is not that of the day the kernel's own answer is returned.

use libc::{c_int, c_void, clockid_t, time_t, timespec, timeval};

use crate::offset;

const NANOS_PER_S: i128 = 1_000_000_000;

/// Returns the time of day of this process in nanoseconds since 1970.
pub(crate) fn of_day() -> i128 {
    machine_time_of_day() + i128::from(offset::nanos())
}

/// Returns the time of day of the machine in nanoseconds since 1970.
pub(crate) fn machine_time_of_day() -> i128 {
    let mut found = timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes to a place that is there for it; of this clock it always knows the time.
    unsafe { ask(libc::CLOCK_REALTIME, &raw mut found) };
    nanos(&found)
}

pub(crate) fn nanos(time: &timespec) -> i128 {
    i128::from(time.tv_sec) * NANOS_PER_S + i128::from(time.tv_nsec)
}

pub(crate) fn timespec(nanos: i128) -> timespec {
    timespec {
        tv_sec: time_t::try_from(nanos.div_euclid(NANOS_PER_S)).unwrap_or(time_t::MAX),
        // Less than a billion.
        tv_nsec: nanos.rem_euclid(NANOS_PER_S) as i64,
    }
}

/// The system call.
///
/// # Safety
///
/// `found` is null or may be written to.
unsafe fn ask(clock: clockid_t, found: *mut timespec) -> c_int {
    // SAFETY: the kernel checks the clock and the place.
    let result = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, found) };
    if result == 0 { 0 } else { -1 }
}

/// # Safety
///
/// As in POSIX.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: clockid_t, found: *mut timespec) -> c_int {
    // SAFETY: the caller's promise.
    let result = unsafe { ask(clock, found) };
    let is_of_day = clock == libc::CLOCK_REALTIME || clock == libc::CLOCK_REALTIME_COARSE;
    if result == 0 && is_of_day {
        // SAFETY: the kernel has just written there.
        unsafe { *found = timespec(nanos(&*found) + i128::from(offset::nanos())) };
    }
    result
}

/// # Safety
///
/// As in POSIX.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gettimeofday(found: *mut timeval, zone: *mut c_void) -> c_int {
    let time = timespec(of_day());
    if !found.is_null() {
        let (tv_sec, tv_usec) = (time.tv_sec, time.tv_nsec / 1000);
        // SAFETY: the caller's promise.
        unsafe { found.write(timeval { tv_sec, tv_usec }) };
    }
    if !zone.is_null() {
        // SAFETY: the caller's promise. It is a struct of two numbers that Linux always leaves at 0.
        unsafe { zone.cast::<[c_int; 2]>().write([0, 0]) };
    }
    0
}

/// # Safety
///
/// As in POSIX.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn time(found: *mut time_t) -> time_t {
    let seconds = timespec(of_day()).tv_sec;
    if !found.is_null() {
        // SAFETY: the caller's promise.
        unsafe { *found = seconds };
    }
    seconds
}
