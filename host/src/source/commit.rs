//! How positions are committed where there are no transactions, and the last commit of a consumer that leaves.
//!
//! It is handed positions and a consumer.
//! **Invariant:** a position is given up only after its commit was refused for another reason than a rebalance, or by
//! order.

use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::rebalance::Position;

/// Where all work of a consumer ended, until that is committed; `None` while it goes on.
#[derive(Default)]
pub(super) struct LastCommit(Mutex<Option<Vec<Position>>>);

impl LastCommit {
    /// From now on nothing is begun any more.
    pub(super) fn begin(&self) {
        *self.0.lock() = Some(Vec::new());
    }

    pub(super) fn has_begun(&self) -> bool {
        self.0.lock().is_some()
    }

    /// Takes down where the work ended.
    pub(super) fn set(&self, positions: Vec<Position>) {
        *self.0.lock() = Some(positions);
    }

    /// Takes out the positions of those partitions, which are revoked before the commit.
    pub(super) fn take(&self, gone: &[(String, i32)]) -> Vec<Position> {
        let mut ended = self.0.lock();
        let Some(positions) = ended.as_mut() else {
            return Vec::new();
        };
        let is_gone = |position: &mut Position| {
            gone.iter().any(|(topic, partition)| {
                **topic == *position.topic && *partition == position.partition
            })
        };
        positions.extract_if(.., is_gone).collect()
    }

    /// Takes out all positions.
    pub(super) fn take_all(&self) -> Vec<Position> {
        self.0
            .lock()
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// Commits what is left. Returns what came of it, or `None` where a rebalance is in its way: the coordinator takes no
    /// commits between the two halves of one, and this is to be called again when it went on.
    pub(super) fn attempt<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
    ) -> Option<KafkaResult<()>> {
        let positions = self.0.lock().clone().unwrap_or_default();
        let result = commit(consumer, &positions);
        if is_of_rebalance(&result) {
            return None;
        }
        self.take_all();
        Some(result)
    }
}

/// Commits positions and waits for the answer.
pub(super) fn commit<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    positions: &[Position],
) -> KafkaResult<()> {
    let offsets = offsets(positions);
    if offsets.count() == 0 {
        return Ok(());
    }
    // When it gives a partition up librdkafka commits what was stored last, if it finds that newer than its own last
    // commit. It must not find an older map there than the one that is committed here. Refused once the partition is gone.
    let _ = consumer.store_offsets(&offsets);
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
