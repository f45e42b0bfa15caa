//! The host's words in logs: how librdkafka's lines are taken over, how the log is set up, and changed while the
//! host runs.
//!
//! **Invariant:** no line per record at level info or above, except for records that fail.

use std::io::IsTerminal as _;

use parking_lot::Mutex;
use rdkafka::config::RDKafkaLogLevel;
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged where nothing else is said.
pub const DEFAULT: &str = "info";
/// Bytes of what says what is logged.
const DIRECTIVES_MAX: usize = 4096;

/// What is logged, and how that is changed while the host runs.
pub struct LogLevel {
    directives: Mutex<String>,
    set: Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>,
}

impl std::fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let directives = &self.directives;
        f.debug_tuple("LogLevel").field(directives).finish()
    }
}

impl LogLevel {
    /// One that changes nothing.
    #[cfg(any(fuzzing, test))]
    pub(crate) fn fixed() -> Self {
        Self {
            directives: Mutex::new(DEFAULT.to_owned()),
            set: Box::new(|_| Ok(())),
        }
    }

    /// Returns what is logged, as `RUST_LOG` has it.
    pub(crate) fn get(&self) -> String {
        self.directives.lock().clone()
    }

    /// Changes what is logged from now on; returns what was logged. The error says what is wrong with the text.
    pub(crate) fn set(&self, directives: &str) -> Result<String, String> {
        let filter = filter(directives)?;
        let mut now = self.directives.lock();
        (self.set)(filter)?;
        Ok(std::mem::replace(&mut *now, directives.to_owned()))
    }
}

/// Reads what is to be logged. Unlike in the environment, a word that is no level is told: it would be the name of a target
/// of which everything is logged.
fn filter(directives: &str) -> Result<EnvFilter, String> {
    const EXPECTED: &str = "expected such as info,guest=debug: off, error, warn, info, debug or trace, for all or for a target";
    if directives.len() > DIRECTIVES_MAX {
        return Err(format!(
            "it has more than {DIRECTIVES_MAX} bytes ({EXPECTED})"
        ));
    }
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |word: &str| levels.iter().any(|level| word.eq_ignore_ascii_case(level));
    for one in directives.split(',').map(str::trim) {
        if !is_level(one) && !one.contains(['=', '[', ']', '}']) {
            return Err(format!("{one:?} is no level ({EXPECTED})"));
        }
    }
    EnvFilter::try_new(directives).map_err(|error| format!("{error} ({EXPECTED})"))
}

/// Returns what is wrong with directives such as `info,guest=debug`, if anything is.
pub fn check_directives(text: &str) -> Result<(), String> {
    filter(text).map(drop)
}

/// Returns whether the environment says what is logged, which wins over host.toml.
pub fn is_from_environment() -> bool {
    from_environment().is_some()
}

fn from_environment() -> Option<String> {
    let given = std::env::var(EnvFilter::DEFAULT_ENV).ok();
    given.filter(|text| EnvFilter::try_new(text).is_ok())
}

/// Sends logs to stderr. `RUST_LOG` chooses what is logged; else `given` does, and where there are none, `info` does.
pub fn init(format: LogFormat, given: Option<&str>) -> LogLevel {
    let directives = from_environment();
    let directives = directives.unwrap_or_else(|| given.unwrap_or(DEFAULT).to_owned());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&directives))
        .with_writer(std::io::stderr);
    // A second call finds the log set up already, which only tests do.
    let set: Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync> = match format {
        LogFormat::Text => {
            let builder = builder.with_ansi(std::io::stderr().is_terminal());
            let builder = builder.with_filter_reloading();
            let handle = builder.reload_handle();
            let _ = builder.try_init();
            Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string()))
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            let handle = builder.reload_handle();
            let _ = builder.try_init();
            Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string()))
        }
    };
    LogLevel {
        directives: Mutex::new(directives),
        set,
    }
}

/// Takes over a line of librdkafka.
pub(crate) fn log_kafka(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(target: "librdkafka", facility, "{message}");
        }
        // Broken connections are told by readiness, in the host's words and once.
        RDKafkaLogLevel::Error if facility == "FAIL" => {
            tracing::debug!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
            tracing::warn!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", facility, "{message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_level_is_told() {
        for good in [
            "info",
            "warn,guest=debug",
            "INFO",
            "off",
            "librdkafka=off,info",
            "kafka_wasm_host[span]=trace",
        ] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "inof",
            "info,guest",
            "guest=loud",
            "info,,warn",
            &"info,".repeat(1000),
        ] {
            let told = filter(bad).unwrap_err();
            assert!(told.contains("info,guest=debug"), "{told}");
        }
    }
}
