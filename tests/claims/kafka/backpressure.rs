//! Handlers that are slower than what waits for them.
//!
//! The fixture `act` sleeps, and more records wait than a client may keep.
//! **Invariant:** whatever waits, the host's memory stays bounded and its membership in the group stays alive.

use std::time::Duration;

use harness::{TestRecord, clients, wait_until};

use super::stage::{PATIENCE, Stage, count_lines, field, json, value_on};

#[test]
fn a_full_queue_never_blocks_the_poll_thread() {
    const WAITING: usize = 20_000;
    let stage = Stage::new("full-queue", 1);
    // The first record takes longer than Kafka allows between two polls; what waits behind it is more than the
    // client keeps.
    let values = (0..WAITING).map(|n| value_on(0, &format!("ok {n} {}", "x".repeat(1024))));
    stage.produce_records([value_on(0, "sleep 9000")].into_iter().chain(values));
    let host = stage.run(
        "act",
        "limits.deadline-ms = 60000\nkafka.consumer.\"max.poll.interval.ms\" = 6000\n\
         kafka.consumer.\"session.timeout.ms\" = 6000",
    );
    let outputs = stage.outputs(&host, WAITING + 1);
    assert_eq!(field(&outputs[0], "value"), "sleep 9000");
    let offset = |output: &TestRecord| json(output)["offset"].as_u64().unwrap();
    assert!(
        outputs
            .iter()
            .map(offset)
            .eq(0..=u64::try_from(WAITING).unwrap())
    );
    stage.committed(&host, &[(0, i64::try_from(WAITING).unwrap() + 1)]);
    // The member was never put out of the group.
    assert_eq!(count_lines(&host, &["partitions assigned"]), 1);
    assert_eq!(count_lines(&host, &["partitions revoked"]), 0);
}

#[test]
fn memory_stays_bounded_with_a_million_records_waiting() {
    const PARTITIONS: i32 = 4;
    const RECORDS: usize = 1_000_000;
    const BOUND_MB: f64 = 150.0;
    let stage = Stage::new("million", PARTITIONS);
    produce_million(&stage, RECORDS, PARTITIONS);
    let ends = clients::end_offsets(&stage.bootstrap, &stage.input).unwrap();
    assert_eq!(
        ends.iter().map(|(_, end)| end).sum::<i64>(),
        i64::try_from(RECORDS).unwrap()
    );
    let host = stage.run("act", "limits.deadline-ms = 1000");
    // Every call sleeps; by the time that each partition has handled so many, its queue was full for long.
    let position = |partition: i32| {
        let found = clients::committed(&stage.bootstrap, &stage.name, &stage.input).unwrap();
        found
            .into_iter()
            .find(|(of, _)| *of == partition)
            .map_or(0, |(_, at)| at)
    };
    wait_until("100 records handled of each partition", PATIENCE, || {
        (0..PARTITIONS).all(|partition| position(partition) >= 100)
    })
    .unwrap();
    let peak_mb = host.peak_rss_bytes().unwrap() as f64 / 1e6;
    let handled: i64 = (0..PARTITIONS).map(position).sum();
    println!(
        "peak RSS {peak_mb:.0} MB with {} records waiting",
        RECORDS as i64 - handled
    );
    assert!(
        handled < 100_000,
        "{handled} records handled is not a slow handler"
    );
    assert!(peak_mb <= BOUND_MB, "peak RSS {peak_mb:.0} MB");
}

/// Records of 1 KiB that make the handler slow; their keys are JSON that compresses as records do.
fn produce_million(stage: &Stage, records: usize, partitions: i32) {
    use rdkafka::config::ClientConfig;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &stage.bootstrap)
        .set("compression.type", "lz4")
        .set("linger.ms", "50")
        .set("queue.buffering.max.messages", "500000")
        .set("queue.buffering.max.kbytes", "262144")
        .create()
        .unwrap();
    for n in 0..records {
        let key = padding(n);
        let mut record = BaseRecord::to(&stage.input)
            .key(&key)
            .payload(SLOW)
            .partition(i32::try_from(n).unwrap() % partitions);
        while let Err((_, back)) = producer.send(record) {
            producer.poll(Duration::from_millis(20));
            record = back;
        }
        if n % 1000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(Duration::from_secs(60)).unwrap();
}

const SLOW: &[u8] = b"sleep 20";

fn padding(n: usize) -> Vec<u8> {
    use std::io::Write as _;
    let size = 1024 - SLOW.len();
    let mut key = Vec::with_capacity(size + 64);
    // A cheap generator: what differs from record to record must not compress.
    let mut state = u64::try_from(n)
        .unwrap()
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        | 1;
    while key.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let (depth, place) = (state % 700, state >> 40);
        write!(
            key,
            "{{\"network\":\"us\",\"depth\":{depth},\"place\":{place}}},"
        )
        .unwrap();
    }
    key.truncate(size);
    key
}
