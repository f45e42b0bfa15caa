//! New revisions that have a share of the keys beside the ones that serve.
//!
//! The fixture `act` fails with every record `sound` while it has a config `broken`.
//! **Invariant:** each record is accounted for: an output or a dead letter, once, in the order of its key.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use harness::host::command;
use harness::{Host, TestRecord, wait_until};
use serde_json::Value;

use super::stage::{PATIENCE, Stage, TWICE, count_lines, field, never, texts, verdict, wait_lines};
use crate::answer::Answer;

const PARTITIONS: i32 = 4;
const KEYS: usize = 40;
const CANARY: &str = "deploy.canary = \"30%\"\n";

/// Keys of the revision with a label, and more.
fn revision(label: &str, more: &str) -> String {
    format!("{TWICE}config.label = \"{label}\"\n{more}")
}

fn broken(more: &str) -> String {
    revision("v2", &format!("{CANARY}config.broken = true\n{more}"))
}

/// Writes values that are handled unless the component is broken, with numbers that rise for each key.
fn produce(stage: &Stage, numbers: std::ops::Range<usize>) {
    let record = |n: usize| TestRecord::new(format!("key-{}", n % KEYS), format!("sound #{n}"));
    stage.produce_records(numbers.map(record));
}

pub(super) fn swap(stage: &Stage, manifest: &str) {
    let manifest = stage.manifest(manifest);
    stage.folder.swap_manifest(&stage.name, &manifest).unwrap();
}

/// Puts a revision beside the one that serves, and waits until it is tried.
pub(super) fn try_out(stage: &Stage, host: &Host, manifest: &str, n: usize) {
    swap(stage, manifest);
    wait_lines(host, &["a new revision is tried", &stage.name], n);
}

/// The labels under which each key was handled, of the records from the given number on.
fn labels_by_key(outputs: &[TestRecord], from: usize) -> BTreeMap<String, BTreeSet<String>> {
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for output in outputs.iter().filter(|it| number(it) >= from) {
        let labels = seen.entry(output.key_text()).or_default();
        labels.insert(field(output, "label"));
    }
    seen
}

fn number(output: &TestRecord) -> usize {
    let value = field(output, "value");
    value.split_once('#').unwrap().1.parse().unwrap()
}

/// The keys whose records had only this label.
fn keys_of(seen: &BTreeMap<String, BTreeSet<String>>, label: &str) -> BTreeSet<String> {
    let only = BTreeSet::from([label.to_owned()]);
    let keys = seen.iter().filter(|(_, labels)| **labels == only);
    keys.map(|(key, _)| key.clone()).collect()
}

/// Sees that each record has one output, and that those of a key have the order of the records.
fn assert_complete_and_in_order(outputs: &[TestRecord], n: usize) {
    let mut last: BTreeMap<String, usize> = BTreeMap::new();
    let mut numbers = BTreeSet::new();
    for output in outputs {
        let number = number(output);
        let before = last.insert(output.key_text(), number);
        assert!(before.is_none_or(|before| before < number), "{number}");
        numbers.insert(number);
    }
    assert_eq!(numbers, (0..n).collect());
}

/// Sees that the keys lie in two, and returns those of the canary.
fn assert_split(outputs: &[TestRecord], from: usize) -> BTreeSet<String> {
    let seen = labels_by_key(outputs, from);
    let (old, new) = (keys_of(&seen, "v1"), keys_of(&seen, "v2"));
    assert_eq!(
        old.len() + new.len(),
        KEYS,
        "a key is of one revision: {seen:?}"
    );
    assert!((4..=22).contains(&new.len()), "{new:?}");
    new
}

pub(super) fn status(stage: &Stage, host: &Host) -> Value {
    let (code, text) = host
        .get(&format!("/v1/handlers/default/{}", stage.name))
        .unwrap();
    assert_eq!(code, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn ask(stage: &Stage, host: &Host, what: &str) -> Answer {
    let mut command = command(what).unwrap();
    Answer::of(command.args([&stage.name, "--http", host.http_addr()]))
}

pub(super) fn order(stage: &Stage, host: &Host, what: &str) {
    let answer = ask(stage, host, what);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
}

#[test]
fn a_canary_splits_by_key_and_keeps_order() {
    for (name, more) in [
        ("canary-key", "ordering = \"key\"\n"),
        ("canary-partition", ""),
        (
            "canary-once",
            "delivery = \"exactly-once\"\nordering = \"key\"\n",
        ),
        ("canary-once-partition", "delivery = \"exactly-once\"\n"),
    ] {
        splits(name, more);
    }
}

fn splits(name: &str, more: &str) {
    let stage = Stage::new(name, PARTITIONS);
    let host = stage.run("act", &revision("v1", more));
    produce(&stage, 0..400);
    // The canary comes while records are under way.
    try_out(
        &stage,
        &host,
        &revision("v2", &format!("{CANARY}{more}")),
        1,
    );
    stage.outputs(&host, 400);
    produce(&stage, 400..800);
    // Without a key it is nobody's in particular.
    stage.produce(&["sound #800"]);
    let outputs = stage.outputs(&host, 801);
    assert_eq!(
        field(
            outputs.iter().find(|it| number(it) == 800).unwrap(),
            "label"
        ),
        "v1"
    );
    let with_keys = |outputs: &[TestRecord]| -> Vec<TestRecord> {
        let keyed = outputs.iter().filter(|it| it.key.is_some());
        keyed.cloned().collect()
    };
    let new = assert_split(&with_keys(&outputs), 400);
    assert_complete_and_in_order(&outputs, 801);
    let trial = &status(&stage, &host)["trial"];
    assert_eq!(
        (&trial["kind"], &trial["share"]),
        (&"canary".into(), &"30%".into())
    );
    assert!(
        trial["tried"]["handled"].as_u64().unwrap() >= 10 * new.len() as u64,
        "{trial}"
    );
    assert!(trial["serving"]["mean-ms"].is_number(), "{trial}");

    order(&stage, &host, "promote");
    produce(&stage, 801..1201);
    let outputs = stage.outputs(&host, 1201);
    let last = labels_by_key(&with_keys(&outputs), 801);
    assert_eq!(keys_of(&last, "v2").len(), KEYS);
    assert_complete_and_in_order(&outputs, 1201);
    assert_eq!(status(&stage, &host)["trial"], Value::Null);
    assert_eq!(texts(&stage.read(&stage.dead_letters)), [""; 0]);
    host.stop().unwrap();
}

fn rolled_back(host: &Host) {
    let waited = wait_until("a canary that is rolled back", PATIENCE, || {
        let result = [("result", "rolled-back")];
        host.metric("kafka_wasm_deploys_total", &result).unwrap() > 0.0
    });
    waited.unwrap_or_else(|error| panic!("{error}\n{}", host.tail()));
}

#[test]
fn what_fails_under_a_canary_is_handled_by_the_revision_before() {
    for (name, more) in [
        (
            "canary-back",
            "ordering = \"key\"\ndeploy.probation-records = 60\n",
        ),
        // No more than a record of each partition fails, so that the time decides.
        ("canary-back-partition", "deploy.probation-ms = 500\n"),
        (
            "canary-back-once",
            "delivery = \"exactly-once\"\nordering = \"key\"\ndeploy.probation-records = 60\n",
        ),
    ] {
        let first: String = more
            .lines()
            .filter(|line| !line.starts_with("deploy."))
            .map(|line| format!("{line}\n"))
            .collect();
        let stage = Stage::new(name, PARTITIONS);
        let host = stage.run("act", &revision("v1", &first));
        produce(&stage, 0..40);
        stage.outputs(&host, 40);
        try_out(&stage, &host, &broken(more), 1);
        produce(&stage, 40..400);
        rolled_back(&host);
        let outputs = stage.outputs(&host, 400);
        assert_eq!(keys_of(&labels_by_key(&outputs, 0), "v1").len(), KEYS);
        assert_complete_and_in_order(&outputs, 400);
        assert_eq!(texts(&stage.read(&stage.dead_letters)), [""; 0]);
        let (code, ready) = host.get("/readyz").unwrap();
        assert!(
            code == 200 && ready.contains("was rolled back"),
            "{code}: {ready}"
        );
        host.stop().unwrap();
    }
}

#[test]
fn files_that_came_meanwhile_are_tried_once_those_before_have_failed() {
    let stage = Stage::new("canary-meanwhile", PARTITIONS);
    let state = tempfile::tempdir().unwrap();
    stage.deploy("act", &revision("v1", "ordering = \"key\"\n"));
    let host = stage.serve(&["--state", &state.path().display().to_string()]);
    produce(&stage, 0..40);
    stage.outputs(&host, 40);
    let failing = "ordering = \"key\"\nconfig.broken = \"true\"\ndeploy.probation-records = 60\n";
    swap(&stage, &revision("v2", failing));
    wait_lines(&host, &[" deployed ", &stage.name, "changes="], 1);
    swap(
        &stage,
        &revision("v3", &format!("{CANARY}ordering = \"key\"\n")),
    );
    wait_lines(&host, &["cannot be tried yet"], 1);
    produce(&stage, 40..400);
    rolled_back(&host);
    wait_until("what came meanwhile is tried", PATIENCE, || {
        status(&stage, &host)["trial"]["kind"] == "canary"
    })
    .unwrap();
    let outputs = stage.outputs(&host, 400);
    assert_complete_and_in_order(&outputs, 400);
    host.stop().unwrap();
}

#[test]
fn a_canary_is_promoted_by_itself_when_its_time_is_over() {
    let stage = Stage::new("canary-time", 1);
    let by_key = "ordering = \"key\"\n";
    let host = stage.run("act", &revision("v1", by_key));
    produce(&stage, 0..40);
    stage.outputs(&host, 40);
    let more = format!("{by_key}{CANARY}deploy.canary-ms = 1000\n");
    try_out(&stage, &host, &revision("v2", &more), 1);
    produce(&stage, 40..200);
    assert_split(&stage.outputs(&host, 200), 40);
    wait_lines(&host, &["the canary is promoted"], 1);
    produce(&stage, 200..400);
    let outputs = stage.outputs(&host, 400);
    assert_eq!(keys_of(&labels_by_key(&outputs, 200), "v2").len(), KEYS);
    host.stop().unwrap();
}

#[test]
fn a_canary_that_is_slower_goes_when_its_time_is_over() {
    let stage = Stage::new("canary-slow", 1);
    let by_key = "ordering = \"key\"\n";
    let host = stage.run("act", &revision("v1", by_key));
    let more = format!("{by_key}{CANARY}deploy.canary-ms = 1000\nconfig.slow-ms = \"20\"\n");
    try_out(&stage, &host, &revision("v2", &more), 1);
    produce(&stage, 0..200);
    rolled_back(&host);
    produce(&stage, 200..400);
    let outputs = stage.outputs(&host, 400);
    assert_split(&outputs[..200.min(outputs.len())], 0);
    assert_eq!(keys_of(&labels_by_key(&outputs, 200), "v1").len(), KEYS);
    host.stop().unwrap();
}

#[test]
fn a_canary_is_ended_by_command_and_replaced_by_other_files() {
    let stage = Stage::new("canary-end", 1);
    let state = tempfile::tempdir().unwrap();
    let by_key = "ordering = \"key\"\n";
    stage.deploy("act", &revision("v1", by_key));
    let host = stage.serve(&["--state", state.path().to_str().unwrap()]);
    produce(&stage, 0..40);
    stage.outputs(&host, 40);
    try_out(&stage, &host, &broken(by_key), 1);
    // A failure waits, and those behind it.
    produce(&stage, 40..80);
    let held = |it: &Value| it["trial"]["tried"]["failed"].as_u64().unwrap_or_default();
    wait_until("failures", PATIENCE, || held(&status(&stage, &host)) > 0).unwrap();
    never("a dead letter", Duration::from_millis(500), || {
        !stage.read(&stage.dead_letters).is_empty()
    });
    order(&stage, &host, "rollback");
    let outputs = stage.outputs(&host, 80);
    assert_eq!(keys_of(&labels_by_key(&outputs, 0), "v1").len(), KEYS);
    // Other files are tried in their turn, and others in the place of these.
    let third = |label: &str| revision(label, &format!("{CANARY}{by_key}"));
    try_out(&stage, &host, &third("v3"), 2);
    try_out(&stage, &host, &third("v2"), 3);
    produce(&stage, 80..160);
    assert_split(&stage.outputs(&host, 160), 80);
    // The files that serve end it.
    swap(&stage, &revision("v1", by_key));
    wait_until("the end of it", PATIENCE, || {
        status(&stage, &host)["trial"].is_null()
    })
    .unwrap();
    produce(&stage, 160..200);
    let outputs = stage.outputs(&host, 200);
    assert_eq!(keys_of(&labels_by_key(&outputs, 160), "v1").len(), KEYS);
    assert_complete_and_in_order(&outputs, 200);
    let refused = ask(&stage, &host, "promote");
    assert!(
        refused.code != 0 && refused.stderr.contains("none to promote"),
        "{}",
        refused.stderr
    );
    host.stop().unwrap();
}

#[test]
fn a_canary_goes_on_after_a_restart_with_the_same_keys() {
    let stage = Stage::new("canary-again", PARTITIONS);
    let state = tempfile::tempdir().unwrap();
    let args = ["--state", state.path().to_str().unwrap()];
    let by_key = "ordering = \"key\"\n";
    stage.deploy("act", &revision("v1", by_key));
    let host = stage.serve(&args);
    produce(&stage, 0..40);
    stage.outputs(&host, 40);
    try_out(
        &stage,
        &host,
        &revision("v2", &format!("{CANARY}{by_key}")),
        1,
    );
    produce(&stage, 40..120);
    let new = assert_split(&stage.outputs(&host, 120), 40);
    host.stop().unwrap();

    let host = stage.serve(&args);
    produce(&stage, 120..200);
    assert_eq!(assert_split(&stage.outputs(&host, 200), 120), new);
    order(&stage, &host, "promote");
    host.stop().unwrap();

    let host = stage.serve(&args);
    produce(&stage, 200..280);
    let outputs = stage.outputs(&host, 280);
    assert_eq!(keys_of(&labels_by_key(&outputs, 200), "v2").len(), KEYS);
    assert_eq!(count_lines(&host, &["a new revision is tried"]), 0);
    assert_complete_and_in_order(&outputs, 280);
    host.stop().unwrap();
}

#[test]
fn what_fails_no_more_than_may_is_given_up_in_its_turn() {
    let stage = Stage::new("canary-few", 1);
    let by_key = "ordering = \"key\"\n";
    let host = stage.run("act", &revision("v1", by_key));
    let more = format!("{by_key}{CANARY}deploy.probation-ms = 2000\ndeploy.failure-share = 0.5\n");
    try_out(&stage, &host, &revision("v2", &more), 1);
    produce(&stage, 0..80);
    let outputs = stage.outputs(&host, 80);
    let new = assert_split(&outputs, 0);
    let key = new.first().unwrap().as_str();
    stage.produce_records([TestRecord::new(key, "reject it is no good")]);
    let letter = stage.letter(&host);
    assert_eq!(verdict(&letter).0, "reject");
    assert!(!status(&stage, &host)["trial"].is_null());
    host.stop().unwrap();
}

#[test]
fn what_cannot_be_split_is_refused() {
    let stage = Stage::new("canary-no", 1);
    let host = stage.run("act", &revision("v1", ""));
    wait_lines(&host, &[" deployed ", &stage.name], 1);
    for (more, words) in [
        ("ordering = \"key\"\n", "ordering differs"),
        ("bulk.max-records = 5\n", "[bulk] and a trial"),
    ] {
        swap(&stage, &revision("v2", &format!("{CANARY}{more}")));
        wait_lines(&host, &[words, "handler.toml"], 1);
    }
    swap(&stage, &revision("v2", "deploy.canary = \"all\"\n"));
    wait_lines(&host, &["deploy.canary", "share of the keys such as"], 1);
    stage.produce(&["sound #0"]);
    assert_eq!(field(&stage.outputs(&host, 1)[0], "label"), "v1");
    host.stop().unwrap();
}
