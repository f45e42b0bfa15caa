//! How a last commit comes to its end, on a consumer that is connected to nothing.

use std::sync::Arc;

use rdkafka::ClientConfig;

use super::*;
use crate::offset_map::CommitPoint;

const REBALANCE: KafkaError = KafkaError::ConsumerCommit(RDKafkaErrorCode::RebalanceInProgress);
const REFUSAL: KafkaError = KafkaError::ConsumerCommit(RDKafkaErrorCode::GroupAuthorizationFailed);

fn position(partition: i32, offset: i64, metadata: &str) -> Position {
    Position {
        topic: Arc::from("in"),
        partition,
        point: CommitPoint {
            offset,
            metadata: metadata.to_owned(),
        },
    }
}

fn consumer() -> BaseConsumer {
    let mut config = ClientConfig::new();
    config.set("group.id", "last").create().unwrap()
}

#[test]
fn a_last_commit_is_asked_for_again_until_no_rebalance_is_in_its_way() {
    let (consumer, last) = (consumer(), LastCommit::default());
    assert!(!last.has_begun());
    last.begin();
    last.set(vec![position(0, 7, "map"), position(1, 3, "")]);
    assert!(last.has_begun());
    let asked = offsets(&[position(0, 7, "map"), position(1, 3, "")]);
    for _ in 0..3 {
        assert!(last.attempt(&consumer).is_none());
        assert!(last.attempt(&consumer).is_none(), "it is asked for once");
        assert!(last.hear(Err(REBALANCE), &asked).is_none());
    }
    assert!(last.attempt(&consumer).is_none());
    assert!(last.hear(Err(REFUSAL), &asked).is_none());
    assert_eq!(last.attempt(&consumer), Some(Err(REFUSAL)));
    assert!(last.take_all().is_empty(), "it is over");
}

#[test]
fn the_answer_to_another_commit_says_nothing_of_the_last() {
    let (consumer, last) = (consumer(), LastCommit::default());
    let ours = [position(0, 7, "newer")];
    let others = [
        vec![position(0, 6, "newer")],
        vec![position(0, 7, "older")],
        vec![position(1, 7, "newer")],
        vec![position(0, 7, "newer"), position(1, 0, "")],
        Vec::new(),
    ];
    assert!(
        last.hear(Ok(()), &offsets(&ours)).is_some(),
        "not asked for"
    );
    last.set(ours.to_vec());
    assert!(last.attempt(&consumer).is_none());
    for other in others {
        assert!(last.hear(Ok(()), &offsets(&other)).is_some(), "{other:?}");
        assert!(last.attempt(&consumer).is_none());
    }
    assert!(last.hear(Ok(()), &offsets(&ours)).is_none());
    assert_eq!(last.attempt(&consumer), Some(Ok(())));
}

#[test]
fn what_is_revoked_before_the_last_commit_is_no_part_of_it() {
    let (consumer, last) = (consumer(), LastCommit::default());
    let gone = position(0, 7, "");
    last.set(vec![gone.clone()]);
    assert_eq!(last.take(&[("in".to_owned(), 0)]), [gone]);
    assert_eq!(last.attempt(&consumer), Some(Ok(())));
}
