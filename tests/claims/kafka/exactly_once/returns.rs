//! Exactly once for records that wait in topics of retries: each step of such a record is part of a transaction.
//!
//! It is handed one stage for each test, whose group has its topics of retries from the start.
//! **Invariant:** what waits is counted as a reader of committed records sees it, and so are the outputs.

use harness::{Kafka, TestRecord, clients, guest, wait_until};

use super::super::stage::{PATIENCE, Stage, is, said, texts, verdict};
use super::{ONCE, TAKEOVER, counts};

/// A stage with a topic of retries for each of these delays.
fn stage(name: &str, delays: &[&str]) -> (Stage, Vec<String>) {
    let stage = Stage::new(name, 1);
    let topics = delays.iter().map(|delay| {
        let topic = format!("{}.retry.{delay}", stage.name);
        Kafka::shared().create_topic(&topic, 1, &[]).unwrap();
        topic
    });
    let topics = topics.collect();
    (stage, topics)
}

#[test]
fn a_record_that_waits_in_a_topic_has_its_output_once_though_its_host_is_killed() {
    let (stage, topics) = stage("once-deferred", &["1s"]);
    let waits =
        "ordering = \"none\"\nretry.topic-delays-ms = [1000]\ntransaction-interval-ms = 500\n";
    let mut host = stage.run("act", &format!("{ONCE}{waits}"));
    let fails = |range: std::ops::Range<u32>| {
        let record = |n| TestRecord::new(format!("key-{n}"), format!("retry 4000 {n}")).on(0);
        stage.produce_records(range.map(record));
    };
    // Some wait for good when the host is killed, and others may be part of a transaction that is not committed.
    fails(0..100);
    stage.exactly(&topics[0], &host, 100);
    fails(100..200);
    let written = wait_until("more records in the topic", PATIENCE, || {
        let all = clients::consume_all(&stage.bootstrap, &topics[0], false).unwrap();
        all.len() > 100
    });
    written.unwrap_or_else(|error| panic!("{error}\n{}", host.tail()));
    host.kill9();
    assert_eq!(stage.read(&stage.output), []);

    stage
        .folder
        .swap_component(&stage.name, guest("pass"))
        .unwrap();
    let host = stage.serve(&[]);
    let all_out = wait_until("all outputs", TAKEOVER, || {
        let outputs = stage.read(&stage.output);
        counts(texts(&outputs)).len() == 200
    });
    all_out.unwrap_or_else(|error| panic!("{error}\n{}", host.tail()));
    stage.committed(&host, &[(0, 200)]);
    host.stop().unwrap();
    let outputs = stage.read(&stage.output);
    assert_eq!(
        outputs.len(),
        200,
        "repeated: {:?}",
        counts(texts(&outputs))
    );
    let waited = stage.read(&topics[0]).len();
    assert!((100..=200).contains(&waited), "{waited}");
    assert_eq!(stage.read(&stage.dead_letters), []);
}

#[test]
fn a_record_passes_the_topics_of_all_delays_and_its_attempts_are_counted_on() {
    let (stage, topics) = stage("once-ladder", &["1s", "2s"]);
    let ladder = "ordering = \"none\"\nretry.topic-delays-ms = [1000, 2000]\nretry.max-attempts = 3\n\
                  retry.backoff = \"list\"\nretry.delays-ms = [1000, 2000]\nretry.jitter = 0\n";
    let host = stage.run("act", &format!("{ONCE}{ladder}"));
    stage.produce_records([TestRecord::new("k", "other no"), TestRecord::new("k", "ok")]);
    let letter = stage.letter(&host);
    assert_eq!(verdict(&letter), is("other", "3"));
    let steps = [&topics[0], &topics[1], &stage.dead_letters];
    let mut before_ms = 0;
    for (nth, topic) in steps.into_iter().enumerate() {
        let records = stage.exactly(topic, &host, 1);
        assert_eq!(said(&records[0], "attempts"), (nth + 1).to_string());
        assert_eq!(said(&records[0], "offset"), "0");
        assert_eq!(
            (records[0].key_text(), records[0].text()),
            ("k".into(), "other no".into())
        );
        let at_ms = records[0].timestamp_ms.unwrap();
        // The wait begins when the attempt has failed, a moment before the record is written.
        let least = [0, 900, 1900][nth];
        assert!(at_ms - before_ms >= least, "{topic}: {}", at_ms - before_ms);
        before_ms = at_ms;
    }
    stage.outputs(&host, 1);
    stage.committed(&host, &[(0, 2)]);
    host.stop().unwrap();
}
