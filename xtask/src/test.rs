//! Runs what is judged by running it: tests, the benchmark, and the generated documentation.
//!
//! It is handed a filter and sets up what the tests need; the tests start their servers themselves.
//! **Invariant:** a skipped test is counted and said, never silently left out.

use anyhow::{Context as _, Result, bail};

use crate::check::native;
use crate::guests::{self, EXAMPLES, SDK};
use crate::python::{self, NEEDS_PYTHON};
use crate::sh::{capture, cargo, cmd, run, step, target};
use crate::{kafka, languages, redis, setup};

/// Tests of the claims binary that need a real Kafka live in this module.
const NEEDS_KAFKA: &str = "kafka::";
/// Records of each run of the handlers that are not written in Rust, which take ten times as long as those that are.
const RECORDS_OF_LANGUAGES: u64 = 100_000;
/// Short runs of the torture, by what a filter can choose them with.
const TORTURES: [(&str, &[&str]); 4] = [
    (
        "torture::partition",
        &["--seed=1", "--minutes=0.75", "--ordering=partition"],
    ),
    (
        "torture::key",
        &["--seed=2", "--minutes=0.75", "--ordering=key"],
    ),
    (
        "torture::none",
        &["--seed=3", "--minutes=0.75", "--ordering=none"],
    ),
    (
        "torture::exactly-once",
        &[
            "--seed=4",
            "--minutes=0.75",
            "--ordering=key",
            "--delivery=exactly-once",
        ],
    ),
];

/// Runs every test whose name contains `filter`; `fast` skips those that need a server.
pub(crate) fn run_all(fast: bool, filter: Option<&str>) -> Result<()> {
    let lacks = step("setup", || {
        setup::c_toolchain()?;
        if fast {
            return Ok(Some(NEEDS_KAFKA));
        }
        kafka::jars()?;
        redis::server()?;
        Ok(if python::environment()? {
            None
        } else {
            Some(NEEDS_PYTHON)
        })
    })?;
    step("guests", || guests::build(&guests::ALL))?;
    step("build", || {
        build_host()?;
        build_libraries()
    })?;
    let skipped = match lacks {
        Some(needs) => count_skipped(filter, needs)?,
        None => 0,
    };
    step("tests of the host", || {
        let mut command = cargo("test");
        command.args(["--release", "--workspace"]);
        command.args(filter).arg("--");
        if let Some(needs) = lacks {
            command.args(["--skip", needs]);
        }
        run(&mut command)
    })?;
    step("tests of the guests", || {
        run(native("test", SDK).args(filter))?;
        run(native("test", EXAMPLES).args(filter))
    })?;
    let mut tortures = TORTURES.to_vec();
    tortures.retain(|(name, _)| filter.is_none_or(|filter| name.contains(filter)));
    if fast {
        println!("\n{skipped} tests skipped: they need a real Kafka (run without --fast)");
        let runs = tortures.len();
        println!("{runs} runs of the torture skipped: they need a real Kafka (run without --fast)");
    } else if !tortures.is_empty() {
        step("torture", || torture(&tortures))?;
    }
    if !fast && skipped > 0 {
        println!("\n{skipped} tests skipped: they need Python, which the setup above did not find");
    }
    Ok(())
}

/// Runs short tortures one after the other: each has the machine for itself.
fn torture(runs: &[(&str, &[&str])]) -> Result<()> {
    build("torture")?;
    for (_, options) in runs {
        run(cmd(target("release/torture")).args(*options))?;
    }
    Ok(())
}

/// Builds the host's binary in the one profile that everything here uses.
pub(crate) fn build_host() -> Result<()> {
    build("kafka-wasm-host")?;
    let binary = target("release/kafka-wasm-host");
    let bytes = binary.metadata().context("the binary was not built")?.len();
    println!("  target/release/kafka-wasm-host: {} MB", bytes / 1_000_000);
    Ok(())
}

fn build(bin: &str) -> Result<()> {
    // The whole workspace is selected, so that the dependencies get the features that the tests need
    // and are not built a second time for them.
    run(cargo("build").args(["--release", "--workspace", "--bin", bin]))
}

/// Builds what is loaded and not linked: the library that gives a host under test a wall clock of its own.
fn build_libraries() -> Result<()> {
    run(cargo("build").args(["--release", "--workspace", "--lib"]))
}

/// Runs a program of the tests that starts a real Kafka, such as a benchmark; it prints its result itself.
pub(crate) fn with_kafka(bin: &str, options: &[String]) -> Result<()> {
    step("setup", || {
        setup::c_toolchain()?;
        kafka::jars()
    })?;
    step("guests", || guests::build(&guests::ALL))?;
    step("build", || {
        build(bin)?;
        build_host()?;
        build_libraries()
    })?;
    run(cmd(target(&format!("release/{bin}"))).args(options))
}

/// As [`with_kafka`], for a program that measures Python packages as well where they can be had.
pub(crate) fn with_python(bin: &str, options: &[String]) -> Result<()> {
    step("Python", python::environment)?;
    with_kafka(bin, options)
}

/// Measures the handlers that are not written in Rust beside those that are; `options` come after those that choose them.
pub(crate) fn with_languages(options: &[String]) -> Result<()> {
    step("handlers in other languages", languages::build)?;
    let variants = ["native-fields", "host", "host-fields"].map(str::to_owned);
    let variants = variants.into_iter().chain(languages::variants());
    let mut all = vec!["--size=1024".to_owned()];
    all.extend(variants.map(|variant| format!("--only={variant}")));
    all.extend_from_slice(options);
    if !options.iter().any(|option| option.starts_with("--records")) {
        all.push(format!("--records={RECORDS_OF_LANGUAGES}"));
    }
    with_kafka("bench-path", &all)
}

/// Writes the generated pages anew: the tests that compare them write them when they are asked to.
pub(crate) fn docs() -> Result<()> {
    setup::c_toolchain()?;
    let mut command = cargo("test");
    command
        .args(["--release", "--workspace", "--lib", "docs"])
        .env("UPDATE_DOCS", "1");
    run(&mut command)
}

fn count_skipped(filter: Option<&str>, needs: &str) -> Result<usize> {
    let mut command = cargo("test");
    command.args(["--release", "--workspace", "--test", "claims"]);
    command.args(filter).args(["--", "--list"]);
    let list = capture(&mut command)?;
    if !list.contains(" tests,") && !list.contains(" test,") {
        bail!("cannot read the list of tests:\n{list}");
    }
    Ok(list
        .lines()
        .filter(|line| line.contains(needs) && line.ends_with(": test"))
        .count())
}
