//! Records of which Kafka refused an output within a transaction, remembered beyond its end.
//!
//! Told of refusals by the producer's thread; asked when the records are delivered again.
//! **Invariant:** a record that is named as refused had an output refused that was its own, not one of its batch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::ids::HandlerId;
use crate::route::Share;

/// What is known of a record that was delivered before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Suspicion {
    /// Its batch had an output refused; it is to be handed over alone.
    Batch,
    /// Outputs of its own were refused, once of each who takes it at most.
    Refused(Vec<Refusal>),
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
    /// Who emitted it, as far as is known.
    pub taker: Option<Taker>,
}

/// Who takes a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taker {
    /// The handler.
    pub handler: HandlerId,
    /// What of it; none where it has the record only once.
    pub share: Option<Share>,
}

impl Refusal {
    /// Returns whether this share of a handler emitted what was refused, as far as is known.
    pub fn is_of(&self, handler: &HandlerId, share: &Share) -> bool {
        self.taker.as_ref().is_none_or(|taker| {
            let is_share = taker.share.as_ref().is_none_or(|own| own == share);
            taker.handler == *handler && is_share
        })
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
        let mut by_offset = self.by_offset.lock();
        if let [only] = offsets {
            let known = by_offset.remove(only);
            by_offset.insert(*only, also_refused(known, refusal));
        } else {
            let batch = |offset: &i64| (*offset, Suspicion::Batch);
            by_offset.extend(offsets.iter().map(batch));
        }
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

/// Adds a refusal to what is known of a record. Of each who takes it the last one counts.
fn also_refused(known: Option<Suspicion>, refusal: &Refusal) -> Suspicion {
    let mut refusals = match known {
        Some(Suspicion::Refused(refusals)) => refusals,
        Some(Suspicion::Batch) | None => Vec::new(),
    };
    refusals.retain(|known| known.taker != refusal.taker);
    refusals.push(refusal.clone());
    Suspicion::Refused(refusals)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(reason: &str) -> Refusal {
        Refusal {
            reason: reason.to_owned(),
            is_letter: false,
            attempts: 1,
            taker: None,
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
        assert_eq!(
            suspects.look(4),
            Some(Suspicion::Refused(vec![refusal("large")]))
        );
        assert_eq!(suspects.look(5), None);
    }

    #[test]
    fn each_who_takes_a_record_is_guilty_by_itself() {
        let suspects = Suspects::new(Arc::default());
        let event = |pattern: &str| Share::Event(pattern.into());
        let of = |handler: &str, share: Share, reason: &str| Refusal {
            taker: Some(Taker {
                handler: handler.parse().unwrap(),
                share: Some(share),
            }),
            ..refusal(reason)
        };
        let all = [
            of("t/a", Share::Record, "x"),
            of("t/a", event("p"), "y"),
            of("t/a", Share::Pipeline("p".into()), "v"),
            of("t/b", Share::Record, "z"),
        ];
        for one in &all {
            suspects.note(&[3], one);
        }
        let Some(Suspicion::Refused(refusals)) = suspects.look(3) else {
            panic!("no suspect");
        };
        assert_eq!(refusals, all);
        suspects.note(&[3], &of("t/b", Share::Record, "again"));
        let Some(Suspicion::Refused(refusals)) = suspects.look(3) else {
            panic!("no suspect");
        };
        assert_eq!(refusals.len(), 4);
        let id = |text: &str| -> HandlerId { text.parse().unwrap() };
        let blamed = |handler: &str, share: Share| {
            let found = refusals.iter().find(|it| it.is_of(&id(handler), &share));
            found.map(|refusal| refusal.reason.as_str())
        };
        assert_eq!(blamed("t/a", event("p")), Some("y"));
        assert_eq!(blamed("t/a", Share::Pipeline("p".into())), Some("v"));
        assert_eq!(blamed("t/b", Share::Record), Some("again"));
        assert_eq!(blamed("t/a", event("q")), None);
        assert_eq!(blamed("t/c", Share::Record), None);
        // Of who has a record only once no share is asked.
        let whole = Refusal {
            taker: Some(Taker {
                handler: id("t/a"),
                share: None,
            }),
            ..refusal("x")
        };
        assert!(whole.is_of(&id("t/a"), &event("p")) && !whole.is_of(&id("t/b"), &Share::Record));
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
