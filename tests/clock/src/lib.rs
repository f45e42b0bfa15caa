//! A library between one process and its wall clock, for tests: named by `LD_PRELOAD`, it moves the time of day by an
//! offset that can be changed while the process runs.
//!
//! The offset is in the file that `CLOCK_OFFSET_FILE` names: a number of nanoseconds, twice, of 8 bytes each in the
//! machine's order; without the variable or the file it is 0. `CLOCK_REALTIME`, `gettimeofday` and `time` are moved, and
//! with them the ends of waits that are given as a time of day. All other clocks are as they were.
//! **Invariant:** nothing here allocates, panics, or asks a function for the time that this library replaces.
#![cfg(target_os = "linux")]

mod offset;
mod time;
mod wait;
