//! Records that come back to their handler by topics of its own: retries that wait in Kafka, and replayed dead letters.
//!
//! It is handed one stage for each test, and reads what came out and the dead letters.
//! **Invariant:** a test that kills a host does so while the record waits in its topic.

use harness::{Host, Kafka, TestRecord, clients, guest};

use super::stage::{Stage, count_lines, field, is, said, verdict, wait_lines};

const IN_TOPIC: &str = "ordering = \"none\"\nretry.topic-delays-ms = [1000, 60000]\n";

/// A stage with the topic of the shorter delay.
fn stage(name: &str) -> (Stage, String) {
    let stage = Stage::new(name, 1);
    let topic = format!("{}.retry.1s", stage.name);
    stage.create_topic(&topic, 1);
    (stage, topic)
}

/// Makes the topic of replays while nobody reads it, so that the group has it from the start.
fn with_replay(stage: &Stage) -> String {
    let topic = format!("{}.replay", stage.name);
    stage.create_topic(&topic, 1);
    topic
}

/// Writes a dead letter as it is to the topic of replays.
fn replay(stage: &Stage, topic: &str, letter: &TestRecord) {
    let record = letter.payload().on(0);
    clients::produce_records(&stage.bootstrap, topic, [record]).unwrap();
}

fn only_deferred(host: &Host, count: f64) {
    let deferred = host.metric("kafka_wasm_records_total", &[("outcome", "deferred")]);
    assert_eq!(deferred.unwrap(), count);
}

#[test]
fn a_long_wait_is_passed_in_a_topic() {
    let (stage, topic) = stage("deferred");
    let host = stage.run("act", &format!("{IN_TOPIC}retry.max-attempts = 3\n"));
    let failing = TestRecord::new("key", "retry 1500 again").header("trace", Some(b"7"));
    stage.produce_records([failing.clone(), TestRecord::new("key", "ok")]);
    // Its input is complete while it waits.
    stage.committed(&host, &[(0, 2)]);
    let letter = stage.letter(&host);
    assert_eq!(verdict(&letter), is("retry", "3"));
    assert_eq!(said(&letter, "topic"), stage.input);
    assert_eq!(said(&letter, "offset"), "0");
    assert_eq!(letter.key_text(), "key");
    assert_eq!(letter.text(), "retry 1500 again");
    let headers = letter.headers.unwrap();
    assert_eq!(headers.len(), 11, "one own, ten of the letter: {headers:?}");
    assert_eq!(headers[0], failing.headers.unwrap()[0]);
    let waits = stage.read(&topic);
    // The wait begins when the attempt has failed, a moment before the record is written.
    let times: Vec<i64> = waits.iter().filter_map(|wait| wait.timestamp_ms).collect();
    assert!(
        times[1] - times[0] >= 1400,
        "the second wait began too early: {times:?}"
    );
    assert_eq!(times.len(), 2);
    only_deferred(&host, 2.0);
    host.stop().unwrap();
}

#[test]
fn a_wait_in_a_topic_outlives_its_host() {
    let (stage, topic) = stage("outlived");
    let policy = "retry.max-attempts = 2\n\"kafka\".consumer.\"session.timeout.ms\" = 6000\n";
    let mut host = stage.run("act", &format!("{IN_TOPIC}{policy}"));
    stage.produce(&["retry 4000 again"]);
    stage.committed(&host, &[(0, 1)]);
    host.kill9();
    assert!(stage.read(&stage.dead_letters).is_empty());
    let host = stage.serve(&[]);
    let letter = stage.letter(&host);
    assert_eq!(verdict(&letter), is("retry", "2"));
    assert_eq!(stage.read(&topic).len(), 1);
    host.stop().unwrap();
}

#[test]
fn a_short_wait_stays_in_memory() {
    let (stage, topic) = stage("short");
    let host = stage.run("act", &format!("{IN_TOPIC}retry.max-attempts = 2\n"));
    stage.produce(&["retry 500 again"]);
    assert_eq!(verdict(&stage.letter(&host)), is("retry", "2"));
    assert!(stage.read(&topic).is_empty());
    only_deferred(&host, 0.0);
    host.stop().unwrap();
}

#[test]
fn a_topic_of_retries_that_is_missing_halts_the_partition_loudly() {
    let stage = Stage::new("no-retry-topic", 1);
    stage.deploy("act", IN_TOPIC);
    let host = stage.serve(&["--kafka-setting", "topic.metadata.propagation.max.ms=500"]);
    stage.produce(&["retry 60000 again"]);
    let topic = format!("{}.retry.1m", stage.name);
    wait_lines(&host, &["the partition is halted", &topic], 1);
    host.stop().unwrap();
}

#[test]
fn a_replayed_letter_comes_back_as_the_record_that_it_was() {
    let stage = Stage::new("replayed", 1);
    let topic = with_replay(&stage);
    let host = stage.run("act", "retry.max-attempts = 2\nretry.initial-ms = 10\n");
    let record = TestRecord {
        timestamp_ms: Some(1_517_364_031_800),
        ..TestRecord::new("key", "other no").header("trace", Some(b"7"))
    };
    stage.produce_records([record.clone()]);
    let first = stage.letter(&host);
    assert_eq!(verdict(&first), is("other", "2"));

    // It fails again: its attempts go on, and its place is the first one.
    replay(&stage, &topic, &first);
    let second = stage.letters(&host, 2).remove(1);
    assert_eq!(verdict(&second), is("other", "3"));
    for name in ["topic", "partition", "offset", "timestamp"] {
        assert_eq!(said(&second, name), said(&first, name), "{name}");
    }
    assert_eq!(second.headers.as_ref().map(Vec::len), Some(11));

    // It is handled by the handler's next revision, and nobody else reads it.
    stage
        .folder
        .swap_component(&stage.name, guest("pass"))
        .unwrap();
    wait_lines(&host, &["deployed"], 2);
    replay(&stage, &topic, &second);
    let output = stage.outputs(&host, 1).remove(0);
    let expected = TestRecord {
        timestamp_ms: None,
        ..record
    };
    assert_eq!(output.payload(), expected.payload());
    assert_eq!(stage.read(&stage.input).len(), 1);
    host.stop().unwrap();
}

/// Runs `dead-letter replay` for the handler of a stage; returns the exit code and what it printed.
fn replay_all(stage: &Stage) -> (Option<i32>, String) {
    let mut command = harness::host::command("dead-letter").unwrap();
    command
        .args(["replay", &stage.name, "--brokers", &stage.bootstrap])
        .arg("--handlers")
        .arg(stage.folder.path());
    let output = command.output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&printed).into_owned(),
    )
}

#[test]
fn the_command_replays_to_the_handler_that_serves_now() {
    let stage = Stage::new("replayed-by-command", 2);
    let host = stage.run("act", "ordering = \"key\"\nretry.max-attempts = 1\n");
    let refused = (0..20).map(|n| TestRecord::new(format!("key-{}", n % 4), format!("other {n}")));
    stage.produce_records(refused);
    let letters = stage.letters(&host, 20);
    stage
        .folder
        .swap_component(&stage.name, guest("pass"))
        .unwrap();
    wait_lines(&host, &["deployed"], 2);
    // The second time there is nothing left to do.
    for _ in 0..2 {
        let (code, printed) = replay_all(&stage);
        assert_eq!(code, Some(0), "{printed}");
    }
    let outputs = stage.outputs(&host, 20);
    for letter in &letters {
        let same = |output: &&TestRecord| output.text() == letter.text();
        let mine: Vec<_> = outputs.iter().filter(same).collect();
        assert_eq!(mine.len(), 1, "{letter:?}");
        assert_eq!(mine[0].key, letter.key);
        assert_eq!(mine[0].headers, None, "it was written without any");
    }
    stage.letters(&host, 20);
    host.stop().unwrap();
}

#[test]
fn nothing_comes_back_to_a_group_of_several_handlers() {
    let stage = Stage::new("shared-replays", 1);
    stage.deploy("act", "");
    let other = stage.manifest("").replace(&stage.input, "elsewhere");
    stage.folder.swap_in("other", guest("act"), &other).unwrap();
    let (code, printed) = replay_all(&stage);
    assert_eq!(code, Some(64), "{printed}");
    assert!(
        printed.contains("shares the group") && printed.contains("default/other"),
        "{printed}"
    );
}

#[test]
fn a_record_that_is_no_letter_is_handled_as_one_of_its_topic() {
    let stage = Stage::new("no-letter", 1);
    let topic = with_replay(&stage);
    let host = stage.run("act", "");
    replay(&stage, &topic, &TestRecord::new("key", "ok"));
    let output = stage.outputs(&host, 1).remove(0);
    assert_eq!(field(&output, "topic"), topic);
    assert_eq!(count_lines(&host, &["did not come from here"]), 1);
    host.stop().unwrap();
}

#[test]
fn a_topic_of_replays_that_is_made_later_is_found() {
    let stage = Stage::new("late-replay", 1);
    let mut host = stage.run("act", "retry.max-attempts = 1\n");
    stage.produce(&["other no"]);
    let letter = stage.letter(&host);
    host.wait_until_ready(super::stage::PATIENCE).unwrap();
    let topic = with_replay(&stage);
    replay(&stage, &topic, &letter);
    let second = stage.letters(&host, 2).remove(1);
    assert_eq!(verdict(&second), is("other", "2"));
    host.stop().unwrap();
}

#[test]
fn a_topic_that_forgets_before_the_wait_is_over_is_refused() {
    let stage = Stage::new("forgotten", 1);
    let topic = format!("{}.retry.1m", stage.name);
    let kafka = Kafka::shared();
    kafka
        .create_topic(&topic, 1, &[("retention.ms", "60000")])
        .unwrap();
    let only = "ordering = \"none\"\nretry.topic-delays-ms = [60000]\n";
    let host = stage.run("act", only);
    let why = "which keeps them no longer than that (retention.ms=60000; more is needed)";
    wait_lines(&host, &["handler.toml", &topic, why], 1);

    kafka.delete_topic(&topic).unwrap();
    kafka
        .create_topic(&topic, 1, &[("retention.ms", "61000")])
        .unwrap();
    let manifest = stage.manifest(&format!("{only}retry.max-attempts = 2\n"));
    stage.folder.swap_manifest(&stage.name, &manifest).unwrap();
    stage.produce(&["ok"]);
    stage.outputs(&host, 1);
    host.stop().unwrap();
}
