//! A call that librdkafka never answers, and what comes after it.

use rdkafka::ClientConfig;
use rdkafka::consumer::BaseConsumer;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{Offset, TopicPartitionList};

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// A member of a group that reads the topic `in` of a broker of its own.
struct Member {
    kafka: MockCluster<'static, DefaultProducerContext>,
    consumer: BaseConsumer,
    transactions: Transactions,
    offsets: TopicPartitionList,
}

impl Member {
    /// Joins the group and begins.
    fn join() -> Self {
        let kafka = MockCluster::new(1).unwrap();
        kafka.create_topic("in", 1, 1).unwrap();
        let brokers = kafka.bootstrap_servers();
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &brokers)
            .set("group.id", "once")
            .create()
            .unwrap();
        consumer.subscribe(&["in"]).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while consumer.assignment().unwrap().count() == 0 && Instant::now() < deadline {
            let _ = consumer.poll(Duration::from_millis(100));
        }
        let settings = BTreeMap::from([("bootstrap.servers".to_owned(), brokers)]);
        let transactions = Transactions::new(settings, "once", None, Duration::from_millis(100));
        until(deadline, || transactions.start()).unwrap();
        let mut offsets = TopicPartitionList::new();
        offsets
            .add_partition_offset("in", 0, Offset::Offset(0))
            .unwrap();
        Self {
            kafka,
            consumer,
            transactions,
            offsets,
        }
    }

    fn commit(&self) -> Result<(), Error> {
        self.transactions.commit(&self.consumer, &self.offsets)
    }
}

#[test]
fn a_call_that_does_not_come_back_is_left_behind_with_its_producer() {
    let member = Member::join();
    let transactions = &member.transactions;
    // An answer after which librdkafka looks for the coordinator no more, but waits for it.
    member.kafka.request_errors(
        RDKafkaApiKey::FindCoordinator,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION],
    );
    let lost = transactions.gate.close(PATIENCE).unwrap();
    let result = member.commit();
    assert!(matches!(&result, Err(Error::Rebuild(_))), "{result:?}");
    transactions.discard();
    assert!(transactions.gate.door().try_enter().is_none());

    until(Instant::now() + PATIENCE, || transactions.abort()).unwrap();
    let next = transactions.gate.close(PATIENCE).unwrap();
    assert!(
        !Arc::ptr_eq(&lost, &next),
        "the same producer is used again"
    );
    member.commit().unwrap();
    assert_eq!(transactions.counts(), [1, 1]);
}

#[test]
fn a_producer_that_takes_long_to_begin_is_waited_for() {
    let member = Member::join();
    let transactions = &member.transactions;
    transactions.gate.close(PATIENCE).unwrap();
    transactions.discard();
    // No producer is ready within one step.
    let slow = STEP_MAX.mul_f64(0.8);
    member.kafka.broker_round_trip_time(1, slow).unwrap();
    let mut waits = 0;
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = transactions.abort() {
        assert!(matches!(error, Error::Again(_)), "{error:?}");
        assert!(Instant::now() < deadline, "{error:?}");
        waits += 1;
    }
    assert!(waits > 0, "it was ready at once");
    assert_eq!(
        transactions.counts(),
        [0, 1],
        "others were made and given up"
    );
    member
        .kafka
        .broker_round_trip_time(1, Duration::ZERO)
        .unwrap();
    transactions.gate.close(PATIENCE).unwrap();
    member.commit().unwrap();
}

#[test]
fn nothing_is_committed_by_a_broker_that_no_longer_fences_former_members() {
    let member = Member::join();
    let transactions = &member.transactions;
    transactions.gate.close(PATIENCE).unwrap();
    member.commit().unwrap();
    // It comes back as an older one.
    member.kafka.broker_down(1).unwrap();
    member
        .kafka
        .apiversion(RDKafkaApiKey::TxnOffsetCommit, Some(0), Some(2))
        .unwrap();
    member.kafka.broker_up(1).unwrap();
    transactions.gate.close(PATIENCE).unwrap();
    let result = member.commit();
    assert!(matches!(&result, Err(Error::Unsupported(_))), "{result:?}");
    assert_eq!(transactions.counts(), [1, 0]);
}
