//! Outputs that Kafka refuses, where the manifest says that this is not the end of their record.

use std::time::Duration;

use harness::{Host, Kafka, TestRecord, clients, guest, wait_until};
use tokio::time::Instant;

use super::super::stage::{
    PATIENCE, Stage, count_lines, field, is, never, said, verdict, wait_lines,
};

/// What is told of each refusal that is mended.
const MENDED: &str = "kafka refused outputs";

/// A producer that gives a topic that does not exist up at once, and looks for it often.
const IMPATIENT: [&str; 4] = [
    "--kafka-setting",
    "topic.metadata.propagation.max.ms=300",
    "--kafka-setting",
    "topic.metadata.refresh.interval.ms=300",
];

/// Sends again for a minute.
const PATIENT: &str = "publish.retry.attempts = 300\npublish.retry.backoff = \"fixed\"\npublish.retry.delay-ms = 200\n";

/// Makes a topic that takes no record of a usual size.
fn narrow(stage: &Stage) -> String {
    let narrow = format!("{}.narrow", stage.name);
    let limit = [("max.message.bytes", "80")];
    Kafka::shared().create_topic(&narrow, 1, &limit).unwrap();
    narrow
}

fn metric(host: &Host, name: &str) -> f64 {
    host.metric(name, &[]).unwrap_or_default()
}

fn offsets(records: &[TestRecord]) -> Vec<String> {
    records.iter().map(|it| field(it, "offset")).collect()
}

#[test]
fn an_output_for_a_topic_that_comes_later_is_sent_again_and_nothing_passes_it() {
    for ordering in ["partition", "key", "none"] {
        let stage = Stage::new("mend", 1);
        let late = format!("{}.late", stage.name);
        let deed = format!("emit-to {late}");
        stage.deploy("act", &format!("ordering = \"{ordering}\"\n{PATIENT}"));
        let host = stage.serve(&IMPATIENT);
        stage.produce(&["ok", &deed, &deed]);
        wait_lines(&host, &[MENDED], 3);
        // These were not begun when it was refused, so they wait.
        stage.produce(&[&deed, "ok", &deed]);
        never("a later record is begun", Duration::from_secs(1), || {
            stage.read(&stage.output).len() > 3
        });
        stage.committed(&host, &[(0, 1)]);
        stage.create_topic(&late, 1);
        let mut written = offsets(&stage.exactly(&late, &host, 4));
        if ordering == "none" {
            // Records that were at work together have no order.
            written[..2].sort();
            written[2..].sort();
        }
        assert_eq!(written, ["1", "2", "3", "5"], "{ordering}");
        stage.committed(&host, &[(0, 6)]);
        assert_eq!(stage.outputs(&host, 6).len(), 6);
        assert!(stage.read(&stage.dead_letters).is_empty());
        assert!(metric(&host, "kafka_wasm_repeated_outputs_total") >= 2.0);
        assert_eq!(metric(&host, "kafka_wasm_redirected_outputs_total"), 0.0);
    }
}

/// Has these records handled, each of which has an output refused, and others when that is known. The refused ones could be
/// written then, but what else the first record emits still waits in the producer.
fn keeps_its_order_behind(first: &[&str]) {
    for ordering in ["partition", "key"] {
        let stage = Stage::new("mend-waits", 1);
        let late = format!("{}.late", stage.name);
        let linger = "kafka.producer.\"linger.ms\" = \"3000\"";
        let keys = format!("ordering = \"{ordering}\"\n{linger}\n{PATIENT}");
        let manifest = stage.manifest(&keys).replace(&stage.output, &late);
        stage
            .folder
            .swap_in(&stage.name, guest("act"), &manifest)
            .unwrap();
        let record = |value: &&str| TestRecord::new("k", value.replace("OUT", &stage.output)).on(0);
        stage.produce_records(first.iter().map(record));
        let host = stage.serve(&IMPATIENT);
        let are_refused =
            || metric(&host, "kafka_wasm_refused_records_total") >= first.len() as f64;
        wait_until("the refusals", PATIENCE, are_refused).unwrap();
        let mended = count_lines(&host, &[MENDED]);
        assert!(mended < first.len(), "a flight is under way");
        stage.create_topic(&late, 1);
        stage.produce_records(["ok", "ok"].iter().map(record));
        let all: Vec<_> = (0..first.len() + 2).map(|n| n.to_string()).collect();
        let written = offsets(&stage.exactly(&late, &host, all.len()));
        assert_eq!(written, all, "{ordering}");
        stage.committed(&host, &[(0, all.len() as i64)]);
        host.stop().unwrap();
    }
}

#[test]
fn no_record_is_begun_while_a_refused_output_waits_for_the_others_of_its_record() {
    keeps_its_order_behind(&["emit-to OUT"]);
}

#[test]
fn no_refused_output_is_sent_again_before_those_of_earlier_records_are_known() {
    keeps_its_order_behind(&["emit-to OUT", "ok"]);
}

#[test]
fn an_output_goes_to_its_dead_letter_topic_when_it_was_sent_as_often_as_it_may() {
    let stage = Stage::new("mend-letter", 1);
    let nowhere = format!("{}.nowhere", stage.name);
    let letters = format!("{nowhere}.dlq");
    stage.create_topic(&letters, 1);
    stage.produce(&[&format!("emit-to {nowhere}"), "ok"]);
    let keys = "publish.retry.attempts = 3\npublish.retry.delay-ms = 100\n\
                publish.dead-letter-topic = \"{topic}.dlq\"\n";
    stage.deploy("act", keys);
    let host = stage.serve(&IMPATIENT);
    let letter = stage.exactly(&letters, &host, 1).remove(0);
    assert_eq!(letter.header_text("original_topic"), Some(nowhere));
    stage.committed(&host, &[(0, 2)]);
    assert_eq!(count_lines(&host, &[MENDED]), 3);
    assert_eq!(metric(&host, "kafka_wasm_repeated_outputs_total"), 2.0);
    assert_eq!(metric(&host, "kafka_wasm_redirected_outputs_total"), 1.0);
    assert!(stage.read(&stage.dead_letters).is_empty());
}

#[test]
fn an_output_that_is_refused_as_often_as_it_may_be_sent_ends_its_record() {
    let stage = Stage::new("mend-end", 1);
    stage.produce(&["ok", &format!("emit-to {}.nowhere", stage.name), "ok"]);
    let keys = "publish.retry.attempts = 4\npublish.retry.backoff = \"fibonacci\"\n\
                publish.retry.delay-ms = 50\n";
    stage.deploy("act", keys);
    let host = stage.serve(&IMPATIENT);
    assert_eq!(verdict(&stage.letter(&host)), is("emit", "1"));
    stage.committed(&host, &[(0, 3)]);
    assert_eq!(count_lines(&host, &[MENDED]), 3);
    for wait in ["wait_ms=50", "wait_ms=100"] {
        assert!(count_lines(&host, &[MENDED, wait]) > 0, "{wait}");
    }
    assert_eq!(metric(&host, "kafka_wasm_repeated_outputs_total"), 3.0);
}

#[test]
fn an_output_that_is_too_large_is_not_sent_again() {
    let stage = Stage::new("mend-large", 1);
    stage.produce(&[&format!("emit-to {}", narrow(&stage)), "ok"]);
    let host = stage.run("act", PATIENT);
    assert_eq!(verdict(&stage.letter(&host)), is("emit", "1"));
    stage.committed(&host, &[(0, 2)]);
    assert_eq!(count_lines(&host, &[MENDED]), 0);
}

#[test]
fn a_stop_does_not_wait_for_refused_outputs_and_the_next_host_handles_their_record() {
    for ordering in ["partition", "key"] {
        let stage = Stage::new("mend-stop", 1);
        let late = format!("{}.late", stage.name);
        stage.deploy("act", &format!("ordering = \"{ordering}\"\n{PATIENT}"));
        let mut host = stage.serve(&IMPATIENT);
        stage.produce(&["ok", &format!("emit-to {late}")]);
        wait_lines(&host, &[MENDED], 2);
        let began = Instant::now();
        host.term().unwrap();
        host.wait(PATIENCE).unwrap();
        let took = began.elapsed();
        assert!(took < Duration::from_secs(10), "{ordering}: {took:?}");
        let committed = || clients::committed(&stage.bootstrap, &stage.name, &stage.input);
        assert_eq!(committed().unwrap(), [(0, 1)]);
        stage.create_topic(&late, 1);
        let host = stage.serve(&[]);
        assert_eq!(offsets(&stage.exactly(&late, &host, 1)), ["1"]);
        stage.committed(&host, &[(0, 2)]);
        assert!(stage.read(&stage.dead_letters).is_empty());
    }
}

#[test]
fn a_refused_output_goes_to_its_own_dead_letter_topic_as_it_was() {
    for ordering in ["partition", "key"] {
        let stage = Stage::new("refused-letter", 1);
        let narrow = narrow(&stage);
        let letters = format!("{narrow}.dlq");
        stage.create_topic(&letters, 1);
        let deed = format!("emit-to {narrow}");
        stage.produce_records([
            TestRecord::new("k", deed.clone()).on(0),
            TestRecord::new("l", "ok").on(0),
        ]);
        let keys =
            format!("ordering = \"{ordering}\"\npublish.dead-letter-topic = \"{{topic}}.dlq\"\n");
        let host = stage.run("act", &keys);
        let letter = stage.exactly(&letters, &host, 1).remove(0);
        assert_eq!(letter.key_text(), "k");
        assert_eq!(
            (field(&letter, "offset"), field(&letter, "value")),
            ("0".to_owned(), deed)
        );
        let names: Vec<&str> = letter
            .headers
            .iter()
            .flatten()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["original_error", "original_topic"]);
        assert_eq!(letter.header_text("original_topic"), Some(narrow.clone()));
        let error = letter.header_text("original_error").unwrap();
        assert!(
            error.contains("MessageSizeTooLarge") && error.contains(&narrow),
            "{error}"
        );
        stage.committed(&host, &[(0, 2)]);
        assert_eq!(stage.outputs(&host, 2).len(), 2);
        assert!(stage.read(&stage.dead_letters).is_empty());
        let handled = host.metric("kafka_wasm_records_total", &[("outcome", "handled")]);
        assert_eq!(handled.unwrap(), 2.0);
        assert_eq!(metric(&host, "kafka_wasm_redirected_outputs_total"), 1.0);
    }
}

#[test]
fn what_is_refused_there_too_ends_its_record() {
    let stage = Stage::new("refused-twice", 1);
    let narrow = narrow(&stage);
    stage.produce(&[&format!("emit-to {narrow}"), "ok"]);
    // There is no such topic.
    stage.deploy(
        "act",
        &format!("publish.dead-letter-topic = \"{{topic}}.dlq\"\n{PATIENT}"),
    );
    let host = stage.serve(&IMPATIENT);
    let letter = stage.letter(&host);
    assert_eq!(verdict(&letter), is("emit", "1"));
    let error = said(&letter, "error");
    assert!(error.contains(&format!("{narrow}.dlq")), "{error}");
    stage.committed(&host, &[(0, 2)]);
}

#[test]
fn a_refused_output_of_a_batch_goes_there_and_all_of_its_records_are_handled() {
    for ordering in ["partition", "key"] {
        let stage = Stage::new("refused-batch", 1);
        let letters = format!("{}.refused", stage.name);
        stage.create_topic(&letters, 1);
        let guilty = format!("emit-to {}", narrow(&stage));
        let record = |n: i64| {
            let value = if n == 17 { &guilty } else { "v" };
            TestRecord::new(format!("key-{}", n % 3), value).on(0)
        };
        stage.produce_records((0..60).map(record));
        let keys = format!(
            "ordering = \"{ordering}\"\nbulk.max-records = 20\npublish.dead-letter-topic = \"{letters}\"\n"
        );
        let host = stage.run("bulk", &keys);
        stage.exactly(&letters, &host, 1);
        stage.committed(&host, &[(0, 60)]);
        assert!(stage.read(&stage.dead_letters).is_empty());
        let handled = host.metric("kafka_wasm_records_total", &[("outcome", "handled")]);
        assert_eq!(handled.unwrap(), 60.0);
    }
}

#[test]
fn what_can_be_mended_of_a_batch_is_mended_before_the_rest_is_given_up() {
    for ordering in ["partition", "key"] {
        let stage = Stage::new("mend-batch", 1);
        let late = format!("{}.late", stage.name);
        let large = format!("emit-to {}", narrow(&stage));
        let early = format!("emit-to {late}");
        let value = |n: i64| match n {
            3 => large.as_str(),
            7 => early.as_str(),
            _ => "v",
        };
        stage.produce_records((0..20).map(|n| TestRecord::new("k", value(n)).on(0)));
        let keys = format!("ordering = \"{ordering}\"\nbulk.max-records = 20\n{PATIENT}");
        stage.deploy("bulk", &keys);
        let host = stage.serve(&IMPATIENT);
        wait_lines(&host, &[MENDED, "outputs=1 "], 1);
        assert!(stage.read(&stage.dead_letters).is_empty());
        stage.create_topic(&late, 1);
        stage.exactly(&late, &host, 1);
        let letter = stage.letter(&host);
        assert_eq!(verdict(&letter), is("emit", "1"), "{ordering}");
        assert_eq!(letter.text(), large);
        stage.committed(&host, &[(0, 20)]);
        host.stop().unwrap();
    }
}
