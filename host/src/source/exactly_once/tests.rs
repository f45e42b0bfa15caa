//! A broker that cannot do transactions, and one that can later.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::Duration;

use rdkafka::mocking::MockCluster;
use rdkafka::types::RDKafkaApiKey;

use super::*;
use crate::policy::Start;
use crate::source::hands_on::HandsOn;
use crate::source::{Consumer, ConsumerSettings, Topics, TransactionSettings};

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_broker_without_transactions_is_refused_and_nothing_is_read() {
    let kafka = MockCluster::new(1).unwrap();
    kafka.create_topic("in", 1, 1).unwrap();
    kafka
        .apiversion(RDKafkaApiKey::InitProducerId, None, None)
        .unwrap();
    let brokers = BTreeMap::from([("bootstrap.servers".to_owned(), kafka.bootstrap_servers())]);
    let settings = ConsumerSettings {
        group: "once".to_owned(),
        kafka: brokers.clone(),
        start: Start::Earliest,
        tells_ends: false,
        transactions: Some(TransactionSettings {
            kafka: brokers,
            interval: Duration::from_millis(100),
        }),
    };
    let topics = Topics {
        names: vec!["in".to_owned()],
        returns: Vec::new(),
    };
    let transactions = settings.transactions();
    let (queues, assigned) = mpsc::sync_channel(1);
    let listener = Arc::new(HandsOn(queues));
    let consumer = Consumer::start(&settings, topics, transactions, listener, Vec::new()).unwrap();
    let status = Arc::clone(consumer.status());
    let deadline = Instant::now() + PATIENCE;
    let is_told = || {
        let trouble = status.trouble().unwrap_or_default();
        trouble.contains("exactly-once is not possible")
    };
    while !is_told() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(is_told(), "{:?}", status.trouble());
    assert!(assigned.try_recv().is_err(), "the group is read");
    consumer.stop(Instant::now()).unwrap().join().unwrap();
}
