//! Brokers that cannot do transactions, or not such that former members of the group are fenced off.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::Duration;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::RDKafkaApiKey;

use super::*;
use crate::policy::Start;
use crate::source::hands_on::HandsOn;
use crate::source::{
    Consumer, ConsumerSettings, PartitionQueue, SourceStatus, Topics, TransactionSettings,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// A broker of the test's own, with the topic `in`.
fn broker() -> MockCluster<'static, DefaultProducerContext> {
    let kafka = MockCluster::new(1).unwrap();
    kafka.create_topic("in", 1, 1).unwrap();
    kafka
}

/// A consumer of a group of its own.
struct Member {
    consumer: Consumer,
    status: Arc<SourceStatus>,
    assigned: mpsc::Receiver<PartitionQueue>,
}

impl Member {
    fn start(group: &str, bootstrap: &str, is_exactly_once: bool) -> Self {
        let brokers = BTreeMap::from([("bootstrap.servers".to_owned(), bootstrap.to_owned())]);
        let settings = ConsumerSettings {
            group: group.to_owned(),
            kafka: brokers.clone(),
            start: Start::Earliest,
            tells_ends: false,
            transactions: is_exactly_once.then(|| TransactionSettings {
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
        let consumer =
            Consumer::start(&settings, topics, transactions, listener, Vec::new()).unwrap();
        let status = Arc::clone(consumer.status());
        Self {
            consumer,
            status,
            assigned,
        }
    }

    fn is_assigned(&self) {
        drop(self.assigned.recv_timeout(PATIENCE).unwrap());
    }

    /// Waits until the trouble with Kafka contains this text, and returns it.
    fn is_in_trouble(&self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let trouble = self.status.trouble().unwrap_or_default();
            if trouble.contains(text) {
                return trouble;
            }
            assert!(Instant::now() < deadline, "{trouble:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn stop(self) {
        self.consumer.stop().unwrap().join().unwrap();
    }
}

#[test]
fn a_broker_without_transactions_is_refused_and_nothing_is_read() {
    let kafka = broker();
    kafka
        .apiversion(RDKafkaApiKey::InitProducerId, None, None)
        .unwrap();
    let member = Member::start("once", &kafka.bootstrap_servers(), true);
    member.is_in_trouble("delivery = \"exactly-once\" is not possible");
    assert!(member.assigned.try_recv().is_err(), "the group is read");
    member.stop();
}

#[test]
fn a_broker_that_fences_no_former_members_is_refused_for_the_group_that_needs_it_only() {
    // Kafka 0.11 to 2.4, and one with no such request at all.
    for versions in [Some((0, 2)), None] {
        let kafka = broker();
        let (min, max) = versions.unzip();
        kafka
            .apiversion(RDKafkaApiKey::TxnOffsetCommit, min, max)
            .unwrap();
        let once = Member::start("once", &kafka.bootstrap_servers(), true);
        let other = Member::start("other", &kafka.bootstrap_servers(), false);
        other.is_assigned();
        let why = once.is_in_trouble("does not have TxnOffsetCommit of version 3 (KIP-447)");
        for part in [
            "delivery = \"exactly-once\" is not possible",
            "Kafka 2.5 or newer",
            "delivery = \"at-least-once\"",
        ] {
            assert!(why.contains(part), "{part} in {why}");
        }
        assert!(once.assigned.try_recv().is_err(), "the group is read");
        once.stop();
        other.stop();
    }
}

#[test]
fn a_broker_out_of_reach_is_waited_for_and_not_refused() {
    let kafka = broker();
    kafka.broker_down(1).unwrap();
    let member = Member::start("once", &kafka.bootstrap_servers(), true);
    member.is_in_trouble("brokers are down");
    assert!(member.assigned.try_recv().is_err());
    kafka.broker_up(1).unwrap();
    member.is_assigned();
    member.stop();
}
