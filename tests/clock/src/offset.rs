//! The offset, as it is in the file at this moment.
//!
//! It is handed the name of the file by the environment, and maps it once.
//! **Invariant:** an offset that is just being written is never seen half.

use std::ffi::CStr;
use std::ptr;
use std::sync::atomic::{AtomicI64, AtomicPtr, Ordering};

const FILE: &CStr = c"CLOCK_OFFSET_FILE";
/// How often the two copies are read again when they differ.
const LOOKS_MAX: u32 = 1000;

/// The offset, and the same again: a write that is under way shows in that they differ.
struct Copies([AtomicI64; 2]);

/// What is read where there is no file.
static NONE: Copies = Copies([AtomicI64::new(0), AtomicI64::new(0)]);
/// Where the offset is; null until it was looked for.
static PLACE: AtomicPtr<Copies> = AtomicPtr::new(ptr::null_mut());

/// Returns the offset in nanoseconds.
pub(crate) fn nanos() -> i64 {
    let Copies([first, second]) = copies();
    for _ in 0..LOOKS_MAX {
        let found = first.load(Ordering::Acquire);
        if found == second.load(Ordering::Acquire) {
            return found;
        }
    }
    first.load(Ordering::Acquire)
}

fn copies() -> &'static Copies {
    let mut place = PLACE.load(Ordering::Acquire);
    if place.is_null() {
        place = map().unwrap_or((&raw const NONE).cast_mut());
        PLACE.store(place, Ordering::Release);
    }
    // SAFETY: it is either the static or a mapping of its size that is never taken away.
    unsafe { &*place }
}

/// Maps the file. Two threads that come at once map it twice, which does no harm.
fn map() -> Option<*mut Copies> {
    let length = size_of::<Copies>();
    // SAFETY: whoever asks for the time expects errno to be left alone; it is the thread's own.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    // SAFETY: the name ends with 0, and what is returned is only lent to `open`.
    let path = unsafe { libc::getenv(FILE.as_ptr()) };
    if path.is_null() {
        return None;
    }
    // SAFETY: the path is a string of the environment.
    let file = unsafe { libc::open(path, libc::O_RDONLY | libc::O_CLOEXEC) };
    let mut place = libc::MAP_FAILED;
    if file >= 0 {
        // SAFETY: a new mapping is asked for, at no place in particular, of what the file has.
        unsafe {
            if libc::lseek(file, 0, libc::SEEK_END) >= length as i64 {
                let (prot, flags) = (libc::PROT_READ, libc::MAP_SHARED);
                place = libc::mmap(ptr::null_mut(), length, prot, flags, file, 0);
            }
            libc::close(file);
        }
    }
    // SAFETY: as above.
    unsafe { *errno = before };
    (place != libc::MAP_FAILED).then_some(place.cast())
}
