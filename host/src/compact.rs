//! Which records of a batch are left where only the last value of each key counts.
//!
//! Handed the keys in the order of the records; pure.
//! **Invariant:** of each key exactly one record is left, the last; those without a key are all left.

use std::collections::HashSet;

/// Says of each record whether no later one has its key.
pub fn is_last_of_its_key<'a>(
    keys: impl DoubleEndedIterator<Item = Option<&'a [u8]>>,
) -> Vec<bool> {
    let mut seen = HashSet::new();
    let mut is_last: Vec<bool> = keys
        .rev()
        .map(|key| key.is_none_or(|key| seen.insert(key)))
        .collect();
    is_last.reverse();
    is_last
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a look at all that come later.
        #[test]
        fn the_last_of_each_key_is_left(keys in proptest::collection::vec(proptest::option::of("[a-c]?"), 0..20)) {
            let bytes = || keys.iter().map(|key| key.as_deref().map(str::as_bytes));
            let naive: Vec<bool> = keys
                .iter()
                .enumerate()
                .map(|(at, key)| key.is_none() || !keys[at + 1..].contains(key))
                .collect();
            prop_assert_eq!(is_last_of_its_key(bytes()), naive);
        }
    }
}
