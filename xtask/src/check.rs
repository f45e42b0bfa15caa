//! Everything that is judged without running the product: form, lints, licences, documentation.
//!
//! It is handed a clean or a dirty tree and changes nothing in it.
//! **Invariant:** whatever passes here on one machine passes on another: versions are locked.

use std::process::Command;

use anyhow::Result;

use crate::guests::{ALL, EXAMPLES, SDK, Toolchain};
use crate::setup;
use crate::sh::{cargo, cmd, root, run, step, target};

const DENY_WARNINGS: [&str; 3] = ["--", "-D", "warnings"];

/// Runs every check; the cheap ones first, so that a slip is told within seconds.
pub(crate) fn run_all() -> Result<()> {
    step("format", format)?;
    let (toolchain, deny) = step("setup", || {
        setup::c_toolchain()?;
        Ok((Toolchain::find_or_install()?, setup::cargo_deny()?))
    })?;
    // No advisories: they need a database from the network at the time of the check, so they would
    // fail where there is none, and on a day when nothing here has changed.
    step("licences, bans, sources", || {
        for workspace in ["", SDK, EXAMPLES, "tests/guests"] {
            let mut command = cmd(&deny);
            command
                .args(["--locked", "--manifest-path"])
                .arg(root().join(workspace).join("Cargo.toml"))
                .arg("--config")
                .arg(root().join("deny.toml"))
                .args(["check", "--hide-inclusion-graph"])
                .args(["licenses", "bans", "sources"]);
            run(&mut command)?;
        }
        Ok(())
    })?;
    step("lints of the host", || {
        let mut command = cargo("clippy");
        command.args(["--locked", "--release", "--workspace", "--all-targets"]);
        run(command.args(DENY_WARNINGS))
    })?;
    step("lints of the guests", || {
        run(native("clippy", SDK)
            .arg("--all-targets")
            .args(DENY_WARNINGS))?;
        if toolchain == Toolchain::Debian {
            println!(
                "  skipped for {}: this compiler comes without clippy",
                ALL.join(", ")
            );
            return Ok(());
        }
        for workspace in ALL {
            run(toolchain.cargo("clippy", workspace)?.args(DENY_WARNINGS))?;
        }
        Ok(())
    })?;
    step("documentation", || {
        let mut command = cargo("doc");
        command
            .args(["--locked", "--release", "--workspace", "--no-deps"])
            .env("RUSTDOCFLAGS", "-D warnings");
        run(&mut command)
    })
}

/// Returns a cargo command that compiles a guest workspace for this machine, for tests and lints.
pub(crate) fn native(task: &str, workspace: &str) -> Command {
    let mut command = cargo(task);
    command
        .current_dir(root().join(workspace))
        .env("CARGO_TARGET_DIR", target("guests-native"));
    command
}

fn format() -> Result<()> {
    run(cargo("fmt").args(["--all", "--check"]))?;
    // Of the fuzz targets nothing more: their host is built with other flags, which takes minutes. The functions that they
    // call are compiled and linted with the tests.
    for workspace in [SDK, EXAMPLES, "tests/guests", "fuzz"] {
        let mut command = cargo("fmt");
        command.current_dir(root().join(workspace));
        run(command.args(["--all", "--check"]))?;
    }
    Ok(())
}
