//! A real Redis: the server that `cargo xtask setup` put into `target/tools/redis`.
//!
//! It is handed options and gives back an address that answers. A server keeps its port, and what it persists, while it is
//! stopped and started again.
//! **Invariant:** when `start` returns, the server has answered.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::process::{Process, free_port};
use crate::{root, wait_until};

const START_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a command may take; a frozen server takes longer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// A running server; dropping it kills it and removes its data.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    options: Vec<String>,
    password: Option<String>,
    tls: Option<(u16, PathBuf)>,
    process: Process,
    // Dropped after the process that writes there.
    folder: TempDir,
}

/// A server to be started.
#[derive(Debug, Default)]
pub struct Builder {
    options: Vec<String>,
    password: Option<String>,
    has_tls: bool,
}

impl Builder {
    /// Writes down every change before it is answered, so that a restart loses nothing.
    #[must_use]
    pub fn persistent(mut self) -> Self {
        let options = ["--appendonly", "yes", "--appendfsync", "always"];
        self.options.extend(options.map(str::to_owned));
        self
    }

    /// Asks clients for this password.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.options
            .extend(["--requirepass", password].map(str::to_owned));
        self.password = Some(password.to_owned());
        self
    }

    /// Listens on a second port, with TLS and a certificate of its own.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.has_tls = true;
        self
    }

    /// Starts the server and waits for its answer.
    pub fn start(mut self) -> Result<Redis> {
        let folder = tempfile::Builder::new().prefix("redis-").tempdir()?;
        let port = free_port()?;
        let tls = if self.has_tls {
            let certificate = certificate(folder.path())?;
            let port = free_port()?;
            let path = |name: &str| folder.path().join(name).display().to_string();
            self.options.extend([
                "--tls-port".to_owned(),
                port.to_string(),
                "--tls-cert-file".to_owned(),
                certificate.display().to_string(),
                "--tls-key-file".to_owned(),
                path("key.pem"),
                "--tls-ca-cert-file".to_owned(),
                certificate.display().to_string(),
                "--tls-auth-clients".to_owned(),
                "no".to_owned(),
            ]);
            Some((port, certificate))
        } else {
            None
        };
        let mut redis = Redis {
            port,
            process: serve(folder.path(), port, &self.options)?,
            options: self.options,
            password: self.password,
            tls,
            folder,
        };
        redis.wait_until_it_answers()?;
        Ok(redis)
    }
}

impl Redis {
    /// Starts a server that persists nothing.
    pub fn start() -> Result<Self> {
        Self::builder().start()
    }

    /// A server to be started with options.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// What clients connect to, without a password. It stays the same over restarts.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The port without TLS.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same with TLS, and the file with the certificate to trust.
    pub fn tls(&self) -> Option<(String, &Path)> {
        let (port, certificate) = self.tls.as_ref()?;
        Some((format!("rediss://127.0.0.1:{port}"), certificate))
    }

    /// Sends a command and returns the answer as text: nil is `None`, the parts of a list stand on lines.
    pub fn ask(&self, command: &[&str]) -> Result<Option<String>> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let mut stream = BufReader::new(stream);
        if let Some(password) = &self.password {
            send(&mut stream, &["AUTH", password])?;
        }
        send(&mut stream, command)
    }

    /// Stops the server in good order.
    pub fn stop(&mut self) -> Result<()> {
        self.process.signal("TERM")?;
        self.process.wait(START_TIMEOUT).map(drop)
    }

    /// Starts the stopped server on the same port, with what it has persisted.
    pub fn start_again(&mut self) -> Result<()> {
        self.process = serve(self.folder.path(), self.port, &self.options)?;
        self.wait_until_it_answers()
    }

    /// SIGSTOP: the server stands still, and its connections stay open.
    pub fn freeze(&mut self) -> Result<()> {
        self.process.signal("STOP")
    }

    /// SIGCONT: the server goes on where it stood still.
    pub fn thaw(&mut self) -> Result<()> {
        self.process.signal("CONT")
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let answered = wait_until("an answer of Redis", START_TIMEOUT, || {
            self.ask(&["PING"]).is_ok()
        });
        answered.with_context(|| {
            std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
        })
    }
}

fn serve(folder: &Path, port: u16, options: &[String]) -> Result<Process> {
    let program = root().join("target/tools/redis/redis-server");
    if !program.exists() {
        bail!("no Redis in target/tools/redis: run `cargo xtask setup` first");
    }
    let mut command = Command::new(program);
    command
        .args(["--bind", "127.0.0.1", "--save", "", "--logfile", "log"])
        .args(["--port", &port.to_string()])
        .arg("--dir")
        .arg(folder)
        .args(options)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Process::start(&mut command, Some(folder))
}

/// Makes a certificate of 127.0.0.1 that nobody else has signed, and its key beside it.
fn certificate(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("certificate.pem");
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=test"])
        .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .arg("-keyout")
        .arg(folder.join("key.pem"))
        .arg("-out")
        .arg(&path)
        .output()
        .context("cannot start openssl: run `cargo xtask setup` first")?;
    if !made.status.success() {
        bail!("{}", String::from_utf8_lossy(&made.stderr));
    }
    Ok(path)
}

/// Sends a command as Redis's protocol (RESP) has it, and reads the answer.
fn send(stream: &mut BufReader<TcpStream>, command: &[&str]) -> Result<Option<String>> {
    let mut text = format!("*{}\r\n", command.len());
    for word in command {
        text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    stream.get_mut().write_all(text.as_bytes())?;
    answer(stream)
}

fn answer(stream: &mut BufReader<TcpStream>) -> Result<Option<String>> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let line = line.trim_end();
    let (kind, rest) = line.split_at_checked(1).context("Redis said nothing")?;
    match kind {
        "+" | ":" => Ok(Some(rest.to_owned())),
        "$" => {
            let Ok(len) = usize::try_from(rest.parse::<i64>()?) else {
                return Ok(None);
            };
            let mut bytes = vec![0; len + 2];
            stream.read_exact(&mut bytes)?;
            Ok(Some(String::from_utf8_lossy(&bytes[..len]).into_owned()))
        }
        "*" => {
            let parts: Result<Vec<_>> = (0..rest.parse::<u32>()?).map(|_| answer(stream)).collect();
            let parts: Vec<String> = parts?.into_iter().map(Option::unwrap_or_default).collect();
            Ok(Some(parts.join("\n")))
        }
        _ => bail!("Redis said {line}"),
    }
}
