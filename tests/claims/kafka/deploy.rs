//! Handlers that come, change and go while the host runs.
//!
//! The handlers folder is all that these claims touch; the host must notice by itself. What needs no Kafka is in
//! `cli`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use harness::{Host, TestRecord, clients, guest, remarked, wait_until};

use super::stage::{PATIENCE, Stage, count_lines, field, never, texts, wait_lines};

fn label(label: &str) -> String {
    format!("config.label = \"{label}\"")
}

fn labels(records: &[TestRecord]) -> Vec<String> {
    let label = |record: &TestRecord| record.header_text("label").unwrap();
    records.iter().map(label).collect()
}

/// Writes numbered records until it is told to stop; returns how many. Each key's numbers rise.
fn load(stage: &Stage, stop: &AtomicBool) -> u64 {
    const KEYS: u64 = 50;
    let mut next = 0;
    while !stop.load(Ordering::Relaxed) {
        let batch = next..next + 2000;
        next = batch.end;
        let record = |n: u64| TestRecord::new(format!("key-{}", n % KEYS), n.to_string());
        clients::produce_records(&stage.bootstrap, &stage.input, batch.map(record)).unwrap();
    }
    next
}

#[test]
fn a_handler_is_replaced_under_load_without_loss_repeat_or_reorder() {
    const LAST: usize = 8;
    let stage = Stage::new("replaced", 4);
    // A key's records keep their order on the way out only within one partition of the same number.
    let output = format!("{}.wide", stage.name);
    stage.create_topic(&output, 4);
    let manifest = |revision: usize| {
        let text = stage.manifest(&label(&format!("v{revision}")));
        text.replace(&stage.output, &output)
    };
    stage
        .folder
        .swap_in(&stage.name, guest("label"), &manifest(1))
        .unwrap();
    let host = stage.serve(&[]);
    let ends = || -> i64 {
        let ends = clients::end_offsets(&stage.bootstrap, &output).unwrap();
        ends.iter().map(|(_, end)| end).sum()
    };
    let flows_on = || {
        let before = ends();
        wait_until("3000 more outputs", PATIENCE, || ends() >= before + 3000).unwrap();
    };
    let stop = AtomicBool::new(false);
    let produced = thread::scope(|scope| {
        let load = scope.spawn(|| load(&stage, &stop));
        let component = fs::read(guest("label")).unwrap();
        flows_on();
        for revision in 2..=LAST {
            // By turns the manifest alone, and a component that is copied over the old one as `cp` does it.
            if revision % 2 == 0 {
                let remarked = remarked(&component, &format!("remark {revision}"));
                stage
                    .folder
                    .replace_component_bytes(&stage.name, &remarked)
                    .unwrap();
            }
            stage
                .folder
                .swap_manifest(&stage.name, &manifest(revision))
                .unwrap();
            let deployed = [" deployed ", stage.name.as_str()];
            wait_lines(&host, &deployed, revision);
            flows_on();
        }
        stop.store(true, Ordering::Relaxed);
        load.join().unwrap()
    });

    let total = usize::try_from(produced).unwrap();
    let outputs = stage.exactly(&output, &host, total);
    let numbers: BTreeSet<u64> = outputs
        .iter()
        .map(|output| output.text().parse().unwrap())
        .collect();
    assert_eq!(numbers.len(), total, "each record once");
    let mut last_of_key: BTreeMap<String, u64> = BTreeMap::new();
    let mut label_of_partition: BTreeMap<i32, String> = BTreeMap::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (output, label) in outputs.iter().zip(labels(&outputs)) {
        let number: u64 = output.text().parse().unwrap();
        if let Some(before) = last_of_key.insert(output.key_text(), number) {
            assert!(
                before < number,
                "{number} after {before} of {}",
                output.key_text()
            );
        }
        *seen.entry(label.clone()).or_default() += 1;
        let before = label_of_partition.insert(output.partition.unwrap(), label.clone());
        assert!(
            before.is_none_or(|before| before <= label),
            "an old revision came back"
        );
    }
    println!("{total} records, by revision: {seen:?}");
    let expected: Vec<String> = (1..=LAST).map(|revision| format!("v{revision}")).collect();
    assert_eq!(seen.into_keys().collect::<Vec<_>>(), expected);
    assert_eq!(count_lines(&host, &["partitions assigned"]), 1);
    assert_eq!(count_lines(&host, &["partitions revoked"]), 0);
}

#[test]
fn a_bad_file_leaves_the_old_revision_serving() {
    let stage = Stage::new("bad-file", 1);
    let component = fs::read(guest("label")).unwrap();
    let host = stage.run("label", &label("v1"));
    let serves = |expected: &[&str]| {
        stage.produce(&["a record"]);
        assert_eq!(labels(&stage.outputs(&host, expected.len())), expected);
    };
    serves(&["v1"]);

    // A copy that stopped half way.
    let half = &component[..component.len() / 2];
    stage
        .folder
        .replace_component_bytes(&stage.name, half)
        .unwrap();
    let wasm = stage.folder.folder(&stage.name).join("handler.wasm");
    wait_lines(
        &host,
        &[
            &wasm.display().to_string(),
            "cannot be compiled (is the file complete?)",
        ],
        1,
    );
    wait_lines(
        &host,
        &[
            "a new revision was refused; the old one goes on serving",
            &stage.name,
        ],
        1,
    );
    serves(&["v1", "v1"]);

    // A manifest with two mistakes, beside the half component: everything is told at once.
    let bad = stage.manifest("limits.memory-mib = \"much\"\nretri.max-attempts = 3");
    stage.folder.replace_manifest(&stage.name, &bad).unwrap();
    let toml = stage.folder.folder(&stage.name).join("handler.toml");
    let toml = toml.display().to_string();
    wait_lines(
        &host,
        &[
            &toml,
            ":6: limits.memory-mib: expected a whole number of MiB",
        ],
        1,
    );
    wait_lines(
        &host,
        &[&toml, ":7: unknown key \"retri", "did you mean \"retry"],
        1,
    );
    serves(&["v1", "v1", "v1"]);

    // A component that refuses to begin.
    stage
        .folder
        .swap_component(&stage.name, guest("no-context"))
        .unwrap();
    stage
        .folder
        .swap_manifest(&stage.name, &stage.manifest(&label("v2")))
        .unwrap();
    wait_lines(&host, &["define-context failed", "refused on purpose"], 1);
    serves(&["v1"; 4]);

    // And a good one is taken up.
    stage
        .folder
        .swap_component(&stage.name, guest("label"))
        .unwrap();
    wait_lines(&host, &[" deployed ", &stage.name], 2);
    serves(&["v1", "v1", "v1", "v1", "v2"]);
    stage.committed(&host, &[(0, 5)]);
}

#[test]
fn a_new_folder_starts_and_a_removed_one_drains() {
    const RECORDS: usize = 300;
    let stays = Stage::new("stays", 1);
    let comes = Stage::new("comes", 2);
    let host = stays.run("label", &label("stays"));
    stays.produce(&["one"]);
    stays.outputs(&host, 1);

    // Each record takes a while, so there is always one under way.
    for partition in [0, 1] {
        comes.produce_on(partition, &["sleep 20"; RECORDS / 2]);
    }
    let appear = |of: &str| {
        let manifest = comes.manifest(&label(of));
        stays
            .folder
            .swap_in(&comes.name, guest("act"), &manifest)
            .unwrap();
    };
    appear("first");
    clients::consume_until(&comes.bootstrap, &comes.output, 20, PATIENCE).unwrap();

    // Removed while it works: what was begun is finished and committed, the rest waits.
    stays.folder.swap_out(&comes.name).unwrap();
    wait_lines(&host, &["removed", &comes.name], 1);
    wait_lines(&host, &["left the group", &comes.name], 1);
    let handled = comes.read(&comes.output).len();
    let committed = clients::committed(&comes.bootstrap, &comes.name, &comes.input).unwrap();
    let position: i64 = committed.iter().map(|(_, position)| position).sum();
    assert_eq!(position, i64::try_from(handled).unwrap());
    assert!(handled < RECORDS, "it was removed too late to see anything");
    stays.produce(&["two"]);
    stays.outputs(&host, 2);
    assert_eq!(comes.read(&comes.output).len(), handled);

    // When it comes back it goes on where it stopped, without waiting for its own old membership.
    appear("second");
    let all = comes.outputs(&host, RECORDS);
    let places: BTreeSet<_> = all
        .iter()
        .map(|output| (field(output, "partition"), field(output, "offset")))
        .collect();
    assert_eq!(places.len(), RECORDS, "each record once");
    let of_first = all
        .iter()
        .filter(|output| field(output, "label") == "first");
    assert_eq!(of_first.count(), handled);
    assert_eq!(count_lines(&host, &["left the group", &stays.name]), 0);
    println!("{handled} of {RECORDS} records were handled before the folder was removed");
}

#[test]
fn a_changed_manifest_does_not_rebalance_unless_the_subscription_changed() {
    let stage = Stage::new("rebalance", 2);
    let more = format!("{}.more", stage.name);
    stage.create_topic(&more, 3);
    let host = stage.run("label", &label("v1"));
    stage.produce(&["one"]);
    stage.outputs(&host, 1);
    let moved = || {
        ["partitions assigned", "partitions revoked", " subscribed "]
            .map(|what| count_lines(&host, &[what]))
    };
    assert_eq!(moved(), [1, 0, 1]);

    // Everything but the subscription.
    let changed = "retry.max-attempts = 9\nlimits.deadline-ms = 500\nisolation = \"record\"\nkafka.producer.\"linger.ms\" = 1\n";
    stage
        .folder
        .swap_manifest(
            &stage.name,
            &stage.manifest(&format!("{changed}{}", label("v2"))),
        )
        .unwrap();
    wait_lines(&host, &[" deployed ", &stage.name], 2);
    stage.produce(&["two"]);
    assert_eq!(labels(&stage.outputs(&host, 2)), ["v1", "v2"]);
    assert_eq!(moved(), [1, 0, 1]);

    // One topic more: the partitions of the first are kept, those of the second come.
    let both =
        stage
            .manifest(&label("v3"))
            .replacen("topics = [", &format!("topics = [\"{more}\", "), 1);
    stage.folder.swap_manifest(&stage.name, &both).unwrap();
    clients::produce(&stage.bootstrap, &more, [(None::<&str>, Some("three"))]).unwrap();
    stage.outputs(&host, 3);
    assert_eq!(moved(), [2, 0, 2]);
    assert_eq!(
        count_lines(&host, &["partitions assigned", "partitions=3"]),
        1
    );
}

#[test]
fn a_deployment_tells_what_it_changes_and_no_secret() {
    let stage = Stage::new("changes", 1);
    let more = "limits.deadline-ms = 900\nconfig.password = \"hunter2\"";
    let host = stage.run("label", more);
    wait_lines(&host, &[" deployed ", &stage.name], 1);
    assert_eq!(count_lines(&host, &["changes="]), 0);
    let more = "retry.max-attempts = 9\nconfig.password = \"hunter3\"";
    let manifest = stage.manifest(more);
    let folder = &stage.folder;
    folder.swap_manifest(&stage.name, &manifest).unwrap();
    let told = [
        " deployed ",
        "config.password: changed; -limits.deadline-ms; +retry.max-attempts = 9",
    ];
    wait_lines(&host, &told, 1);
    folder.swap_component(&stage.name, guest("act")).unwrap();
    wait_lines(&host, &[" deployed ", "code: changed"], 1);
    assert_eq!(count_lines(&host, &["hunter"]), 0);
    host.stop().unwrap();
}

#[test]
fn a_topic_that_does_not_exist_is_waited_for() {
    let stage = Stage::new("late-topic", 1);
    let late = format!("{}.late", stage.name);
    let manifest = stage
        .manifest(&label("v1"))
        .replacen(&stage.input, &late, 1);
    stage
        .folder
        .swap_in(&stage.name, guest("label"), &manifest)
        .unwrap();
    let good = Stage::new("beside", 1);
    stage
        .folder
        .swap_in(&good.name, guest("label"), &good.manifest(&label("good")))
        .unwrap();
    let mut host = stage.serve(&["--kafka-setting", "topic.metadata.refresh.interval.ms=1000"]);
    wait_lines(
        &host,
        &["the topic does not exist; waiting for it", &late],
        1,
    );
    // It is told once, readiness names it, and the handler beside it serves.
    good.produce(&["a record"]);
    good.outputs(&host, 1);
    let (status, said) = host.get("/readyz").unwrap();
    // Records that do not exist do not wait, so the host is ready; it says what it lacks.
    assert_eq!(status, 200);
    assert!(said.contains(&format!("topic {late}")), "{said}");
    assert!(said.contains("it does not exist"), "{said}");
    stage.create_topic(&late, 2);
    clients::produce(&stage.bootstrap, &late, [(None::<&str>, Some("at last"))]).unwrap();
    assert_eq!(texts(&stage.outputs(&host, 1)), ["at last"]);
    host.wait_until_ready(PATIENCE).unwrap();
    assert_eq!(count_lines(&host, &["the topic does not exist"]), 1);
    wait_lines(&host, &["the topic exists now", &late], 1);
}

#[test]
fn of_two_handlers_that_disagree_the_one_that_serves_goes_on() {
    let stage = Stage::new("disagree", 1);
    let host = stage.run("label", &label("first"));
    stage.produce(&["one"]);
    stage.outputs(&host, 1);
    let second = format!("{}-b", stage.name);
    let manifest = stage.manifest(&label("second"));
    stage
        .folder
        .swap_in(&second, guest("label"), &manifest)
        .unwrap();
    let why = format!("both read {} in group {}", stage.input, stage.name);
    wait_lines(&host, &[&second, &why], 1);
    stage.produce(&["two"]);
    assert_eq!(labels(&stage.outputs(&host, 2)), ["first", "first"]);
    // When the first one goes the second may serve.
    stage.folder.swap_out(&stage.name).unwrap();
    wait_lines(&host, &[" deployed ", &second], 1);
    stage.produce(&["three"]);
    assert_eq!(
        labels(&stage.outputs(&host, 3)),
        ["first", "first", "second"]
    );
}

#[test]
fn only_the_named_handlers_run() {
    let stage = Stage::new("only", 1);
    let other = Stage::new("other", 1);
    stage.deploy("label", &label("v1"));
    stage
        .folder
        .swap_in(&other.name, guest("label"), &other.manifest(&label("v1")))
        .unwrap();
    let host: Host = stage.serve(&["--only", &format!("default/{}", stage.name)]);
    other.produce(&["left alone"]);
    stage.produce(&["one"]);
    stage.outputs(&host, 1);
    never("the other handler runs", Duration::from_millis(500), || {
        count_lines(&host, &[&other.name]) > 0
    });
}
