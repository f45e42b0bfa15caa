//! Runs other programs, and says what it runs.
//!
//! It is handed a `Command`; it echoes it, runs it, and turns a failure into an error that names the
//! program and, where the output was held back, ends with that output.
//! **Invariant:** nothing fails in silence, and no failure is answered by going on.

use std::env;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

/// Returns the folder of the workspace. Cargo says where the sources are when it runs this program.
pub(crate) fn root() -> PathBuf {
    let here = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().map(Path::to_path_buf).unwrap_or(here)
}

/// Returns `target/<path>`, where everything that these tasks make or fetch is kept.
pub(crate) fn target(path: &str) -> PathBuf {
    root().join("target").join(path)
}

/// Returns a command that starts in the folder of the workspace.
pub(crate) fn cmd(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// Returns a cargo command for the host's workspace: the same cargo that runs this program. The target
/// folder is named, so that everything is found again whatever the user has configured.
pub(crate) fn cargo(task: &str) -> Command {
    let mut command = cmd(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg(task).env("CARGO_TARGET_DIR", target(""));
    command
}

/// Echoes the command and runs it. Its output goes straight to the terminal.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = shown(command);
    println!("  $ {line}");
    let status = command
        .status()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed: {status}");
    }
    Ok(())
}

/// Echoes the command and runs it. Its output is shown only when it fails.
pub(crate) fn run_quietly(command: &mut Command) -> Result<()> {
    println!("  $ {}", shown(command));
    capture(command).map(drop)
}

/// Runs the command in silence and returns its standard output.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let line = shown(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}` failed: {}\n{}", output.status, both(&output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Says whether the command can be started and succeeds.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Says whether a program of this name is on the path.
pub(crate) fn on_path(program: &str) -> bool {
    env::var_os("PATH")
        .is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

/// Does one named step and says how long it took, also when it fails.
pub(crate) fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("\n── {name}");
    let start = Instant::now();
    let result = work();
    let end = if result.is_ok() { "done" } else { "FAILED" };
    println!("── {name}: {end}, {:.1} s", start.elapsed().as_secs_f64());
    result
}

/// Writes a file whole or not at all, and leaves one alone that already has this content.
pub(crate) fn write_file(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    let folder = path.parent().context("a file has a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    // A watcher must never see half a file, so it appears by a rename.
    let half = path.with_extension("half-written");
    fs::write(&half, content).with_context(|| format!("cannot write {}", half.display()))?;
    fs::rename(&half, path).with_context(|| format!("cannot write {}", path.display()))
}

/// Returns the command as a reader would type it: no machine's paths, no folder of the workspace.
fn shown(command: &Command) -> String {
    let root = format!("{}/", root().display());
    let program = Path::new(command.get_program());
    let mut line = program.file_name().map_or_else(
        || program.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    );
    for arg in command.get_args() {
        // Writing to a string cannot fail.
        let _ = write!(line, " {}", arg.to_string_lossy());
    }
    if let Some(folder) = command.get_current_dir()
        && let Ok(inside) = folder.strip_prefix(&root)
        && !inside.as_os_str().is_empty()
    {
        let _ = write!(line, "   (in {})", inside.display());
    }
    line.replace(&root, "")
}

fn both(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    text
}
