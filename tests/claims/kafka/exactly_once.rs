//! Outputs and positions in one transaction: a reader of committed records sees each output once, whatever fails.
//!
//! It is handed one stage for each test; the fixture `act` tells the offset of every record that it handled.
//! **Invariant:** what came out is read back from Kafka as its readers see it, committed records only.

mod batches;
mod returns;

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use harness::{Host, Kafka, TestRecord, clients, wait_until};
use tokio::time::Instant;

use super::stage::{PATIENCE, Stage, count_lines, field, never, said, wait_lines};

/// Exactly once, with takeovers as soon as Kafka allows.
const ONCE: &str = "delivery = \"exactly-once\"\nlimits.deadline-ms = 10000\n\
                    kafka.consumer.\"session.timeout.ms\" = 6000\n";
/// What a takeover after a kill may take: the session, and what the coordinator waits for an open transaction.
const TAKEOVER: Duration = Duration::from_secs(60);

/// The same with the host's own settings: a session of 10 s, and what follows it.
const TAKEOVER_BY_DEFAULT: Duration = Duration::from_secs(25);

/// A record with a key, for partition 0.
fn keyed(key: &str, value: &str) -> TestRecord {
    TestRecord::new(key, value).on(0)
}

/// Where an output says that it came from.
fn origin(output: &TestRecord) -> (String, i64) {
    let offset = field(output, "offset").parse().unwrap();
    (field(output, "partition"), offset)
}

/// How often each place occurs.
fn counts<T: Ord>(places: impl IntoIterator<Item = T>) -> BTreeMap<T, usize> {
    let mut counts = BTreeMap::new();
    for place in places {
        *counts.entry(place).or_default() += 1;
    }
    counts
}

/// Waits until so many different records have an output or a dead letter.
fn settled(stage: &Stage, host: &Host, n: usize) -> (Vec<TestRecord>, Vec<TestRecord>) {
    let mut found = (Vec::new(), Vec::new());
    let waited = wait_until("all records are settled", TAKEOVER, || {
        found = (stage.read(&stage.output), stage.read(&stage.dead_letters));
        let outputs = counts(found.0.iter().map(origin)).len();
        let letters = counts(found.1.iter().map(|letter| said(letter, "offset"))).len();
        outputs + letters >= n
    });
    let (outputs, letters) = (found.0.len(), found.1.len());
    let state = format!("{outputs} outputs, {letters} letters\n{}", host.tail());
    assert!(waited.is_ok(), "{}: {state}", waited.unwrap_err());
    found
}

/// Kills two hosts in the middle, and counts.
fn is_once(name: &str, more: &str) {
    let stage = Stage::new(name, 1);
    stage.deploy("act", &format!("{ONCE}{more}retry.max-attempts = 1\n"));
    let value = |n: usize| {
        if n % 20 == 7 {
            "reject it".to_owned()
        } else {
            format!("sleep {}", n % 3)
        }
    };
    let write = |range: std::ops::Range<usize>| {
        let records = range.map(|n| keyed(&format!("key-{}", n % 40), &value(n)));
        stage.produce_records(records);
    };
    let mut host = stage.serve(&[]);
    write(0..2000);
    for part in 1..3 {
        clients::consume_until(&stage.bootstrap, &stage.output, part * 500, TAKEOVER)
            .unwrap_or_else(|error| panic!("{error}\n{}", host.tail()));
        host.kill9();
        host = stage.serve(&[]);
    }
    write(2000..3000);
    let (outputs, letters) = settled(&stage, &host, 3000);
    let outputs = counts(outputs.iter().map(origin));
    assert!(outputs.values().all(|n| *n == 1), "repeated: {outputs:?}");
    assert_eq!((outputs.len(), letters.len()), (2850, 150));
    stage.committed(&host, &[(0, committed_end(&stage))]);
    let committed = host.metric("kafka_wasm_transactions_total", &[("result", "committed")]);
    assert!(committed.unwrap() > 0.0);
    host.stop().unwrap();
}

fn committed_end(stage: &Stage) -> i64 {
    let ends = clients::end_offsets(&stage.bootstrap, &stage.input).unwrap();
    ends[0].1
}

#[test]
fn each_output_is_seen_once_though_hosts_are_killed() {
    is_once("once", "");
}

#[test]
fn each_output_is_seen_once_by_key_though_hosts_are_killed() {
    is_once("once-by-key", "ordering = \"key\"\n");
}

#[test]
fn each_output_is_seen_once_without_order_though_hosts_are_killed() {
    is_once("once-unordered", "ordering = \"none\"\n");
}

#[test]
fn a_waiting_record_keeps_nothing_from_being_committed() {
    let stage = Stage::new("once-waiting", 1);
    let mut host = stage.run("act", &format!("{ONCE}ordering = \"key\"\n"));
    stage.produce_records([keyed("failing", "retry 3600000 later")]);
    stage.produce_records((0..500).map(|n| keyed(&format!("other-{}", n % 10), "ok")));
    stage.outputs(&host, 500);
    stage.committed(&host, &[(0, 0)]);
    host.kill9();

    let host = stage.serve(&[]);
    stage.produce_records([keyed("new", "ok")]);
    wait_lines(&host, &["attempt failed", "offset=0"], 1);
    stage.outputs(&host, 501);
    let before = host.metric("kafka_wasm_completed_before_total", &[]);
    assert_eq!(before.unwrap(), 500.0);
    host.stop().unwrap();
}

#[test]
fn a_refused_output_does_not_abort_its_neighbours_for_ever() {
    let stage = Stage::new("once-refused", 1);
    let small = format!("{}.small", stage.name);
    let limit = [("max.message.bytes", "80")];
    Kafka::shared().create_topic(&small, 1, &limit).unwrap();
    let host = stage.run("act", &format!("{ONCE}ordering = \"key\"\n"));
    stage.produce_records((0..100).map(|n| keyed(&format!("key-{n}"), "ok")));
    stage.produce_records([keyed("poison", &format!("emit-to {small}"))]);
    stage.produce_records((0..100).map(|n| keyed(&format!("key-{n}"), "ok")));
    let (outputs, letters) = settled(&stage, &host, 201);
    assert_eq!((outputs.len(), letters.len()), (200, 1));
    assert_eq!(said(&letters[0], "error-kind"), "emit");
    stage.committed(&host, &[(0, 201)]);
    let aborted = count_lines(&host, &["the transaction is aborted"]);
    assert!(
        (1..=3).contains(&aborted),
        "{aborted} times\n{}",
        host.tail()
    );
    host.stop().unwrap();
}

#[test]
fn an_output_for_a_topic_that_does_not_exist_is_given_up_in_time() {
    let stage = Stage::new("once-no-topic", 1);
    let host = stage.run("act", ONCE);
    stage.produce(&["ok", &format!("emit-to {}.nowhere", stage.name), "ok"]);
    let (outputs, letters) = settled(&stage, &host, 3);
    assert_eq!((outputs.len(), letters.len()), (2, 1));
    host.stop().unwrap();
}

#[test]
fn a_frozen_host_writes_nothing_after_others_took_over() {
    let stage = Stage::new("once-frozen", 2);
    stage.deploy("act", ONCE);
    let mut frozen = stage.serve(&[]);
    let write = |values: usize| {
        let records = (0..values).map(|n| TestRecord::new(format!("key-{n}"), "sleep 2"));
        stage.produce_records(records);
    };
    write(2000);
    clients::consume_until(&stage.bootstrap, &stage.output, 300, PATIENCE).unwrap();
    frozen.freeze().unwrap();
    let host = stage.serve(&[]);
    let (outputs, _) = settled(&stage, &host, 2000);
    assert_eq!(outputs.len(), 2000);
    frozen.thaw().unwrap();
    frozen
        .wait_for_line("partitions assigned", PATIENCE)
        .unwrap();
    write(500);
    settled(&stage, &host, 2500);
    stage.outputs(&host, 2500);
    frozen.stop().unwrap();
    host.stop().unwrap();
}

#[test]
fn scaling_out_and_in_repeats_nothing() {
    let stage = Stage::new("once-scaling", 4);
    stage.deploy("act", &format!("{ONCE}ordering = \"key\"\n"));
    let one = stage.serve(&[]);
    let records = (0..4000).map(|n| TestRecord::new(format!("key-{}", n % 50), "sleep 1"));
    stage.produce_records(records);
    let mut two = stage.serve(&[]);
    two.wait_for_line("partitions assigned", PATIENCE).unwrap();
    one.stop().unwrap();
    let outputs = stage.outputs(&two, 4000);
    let mut last = BTreeMap::new();
    for output in &outputs {
        let (partition, offset) = origin(output);
        let key = (partition, output.key_text());
        let before = last.insert(key, offset);
        assert!(
            before.is_none_or(|before| before < offset),
            "out of order: {output:?}"
        );
    }
    two.stop().unwrap();
}

#[test]
fn a_batch_and_its_position_are_one() {
    let stage = Stage::new("once-bulk", 1);
    // The settings are the host's own, which are to bring a takeover within seconds.
    let mut host = stage.run(
        "bulk",
        "delivery = \"exactly-once\"\nbulk.max-records = 20\n",
    );
    let records = |range: std::ops::Range<u32>| {
        stage.produce_records(range.map(|n| keyed(&format!("key-{n}"), "ok")));
    };
    let mut killed = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| records(0..50_000));
        clients::consume_until(&stage.bootstrap, &stage.output, 10, PATIENCE).unwrap();
        host.kill9();
        killed = Instant::now();
    });
    records(50_000..60_000);
    let seen = stage.read(&stage.output).len();
    let host = stage.serve(&[]);
    clients::consume_until(&stage.bootstrap, &stage.output, seen + 1, PATIENCE).unwrap();
    println!("taken over within {:?}", killed.elapsed());
    assert!(killed.elapsed() < TAKEOVER_BY_DEFAULT);
    stage.committed(&host, &[(0, 60_000)]);
    host.stop().unwrap();
    let batches = stage.read(&stage.output);
    let mut next = 0;
    for batch in &batches {
        assert_eq!(field(batch, "first"), next.to_string(), "{batch:?}");
        next = field(batch, "last").parse::<i64>().unwrap() + 1;
    }
    assert_eq!(next, 60_000);
}

#[test]
fn nothing_is_seen_before_it_is_committed() {
    let stage = Stage::new("once-slow", 1);
    let slow = format!("{ONCE}transaction-interval-ms = 5000\n");
    let host = stage.run("act", &slow);
    stage.produce(&["ok"]);
    stage.outputs(&host, 1);
    stage.produce(&["ok"; 50]);
    let written = || {
        let all = clients::consume_all(&stage.bootstrap, &stage.output, false).unwrap();
        all.len() >= 51
    };
    wait_until("the outputs are written", PATIENCE, written).unwrap();
    let early = stage.read(&stage.output).len();
    assert!(early == 1 || early == 51, "{early} of a transaction");
    stage.outputs(&host, 51);
    stage.committed(&host, &[(0, 51)]);
    never("an output is repeated", Duration::from_millis(200), || {
        stage.read(&stage.output).len() > 51
    });
    host.stop().unwrap();
}
