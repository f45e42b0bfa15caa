//! Consumers that their coordinator ends for good, and who comes after them.

use rdkafka::types::RDKafkaRespErr;

use super::*;
use crate::manifest::kafka::GROUP_PROTOCOL;
use crate::source::hands_on::{Broker, Member};

const FORBIDDEN: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
const TOO_OLD: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION;
const FENCED: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID;
/// Longer than what is forbidden, or no member any more, takes to leave; far shorter than the wait for a group's leave.
const SOON: Duration = Duration::from_secs(10);

fn member(broker: &Broker, protocol: &str, is_exactly_once: bool) -> Member {
    let settings = [(GROUP_PROTOCOL, protocol)];
    Member::start("ended", &broker.bootstrap(), &settings, is_exactly_once)
}

fn leaves_soon(member: Member) {
    let began = Instant::now();
    member.stop();
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[test]
fn a_consumer_that_came_to_its_end_is_followed_by_another() {
    for is_exactly_once in [false, true] {
        let broker = Broker::start();
        let member = member(&broker, "consumer", is_exactly_once);
        member.is_assigned();
        // Its heartbeat, its leave, and the first heartbeat of its successor.
        broker.refuses(Broker::HEARTBEAT, FORBIDDEN, 3);
        member.is_in_trouble("Group authorization failed");
        member.is_assigned();
        member.is_fine();
        member.stop();
    }
}

#[test]
fn a_consumer_that_came_to_its_end_leaves_at_once() {
    let broker = Broker::start();
    let member = member(&broker, "consumer", false);
    member.is_assigned();
    broker.refuses(Broker::HEARTBEAT, FORBIDDEN, 1000);
    member.is_in_trouble("Group authorization failed");
    leaves_soon(member);
}

#[test]
fn brokers_that_become_older_get_a_classic_member() {
    let broker = Broker::start();
    let member = member(&broker, "auto", false);
    member.is_assigned();
    broker.refuses(Broker::HEARTBEAT, TOO_OLD, 1000);
    member.is_assigned();
    member.is_fine();
    member.stop();
}

#[test]
fn a_member_whose_name_another_one_took_does_not_take_it_back() {
    let broker = Broker::start();
    let settings = [
        ("group.instance.id", "one"),
        ("heartbeat.interval.ms", "100"),
    ];
    let member = Member::start("ended", &broker.bootstrap(), &settings, false);
    member.is_assigned();
    broker.refuses(Broker::CLASSIC_HEARTBEAT, FENCED, 1);
    member.is_in_trouble("restart this one");
    let next = member.assigned.recv_timeout(Duration::from_secs(3));
    assert!(next.is_err(), "it is a member again");
    leaves_soon(member);
}
