//! A dead-letter topic of one handler, and the commands that are run on it.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use harness::host::command;
use harness::kafka::unique;
use harness::{HandlersDir, Kafka, TestRecord, clients, guest, wait_until};
use serde_json::Value;

use super::super::stage::{PATIENCE, Stage};
use crate::answer::Answer;

/// The timestamp of the records that these letters are of.
const TIMESTAMP: &str = "2018-01-31T02:00:31.800Z";

impl Answer {
    /// The columns of the lines for letters, which begin with a place.
    pub(super) fn rows(&self) -> Vec<Vec<String>> {
        let columns = |line: &str| -> Vec<String> {
            let parts = line.split("  ").map(str::trim);
            parts
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let lines = self.stdout.lines();
        lines
            .map(columns)
            .filter(|row| row[0].contains('@'))
            .collect()
    }

    pub(super) fn json(&self) -> Vec<Value> {
        let lines = self.stdout.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// A handler's folder and topic.
pub(super) struct Post {
    pub(super) bootstrap: String,
    /// The handler's name, and its group's.
    pub(super) name: String,
    /// The dead-letter topic.
    pub(super) topic: String,
    pub(super) folder: HandlersDir,
}

impl Post {
    /// Makes a dead-letter topic with so many partitions, and a handler whose manifest names it.
    pub(super) fn new(name: &str, partitions: i32) -> Self {
        Self::on(Kafka::shared(), name, partitions)
    }

    /// As [`Self::new`], on another node.
    pub(super) fn on(kafka: &Kafka, name: &str, partitions: i32) -> Self {
        let post = Self::without_topic(kafka, name);
        kafka.create_topic(&post.topic, partitions, &[]).unwrap();
        post
    }

    /// As [`Self::on`], but nobody makes the topic.
    pub(super) fn without_topic(kafka: &Kafka, name: &str) -> Self {
        let name = unique(name);
        let post = Self {
            bootstrap: kafka.bootstrap().to_owned(),
            topic: format!("{name}.dead"),
            folder: HandlersDir::new().unwrap(),
            name,
        };
        let manifest = format!(
            "topics = [\"orders\"]\ngroup = \"{}\"\ndead-letter-topic = \"{}\"\n",
            post.name, post.topic
        );
        post.folder
            .handler(&post.name, guest("act"), &manifest)
            .unwrap();
        post
    }

    /// Takes over where a host has written letters.
    pub(super) fn of_stage(stage: Stage) -> Self {
        Self {
            bootstrap: stage.bootstrap,
            name: stage.name,
            topic: stage.dead_letters,
            folder: stage.folder,
        }
    }

    /// The handler with its tenant.
    pub(super) fn handler(&self) -> String {
        format!("default/{}", self.name)
    }

    /// The topic of replays.
    pub(super) fn replay_topic(&self) -> String {
        format!("{}.replay", self.name)
    }

    pub(super) fn write(&self, letters: &[TestRecord]) {
        clients::produce_records(&self.bootstrap, &self.topic, letters.to_vec()).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = command("dead-letter").unwrap();
        command
            .args(args)
            .env("KAFKA_WASM_HANDLERS", self.folder.path())
            .env("KAFKA_WASM_BROKERS", &self.bootstrap);
        command
    }

    /// Runs a command of `dead-letter` to its end.
    pub(super) fn run(&self, args: &[&str]) -> Answer {
        Answer::of(&mut self.command(args))
    }

    /// Runs a command of `dead-letter` whose stderr is a terminal; what it wrote there is in `stderr`.
    pub(super) fn run_on_terminal(&self, args: &[&str]) -> Answer {
        let folder = tempfile::tempdir().unwrap();
        let stdout = folder.path().join("stdout");
        let like = self.command(args);
        let words = std::iter::once(like.get_program()).chain(like.get_args());
        let words: Vec<&str> = words.map(|word| word.to_str().unwrap()).collect();
        let line = format!("exec {} >{}", words.join(" "), stdout.display());
        // That of util-linux, so that no test has to open a terminal by itself.
        let mut script = Command::new("script");
        let own = like
            .get_envs()
            .filter_map(|(key, value)| Some((key, value?)));
        script.args(["-qec", &line, "/dev/null"]).envs(own);
        let answer = Answer::of(&mut script);
        Answer {
            code: answer.code,
            stdout: std::fs::read_to_string(stdout).unwrap(),
            stderr: answer.stdout,
        }
    }

    /// Starts a command of `dead-letter`.
    pub(super) fn start(&self, args: &[&str]) -> Running {
        let mut command = self.command(args);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Running(Some(command.spawn().unwrap()))
    }

    /// The committed replays, in the order of partitions and offsets; none where the topic does not exist.
    pub(super) fn replays(&self) -> Option<Vec<TestRecord>> {
        let topic = self.replay_topic();
        clients::partitions(&self.bootstrap, &topic).ok()?;
        let mut all = clients::consume_all(&self.bootstrap, &topic, true).unwrap();
        all.sort_by_key(|record| (record.partition, record.offset));
        Some(all)
    }

    /// Places of the letters that were replayed, as often as they were, in order.
    pub(super) fn replayed_places(&self) -> Vec<String> {
        let replays = self.replays().unwrap_or_default();
        let mut places: Vec<String> = replays
            .iter()
            .map(|replay| place(&self.topic, replay))
            .collect();
        places.sort();
        places
    }

    /// Waits until some replays are committed.
    pub(super) fn wait_for_replays(&self, n: usize) {
        wait_until(&format!("{n} replays"), PATIENCE, || {
            self.replays().is_some_and(|replays| replays.len() >= n)
        })
        .unwrap();
    }
}

/// The place of the letter that a record replays.
pub(super) fn place(topic: &str, replay: &TestRecord) -> String {
    let (name, value) = replay.headers.as_ref().unwrap().last().unwrap();
    assert_eq!(name, "replay.of");
    let of = String::from_utf8(value.clone().unwrap()).unwrap();
    let place = of.strip_prefix(topic).unwrap();
    place
        .replacen("]@", "@", 1)
        .trim_start_matches('[')
        .to_owned()
}

/// A command under way; dropping it kills it.
pub(super) struct Running(Option<Child>);

impl Running {
    /// SIGKILL.
    pub(super) fn kill9(mut self) {
        self.end();
    }

    /// Waits for its end.
    pub(super) fn wait(mut self) -> Answer {
        let mut child = self.0.take().unwrap();
        let ended = wait_until("the end of the command", Duration::from_secs(60), || {
            child.try_wait().unwrap().is_some()
        });
        if ended.is_err() {
            child.kill().unwrap();
        }
        let output = child.wait_with_output().unwrap();
        Answer {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn end(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// A letter as a host writes it. Its number is that of its record's offset, 1000 less, and that of the minutes after
/// two at which it was given up.
pub(super) fn letter(handler: &str, n: usize, kind: &str, key: &str) -> TestRecord {
    let time = format!("2018-01-31T{:02}:{:02}:00.000Z", 2 + n / 60, n % 60);
    let headers = [
        ("own", n.to_string()),
        ("dead-letter.topic", "orders".to_owned()),
        ("dead-letter.partition", "7".to_owned()),
        ("dead-letter.offset", (1000 + n).to_string()),
        ("dead-letter.timestamp", TIMESTAMP.to_owned()),
        ("dead-letter.handler", handler.to_owned()),
        ("dead-letter.revision", "0123456789ab".to_owned()),
        ("dead-letter.attempts", "3".to_owned()),
        ("dead-letter.error-kind", kind.to_owned()),
        ("dead-letter.error", format!("error {n}\nmore of it")),
        ("dead-letter.time", time),
    ];
    let record = TestRecord::new(key, format!("value {n}"));
    headers.iter().fold(record, |record, (name, value)| {
        record.header(name, Some(value.as_bytes()))
    })
}
