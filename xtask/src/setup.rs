//! Finds what the tasks need, installs what is missing, and says which it did.
//!
//! It is handed the name of a task's need. Debian's packages come by apt, the rest by cargo, rustup and
//! maven; all that is not Debian's goes to `target/`. A later kind of server gets a function of its own.
//! **Invariant:** a second run installs nothing and asks no network.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::sh::{cargo, cmd, on_path, run_quietly, step, succeeds, target};
use crate::{guests, kafka, python, redis};

/// The newest cargo-deny that the minimum Rust version builds.
const CARGO_DENY: &str = "0.20.2";
/// The version of cargo-fuzz that runs the fuzz targets.
const CARGO_FUZZ: &str = "0.13.2";

/// Sets up everything; `fast` leaves out what only the slow tasks need.
pub(crate) fn all(fast: bool) -> Result<()> {
    step("setup", || {
        c_toolchain()?;
        guests::Toolchain::find_or_install()?;
        if fast {
            println!("  left out (--fast): Java, Kafka, Redis, Python, cargo-deny");
            return Ok(());
        }
        kafka::jars()?;
        redis::server()?;
        python::environment()?;
        cargo_deny().map(drop)
    })
}

/// Sets up what builds the host: librdkafka is compiled from its sources and links OpenSSL and zlib.
pub(crate) fn c_toolchain() -> Result<()> {
    let missing: Vec<&str> = [
        ("gcc", on_path("cc")),
        ("g++", on_path("c++")),
        ("make", on_path("make")),
        ("pkg-config", on_path("pkg-config")),
        ("libssl-dev", has_library("openssl")),
        ("zlib1g-dev", has_library("zlib")),
        // Only OpenSSL's own build asks for it, and perl-base is not enough for that.
        ("perl", succeeds(cmd("perl").args(["-MFindBin", "-e", "1"]))),
    ]
    .into_iter()
    .filter_map(|(package, found)| (!found).then_some(package))
    .collect();
    if missing.is_empty() {
        println!("  C toolchain: found (cc, c++, make, pkg-config, perl, OpenSSL, zlib)");
        return Ok(());
    }
    apt_install("C toolchain", &missing)
}

/// Sets up cargo-deny in `target/tools` and returns its path.
pub(crate) fn cargo_deny() -> Result<PathBuf> {
    cargo_tool("cargo-deny", CARGO_DENY)
}

/// Sets up cargo-fuzz in `target/tools` and returns its path.
pub(crate) fn cargo_fuzz() -> Result<PathBuf> {
    cargo_tool("cargo-fuzz", CARGO_FUZZ)
}

fn cargo_tool(name: &str, version: &str) -> Result<PathBuf> {
    let program = target("tools/bin").join(name);
    let found = crate::sh::capture(Command::new(&program).arg("--version"))
        .is_ok_and(|text| text.trim().ends_with(version));
    if found {
        println!("  {name}: found ({version})");
        return Ok(program);
    }
    println!("  {name}: installing {version} into target/tools (about a minute)");
    // A release profile may ask for fat LTO, minutes of work for a program that runs for a second.
    let mut install = cargo("install");
    install
        .args(["--locked", "--force", "--debug", name, "--version"])
        .arg(version)
        .arg("--root")
        .arg(target("tools"))
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_TARGET_DIR", target("tools/build"));
    run_quietly(&mut install)?;
    // The program is all that is wanted: its build folder is larger than the rest together.
    std::fs::remove_dir_all(target("tools/build")).context("cannot remove target/tools/build")?;
    Ok(program)
}

/// Installs Debian packages, or fails with the command that the user has to run.
pub(crate) fn apt_install(what: &str, packages: &[&str]) -> Result<()> {
    let by_hand = format!(
        "apt-get install -y --no-install-recommends {}",
        packages.join(" ")
    );
    if !on_path("apt-get") {
        bail!("{what}: missing, and there is no apt-get here. On Debian it is: {by_hand}");
    }
    let as_root = succeeds(cmd("sh").args(["-c", "test \"$(id -u)\" = 0"]));
    if !as_root && !succeeds(cmd("sudo").args(["-n", "true"])) {
        bail!("{what}: missing, and installing it needs root. Run: sudo {by_hand}");
    }
    println!("  {what}: installing {} (apt)", packages.join(" "));
    let apt = |args: &[&str]| {
        let mut command = if as_root { cmd("env") } else { cmd("sudo") };
        if !as_root {
            command.args(["-n", "env"]);
        }
        command
            .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", "-q"])
            .args(args);
        command
    };
    let mut install = vec!["install", "--no-install-recommends"];
    install.extend(packages);
    // The lists of a fresh machine are empty or old, so one failure means: refresh them and try again.
    if succeeds(&mut apt(&install)) {
        return Ok(());
    }
    run_quietly(&mut apt(&["update"]))?;
    run_quietly(&mut apt(&install)).with_context(|| format!("{what}: try by hand: {by_hand}"))
}

fn has_library(name: &str) -> bool {
    succeeds(cmd("pkg-config").args(["--exists", name]))
}
