//! When to look at the handlers folder.
//!
//! The operating system tells of changes; where it cannot, and for what it misses (mounts, symlink swaps), the
//! folder is looked at now and then anyway.
//! **Invariant:** a change is looked at only when the folder has been quiet for a moment, or at the latest after a
//! few seconds, so that half-copied files are rarely met.

use std::path::Path;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

/// How long the folder must be quiet.
const QUIET: Duration = Duration::from_millis(150);
/// How long a folder that is never quiet is waited for.
const QUIET_MAX: Duration = Duration::from_secs(3);
/// How often the folder is looked at although nobody told of a change.
const ANYWAY: Duration = Duration::from_secs(5);

/// Tells when the folder should be looked at.
#[derive(Debug)]
pub(crate) struct FolderWatch {
    changes: mpsc::Receiver<()>,
    /// Keeps the operating system telling.
    _watcher: Option<RecommendedWatcher>,
}

impl FolderWatch {
    /// Begins to watch `folder`, and that of the secrets.
    pub(crate) fn start(folder: &Path, secrets: Option<&Path>) -> Self {
        // One waiting change is as good as many.
        let (told, changes) = mpsc::channel(1);
        let tell = move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                let _ = told.try_send(());
            }
        };
        let watcher =
            notify::recommended_watcher(tell).and_then(|mut watcher: RecommendedWatcher| {
                watcher.watch(folder, RecursiveMode::Recursive)?;
                if let Some(secrets) = secrets {
                    // Perhaps it is not there yet; the clock has it looked at anyway.
                    let _ = watcher.watch(secrets, RecursiveMode::NonRecursive);
                }
                Ok(watcher)
            });
        let watcher = watcher
            .inspect_err(|error| {
                let every_s = ANYWAY.as_secs();
                tracing::warn!(folder = %folder.display(), %error, every_s, "the folder is looked at by the clock only");
            })
            .ok();
        Self {
            changes,
            _watcher: watcher,
        }
    }

    /// Waits until the folder should be looked at.
    pub(crate) async fn changed(&mut self) {
        let deadline = Instant::now() + ANYWAY;
        tokio::select! {
            () = sleep_until(deadline) => return,
            told = self.changes.recv() => if told.is_none() {
                return sleep_until(deadline).await;
            }
        }
        let latest = Instant::now() + QUIET_MAX;
        while Instant::now() < latest
            && matches!(timeout(QUIET, self.changes.recv()).await, Ok(Some(())))
        {}
    }
}
