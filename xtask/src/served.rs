//! The host's binary as the demo runs it: `serve` as a child process, `produce` and `consume` beside it.
//!
//! It is handed arguments and gives back what the programs print.
//! **Invariant:** the server dies with this program, however this program ends.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::json;
use crate::sh::{capture, cmd, root, run_quietly, target};

/// A slow machine is not a failure, a stuck one is.
const PATIENCE: Duration = Duration::from_secs(30);
/// After the last expected line, one too many would come within this time.
const LINGER: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(50);

/// Returns a command of the host's binary, without what the user may have set for another host.
fn binary(subcommand: &str) -> Command {
    let mut command = cmd(target("release/kafka-wasm-host"));
    command.arg(subcommand);
    for (key, _) in env::vars_os() {
        if key.to_string_lossy().starts_with("KAFKA_WASM_") {
            command.env_remove(key);
        }
    }
    command
}

/// A running `kafka-wasm-host serve`.
pub(crate) struct Served {
    child: Child,
    watchdog: Child,
    stdout: Receiver<String>,
    log: PathBuf,
}

impl Served {
    /// Starts `serve` with these arguments; it logs to `target/demo/host.log`.
    fn start(args: &[&str]) -> Result<Self> {
        let log = target("demo/host.log");
        let mut child = binary("serve")
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).context("cannot write target/demo/host.log")?)
            .spawn()
            .context("cannot start the host")?;
        let watchdog = watch(child.id())?;
        let stdout = lines_of(&mut child)?;
        Ok(Self {
            child,
            watchdog,
            stdout,
            log,
        })
    }

    /// Serves this folder on `brokers`, or on the embedded broker; also returns where Kafka and the page for operators are.
    pub(crate) fn on(handlers: &Path, brokers: Option<&str>) -> Result<(Self, String, String)> {
        let folder = handlers.to_string_lossy();
        let mut args = vec!["--handlers", &*folder, "--http", "127.0.0.1:0"];
        match brokers {
            Some(brokers) => args.extend(["--brokers", brokers]),
            None => args.push("--dev"),
        }
        let mut host = Self::start(&args)?;
        let brokers = match brokers {
            Some(brokers) => brokers.to_owned(),
            None => host.announced("embedded broker at ")?,
        };
        let http = host.announced("http on ")?;
        let shown = handlers.strip_prefix(root()).unwrap_or(handlers);
        println!("  serving {} on {brokers}, http on {http}", shown.display());
        Ok((host, brokers, http))
    }

    /// Ends a demo that began at `start`: with its problems, or with `well`. With something `to_try` it stays up before that.
    pub(crate) fn conclude(
        self,
        start: Instant,
        problems: &[String],
        to_try: Option<&str>,
        well: &str,
    ) -> Result<()> {
        println!(
            "\n  took {:.1} s without the builds",
            start.elapsed().as_secs_f64()
        );
        for problem in problems {
            println!("  WRONG: {problem}");
        }
        if let Some(to_try) = to_try {
            println!("{to_try}");
            return self.wait();
        }
        self.stop()?;
        println!("  the host drained, committed and stopped with exit code 0");
        if !problems.is_empty() {
            bail!("{} counts are wrong", problems.len());
        }
        println!("  {well}");
        Ok(())
    }

    /// Waits for a line that starts with `prefix` and returns its next word.
    fn announced(&mut self, prefix: &str) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.stdout.recv_timeout(left) {
                Ok(line) => {
                    let word = line.strip_prefix(prefix).map(str::split_whitespace);
                    if let Some(word) = word.and_then(|mut words| words.next()) {
                        return Ok(word.to_owned());
                    }
                }
                Err(_) => bail!("the host did not print `{prefix} …`\n{}", self.log_tail()),
            }
        }
    }

    /// Waits until `/readyz` says yes.
    pub(crate) fn wait_until_ready(&mut self, http: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = get(http, "/readyz").unwrap_or_default();
            if answer.split(' ').nth(1) == Some("200") {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the host ended: {status}\n{}", self.log_tail());
            }
            if Instant::now() > deadline {
                bail!("the host is not ready\n{answer}\n{}", self.log_tail());
            }
            thread::sleep(POLL);
        }
    }

    /// Asks the host to stop and expects that it drains and exits with 0.
    fn stop(mut self) -> Result<()> {
        // There is no signal in std, and `kill` is a builtin of every shell.
        let pid = self.child.id().to_string();
        capture(cmd("sh").args(["-c", "kill -TERM \"$1\"", "sh", &pid]))?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                if status.success() {
                    return Ok(());
                }
                bail!("the host ended with {status}\n{}", self.log_tail());
            }
            thread::sleep(POLL);
        }
        bail!("the host does not stop\n{}", self.log_tail())
    }

    /// Waits until the host ends by itself, as it does after Ctrl-C.
    fn wait(mut self) -> Result<()> {
        self.child.wait().context("cannot wait for the host")?;
        Ok(())
    }

    fn log_tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines.iter().skip(lines.len().saturating_sub(20));
        let tail: Vec<&str> = tail.copied().collect();
        format!("the end of target/demo/host.log:\n{}", tail.join("\n"))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // The watchdog goes first: it must not find another process under an old number.
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes the topics that these handlers declare and need, with `kafka-wasm-host topics apply`.
pub(crate) fn make_topics(handlers: &Path, brokers: &str) -> Result<()> {
    let mut apply = binary("topics");
    apply
        .args(["apply", "--brokers", brokers, "--handlers"])
        .arg(handlers);
    run_quietly(&mut apply)
}

/// Sends JSON lines to a topic with `kafka-wasm-host produce`.
pub(crate) fn produce(topic: &str, brokers: &str, lines: &[String]) -> Result<String> {
    let mut child = binary("produce")
        .args([topic, "--brokers", brokers, "--format", "json"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start `produce`")?;
    let mut stdin = child.stdin.take().context("`produce` has an input")?;
    let sent = stdin.write_all((lines.join("\n") + "\n").as_bytes());
    drop(stdin);
    let output = child.wait_with_output()?;
    let words = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let status = output.status;
        bail!("`kafka-wasm-host produce {topic}` failed: {status}\n{words}");
    }
    sent.context("`produce` did not read its input")?;
    Ok(words.trim_end().to_owned())
}

/// The last offset of each partition of a topic, at some time.
#[derive(Default)]
pub(crate) struct Ends(BTreeMap<String, f64>);

impl Ends {
    /// Reads the topic to its end; one that does not exist has no ends.
    pub(crate) fn of(topic: &str, brokers: &str) -> Result<Self> {
        let output = consume_command(topic, brokers, "3s")
            .arg("--until-end")
            .stderr(Stdio::null())
            .output()
            .context("cannot start `consume`")?;
        let mut ends = Self::default();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            if let Some((partition, offset)) = place(line) {
                ends.0.insert(partition, offset);
            }
        }
        Ok(ends)
    }

    fn is_older_than(&self, line: &str) -> bool {
        let last = place(line).and_then(|(partition, offset)| {
            let last = self.0.get(&partition)?;
            Some(offset > *last)
        });
        last.unwrap_or(true)
    }
}

fn place(line: &str) -> Option<(String, f64)> {
    Some((
        json::field(line, "partition")?,
        json::number(line, "offset")?,
    ))
}

fn consume_command(topic: &str, brokers: &str, timeout: &str) -> Command {
    let mut command = binary("consume");
    command
        .args([topic, "--brokers", brokers, "--from", "beginning"])
        .args(["--format", "json", "--timeout", timeout])
        .stdin(Stdio::null());
    command
}

/// Reads what a topic got since `old` with `kafka-wasm-host consume` until `is_enough` says so of a line,
/// and a little longer, so that what comes too often is seen too.
pub(crate) fn consume(
    topic: &str,
    brokers: &str,
    old: &Ends,
    mut is_enough: impl FnMut(&str) -> bool,
) -> Result<Vec<String>> {
    let mut child = consume_command(topic, brokers, "60s")
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start `consume`")?;
    let stdout = lines_of(&mut child)?;
    let mut lines = Vec::new();
    let mut deadline = Instant::now() + PATIENCE;
    // It ends at the deadline, and also when `consume` ends by itself.
    while let Ok(line) = stdout.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        if !old.is_older_than(&line) {
            continue;
        }
        if is_enough(&line) {
            deadline = Instant::now() + LINGER;
        }
        lines.push(line);
    }
    child.kill().context("cannot stop `consume`")?;
    child.wait().context("cannot stop `consume`")?;
    Ok(lines)
}

/// Returns the whole answer to a GET, head and body.
pub(crate) fn get(address: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Starts a shell that kills `pid` when our end of its input closes, and it closes when we end.
fn watch(pid: u32) -> Result<Child> {
    Command::new("sh")
        .args(["-c", "read -r _; kill -9 \"$1\"", "sh", &pid.to_string()])
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot start sh")
}

fn lines_of(child: &mut Child) -> Result<Receiver<String>> {
    let stdout = child.stdout.take().context("the child's output is piped")?;
    let (line_tx, line_rx) = channel();
    thread::spawn(move || {
        let lines = BufReader::new(stdout).lines().map_while(Result::ok);
        // The receiver is gone when nobody waits for lines any more; the child must not block then.
        lines.for_each(|line| drop(line_tx.send(line)));
    });
    Ok(line_rx)
}
