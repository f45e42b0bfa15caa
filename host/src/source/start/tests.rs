//! A broker that does not say where a partition begins, and what is read meanwhile: nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::policy::Start;
use crate::source::hands_on::HandsOn;
use crate::source::{Consumer, ConsumerSettings, Record, Topics};

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

const LIST_OFFSETS: (RDKafkaApiKey, RDKafkaRespErr) = (
    RDKafkaApiKey::ListOffsets,
    RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
);
const OFFSET_FETCH: (RDKafkaApiKey, RDKafkaRespErr) = (
    RDKafkaApiKey::OffsetFetch,
    RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
);

/// What the group has committed.
fn position(bootstrap: &str) -> Offset {
    let reader: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "late")
        .create()
        .unwrap();
    let mut asked = TopicPartitionList::new();
    asked.add_partition("in", 0);
    let answer = reader.committed_offsets(asked, PATIENCE).unwrap();
    answer.elements()[0].offset()
}

#[test]
fn nothing_is_read_before_kafka_says_where_to_begin() {
    begins_late(LIST_OFFSETS, 100, Start::Offset(7));
}

#[test]
fn what_was_fetched_before_kafka_said_where_to_begin_is_dropped() {
    // The host's own question is refused, the client's is not: it fetches from the first record on.
    begins_late(LIST_OFFSETS, 2, Start::Offset(7));
}

#[test]
fn nothing_is_read_before_the_last_commits_are_known() {
    begins_late(OFFSET_FETCH, 1000, Start::Earliest);
}

/// Where nothing is committed, it is known after that where reading began.
fn begins_late((api, refusal): (RDKafkaApiKey, RDKafkaRespErr), refusals: usize, start: Start) {
    let (first, committed) = match start {
        Start::Offset(offset) => (offset, Offset::Offset(offset)),
        _ => (0, Offset::Invalid),
    };
    let kafka = MockCluster::new(1).unwrap();
    kafka.create_topic("in", 1, 1).unwrap();
    write(&kafka.bootstrap_servers(), 10);
    kafka.request_errors(api, &vec![refusal; refusals]);

    let settings = ConsumerSettings {
        group: "late".to_owned(),
        kafka: BTreeMap::from([("bootstrap.servers".to_owned(), kafka.bootstrap_servers())]),
        start,
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
        kafka.clear_request_errors(api);
        tokio::time::timeout(PATIENCE, held).await.unwrap();
        let mut taken = Vec::new();
        while taken.last().is_none_or(|last: &Record| last.offset() < 9) {
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
    let offsets: Vec<i64> = taken.iter().map(Record::offset).collect();
    assert_eq!(offsets, (first..10).collect::<Vec<_>>());
    drop((taken, queue));
    consumer.stop().unwrap().join().unwrap();
    assert_eq!(position(&kafka.bootstrap_servers()), committed);
}
