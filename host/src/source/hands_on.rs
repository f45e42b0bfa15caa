//! For tests: a consumer whose flow hands its queues on and has nothing to commit, and a broker that can be told to fail.

#![expect(
    unsafe_code,
    reason = "the mock cluster is told of requests that the binding does not know"
)]

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::bindings as sys;
use rdkafka::producer::{BaseProducer, Producer as _};
use tokio::time::Instant;

use super::{
    Consumer, ConsumerSettings, Fenced, PartitionQueue, Position, RebalanceListener, SourceStatus,
    Topics, TransactionSettings,
};
use crate::policy::Start;

/// What a wait may take on a loaded machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// The interval of heartbeats, so that what a broker answers is soon known.
const HEARTBEAT_MS: i32 = 200;
/// How long a member is missed that could not leave.
const SESSION_MS: i32 = 3000;

/// Hands the queues on; the flow is the test.
pub(super) struct HandsOn(pub(super) mpsc::SyncSender<PartitionQueue>);

impl RebalanceListener for HandsOn {
    fn assigned(&self, queues: Vec<PartitionQueue>) {
        for queue in queues {
            self.0.send(queue).unwrap();
        }
    }

    fn revoked(&self, _: &[(String, i32)], _: bool) -> Vec<Position> {
        Vec::new()
    }

    fn leaving(&self) -> Vec<Position> {
        Vec::new()
    }

    fn positions(&self) -> Vec<Position> {
        Vec::new()
    }

    fn committed(&self, _: &[Position]) {}

    fn fence(&self) -> Vec<Fenced> {
        Vec::new()
    }

    fn closed(&self) {}
}

/// A consumer that reads the topic `in`.
pub(super) struct Member {
    consumer: Consumer,
    pub(super) status: Arc<SourceStatus>,
    pub(super) assigned: mpsc::Receiver<PartitionQueue>,
}

impl Member {
    /// Starts it with more settings of librdkafka than where the brokers are.
    pub(super) fn start(
        group: &str,
        bootstrap: &str,
        more: &[(&str, &str)],
        is_exactly_once: bool,
    ) -> Self {
        let brokers = BTreeMap::from([("bootstrap.servers".to_owned(), bootstrap.to_owned())]);
        let mut kafka = brokers.clone();
        kafka.extend(
            more.iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
        );
        let settings = ConsumerSettings {
            group: group.to_owned(),
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

    /// Waits until it is given the partition.
    pub(super) fn is_assigned(&self) {
        let queue = self.assigned.recv_timeout(PATIENCE);
        drop(queue.unwrap_or_else(|_| panic!("{:?}", self.status.trouble())));
    }

    /// Waits until the trouble with Kafka contains this text, and returns it.
    pub(super) fn is_in_trouble(&self, text: &str) -> String {
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

    /// Waits until there is no trouble.
    pub(super) fn is_fine(&self) {
        let deadline = Instant::now() + PATIENCE;
        while let Some(trouble) = self.status.trouble() {
            assert!(Instant::now() < deadline, "{trouble:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(super) fn stop(self) {
        self.consumer.stop().unwrap().join().unwrap();
    }
}

/// A mock cluster of one broker, with the topic `in`. The binding's own cannot be told of a request as new as the
/// heartbeat of KIP-848.
pub(super) struct Broker {
    cluster: *mut sys::rd_kafka_mock_cluster_t,
    // Dropped after the cluster, which lives in it.
    _owner: BaseProducer,
}

impl Broker {
    /// Requests by their numbers in Kafka's protocol.
    pub(super) const JOIN: i16 = 11;
    pub(super) const CLASSIC_HEARTBEAT: i16 = 12;
    pub(super) const INIT_PRODUCER: i16 = 22;
    pub(super) const TXN_OFFSET_COMMIT: i16 = 28;
    pub(super) const HEARTBEAT: i16 = 68;

    pub(super) fn start() -> Self {
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
            sys::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0);
            sys::rd_kafka_mock_set_group_consumer_heartbeat_interval_ms(cluster, HEARTBEAT_MS);
            sys::rd_kafka_mock_set_group_consumer_session_timeout_ms(cluster, SESSION_MS);
            cluster
        };
        Self {
            cluster,
            _owner: owner,
        }
    }

    pub(super) fn bootstrap(&self) -> String {
        // SAFETY: the cluster lives, and so does its text.
        let text = unsafe { CStr::from_ptr(sys::rd_kafka_mock_cluster_bootstraps(self.cluster)) };
        text.to_str().unwrap().to_owned()
    }

    /// Has it take only these versions of a request; none below 0.
    pub(super) fn takes(&self, request: i16, (min, max): (i16, i16)) {
        // SAFETY: the cluster lives.
        is_done(unsafe { sys::rd_kafka_mock_set_apiversion(self.cluster, request, min, max) });
    }

    /// Has it answer the next so many requests with an error.
    pub(super) fn refuses(&self, request: i16, error: sys::rd_kafka_resp_err_t, times: usize) {
        let errors = vec![error; times];
        // SAFETY: the cluster lives; the errors are copied.
        unsafe {
            sys::rd_kafka_mock_push_request_errors_array(
                self.cluster,
                request,
                errors.len(),
                errors.as_ptr(),
            );
        }
    }

    pub(super) fn goes_down(&self) {
        // SAFETY: the cluster lives, and this is its broker.
        is_done(unsafe { sys::rd_kafka_mock_broker_set_down(self.cluster, 1) });
    }

    pub(super) fn comes_up(&self) {
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
