//! Records of which Kafka refused an output within a transaction, remembered beyond its end.
//!
//! Told of refusals by the producer's thread; asked when the records are delivered again.
//! **Invariant:** a record that is named as refused had an output refused that was its own, not one of its batch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::ids::HandlerId;

/// What is known of a record that was delivered before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Suspicion {
    /// Its batch had an output refused; it is to be handed over alone.
    Batch,
    /// An output of its own was refused, for this reason.
    Refused(Refusal),
}

/// An output that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What Kafka said.
    pub reason: String,
    /// Whether the record had been given up already.
    pub is_letter: bool,
    /// Attempts that the record had had.
    pub attempts: u32,
    /// The handler that emitted it, where several take the record.
    pub handler: Option<HandlerId>,
}

impl Refusal {
    /// Returns whether a handler emitted what was refused, as far as is known.
    pub fn is_of(&self, handler: &HandlerId) -> bool {
        self.handler.as_ref().is_none_or(|it| it == handler)
    }
}

/// The suspects of one partition, by offset.
#[derive(Debug)]
pub struct Suspects {
    /// Looked at for each record, so apart from the lock.
    is_any: AtomicBool,
    by_offset: Mutex<BTreeMap<i64, Suspicion>>,
    /// Set when the transaction must not be committed.
    tear: Arc<AtomicBool>,
}

impl Suspects {
    /// Makes an empty list; `tear` is set by each refusal.
    pub fn new(tear: Arc<AtomicBool>) -> Self {
        Self {
            is_any: AtomicBool::new(false),
            by_offset: Mutex::default(),
            tear,
        }
    }

    /// Takes note that one of the outputs of these records was refused.
    pub fn note(&self, offsets: &[i64], refusal: &Refusal) {
        let suspicion = match offsets {
            [_] => Suspicion::Refused(refusal.clone()),
            _ => Suspicion::Batch,
        };
        let mut by_offset = self.by_offset.lock();
        by_offset.extend(offsets.iter().map(|offset| (*offset, suspicion.clone())));
        self.is_any.store(!by_offset.is_empty(), Ordering::Release);
        drop(by_offset);
        self.tear();
    }

    /// Takes note that something was sent that must not stay.
    pub fn tear(&self) {
        self.tear.store(true, Ordering::Release);
    }

    /// Returns what is known of the record at `offset`.
    pub fn look(&self, offset: i64) -> Option<Suspicion> {
        if !self.is_any.load(Ordering::Acquire) {
            return None;
        }
        self.by_offset.lock().get(&offset).cloned()
    }

    /// Forgets the records below the committed position.
    pub fn forget_below(&self, position: i64) {
        if !self.is_any.load(Ordering::Acquire) {
            return;
        }
        let mut by_offset = self.by_offset.lock();
        *by_offset = by_offset.split_off(&position);
        self.is_any.store(!by_offset.is_empty(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(reason: &str) -> Refusal {
        Refusal {
            reason: reason.to_owned(),
            is_letter: false,
            attempts: 1,
            handler: None,
        }
    }

    #[test]
    fn only_who_was_alone_is_guilty() {
        let tear = Arc::new(AtomicBool::new(false));
        let suspects = Suspects::new(Arc::clone(&tear));
        assert_eq!(suspects.look(3), None);
        suspects.note(&[3, 4], &refusal("large"));
        assert!(tear.load(Ordering::Acquire));
        assert_eq!(suspects.look(3), Some(Suspicion::Batch));
        suspects.note(&[4], &refusal("large"));
        assert_eq!(suspects.look(4), Some(Suspicion::Refused(refusal("large"))));
        assert_eq!(suspects.look(5), None);
    }

    #[test]
    fn what_is_committed_is_forgotten() {
        let suspects = Suspects::new(Arc::default());
        suspects.note(&[3, 4, 9], &refusal("large"));
        suspects.forget_below(9);
        assert_eq!(
            (suspects.look(4), suspects.look(9)),
            (None, Some(Suspicion::Batch))
        );
        suspects.forget_below(10);
        assert!(!suspects.is_any.load(Ordering::Acquire));
    }
}
