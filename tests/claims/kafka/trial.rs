//! The record that a new revision has to handle before it serves.

use harness::guest;

use super::stage::{Stage, field, wait_lines};

const TRIAL: &str = "deploy.trial-record = \"trial.json\"\n";

fn record(stage: &Stage, value: &str) {
    let text =
        format!("{{\"key\": \"k\", \"headers\": {{\"h\": \"x\"}}, \"value\": \"{value}\"}}\n");
    stage
        .folder
        .swap_text(&stage.name, "trial.json", &text)
        .unwrap();
}

#[test]
fn a_revision_that_fails_its_trial_record_is_refused_in_its_own_words() {
    let stage = Stage::new("trial", 1);
    let host = stage.run("act", "config.label = \"v1\"");
    stage.produce(&["one"]);
    stage.outputs(&host, 1);
    record(&stage, "sound");
    let broken = format!("{TRIAL}config.label = \"v2\"\nconfig.broken = \"\"");
    let swap = |more: &str| {
        let manifest = stage.manifest(more);
        stage.folder.swap_manifest(&stage.name, &manifest).unwrap();
    };
    swap(&broken);
    wait_lines(
        &host,
        &["deploy.trial-record", "fails as other", "broken on purpose"],
        1,
    );
    wait_lines(&host, &["the old one goes on serving"], 1);
    stage.produce(&["two"]);
    assert_eq!(field(&stage.outputs(&host, 2)[1], "label"), "v1");
    // Traps and deadlines are failures as any.
    record(&stage, "trap");
    wait_lines(&host, &["deploy.trial-record", "fails as trap"], 1);
    // With a record that it can handle it serves, though nothing else was changed.
    record(&stage, "ok");
    wait_lines(&host, &[" deployed ", &stage.name], 2);
    stage.produce(&["three"]);
    assert_eq!(field(&stage.outputs(&host, 3)[2], "label"), "v2");
    host.stop().unwrap();
}

#[test]
fn nothing_that_a_trial_emits_is_written() {
    let stage = Stage::new("trial-quiet", 1);
    let folder = &stage.folder;
    folder
        .swap_in(&stage.name, guest("act"), &stage.manifest(""))
        .unwrap();
    record(&stage, "emit-many 5");
    let manifest = stage.manifest(TRIAL);
    folder.swap_manifest(&stage.name, &manifest).unwrap();
    let host = stage.serve(&[]);
    wait_lines(&host, &[" deployed ", &stage.name], 1);
    // Not even at once, past the outbox.
    record(&stage, &format!("receipt {} 10000 x", stage.output));
    let manifest = stage.manifest(&format!("{TRIAL}config.label = \"v2\""));
    folder.swap_manifest(&stage.name, &manifest).unwrap();
    wait_lines(&host, &[" deployed ", &stage.name], 2);
    stage.produce(&["one"]);
    assert_eq!(field(&stage.outputs(&host, 1)[0], "value"), "one");
    // What is no record, and what is not there.
    for (text, what) in [
        ("{\"valu\": 1}", "it is no record"),
        (
            "{\"topic\": \"other\"}",
            "the handler does not read its topic other",
        ),
    ] {
        folder.swap_text(&stage.name, "trial.json", text).unwrap();
        wait_lines(&host, &["trial.json", what], 1);
    }
    std::fs::remove_file(folder.folder(&stage.name).join("trial.json")).unwrap();
    wait_lines(&host, &["trial.json", "cannot be read"], 1);
    stage.produce(&["two"]);
    stage.outputs(&host, 2);
    host.stop().unwrap();
}
