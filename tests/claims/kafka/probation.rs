//! New revisions that have to prove themselves, and the ones before them that come back.
//!
//! The fixtures `act` and `bulk` fail with every record while they have a config `broken`.
//! **Invariant:** each record is accounted for: an output or a dead letter, once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use harness::{Host, TestRecord, guest, wait_until};

use super::stage::{PATIENCE, Stage, TWICE, count_lines, field, never, texts, verdict, wait_lines};

/// A verdict after a hundred records, of which five may fail.
const PROBATION: &str = "deploy.probation-records = 100\n";
const PARTITIONS: i32 = 4;

/// Keys of the revision with a label, and more.
fn revision(label: &str, more: &str) -> String {
    format!("{TWICE}config.label = \"{label}\"\n{more}")
}

fn broken(more: &str) -> String {
    revision("v2", &format!("{PROBATION}config.broken = true\n{more}"))
}

/// Writes values that are handled unless the component is broken, with numbers that rise for each key.
fn produce(stage: &Stage, numbers: std::ops::Range<usize>) {
    let record = |n: usize| TestRecord::new(format!("key-{}", n % 40), format!("sound #{n}"));
    stage.produce_records(numbers.map(record));
}

fn labels(outputs: &[TestRecord]) -> BTreeMap<String, usize> {
    outputs.iter().fold(BTreeMap::new(), |mut seen, output| {
        *seen.entry(field(output, "label")).or_default() += 1;
        seen
    })
}

/// Sees that each record has one output, and that those of a key have the order of the records.
fn assert_complete_and_in_order(outputs: &[TestRecord], n: usize) {
    let mut last: BTreeMap<String, usize> = BTreeMap::new();
    let mut numbers = BTreeSet::new();
    for output in outputs {
        let value = field(output, "value");
        let (_, number) = value.split_once('#').unwrap();
        let number: usize = number.parse().unwrap();
        let before = last.insert(output.key_text(), number);
        assert!(before.is_none_or(|before| before < number), "{value}");
        numbers.insert(number);
    }
    assert_eq!(numbers, (0..n).collect());
}

fn rolled_back(host: &Host) {
    let waited = wait_until("a revision that is rolled back", PATIENCE, || {
        let result = [("result", "rolled-back")];
        host.metric("kafka_wasm_deploys_total", &result).unwrap() > 0.0
    });
    waited.unwrap_or_else(|error| panic!("{error}\n{}", host.tail()));
}

#[test]
fn probation_rolls_back_and_no_record_pays_for_it() {
    for (name, more) in [
        ("back-by-key", "ordering = \"key\"\n"),
        // No more than a record of each partition fails, so that the time decides.
        ("back-by-partition", "deploy.probation-ms = 1500\n"),
        (
            "back-once",
            "delivery = \"exactly-once\"\nordering = \"key\"\n",
        ),
    ] {
        goes_back(name, more);
    }
}

fn goes_back(name: &str, more: &str) {
    let stage = Stage::new(name, PARTITIONS);
    let first = more.replace("deploy.probation-ms = 1500\n", "");
    let host = stage.run("act", &revision("v1", &first));
    produce(&stage, 0..500);
    stage.outputs(&host, 500);
    let swap = |manifest: &str| {
        let manifest = stage.manifest(manifest);
        stage.folder.swap_manifest(&stage.name, &manifest).unwrap();
    };
    swap(&broken(more));
    wait_lines(&host, &[" deployed ", &stage.name], 2);
    produce(&stage, 500..1000);
    rolled_back(&host);
    let outputs = stage.outputs(&host, 1000);
    assert_eq!(labels(&outputs), [("v1".to_owned(), 1000)].into());
    assert_complete_and_in_order(&outputs, 1000);
    assert_eq!(texts(&stage.read(&stage.dead_letters)), [""; 0]);
    let (code, ready) = host.get("/readyz").unwrap();
    assert!(
        code == 200 && ready.contains("was rolled back"),
        "{code}: {ready}"
    );

    // The same files are not deployed again, also when something else changes.
    let manifest = stage.folder.path().join(&stage.name).join("handler.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text).unwrap();
    let other = format!("other-{}", stage.name);
    let beside = stage
        .manifest("")
        .replace(&stage.input, &format!("{}.none", stage.name));
    let beside = beside.replace(
        &format!("group = \"{}\"", stage.name),
        &format!("group = \"{other}\""),
    );
    stage.folder.swap_in(&other, guest("act"), &beside).unwrap();
    wait_lines(&host, &[" deployed ", &other], 1);
    never("the revision again", Duration::from_secs(1), || {
        count_lines(&host, &[" deployed ", &format!("handler={}", stage.name)]) > 2
    });

    // Mended, it proves itself.
    swap(&revision("v3", &format!("{PROBATION}{more}")));
    // The other handler's line is one of them.
    wait_lines(&host, &[" deployed ", &stage.name], 4);
    produce(&stage, 1000..1500);
    let outputs = stage.outputs(&host, 1500);
    assert_eq!(labels(&outputs).get("v3"), Some(&500));
    assert_complete_and_in_order(&outputs, 1500);
    wait_lines(&host, &["the new revision has proven itself"], 1);
    host.stop().unwrap();
}

#[test]
fn what_failed_its_probation_does_not_serve_after_a_restart() {
    let stage = Stage::new("back-again", 1);
    let state = tempfile::tempdir().unwrap();
    let args = ["--state", state.path().to_str().unwrap()];
    let by_key = "ordering = \"key\"\n";
    stage.deploy("act", &revision("v1", by_key));
    let host = stage.serve(&args);
    produce(&stage, 0..10);
    stage.outputs(&host, 10);
    let second = stage.manifest(&broken(by_key));
    stage.folder.swap_manifest(&stage.name, &second).unwrap();
    wait_lines(&host, &[" deployed ", &stage.name], 2);
    produce(&stage, 10..50);
    rolled_back(&host);
    stage.outputs(&host, 50);
    host.stop().unwrap();

    let host = stage.serve(&args);
    produce(&stage, 50..60);
    let outputs = stage.outputs(&host, 60);
    assert_eq!(labels(&outputs), [("v1".to_owned(), 60)].into());
    // Other files are deployed as ever.
    let third = stage.manifest(&revision("v3", by_key));
    stage.folder.swap_manifest(&stage.name, &third).unwrap();
    wait_lines(&host, &[" deployed ", &stage.name], 2);
    produce(&stage, 60..70);
    let outputs = stage.outputs(&host, 70);
    assert_eq!(labels(&outputs).get("v3"), Some(&10));
    host.stop().unwrap();
}

#[test]
fn what_failed_behind_new_middleware_is_seen_by_the_old_one_as_it_was() {
    let stage = Stage::new("back-middleware", 1);
    let folder = &stage.folder;
    let behind = |name: &str, keys: &str| {
        let table = format!(
            "[[middleware]]\ncomponent = \"middleware.wasm\"\nname = \"{name}\"\nconfig.name = \"{name}\"\n"
        );
        format!("{}{table}", stage.manifest(keys))
    };
    let by_key = "ordering = \"key\"\n";
    folder
        .swap_beside(&stage.name, "middleware.wasm", guest("middleware"))
        .unwrap();
    let first = behind("a", &revision("v1", by_key));
    folder.handler(&stage.name, guest("act"), &first).unwrap();
    let host = stage.serve(&[]);
    wait_lines(&host, &[" deployed ", &stage.name], 1);
    let second = behind("b", &broken(by_key));
    folder.swap_manifest(&stage.name, &second).unwrap();
    wait_lines(&host, &[" deployed ", &stage.name], 2);
    // The new middleware gives some another key, and refuses others.
    let value = |n: usize| {
        if n.is_multiple_of(2) {
            "sound key=x@b"
        } else {
            "sound reject@b"
        }
    };
    let record = |n: usize| TestRecord::new(format!("key-{n}"), value(n));
    stage.produce_records((0..20).map(record));
    rolled_back(&host);
    let outputs = stage.outputs(&host, 20);
    let keys: BTreeSet<String> = outputs.iter().map(TestRecord::key_text).collect();
    assert_eq!(keys, (0..20).map(|n| format!("key-{n}")).collect());
    assert_eq!(labels(&outputs), [("v1".to_owned(), 20)].into());
    assert_eq!(texts(&stage.read(&stage.dead_letters)), [""; 0]);
    host.stop().unwrap();
}

#[test]
fn a_failed_probation_brings_no_grants_back_that_were_withdrawn() {
    let stage = Stage::new("back-grants", 1);
    let shared = format!("{}.shared", stage.name);
    stage.create_topic(&shared, 1);
    let grant = |produce: &str| {
        let all = format!("\"{}*\"", stage.name);
        let text =
            format!("[grants]\nconsume = [{all}]\ngroups = [{all}]\nproduce = [{produce}]\n");
        let folder = &stage.folder;
        folder.swap_text("acme", "tenant.toml", &text).unwrap();
    };
    let own = format!("\"{}\", \"{}\"", stage.output, stage.dead_letters);
    grant(&format!("{own}, \"{shared}\""));
    // Under a revision that may have to prove itself: one failure is too many.
    let manifest = "deploy.probation-records = 10\nretry.max-attempts = 1\n";
    let name = format!("acme/{}", stage.name);
    let folder = &stage.folder;
    folder
        .swap_in(&name, guest("act"), &stage.manifest(manifest))
        .unwrap();
    let host = stage.serve(&[]);
    let emit = format!("emit-to {shared}");
    stage.produce(&[&emit]);
    assert_eq!(stage.exactly(&shared, &host, 1).len(), 1);
    grant(&own);
    wait_lines(&host, &[" deployed ", &stage.name], 2);
    stage.produce(&[&emit, "ok"]);
    stage.letter(&host);
    stage.committed(&host, &[(0, 3)]);
    assert_eq!(stage.read(&shared).len(), 1);
    assert_eq!(count_lines(&host, &["rolled back"]), 0);
    host.stop().unwrap();
}

#[test]
fn a_record_that_fails_in_a_probation_waits_for_the_verdict() {
    let stage = Stage::new("proven", 1);
    let by_key = "ordering = \"key\"\n";
    let host = stage.run("act", &revision("v1", by_key));
    stage.produce(&["ok"]);
    stage.outputs(&host, 1);
    let second = stage.manifest(&revision("v2", &format!("{by_key}{PROBATION}")));
    stage.folder.swap_manifest(&stage.name, &second).unwrap();
    wait_lines(&host, &[" deployed ", &stage.name], 2);
    stage.produce_records([TestRecord::new("bad", "reject it is no good")]);
    produce(&stage, 0..50);
    stage.outputs(&host, 51);
    never(
        "a dead letter before the verdict",
        Duration::from_secs(1),
        || !stage.read(&stage.dead_letters).is_empty(),
    );
    let (code, status) = host
        .get(&format!("/v1/handlers/default/{}", stage.name))
        .unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!((code, &status["probation"]["handled"]), (200, &50.into()));
    assert_eq!(status["probation"]["failed"], 1);
    produce(&stage, 50..100);
    let letter = stage.letter(&host);
    assert_eq!(verdict(&letter).0, "reject");
    assert_eq!(labels(&stage.outputs(&host, 101)).get("v2"), Some(&100));
    wait_lines(&host, &["the new revision has proven itself"], 1);
    assert_eq!(count_lines(&host, &["rolled back"]), 0);
    host.stop().unwrap();
}

#[test]
fn batches_that_fail_in_a_probation_come_back_whole() {
    for how in ["whole", "each"] {
        let stage = Stage::new(&format!("back-{how}"), 1);
        let batches = format!("{TWICE}bulk.max-records = 50\nbulk.max-wait-ms = 100\n");
        let host = stage.run("bulk", &batches);
        let values: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        stage.produce(&values);
        stage.committed(&host, &[(0, 100)]);
        // Halves of halves fail before one record does, so that the time decides.
        let second =
            format!("{batches}{PROBATION}deploy.probation-ms = 1500\nconfig.broken = \"{how}\"\n");
        let second = stage.manifest(&second);
        stage.folder.swap_manifest(&stage.name, &second).unwrap();
        wait_lines(&host, &[" deployed ", &stage.name], 2);
        stage.produce(&values);
        rolled_back(&host);
        stage.committed(&host, &[(0, 200)]);
        let summaries = stage.read(&stage.output);
        let counts = summaries.iter().map(|it| field(it, "count"));
        let handled: usize = counts.map(|it| it.parse::<usize>().unwrap()).sum();
        assert_eq!(handled, 200);
        assert_eq!(texts(&stage.read(&stage.dead_letters)), [""; 0]);
        host.stop().unwrap();
    }
}

#[test]
fn a_first_revision_has_nothing_to_go_back_to() {
    let stage = Stage::new("first", 1);
    let host = stage.run("act", &broken(""));
    produce(&stage, 0..10);
    stage.letters(&host, 10);
    host.stop().unwrap();
}

#[test]
fn a_probation_needs_to_know_how_many_records_it_takes() {
    let stage = Stage::new("no-count", 1);
    let host = stage.run("act", "deploy.failure-share = 0.5\n");
    wait_lines(
        &host,
        &["deploy.failure-share", "deploy.probation-records"],
        1,
    );
    host.stop().unwrap();
}
