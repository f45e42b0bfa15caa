//! A stage whose hosts keep what outlasts them, and the commands that are typed at them.
//!
//! **Invariant:** a command that is to be done is done before the next line of a test.

use std::path::{Path, PathBuf};

use harness::host::command;
use harness::{Host, guest, wait_until};
use serde_json::Value;
use tempfile::TempDir;

use super::stage::{PATIENCE, Stage, wait_lines};
use crate::answer::Answer;

/// A stage with a folder for the state of its hosts.
pub struct Kept {
    pub stage: Stage,
    pub aside: TempDir,
}

impl Kept {
    pub fn new(name: &str) -> Self {
        Self {
            stage: Stage::new(name, 1),
            aside: tempfile::tempdir().unwrap(),
        }
    }

    pub fn state(&self) -> PathBuf {
        self.aside.path().join("state")
    }

    /// Where the state of the stage's handler lies.
    pub fn of_handler(&self) -> PathBuf {
        self.state().join("default").join(&self.stage.name)
    }

    pub fn serve(&self) -> Host {
        self.serve_on(&self.state())
    }

    pub fn serve_on(&self, state: &Path) -> Host {
        let state = state.display().to_string();
        // What a host leaves behind that is killed is given to others soon.
        let setting = "session.timeout.ms=6000";
        let args = ["--state", &state, "--kafka-setting", setting];
        self.stage.serve(&args)
    }

    /// Puts a manifest into the folder whose records get this label.
    pub fn put(&self, label: &str) {
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

    pub fn manifest(&self, label: &str) -> String {
        self.stage.manifest(&format!("config.label = \"{label}\""))
    }

    /// Starts a host and deploys one label after the other.
    pub fn serve_each(&self, labels: &[&str]) -> Host {
        self.put(labels[0]);
        let host = self.serve();
        for (at, label) in labels.iter().enumerate() {
            self.put(label);
            wait_lines(&host, &[" deployed ", &self.stage.name], at + 1);
        }
        // What was published last is kept a moment later.
        let all = labels.len().min(5);
        wait_until("all is kept", PATIENCE, || {
            let kept = kept(&host, self);
            kept.len() == all && kept.first().is_some_and(|(_, is_serving)| *is_serving)
        })
        .unwrap();
        host
    }

    /// Hands the handler a record and sees which labels were there so far.
    pub fn labels_are(&self, host: &Host, expected: &[&str]) {
        self.stage.produce(&["a record"]);
        let outputs = self.stage.outputs(host, expected.len());
        let labels: Vec<String> = outputs
            .iter()
            .map(|it| it.header_text("label").unwrap())
            .collect();
        assert_eq!(labels, expected, "{}", host.tail());
    }

    /// Types a command about the stage's handler.
    pub fn ask(&self, host: &Host, words: &[&str]) -> Answer {
        let mut command = command(words[0]).unwrap();
        command.arg(&self.stage.name).args(&words[1..]);
        Answer::of(command.args(["--http", host.http_addr()]))
    }

    /// As [`Self::ask`], and it is done.
    pub fn does(&self, host: &Host, words: &[&str]) -> String {
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

    pub fn status(&self, host: &Host) -> Value {
        serde_json::from_str(&self.does(host, &["status", "--json"])).unwrap()
    }
}

/// The revisions that are kept, the newest first, and whether each serves.
pub fn kept(host: &Host, kept: &Kept) -> Vec<(String, bool)> {
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
