//! The signal by which a partition's task is told to stop.

use tokio::sync::watch;

/// Tells a partition's task to stop.
#[derive(Debug, Clone)]
pub(crate) struct StopSignal(watch::Receiver<bool>);

impl StopSignal {
    /// Makes a signal, and what sets it off by being sent anything or dropped.
    pub(crate) fn new() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// Returns whether the signal was set off.
    pub(crate) fn is_set(&self) -> bool {
        self.0.has_changed().unwrap_or(true)
    }

    /// Waits until the signal is set off.
    pub(crate) async fn set(&self) {
        // The clone keeps this receiver's view, which never sees the change, so the signal stays set.
        let mut receiver = self.0.clone();
        let _ = receiver.changed().await;
    }
}

/// Whether somebody has asked the host to finish what it has in hand and to leave its groups.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Draining {
    /// Nobody has.
    #[default]
    No,
    /// It is at it, or about to be.
    Asked,
    /// It has; what was left open, a line each.
    Done(Vec<String>),
}
