//! The harness itself: a claim is worth what its instruments are worth.
//!
//! It is handed a node of its own, which it stops and kills.

use std::time::Duration;

use harness::clients::{self, End};
use harness::kafka::unique;
use harness::{Kafka, TestRecord};

#[test]
fn a_restarted_broker_still_has_its_records() {
    let mut kafka = Kafka::start().unwrap();
    let at = kafka.bootstrap().to_owned();
    kafka.create_topic("kept", 3, &[]).unwrap();
    let records = (0..1000).map(|n| (Some(format!("key-{}", n % 50)), Some(format!("value-{n}"))));
    assert_eq!(clients::produce(&at, "kept", records).unwrap(), 1000);
    let before = clients::consume_all(&at, "kept", true).unwrap();
    assert_eq!(before.len(), 1000);

    kafka.restart().unwrap();
    let ends = clients::end_offsets(&at, "kept").unwrap();
    assert_eq!(ends.iter().map(|(_, end)| end).sum::<i64>(), 1000);
    kafka.kill();
    kafka.start_again().unwrap();
    let mut after = clients::consume_all(&at, "kept", true).unwrap();
    let mut before = before;
    let place = |record: &TestRecord| (record.partition, record.offset);
    before.sort_by_key(place);
    after.sort_by_key(place);
    assert_eq!(after, before);
}

#[test]
fn records_are_read_as_they_were_written() {
    let kafka = Kafka::shared();
    let at = kafka.bootstrap();
    let topic = unique("round-trip");
    kafka.create_topic(&topic, 2, &[]).unwrap();
    let odd = vec![
        TestRecord::new("key", "value")
            .header("name", Some(b"text"))
            .on(1),
        TestRecord::new("", "")
            .header("twice", None)
            .header("twice", Some(b"\x00\xff"))
            .on(1),
        TestRecord {
            key: Some(b"tombstone".to_vec()),
            partition: Some(1),
            ..TestRecord::default()
        },
        TestRecord {
            value: Some(vec![0xff, 0]),
            partition: Some(1),
            ..TestRecord::default()
        },
    ];
    let payloads: Vec<TestRecord> = odd.iter().map(TestRecord::payload).collect();
    assert_eq!(clients::produce_records(at, &topic, odd).unwrap(), 4);
    let read = clients::consume_until(at, &topic, 4, Duration::from_secs(10)).unwrap();
    assert_eq!(
        read.iter().map(TestRecord::payload).collect::<Vec<_>>(),
        payloads
    );
    assert!(read.iter().all(|record| record.partition == Some(1)));
    assert_eq!(
        clients::committed(at, &unique("nobody"), &topic).unwrap(),
        []
    );
}

#[test]
fn an_aborted_transaction_leaves_only_a_gap() {
    let kafka = Kafka::shared();
    let at = kafka.bootstrap();
    let topic = unique("transactions");
    kafka.create_topic(&topic, 1, &[]).unwrap();
    let one = |value: &str| vec![TestRecord::new("key", value)];
    clients::produce_transaction(at, &topic, one("dropped"), End::Abort).unwrap();
    clients::produce_transaction(at, &topic, one("kept"), End::Commit).unwrap();
    let committed = clients::consume_all(at, &topic, true).unwrap();
    assert_eq!(
        committed.iter().map(TestRecord::text).collect::<Vec<_>>(),
        ["kept"]
    );
    assert_eq!(clients::consume_all(at, &topic, false).unwrap().len(), 2);
    assert_eq!(clients::end_offsets(at, &topic).unwrap(), [(0, 4)]);
}
