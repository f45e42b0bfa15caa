//! The examples that promise something, with their own manifests and real data.
//!
//! It is handed the folders of examples/; only the topic of the earthquakes is renamed.
//! **Invariant:** outputs are read back as readers of committed records see them.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;

use harness::host::command;
use harness::kafka::unique;
use harness::{HandlersDir, Kafka, TestRecord, clients, guest, root, wait_until};

use super::stage::{PATIENCE, json, start, value_on, wait_lines};

/// A host that was killed is missed in seconds.
const MISSED_SOON: [&str; 4] = [
    "--kafka-setting",
    "session.timeout.ms=6000",
    "--kafka-setting",
    "heartbeat.interval.ms=2000",
];

/// The manifest of an example, reading another topic where it reads the earthquakes.
fn manifest(example: &str, earthquakes: &str) -> String {
    let path = root().join("examples").join(example).join("handler.toml");
    let text = fs::read_to_string(path).unwrap();
    text.replace("\"earthquakes\"", &format!("\"{earthquakes}\""))
}

/// What a bulletin of this record of `felt` says.
fn bulletin(felt: &TestRecord) -> String {
    let felt = json(felt);
    let (spot, region) = felt["place"].as_str().unwrap().rsplit_once(", ").unwrap();
    let region = if region == "CA" { "California" } else { region };
    format!("{region}, {spot}: felt by {}", felt["reports"])
}

/// What is told of each network, in its order, without what is told again after a kill.
fn by_network(told: impl IntoIterator<Item = (String, String)>) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (network, text) in told {
        let texts = found.entry(network).or_default();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    found
}

#[test]
fn the_examples_count_once_and_keep_each_networks_order_though_hosts_are_killed() {
    let bootstrap = Kafka::shared().bootstrap();
    let earthquakes = unique("earthquakes");
    for (topic, partitions) in [
        (earthquakes.as_str(), 4),
        ("felt", 3),
        ("bulletins", 1),
        ("default.bulletins.dead-letter", 1),
    ] {
        Kafka::shared()
            .create_topic(topic, partitions, &[])
            .unwrap();
    }
    let folder = HandlersDir::new().unwrap();
    for example in ["felt", "bulletins"] {
        let manifest = manifest(example, &earthquakes);
        folder.handler(example, guest(example), &manifest).unwrap();
    }
    let data = fs::read_to_string(root().join("examples/data/earthquakes.jsonl")).unwrap();
    let lines: Vec<&str> = data.lines().collect();

    let read = |topic| clients::consume_all(bootstrap, topic, true).unwrap();
    let mut host = start(bootstrap, folder.path(), &MISSED_SOON);
    for part in lines.chunks(100) {
        let before = read("felt").len();
        let records = part.iter().zip(0..);
        let records = records.map(|(line, nth)| value_on(nth % 4, line));
        clients::produce_records(bootstrap, &earthquakes, records).unwrap();
        clients::consume_until(bootstrap, "felt", before + 1, PATIENCE * 2).unwrap();
        host.kill9();
        host = start(bootstrap, folder.path(), &MISSED_SOON);
    }
    let reports = |felt: &TestRecord| json(felt)["reports"].as_i64().unwrap();
    let settled = |felt_count: usize, bulletin_count: usize| {
        let (mut felt, mut told) = (Vec::new(), BTreeMap::new());
        let waited = wait_until("all is told", PATIENCE * 2, || {
            felt = read("felt");
            told = by_network(
                read("bulletins")
                    .iter()
                    .map(|it| (it.key_text(), it.text())),
            );
            let bulletins: usize = told.values().map(Vec::len).sum();
            felt.len() >= felt_count && bulletins >= bulletin_count
        });
        let state = format!("{} counts, bulletins: {told:?}", felt.len());
        assert!(waited.is_ok(), "{state}");
        (felt, told)
    };
    let (felt, told) = settled(49, 40);
    let counted = (felt.len(), felt.iter().map(reports).sum::<i64>());
    assert_eq!(counted, (49, 1377), "{}", host.tail());
    assert_eq!(told.len(), 3, "California is told of already: {told:?}");

    let mut manifest = manifest("bulletins", &earthquakes);
    manifest.push_str("CA = \"California\"\n");
    folder.swap_manifest("bulletins", &manifest).unwrap();
    wait_lines(&host, &["deployed", "handler=bulletins"], 2);
    let replayed = command("dead-letter")
        .unwrap()
        .args(["replay", "default/bulletins", "--parked"])
        .env("KAFKA_WASM_HANDLERS", folder.path())
        .env("KAFKA_WASM_BROKERS", bootstrap)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(replayed.status.success(), "{replayed:?}\n{}", host.tail());
    let (felt, told) = settled(49, 49);
    let expected = felt.iter().map(|it| (it.key_text(), bulletin(it)));
    assert_eq!(told, by_network(expected));
    host.stop().unwrap();
}
