//! The process under test: this program again with a native loop, or the host with one handler.
//!
//! **Invariant:** it ends with its value, and a native one also with this process: its stdin ends then.

use std::env;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio, exit};
use std::thread;

use anyhow::Result;
use harness::{HandlersDir, Host, guest};
use tempfile::TempDir;

use crate::inputs::Input;
use crate::variant::Variant;

/// Compiled components, kept from one start of the host to the next.
#[derive(Debug)]
pub(crate) struct Cache(TempDir);

impl Cache {
    /// An empty folder.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Where a subject reads and writes.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) brokers: &'a str,
    pub(crate) input: &'a Input,
    pub(crate) output: &'a str,
    pub(crate) group: &'a str,
}

/// See the module.
#[derive(Debug)]
pub(crate) enum Subject {
    /// This program with a native loop.
    Native(Child),
    /// The host. It watches its folder, which goes after it.
    Host {
        host: Box<Host>,
        _handlers: HandlersDir,
    },
}

impl Subject {
    /// Starts a variant and waits for nothing.
    pub(crate) fn start(variant: Variant, place: &Place<'_>, cache: &Cache) -> Result<Self> {
        if variant.is_host() {
            host(variant, place, cache)
        } else {
            native(variant, place)
        }
    }

    /// Returns the process id.
    pub(crate) fn pid(&self) -> u32 {
        match self {
            Self::Native(child) => child.id(),
            Self::Host { host, .. } => host.pid(),
        }
    }

    /// Returns an error when it has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        if let Self::Native(child) = self
            && let Some(status) = child.try_wait()?
        {
            anyhow::bail!("the native loop ended: {status}");
        }
        Ok(())
    }

    /// Returns the last lines that it printed, where they are kept.
    pub(crate) fn tail(&self) -> String {
        match self {
            Self::Native(_) => String::new(),
            Self::Host { host, .. } => host.tail(),
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        if let Self::Native(child) = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Ends this process when its stdin does, which its parent holds open.
pub(crate) fn end_with_stdin() {
    thread::spawn(|| {
        let mut byte = [0];
        let _ = io::stdin().read(&mut byte);
        exit(0);
    });
}

/// The manifest of a handler that reads `topic` and writes `output`, with `more` keys. All limits are the defaults.
pub(crate) fn manifest(topic: &str, group: &str, output: &str, more: &str) -> String {
    format!(
        "topics = [\"{topic}\"]\ngroup = \"{group}\"\n{more}\n[config]\noutput = \"{output}\"\n"
    )
}

fn native(variant: Variant, place: &Place<'_>) -> Result<Subject> {
    let child = Command::new(env::current_exe()?)
        .args(["native", "--variant", &variant.argument()])
        .args(["--brokers", place.brokers])
        .args(["--input", &place.input.topic])
        .args(["--output", place.output])
        .args(["--group", place.group])
        .args(["--records", &place.input.records.to_string()])
        .args(["--size", &place.input.size.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    Ok(Subject::Native(child))
}

fn host(variant: Variant, place: &Place<'_>, cache: &Cache) -> Result<Subject> {
    let handlers = HandlersDir::new()?;
    let more = variant.manifest(place.output);
    let manifest = manifest(&place.input.topic, place.group, place.output, &more);
    let name = match variant.tenant() {
        Some(tenant) => {
            handlers.swap_text("quotas", "tenant.toml", &tenant)?;
            "quotas/bench"
        }
        None => "bench",
    };
    if let Some(beside) = variant.beside() {
        handlers.swap_beside(name, &format!("{beside}.wasm"), guest(beside))?;
    }
    match variant.component() {
        Some(component) => handlers.handler(name, component, &manifest)?,
        None => handlers.swap_text(name, "handler.toml", &manifest)?,
    };
    let settings = cache.path().join("host.toml");
    fs::write(&settings, variant.settings())?;
    let host = Host::builder(place.brokers)
        .handlers(handlers.path())
        .args(["--config".as_ref(), settings.as_os_str()])
        .args(["--cache".as_ref(), cache.path().as_os_str()])
        .spawn()?;
    Ok(Subject::Host {
        host: Box::new(host),
        _handlers: handlers,
    })
}
