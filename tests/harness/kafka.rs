//! A real Apache Kafka: one KRaft node from the jars that `cargo xtask setup` put into `target/kafka/lib`.
//!
//! It is handed properties and gives back a bootstrap address that answers. A node keeps its ports and
//! its data while it is killed and started again.
//! **Invariant:** when `start` returns, the node has answered a metadata request.

use std::fs::{self, File};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use rdkafka::admin::{
    AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use tempfile::TempDir;

use crate::process::{Process, free_port};
use crate::{clients, root, wait_until};

/// 16 bytes in the base64 that Kafka writes its ids in.
pub(crate) const CLUSTER_ID: &str = "a2Fma2Etd2FzbS10ZXN0cw";
/// A loaded machine starts a node in several seconds.
pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(60);
const ADMIN_TIMEOUT: Duration = Duration::from_secs(20);
/// The first stage of the compiler is enough for a test's load, and half of the start is compiling.
const JVM: [&str; 2] = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];
/// The largest heap of a node that is alone.
const HEAP_MIB: u32 = 512;

/// A running node; dropping it kills it and removes its data.
#[derive(Debug)]
pub struct Kafka {
    bootstrap: String,
    /// Where clients log in, if there is such a door.
    login: Option<String>,
    process: Process,
    // Dropped after the process that writes there.
    folder: TempDir,
}

/// A node to be started.
#[derive(Debug, Default)]
pub struct Builder {
    properties: Vec<(String, String)>,
    /// Names and passwords.
    users: Vec<(String, String)>,
}

impl Builder {
    /// Sets a property of the broker, over the harness's own.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.properties.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Opens a second door, where clients log in by SCRAM-SHA-256. Who comes by the first one may do everything, and of these
    /// users those that are set as `super.users` besides `User:ANONYMOUS`.
    #[must_use]
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.users.push((name.to_owned(), password.to_owned()));
        self
    }

    /// Formats the storage, starts the node and waits for its answer.
    pub fn start(self) -> Result<Kafka> {
        let runs = root().join("target/kafka/run");
        fs::create_dir_all(&runs)?;
        let folder = tempfile::Builder::new().prefix("node-").tempdir_in(runs)?;
        let (broker, controller) = (free_port()?, free_port()?);
        let (mut more, mut login) = (self.properties, None);
        let mut format = vec!["--standalone".to_owned()];
        if !self.users.is_empty() {
            let port = free_port()?;
            more.extend(login_properties(broker, controller, port));
            login = Some(format!("127.0.0.1:{port}"));
        }
        for (name, password) in self.users {
            let user = format!("SCRAM-SHA-256=[name={name},password={password}]");
            format.extend(["--add-scram".to_owned(), user]);
        }
        let properties = properties(folder.path(), broker, controller, &more);
        let format: Vec<&str> = format.iter().map(String::as_str).collect();
        format_storage(folder.path(), &properties, &format)?;
        let mut kafka = Kafka {
            bootstrap: format!("127.0.0.1:{broker}"),
            login,
            process: serve(folder.path(), folder.path(), HEAP_MIB)?,
            folder,
        };
        kafka.wait_until_it_answers()?;
        Ok(kafka)
    }
}

impl Kafka {
    /// Starts a node with the harness's own properties.
    pub fn start() -> Result<Self> {
        Self::builder().start()
    }

    /// A node to be started with other properties.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The node that the tests of this process share; they must not stop it, and they name their topics
    /// and groups by [`unique`]. It is started at its first use and killed at the end of the process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Kafka> = OnceLock::new();
        SHARED.get_or_init(|| Self::start().expect("the shared Kafka starts"))
    }

    /// What clients connect to: `127.0.0.1:port`. It stays the same over restarts.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// What clients connect to that log in.
    pub fn login(&self) -> &str {
        self.login.as_deref().expect("the node has users")
    }

    /// Stops the node in good order and starts it again.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.start_again()
    }

    /// Stops the node in good order.
    pub fn stop(&mut self) -> Result<()> {
        self.process.signal("TERM")?;
        self.process.wait(START_TIMEOUT).map(drop)
    }

    /// Kills the node with SIGKILL. What it has written is still in the system's page cache.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGSTOP: the node stands still, and its connections stay open.
    pub fn freeze(&mut self) -> Result<()> {
        self.process.signal("STOP")
    }

    /// SIGCONT: the node goes on where it stood still.
    pub fn thaw(&mut self) -> Result<()> {
        self.process.signal("CONT")
    }

    /// Starts the stopped or killed node on the same ports, with the same data.
    pub fn start_again(&mut self) -> Result<()> {
        self.process = serve(self.folder.path(), self.folder.path(), HEAP_MIB)?;
        self.wait_until_it_answers()
    }

    /// Creates a topic with one replica and waits until its partitions have a leader.
    pub fn create_topic(&self, name: &str, partitions: i32, config: &[(&str, &str)]) -> Result<()> {
        create_topic(&self.bootstrap, (name, partitions, 1), config)
    }

    /// Deletes a topic; clients learn of it a little later.
    pub fn delete_topic(&self, name: &str) -> Result<()> {
        check(block_on(
            admin(&self.bootstrap)?.delete_topics(&[name], &admin_options()),
        )?)
    }

    /// Returns what a topic is configured with under this name.
    pub fn topic_config(&self, topic: &str, name: &str) -> Result<String> {
        let topic = ResourceSpecifier::Topic(topic);
        let found = block_on(admin(&self.bootstrap)?.describe_configs([&topic], &admin_options()))?;
        let found = found.into_iter().next().context("no answer")?;
        let found = found.map_err(|code| anyhow!("{code}"))?;
        let value = found.get(name).and_then(|entry| entry.value.clone());
        value.with_context(|| format!("no {name}"))
    }

    /// Raises the number of partitions of a topic to `partitions`.
    pub fn grow_topic(&self, name: &str, partitions: usize) -> Result<()> {
        let grown = NewPartitions::new(name, partitions);
        check(block_on(
            admin(&self.bootstrap)?.create_partitions([&grown], &admin_options()),
        )?)
    }

    /// Returns the process id of the node.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The end of the node's log, for a failed test's message.
    pub fn log_tail(&self) -> String {
        log_tail(self.folder.path())
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        // Kafka listens before it is ready, so only an answer counts.
        while clients::brokers(&self.bootstrap).unwrap_or(0) == 0 {
            if let Some(status) = self.process.ended()? {
                bail!("Kafka ended at its start: {status}\n{}", self.log_tail());
            }
            if Instant::now() > deadline {
                bail!("Kafka does not answer\n{}", self.log_tail());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

/// Creates a topic, given by name, partitions and replicas of each, and waits until its partitions have a leader.
pub(crate) fn create_topic(
    bootstrap: &str,
    (name, partitions, replicas): (&str, i32, i32),
    config: &[(&str, &str)],
) -> Result<()> {
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replicas));
    topic.config = config.to_vec();
    let created = block_on(admin(bootstrap)?.create_topics([&topic], &admin_options()))?;
    check(created)?;
    let expected = usize::try_from(partitions)?;
    let what = format!("{partitions} leaders of topic {name}");
    wait_until(&what, ADMIN_TIMEOUT, || {
        clients::partitions(bootstrap, name).is_ok_and(|found| found.len() == expected)
    })
}

fn admin(bootstrap: &str) -> Result<AdminClient<DefaultClientContext>> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    Ok(config.create()?)
}

/// Returns `prefix` with an ending that no other call in any test process gets.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let nth = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}-{}-{nth}", std::process::id())
}

fn jars() -> PathBuf {
    root().join("target/kafka/lib")
}

/// Writes a node's configuration into its folder and formats its storage. `quorum` says who the controllers are.
pub(crate) fn format_storage(folder: &Path, properties: &str, quorum: &[&str]) -> Result<()> {
    if !jars().join("complete").exists() {
        bail!("no Kafka in target/kafka/lib: run `cargo xtask setup` first");
    }
    fs::write(folder.join("server.properties"), properties)?;
    fs::write(folder.join("log4j2.properties"), log4j(folder))?;
    let format = java(folder, HEAP_MIB)
        .args(["kafka.tools.StorageTool", "format"])
        .args(quorum)
        .args(["-t", CLUSTER_ID, "-c"])
        .arg(folder.join("server.properties"))
        .output()
        .context("cannot start java: run `cargo xtask setup` first")?;
    if !format.status.success() {
        let text = String::from_utf8_lossy(&format.stderr);
        bail!("cannot format Kafka's storage: {text}");
    }
    Ok(())
}

/// The end of the log of the node in this folder.
pub(crate) fn log_tail(folder: &Path) -> String {
    let read = |name| fs::read_to_string(folder.join(name)).unwrap_or_default();
    let text = read("console.log") + &read("kafka.log");
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

fn java(folder: &Path, heap_mib: u32) -> Command {
    let mut command = Command::new("java");
    let log4j = folder.join("log4j2.properties");
    command
        .args(JVM)
        .arg(format!("-Xmx{heap_mib}m"))
        .arg(format!("-Dlog4j2.configurationFile={}", log4j.display()))
        .arg("-cp")
        .arg(jars().join("*"))
        .current_dir(folder);
    command
}

/// Starts the node of this folder. Should this process die first, `garbage` is removed with the node.
pub(crate) fn serve(folder: &Path, garbage: &Path, heap_mib: u32) -> Result<Process> {
    let console = File::options()
        .create(true)
        .append(true)
        .open(folder.join("console.log"))?;
    let mut command = java(folder, heap_mib);
    command
        .arg("kafka.Kafka")
        .arg(folder.join("server.properties"))
        .stdout(console.try_clone()?)
        .stderr(console);
    Process::start(&mut command, Some(garbage))
}

/// The properties of a node on which some clients log in.
fn login_properties(broker: u16, controller: u16, login: u16) -> Vec<(String, String)> {
    let doors = format!("PLAINTEXT://127.0.0.1:{broker},LOGIN://127.0.0.1:{login}");
    let module = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
    [
        (
            "listeners",
            &*format!("{doors},CONTROLLER://127.0.0.1:{controller}"),
        ),
        ("advertised.listeners", &doors),
        (
            "listener.security.protocol.map",
            "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,LOGIN:SASL_PLAINTEXT",
        ),
        (
            "listener.name.login.sasl.enabled.mechanisms",
            "SCRAM-SHA-256",
        ),
        ("listener.name.login.scram-sha-256.sasl.jaas.config", module),
        (
            "authorizer.class.name",
            "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        ),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

fn properties(folder: &Path, broker: u16, controller: u16, more: &[(String, String)]) -> String {
    let mut text = format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
{}",
        common_properties(folder, 1, 1)
    );
    for (key, value) in more {
        // Of two lines with one key the later one counts.
        text.push_str(&format!("{key}={value}\n"));
    }
    text
}

/// What every node is told, alone or not: its folder, and how the internal topics are kept.
pub(crate) fn common_properties(folder: &Path, replicas: u32, in_sync_min: u32) -> String {
    format!(
        "log.dirs={data}
# A misspelt topic must fail its test, not come into being.
auto.create.topics.enable=false
offsets.topic.replication.factor={replicas}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync_min}
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync_min}
group.initial.rebalance.delay.ms=0
# A killed node cannot register again before its old session has ended.
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
# Compaction is looked at twice a second, not every fifteen.
log.cleaner.backoff.ms=500
log.cleaner.dedupe.buffer.size=8388608
",
        data = folder.join("data").display()
    )
}

fn log4j(folder: &Path) -> String {
    format!(
        "status=error
appender.file.type=File
appender.file.name=file
appender.file.fileName={log}
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d{{ISO8601}} %p %c{{1}} %m%n
rootLogger.level=info
rootLogger.appenderRef.file.ref=file
",
        log = folder.join("kafka.log").display()
    )
}

fn admin_options() -> AdminOptions {
    // The answer waits until every broker knows of the change.
    AdminOptions::new()
        .operation_timeout(Some(ADMIN_TIMEOUT))
        .request_timeout(Some(ADMIN_TIMEOUT))
}

fn check<E: std::fmt::Display>(results: Vec<Result<String, (String, E)>>) -> Result<()> {
    for result in results {
        if let Err((topic, error)) = result {
            bail!("topic {topic}: {error}");
        }
    }
    Ok(())
}

/// Runs a future on this thread. Unlike a runtime's, it may be called from an async test.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = TaskContext::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
