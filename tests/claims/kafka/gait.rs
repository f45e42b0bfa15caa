//! Outputs go to Kafka at once while there are few, and are gathered for a moment while there are many.
//!
//! **Invariant:** how long an output took is told by the broker, which stamps input and output when it writes them; of many the
//! fastest counts, since the machine may have other work.

use std::fs;

use harness::{Host, Kafka, TestRecord, clients, wait_until};

use super::stage::{PATIENCE, Stage};

/// What a producer that gathers waits for others, in milliseconds.
const GATHERS_MS: i64 = 5;
/// A topic whose records bear the time at which the broker wrote them.
const STAMPED: [(&str, &str); 1] = [("message.timestamp.type", "LogAppendTime")];
/// So many records come at once.
const BURST: usize = 20_000;

/// A stage whose topics are stamped.
fn stamped(name: &str) -> Stage {
    let mut stage = Stage::new(name, 1);
    stage.input = format!("{}.stamped", stage.input);
    stage.output = format!("{}.stamped", stage.output);
    for topic in [&stage.input, &stage.output] {
        Kafka::shared().create_topic(topic, 1, &STAMPED).unwrap();
    }
    stage
}

/// Passes records through, one after the other; returns the milliseconds that the fastest took.
fn fastest_of(stage: &Stage, host: &Host, count: usize) -> i64 {
    let before = stage.read(&stage.output).len();
    for nth in 1..=count {
        stage.produce(&["alone"]);
        let found = clients::consume_until(&stage.bootstrap, &stage.output, before + nth, PATIENCE);
        found.unwrap_or_else(|error| panic!("{error}\n{}", host.tail()));
    }
    let (inputs, outputs) = (stage.read(&stage.input), stage.read(&stage.output));
    let times = |records: &[TestRecord]| -> Vec<i64> {
        let last = records.iter().skip(before);
        last.map(|record| record.timestamp_ms.unwrap()).collect()
    };
    let took = times(&outputs);
    let took = took
        .iter()
        .zip(times(&inputs))
        .map(|(out, sent)| out - sent);
    took.min().unwrap()
}

#[test]
fn an_output_of_an_idle_handler_does_not_wait_for_others() {
    let stage = stamped("idle");
    let host = stage.run("pass", "");
    let fastest = fastest_of(&stage, &host, 20);
    assert!(fastest < GATHERS_MS, "{fastest} ms");
    host.stop().unwrap();
    // Whoever says how long gets what was said.
    let stage = stamped("told");
    let host = stage.run("pass", "kafka.producer.\"linger.ms\" = 50");
    let fastest = fastest_of(&stage, &host, 5);
    // The broker's clock leaves out what is less than a millisecond.
    assert!(fastest >= 49, "{fastest} ms");
    host.stop().unwrap();
}

/// How many producers the host has for outputs, by the threads that serve their reports.
fn producers(host: &Host) -> usize {
    let threads = fs::read_dir(format!("/proc/{}/task", host.pid())).unwrap();
    let names =
        threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok());
    // Linux keeps 15 characters.
    names
        .filter(|name| name.starts_with("delivery report"))
        .count()
}

#[test]
fn outputs_keep_their_order_while_they_become_many_and_few_again() {
    let stage = stamped("many-few");
    let host = stage.run("pass", "");
    let mut sent = 0;
    for _ in 0..2 {
        // Until they are so many that they are gathered, and at least once.
        wait_until("a second producer", PATIENCE, || {
            let records = (sent..sent + BURST).map(|nth| TestRecord::new("k", nth.to_string()));
            stage.produce_records(records);
            sent += BURST;
            let count = clients::consume_until(&stage.bootstrap, &stage.output, sent, PATIENCE);
            assert!(count.is_ok(), "{}", host.tail());
            producers(&host) == 2
        })
        .unwrap();
        wait_until("outputs at once again", PATIENCE, || {
            let fastest = fastest_of(&stage, &host, 1);
            sent += 1;
            fastest < GATHERS_MS
        })
        .unwrap();
    }
    let texts = |topic: &str| -> Vec<String> {
        let records = stage.read(topic);
        records.iter().map(TestRecord::text).collect()
    };
    assert!(texts(&stage.output) == texts(&stage.input), "another order");
    assert_eq!(stage.outputs(&host, sent).len(), sent);
    host.stop().unwrap();
}
