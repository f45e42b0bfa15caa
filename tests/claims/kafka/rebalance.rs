//! What a group of hosts keeps while its members come and go: order, and one owner for each partition.
//!
//! Hosts are told apart by the label that their handlers put into every output.
//! **Invariant:** a load goes on all the while that members join and leave.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use harness::{HandlersDir, Host, Kafka, TestRecord, clients, wait_until};
use serde_json::Value;

use super::stage::{Stage, count_lines, field, never, wait_lines};
use super::traffic::{Feed, Tally, Traffic, number};

/// Less than the 45 s that a group would wait for a member which left without a word.
const JOIN_TIMEOUT: Duration = Duration::from_secs(30);
const ASSIGNED: &str = "partitions assigned";

/// What the fixture `act` tells of a record it handled.
#[derive(Debug)]
struct Told {
    partition: u64,
    offset: u64,
    value: String,
    label: String,
    retried: bool,
}

/// The outputs of `act`, in their order.
fn told(traffic: &Traffic) -> Vec<Told> {
    let read = |record: &TestRecord| {
        let told: Value = serde_json::from_str(&record.text()).unwrap();
        let text = |key: &str| told[key].as_str().unwrap_or_default().to_owned();
        Told {
            partition: told["partition"].as_u64().unwrap(),
            offset: told["offset"].as_u64().unwrap(),
            value: text("value"),
            label: text("label"),
            retried: text("result").starts_with("call "),
        }
    };
    traffic.outputs().iter().map(read).collect()
}

fn joined(mut host: Host) -> Host {
    let found = host.wait_for_line(ASSIGNED, JOIN_TIMEOUT);
    found.unwrap_or_else(|error| panic!("{error}\n{}", Kafka::shared().log_tail()));
    host
}

#[test]
fn order_holds_within_a_partition() {
    let traffic = Traffic::new(Kafka::shared(), "ordered", 3);
    let retry = "[retry]\nmax-attempts = 5\ninitial-ms = 5";
    let first = traffic.handlers("act", "first", retry);
    let second = traffic.handlers("act", "second", retry);
    let stays = joined(traffic.host(&first).start().unwrap());
    let feed = Feed::start(&traffic, 2, |n| {
        let value = if n % 97 == 0 { "flaky 2" } else { "ok" };
        TestRecord::new(format!("key-{n}"), value)
    });
    feed.wait_for_more(2000);
    let guest = joined(traffic.host(&second).start().unwrap());
    feed.wait_for_more(4000);
    guest.stop().unwrap();
    feed.wait_for_more(2000);
    let fed = feed.stop();
    traffic.wait_until_done();
    stays.stop().unwrap();

    let told = told(&traffic);
    let mut places: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for one in &told {
        places.entry(one.partition).or_default().push(one.offset);
    }
    for (partition, offsets) in &places {
        // There is one output partition, so this is the order in which Kafka acknowledged the outputs.
        let misplaced = (0..)
            .zip(offsets)
            .find(|(expected, found)| expected != *found);
        assert_eq!(misplaced, None, "of partition {partition}: expected, found");
    }
    let by = |label: &str| told.iter().filter(|one| one.label == label).count();
    let retried = told.iter().filter(|one| one.retried).count();
    println!(
        "{fed} records in order, {retried} of them retried, by the hosts: {} and {}",
        by("first"),
        by("second")
    );
    assert_eq!(told.len() as u64, fed);
    assert!(retried > 50 && by("first") > 1000 && by("second") > 100);
}

#[test]
fn a_revoked_partition_is_fenced() {
    let traffic = Traffic::new(Kafka::shared(), "fenced", 2);
    let [first, second] = ["first", "second"]
        .map(|label| traffic.handlers("act", label, "[limits]\ndeadline-ms = 30000"));
    let both = |value: &str| [0, 1].map(|partition| TestRecord::new("key", value).on(partition));
    let drain = ["--drain-timeout", "1s"];
    let mut stays = joined(traffic.host(&first).args(drain).start().unwrap());
    traffic.produce(both("ok"));
    traffic.wait_until_committed(2);

    // Either partition has a slow record in hand when one of the two has to be given up.
    traffic.produce(both("sleep 8000"));
    let joins = traffic.host(&second).args(drain).start().unwrap();
    stays
        .wait_for_line("the drain deadline passed", JOIN_TIMEOUT)
        .unwrap();
    let joins = joined(joins);
    assert_eq!(
        traffic.positions(),
        [(0, 1), (1, 1)],
        "the slow records are not committed"
    );
    assert_eq!(traffic.output_count(), 2, "the slow records are not out");

    // The one that stayed ends 8 s after it began, as the one that was fenced would have, the other one later.
    traffic.produce(both("ok"));
    traffic.wait_until_done();
    stays.stop().unwrap();
    joins.stop().unwrap();
    let told = told(&traffic);
    for one in &told {
        println!("{one:?}");
    }
    let of = |partition| -> Vec<(&str, &str)> {
        let mine = told.iter().filter(|one| one.partition == partition);
        mine.map(|one| (one.value.as_str(), one.label.as_str()))
            .collect()
    };
    let outputs = |label| vec![("ok", "first"), ("sleep 8000", label), ("ok", label)];
    let found = BTreeSet::from([of(0), of(1)]);
    assert_eq!(found, BTreeSet::from([outputs("first"), outputs("second")]));
}

/// From one host to four and back to one, while records come.
fn four_hosts_join_and_leave(name: &str, protocol: &str) {
    let traffic = Traffic::new(Kafka::shared(), name, 8);
    let protocol = format!("group.protocol={protocol}");
    let start = |label: &str| {
        let handlers = traffic.handlers("label", label, "");
        let host = traffic.host(&handlers);
        let host = host.args(["--kafka-setting", &protocol]).start().unwrap();
        (joined(host), handlers)
    };
    let labels = ["first", "second", "third", "fourth"];
    let mut hosts = vec![start(labels[0])];
    let feed = Feed::start(&traffic, 3, number);
    for label in &labels[1..] {
        feed.wait_for_more(2000);
        hosts.push(start(label));
    }
    feed.wait_for_more(3000);
    // Those that came first leave first, so that each partition moves.
    let last = hosts.pop().unwrap();
    for (host, _) in hosts {
        host.stop().unwrap();
        feed.wait_for_more(2000);
    }
    let fed = feed.stop();
    traffic.wait_until_done();
    last.0.stop().unwrap();

    let outputs = traffic.outputs();
    let tally = Tally::of(&outputs, fed);
    let by = labels.map(|label| {
        let mine = |record: &&TestRecord| record.header_text("label").as_deref() == Some(label);
        outputs.iter().filter(mine).count()
    });
    println!("of {fed} records: {tally:?}, by the hosts: {by:?}");
    assert_eq!((tally.lost, tally.repeated), (0, 0));
    assert!(by.iter().all(|count| *count > 500), "{by:?}");
}

#[test]
fn four_hosts_join_and_leave_under_load_and_repeat_nothing() {
    four_hosts_join_and_leave("shared", "classic");
}

#[test]
fn four_hosts_that_the_brokers_manage_join_and_leave_and_repeat_nothing() {
    four_hosts_join_and_leave("managed", "consumer");
}

#[test]
fn a_stop_in_the_middle_of_a_rebalance_repeats_nothing() {
    let traffic = Traffic::new(Kafka::shared(), "interrupted", 6);
    let folder = traffic.handlers("label", "any", "");
    let mut old = joined(traffic.host(&folder).start().unwrap());
    let feed = Feed::start(&traffic, 5, number);
    for round in 0..8 {
        feed.wait_for_more(500);
        let mut new = traffic.host(&folder).start().unwrap();
        new.wait_for_line("subscribed", JOIN_TIMEOUT).unwrap();
        // Somewhere between the first word of the new member and the last one of the rebalance.
        std::thread::sleep(Duration::from_millis(round * 40));
        old.stop().unwrap();
        old = joined(new);
    }
    let fed = feed.stop();
    traffic.wait_for_outputs(i64::try_from(fed).unwrap());
    old.stop().unwrap();
    let tally = Tally::of(&traffic.outputs(), fed);
    println!("of {fed} records: {tally:?}");
    assert_eq!((tally.lost, tally.repeated), (0, 0));
}

#[test]
fn a_member_without_partitions_leaves_as_others_do() {
    let stage = Stage::new("idle", 1);
    stage.deploy("act", "");
    let stays = joined(stage.serve(&[]));
    let idle = stage.serve(&[]);
    let figure = |host: &Host, name: &str| host.metric(name, &[]).unwrap_or_default();
    // One partition for two: what the second is given is nothing.
    let has_joined = wait_until("an assignment of nothing", JOIN_TIMEOUT, || {
        figure(&idle, "kafka_wasm_rebalances_total") > 0.0
    });
    has_joined.unwrap();
    idle.stop().unwrap();
    let is_gone = wait_until("its end for the group", Duration::from_secs(10), || {
        clients::members(&stage.bootstrap, &stage.name).unwrap() == 1
    });
    is_gone.unwrap();
    stays.stop().unwrap();
}

#[test]
fn a_static_member_that_restarts_within_its_session_moves_nothing() {
    let traffic = Traffic::new(Kafka::shared(), "static", 2);
    let [first, second] = ["first", "second"].map(|label| traffic.handlers("act", label, ""));
    let member = |handlers: &HandlersDir, id: &str| {
        let id = format!("group.instance.id={id}");
        let host = traffic.host(handlers).args(["--kafka-setting", &id]);
        joined(host.start().unwrap())
    };
    let of_group = [("group", traffic.group.as_str())];
    let figure = |host: &Host, name: &str| host.metric(name, &of_group).unwrap();
    let both = || [0, 1].map(|partition| TestRecord::new("key", "ok").on(partition));

    // The first is the leader of the group, which assigns the partitions.
    let restarts = member(&first, "one");
    let stays = member(&second, "two");
    let is_shared = wait_until("a partition for each", JOIN_TIMEOUT, || {
        [&restarts, &stays].map(|host| figure(host, "kafka_wasm_assigned_partitions")) == [1.0, 1.0]
    });
    is_shared.unwrap();
    traffic.produce(both());
    traffic.wait_until_committed(2);
    let rebalances = figure(&stays, "kafka_wasm_rebalances_total");
    restarts.stop().unwrap();
    traffic.produce(both());
    // The other partition waits for its owner.
    traffic.wait_until_committed(3);
    let restarted = member(&first, "one");
    traffic.wait_until_done();

    // A member hears of a rebalance with its next heartbeat, every 3 s.
    never(
        "a rebalance of the member that stays",
        Duration::from_secs(5),
        || figure(&stays, "kafka_wasm_rebalances_total") > rebalances,
    );
    assert_eq!(
        count_lines(&stays, &["partitions revoked"]),
        0,
        "{}",
        stays.tail()
    );
    let told = told(&traffic);
    let places: BTreeSet<(u64, u64)> = told.iter().map(|one| (one.partition, one.offset)).collect();
    assert_eq!((told.len(), places.len()), (4, 4), "{told:?}");
    let owners: BTreeSet<(u64, &str)> = told
        .iter()
        .map(|one| (one.partition, one.label.as_str()))
        .collect();
    assert_eq!(
        owners.len(),
        2,
        "each partition has had one owner: {told:?}"
    );
    restarted.stop().unwrap();
    stays.stop().unwrap();
}

#[test]
fn a_static_member_with_new_settings_waits_for_the_old_one_to_leave() {
    let stage = Stage::new("static-anew", 1);
    let patient = "limits.deadline-ms = 10_000\n";
    stage.deploy("act", patient);
    let host = stage.serve(&["--kafka-setting", "group.instance.id=one"]);
    stage.produce(&["sleep 3000", "ok"]);
    let taken = wait_until("a record in hand", JOIN_TIMEOUT, || {
        // Made for the first record, which keeps it for three seconds.
        host.metric("kafka_wasm_instances", &[]).unwrap() > 0.0
    });
    taken.unwrap();
    let anew = format!("{patient}kafka.consumer.\"fetch.wait.max.ms\" = 50\n");
    let anew = stage.manifest(&anew);
    stage.folder.swap_manifest(&stage.name, &anew).unwrap();
    wait_lines(&host, &["deployed"], 2);
    stage.produce(&["ok"]);
    let outputs = stage.outputs(&host, 3);
    let offsets: Vec<String> = outputs.iter().map(|it| field(it, "offset")).collect();
    assert_eq!(offsets, ["0", "1", "2"]);
    stage.committed(&host, &[(0, 3)]);
    assert_eq!(count_lines(&host, &["subscribed"]), 2, "{}", host.tail());
    host.stop().unwrap();
}
