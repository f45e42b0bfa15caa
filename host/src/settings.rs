//! What an operator writes for the whole host: `host.toml`.
//!
//! Handed the text, gives [`Settings`] in which everything may be left out; the command line and the environment,
//! which win over the file, are laid over it elsewhere.
//! **Invariant:** a value that is there is valid.

mod control;
mod log;
mod masked;
mod response;
mod said;
mod secrets;
mod steps;
mod tenants;
#[cfg(test)]
mod tests;
mod topics;
mod trust;
mod watchdog;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use self::control::ApiSettings;
pub use self::response::RedisSettings;
pub use self::said::said;
pub use self::tenants::{Rules, TenantRules, trusted};
use crate::ids::HandlerId;
use crate::manifest::kafka::{Clients, ValueCheck, any_value};
use crate::manifest::{Key, Kind, Problem, Reader, Text};
use crate::reload::Turn;
use crate::steps::Plan;
use crate::trust::Trust;
use crate::watchdog::WatchPolicy;

/// Instances of components that may live at once where nothing else is said.
pub const INSTANCES_MAX: u32 = 1000;
/// Size of the folder of compiled components, in MiB, where nothing else is said.
pub const CACHE_MAX_MIB_DEFAULT: u64 = 2048;
/// Time for finishing what is under way at a stop, where nothing else is said.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);

/// Lists keys, each with when a change of it counts.
macro_rules! keys {
    ($($key:expr => $turn:ident,)*) => {
        /// All keys, in the order of the documentation.
        pub(crate) static KEYS: &[&Key] = &[$(&$key,)*];

        /// When a change of each of them counts.
        pub(crate) static TURNS: &[(&Key, Turn)] = &[$((&$key, Turn::$turn),)*];
    };
}

keys! {
    BROKERS => Restart,
    HANDLERS => Restart,
    HTTP => Restart,
    control::INSECURE => Restart,
    control::TLS_CERT => Restart,
    control::TLS_KEY => Restart,
    DRAIN_TIMEOUT_MS => Restart,
    log::LOG => Live,
    LOG_FORMAT => Restart,
    CACHE => Restart,
    CACHE_MAX_MIB => Restart,
    secrets::SECRETS => Restart,
    INSTANCES => Restart,
    STRICT => Restart,
    ONLY => Restart,
    UNTIL_CAUGHT_UP => Restart,
    MAX_RECORDS => Restart,
    topics::CREATE_TOPICS => Restart,
    steps::STEPS => Restart,
    steps::LAG_MAX => Restart,
    watchdog::STALL_AFTER_MS => Live,
    watchdog::POLL_LATE_AFTER_MS => Live,
    watchdog::ACTION => Live,
    response::STORE => Restart,
    response::KEY => Restart,
    response::PASSWORD_FILE => Restart,
    response::CA_FILE => Restart,
    control::STATE => Restart,
    control::KEPT => Live,
    control::TOKENS_FILE => Live,
    control::AUDIT_TOPIC => Restart,
    trust::REQUIRE_SIGNATURE => Live,
    trust::TRUST => Live,
    tenants::TENANTS => Live,
    KAFKA => Restart,
}

const BROKERS: Key = Key {
    path: "brokers",
    kind: Kind::Text {
        what: "brokers such as \"kafka-1:9092,kafka-2:9092\"",
        default: "",
    },
    doc: "Brokers to begin with, as `host:port`, with commas between them.",
};
const HANDLERS: Key = Key {
    path: "handlers",
    kind: Kind::Text {
        what: "the path of a folder",
        default: "",
    },
    doc: "Folder of the handlers.",
};
const HTTP: Key = Key {
    path: "http",
    kind: Kind::Text {
        what: "an address such as \"127.0.0.1:8080\"",
        default: "",
    },
    doc: "Address on which health and metrics are served.",
};
const DRAIN_TIMEOUT_MS: Key = Key {
    path: "drain-timeout-ms",
    kind: Kind::Whole {
        unit: "milliseconds",
        min: 0,
        max: 3_600_000,
        default: Some(DRAIN_TIMEOUT.as_secs() * 1000),
    },
    doc: "Time for finishing what is under way when the host is told to stop.",
};
const LOG_FORMAT: Key = Key {
    path: "log-format",
    kind: Kind::Choice {
        words: &["text", "json"],
    },
    doc: "Log lines for people or for programs.",
};
const CACHE: Key = Key {
    path: "cache",
    kind: Kind::Text {
        what: "the path of a folder",
        default: "",
    },
    doc: "Folder of compiled components. Only the host may be able to write there: what lies in it is run.",
};
const CACHE_MAX_MIB: Key = Key {
    path: "cache-max-mib",
    kind: Kind::Whole {
        unit: "MiB",
        min: 1,
        max: 1_048_576,
        default: Some(CACHE_MAX_MIB_DEFAULT),
    },
    doc: "Size that the folder of compiled components may grow to. Beyond it those go that were not used for longest, and never \
          one that serves.",
};
const INSTANCES: Key = Key {
    path: "instances-max",
    kind: Kind::Whole {
        unit: "instances",
        min: 1,
        max: 100_000,
        default: Some(INSTANCES_MAX as u64),
    },
    doc: "Instances of components that may live at once.",
};
const STRICT: Key = Key {
    path: "strict",
    kind: Kind::Flag { default: false },
    doc: "Whether one bad handler keeps the host from starting.",
};
const ONLY: Key = Key {
    path: "only",
    kind: Kind::Texts {
        what: "handlers",
        example: "[\"default/orders\"]",
    },
    doc: "Handlers to run, as `tenant/handler`; all others are left alone.",
};
const UNTIL_CAUGHT_UP: Key = Key {
    path: "until-caught-up",
    kind: Kind::Flag { default: false },
    doc: "Whether the host ends by itself when it has settled what the topics held when it began to read them.",
};
const MAX_RECORDS: Key = Key {
    path: "max-records",
    kind: Kind::Whole {
        unit: "records",
        min: 1,
        max: 1 << 53,
        default: None,
    },
    doc: "Number of settled records after which the host ends by itself.",
};
const KAFKA: Key = Key {
    path: "kafka",
    kind: Kind::Table {
        clients: Some(Clients::All),
    },
    doc: "Settings of librdkafka for all clients, except those that the host depends on.",
};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What host.toml says; none stands for what it leaves out.
#[derive(Clone, PartialEq, Default)]
pub struct Settings {
    /// Brokers to begin with: `host:port`, with commas between them.
    pub brokers: Option<String>,
    /// Folder of the handlers.
    pub handlers: Option<PathBuf>,
    /// Address of health and metrics, as `host:port`.
    pub http: Option<String>,
    /// Time for finishing what is under way at a stop.
    pub drain_timeout: Option<Duration>,
    /// What is logged.
    pub log: Option<String>,
    /// How log lines look.
    pub log_format: Option<LogFormat>,
    /// Folder of compiled components.
    pub cache: Option<PathBuf>,
    /// Size that it may grow to, in MiB, see [`CACHE_MAX_MIB_DEFAULT`].
    pub cache_max_mib: Option<u64>,
    /// Folder of secrets that components may be told by name.
    pub secrets: Option<PathBuf>,
    /// Instances of components that may live at once, see [`INSTANCES_MAX`].
    pub instances_max: Option<u32>,
    /// Whether one bad handler keeps the host from starting.
    pub strict: Option<bool>,
    /// The only handlers to run.
    pub only: Option<Vec<HandlerId>>,
    /// Whether the host ends when it has caught up.
    pub until_caught_up: Option<bool>,
    /// Settled records after which the host ends.
    pub max_records: Option<u64>,
    /// Whether topics are created that handlers declare or need.
    pub create_topics: Option<bool>,
    /// Which handlers begin to read only when others have caught up.
    pub steps: Plan,
    /// What counts as stalled, and what is done then.
    pub watchdog: WatchPolicy,
    /// The Redis by which hosts share responses, where there is one.
    pub response: Option<RedisSettings>,
    /// Folder of the revisions of handlers.
    pub state: Option<PathBuf>,
    /// Revisions of a handler that are kept there.
    pub revisions_kept: Option<usize>,
    /// File that says who may ask what of the control API.
    pub tokens_file: Option<PathBuf>,
    /// Whose signatures are believed, where releases have to be signed.
    pub trust: Trust,
    /// What holds for tenants.
    pub tenants: Rules,
    /// How the control API is served.
    pub api: ApiSettings,
    /// Settings of librdkafka for all clients; none of them touches what the host depends on.
    pub kafka: BTreeMap<String, String>,
}

impl Settings {
    /// Reads host.toml.
    ///
    /// The error holds everything that is wrong, in the order of the file; it is never empty.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        Self::parse_with(text, any_value)
    }

    /// Reads host.toml, and has the values of librdkafka's settings checked as well.
    pub fn parse_with(text: &str, check_value: ValueCheck) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader::new(text, KEYS, check_value)?;
        let settings = Self {
            brokers: brokers(&mut reader),
            handlers: folder(&mut reader, &HANDLERS),
            http: http(&mut reader),
            drain_timeout: reader
                .whole_given(&DRAIN_TIMEOUT_MS)
                .map(Duration::from_millis),
            log: log::log(&mut reader),
            log_format: reader.choice(&LOG_FORMAT).map(|word| match word {
                "json" => LogFormat::Json,
                _ => LogFormat::Text,
            }),
            cache: folder(&mut reader, &CACHE),
            cache_max_mib: reader.whole_given(&CACHE_MAX_MIB),
            secrets: folder(&mut reader, &secrets::SECRETS),
            instances_max: reader
                .whole_given(&INSTANCES)
                .and_then(|instances| u32::try_from(instances).ok()),
            strict: reader.flag(&STRICT),
            only: reader.parsed_list(&ONLY),
            until_caught_up: reader.flag(&UNTIL_CAUGHT_UP),
            max_records: reader.whole_given(&MAX_RECORDS),
            create_topics: reader.flag(&topics::CREATE_TOPICS),
            steps: steps::read(&mut reader),
            watchdog: watchdog::watchdog(&mut reader),
            response: response::read(&mut reader),
            state: folder(&mut reader, &control::STATE),
            revisions_kept: control::kept(&mut reader),
            tokens_file: folder(&mut reader, &control::TOKENS_FILE),
            trust: trust::read(&mut reader),
            tenants: tenants::read(&mut reader),
            api: control::api(&mut reader),
            kafka: reader.table(&KAFKA),
        };
        reader.finish(Some(settings))
    }
}

/// Reads the list of brokers; each may have a protocol before it (`SSL://`), and none needs a port (9092).
fn brokers(reader: &mut Reader<'_>) -> Option<String> {
    let Text { text, offset } = reader.text(&BROKERS)?;
    let wrong = text.split(',').map(str::trim).find(|broker| {
        let address = broker
            .split_once("://")
            .map_or(*broker, |(_, address)| address);
        !is_address(address) && (address.contains(':') || !is_address(&format!("{address}:9092")))
    });
    if let Some(broker) = wrong {
        let what = format!(
            "expected {}, found the broker {broker:?}",
            BROKERS.kind.expected()
        );
        reader.problem(&BROKERS, Some(offset), &what);
    }
    Some(text)
}

fn folder(reader: &mut Reader<'_>, key: &'static Key) -> Option<PathBuf> {
    let Text { text, offset } = reader.text(key)?;
    if text.is_empty() {
        reader.problem(
            key,
            Some(offset),
            &format!("expected {}, found the text \"\"", key.kind.expected()),
        );
    }
    Some(PathBuf::from(text))
}

fn http(reader: &mut Reader<'_>) -> Option<String> {
    let Text { text, offset } = reader.text(&HTTP)?;
    if !is_address(&text) {
        reader.problem(
            &HTTP,
            Some(offset),
            &format!("expected {}, found the text {text:?}", HTTP.kind.expected()),
        );
    }
    Some(text)
}

/// Returns whether a text has the form `host:port`; whether the host exists is seen when it is used.
fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let is_v6 = host.starts_with('[') && host.ends_with(']');
        let is_host = !host.is_empty()
            && !host.contains(|c: char| c.is_whitespace() || matches!(c, '/' | ':'));
        (is_v6 || is_host) && port.parse::<u16>().is_ok()
    })
}
