//! Adds up counters of things that come and go.
//!
//! **Invariant:** a sum never falls. What something counted between the last look and its end is not seen.

use std::sync::{Arc, Weak};

/// Two counters each of any number of `T`, added up.
#[derive(Debug)]
pub(super) struct Tally<T> {
    /// Of those that have ended.
    ended: [u64; 2],
    seen: Vec<(Weak<T>, [u64; 2])>,
}

impl<T> Default for Tally<T> {
    fn default() -> Self {
        Self {
            ended: [0; 2],
            seen: Vec::new(),
        }
    }
}

impl<T> Tally<T> {
    /// Takes the counters of those that are open; returns the sums over these and all that ended.
    pub(super) fn update(&mut self, open: &[(Arc<T>, [u64; 2])]) -> [u64; 2] {
        // A weak pointer keeps the address taken, so an address stands for one thing only.
        for (thing, counts) in open {
            let known = self
                .seen
                .iter_mut()
                .find(|(seen, _)| std::ptr::eq(seen.as_ptr(), Arc::as_ptr(thing)));
            match known {
                Some((_, last)) => *last = *counts,
                None => self.seen.push((Arc::downgrade(thing), *counts)),
            }
        }
        let ended = &mut self.ended;
        self.seen.retain(|(thing, counts)| {
            let lives = thing.strong_count() > 0;
            if !lives {
                *ended = sum(*ended, *counts);
            }
            lives
        });
        let seen = self.seen.iter().map(|(_, counts)| *counts);
        seen.fold(self.ended, sum)
    }
}

fn sum(a: [u64; 2], b: [u64; 2]) -> [u64; 2] {
    let ([a0, a1], [b0, b1]) = (a, b);
    [a0 + b0, a1 + b1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_stays_counted() {
        let mut tally = Tally::default();
        let (a, b) = (Arc::new(()), Arc::new(()));
        assert_eq!(
            tally.update(&[(Arc::clone(&a), [5, 1]), (Arc::clone(&b), [2, 0])]),
            [7, 1]
        );
        drop(a);
        assert_eq!(tally.update(&[(Arc::clone(&b), [3, 0])]), [8, 1]);
        drop(b);
        assert_eq!(tally.update(&[]), [8, 1]);
        assert!(tally.seen.is_empty());
        assert_eq!(tally.update(&[(Arc::new(()), [1, 1])]), [9, 2]);
    }
}
