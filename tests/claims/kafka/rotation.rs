//! Secrets that change while two revisions share the keys.

use std::collections::BTreeSet;
use std::fs;

use harness::host::command;
use harness::{Host, TestRecord, guest, wait_until};
use serde_json::Value;

use super::stage::{PATIENCE, Stage, TWICE, field, wait_lines};
use crate::answer::Answer;

const TENANT: &str = "grants = { consume = [\"*\"], produce = [\"*\"], groups = [\"*\"] }\n\
    [secrets]\nfiles = [\"acme-*\"]\n";
const KEYS: usize = 30;

fn manifest(stage: &Stage, label: &str, more: &str) -> String {
    let middleware =
        "[[middleware]]\ncomponent = \"middleware.wasm\"\nname = \"m\"\nconfig.name = \"m\"\n";
    let config = "config.password = { file = \"acme-db\" }\n";
    let own = format!("{TWICE}ordering = \"key\"\nconfig.label = \"{label}\"\n{config}{more}");
    stage.manifest(&own) + middleware
}

/// Has each key's record handled; returns which secrets were told under which labels.
fn told(stage: &Stage, host: &Host, round: usize) -> BTreeSet<(String, String)> {
    let record = |n: usize| TestRecord::new(format!("key-{n}"), "config password".to_owned());
    stage.produce_records((0..KEYS).map(record));
    let outputs = stage.outputs(host, round * KEYS);
    let new = outputs.iter().skip((round - 1) * KEYS);
    new.map(|it| (field(it, "label"), field(it, "result")))
        .collect()
}

fn pairs(all: [(&str, &str); 2]) -> BTreeSet<(String, String)> {
    all.map(|(label, secret)| (label.to_owned(), secret.to_owned()))
        .into()
}

fn status(host: &Host, id: &str) -> Value {
    let (_, text) = host.get(&format!("/v1/handlers/{id}")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// With middleware, and with another handler of the tenant that names the same secret.
#[test]
fn a_secret_that_changes_while_a_canary_is_under_way_reaches_both_revisions() {
    let stage = Stage::new("rotation", 1);
    let (folder, aside) = (&stage.folder, tempfile::tempdir().unwrap());
    let (id, secrets) = (format!("acme/{}", stage.name), aside.path().join("secrets"));
    fs::create_dir(&secrets).unwrap();
    fs::write(secrets.join("acme-db"), "first").unwrap();
    folder.swap_text("acme", "tenant.toml", TENANT).unwrap();
    let put = |label: &str, more: &str| {
        folder
            .swap_manifest(&id, &manifest(&stage, label, more))
            .unwrap();
    };
    folder
        .swap_in(&id, guest("act"), &manifest(&stage, "v1", ""))
        .unwrap();
    folder
        .swap_beside(&id, "middleware.wasm", guest("middleware"))
        .unwrap();
    let serve = || {
        let (secrets, state) = (secrets.display(), aside.path().join("state"));
        stage.serve(&[
            "--secrets",
            &secrets.to_string(),
            "--state",
            &state.display().to_string(),
            "--kafka-setting",
            "session.timeout.ms=6000",
        ])
    };
    let host = serve();
    wait_lines(&host, &[" deployed ", &stage.name], 1);
    wait_until("the first revision is kept", PATIENCE, || {
        let (_, text) = host.get(&format!("/v1/handlers/{id}/revisions")).unwrap();
        text.contains("\"revision\"")
    })
    .unwrap();
    put("v2", "deploy.canary = \"50%\"\n");
    wait_lines(&host, &["a new revision is tried", &stage.name], 1);
    assert_eq!(
        told(&stage, &host, 1),
        pairs([("v1", "first"), ("v2", "first")])
    );

    fs::write(secrets.join("acme-db"), "second").unwrap();
    wait_lines(&host, &["a new revision is tried", &stage.name], 2);
    let both = pairs([("v1", "second"), ("v2", "second")]);
    assert_eq!(told(&stage, &host, 2), both, "{}", host.tail());
    let shown = status(&host, &id);
    assert_eq!(shown["trial"]["kind"], "canary", "{shown}");
    host.stop().unwrap();
    // And after a restart.
    let host = serve();
    wait_lines(&host, &["a new revision is tried", &stage.name], 1);
    assert_eq!(told(&stage, &host, 3), both, "{}", host.tail());
    let mut rollback = command("rollback").unwrap();
    let done = Answer::of(rollback.args([&id, "--http", host.http_addr()]));
    assert_eq!(done.code, 0, "{}", done.stderr);
    let old = told(&stage, &host, 4);
    let only = BTreeSet::from([("v1".to_owned(), "second".to_owned())]);
    assert_eq!(old, only, "{}", host.tail());
    host.stop().unwrap();
}
