//! Components that took too long to compile, so that they are not compiled again only to be refused again.
//!
//! **Invariant:** it holds few, and forgets them rather than grow.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::release::FileDigest;

/// Components that are remembered.
const KNOWN_MAX: usize = 1000;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Slow(Arc<Mutex<BTreeMap<FileDigest, Duration>>>);

impl Slow {
    /// Returns how long a component took, if it was too long once.
    pub(super) fn get(&self, digest: &FileDigest) -> Option<Duration> {
        self.0.lock().get(digest).copied()
    }

    /// Remembers that a component took too long.
    pub(super) fn note(&self, digest: FileDigest, took: Duration) {
        let mut known = self.0.lock();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(digest, took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_slow_is_known_and_few_are() {
        let slow = Slow::default();
        let of = FileDigest::of;
        assert_eq!(slow.get(&of(b"a")), None);
        slow.note(of(b"a"), Duration::from_secs(1));
        assert_eq!(slow.get(&of(b"a")), Some(Duration::from_secs(1)));
        assert_eq!(slow.get(&of(b"b")), None);
        for number in 0..=KNOWN_MAX {
            slow.note(of(&number.to_le_bytes()), Duration::ZERO);
        }
        assert!(slow.0.lock().len() <= KNOWN_MAX);
    }
}
