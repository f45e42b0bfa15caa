//! The embedded broker: what `serve --dev` offers without a Kafka.

use std::time::Duration;

use harness::{HandlersDir, Host, clients, guest};

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_handler_made_from_the_wit_alone_serves() {
    let folder = HandlersDir::new().unwrap();
    folder
        .handler("raw", guest("raw"), "topics = [\"names\"]\n")
        .unwrap();
    let mut host = Host::dev().handlers(folder.path()).start().unwrap();
    let broker = host.embedded_broker().unwrap();
    clients::produce(
        &broker,
        "names",
        [(Some("k"), Some("v")), (Some("gone"), None)],
    )
    .unwrap();
    let mut outputs = clients::consume_until(&broker, "out", 2, PATIENCE).unwrap();
    outputs.sort_by_key(|record| record.key_text());
    assert_eq!(outputs[0].key_text(), "gone");
    assert_eq!(outputs[0].value, None);
    assert_eq!(
        (outputs[1].key_text(), outputs[1].text()),
        ("k".to_owned(), "v".to_owned())
    );
    host.stop().unwrap();
}

#[test]
fn on_finished_is_told_after_a_trap() {
    let folder = HandlersDir::new().unwrap();
    let manifest = "topics = [\"in\"]\nretry.max-attempts = 1\n";
    folder
        .handler("finished", guest("finished"), manifest)
        .unwrap();
    let mut host = Host::dev().handlers(folder.path()).start().unwrap();
    let broker = host.embedded_broker().unwrap();
    let records = [(Some("k"), Some("fine")), (Some("k"), Some("trap"))];
    clients::produce(&broker, "in", records).unwrap();
    let mut outputs = clients::consume_until(&broker, "out", 2, PATIENCE).unwrap();
    outputs.sort_by_key(|record| record.text());
    let told: Vec<String> = outputs.iter().map(|record| record.text()).collect();
    assert_eq!(told, ["fine handled", "trap dead-lettered"]);
    host.stop().unwrap();
}

#[test]
fn a_second_signal_ends_the_host_at_once() {
    let folder = HandlersDir::new().unwrap();
    let manifest = "topics = [\"in\"]\nlimits.deadline-ms = 60000\n";
    folder.handler("slow", guest("act"), manifest).unwrap();
    let mut host = Host::dev().handlers(folder.path()).start().unwrap();
    let broker = host.embedded_broker().unwrap();
    clients::produce(
        &broker,
        "in",
        [("k", "log begun"), ("k", "sleep 50000")].map(|(key, value)| (Some(key), Some(value))),
    )
    .unwrap();
    host.wait_for_line("begun", PATIENCE).unwrap();
    host.term().unwrap();
    host.wait_for_line("stopping", PATIENCE).unwrap();
    host.interrupt().unwrap();
    // Well below the drain deadline of 25 s, and below what the record takes.
    let status = host.wait(Duration::from_secs(10)).unwrap();
    assert_eq!(status.code(), Some(130), "{}", host.tail());
}

#[test]
fn log_lines_are_objects_where_json_is_asked_for() {
    let folder = HandlersDir::new().unwrap();
    folder
        .handler("act", guest("act"), "topics = [\"in\"]\n")
        .unwrap();
    let mut host = Host::dev()
        .handlers(folder.path())
        .args(["--log-format", "json"])
        .start()
        .unwrap();
    let broker = host.embedded_broker().unwrap();
    clients::produce(&broker, "in", [(Some("k"), Some("reject no"))]).unwrap();
    let line = host.wait_for_line("attempt failed", PATIENCE).unwrap();
    let said: serde_json::Value = serde_json::from_str(&line).unwrap();
    let expected = serde_json::json!(["in", 0, "act", "reject", 1]);
    let found = [
        &said["topic"],
        &said["offset"],
        &said["handler"],
        &said["kind"],
        &said["attempt"],
    ];
    assert_eq!(serde_json::json!(found), expected, "{line}");
    host.stop().unwrap();
}

#[test]
fn a_key_is_parked_without_a_broker_that_compacts() {
    let folder = HandlersDir::new().unwrap();
    let manifest =
        "topics = [\"in\"]\nordering = \"key\"\non-exhausted = \"park\"\nretry.max-attempts = 1\n";
    folder.handler("act", guest("act"), manifest).unwrap();
    let mut host = Host::dev().handlers(folder.path()).start().unwrap();
    let broker = host.embedded_broker().unwrap();
    let records = [("k", "other no"), ("k", "ok 1"), ("free", "ok 2")];
    clients::produce(
        &broker,
        "in",
        records.map(|(key, value)| (Some(key), Some(value))),
    )
    .unwrap();
    let letters = clients::consume_until(&broker, "default.act.dead-letter", 2, PATIENCE).unwrap();
    let texts: Vec<String> = letters.iter().map(|letter| letter.text()).collect();
    assert_eq!(texts, ["other no", "ok 1"]);
    let outputs = clients::consume_until(&broker, "out", 1, PATIENCE).unwrap();
    assert_eq!(outputs[0].key_text(), "free");
    host.stop().unwrap();
}
