//! Fetches a real Redis for the tests: the one on the path, or Debian's packages, unpacked and not installed.
//!
//! It only fetches. An installed package would start a server of the system; the tests start their own, by the one program
//! that is written here.
//! **Invariant:** the program is written last, and only when what it runs has told its version.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::setup::apt_install;
use crate::sh::{capture, cmd, on_path, run_quietly, succeeds, target, write_file};

/// What the tests start.
const PROGRAM: &str = "tools/redis/redis-server";
/// Debian's packages: the server, and what it links that a small system does not have.
const PACKAGES: [&str; 5] = [
    "redis-server",
    "redis-tools",
    "libjemalloc2",
    "liblzf1",
    "libatomic1",
];

/// Sets up the server, and what makes the certificates of its tests.
pub(crate) fn server() -> Result<()> {
    if on_path("openssl") {
        println!("  openssl: found");
    } else {
        apt_install("openssl", &["openssl"])?;
    }
    let program = target(PROGRAM);
    if let Some(version) = version(&program) {
        println!("  Redis: found ({version}, target/{PROGRAM})");
        return Ok(());
    }
    if on_path("redis-server") {
        write_program(&program, "exec redis-server \"$@\"\n")?;
    } else {
        unpack()?;
        // Debian's libraries lie in a folder of the machine's kind.
        let script = "here=$(dirname \"$0\")/root/usr\n\
                      for lib in \"$here\"/lib/*-linux-gnu*; do\n  \
                      export LD_LIBRARY_PATH=\"$lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}\"\ndone\n\
                      exec \"$here/bin/redis-server\" \"$@\"\n";
        write_program(&program, script)?;
    }
    if let Some(version) = version(&program) {
        println!("  Redis: set up ({version}, target/{PROGRAM})");
        return Ok(());
    }
    let why = capture(cmd(&program).arg("--version"));
    fs::remove_file(&program)?;
    let remedy =
        "Redis: it cannot be started; put a redis-server of version 6 or later on the path";
    why.and_then(|said| bail!("it told no version: {said}"))
        .context(remedy)
}

/// Fetches the packages and unpacks them, which needs neither root nor a change of the system.
fn unpack() -> Result<()> {
    if !on_path("apt-get") || !on_path("dpkg") {
        bail!(
            "Redis: missing, and there is no apt-get or dpkg here. Put a redis-server of version 6 or later on the path"
        );
    }
    println!("  Redis: fetching Debian's packages into target/tools/redis (apt)");
    let folder = target("tools/redis");
    fs::create_dir_all(&folder).context("cannot create target/tools/redis")?;
    let mut download = cmd("apt-get");
    download.args(["-q", "download"]).args(PACKAGES);
    download.current_dir(&folder);
    if !succeeds(&mut download) {
        // The lists of a fresh machine are empty or old. Only root may fetch new ones; else the next line says what is missing.
        let _ = run_quietly(cmd("apt-get").args(["-q", "update"]));
    }
    run_quietly(&mut download).with_context(|| {
        "Redis: the packages cannot be fetched. Run `apt-get update` as root and try again, or put a redis-server of version 6 or \
         later on the path"
    })?;
    for entry in fs::read_dir(&folder).context("cannot read target/tools/redis")? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            run_quietly(cmd("dpkg").arg("-x").arg(&path).arg(folder.join("root")))?;
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn write_program(path: &Path, script: &str) -> Result<()> {
    write_file(path, format!("#!/bin/sh\n{script}").as_bytes())?;
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(path, executable).context("cannot make Redis's program executable")
}

/// Returns the version that the program tells, if it can be started.
fn version(program: &Path) -> Option<String> {
    if !succeeds(cmd(program).arg("--version")) {
        return None;
    }
    let text = capture(cmd(program).arg("--version")).ok()?;
    let version = text
        .split_whitespace()
        .find_map(|word| word.strip_prefix("v="))?;
    Some(version.to_owned())
}
