//! A reader's terminals: commands are typed as the documentation has them, one after the other.
//!
//! It is handed a folder to begin in. `serve` runs as in a terminal of its own until the next one or the end; the names that a page
//! uses for addresses stand for the real ones.
//! **Invariant:** a command that fails, hangs or prints something else than the page says fails the test.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{Read as _, Seek as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, Stdio};
use std::time::Duration;

use harness::host::binary;
use harness::{Host, root, wait_until};

use super::pages::Command;

/// The first build of the guests' dependencies takes a minute, and other builds may hold the lock.
const PATIENCE: Duration = Duration::from_secs(600);
/// Where pages have the embedded broker.
const EMBEDDED: [&str; 2] = ["127.0.0.1:40123", "ADDRESS"];
/// Where pages have health and metrics.
const HTTP: &str = "127.0.0.1:8080";

pub(crate) struct Terminal {
    pub(crate) folder: PathBuf,
    /// What stands on a page, and what it stands for.
    names: Vec<(String, String)>,
    variables: Vec<(String, OsString)>,
    host: Option<Host>,
    cache: tempfile::TempDir,
}

impl Terminal {
    pub(crate) fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            names: Vec::new(),
            variables: Vec::new(),
            host: None,
            cache: tempfile::tempdir().unwrap(),
        }
    }

    /// Lets `name` on a page stand for something else.
    pub(crate) fn name(&mut self, name: &str, meaning: impl Into<String>) {
        self.names.retain(|(known, _)| known != name);
        self.names.push((name.to_owned(), meaning.into()));
    }

    pub(crate) fn variable(&mut self, name: &str, value: impl Into<OsString>) {
        self.variables.push((name.to_owned(), value.into()));
    }

    /// The host that serves now.
    pub(crate) fn host(&mut self) -> &mut Host {
        self.host.as_mut().expect("the page has a `serve` before")
    }

    /// What a text of a page means here.
    pub(crate) fn meaning(&self, text: &str) -> String {
        let replaced = self.names.iter();
        replaced.fold(text.to_owned(), |text, (name, meaning)| {
            text.replace(name, meaning)
        })
    }

    pub(crate) fn run_all(&mut self, commands: &[Command]) {
        for command in commands {
            self.run(command);
        }
        self.stop();
    }

    /// Types a command.
    pub(crate) fn run(&mut self, command: &Command) {
        let text = self.meaning(&command.text);
        println!("{}: $ {text}", command.place);
        if let Some(folder) = text.strip_prefix("cd ") {
            self.folder.push(folder);
            return;
        }
        let (printed, what) = match text.strip_prefix("kafka-wasm-host serve") {
            Some(args) => {
                self.serve(args);
                (self.host().lines(), "the host")
            }
            None => (self.shell(&text), text.as_str()),
        };
        let mut printed_lines = printed.iter();
        for expected in &command.output {
            let expected = self.meaning(expected);
            if what == "the host" {
                // What it says of itself and its log come by ways of their own.
                printed_lines = printed.iter();
            }
            let found = printed_lines.any(|line| is_like(line, &expected));
            assert!(
                found,
                "{}: {what} does not print {expected:?}, but\n{}",
                command.place,
                printed.join("\n")
            );
        }
    }

    fn serve(&mut self, args: &str) {
        self.stop();
        let mut words: Vec<&str> = args.split_whitespace().collect();
        // The harness takes a free port in place of the page's.
        if let Some(at) = words.iter().position(|word| *word == "--http") {
            words.drain(at..at + 2);
        }
        let cache = self.cache.path().to_string_lossy();
        let mut host = Host::without_brokers()
            .args(&words)
            .current_dir(&self.folder)
            .env("KAFKA_WASM_CACHE", &cache)
            .start()
            .unwrap();
        if words.contains(&"--dev") {
            let address = host.embedded_broker().unwrap();
            for name in EMBEDDED {
                self.name(name, &address);
            }
        }
        self.name(HTTP, host.http_addr());
        // Its handlers were taken, and librdkafka took all settings; or there are none.
        wait_until("a host that serves", Duration::from_secs(60), || {
            let serves = ["subscribed", "no handlers serve yet"];
            host.lines()
                .iter()
                .any(|line| serves.iter().any(|it| line.contains(it)))
        })
        .unwrap_or_else(|error| panic!("{error}\n{}", host.tail()));
        self.host = Some(host);
    }

    /// Ends the host as Ctrl-C would.
    pub(crate) fn stop(&mut self) {
        if let Some(host) = self.host.take() {
            host.stop().unwrap();
        }
    }

    /// Runs a command line and returns what it printed.
    fn shell(&self, text: &str) -> Vec<String> {
        let mut printed = tempfile::tempfile().unwrap();
        let mut command = process::Command::new("sh");
        command
            .args(["-c", text])
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(printed.try_clone().unwrap())
            .stderr(printed.try_clone().unwrap())
            .process_group(0);
        user_environment(&mut command, text.contains("wasm32-wasip2"));
        command.envs(self.variables.clone());
        let mut child = command.spawn().unwrap();
        let mut status = None;
        let ended = wait_until(&format!("the end of `{text}`"), PATIENCE, || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        if ended.is_err() {
            // The whole group: a pipe has several processes.
            let group = format!("kill -9 -- -{}", child.id());
            let _ = process::Command::new("sh").args(["-c", &group]).status();
            let _ = child.wait();
        }
        let mut text_printed = String::new();
        printed.rewind().unwrap();
        printed.read_to_string(&mut text_printed).unwrap();
        let succeeded = status.is_some_and(|status| status.success());
        assert!(
            succeeded,
            "`{text}` in {}: {status:?}\n{text_printed}",
            self.folder.display()
        );
        text_printed.lines().map(str::to_owned).collect()
    }
}

/// Returns whether a line is as a page has it, where `…` stands for anything.
pub(crate) fn is_like(line: &str, expected: &str) -> bool {
    let parts: Vec<&str> = expected.split('…').collect();
    let (first, last) = (parts[0], parts[parts.len() - 1]);
    if parts.len() == 1 {
        return line == expected;
    }
    let Some(mut rest) = line
        .strip_prefix(first)
        .and_then(|rest| rest.strip_suffix(last))
    else {
        return false;
    };
    parts[1..parts.len() - 1]
        .iter()
        .all(|part| match rest.split_once(part) {
            Some((_, after)) => {
                rest = after;
                true
            }
            None => false,
        })
}

/// Gives a command the environment of a user: the built host on the path, and nothing of what cargo tells a test. Where
/// `for_guests` is set, cargo can build for the guests' target.
pub(crate) fn user_environment(command: &mut process::Command, for_guests: bool) {
    for (key, _) in env::vars_os() {
        let name = key.to_string_lossy();
        let is_cargos = name.starts_with("CARGO_PKG_")
            || name.starts_with("CARGO_MANIFEST_")
            || name.starts_with("CARGO_BIN_");
        if is_cargos
            || name.starts_with("KAFKA_WASM_")
            || ["CARGO", "CARGO_TARGET_DIR"].contains(&&*name)
        {
            command.env_remove(&key);
        }
    }
    let mut folders = vec![binary().unwrap().parent().unwrap().to_path_buf()];
    if !for_guests || has_guest_target() {
        folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    } else {
        use_debians_compiler(command, &mut folders);
    }
    command.env("PATH", env::join_paths(folders).unwrap());
}

fn has_guest_target() -> bool {
    let mut rustc = process::Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", "wasm32-wasip2"]);
    let wants_debian =
        env::var_os("KAFKA_WASM_GUEST_TOOLCHAIN").is_some_and(|choice| choice == "debian");
    !wants_debian
        && rustc.output().is_ok_and(|found| {
            let folder = String::from_utf8_lossy(&found.stdout).trim().to_owned();
            found.status.success()
                && fs::read_dir(folder).is_ok_and(|mut files| files.next().is_some())
        })
}

/// What `cargo xtask guests` falls back to where rustup does not have the target.
fn use_debians_compiler(command: &mut process::Command, folders: &mut Vec<PathBuf>) {
    folders.push(root().join("target/tools/bin"));
    folders.push(Path::new("/usr/bin").to_path_buf());
    folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    command
        .env("RUSTC", "/usr/bin/rustc")
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_UNSTABLE_BUILD_STD", "std,panic_abort")
        .env("CARGO_UNSTABLE_BUILD_STD_FEATURES", "")
        .env("CARGO_TARGET_WASM32_WASIP2_LINKER", "wasm-component-ld")
        .env(
            "CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS",
            "-L native=/usr/lib/wasm32-wasi -Clink-args=--wasm-ld-path=/usr/bin/wasm-ld-22",
        )
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("LD_LIBRARY_PATH");
}

#[test]
fn a_page_is_compared_with_what_was_printed() {
    assert!(is_like("a b c", "a b c") && is_like("a b c", "a…c") && is_like("{a: b}", "{…b…"));
    assert!(!is_like("a b c", "a b") && !is_like("a b c", "a…d…") && !is_like("a b c", "b…c"));
}
