//! A broker that does not say where a partition begins, and what is read meanwhile: nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::policy::Start;
use crate::source::hands_on::HandsOn;
use crate::source::{Consumer, ConsumerSettings, Topics};

const PATIENCE: Duration = Duration::from_secs(30);

fn write(bootstrap: &str, records: usize) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .create()
        .unwrap();
    for n in 0..records {
        let value = n.to_string();
        let record: BaseRecord<'_, (), str> = BaseRecord::to("in").payload(&value);
        producer.send(record).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

#[test]
fn nothing_is_read_before_kafka_says_where_to_begin() {
    begins_late(100);
}

#[test]
fn what_was_fetched_before_kafka_said_where_to_begin_is_dropped() {
    // The host's own question is refused, the client's is not: it fetches from the first record on.
    begins_late(2);
}

fn begins_late(refusals: usize) {
    let kafka = MockCluster::new(1).unwrap();
    kafka.create_topic("in", 1, 1).unwrap();
    write(&kafka.bootstrap_servers(), 10);
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    kafka.request_errors(RDKafkaApiKey::ListOffsets, &vec![refusal; refusals]);

    let settings = ConsumerSettings {
        group: "late".to_owned(),
        kafka: BTreeMap::from([("bootstrap.servers".to_owned(), kafka.bootstrap_servers())]),
        start: Start::Offset(7),
        tells_ends: false,
        transactions: None,
    };
    let topics = Topics {
        names: vec!["in".to_owned()],
        returns: Vec::new(),
    };
    let (queues, assigned) = mpsc::sync_channel(1);
    let consumer = Consumer::start(
        &settings,
        topics,
        None,
        Arc::new(HandsOn(queues)),
        Vec::new(),
    )
    .unwrap();
    let mut queue = assigned.recv_timeout(PATIENCE).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (held, taken) = runtime.block_on(async {
        let soon = Duration::from_millis(500);
        let mut held = Box::pin(queue.may_begin());
        let is_held = tokio::time::timeout(soon, &mut held).await.is_err();
        kafka.clear_request_errors(RDKafkaApiKey::ListOffsets);
        tokio::time::timeout(PATIENCE, held).await.unwrap();
        let mut taken = Vec::new();
        while taken.len() < 3 {
            let some = queue.take(500, &mut taken, |error| println!("{error}"));
            if some == 0 {
                tokio::time::timeout(PATIENCE, queue.filled())
                    .await
                    .unwrap();
            }
        }
        (is_held, taken)
    });
    assert!(held, "reading began without an answer");
    let offsets: Vec<i64> = taken.iter().map(crate::source::Record::offset).collect();
    assert_eq!(offsets, [7, 8, 9]);
    drop((taken, queue));
    consumer.stop().unwrap().join().unwrap();
}
