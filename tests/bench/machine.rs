//! On what a table was measured.
//!
//! **Invariant:** says what the system says; nothing is guessed, what cannot be read is "unknown".

use std::fs;
use std::process::Command;
use std::thread::available_parallelism;

use harness::root;

/// Returns today's date, in UTC.
pub(crate) fn date() -> String {
    let output = Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    let date = output
        .ok()
        .and_then(|out| String::from_utf8(out.stdout).ok());
    date.map_or_else(unknown, |text| text.trim().to_owned())
}

/// Returns the number of cores and their model.
pub(crate) fn cores() -> String {
    let cores = available_parallelism().map_or(0, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut lines = info.lines().filter_map(|line| line.split_once(':'));
    let model = lines.find(|(name, _)| name.trim() == "model name");
    let model = model.map_or_else(unknown, |(_, model)| model.trim().to_owned());
    format!("{cores} cores, {model}")
}

/// Returns the load average of the last 1 and 15 minutes.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let fields: Vec<&str> = text.split_whitespace().take(3).collect();
    match fields.as_slice() {
        [one, _, fifteen] => format!("{one} (1 min), {fifteen} (15 min)"),
        _ => unknown(),
    }
}

/// Returns the version of the Kafka that the harness starts.
pub(crate) fn kafka() -> String {
    let jars = fs::read_dir(root().join("target/kafka/lib"));
    let names = jars.into_iter().flatten().flatten();
    let version = names.filter_map(|jar| {
        let name = jar.file_name().into_string().ok()?;
        let version = name.strip_prefix("kafka-clients-")?.strip_suffix(".jar")?;
        Some(version.to_owned())
    });
    version.last().unwrap_or_else(unknown)
}

fn unknown() -> String {
    "unknown".to_owned()
}
