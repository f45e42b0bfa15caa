//! What the operating system says about this process.
//!
//! Reads `/proc`, see proc(5); elsewhere than on Linux nothing is known.
//! **Invariant:** a text that is not understood gives nothing rather than a wrong value.

use std::time::Duration;

/// How long one tick of `/proc/self/stat` is: `USER_HZ` is 100 on every platform that the host is built for.
const TICK: Duration = Duration::from_millis(10);

/// What the process uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Memory that is not swapped out.
    pub(super) resident_bytes: Option<u64>,
    /// Time of all threads on a processor, in user and in kernel mode.
    pub(super) cpu: Option<Duration>,
}

/// Asks the operating system.
pub(super) fn usage() -> Usage {
    let read = |path| std::fs::read_to_string(path).ok();
    Usage {
        resident_bytes: read("/proc/self/status")
            .as_deref()
            .and_then(resident_bytes),
        cpu: read("/proc/self/stat").as_deref().and_then(cpu),
    }
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn cpu(stat: &str) -> Option<Duration> {
    // The second field is the name of the program, which may hold spaces and parentheses. utime and stime are
    // fields 14 and 15.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let kernel: u32 = fields.next()?.parse().ok()?;
    TICK.checked_mul(user.checked_add(kernel)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read_even_with_an_odd_program_name() {
        let stat = "7 (a) R (b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 100 1000 50";
        assert_eq!(cpu(stat), Some(Duration::from_secs(3)));
        assert_eq!(cpu("7 (a"), None);
        let status = "Name:\ta\nVmRSS:\t    2048 kB\nThreads:\t1\n";
        assert_eq!(resident_bytes(status), Some(2 << 20));
        assert_eq!(resident_bytes("VmRSS:\tmuch\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory_and_a_clock() {
        let usage = usage();
        assert!(usage.resident_bytes.is_some_and(|bytes| bytes > 0));
        assert!(usage.cpu.is_some());
    }
}
