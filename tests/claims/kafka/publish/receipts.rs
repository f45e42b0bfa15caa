//! Records that are sent at once, and the receipts for them.

use std::time::Duration;

use harness::{Kafka, clients, wait_until};
use tokio::time::Instant;

use super::super::stage::{PATIENCE, Stage, TWICE, field, is, texts, verdict, wait_lines};

/// A producer that goes on looking for a topic that does not exist, and finds it soon.
const LOOKS_ON: &str = "[kafka.producer]\n\"topic.metadata.propagation.max.ms\" = 600000\n\
                        \"topic.metadata.refresh.fast.interval.ms\" = 100\n";

/// A stage with a topic that records are sent to at once.
fn stage(name: &str) -> (Stage, String) {
    let stage = Stage::new(name, 2);
    let target = format!("{}.target", stage.name);
    (stage, target)
}

#[test]
fn a_receipt_says_where_the_record_is_and_when_it_was_written() {
    for times in ["CreateTime", "LogAppendTime"] {
        let (stage, target) = stage("receipt");
        let settings = [("message.timestamp.type", times)];
        Kafka::shared().create_topic(&target, 3, &settings).unwrap();
        let deeds: Vec<String> = (0..30)
            .map(|n| format!("receipt {target} 30000 text {n}"))
            .collect();
        let deeds: Vec<&str> = deeds.iter().map(String::as_str).collect();
        stage.produce(&deeds);
        let host = stage.run("act", "ordering = \"none\"\n");
        let outputs = stage.outputs(&host, 30);
        let said = |n: usize| {
            let text = format!("text {n}");
            let of = |output: &&harness::TestRecord| field(output, "value").ends_with(&text);
            field(outputs.iter().find(of).unwrap(), "result")
        };
        let written = stage.read(&target);
        assert_eq!(written.len(), 30);
        for n in 0..30 {
            let text = format!("text {n}");
            let record = written.iter().find(|record| record.text() == text);
            let record = record.unwrap();
            let place = [
                i64::from(record.partition.unwrap()),
                record.offset.unwrap(),
                record.timestamp_ms.unwrap(),
            ];
            let place = place.map(|number| number.to_string()).join(" ");
            assert_eq!(said(n), place, "{times} {text}");
        }
        stage.committed(&host, &[(0, 30)]);
    }
}

#[test]
fn what_is_sent_at_once_stays_when_its_hook_fails() {
    let (stage, target) = stage("receipt-stays");
    stage.create_topic(&target, 1);
    stage.produce(&[&format!("receipt-then-fail {target}"), "ok"]);
    let host = stage.run("act", TWICE);
    assert_eq!(verdict(&stage.letter(&host)), is("other", "2"));
    assert_eq!(texts(&stage.read(&target)), ["kept", "kept"]);
    assert_eq!(stage.outputs(&host, 1).len(), 1);
}

#[test]
fn a_wait_for_a_receipt_has_its_own_bound_and_takes_none_of_the_deadline() {
    let (stage, target) = stage("receipt-late");
    let keys = format!("limits.deadline-ms = 300\nlimits.pending-requests = 1\n{TWICE}{LOOKS_ON}");
    let host = stage.run("act", &keys);
    stage.produce(&[&format!("receipt {target} 2000 first")]);
    let result = |n: usize| field(&stage.outputs(&host, n)[n - 1], "result");
    assert_eq!(result(1), "no receipt came in time");
    // While one record waits, no other one may.
    for partition in [0, 1] {
        let deed = format!("receipt {target} 60000 then");
        stage.produce_on(partition, &[&deed]);
    }
    assert_eq!(
        result(2),
        "too many records wait: the handler may have 1 at once (limits.pending-requests)"
    );
    // Kafka has the first one as well once there is a topic.
    stage.create_topic(&target, 1);
    let then = result(3);
    assert!(then.starts_with("0 1 "), "{then}");
    assert_eq!(texts(&stage.read(&target)), ["first", "then"]);
}

#[test]
fn guests_that_wait_for_receipts_leave_places_for_others() {
    let (stage, target) = stage("receipt-places");
    // A permit that is lent lets the next lane in, so that without a bound waiting guests would have all places.
    let keys = format!("ordering = \"none\"\nconcurrency = 1\n{LOOKS_ON}");
    stage.deploy("act", &keys);
    let host = stage.serve(&["--instances-max", "4"]);
    let deeds: Vec<String> = (0..8)
        .map(|n| format!("receipt {target} 60000 {n}"))
        .collect();
    let deeds: Vec<&str> = deeds.iter().map(String::as_str).collect();
    stage.produce(&deeds);
    let results = |n: usize| -> Vec<String> {
        let outputs = stage.outputs(&host, n);
        outputs.iter().map(|it| field(it, "result")).collect()
    };
    let full = "too many records wait: three of four instances of the host wait (instances-max)";
    assert_eq!(results(5), [full; 5]);
    stage.create_topic(&target, 1);
    let last = results(8).split_off(5);
    assert!(last.iter().all(|it| it.starts_with("0 ")), "{last:?}");
    stage.committed(&host, &[(0, 8)]);
    host.stop().unwrap();
}

#[test]
fn guests_that_wait_for_receipts_get_along_with_one_place() {
    let (stage, target) = stage("receipt-single");
    stage.deploy(
        "act",
        &format!("ordering = \"none\"\nconcurrency = 1\n{LOOKS_ON}"),
    );
    let host = stage.serve(&["--instances-max", "1"]);
    let deeds = [0, 1, 2].map(|n| format!("receipt {target} 60000 {n}"));
    stage.produce(&deeds.each_ref().map(String::as_str));
    // Who has the permit that the first one lends needs its place, and the first one needs the permit.
    wait_lines(
        &host,
        &["all instances that the host may run are in use"],
        1,
    );
    stage.create_topic(&target, 1);
    let outputs = stage.outputs(&host, 3);
    let results: Vec<_> = outputs.iter().map(|it| field(it, "result")).collect();
    assert!(results.iter().all(|it| it.starts_with("0 ")), "{results:?}");
    stage.committed(&host, &[(0, 3)]);
    host.stop().unwrap();
}

#[test]
fn a_wait_for_a_receipt_holds_up_no_stop() {
    for ordering in ["partition", "key"] {
        let (stage, target) = stage("receipt-stop");
        let mut host = stage.run("act", &format!("ordering = \"{ordering}\"\n{LOOKS_ON}"));
        stage.produce(&["ok"]);
        stage.committed(&host, &[(0, 1)]);
        stage.produce(&[&format!("receipt {target} 60000 x")]);
        let is_taken = || host.metric("kafka_wasm_record_bytes_total", &[]).unwrap() > 20.0;
        wait_until("the record is taken", PATIENCE, is_taken).unwrap();
        let began = Instant::now();
        host.term().unwrap();
        host.wait(PATIENCE).unwrap();
        // The drain deadline is 25 s.
        let took = began.elapsed();
        assert!(
            took < Duration::from_secs(10),
            "{ordering}: {took:?}\n{}",
            host.tail()
        );
        stage.committed(&host, &[(0, 1)]);
        assert_eq!(stage.outputs(&host, 1).len(), 1);
    }
}

#[test]
fn a_finished_hook_that_waits_holds_up_no_stop_and_leaves_its_record_open() {
    let (stage, target) = stage("receipt-finished");
    let mut host = stage.run("finished", LOOKS_ON);
    stage.produce(&[&format!("receipt {target}")]);
    let is_taken = || {
        host.metric("kafka_wasm_record_bytes_total", &[])
            .is_ok_and(|it| it > 0.0)
    };
    wait_until("the record is taken", PATIENCE, is_taken).unwrap();
    let began = Instant::now();
    host.term().unwrap();
    host.wait(PATIENCE).unwrap();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}\n{}", host.tail());
    let committed = clients::committed(&stage.bootstrap, &stage.name, &stage.input).unwrap();
    assert!(!committed.contains(&(0, 1)), "{committed:?}");
    // Whoever reads it next tells it.
    stage.create_topic(&target, 1);
    let host = stage.serve(&[]);
    stage.committed(&host, &[(0, 1)]);
    host.stop().unwrap();
}

#[test]
fn nothing_is_sent_at_once_beside_a_transaction_unless_the_manifest_allows_it() {
    for (side_effects, is_allowed) in [("refused", false), ("allowed", true)] {
        let (stage, target) = stage("receipt-exactly-once");
        stage.create_topic(&target, 1);
        stage.produce(&[&format!("receipt {target} 30000 x")]);
        let keys = format!("delivery = \"exactly-once\"\nside-effects = \"{side_effects}\"\n");
        let host = stage.run("act", &keys);
        let result = field(&stage.outputs(&host, 1)[0], "result");
        if is_allowed {
            assert!(result.starts_with("0 0 "), "{result}");
        } else {
            assert_eq!(
                result,
                "the record was denied: no transaction takes back what is written at once (delivery is exactly-once; write \
                 side-effects = \"allowed\")"
            );
        }
        assert_eq!(stage.read(&target).len(), usize::from(is_allowed));
    }
}
