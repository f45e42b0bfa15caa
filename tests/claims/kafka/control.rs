//! Revisions, rollbacks and pauses, as an operator asks for them.
//!
//! The commands of the host are typed at a host that serves; what it does then is seen in Kafka.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use harness::host::command;
use harness::{Host, TestRecord, clients, guest, wait_until};
use serde_json::Value;
use tempfile::TempDir;

use super::stage::{PATIENCE, Stage, count_lines, field, never, texts, wait_lines};
use crate::answer::Answer;

/// A stage with a folder for the state of its hosts.
struct Kept {
    stage: Stage,
    aside: TempDir,
}

impl Kept {
    fn new(name: &str) -> Self {
        Self {
            stage: Stage::new(name, 1),
            aside: tempfile::tempdir().unwrap(),
        }
    }

    fn state(&self) -> PathBuf {
        self.aside.path().join("state")
    }

    /// Where the state of the stage's handler lies.
    fn of_handler(&self) -> PathBuf {
        self.state().join("default").join(&self.stage.name)
    }

    fn serve(&self) -> Host {
        self.serve_on(&self.state())
    }

    fn serve_on(&self, state: &Path) -> Host {
        let state = state.display().to_string();
        // What a host leaves behind that is killed is given to others soon.
        let setting = "session.timeout.ms=6000";
        let args = ["--state", &state, "--kafka-setting", setting];
        self.stage.serve(&args)
    }

    /// Puts a manifest into the folder whose records get this label.
    fn put(&self, label: &str) {
        let manifest = self.manifest(label);
        let folder = &self.stage.folder;
        if folder.folder(&self.stage.name).exists() {
            folder.swap_manifest(&self.stage.name, &manifest).unwrap();
        } else {
            folder
                .swap_in(&self.stage.name, guest("label"), &manifest)
                .unwrap();
        }
    }

    fn manifest(&self, label: &str) -> String {
        self.stage.manifest(&format!("config.label = \"{label}\""))
    }

    /// Starts a host and deploys one label after the other.
    fn serve_each(&self, labels: &[&str]) -> Host {
        self.put(labels[0]);
        let host = self.serve();
        for (at, label) in labels.iter().enumerate() {
            self.put(label);
            wait_lines(&host, &[" deployed ", &self.stage.name], at + 1);
        }
        // What was published last is kept a moment later.
        let all = labels.len().min(5);
        wait_until("all is kept", PATIENCE, || kept(&host, self).len() == all).unwrap();
        host
    }

    /// Hands the handler a record and sees which labels were there so far.
    fn labels_are(&self, host: &Host, expected: &[&str]) {
        self.stage.produce(&["a record"]);
        let outputs = self.stage.outputs(host, expected.len());
        let labels: Vec<String> = outputs
            .iter()
            .map(|it| it.header_text("label").unwrap())
            .collect();
        assert_eq!(labels, expected, "{}", host.tail());
    }

    /// Types a command about the stage's handler.
    fn ask(&self, host: &Host, words: &[&str]) -> Answer {
        let mut command = command(words[0]).unwrap();
        command.arg(&self.stage.name).args(&words[1..]);
        Answer::of(command.args(["--http", host.http_addr()]))
    }

    /// As [`Self::ask`], and it is done.
    fn does(&self, host: &Host, words: &[&str]) -> String {
        let answer = self.ask(host, words);
        assert_eq!(
            answer.code,
            0,
            "{words:?}: {}\n{}",
            answer.stderr,
            host.tail()
        );
        answer.stdout
    }

    fn status(&self, host: &Host) -> Value {
        serde_json::from_str(&self.does(host, &["status", "--json"])).unwrap()
    }
}

/// The revisions that are kept, the newest first, and whether each serves.
fn kept(host: &Host, kept: &Kept) -> Vec<(String, bool)> {
    let told: Value = serde_json::from_str(&kept.does(host, &["revisions", "--json"])).unwrap();
    let all = told["revisions"].as_array().unwrap().iter();
    all.map(|it| {
        (
            it["revision"].as_str().unwrap().to_owned(),
            it["serving"] == true,
        )
    })
    .collect()
}

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

/// Pauses while records of this handler are under way, restarts, and resumes.
fn pause_and_resume(fixture: &str, more: &str) {
    const RECORDS: usize = 200;
    let kept_here = Kept::new("pause");
    let stage = &kept_here.stage;
    stage.deploy(fixture, more);
    let toml = kept_here.aside.path().join("host.toml");
    let state = kept_here.state().display().to_string();
    fs::write(
        &toml,
        format!("state = \"{state}\"\nwatchdog.stall-after-ms = 500\n"),
    )
    .unwrap();
    let serve = || stage.serve(&["--config", &toml.display().to_string()]);
    let record = |n: usize| TestRecord::new(format!("key-{}", n % 20), "sleep 20").on(0);
    stage.produce_records((0..RECORDS).map(record));
    let host = serve();
    let count = || stage.read(&stage.output).len();
    clients::consume_until(&stage.bootstrap, &stage.output, 10, PATIENCE).unwrap();
    let told = kept_here.does(&host, &["pause"]);
    assert_eq!(told, format!("default/{} is paused\n", stage.name));

    // What is in hand is finished; then nothing more.
    let position = || {
        let status = kept_here.status(&host);
        assert_eq!(status["state"], "paused");
        assert_eq!(status["problems"].as_array().unwrap().len(), 0, "{status}");
        status["partitions"][0]["position"].as_i64()
    };
    thread::sleep(Duration::from_secs(1));
    let handled = count();
    assert!(handled < RECORDS, "it was paused too late to see anything");
    stage.produce_records([record(RECORDS)]);
    never("a record is handled", Duration::from_secs(2), || {
        count() > handled
    });
    assert!(position().unwrap() <= i64::try_from(handled).unwrap());
    let (status, said) = host.get("/readyz").unwrap();
    assert_eq!(status, 200, "{said}");
    assert!(
        said.contains("\"state\": \"serving\"") && said.contains("\"paused\": true"),
        "{said}"
    );
    let metric = |name: &str| host.metric(name, &[("handler", &stage.name)]).unwrap();
    assert!(metric("kafka_wasm_paused_by_command") > 0.0);
    assert!(
        metric("kafka_wasm_stalled_partitions") < 1.0,
        "{}",
        host.tail()
    );
    assert_eq!(count_lines(&host, &["partitions revoked"]), 0);
    host.stop().unwrap();

    // Another revision, and another host.
    let host = serve();
    wait_lines(&host, &["the handler is paused, as it was before"], 1);
    wait_lines(&host, &["partitions assigned"], 1);
    never("a record is handled", Duration::from_secs(2), || {
        count() > handled
    });
    let other = stage.manifest(&format!("{more}\nlimits.deadline-ms = 5000"));
    stage.folder.swap_manifest(&stage.name, &other).unwrap();
    wait_lines(&host, &[" deployed "], 2);
    never("a record is handled", Duration::from_secs(1), || {
        count() > handled
    });
    assert_eq!(
        kept_here.does(&host, &["resume"]),
        format!("default/{} goes on\n", stage.name)
    );
    let outputs = stage.outputs(&host, RECORDS + 1);
    let mut offsets: Vec<i64> = outputs
        .iter()
        .map(|it| field(it, "offset").parse().unwrap())
        .collect();
    if !more.contains("ordering") {
        assert!(offsets.is_sorted(), "{offsets:?}");
    }
    offsets.sort_unstable();
    offsets.dedup();
    assert_eq!(offsets.len(), RECORDS + 1, "each record once");
    stage.committed(&host, &[(0, i64::try_from(RECORDS + 1).unwrap())]);
    host.stop().unwrap();
    // It is over for good.
    let host = serve();
    stage.produce_records([record(0)]);
    stage.outputs(&host, RECORDS + 2);
}

#[test]
fn a_paused_handler_takes_nothing_and_resumes_where_it_was() {
    pause_and_resume("act", "");
}

#[test]
fn a_paused_handler_with_lanes_beside_each_other_takes_nothing() {
    pause_and_resume("act", "ordering = \"key\"\nconcurrency = 3");
    pause_and_resume("act", "ordering = \"none\"\nconcurrency = 3");
}

#[test]
fn a_pause_without_a_state_folder_ends_with_the_host() {
    let kept_here = Kept::new("forgets");
    let stage = &kept_here.stage;
    let host = stage.run("label", "config.label = \"v1\"");
    kept_here.labels_are(&host, &["v1"]);
    let paused = kept_here.ask(&host, &["pause"]);
    assert!(
        paused
            .stderr
            .contains("note: it goes on when the host starts again"),
        "{}",
        paused.stderr
    );
    assert!(paused.stderr.contains("--state DIR"), "{}", paused.stderr);
    stage.produce(&["waits"]);
    never("a record is handled", Duration::from_secs(1), || {
        stage.read(&stage.output).len() > 1
    });
    host.stop().unwrap();
    let host = stage.serve(&[]);
    assert_eq!(texts(&stage.outputs(&host, 2))[1], "waits");
}
