//! The wall clock of one process, which can be wrong while that of the machine is right.
//!
//! It is handed a file of its own, in which the library of `tests/clock` reads the offset whenever the process asks for
//! the time of day. That library is loaded before libc, which only Linux does as it is done here.
//! **Invariant:** clocks that count since the start of the machine are as they were.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::host::built;

/// Where the library finds its file.
const FILE: &str = "CLOCK_OFFSET_FILE";
const LIBRARY: &str = "libclock.so";
const NANOS_PER_S: i64 = 1_000_000_000;

/// See the module.
#[derive(Debug)]
pub struct WallClock {
    path: PathBuf,
    file: File,
    library: PathBuf,
}

impl WallClock {
    /// Whether processes can have clocks of their own here.
    pub const IS_POSSIBLE: bool = cfg!(target_os = "linux");

    /// A clock that is right. Its file is made at `path`, and left there.
    pub fn new(path: &Path) -> Result<Self> {
        let library = built(LIBRARY)?.with_context(|| {
            format!("{LIBRARY} is not built: run `cargo build --release --workspace`")
        })?;
        fs::write(path, content(0)).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self {
            path: path.to_path_buf(),
            file: File::options().write(true).open(path)?,
            library,
        })
    }

    /// Sets the clock so many seconds ahead of that of the machine, or behind it where they are negative.
    pub fn set(&self, ahead_s: i64) -> Result<()> {
        Ok(self.file.write_all_at(&content(ahead_s), 0)?)
    }

    /// The environment of a process that has this clock.
    pub fn env(&self) -> [(&'static str, &Path); 2] {
        [
            ("LD_PRELOAD", self.library.as_path()),
            (FILE, self.path.as_path()),
        ]
    }
}

/// The number twice: who reads it while it is written finds two that differ.
fn content(ahead_s: i64) -> [u8; 16] {
    let nanos = ahead_s.saturating_mul(NANOS_PER_S).to_ne_bytes();
    let mut both = [0; 16];
    both[..8].copy_from_slice(&nanos);
    both[8..].copy_from_slice(&nanos);
    both
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::SystemTime;

    use super::*;

    /// What `date` takes for the time, in seconds since 1970.
    fn date(clock: &WallClock) -> i64 {
        let output = Command::new("date").arg("+%s").envs(clock.env()).output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        text.trim().parse().unwrap()
    }

    #[test]
    fn a_process_has_the_time_that_it_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let clock = WallClock::new(&folder.path().join("clock")).unwrap();
        for ahead_s in [0, 3600, -7200, 1, 0] {
            clock.set(ahead_s).unwrap();
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            let expected = now.unwrap().as_secs().cast_signed() + ahead_s;
            let found = date(&clock);
            assert!(
                (expected..expected + 5).contains(&found),
                "{ahead_s}: {found}, not {expected}"
            );
        }
    }
}
