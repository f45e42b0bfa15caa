//! Where the host spends its time, as perf samples it.
//!
//! **Invariant:** a recording covers one run and lies in target/bench, for a closer look with perf's own tools.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use harness::root;

use crate::variant::Variant;

/// Samples a second of each thread; a prime, so that it does not beat with timers.
const SAMPLES_PER_S: &str = "499";
/// Symbols to print.
const TOP: usize = 40;

/// A running perf.
#[derive(Debug)]
pub(crate) struct Recording {
    perf: Child,
    file: PathBuf,
}

impl Recording {
    /// Attaches perf to a process.
    pub(crate) fn start(variant: Variant, size: usize, pid: u32) -> Result<Self> {
        let folder = root().join("target/bench");
        fs::create_dir_all(&folder)?;
        let file = folder.join(format!("{}-{size}.perf", variant.argument()));
        let perf = Command::new("perf")
            .args(["record", "-q", "-F", SAMPLES_PER_S])
            // The release profile keeps no frame pointers.
            .args(["--call-graph", "dwarf,4096", "-p"])
            .arg(pid.to_string())
            .arg("-o")
            .arg(&file)
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start perf: it has to be installed for --profile")?;
        Ok(Self { perf, file })
    }

    /// Ends the recording and prints the symbols with the largest cost of their own.
    pub(crate) fn print(mut self) -> Result<()> {
        let id = self.perf.id().to_string();
        Command::new("sh")
            .args(["-c", "kill -s INT \"$1\"", "sh", &id])
            .status()?;
        self.perf.wait()?;
        let report = Command::new("perf")
            .args([
                "report",
                "--stdio",
                "--no-inline",
                "--no-children",
                "-g",
                "none",
            ])
            .args(["--sort", "dso,symbol", "--percent-limit", "0.3", "-i"])
            .arg(&self.file)
            .output()?;
        if !report.status.success() {
            bail!("{}", String::from_utf8_lossy(&report.stderr));
        }
        let text = String::from_utf8_lossy(&report.stdout);
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        eprintln!("{}", self.file.display());
        for line in lines.take(TOP) {
            eprintln!("{line}");
        }
        Ok(())
    }
}
