//! What a process used, as the system counts it.
//!
//! **Invariant:** read from outside, in the same way for every process that is compared.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Linux counts CPU time for /proc in this many ticks a second on every architecture in use.
const TICKS_PER_S: u64 = 100;

/// Returns the CPU time of a process so far, user and system together, of all its threads.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may hold spaces; the state follows it.
    let (_, fields) = stat.rsplit_once(')').context("a stat without a name")?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = 0;
    for name in ["user", "system"] {
        let field = fields.next().context(name)?;
        ticks += field.parse::<u64>()?;
    }
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_S))
}

/// Returns a size in bytes of /proc/PID/status, such as `VmHWM`, the peak of resident memory.
pub(crate) fn memory_bytes(pid: u32, name: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|rest| rest.trim_start_matches(':').split_whitespace().next());
    let kib = kib.with_context(|| format!("no {name} in /proc"))?;
    Ok(kib.parse::<u64>()? * 1024)
}
