//! A batch on its way to the settlement of all of its records: the parts in which it is handed over.
//!
//! Handed records; gives them out part by part, and is told which part is to be tried again, as it is or in halves. Knows
//! neither guests nor what a record is; `A` is what is known of the attempt of a part that failed last.
//! **Invariant:** a record is in one part at most, and the parts are given out in the order of their records.

use smallvec::SmallVec;

/// Records that are handed over together, with what earlier attempts left.
#[derive(Debug)]
pub struct Part<T, A> {
    /// The records, in their order.
    pub records: SmallVec<[T; 1]>,
    /// The attempt that failed last.
    pub failed: Option<A>,
}

/// What of a batch is not settled.
#[derive(Debug)]
pub struct Parts<T, A> {
    /// The last one is the next.
    left: Vec<Part<T, A>>,
}

impl<T, A: Copy> Parts<T, A> {
    /// Makes one part of all records.
    pub fn new(records: SmallVec<[T; 1]>, failed: Option<A>) -> Self {
        Self {
            left: vec![Part { records, failed }],
        }
    }

    /// Returns how many records are left.
    pub fn count(&self) -> usize {
        self.left.iter().map(|part| part.records.len()).sum()
    }

    /// Returns whether this holds for every record that is left.
    pub fn all(&self, holds: impl Fn(&T) -> bool) -> bool {
        self.left.iter().flat_map(|part| &part.records).all(holds)
    }

    /// Returns the first record that is left.
    pub fn first(&self) -> Option<&T> {
        self.left.last()?.records.first()
    }

    /// Gives out the next part: the records before the first suspect, or the suspect if it is the first.
    pub fn next(&mut self, is_suspect: impl Fn(&T) -> bool) -> Option<Part<T, A>> {
        let mut part = self.left.pop()?;
        if let Some(first) = part.records.iter().position(is_suspect) {
            let rest: SmallVec<[T; 1]> = part.records.drain(first.max(1)..).collect();
            if !rest.is_empty() {
                let (records, failed) = (rest, part.failed);
                self.left.push(Part { records, failed });
            }
        }
        Some(part)
    }

    /// Takes back records that are to be handed over again, before all others.
    pub fn again(&mut self, part: Part<T, A>) {
        self.left.push(part);
    }

    /// Takes back a part of which one record makes the others fail: its halves come next.
    pub fn halve(
        &mut self,
        Part {
            mut records,
            failed,
        }: Part<T, A>,
    ) {
        let second = records.drain(records.len() / 2..).collect();
        for records in [second, records] {
            self.left.push(Part { records, failed });
        }
    }

    /// Takes everything apart into its records, in their order, each with the attempt of its part that failed last.
    pub fn into_records(self) -> impl Iterator<Item = (T, Option<A>)> {
        let left = self.left.into_iter().rev();
        left.flat_map(|Part { records, failed }| {
            records.into_iter().map(move |record| (record, failed))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// The rounded-up logarithm: how often a batch can be halved.
    fn halvings(records: usize) -> usize {
        records.next_power_of_two().ilog2() as usize
    }

    proptest! {
        #[test]
        fn halving_finds_every_poison_record_in_few_calls(
            records in 1usize..200, poison in proptest::collection::btree_set(0usize..200, 0..6),
        ) {
            let poison: BTreeSet<usize> = poison.into_iter().filter(|it| *it < records).collect();
            let mut parts = Parts::new((0..records).collect(), None::<u32>);
            let (mut calls, mut order, mut given_up) = (0, Vec::new(), BTreeSet::new());
            while let Some(part) = parts.next(|_| false) {
                calls += 1;
                let is_bad = part.records.iter().any(|it| poison.contains(it));
                if is_bad && part.records.len() > 1 {
                    parts.halve(part);
                    continue;
                }
                order.extend(part.records.iter().copied());
                given_up.extend(part.records.into_iter().filter(|_| is_bad));
            }
            prop_assert_eq!(order, (0..records).collect::<Vec<_>>());
            prop_assert!(calls <= 1 + 2 * poison.len() * halvings(records), "{} calls", calls);
            prop_assert_eq!(given_up, poison);
        }

        #[test]
        fn a_suspect_is_given_out_alone_and_nothing_changes_its_place(
            records in 1usize..40, suspects in proptest::collection::btree_set(0usize..40, 0..6),
        ) {
            let mut parts = Parts::new((0..records).collect(), Some(3));
            let mut order = Vec::new();
            while let Some(part) = parts.next(|it| suspects.contains(it)) {
                let has_suspect = part.records.iter().any(|it| suspects.contains(it));
                prop_assert!(!has_suspect || part.records.len() == 1, "{:?}", part);
                prop_assert_eq!(part.failed, Some(3));
                order.extend(part.records);
            }
            prop_assert_eq!(order, (0..records).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_left_is_in_its_order_with_its_attempts() {
        let mut parts = Parts::new((0..4).collect(), None);
        let part = parts.next(|_| false).unwrap();
        let records = part.records;
        let failed = Some(1);
        parts.halve(Part { records, failed });
        let Part { records, .. } = parts.next(|_| false).unwrap();
        assert_eq!(records.as_slice(), [0, 1]);
        let failed = Some(2);
        parts.again(Part { records, failed });
        assert_eq!(parts.first(), Some(&0));
        let left: Vec<_> = parts.into_records().collect();
        assert_eq!(
            left,
            [(0, Some(2)), (1, Some(2)), (2, Some(1)), (3, Some(1))]
        );
    }
}
