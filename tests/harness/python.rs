//! Scripts of tests/python, run by the Python that `cargo xtask setup` made for them.
//!
//! It is handed a script with its arguments, and keeps every line that it prints.
//! **Invariant:** when `start` returns, the script has said that it is ready.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::host::Lines;
use crate::process::Process;
use crate::{root, wait_until};

/// An interpreter that imports its packages on a loaded machine takes seconds, and so does a group until it has members.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// The line by which a script says that it is ready.
const READY: &str = "ready";

/// A running script; dropping it kills it.
#[derive(Debug)]
pub struct Script {
    process: Process,
    printed: Lines,
    errors: Lines,
}

/// Whether there is a Python for the scripts.
pub fn is_set_up() -> bool {
    folder().join("complete").exists()
}

fn folder() -> PathBuf {
    root().join("target/tools/python")
}

impl Script {
    /// Starts a script of tests/python and waits until it is ready.
    pub fn start<'a>(name: &str, args: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        if !is_set_up() {
            bail!("no Python in target/tools/python: run `cargo xtask setup` first");
        }
        let mut command = Command::new(folder().join("bin/python"));
        command
            // Nothing is left beside the scripts.
            .arg("-B")
            .arg(root().join("tests/python").join(name))
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = Process::start(&mut command, None)?;
        let (printed, errors) = (Lines::default(), Lines::default());
        printed.collect(process.child().stdout.take().context("stdout is piped")?);
        errors.collect(process.child().stderr.take().context("stderr is piped")?);
        let script = Self {
            process,
            printed,
            errors,
        };
        let ready = wait_until(&format!("{name} ready"), START_TIMEOUT, || {
            script.printed.find(READY).is_some() || script.printed.are_complete()
        });
        if ready.is_err() || script.printed.find(READY).is_none() {
            bail!("{name} is not ready\n{}", script.tail());
        }
        Ok(script)
    }

    /// Waits until the script ends well; returns the lines that it printed since it was ready.
    pub fn lines(mut self, timeout: Duration) -> Result<Vec<String>> {
        let ended = self.process.wait(timeout);
        let status = ended.with_context(|| self.tail())?;
        if !status.success() {
            bail!("the script ended with {status}\n{}", self.tail());
        }
        wait_until("its last lines", START_TIMEOUT, || {
            self.printed.are_complete()
        })?;
        let lines = self.printed.all();
        Ok(lines.into_iter().filter(|line| line != READY).collect())
    }

    /// The last lines of its errors, for a failed test's message.
    pub fn tail(&self) -> String {
        let lines = self.errors.all();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}
