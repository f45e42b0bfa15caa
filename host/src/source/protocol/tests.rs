//! Brokers that have the protocol of KIP-848, lack it, or list it and refuse it.

#![expect(
    unsafe_code,
    reason = "the mock cluster is told of requests that the binding does not know"
)]

use std::ffi::CStr;
use std::sync::{Arc, mpsc};

use rdkafka::ClientConfig;
use rdkafka::bindings as sys;
use rdkafka::producer::{BaseProducer, Producer as _};

use super::*;
use crate::policy::Start;
use crate::source::hands_on::HandsOn;
use crate::source::{
    Consumer, ConsumerSettings, PartitionQueue, SourceStatus, Topics, TransactionSettings,
};

const PATIENCE: Duration = Duration::from_secs(30);
/// Requests by their numbers in Kafka's protocol: `JoinGroup` and `ConsumerGroupHeartbeat`.
const JOIN: i16 = 11;
const HEARTBEAT: i16 = 68;

/// A consumer of a group whose protocol the brokers decide.
struct Member {
    consumer: Consumer,
    status: Arc<SourceStatus>,
    assigned: mpsc::Receiver<PartitionQueue>,
}

impl Member {
    fn start(broker: &Broker, is_exactly_once: bool) -> Self {
        let brokers = BTreeMap::from([("bootstrap.servers".to_owned(), broker.bootstrap())]);
        let mut kafka = brokers.clone();
        kafka.insert(GROUP_PROTOCOL.to_owned(), "auto".to_owned());
        let settings = ConsumerSettings {
            group: "auto".to_owned(),
            kafka,
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
        let (queues, assigned) = mpsc::sync_channel(1);
        let listener = Arc::new(HandsOn(queues));
        let transactions = settings.transactions();
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

    fn stop(self) {
        self.consumer.stop(Instant::now()).unwrap().join().unwrap();
    }
}

/// A mock cluster of one broker. The binding's own cannot be told of a request as new as the heartbeat of KIP-848.
struct Broker {
    cluster: *mut sys::rd_kafka_mock_cluster_t,
    // Dropped after the cluster, which lives in it.
    _owner: BaseProducer,
}

impl Broker {
    fn start() -> Self {
        let owner: BaseProducer = ClientConfig::new().create().unwrap();
        // SAFETY: the client outlives the cluster; the name ends with a zero.
        let cluster = unsafe {
            let cluster = sys::rd_kafka_mock_cluster_new(owner.client().native_ptr(), 1);
            is_done(sys::rd_kafka_mock_topic_create(
                cluster,
                c"in".as_ptr(),
                1,
                1,
            ));
            cluster
        };
        Self {
            cluster,
            _owner: owner,
        }
    }

    fn bootstrap(&self) -> String {
        // SAFETY: the cluster lives, and so does its text.
        let text = unsafe { CStr::from_ptr(sys::rd_kafka_mock_cluster_bootstraps(self.cluster)) };
        text.to_str().unwrap().to_owned()
    }

    /// Has it take only this version of a request; none below 0.
    fn takes(&self, request: i16, version: i16) {
        // SAFETY: the cluster lives.
        is_done(unsafe {
            sys::rd_kafka_mock_set_apiversion(self.cluster, request, version, version)
        });
    }

    /// Has it answer so many heartbeats as brokers do where the protocol is not enabled.
    fn refuses_heartbeats(&self, times: usize) {
        let refusal = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION;
        let refusals = vec![refusal; times];
        // SAFETY: the cluster lives; the errors are copied.
        unsafe {
            sys::rd_kafka_mock_push_request_errors_array(
                self.cluster,
                HEARTBEAT,
                refusals.len(),
                refusals.as_ptr(),
            );
        }
    }

    fn goes_down(&self) {
        // SAFETY: the cluster lives, and this is its broker.
        is_done(unsafe { sys::rd_kafka_mock_broker_set_down(self.cluster, 1) });
    }

    fn comes_up(&self) {
        // SAFETY: the cluster lives, and this is its broker.
        is_done(unsafe { sys::rd_kafka_mock_broker_set_up(self.cluster, 1) });
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // SAFETY: the cluster lives, and nothing uses it after this.
        unsafe { sys::rd_kafka_mock_cluster_destroy(self.cluster) };
    }
}

fn is_done(result: sys::rd_kafka_resp_err_t) {
    assert_eq!(result, sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
}

#[test]
fn brokers_with_the_protocol_share_out_the_partitions() {
    let broker = Broker::start();
    // Nobody can join in the classic way.
    broker.takes(JOIN, -1);
    let member = Member::start(&broker, false);
    member.is_assigned();
    member.stop();
}

#[test]
fn a_broker_without_the_protocol_gets_a_classic_member() {
    for version in [-1, 0] {
        let broker = Broker::start();
        broker.takes(HEARTBEAT, version);
        let member = Member::start(&broker, false);
        member.is_assigned();
        member.stop();
    }
}

#[test]
fn a_coordinator_that_refuses_the_protocol_gets_a_classic_member() {
    for is_exactly_once in [false, true] {
        let broker = Broker::start();
        broker.refuses_heartbeats(100);
        let member = Member::start(&broker, is_exactly_once);
        member.is_assigned();
        member.stop();
    }
}

#[test]
fn without_a_broker_nothing_is_decided_until_there_is_one() {
    let broker = Broker::start();
    broker.takes(HEARTBEAT, -1);
    broker.goes_down();
    let member = Member::start(&broker, false);
    let deadline = Instant::now() + PATIENCE;
    let trouble = || member.status.trouble().unwrap_or_default();
    while !trouble().contains("brokers are down") && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(trouble().contains("brokers are down"), "{}", trouble());
    assert!(member.assigned.try_recv().is_err());
    broker.comes_up();
    member.is_assigned();
    member.stop();
}

/// Has the trial hear what a broker lists, and that the list is over.
fn lists(trial: &Trial, versions: &str) {
    for text in [
        "Broker API support:".to_owned(),
        format!("  ApiKey ConsumerGroupHeartbeat (68) Versions {versions}"),
        " Feature MsgVer1: Produce (2..32767) supported by broker".to_owned(),
    ] {
        let place = "[thrd:10.0.0.1:9092/1]: 10.0.0.1:9092/1: ";
        trial.hear("APIVERSION", &format!("{place}{text}"));
    }
}

#[test]
fn one_broker_that_lacks_it_is_enough_until_partitions_were_given_out() {
    let trial = Trial::default();
    assert!(!trial.may_subscribe());
    lists(&trial, "0..1");
    assert!(trial.may_subscribe() && trial.refusal().is_none());
    lists(&trial, "0..0");
    lists(&trial, "0..1");
    assert!(!trial.may_subscribe());
    assert_eq!(
        trial.refusal().unwrap(),
        "broker 10.0.0.1:9092/1 does not have ConsumerGroupHeartbeat of version 1 (KIP-848)"
    );

    let trial = Trial::default();
    lists(&trial, "0..1");
    assert!(trial.end() && !trial.end());
    lists(&trial, "0..0");
    assert!(trial.may_subscribe() && trial.refusal().is_none());
}
