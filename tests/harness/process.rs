//! Child processes that cannot outlive the test process, and ports that stay free between two starts.
//!
//! It is handed a command and owns the child from then on.
//! **Invariant:** a signal goes only to a child that has not been waited for, so never to a stranger.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::wait_until;

/// A child that is killed when it is dropped, and also when this process is.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    watchdog: Child,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts the command. Should this process die first, `garbage` is removed with the child.
    pub(crate) fn start(command: &mut Command, garbage: Option<&Path>) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        // Death signals of the kernel belong to the starting thread, and a test's thread ends with its
        // test. A pipe closes with the process, and nobody else holds its other end.
        let script = "read -r _; kill -9 \"$1\"; test -z \"$2\" || { sleep 1; rm -rf \"$2\"; }";
        let watchdog = Command::new("sh")
            .args(["-c", script, "watchdog", &child.id().to_string()])
            .arg(garbage.unwrap_or(Path::new("")))
            .stdin(Stdio::piped())
            .spawn()
            .context("cannot start sh")?;
        Ok(Self {
            child,
            watchdog,
            status: None,
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The pipes of the child, when the command asked for them.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends a signal by name, such as TERM, unless the child has ended.
    pub(crate) fn signal(&mut self, signal: &str) -> Result<()> {
        if self.ended()?.is_some() {
            return Ok(());
        }
        // `kill` is a builtin of every shell, a program of its own is not everywhere.
        let status = Command::new("sh")
            .args(["-c", "kill -s \"$1\" \"$2\"", "sh", signal])
            .arg(self.id().to_string())
            .status()?;
        if !status.success() {
            bail!("cannot send SIG{signal} to {}", self.id());
        }
        Ok(())
    }

    /// The exit status, when the child has ended.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait()?;
            if self.status.is_some() {
                self.dismiss_watchdog();
            }
        }
        Ok(self.status)
    }

    /// Waits for the end of the child.
    pub(crate) fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let mut failure = None;
        let pid = self.id();
        wait_until(
            &format!("the end of process {pid}"),
            timeout,
            || match self.ended() {
                Ok(status) => status.is_some(),
                Err(error) => {
                    failure = Some(error);
                    true
                }
            },
        )?;
        match (failure, self.status) {
            (None, Some(status)) => Ok(status),
            (failure, _) => Err(failure.unwrap_or_else(|| anyhow::anyhow!("no status"))),
        }
    }

    /// SIGKILL, and waits until the child is gone.
    pub(crate) fn kill(&mut self) {
        if self.status.is_none() {
            // It cannot fail but for a child that has just ended, which the wait then collects.
            let _ = self.child.kill();
            self.status = self.child.wait().ok();
            self.dismiss_watchdog();
        }
    }

    fn dismiss_watchdog(&mut self) {
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Finds a port of 127.0.0.1 that nothing listens on.
///
/// It is below the range that the system gives to outgoing connections: a client that keeps trying a
/// stopped server could otherwise be given that very port, connect to itself and hold it.
pub(crate) fn free_port() -> Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 10_000;
    let count = outgoing_ports_begin().saturating_sub(FIRST).max(1_000);
    for _ in 0..1000 {
        // Test processes start far apart, the ports of one process are neighbours.
        let nth = std::process::id().wrapping_mul(97) + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(FIRST + nth % count)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port between {FIRST} and {}", FIRST + count)
}

/// The first port that the system gives to outgoing connections, Linux's own where it does not say.
fn outgoing_ports_begin() -> u32 {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        .unwrap_or(32_768)
}
