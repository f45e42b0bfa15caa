//! What the tests are written with: a real Kafka, plain clients, the host's binary, handlers folders.
//!
//! Everything is blocking, so that a test reads from top to bottom; an async test calls it from a thread.
//! Every process is started on 127.0.0.1, on ports that were free, in a folder of its own.
//! **Invariant:** whatever a test starts dies with the test process, however that ends.
#![allow(
    clippy::disallowed_types,
    reason = "tests run in real time, and a poisoned lock is a failed test anyway"
)]

pub mod clients;
pub mod clock;
pub mod cluster;
pub mod dice;
pub mod handlers;
pub mod host;
pub mod http;
pub mod kafka;
mod process;
pub mod proxy;
pub mod python;
mod record;
pub mod redis;
pub mod sign;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

pub use clock::WallClock;
pub use cluster::Cluster;
pub use handlers::{HandlersDir, guest, remarked};
pub use host::Host;
pub use kafka::Kafka;
pub use proxy::Proxy;
pub use record::TestRecord;
pub use redis::Redis;

/// Polls `condition` every 20 ms until it holds; the error names `what` was waited for.
pub fn wait_until(
    what: &str,
    timeout: Duration,
    mut condition: impl FnMut() -> bool,
) -> Result<()> {
    let deadline = Instant::now() + timeout;
    while !condition() {
        if Instant::now() >= deadline {
            bail!("{:.1} s passed without: {what}", timeout.as_secs_f64());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The folder of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are in a folder of the workspace")
        .to_path_buf()
}
