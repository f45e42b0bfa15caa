//! Revisions that are kept, and rollbacks to them.
//!
//! The commands of the host are typed at a host that serves; what it does then is seen in Kafka.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread;
use std::time::Duration;

use harness::host::command;
use harness::{Host, guest, wait_until};
use serde_json::Value;

use super::kept::{Kept, kept};
use super::stage::{PATIENCE, count_lines, wait_lines};
use crate::answer::Answer;

#[test]
fn a_rollback_serves_the_revision_before() {
    let kept_here = Kept::new("rollback");
    let (stage, host) = (&kept_here.stage, kept_here.serve_each(&["v1", "v2", "v3"]));
    kept_here.labels_are(&host, &["v3"]);
    let revisions = kept(&host, &kept_here);
    let [(third, true), (second, false), (first, false)] = revisions.as_slice() else {
        panic!("{revisions:?}");
    };
    let told = kept_here.does(&host, &["rollback"]);
    let expected = format!(
        "default/{} serves revision {second} (before it {third})\n",
        stage.name
    );
    assert_eq!(told, expected);
    kept_here.labels_are(&host, &["v3", "v2"]);
    // The same files once more, under other file facts, are not new ones.
    kept_here.put("v3");
    thread::sleep(Duration::from_secs(1));
    kept_here.labels_are(&host, &["v3", "v2", "v2"]);

    // One further, one that does not exist, and by a part of its name.
    kept_here.does(&host, &["rollback"]);
    kept_here.labels_are(&host, &["v3", "v2", "v2", "v1"]);
    let refused = kept_here.ask(&host, &["rollback"]);
    assert_eq!(refused.code, 1);
    assert!(
        refused
            .stderr
            .contains("no revision before the one that serves is kept"),
        "{}",
        refused.stderr
    );
    let refused = kept_here.ask(&host, &["rollback", "--to", "../../etc"]);
    assert!(
        refused
            .stderr
            .contains("404: no revision ../../etc is kept (kept are "),
        "{}",
        refused.stderr
    );
    kept_here.does(&host, &["rollback", "--to", &second[..8]]);
    kept_here.labels_are(&host, &["v3", "v2", "v2", "v1", "v2"]);
    let status = kept_here.status(&host);
    assert_eq!(status["revision"], second.as_str());
    assert_eq!(status["rolled-back"]["from"], first.as_str());
    assert_eq!(status["partitions"][0]["topic"], stage.input.as_str());

    // What was altered is not served, and nothing changes by that.
    let altered = kept_here.of_handler().join(first).join("handler.toml");
    fs::write(&altered, kept_here.manifest("evil")).unwrap();
    let refused = kept_here.ask(&host, &["rollback", "--to", first]);
    assert!(
        refused
            .stderr
            .contains("these are not the files that were kept"),
        "{}",
        refused.stderr
    );
    kept_here.labels_are(&host, &["v3", "v2", "v2", "v1", "v2", "v2"]);
    assert_eq!(count_lines(&host, &["partitions revoked"]), 0);
    assert_eq!(count_lines(&host, &["audit", "rollback", "done"]), 3);
    stage.committed(&host, &[(0, 6)]);
}

#[test]
fn a_rollback_survives_a_restart() {
    let kept_here = Kept::new("restart");
    let mut host = kept_here.serve_each(&["v1", "v2"]);
    kept_here.labels_are(&host, &["v2"]);
    kept_here.does(&host, &["rollback"]);
    // Also of a host that was killed the moment it had answered.
    host.kill9();
    let host = kept_here.serve();
    kept_here.labels_are(&host, &["v2", "v1"]);
    let serving: Vec<bool> = kept(&host, &kept_here).into_iter().map(|it| it.1).collect();
    assert_eq!(serving, [false, true]);
    host.stop().unwrap();
    // Where it cannot be read, it is told; what it was rolled back from does not come back unseen.
    let folder = kept_here.of_handler();
    let release = fs::read_dir(&folder).unwrap().map(|it| it.unwrap().path());
    for path in release.filter(|path| path.is_dir()) {
        fs::remove_dir_all(path).unwrap();
    }
    let host = kept_here.serve();
    wait_lines(
        &host,
        &[
            "was rolled back to revision",
            "put other files into the handlers folder",
        ],
        1,
    );
    kept_here.put("v3");
    wait_lines(&host, &[" deployed ", &kept_here.stage.name], 1);
    kept_here.labels_are(&host, &["v2", "v1", "v3"]);
}

#[test]
fn a_rollback_brings_no_grants_back_that_were_withdrawn() {
    let kept_here = Kept::new("withdrawn");
    let (stage, folder) = (&kept_here.stage, &kept_here.stage.folder);
    let id = format!("acme/{}", stage.name);
    let manifest = |label: &str| {
        let letters = format!("{}.{label}", stage.dead_letters);
        kept_here
            .manifest(label)
            .replace(&stage.dead_letters, &letters)
    };
    let grant = |produce: &str| {
        let all = format!("{}*", stage.name);
        let text = format!(
            "[grants]\nconsume = [\"{all}\"]\ngroups = [\"{all}\"]\nproduce = [\"{}\", \"{}.dead.{produce}\"]\n",
            stage.output, stage.name
        );
        folder.swap_text("acme", "tenant.toml", &text).unwrap();
    };
    grant("*");
    folder
        .swap_in(&id, guest("label"), &manifest("v1"))
        .unwrap();
    let host = kept_here.serve();
    kept_here.labels_are(&host, &["v1"]);
    folder.swap_manifest(&id, &manifest("v2")).unwrap();
    wait_lines(&host, &[" deployed ", &stage.name], 2);
    grant("v2");
    wait_lines(&host, &[" deployed ", &stage.name], 3);
    let mut rollback = command("rollback").unwrap();
    rollback.args([&id, "--http", host.http_addr()]);
    let refused = Answer::of(&mut rollback);
    assert_eq!(refused.code, 1);
    let told = format!("{}.dead.v1", stage.name);
    assert!(
        refused.stderr.contains("409: ") && refused.stderr.contains(&told),
        "{}",
        refused.stderr
    );
    assert!(
        refused.stderr.contains("acme/tenant.toml"),
        "{}",
        refused.stderr
    );
    kept_here.labels_are(&host, &["v1", "v2"]);
    // With the grant it may.
    grant("*");
    wait_lines(&host, &[" deployed ", &stage.name], 4);
    let done = Answer::of(&mut rollback);
    assert_eq!(done.code, 0, "{}", done.stderr);
    kept_here.labels_are(&host, &["v1", "v2", "v1"]);
}

#[test]
fn a_new_file_ends_a_rollback() {
    let kept_here = Kept::new("ends");
    let host = kept_here.serve_each(&["v1", "v2"]);
    kept_here.labels_are(&host, &["v2"]);
    kept_here.does(&host, &["rollback"]);
    kept_here.labels_are(&host, &["v2", "v1"]);
    // A bad one does not.
    let name = &kept_here.stage.name;
    let bad = kept_here.stage.manifest("retri = 1");
    kept_here.stage.folder.swap_manifest(name, &bad).unwrap();
    wait_lines(&host, &["a new revision was refused", name], 1);
    kept_here.labels_are(&host, &["v2", "v1", "v1"]);
    kept_here.put("v3");
    wait_lines(&host, &["the rollback ends", name], 1);
    wait_lines(&host, &[" deployed ", name], 4);
    kept_here.labels_are(&host, &["v2", "v1", "v1", "v3"]);
    assert_eq!(kept_here.status(&host)["rolled-back"], Value::Null);
    // What it was rolled back from is as new as any other then.
    kept_here.put("v2");
    wait_lines(&host, &[" deployed ", name], 5);
    kept_here.labels_are(&host, &["v2", "v1", "v1", "v3", "v2"]);
    host.stop().unwrap();
    let host = kept_here.serve();
    kept_here.labels_are(&host, &["v2", "v1", "v1", "v3", "v2", "v2"]);
}

#[test]
fn revisions_are_kept_five_and_the_serving_one_always() {
    let kept_here = Kept::new("five");
    let host = kept_here.serve_each(&["v1", "v2", "v3", "v4", "v5", "v6", "v7"]);
    let folder = kept_here.of_handler();
    let on_disk = || {
        let names = fs::read_dir(&folder)
            .unwrap()
            .map(|it| it.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name != "history.json").collect();
        names.sort();
        names
    };
    let five = |host: &Host| {
        let mut all: Vec<String> = kept(host, &kept_here).into_iter().map(|it| it.0).collect();
        assert_eq!(all.len(), 5);
        let oldest = all.last().unwrap().clone();
        all.sort();
        wait_until("the rest is gone", PATIENCE, || on_disk() == all).unwrap();
        oldest
    };
    let oldest = five(&host);
    let manifest = fs::read_to_string(folder.join(&oldest).join("handler.toml")).unwrap();
    assert_eq!(manifest, kept_here.manifest("v3"));
    kept_here.labels_are(&host, &["v7"]);
    kept_here.does(&host, &["rollback", "--to", &oldest]);
    kept_here.labels_are(&host, &["v7", "v3"]);
    assert_eq!(five(&host), oldest);
    host.stop().unwrap();
    // With room for one, the one that serves is it, however old.
    let toml = kept_here.aside.path().join("host.toml");
    let state = kept_here.state().display().to_string();
    fs::write(&toml, format!("state = \"{state}\"\nrevisions-kept = 1\n")).unwrap();
    fs::create_dir(folder.join(".new-ffffffffffff")).unwrap();
    let host = kept_here
        .stage
        .serve(&["--config", &toml.display().to_string()]);
    kept_here.labels_are(&host, &["v7", "v3", "v3"]);
    wait_until("all others are gone", PATIENCE, || {
        on_disk() == [oldest.clone()]
    })
    .unwrap();
}

#[test]
fn a_full_or_read_only_state_folder_stops_no_deployment() {
    let kept_here = Kept::new("full");
    kept_here.put("v1");
    // Nobody can make a folder there.
    let host = kept_here.serve_on(Path::new("/proc/state"));
    kept_here.labels_are(&host, &["v1"]);
    wait_lines(
        &host,
        &["the revision serves and is not kept", "/proc/state"],
        1,
    );
    assert!(host.metric("kafka_wasm_state_failures_total", &[]).unwrap() >= 1.0);
    // To stop a handler matters more than to remember it.
    let paused = kept_here.ask(&host, &["pause"]);
    assert_eq!(paused.code, 0, "{}", paused.stderr);
    assert!(
        paused
            .stderr
            .contains("note: it goes on when the host starts again: /proc/state"),
        "{}",
        paused.stderr
    );
    kept_here.does(&host, &["resume"]);
    host.stop().unwrap();

    // A disk that is full, from some moment on.
    let host = kept_here.serve();
    kept_here.labels_are(&host, &["v1", "v1"]);
    wait_until("the first is kept", PATIENCE, || {
        kept(&host, &kept_here).len() == 1
    })
    .unwrap();
    let draft = kept_here.of_handler().join(".new-history.json");
    symlink("/dev/full", &draft).unwrap();
    kept_here.put("v2");
    wait_lines(
        &host,
        &[
            "the revision serves and is not kept",
            "No space left on device",
        ],
        1,
    );
    kept_here.labels_are(&host, &["v1", "v1", "v2"]);
    let refused = kept_here.ask(&host, &["rollback"]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("507: ") && refused.stderr.contains("nothing was changed"),
        "{}",
        refused.stderr
    );
    kept_here.labels_are(&host, &["v1", "v1", "v2", "v2"]);
    // With room again it is as if nothing had been.
    fs::remove_file(&draft).unwrap();
    kept_here.does(&host, &["rollback"]);
    kept_here.labels_are(&host, &["v1", "v1", "v2", "v2", "v1"]);
}
