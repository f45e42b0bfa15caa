//! The host by itself: how soon it asks for records, and what it holds while there are none.
//!
//! **Invariant:** the cache of compiled components is warm, as it is at every start but a machine's first.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use harness::host::command;
use harness::kafka::unique;
use harness::{HandlersDir, Host, Kafka, guest};

use crate::inputs::PARTITIONS;
use crate::run::SUBSCRIBED;
use crate::subject::{Cache, manifest};
use crate::usage::memory_bytes;

/// The handlers: each has a group, so a consumer, of its own.
const GUESTS: [&str; 3] = ["pass", "json", "label"];
const STARTS: usize = 5;
/// After so long an idle host has done all that it does at its start.
const SETTLED: Duration = Duration::from_secs(5);

/// What the host needs before the first record.
#[derive(Debug)]
pub(crate) struct Started {
    /// From the start of the process until all handlers are subscribed, sorted.
    pub(crate) subscribed: Vec<Duration>,
    /// Resident memory of the idle host.
    pub(crate) idle_bytes: u64,
    /// What of it is not backed by a file.
    pub(crate) idle_own_bytes: u64,
    /// Handlers that were served.
    pub(crate) handlers: usize,
}

impl Started {
    /// Starts the host with three handlers and nothing to read; fills the cache on the way.
    pub(crate) fn measure(kafka: &Kafka, cache: &Cache) -> Result<Self> {
        let topic = unique("idle");
        kafka.create_topic(&topic, PARTITIONS, &[])?;
        let handlers = HandlersDir::new()?;
        for krate in GUESTS {
            let manifest = manifest(&topic, &unique(krate), "nothing", "");
            handlers.handler(krate, guest(krate), &manifest)?;
        }
        let start = || {
            Host::builder(kafka.bootstrap())
                .handlers(handlers.path())
                .args(["--cache".as_ref(), cache.path().as_os_str()])
                .start_ready()
        };
        start()?.stop()?;
        let host = start()?;
        thread::sleep(SETTLED);
        let idle_bytes = memory_bytes(host.pid(), "VmRSS")?;
        let idle_own_bytes = memory_bytes(host.pid(), "RssAnon")?;
        host.stop()?;
        let mut subscribed = Vec::new();
        for _ in 0..STARTS {
            subscribed.push(until_subscribed(kafka, &handlers, cache)?);
        }
        subscribed.sort_unstable();
        Ok(Self {
            subscribed,
            idle_bytes,
            idle_own_bytes,
            handlers: GUESTS.len(),
        })
    }

    /// The median of the starts.
    pub(crate) fn median(&self) -> Duration {
        self.subscribed
            .get(self.subscribed.len() / 2)
            .copied()
            .unwrap_or_default()
    }
}

/// Killed when it is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until_subscribed(kafka: &Kafka, handlers: &HandlersDir, cache: &Cache) -> Result<Duration> {
    let mut command = command("serve")?;
    command
        .args(["--brokers", kafka.bootstrap()])
        .arg("--handlers")
        .arg(handlers.path())
        .arg("--cache")
        .arg(cache.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let begun = Instant::now();
    let mut host = Killed(command.spawn()?);
    let Some(log) = host.0.stderr.take() else {
        bail!("stderr is piped");
    };
    let mut missing = GUESTS.len();
    for line in BufReader::new(log).lines() {
        if line?.contains(SUBSCRIBED) {
            missing -= 1;
        }
        if missing == 0 {
            return Ok(begun.elapsed());
        }
    }
    bail!("the host ended before it had subscribed {missing} handlers")
}
