//! Batches: what `on_bulk` takes and what it may return.
//!
//! It is handed the records of one batch and owns their conversion one by one, and the way back
//! from the places in the user's list to the places in the host's.
//!
//! **Invariant:** a record whose payload does not parse costs itself, never its batch.

use crate::bindings::imports::kafka::handler::types;
use crate::{Error, Message, Result};

/// The records of one batch: of one partition, in offset order.
pub type Batch = Vec<Message>;

/// One record of a batch that failed, while others did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkFailure {
    /// The record's place in the list that the hook was given; the first is 0.
    pub index: usize,
    /// Why.
    pub error: Error,
}

impl BulkFailure {
    /// A failure of the record at `index` of the hook's list.
    pub fn new(index: usize, error: impl Into<Error>) -> Self {
        Self {
            index,
            error: error.into(),
        }
    }
}

/// What `on_bulk` may return: nothing but success, or the records that failed.
pub trait IntoBulkResult {
    /// The records that failed, or the error of the whole batch.
    fn into_bulk_result(self) -> Result<Vec<BulkFailure>>;
}

impl<E: Into<Error>> IntoBulkResult for std::result::Result<(), E> {
    fn into_bulk_result(self) -> Result<Vec<BulkFailure>> {
        self.map(|()| Vec::new()).map_err(Into::into)
    }
}

impl<E: Into<Error>> IntoBulkResult for std::result::Result<Vec<BulkFailure>, E> {
    fn into_bulk_result(self) -> Result<Vec<BulkFailure>> {
        self.map_err(Into::into)
    }
}

/// Calls the hook with the records that could be converted and adds the others to its failures.
pub(crate) fn call<T, R>(
    hook: impl FnOnce(Vec<T>) -> R,
    records: impl ExactSizeIterator<Item = Result<T>>,
) -> Result<Vec<BulkFailure>>
where
    R: IntoBulkResult,
{
    let mut failures = Vec::new();
    let mut items = Vec::with_capacity(records.len());
    for (index, record) in records.enumerate() {
        match record {
            Ok(item) => items.push(item),
            Err(error) => failures.push(BulkFailure { index, error }),
        }
    }
    if failures.is_empty() {
        return hook(items).into_bulk_result();
    }
    let skipped: Vec<usize> = failures.iter().map(|failure| failure.index).collect();
    if !items.is_empty() {
        let theirs = hook(items).into_bulk_result()?;
        failures.extend(theirs.into_iter().map(|failure| BulkFailure {
            index: host_index(&skipped, failure.index),
            error: failure.error,
        }));
    }
    Ok(failures)
}

/// The place in the host's list of the record at `index` of the hook's, which lacks `skipped`.
fn host_index(skipped: &[usize], index: usize) -> usize {
    skipped.iter().fold(
        index,
        |place, &gap| if gap <= place { place + 1 } else { place },
    )
}

/// The failures as the host wants them. A place beyond `u32` cannot come from the host's list.
pub(crate) fn to_wire(failures: Vec<BulkFailure>) -> Vec<types::BulkFailure> {
    failures
        .into_iter()
        .map(|failure| types::BulkFailure {
            index: u32::try_from(failure.index).unwrap_or(u32::MAX),
            error: failure.error.into(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FromMessage, Json, reject, testing};

    fn batch(values: &[&str]) -> Batch {
        values
            .iter()
            .map(|value| testing::message("t").text(value).build())
            .collect()
    }

    fn call<T: FromMessage, R: IntoBulkResult>(
        hook: impl FnOnce(Vec<T>) -> R,
        messages: Batch,
    ) -> Result<Vec<BulkFailure>> {
        let records = messages.into_iter();
        super::call(
            hook,
            records.map(|mut message| T::from_message(&mut message)),
        )
    }

    #[test]
    fn records_that_do_not_parse_fail_alone_and_places_are_those_of_the_host() {
        let hook = |numbers: Vec<Json<u32>>| -> Result<Vec<BulkFailure>> {
            assert_eq!(numbers.iter().map(|n| n.0).collect::<Vec<_>>(), [1, 3, 5]);
            Ok(vec![
                BulkFailure::new(0, reject("one")),
                BulkFailure::new(2, reject("five")),
            ])
        };
        let failures = call(hook, batch(&["x", "1", "y", "3", "5"])).unwrap();
        let places: Vec<usize> = failures.iter().map(|failure| failure.index).collect();
        assert_eq!(places, [0, 2, 1, 4]);
    }

    #[test]
    fn a_batch_of_bad_records_only_does_not_reach_the_hook() {
        let hook = |_: Vec<Json<u32>>| -> Result { panic!("called") };
        assert_eq!(call(hook, batch(&["x", "y"])).unwrap().len(), 2);
    }

    #[test]
    fn a_list_of_results_keeps_every_place() {
        let hook = |numbers: Vec<Result<Json<u32>>>| -> Result {
            assert_eq!(numbers.len(), 2);
            assert!(numbers[0].is_err());
            Ok(())
        };
        assert_eq!(call(hook, batch(&["x", "1"])), Ok(Vec::new()));
    }

    #[test]
    fn whole_messages_pass_as_they_are() {
        let messages = batch(&["a", "b"]);
        let same = messages.clone();
        let hook = |batch: Batch| -> Result {
            assert_eq!(batch, same);
            Ok(())
        };
        assert_eq!(call(hook, messages), Ok(Vec::new()));
    }
}
