//! The host as its users run it: the built binary, in a process of its own.
//!
//! It is handed a handlers folder and arguments, keeps every line that the host prints, and reads its
//! HTTP answers and the system's figures of its memory.
//! **Invariant:** no KAFKA_WASM_* variable of the outer environment reaches the host, only a test's own.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::clock::WallClock;
use crate::http::get;
use crate::process::Process;
use crate::wait_until;

/// A start with components that are not yet in the cache takes seconds on a loaded machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Printed before the address of the HTTP server.
const HTTP_LINE: &str = "http on ";
/// Printed before the address of the embedded broker.
const BROKER_LINE: &str = "embedded broker at ";

/// A host to be started.
#[derive(Debug)]
pub struct Builder {
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
    http: String,
}

impl Builder {
    /// The address of the HTTP server, where it is not any port of this machine.
    #[must_use]
    pub fn http(mut self, address: &str) -> Self {
        address.clone_into(&mut self.http);
        self
    }

    /// The handlers folder.
    #[must_use]
    pub fn handlers(self, folder: impl AsRef<Path>) -> Self {
        self.args([OsString::from("--handlers"), folder.as_ref().into()])
    }

    /// More arguments of `serve`.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// A variable of the host's environment.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    /// The host's wall clock.
    #[must_use]
    pub fn clock(mut self, clock: &WallClock) -> Self {
        let variables = clock.env();
        self.env
            .extend(variables.map(|(key, value)| (key.into(), value.into())));
        self
    }

    /// The folder that the host runs in, and that relative paths begin at.
    #[must_use]
    pub fn current_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Starts the host and waits for nothing.
    pub fn spawn(self) -> Result<Host> {
        let mut command = command("serve")?;
        command
            .args(["--http", &self.http])
            .args(self.args)
            .envs(self.env)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(folder) = self.folder {
            command.current_dir(folder);
        }
        let mut process = Process::start(&mut command, None)?;
        let lines = Lines::default();
        let stdout = process.child().stdout.take().context("stdout is piped")?;
        let stderr = process.child().stderr.take().context("stderr is piped")?;
        lines.collect(stdout);
        lines.collect(stderr);
        Ok(Host {
            process,
            lines,
            http: String::new(),
        })
    }

    /// Starts the host and waits until its HTTP server listens.
    pub fn start(self) -> Result<Host> {
        let mut host = self.spawn()?;
        let line = host.wait_for_line(HTTP_LINE, START_TIMEOUT)?;
        host.http = word_after(&line, HTTP_LINE)?;
        // The system starts a process also without what it was told to load.
        if let Some(line) = host.lines.find("cannot be preloaded") {
            bail!("the host has no clock of its own: {line}");
        }
        Ok(host)
    }

    /// Starts the host and waits until it says that it is ready.
    pub fn start_ready(self) -> Result<Host> {
        let mut host = self.start()?;
        host.wait_until_ready(START_TIMEOUT)?;
        Ok(host)
    }
}

/// A running host; dropping it kills it.
#[derive(Debug)]
pub struct Host {
    process: Process,
    lines: Lines,
    http: String,
}

impl Host {
    /// A host that consumes from this Kafka.
    pub fn builder(bootstrap: &str) -> Builder {
        Self::without_brokers().args(["--brokers", bootstrap])
    }

    /// A host with the embedded broker.
    pub fn dev() -> Builder {
        Self::without_brokers().args(["--dev"])
    }

    /// A host that has to be told by its arguments or environment where Kafka is.
    pub fn without_brokers() -> Builder {
        Builder {
            args: Vec::new(),
            env: Vec::new(),
            folder: None,
            http: "127.0.0.1:0".to_owned(),
        }
    }

    /// Waits for a line of stdout or stderr that contains `pattern`, from the start on, and returns it.
    pub fn wait_for_line(&mut self, pattern: &str, timeout: Duration) -> Result<String> {
        let mut found = None;
        let waited = wait_until(&format!("a line with {pattern:?}"), timeout, || {
            // Asked before the lines are read: a host that has ended prints nothing more.
            let ended = self.process.ended().ok().flatten().is_some();
            found = self.lines.find(pattern);
            found.is_some() || (ended && self.lines.are_complete())
        });
        match found.or_else(|| self.lines.find(pattern)) {
            Some(line) => Ok(line),
            None => {
                let end = self.process.ended()?.map_or_else(
                    || "it still runs".to_owned(),
                    |status| format!("it ended: {status}"),
                );
                let why = waited.err().map(|error| format!("{error}\n"));
                let why = why.unwrap_or_default();
                bail!(
                    "{why}the host printed no {pattern:?}; {end}\n{}",
                    self.tail()
                )
            }
        }
    }

    /// Every line so far, of stdout and stderr, in the order in which they came.
    pub fn lines(&self) -> Vec<String> {
        self.lines.all()
    }

    /// The address of the HTTP server.
    pub fn http_addr(&self) -> &str {
        &self.http
    }

    /// The address of the embedded broker, of a host that was started with it.
    pub fn embedded_broker(&mut self) -> Result<String> {
        word_after(
            &self.wait_for_line(BROKER_LINE, START_TIMEOUT)?,
            BROKER_LINE,
        )
    }

    /// GETs a path; returns status and body.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        get(&self.http, path)
    }

    /// Waits until `/readyz` answers 200.
    pub fn wait_until_ready(&mut self, timeout: Duration) -> Result<()> {
        let mut last = String::new();
        let waited = wait_until("a ready host", timeout, || match self.get("/readyz") {
            Ok((200, _)) => true,
            Ok((_, body)) => {
                last = body;
                false
            }
            Err(_) => self.process.ended().ok().flatten().is_some(),
        });
        if let Some(status) = self.process.ended()? {
            bail!("the host ended: {status}\n{}", self.tail());
        }
        waited.with_context(|| format!("/readyz says {last}\n{}", self.tail()))
    }

    /// The value of a metric: the sum over all series that have these labels. No series is an error.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
        let (_, text) = self.get("/metrics")?;
        let values: Vec<f64> = text
            .lines()
            .filter_map(|line| sample(line, name, labels))
            .collect();
        if values.is_empty() {
            bail!("no series {name}{labels:?} in /metrics");
        }
        Ok(values.iter().sum())
    }

    /// SIGTERM.
    pub fn term(&mut self) -> Result<()> {
        self.process.signal("TERM")
    }

    /// SIGINT, as Ctrl-C sends it.
    pub fn interrupt(&mut self) -> Result<()> {
        self.process.signal("INT")
    }

    /// SIGHUP: the host reads its settings again.
    pub fn hang_up(&mut self) -> Result<()> {
        self.process.signal("HUP")
    }

    /// SIGSTOP: the process stands still, and its connections stay open.
    pub fn freeze(&mut self) -> Result<()> {
        self.process.signal("STOP")
    }

    /// SIGCONT: the process goes on where it stood still.
    pub fn thaw(&mut self) -> Result<()> {
        self.process.signal("CONT")
    }

    /// The exit status, when the process has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.process.ended()
    }

    /// SIGKILL; returns when the process is gone.
    pub fn kill9(&mut self) {
        self.process.kill();
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let status = self.process.wait(timeout);
        status.with_context(|| format!("the host does not stop\n{}", self.tail()))
    }

    /// SIGTERM, and expects exit code 0 within 30 s.
    pub fn stop(mut self) -> Result<()> {
        self.term()?;
        let status = self.wait(Duration::from_secs(30))?;
        if !status.success() {
            bail!("the host ended with {status}\n{}", self.tail());
        }
        Ok(())
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Resident memory in bytes, now.
    pub fn rss_bytes(&self) -> Result<u64> {
        self.proc_status("VmRSS:")
    }

    /// The largest resident memory so far, in bytes.
    pub fn peak_rss_bytes(&self) -> Result<u64> {
        self.proc_status("VmHWM:")
    }

    /// The last 40 lines, for a failed test's message.
    pub fn tail(&self) -> String {
        let lines = self.lines.all();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn proc_status(&self, key: &str) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        let kib = line.and_then(|rest| rest.split_whitespace().next());
        Ok(kib.context("no such line in /proc")?.parse::<u64>()? * 1024)
    }
}

/// A command of the built binary, with an environment of its own.
pub fn command(subcommand: &str) -> Result<Command> {
    let mut command = Command::new(binary()?);
    command.arg(subcommand);
    for (key, _) in env::vars_os() {
        if key.to_string_lossy().starts_with("KAFKA_WASM_") {
            command.env_remove(key);
        }
    }
    Ok(command)
}

/// The built binary.
pub fn binary() -> Result<PathBuf> {
    built("kafka-wasm-host")?
        .context("the host is not built: run `cargo build --release -p kafka-wasm-host`")
}

/// A file that was built. It is beside the test binary, whatever target folder and profile are in use.
pub(crate) fn built(file: &str) -> Result<Option<PathBuf>> {
    let here = env::current_exe()?;
    let mut places = here.ancestors().skip(1).take(2);
    Ok(places.find_map(|folder| Some(folder.join(file)).filter(|path| path.is_file())))
}

/// The lines of a process, collected by one thread for each pipe.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Collected>>);

#[derive(Debug, Default)]
struct Collected {
    lines: Vec<String>,
    open_pipes: usize,
}

impl Lines {
    pub(crate) fn collect(&self, pipe: impl Read + Send + 'static) {
        self.with(|collected| collected.open_pipes += 1);
        let lines = self.clone();
        thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                lines.with(|collected| collected.lines.push(text));
                line.clear();
            }
            lines.with(|collected| collected.open_pipes -= 1);
        });
    }

    pub(crate) fn find(&self, pattern: &str) -> Option<String> {
        self.with(|collected| {
            let found = collected.lines.iter().find(|line| line.contains(pattern));
            found.cloned()
        })
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.with(|collected| collected.lines.clone())
    }

    pub(crate) fn are_complete(&self) -> bool {
        self.with(|collected| collected.open_pipes == 0)
    }

    fn with<T>(&self, read: impl FnOnce(&mut Collected) -> T) -> T {
        read(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn word_after(line: &str, prefix: &str) -> Result<String> {
    let rest = line.split(prefix).nth(1).unwrap_or_default();
    let word = rest.split_whitespace().next();
    Ok(word
        .with_context(|| format!("nothing after {prefix:?}"))?
        .to_owned())
}

/// The value of one line of /metrics, when it is of this series: `name{key="value",…} value`.
fn sample(line: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let rest = line.strip_prefix(name)?;
    let (found, value) = match rest.strip_prefix('{') {
        Some(rest) => rest.rsplit_once('}')?,
        None => ("", rest.strip_prefix(' ')?),
    };
    // A separator before each label, so that no label is found at another's end.
    let found = format!(",{found}");
    let has = |(key, value): &(&str, &str)| found.contains(&format!(",{key}=\"{value}\""));
    if !labels.iter().all(has) {
        return None;
    }
    value.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::sample;

    #[test]
    fn a_sample_is_found_by_its_name_and_some_of_its_labels() {
        let line = r#"records_total{tenant="a",handler="b"} 12"#;
        assert_eq!(
            sample(line, "records_total", &[("handler", "b")]),
            Some(12.0)
        );
        assert_eq!(sample(line, "records_total", &[]), Some(12.0));
        assert_eq!(sample(line, "records_total", &[("handler", "c")]), None);
        assert_eq!(sample(line, "records", &[]), None);
        assert_eq!(sample("up 1", "up", &[]), Some(1.0));
    }
}
