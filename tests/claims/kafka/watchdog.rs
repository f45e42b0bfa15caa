//! What stalls is told with its record, and what only waits is not.
//!
//! It is handed one stage for each test; the fixture `act` takes as long as its records say.
//! **Invariant:** what must not be told is waited for longer than its bound.

use std::time::Duration;

use harness::{Host, Kafka, TestRecord, guest, wait_until};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tempfile::TempDir;

use super::stage::{PATIENCE, Stage, count_lines, never, value_on, wait_lines};

/// Written where a partition makes no progress.
const STALLED: &str = "the partition makes no progress";
const RECOVERED: &str = "the partition makes progress again";
/// No call ends by itself.
const LONG: &str = "limits.deadline-ms = 600000\n";

/// A stage whose host is watched as its host.toml says.
struct Watched {
    stage: Stage,
    /// Where host.toml lies.
    folder: TempDir,
}

impl Watched {
    fn new(stage: Stage, watchdog: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("drain-timeout-ms = 2000\n[watchdog]\n{watchdog}\n");
        std::fs::write(folder.path().join("host.toml"), text).unwrap();
        Self { stage, folder }
    }

    fn run(&self, more: &str) -> Host {
        self.stage.deploy("act", more);
        self.serve(&[])
    }

    fn serve(&self, args: &[&str]) -> Host {
        let config = self.folder.path().join("host.toml");
        let config = ["--config", config.to_str().unwrap()];
        self.stage.serve(&[config.as_slice(), args].concat())
    }

    /// Waits for the line that tells of this record.
    fn told(&self, host: &Host, offset: i64, why: &str) {
        let place = [
            format!("handler=\"{}\"", self.stage.name),
            format!("group={}", self.stage.name),
            format!("topic=\"{}\"", self.stage.input),
            "partition=0".to_owned(),
            format!("offset={offset}"),
        ];
        let mut texts = vec![STALLED, why];
        texts.extend(place.iter().map(String::as_str));
        wait_lines(host, &texts, 1);
    }

    fn stalled(&self, host: &Host) -> f64 {
        host.metric("kafka_wasm_stalled_partitions", &[]).unwrap()
    }

    fn is_well_again(&self, host: &Host) {
        wait_lines(host, &[RECOVERED, "partition=0"], 1);
        assert_eq!(self.stalled(host), 0.0);
        let (code, ready) = host.get("/readyz").unwrap();
        assert_eq!(code, 200, "{ready}");
    }
}

fn never_told(host: &Host) {
    assert_eq!(count_lines(host, &[STALLED]), 0, "{}", host.tail());
    let stalls = host.metric("kafka_wasm_stalls_total", &[]).unwrap();
    assert_eq!(stalls, 0.0);
}

#[test]
fn a_handler_that_does_not_return_is_told_with_its_record_until_it_does() {
    let watched = Watched::new(Stage::new("stuck", 1), "stall-after-ms = 1500");
    let stage = &watched.stage;
    stage.produce(&["ok", "sleep 15000", "ok"]);
    let host = watched.run(LONG);
    watched.told(&host, 1, "the handler has not returned");
    assert_eq!(watched.stalled(&host), 1.0);
    let (code, ready) = host.get("/readyz").unwrap();
    let place = format!("{}[0] at offset 1 for ", stage.input);
    // It is the only partition here, so nothing serves.
    assert_eq!(code, 503, "{ready}");
    assert!(
        ready.contains("1 of its 1 partitions here make no progress"),
        "{ready}"
    );
    assert!(
        ready.contains(&place) && ready.contains("\"stalled\": 1"),
        "{ready}"
    );
    stage.outputs(&host, 3);
    watched.is_well_again(&host);
    assert_eq!(host.metric("kafka_wasm_stalls_total", &[]).unwrap(), 1.0);
    assert_eq!(host.metric("kafka_wasm_poll_late", &[]).unwrap(), 0.0);
    host.stop().unwrap();
}

#[test]
fn each_of_several_records_that_do_not_get_done_is_told() {
    let watched = Watched::new(
        Stage::new("stuck-lanes", 2),
        "stall-after-ms = 2000\naction = \"unready\"",
    );
    let stage = &watched.stage;
    stage.produce(&["sleep 12000", "ok", "sleep 12000", "ok"]);
    stage.produce_on(1, &["ok"; 5]);
    let host = watched.run(&format!("{LONG}ordering = \"none\"\nconcurrency = 4\n"));
    watched.told(&host, 0, "the handler has not returned");
    watched.told(&host, 2, "the handler has not returned");
    assert_eq!(watched.stalled(&host), 1.0);
    // Another partition serves, and the host is not ready all the same.
    let (code, ready) = host.get("/readyz").unwrap();
    assert_eq!(code, 503, "{ready}");
    assert!(
        ready.contains("1 of its 2 partitions here make no progress"),
        "{ready}"
    );
    stage.outputs(&host, 9);
    watched.is_well_again(&host);
    assert_eq!(count_lines(&host, &[STALLED]), 2);
    host.stop().unwrap();
}

#[test]
fn what_waits_on_purpose_does_not_stall() {
    let breaker = "breaker.window-records = 1\nbreaker.pause-ms = 9000\nretry.max-attempts = 1\n";
    let waits = [
        (
            "on-exhausted = \"halt\"\nretry.max-attempts = 1\n",
            "other no",
        ),
        ("retry.max-attempts = 2\n", "retry 9000 later"),
        (
            "retry.max-attempts = 2\nordering = \"key\"\n",
            "retry 9000 later",
        ),
        (breaker, "reject it"),
    ];
    let hosts = waits.map(|(manifest, value)| {
        let watched = Watched::new(Stage::new("waits", 1), "stall-after-ms = 3000");
        watched.stage.produce(&[value, "ok", "ok"]);
        let host = watched.run(manifest);
        (watched, host)
    });
    let [halted, retry, by_key, breaker] = &hosts;
    wait_lines(&halted.1, &["the partition is halted"], 1);
    // What was tried again has waited three times as long as anything may stand.
    retry.0.stage.letters(&retry.1, 1);
    by_key.0.stage.letters(&by_key.1, 1);
    wait_lines(&breaker.1, &["the paused handler tries one record"], 1);
    let (_, ready) = halted.1.get("/readyz").unwrap();
    assert!(
        ready.contains("\"halted\": 1") && ready.contains("\"stalled\": 0"),
        "{ready}"
    );
    for (_, host) in hosts {
        never_told(&host);
        host.stop().unwrap();
    }
}

#[test]
fn who_waits_for_an_instance_does_not_stall_while_others_get_done() {
    const PARTITIONS: i32 = 8;
    let watched = Watched::new(Stage::new("queue", PARTITIONS), "stall-after-ms = 4000");
    let stage = &watched.stage;
    for partition in 0..PARTITIONS {
        stage.produce_on(partition, &["sleep 1000"; 2]);
    }
    // The last one waits for eight seconds.
    let host = watched.run(&format!("{LONG}ordering = \"key\"\nconcurrency = 1\n"));
    stage.outputs(&host, 16);
    never_told(&host);
    host.stop().unwrap();
}

#[test]
fn outputs_that_kafka_does_not_acknowledge_stall_their_partition() {
    let watched = Watched::new(Stage::new("unacknowledged", 1), "stall-after-ms = 1500");
    let stage = &watched.stage;
    let late = format!("{}.late", stage.name);
    stage.produce(&["ok", "ok"]);
    let manifest = stage.manifest("").replace(&stage.output, &late);
    let folder = &stage.folder;
    folder
        .swap_in(&stage.name, guest("act"), &manifest)
        .unwrap();
    let patient = [
        "--kafka-setting",
        "topic.metadata.propagation.max.ms=120000",
    ];
    let host = watched.serve(&patient);
    watched.told(&host, 0, "kafka has not acknowledged its outputs");
    stage.create_topic(&late, 1);
    stage.exactly(&late, &host, 2);
    watched.is_well_again(&host);
    host.stop().unwrap();
}

#[test]
fn records_below_an_open_transaction_stall_their_partition() {
    let watched = Watched::new(Stage::new("hanging", 1), "stall-after-ms = 1500");
    let stage = &watched.stage;
    let host = watched.run("");
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &stage.bootstrap)
        .set("transactional.id", &stage.name)
        .create()
        .unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    let record = BaseRecord::<(), _>::to(&stage.input)
        .payload("ok")
        .partition(0);
    producer.send(record).unwrap();
    producer.flush(PATIENCE).unwrap();
    watched.told(&host, 0, "a transaction may be open");
    producer.commit_transaction(PATIENCE).unwrap();
    stage.outputs(&host, 1);
    watched.is_well_again(&host);
    host.stop().unwrap();
}

#[test]
fn a_host_that_shall_exit_when_something_stalls_names_the_record() {
    let watched = Watched::new(
        Stage::new("exit", 2),
        "stall-after-ms = 3000\naction = \"exit\"",
    );
    let stage = &watched.stage;
    stage.produce(&["ok", "sleep 600000", "ok"]);
    stage.produce_on(1, &["ok"; 10]);
    let mut host = watched.run(LONG);
    let status = host.wait(PATIENCE * 2).unwrap();
    assert_eq!(status.code(), Some(1), "{}", host.tail());
    let error = format!(
        "error: {}[0] at offset 1 (handler default/{}, ",
        stage.input, stage.name
    );
    wait_lines(
        &host,
        &[&error, "the handler has not returned", "watchdog.action"],
        1,
    );
    wait_lines(&host, &["stopped", "took_ms"], 1);
    // What the others had done is committed, and what was before the record.
    stage.committed(&host, &[(0, 1), (1, 10)]);
}

#[test]
fn a_consumer_whose_thread_does_not_come_round_is_told_until_it_does() {
    let mut kafka = Kafka::start().unwrap();
    let stage = Stage::on(&kafka, "late", 1);
    let watched = Watched::new(stage, "stall-after-ms = 0\npoll-late-after-ms = 2500");
    let stage = &watched.stage;
    let host = watched.run(&format!("{LONG}delivery = \"exactly-once\"\n"));
    let records = ["ok", "log halfway", "sleep 1000"].map(|value| value_on(0, value));
    stage.produce_records(records);
    wait_lines(&host, &["halfway"], 1);
    kafka.freeze().unwrap();
    // The transaction cannot be committed, and the thread asks for ten seconds whether it can.
    let late = "the consumer's thread is late";
    let group = format!("group={}", stage.name);
    let waited = wait_until("a late thread", PATIENCE, || {
        count_lines(&host, &[late, &group]) > 0
    });
    let (_, ready) = host.get("/readyz").unwrap();
    let is_late = host.metric("kafka_wasm_poll_late", &[]).unwrap();
    let age = host.metric("kafka_wasm_poll_age_seconds", &[]).unwrap();
    kafka.thaw().unwrap();
    assert!(waited.is_ok(), "{}", host.tail());
    assert!(
        ready.contains("its consumer's thread has not come round for"),
        "{ready}"
    );
    assert_eq!(is_late, 1.0);
    assert!(age >= 2.5, "{age}");
    wait_lines(
        &host,
        &["the consumer's thread comes round again", &group],
        1,
    );
    assert_eq!(host.metric("kafka_wasm_poll_late", &[]).unwrap(), 0.0);
    stage.outputs(&host, 3);
    // What is not watched is not shown.
    assert!(host.metric("kafka_wasm_stalled_partitions", &[]).is_err());
    host.stop().unwrap();
}

#[test]
fn a_record_that_is_not_begun_before_a_refused_output_is_mended_does_not_stall() {
    let watched = Watched::new(Stage::new("held-mend", 1), "stall-after-ms = 3500");
    let stage = &watched.stage;
    let late = format!("{}.late", stage.name);
    let keys = format!(
        "{LONG}ordering = \"key\"\nconcurrency = 2\npublish.retry.attempts = 9\n\
         publish.retry.backoff = \"fixed\"\npublish.retry.delay-ms = 10000\n"
    );
    let refused = format!("emit-to {late}");
    // The second one could be begun while the third one waits.
    let records = [("a", "sleep 2000"), ("a", "ok"), ("b", refused.as_str())];
    stage.produce_records(records.map(|(key, value)| TestRecord::new(key, value).on(0)));
    stage.deploy("act", &keys);
    let host = watched.serve(&[
        "--kafka-setting",
        "topic.metadata.propagation.max.ms=300",
        "--kafka-setting",
        "topic.metadata.refresh.interval.ms=300",
    ]);
    wait_lines(&host, &["kafka refused outputs"], 1);
    stage.create_topic(&late, 1);
    never("a stall is told", Duration::from_secs(8), || {
        count_lines(&host, &[STALLED]) > 0
    });
    stage.outputs(&host, 3);
    stage.committed(&host, &[(0, 3)]);
    never_told(&host);
    host.stop().unwrap();
}
