//! `topic-prefix` of a tenant: what its manifests and components call `orders` is one topic of its own.

use std::process::Stdio;

use harness::host::command;
use harness::{TestRecord, clients, guest, wait_until};

use super::stage::{PATIENCE, Stage, field, said};

/// What all handlers here are called by their tenants.
const MANIFEST: &str =
    "topics = [\"in\"]\ngroup = \"g\"\ndead-letter-topic = \"dead\"\nconfig.output = \"out\"\n";

/// A tenant's file with this prefix, which grants nothing else.
fn tenant(prefix: &str) -> String {
    let all = format!("[\"{prefix}*\"]");
    format!(
        "topic-prefix = \"{prefix}\"\n[grants]\nconsume = {all}\nproduce = {all}\ngroups = {all}\n"
    )
}

fn deploy(stage: &Stage, handler: &str, prefix: &str, manifest: &str) {
    let (folder, (tenant_name, _)) = (&stage.folder, handler.split_once('/').unwrap());
    let file = tenant(prefix);
    folder.swap_text(tenant_name, "tenant.toml", &file).unwrap();
    folder.swap_in(handler, guest("act"), manifest).unwrap();
}

#[test]
fn a_topic_prefix_holds_for_everything_that_is_read_and_written() {
    let stage = Stage::new("prefixed", 1);
    let name = &stage.name;
    let full = |topic: &str| format!("{name}.{topic}");
    for topic in ["more", "g.replay", "questions", "answers", "answered"] {
        stage.create_topic(&full(topic), 1);
    }
    let more = "ordering = \"key\"\non-exhausted = \"park\"\nretry.max-attempts = 1\n[[response]]\ntopic = \"answers\"\n";
    let prefix = full("");
    deploy(&stage, "acme/asks", &prefix, &format!("{MANIFEST}{more}"));
    let answering = "topics = [\"questions\"]\nconfig.output = \"answered\"\n";
    deploy(&stage, "acme/answering", &prefix, answering);
    let host = stage.serve(&[]);
    let record = |text: &str| TestRecord::new("good", text);
    stage.produce_records([
        record("one"),
        record("emit-to more"),
        // A name that is a full one already.
        record(&format!("emit-to {}", full("more"))),
        record("receipt more 30000 x"),
        record("ask questions 30000 answer well"),
        TestRecord::new("bad", "other no"),
    ]);
    let outputs = stage.outputs(&host, 5);
    for output in &outputs {
        assert_eq!(field(output, "topic"), "in", "{output:?}");
    }
    assert_eq!(field(&outputs[4], "result"), "well");
    stage.exactly(&full("more"), &host, 3);
    let letter = stage.letter(&host);
    assert_eq!(said(&letter, "topic"), full("in"));
    let parked = wait_until("a marker of the parked key", PATIENCE, || {
        host.metric("kafka_wasm_parked_keys", &[]).unwrap() == 1.0
    });
    parked.unwrap_or_else(|error| panic!("{error}\n{}", host.tail()));
    assert!(!stage.read(&full("g.parked")).is_empty());
    let committed = || clients::committed(&stage.bootstrap, &full("g"), &full("in")).unwrap();
    wait_until("the position", PATIENCE, || committed() == [(0, 6)]).unwrap();
    // Commands find what the handler has.
    let mut letters = command("dead-letter").unwrap();
    letters
        .args(["list", "acme/asks", "--parked"])
        .env("KAFKA_WASM_HANDLERS", stage.folder.path())
        .env("KAFKA_WASM_BROKERS", &stage.bootstrap)
        .stdin(Stdio::null());
    let listed = String::from_utf8(letters.output().unwrap().stdout).unwrap();
    assert!(
        listed.starts_with(&format!("{}[0]  bad  acme/asks", full("in"))),
        "{listed}"
    );
    host.stop().unwrap();
}

#[test]
fn a_pattern_behind_a_topic_prefix_reads_no_topic_of_others() {
    let stage = Stage::new("prefixed-pattern", 1);
    let theirs = format!("i-{}", stage.name);
    stage.create_topic(&theirs, 1);
    let manifest = MANIFEST.replace("topics = [\"in\"]", "pattern = \"i*\"");
    deploy(&stage, "acme/reads", &format!("{}.", stage.name), &manifest);
    let host = stage.serve(&[]);
    clients::produce_records(&stage.bootstrap, &theirs, [TestRecord::new("k", "theirs")]).unwrap();
    stage.produce(&["ours"]);
    stage.outputs(&host, 1);
    stage.produce(&["ours again"]);
    for output in stage.outputs(&host, 2) {
        assert_eq!(field(&output, "topic"), "in");
    }
    host.stop().unwrap();
}

#[test]
fn two_tenants_with_the_same_names_do_not_meet() {
    let stage = Stage::new("same-names", 1);
    let full = |tenant: &str, topic: &str| format!("{}.{tenant}.{topic}", stage.name);
    for tenant in ["one", "two"] {
        for topic in ["in", "out", "dead"] {
            stage.create_topic(&full(tenant, topic), 1);
        }
        deploy(
            &stage,
            &format!("{tenant}/same"),
            &full(tenant, ""),
            MANIFEST,
        );
    }
    let host = stage.serve(&[]);
    for tenant in ["one", "two"] {
        let records = [format!("ok {tenant}"), format!("reject {tenant}")];
        let records = records.map(|text| TestRecord::new("k", text));
        clients::produce_records(&stage.bootstrap, &full(tenant, "in"), records).unwrap();
    }
    for tenant in ["one", "two"] {
        let outputs = stage.exactly(&full(tenant, "out"), &host, 1);
        assert_eq!(field(&outputs[0], "value"), format!("ok {tenant}"));
        let letters = stage.exactly(&full(tenant, "dead"), &host, 1);
        assert_eq!(letters[0].text(), format!("reject {tenant}"));
        let committed = || {
            let (group, topic) = (full(tenant, "g"), full(tenant, "in"));
            clients::committed(&stage.bootstrap, &group, &topic).unwrap()
        };
        wait_until("the position", PATIENCE, || committed() == [(0, 2)]).unwrap();
    }
    host.stop().unwrap();
}
