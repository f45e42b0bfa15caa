//! How positions are committed where there are no transactions, and the last commit of a consumer that leaves.
//!
//! It is handed positions and a consumer. While partitions are revoked a commit is waited for; the last one is not,
//! since the group may be waiting for others just then.
//! **Invariant:** a position is given up only after its commit was refused for another reason than a rebalance, or by
//! order.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::rebalance::Position;

/// Where all work of a consumer ended, until that is committed.
#[derive(Default)]
pub(super) struct LastCommit(Mutex<Option<Ended>>);

#[derive(Default)]
struct Ended {
    positions: Vec<Position>,
    commit: Commit,
}

/// How it stands with the commit.
#[derive(Default)]
enum Commit {
    #[default]
    Due,
    Asked(Points),
    Answered(KafkaResult<()>),
}

/// Offset and metadata of each partition in a commit, by which it is told from others.
type Points = BTreeMap<(String, i32), (Offset, String)>;

impl LastCommit {
    /// From now on nothing is begun any more.
    pub(super) fn begin(&self) {
        *self.0.lock() = Some(Ended::default());
    }

    pub(super) fn has_begun(&self) -> bool {
        self.0.lock().is_some()
    }

    /// Takes down where the work ended.
    pub(super) fn set(&self, positions: Vec<Position>) {
        *self.0.lock() = Some(Ended {
            positions,
            commit: Commit::Due,
        });
    }

    /// Takes out the positions of those partitions, which are revoked before the commit.
    pub(super) fn take(&self, gone: &[(String, i32)]) -> Vec<Position> {
        let mut ended = self.0.lock();
        let Some(ended) = ended.as_mut() else {
            return Vec::new();
        };
        let is_gone = |position: &mut Position| {
            gone.iter().any(|(topic, partition)| {
                **topic == *position.topic && *partition == position.partition
            })
        };
        ended.positions.extract_if(.., is_gone).collect()
    }

    /// Takes out all positions.
    pub(super) fn take_all(&self) -> Vec<Position> {
        let mut ended = self.0.lock();
        let positions = ended.as_mut().map(|ended| &mut ended.positions);
        positions.map(std::mem::take).unwrap_or_default()
    }

    /// Asks for the commit, unless it is asked for. Returns what came of it once that is known; where a rebalance is in
    /// its way, it is asked for again.
    ///
    /// It is not waited for here: behind a member's join, which the coordinator answers when the last member has come
    /// or is given up, it answers nothing else of that member.
    pub(super) fn attempt<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
    ) -> Option<KafkaResult<()>> {
        let mut ended = self.0.lock();
        let Ended { positions, commit } = ended.as_mut()?;
        match std::mem::take(commit) {
            Commit::Asked(points) => {
                *commit = Commit::Asked(points);
                return None;
            }
            Commit::Answered(result) if !is_of_rebalance(&result) => {
                positions.clear();
                return Some(result);
            }
            Commit::Due | Commit::Answered(_) => {}
        }
        let offsets = keep(consumer, positions);
        if offsets.count() == 0 {
            return Some(Ok(()));
        }
        match consumer.commit(&offsets, CommitMode::Async) {
            Ok(()) => {
                *commit = Commit::Asked(points(&offsets));
                None
            }
            Err(error) => Some(Err(error)),
        }
    }

    /// Hears what came of a commit. Returns that where it was another one.
    pub(super) fn hear(
        &self,
        result: KafkaResult<()>,
        offsets: &TopicPartitionList,
    ) -> Option<KafkaResult<()>> {
        match self.0.lock().as_mut() {
            Some(Ended { commit, .. }) if commit.is_of(offsets) => {
                *commit = Commit::Answered(result);
                None
            }
            _ => Some(result),
        }
    }
}

impl Commit {
    fn is_of(&self, offsets: &TopicPartitionList) -> bool {
        matches!(self, Self::Asked(asked) if *asked == points(offsets))
    }
}

/// Commits positions and waits for the answer.
pub(super) fn commit<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    positions: &[Position],
) -> KafkaResult<()> {
    let offsets = keep(consumer, positions);
    if offsets.count() == 0 {
        return Ok(());
    }
    match consumer.commit(&offsets, CommitMode::Sync) {
        // Everything was committed already.
        Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => Ok(()),
        result => result,
    }
}

/// Writes positions as librdkafka takes them.
pub(super) fn offsets(positions: &[Position]) -> TopicPartitionList {
    let mut offsets = TopicPartitionList::with_capacity(positions.len());
    for position in positions {
        let mut element = offsets.add_partition(&position.topic, position.partition);
        // Fails only for offsets that are no offsets; positions are offsets plus one.
        let _ = element.set_offset(Offset::Offset(position.point.offset));
        if !position.point.metadata.is_empty() {
            element.set_metadata(&position.point.metadata);
        }
    }
    offsets
}

/// Writes positions as librdkafka takes them, and has it keep them as what is to be committed.
fn keep<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    positions: &[Position],
) -> TopicPartitionList {
    let offsets = offsets(positions);
    // When it gives a partition up librdkafka commits what was stored last, if it finds that newer than its own last
    // commit. It must not find an older map there than the one that is committed now. Refused once the partition is gone.
    if offsets.count() > 0 {
        let _ = consumer.store_offsets(&offsets);
    }
    offsets
}

fn points(offsets: &TopicPartitionList) -> Points {
    // An empty list must not be asked for its elements.
    if offsets.count() == 0 {
        return Points::new();
    }
    let point = |element: &TopicPartitionListElem<'_>| {
        let name = (element.topic().to_owned(), element.partition());
        (name, (element.offset(), element.metadata().to_owned()))
    };
    offsets.elements().iter().map(point).collect()
}

/// Returns whether a rebalance was in the way of a commit, which may be tried again when that has ended.
fn is_of_rebalance(result: &KafkaResult<()>) -> bool {
    matches!(
        result,
        Err(KafkaError::ConsumerCommit(
            RDKafkaErrorCode::RebalanceInProgress
                | RDKafkaErrorCode::IllegalGeneration
                | RDKafkaErrorCode::UnknownMemberId
        ))
    )
}

#[cfg(test)]
mod tests;
