//! A call that librdkafka never answers, and what comes after it.

use rdkafka::ClientConfig;
use rdkafka::consumer::BaseConsumer;
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{Offset, TopicPartitionList};

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_call_that_does_not_come_back_is_left_behind_with_its_producer() {
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

    // An answer after which librdkafka looks for the coordinator no more, but waits for it.
    kafka.request_errors(
        RDKafkaApiKey::FindCoordinator,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION],
    );
    let lost = transactions.gate.close(PATIENCE).unwrap();
    let result = transactions.commit(&consumer, &offsets);
    assert!(matches!(&result, Err(Error::Rebuild(_))), "{result:?}");
    transactions.discard();
    assert!(transactions.gate.door().try_enter().is_none());

    until(deadline, || transactions.abort()).unwrap();
    let next = transactions.gate.close(PATIENCE).unwrap();
    assert!(
        !Arc::ptr_eq(&lost, &next),
        "the same producer is used again"
    );
    transactions.commit(&consumer, &offsets).unwrap();
    assert_eq!(transactions.counts(), [1, 1]);
}
