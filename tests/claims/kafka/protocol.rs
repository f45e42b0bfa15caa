//! Who shares out the partitions of a group: the hosts, or the brokers where they can (KIP-848).
//!
//! It is handed brokers with and without the protocol, and asks Kafka itself how the group came to its partitions.
//! **Invariant:** a group of the new protocol is one that Kafka does not describe as a classic one.

use harness::{Host, Kafka, clients, wait_until};

use super::stage::{PATIENCE, Stage, count_lines, value_on, wait_lines};

const AUTO: &str = "kafka.consumer.\"group.protocol\" = \"auto\"\n";
const CONSUMER: &str = "protocol=\"consumer\"";
const CLASSIC: &str = "protocol=\"classic\"";

/// How the members of a classic group share out its partitions; none where it has no classic members.
fn assignor(stage: &Stage) -> Option<String> {
    clients::assignor(&stage.bootstrap, &stage.name).unwrap()
}

/// Waits until a host has so many partitions of the stage's group.
fn has_partitions(host: &Host, n: f64) {
    let mut found = 0.0;
    let waited = wait_until("the partitions", PATIENCE, || {
        found = host
            .metric("kafka_wasm_assigned_partitions", &[])
            .unwrap_or(0.0);
        (found - n).abs() < 0.5
    });
    assert!(waited.is_ok(), "{found}, not {n}\n{}", host.tail());
}

#[test]
fn auto_has_the_brokers_share_out_partitions_where_they_can() {
    let stage = Stage::new("auto", 2);
    let host = stage.run("act", AUTO);
    stage.produce_on(0, &["ok 0", "ok 1"]);
    stage.produce_on(1, &["ok 2"]);
    stage.committed(&host, &[(0, 2), (1, 1)]);
    wait_lines(&host, &["the brokers share out", CONSUMER], 1);
    assert_eq!(count_lines(&host, &[CLASSIC]), 0, "{}", host.tail());
    assert_eq!(assignor(&stage), None, "{}", host.tail());
    host.stop().unwrap();
}

#[test]
fn auto_takes_the_classic_protocol_where_the_brokers_refuse_the_other() {
    let kafka = Kafka::builder()
        .set("group.coordinator.rebalance.protocols", "classic")
        .start()
        .unwrap();
    for more in ["", "delivery = \"exactly-once\"\n"] {
        let stage = Stage::on(&kafka, "refused", 1);
        let host = stage.run("act", &format!("{more}{AUTO}"));
        stage.produce_records(["ok 0", "ok 1"].map(|value| value_on(0, value)));
        stage.committed(&host, &[(0, 2)]);
        assert_eq!(assignor(&stage).as_deref(), Some("cooperative-sticky"));
        let why = "the group's coordinator refuses KIP-848";
        wait_lines(&host, &["the hosts share out", CLASSIC, why], 1);
        for trouble in ["left open", "ERROR", "the consumer reports"] {
            assert_eq!(count_lines(&host, &[trouble]), 0, "{}", host.tail());
        }
        host.stop().unwrap();
    }
}

#[test]
fn a_static_member_that_crashed_is_taken_back_when_its_session_has_ended() {
    let kafka = Kafka::builder()
        .set("group.consumer.min.session.timeout.ms", "6000")
        .set("group.consumer.session.timeout.ms", "6000")
        .set("group.consumer.min.heartbeat.interval.ms", "1000")
        .set("group.consumer.heartbeat.interval.ms", "1000")
        .start()
        .unwrap();
    let stage = Stage::on(&kafka, "crashed", 1);
    let settings = "kafka.consumer.\"group.protocol\" = \"consumer\"\n\
                    kafka.consumer.\"group.instance.id\" = \"one\"\n";
    let mut host = stage.run("act", settings);
    has_partitions(&host, 1.0);
    host.kill9();
    stage.produce(&["ok 0"]);
    let host = stage.serve(&[]);
    let is_told = || {
        let (status, body) = host.get("/readyz").unwrap();
        status == 503 && body.contains("its consumer has come to its end")
    };
    let waited = wait_until("/readyz says why", PATIENCE, is_told);
    assert!(waited.is_ok(), "{}", host.tail());
    stage.committed(&host, &[(0, 1)]);
    let is_ready = || host.get("/readyz").unwrap().0 == 200;
    let waited = wait_until("a ready host", PATIENCE, is_ready);
    assert!(waited.is_ok(), "{}", host.tail());
    host.stop().unwrap();
}

#[test]
fn hosts_of_both_protocols_share_a_group() {
    let stage = Stage::new("both", 2);
    let classic = stage.run("act", "");
    has_partitions(&classic, 2.0);
    assert_eq!(assignor(&stage).as_deref(), Some("cooperative-sticky"));
    let auto = stage.serve(&["--kafka-setting", "group.protocol=auto"]);
    has_partitions(&auto, 1.0);
    has_partitions(&classic, 1.0);
    stage.produce_on(0, &["ok 0"]);
    stage.produce_on(1, &["ok 1"]);
    stage.committed(&auto, &[(0, 1), (1, 1)]);
    classic.stop().unwrap();
    has_partitions(&auto, 2.0);
    stage.produce_on(0, &["ok 2"]);
    stage.produce_on(1, &["ok 3"]);
    stage.committed(&auto, &[(0, 2), (1, 2)]);
    assert_eq!(stage.outputs(&auto, 4).len(), 4);
    auto.stop().unwrap();
}
