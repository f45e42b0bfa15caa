//! The host's words in logs: how librdkafka's lines are taken over, how the log is set up, and changed while the
//! host runs.
//!
//! **Invariant:** no line per record at level info or above, except for records that fail.

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use rdkafka::config::RDKafkaLogLevel;
use tracing_subscriber::EnvFilter;

/// What is logged where nobody says so.
const DEFAULT: &str = "info";

/// Puts another filter in the place of the one that the log has.
type Refilter = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;

static REFILTER: OnceLock<Refilter> = OnceLock::new();

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Sends logs to stderr. `RUST_LOG` chooses what is logged; else `directives` do, and where there are none, `info` does.
pub fn init(format: LogFormat, directives: Option<&str>) {
    let filter = from_environment().unwrap_or_else(|| filter_of(directives));
    let builder = tracing_subscriber::fmt().with_writer(std::io::stderr);
    // A second call finds the log set up already, which only tests do.
    let refilter: Refilter = match format {
        LogFormat::Text => {
            let builder = builder.with_ansi(std::io::stderr().is_terminal());
            let builder = builder.with_env_filter(filter).with_filter_reloading();
            let handle = builder.reload_handle();
            let _ = builder.try_init();
            Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string()))
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true);
            let builder = builder.with_env_filter(filter).with_filter_reloading();
            let handle = builder.reload_handle();
            let _ = builder.try_init();
            Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string()))
        }
    };
    let _ = REFILTER.set(refilter);
}

/// Has something else logged from now on: what `directives` say, and `info` where there are none.
pub fn refilter(directives: Option<&str>) -> Result<(), String> {
    match REFILTER.get() {
        Some(refilter) => refilter(filter_of(directives)),
        None => Err("the log is not set up".to_owned()),
    }
}

/// Returns what is wrong with directives such as `info,guest=debug`, if anything is.
pub fn check_directives(text: &str) -> Result<(), String> {
    let parsed = EnvFilter::builder().parse(text);
    parsed.map(drop).map_err(|error| error.to_string())
}

/// Returns whether the environment says what is logged, which wins over host.toml.
pub fn is_from_environment() -> bool {
    from_environment().is_some()
}

fn from_environment() -> Option<EnvFilter> {
    EnvFilter::try_from_default_env().ok()
}

fn filter_of(directives: Option<&str>) -> EnvFilter {
    EnvFilter::new(directives.unwrap_or(DEFAULT))
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
