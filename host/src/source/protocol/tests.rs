//! Brokers that have the protocol of KIP-848, lack it, or list it and refuse it.

use std::time::Duration;

use rdkafka::types::RDKafkaRespErr;
use tokio::time::Instant;

use super::*;
use crate::source::hands_on::{Broker, Member, PATIENCE};

/// What brokers answer where the protocol is not enabled.
const REFUSAL: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION;

/// A consumer of a group whose protocol the brokers decide.
fn member(broker: &Broker, is_exactly_once: bool) -> Member {
    let auto = [(GROUP_PROTOCOL, "auto")];
    Member::start("auto", &broker.bootstrap(), &auto, is_exactly_once)
}

#[test]
fn brokers_with_the_protocol_share_out_the_partitions() {
    let broker = Broker::start();
    // Nobody can join in the classic way.
    broker.takes(Broker::JOIN, (-1, -1));
    let member = member(&broker, false);
    member.is_assigned();
    member.stop();
}

#[test]
fn a_broker_without_the_protocol_gets_a_classic_member() {
    for version in [-1, 0] {
        let broker = Broker::start();
        broker.takes(Broker::HEARTBEAT, (version, version));
        let member = member(&broker, false);
        member.is_assigned();
        member.stop();
    }
}

#[test]
fn a_coordinator_that_refuses_the_protocol_gets_a_classic_member() {
    for is_exactly_once in [false, true] {
        let broker = Broker::start();
        broker.refuses(Broker::HEARTBEAT, REFUSAL, 100);
        let member = member(&broker, is_exactly_once);
        member.is_assigned();
        member.stop();
    }
}

#[test]
fn without_a_broker_nothing_is_decided_until_there_is_one() {
    let broker = Broker::start();
    broker.takes(Broker::HEARTBEAT, (-1, -1));
    broker.goes_down();
    let member = member(&broker, false);
    let deadline = Instant::now() + PATIENCE;
    let trouble = || member.status.trouble().unwrap_or_default();
    while !trouble().contains("brokers are down") && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(trouble().contains("brokers are down"), "{}", trouble());
    assert!(member.assigned.try_recv().is_err());
    broker.comes_up();
    member.is_assigned();
    member.stop();
}

/// Has the trial hear what a broker lists, and that the list is over.
fn lists(trial: &Trial, versions: &str) {
    for text in [
        "Broker API support:".to_owned(),
        format!("  ApiKey ConsumerGroupHeartbeat (68) Versions {versions}"),
        " Feature MsgVer1: Produce (2..32767) supported by broker".to_owned(),
    ] {
        let place = "[thrd:10.0.0.1:9092/1]: 10.0.0.1:9092/1: ";
        trial.hear("APIVERSION", &format!("{place}{text}"));
    }
}

#[test]
fn one_broker_that_lacks_it_is_enough_until_partitions_were_given_out() {
    let trial = Trial::default();
    assert!(!trial.may_subscribe());
    lists(&trial, "0..1");
    assert!(trial.may_subscribe() && trial.refusal().is_none());
    lists(&trial, "0..0");
    lists(&trial, "0..1");
    assert!(!trial.may_subscribe());
    assert_eq!(
        trial.refusal().unwrap(),
        "broker 10.0.0.1:9092/1 does not have ConsumerGroupHeartbeat of version 1 (KIP-848)"
    );

    let trial = Trial::default();
    lists(&trial, "0..1");
    assert!(trial.end() && !trial.end());
    lists(&trial, "0..0");
    assert!(trial.may_subscribe() && trial.refusal().is_none());
}
