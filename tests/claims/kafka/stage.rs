//! The stage of most claims: an input topic, an output topic, dead letters, one handler, one host.
//!
//! It is handed a name and a number of partitions; all else is made unique from them on the shared node.
//! **Invariant:** outputs and dead letters have one partition each, so the order in which they are read is that in
//! which they were written.

use std::path::Path;
use std::time::Duration;

use harness::kafka::unique;
use harness::{HandlersDir, Host, Kafka, TestRecord, clients, guest, wait_until};
use serde_json::Value;

/// What a wait may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Two attempts in quick succession.
pub const TWICE: &str = "retry.max-attempts = 2\nretry.initial-ms = 10\n";

/// The topics and the folder of one test.
pub struct Stage {
    pub bootstrap: String,
    /// The handler's name, and its group's.
    pub name: String,
    pub input: String,
    pub output: String,
    pub dead_letters: String,
    pub folder: HandlersDir,
}

impl Stage {
    /// Makes the topics; the input has so many partitions.
    pub fn new(name: &str, partitions: i32) -> Self {
        Self::on(Kafka::shared(), name, partitions)
    }

    /// As [`Self::new`], on a Kafka of the test's own.
    pub fn on(kafka: &Kafka, name: &str, partitions: i32) -> Self {
        let stage = Self::without_letters_on(kafka, name, partitions);
        kafka.create_topic(&stage.dead_letters, 1, &[]).unwrap();
        stage
    }

    /// As [`Self::new`], but the topic for dead letters does not exist.
    pub fn without_dead_letters(name: &str, partitions: i32) -> Self {
        Self::without_letters_on(Kafka::shared(), name, partitions)
    }

    fn without_letters_on(kafka: &Kafka, name: &str, partitions: i32) -> Self {
        let name = unique(name);
        let stage = Self {
            bootstrap: kafka.bootstrap().to_owned(),
            input: format!("{name}.in"),
            output: format!("{name}.out"),
            dead_letters: format!("{name}.dead"),
            name,
            folder: HandlersDir::new().unwrap(),
        };
        kafka.create_topic(&stage.input, partitions, &[]).unwrap();
        kafka.create_topic(&stage.output, 1, &[]).unwrap();
        stage
    }

    pub fn create_topic(&self, topic: &str, partitions: i32) {
        Kafka::shared()
            .create_topic(topic, partitions, &[])
            .unwrap();
    }

    /// A manifest for the stage's topics with `more` keys, all of them dotted.
    pub fn manifest(&self, more: &str) -> String {
        format!(
            "topics = [\"{}\"]\ngroup = \"{}\"\ndead-letter-topic = \"{}\"\nconfig.output = \"{out}\"\n\
             config.trace = \"{out}\"\n{more}\n",
            self.input,
            self.name,
            self.dead_letters,
            out = self.output,
        )
    }

    /// Puts a fixture into the folder, under the stage's name.
    pub fn deploy(&self, fixture: &str, more: &str) {
        let manifest = self.manifest(more);
        self.folder
            .swap_in(&self.name, guest(fixture), &manifest)
            .unwrap();
    }

    /// Starts a host on the folder.
    pub fn serve(&self, args: &[&str]) -> Host {
        start(&self.bootstrap, self.folder.path(), args)
    }

    /// [`Self::deploy`] and [`Self::serve`].
    pub fn run(&self, fixture: &str, more: &str) -> Host {
        self.deploy(fixture, more);
        self.serve(&[])
    }

    /// Writes values without keys to partition 0 of the input.
    pub fn produce(&self, values: &[&str]) {
        self.produce_on(0, values);
    }

    /// Writes values without keys to one partition of the input.
    pub fn produce_on(&self, partition: i32, values: &[&str]) {
        self.produce_records(values.iter().map(|value| value_on(partition, value)));
    }

    pub fn produce_records(&self, records: impl IntoIterator<Item = TestRecord>) {
        clients::produce_records(&self.bootstrap, &self.input, records).unwrap();
    }

    /// Waits for exactly `n` outputs.
    pub fn outputs(&self, host: &Host, n: usize) -> Vec<TestRecord> {
        self.exactly(&self.output, host, n)
    }

    /// Waits for exactly `n` dead letters.
    pub fn letters(&self, host: &Host, n: usize) -> Vec<TestRecord> {
        self.exactly(&self.dead_letters, host, n)
    }

    /// Waits for exactly one dead letter.
    pub fn letter(&self, host: &Host) -> TestRecord {
        self.letters(host, 1).remove(0)
    }

    /// Waits until `n` records are there, and sees that there are no more.
    pub fn exactly(&self, topic: &str, host: &Host, n: usize) -> Vec<TestRecord> {
        if let Err(error) = clients::consume_until(&self.bootstrap, topic, n, PATIENCE) {
            panic!("{error}\n{}", host.tail());
        }
        let all = self.read(topic);
        let more = texts(all.get(n..).unwrap_or_default());
        assert_eq!(
            all.len(),
            n,
            "{topic} has more than was waited for: {more:?}\n{}",
            host.tail()
        );
        all
    }

    /// Everything that a topic holds now.
    pub fn read(&self, topic: &str) -> Vec<TestRecord> {
        clients::consume_all(&self.bootstrap, topic, true).unwrap()
    }

    /// Waits until the group has committed these positions of the input.
    pub fn committed(&self, host: &Host, expected: &[(i32, i64)]) {
        let mut found = Vec::new();
        let waited = wait_until("the committed positions", PATIENCE, || {
            found = clients::committed(&self.bootstrap, &self.name, &self.input).unwrap();
            found == expected
        });
        assert!(
            waited.is_ok(),
            "committed {found:?}, not {expected:?}\n{}",
            host.tail()
        );
    }
}

/// Starts a Kafka whose clients may do nothing.
pub fn without_rights() -> Kafka {
    // Only controllers log in, so that every client is a nobody with no rights at all.
    let login = "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"admin\" \
                 password=\"admin\" user_admin=\"admin\";";
    Kafka::builder()
        .set(
            "authorizer.class.name",
            "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        )
        .set("super.users", "User:admin")
        .set(
            "listener.security.protocol.map",
            "PLAINTEXT:PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
        )
        .set("sasl.mechanism.controller.protocol", "PLAIN")
        .set("listener.name.controller.sasl.enabled.mechanisms", "PLAIN")
        .set("listener.name.controller.plain.sasl.jaas.config", login)
        .start()
        .unwrap()
}

/// Starts a host; components that earlier tests compiled come from a folder that all tests share.
pub fn start(bootstrap: &str, folder: &Path, args: &[&str]) -> Host {
    Host::builder(bootstrap)
        .handlers(folder)
        .args(args)
        .start()
        .unwrap()
}

/// A value without a key for one partition.
pub fn value_on(partition: i32, value: &str) -> TestRecord {
    TestRecord {
        value: Some(value.as_bytes().to_vec()),
        ..TestRecord::default()
    }
    .on(partition)
}

/// Values as text.
pub fn texts(records: &[TestRecord]) -> Vec<String> {
    records.iter().map(TestRecord::text).collect()
}

/// The JSON that a fixture emitted.
pub fn json(record: &TestRecord) -> Value {
    let text = record.text();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A field of the JSON that a fixture emitted, as text; empty where there is none.
pub fn field(record: &TestRecord, name: &str) -> String {
    match &json(record)[name] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A header of a dead letter, without the prefix that all of them have.
pub fn said(letter: &TestRecord, name: &str) -> String {
    letter
        .header_text(&format!("dead-letter.{name}"))
        .unwrap_or_else(|| panic!("no header dead-letter.{name} in {letter:?}"))
}

/// Kind of failure and number of attempts, of a dead letter.
pub fn verdict(letter: &TestRecord) -> (String, String) {
    (said(letter, "error-kind"), said(letter, "attempts"))
}

/// As [`verdict`] says it.
pub fn is(kind: &str, attempts: &str) -> (String, String) {
    (kind.to_owned(), attempts.to_owned())
}

/// How many lines of the log contain all of these texts.
pub fn count_lines(host: &Host, texts: &[&str]) -> usize {
    let lines = host.lines();
    let holds = |line: &&String| texts.iter().all(|text| line.contains(text));
    lines.iter().filter(holds).count()
}

/// Waits until so many lines contain all of these texts.
pub fn wait_lines(host: &Host, texts: &[&str], n: usize) {
    let waited = wait_until(&format!("{n} lines with {texts:?}"), PATIENCE, || {
        count_lines(host, texts) >= n
    });
    assert!(waited.is_ok(), "{}\n{}", waited.unwrap_err(), host.tail());
}

/// Watches for a while that something does not happen.
pub fn never(what: &str, watch: Duration, condition: impl FnMut() -> bool) {
    assert!(
        wait_until(what, watch, condition).is_err(),
        "it happened: {what}"
    );
}
