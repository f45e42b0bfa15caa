//! Nothing is lost, whatever dies: the host, the broker, a handler's call. Nothing is repeated without need.
//!
//! It is handed the shared Kafka, and one of its own where the broker has to die.
//! **Invariant:** a test stops or kills only after it has seen work done and before all of it is done.

use std::time::Duration;

use harness::clients::{self, End};
use harness::kafka::unique;
use harness::{Kafka, TestRecord, wait_until};

use super::traffic::{Feed, LOAD_TIMEOUT, Tally, Traffic, number};

const RECORDS: u64 = 200_000;
const RECORDS_END: i64 = 200_000;
/// A bound on what is under way also bounds the pace, so that a load lasts until it is interrupted.
const PACED: &str = "[limits]\nin-flight-records = 100\ndeadline-ms = 10000";

#[test]
fn every_record_is_handled_at_least_once() {
    let traffic = Traffic::new(Kafka::shared(), "killed", 4);
    // What a killed host held is given to the next one only when its session has ended.
    let more = format!("\"session.timeout.ms\" = 6000\n{PACED}");
    let handlers = traffic.handlers("pass", "", &more);
    traffic.produce((0..RECORDS).map(number));
    for kill in 1..=3 {
        let before = traffic.committed();
        let mut host = traffic.host(&handlers).start().unwrap();
        traffic.wait_until_committed(before + 10_000);
        host.kill9();
        let (committed, outputs) = (traffic.committed(), traffic.output_count());
        println!("kill {kill}: {committed} committed, {outputs} outputs");
        assert!(committed < RECORDS_END, "the load was over before the kill");
    }
    let host = traffic.host(&handlers).start().unwrap();
    traffic.wait_until_done();
    host.stop().unwrap();
    let tally = Tally::of(&traffic.outputs(), RECORDS);
    println!("of {RECORDS} records: {tally:?}");
    assert_eq!(tally.lost, 0);
}

#[test]
fn a_graceful_stop_repeats_nothing() {
    let traffic = Traffic::new(Kafka::shared(), "stopped", 4);
    let handlers = traffic.handlers("pass", "", PACED);
    traffic.produce((0..RECORDS).map(number));
    for stop in 1..=2 {
        let before = traffic.committed();
        let mut host = traffic.host(&handlers).start().unwrap();
        traffic.wait_until_committed(before + 10_000);
        if stop == 1 {
            host.interrupt().unwrap();
        } else {
            host.term().unwrap();
        }
        let status = host.wait(Duration::from_secs(30)).unwrap();
        assert_eq!(status.code(), Some(0), "{}", host.tail());
        let (committed, outputs) = (traffic.committed(), traffic.output_count());
        println!("stop {stop}: {committed} committed, {outputs} outputs");
        assert!(committed < RECORDS_END, "the load was over before the stop");
        assert_eq!(committed, outputs, "what is out is committed");
    }
    let host = traffic.host(&handlers).start().unwrap();
    traffic.wait_until_done();
    host.stop().unwrap();
    assert_eq!(traffic.output_count(), RECORDS_END);
    let tally = Tally::of(&traffic.outputs(), RECORDS);
    println!("of {RECORDS} records: {tally:?}");
    assert_eq!((tally.lost, tally.repeated), (0, 0));
}

#[test]
fn a_broker_restart_loses_nothing() {
    let mut kafka = Kafka::start().unwrap();
    let traffic = Traffic::new(&kafka, "bereft", 4);
    let handlers = traffic.handlers("pass", "", "");
    let mut host = traffic.host(&handlers).start().unwrap();
    let feed = Feed::start(&traffic, 3, number);
    traffic.wait_until_committed(5000);
    kafka.kill();
    let named = wait_until("/readyz names kafka", Duration::from_secs(15), || {
        host.get("/readyz")
            .is_ok_and(|(status, body)| status == 503 && body.contains("kafka"))
    });
    named.unwrap_or_else(|error| panic!("{error}: {:?}", host.get("/readyz")));
    assert_eq!(host.get("/livez").unwrap().0, 200);
    kafka.start_again().unwrap();
    let before = traffic.committed();
    traffic.wait_until_committed(before + 5000);
    host.wait_until_ready(Duration::from_secs(15)).unwrap();
    let fed = feed.stop();
    traffic.wait_until_done();
    host.stop().unwrap();
    let tally = Tally::of(&traffic.outputs(), fed);
    println!(
        "of {fed} records, {} in the topic: {tally:?}",
        traffic.input_end()
    );
    assert_eq!(tally.lost, 0);
}

#[test]
fn gaps_from_compaction_and_aborted_transactions_do_not_stall_the_watermark() {
    let kafka = Kafka::shared();
    let aborted = Traffic::new(kafka, "aborted", 1);
    for round in 0..5 {
        let write = |what: &str, end| {
            let records = (0..20).map(|n| TestRecord::new("key", format!("{what} {round} {n}")));
            clients::produce_transaction(&aborted.at, &aborted.input, records, end).unwrap();
        };
        write("kept", End::Commit);
        write("dropped", End::Abort);
    }
    let isolation = "\"isolation.level\" = \"read_committed\"";
    goes_through_with_gaps(&aborted, isolation);

    let config = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "50"),
        ("min.cleanable.dirty.ratio", "0.001"),
        ("max.compaction.lag.ms", "100"),
    ];
    let compacted = Traffic::with_input(kafka, "compacted", 1, &config);
    // One of ten keys, of which the last record stays, or now and then a key that stays between them.
    let keyed = |n: u64| match n % 100 {
        0 => TestRecord::new(format!("once-{n}"), n.to_string()),
        _ => TestRecord::new(format!("key-{}", n % 10), n.to_string()),
    };
    compacted.produce((0..1000).map(keyed));
    let mut next = 1000;
    wait_until("a compacted log", LOAD_TIMEOUT, || {
        // Only an older segment is compacted, and a record has to come for a new one to begin.
        compacted.produce([keyed(next)]);
        next += 1;
        readable(&compacted).len() < 100
    })
    .unwrap();
    goes_through_with_gaps(&compacted, "");
}

/// Serves a log that has gaps to its last record, and on from there.
fn goes_through_with_gaps(traffic: &Traffic, more: &str) {
    let records = readable(traffic);
    let offsets: Vec<i64> = records.iter().filter_map(|record| record.offset).collect();
    let gaps = offsets.windows(2).filter(|pair| pair[1] != pair[0] + 1);
    let (last, end) = (offsets[offsets.len() - 1], traffic.input_end());
    let gaps = gaps.count();
    println!(
        "{}: {} records, {gaps} gaps, the last at {last} of {end}",
        traffic.input,
        records.len()
    );
    assert!(gaps > 0, "{offsets:?}");
    let handlers = traffic.handlers("pass", "", more);
    let host = traffic.host(&handlers).start().unwrap();
    traffic.wait_until_committed(last + 1);
    assert_eq!(traffic.positions(), [(0, last + 1)]);
    traffic.produce([TestRecord::new("key-0", "after the gap")]);
    traffic.wait_until_done();
    host.stop().unwrap();
    let texts = |records: Vec<TestRecord>| -> Vec<String> {
        records.iter().map(TestRecord::text).collect()
    };
    let mut expected = texts(records);
    expected.push("after the gap".to_owned());
    assert_eq!(texts(traffic.outputs()), expected);
    assert_eq!(traffic.positions(), [(0, end + 1)]);
}

/// The records of the input that are neither compacted nor aborted.
fn readable(traffic: &Traffic) -> Vec<TestRecord> {
    clients::consume_all(&traffic.at, &traffic.input, true).unwrap()
}

#[test]
fn an_emit_is_acknowledged_before_its_input_commits() {
    let kafka = Kafka::shared();
    let traffic = Traffic::new(kafka, "unacknowledged", 2);
    // An output for a topic that is not there yet waits in the producer: neither acknowledged nor refused.
    let late = unique("late");
    let handlers = traffic.handlers(
        "act",
        "",
        "[kafka.producer]\n\"topic.metadata.propagation.max.ms\" = 600000\n\"topic.metadata.refresh.fast.interval.ms\" = 100",
    );
    let drain = ["--drain-timeout", "1s"];
    let mut host = traffic.host(&handlers).args(drain).start().unwrap();
    let many =
        |partition, count| (0..count).map(move |_| TestRecord::new("key", "ok").on(partition));
    traffic.produce(many(0, 100));
    traffic.produce([TestRecord::new("key", format!("emit-to {late}")).on(0)]);
    traffic.produce(many(0, 100));
    // The deed also emits to the output, as all others do.
    traffic.wait_for_outputs(201);
    traffic.wait_until_committed(100);
    // The other partition shows that positions were committed after all that was handled.
    traffic.produce(many(1, 100));
    traffic.wait_until_committed(200);
    assert_eq!(traffic.positions(), [(0, 100), (1, 100)]);

    // Nor does a stop commit it.
    host.term().unwrap();
    let status = host.wait(Duration::from_secs(30)).unwrap();
    assert_eq!(status.code(), Some(0), "{}", host.tail());
    assert_eq!(traffic.positions(), [(0, 100), (1, 100)]);

    let host = traffic.host(&handlers).args(drain).start().unwrap();
    // The map of what is complete behind it was committed, so only the record itself is handled again.
    traffic.wait_for_outputs(301 + 1);
    assert_eq!(traffic.positions(), [(0, 100), (1, 100)]);
    kafka.create_topic(&late, 1, &[]).unwrap();
    traffic.wait_until_done();
    host.stop().unwrap();
    assert_eq!(traffic.positions(), [(0, 201), (1, 100)]);
    assert_eq!(clients::end_offsets(&traffic.at, &late).unwrap(), [(0, 1)]);
    assert_eq!(traffic.output_count(), 302);
}

#[test]
fn a_failed_hook_emits_nothing() {
    let kafka = Kafka::shared();
    let traffic = Traffic::new(kafka, "failed", 1);
    let (side, letters) = (unique("side"), traffic.letters());
    kafka.create_topic(&side, 1, &[]).unwrap();
    kafka.create_topic(&letters, 1, &[]).unwrap();
    let handlers = traffic.handlers("act", "", "[retry]\nmax-attempts = 3\ninitial-ms = 5");
    let mut host = traffic.host(&handlers).start().unwrap();
    // Each fails after its emit, three times; the record after it finds the same instance.
    traffic.produce((0..20).map(|n| match n % 2 {
        0 => TestRecord::new("key", format!("emit-then-fail {side}")),
        _ => TestRecord::new("key", format!("ok {n}")),
    }));
    // The same emit is sent where the hook ends well.
    traffic.produce([TestRecord::new("key", format!("emit-to {side}"))]);
    traffic.wait_until_done();
    host.term().unwrap();
    host.wait_for_line("stopped", Duration::from_secs(30))
        .unwrap();
    let attempts = host
        .lines()
        .iter()
        .filter(|line| line.contains("attempt failed"))
        .count();
    let counts = [&side, &traffic.output, &letters].map(|topic| {
        clients::consume_all(&traffic.at, topic, true)
            .unwrap()
            .len()
    });
    println!("{attempts} attempts failed; side, output, dead letters: {counts:?}");
    assert_eq!(attempts, 30);
    assert_eq!(counts, [1, 11, 10]);
}
