//! Brokers that cannot do transactions, or not such that former members of the group are fenced off.

use crate::source::hands_on::{Broker, Member};

fn member(group: &str, broker: &Broker, is_exactly_once: bool) -> Member {
    Member::start(group, &broker.bootstrap(), &[], is_exactly_once)
}

#[test]
fn a_broker_without_transactions_is_refused_and_nothing_is_read() {
    let broker = Broker::start();
    broker.takes(Broker::INIT_PRODUCER, (-1, -1));
    let member = member("once", &broker, true);
    member.is_in_trouble("delivery = \"exactly-once\" is not possible");
    assert!(member.assigned.try_recv().is_err(), "the group is read");
    member.stop();
}

#[test]
fn a_broker_that_fences_no_former_members_is_refused_for_the_group_that_needs_it_only() {
    // Kafka 0.11 to 2.4, and one with no such request at all.
    for versions in [(0, 2), (-1, -1)] {
        let broker = Broker::start();
        broker.takes(Broker::TXN_OFFSET_COMMIT, versions);
        let once = member("once", &broker, true);
        let other = member("other", &broker, false);
        other.is_assigned();
        let why = once.is_in_trouble("does not have TxnOffsetCommit of version 3 (KIP-447)");
        for part in [
            "delivery = \"exactly-once\" is not possible",
            "Kafka 2.5 or newer",
            "delivery = \"at-least-once\"",
        ] {
            assert!(why.contains(part), "{part} in {why}");
        }
        assert!(once.assigned.try_recv().is_err(), "the group is read");
        once.stop();
        other.stop();
    }
}

#[test]
fn a_broker_out_of_reach_is_waited_for_and_not_refused() {
    let broker = Broker::start();
    broker.goes_down();
    let member = member("once", &broker, true);
    member.is_in_trouble("brokers are down");
    assert!(member.assigned.try_recv().is_err());
    broker.comes_up();
    member.is_assigned();
    member.stop();
}
