//! Runs the fuzz targets of `fuzz/`, each for a while.
//!
//! It is handed a target and a time. The kept seeds in `fuzz/seeds` are where a run begins; what it finds beside them goes to
//! `target/fuzz/corpus`, and an input that fails is named at the end of the run.
//! **Invariant:** the host is built with coverage and without a sanitizer, so by the compiler that builds it otherwise: it has
//! hardly any unsafe code, and memory is bounded by the allocator of the targets.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::setup;
use crate::sh::{cmd, root, run, step, target};

/// The targets, as `fuzz/Cargo.toml` has them.
const TARGETS: [&str; 6] = [
    "manifest",
    "imports",
    "api",
    "letters",
    "commit_metadata",
    "signature",
];
/// Bytes of an input.
const INPUT_MAX: usize = 16 << 10;
/// Seconds that one input may take.
const INPUT_SECONDS_MAX: u64 = 10;
/// MiB of the process; each input has a budget of its own, which is far smaller.
const PROCESS_MIB_MAX: usize = 2048;

/// Runs a target, or each of them, for so many seconds.
pub(crate) fn run_targets(wanted: Option<&str>, seconds: u64) -> Result<()> {
    if let Some(wanted) = wanted.filter(|it| !TARGETS.contains(it)) {
        bail!(
            "there is no target {wanted} (there are {})",
            TARGETS.join(", ")
        );
    }
    let program = step("setup", || {
        setup::c_toolchain()?;
        setup::cargo_fuzz()
    })?;
    let fuzz = |task: &str, name: &str| {
        let mut command = cmd(&program);
        command
            .arg(task)
            .args(["--fuzz-dir", "fuzz", "--target-dir"])
            .arg(target("fuzz"))
            .args(["--release", "--sanitizer", "none", "--codegen-units", "16"])
            .arg(name);
        command
    };
    let chosen = TARGETS
        .iter()
        .filter(|it| wanted.is_none_or(|wanted| wanted == **it));
    for name in chosen {
        step(&format!("fuzz {name}"), || {
            let mut command = fuzz("run", name);
            run(inputs(&mut command, name)?.args(limits(seconds)))
        })?;
    }
    Ok(())
}

/// Names the folders of inputs: what is found is written to the first.
fn inputs<'a>(command: &'a mut Command, name: &str) -> Result<&'a mut Command> {
    let found = target("fuzz/corpus").join(name);
    fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;
    Ok(command.arg(found).arg(root().join("fuzz/seeds").join(name)))
}

fn limits(seconds: u64) -> [String; 6] {
    [
        "--".to_owned(),
        format!("-max_total_time={seconds}"),
        format!("-max_len={INPUT_MAX}"),
        format!("-timeout={INPUT_SECONDS_MAX}"),
        format!("-rss_limit_mb={PROCESS_MIB_MAX}"),
        "-print_final_stats=1".to_owned(),
    ]
}
