//! What `serve` runs with: command line over environment over host.toml over defaults.
//!
//! **Invariant:** a `ServeConfig` that exists is complete and was checked; nothing was connected to for it.

mod again;
mod command;

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use self::again::Origin;
use crate::history::REVISIONS_KEPT;
use crate::ids::HandlerId;
use crate::manifest::kafka::{Clients, check};
use crate::reply::client;
use crate::setting::check_value;
use crate::settings::{
    ApiSettings, CACHE_MAX_MIB_DEFAULT, DRAIN_TIMEOUT, INSTANCES_MAX, LogFormat as FileLogFormat,
    RedisSettings, Rules, Settings,
};
use crate::steps::Plan;
use crate::telemetry::LogFormat;
use crate::tls::Tls;
use crate::tokens::Tokens;
use crate::trust::Trust;
use crate::utf8::text_of;
use crate::watchdog::WatchPolicy;

/// Where records come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Brokers {
    /// A Kafka cluster: `host:port`, with commas between them.
    Cluster(String),
    /// A broker inside this process, for development.
    Embedded,
}

/// What the command line and the environment say; `None` leaves it to host.toml.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--handlers`.
    pub handlers: Option<PathBuf>,
    /// `--brokers`.
    pub brokers: Option<String>,
    /// `--dev`.
    pub dev: bool,
    /// `--http`.
    pub http: Option<String>,
    /// `--http-insecure`, `--http-tls-cert`, `--http-tls-key`, `--audit-topic`.
    pub api: ApiSettings,
    /// `--drain-timeout`.
    pub drain_timeout: Option<Duration>,
    /// `--log-format`.
    pub log_format: Option<LogFormat>,
    /// `--cache`.
    pub cache: Option<PathBuf>,
    /// `--secrets`.
    pub secrets: Option<PathBuf>,
    /// `--instances-max`.
    pub instances_max: Option<u32>,
    /// `--strict`.
    pub strict: bool,
    /// `--only`, repeated.
    pub only: Vec<HandlerId>,
    /// `--until-caught-up`.
    pub until_caught_up: bool,
    /// `--max-records`.
    pub max_records: Option<u64>,
    /// `--create-topics`.
    pub create_topics: bool,
    /// `--state`.
    pub state: Option<PathBuf>,
    /// `--kafka-setting`, repeated.
    pub kafka: Vec<(String, String)>,
}

/// Everything that a host is built from.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// Where records come from.
    pub brokers: Brokers,
    /// The handlers folder.
    pub handlers: PathBuf,
    /// Where health and metrics are served; nowhere when `None`.
    pub http: Option<SocketAddr>,
    /// How long a stop or a revocation waits for what is under way.
    pub drain_timeout: Duration,
    /// What is logged, where the environment does not say it.
    pub log: Option<String>,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Folder of compiled components; none are kept when `None`.
    pub cache: Option<PathBuf>,
    /// Size that it may grow to, in MiB.
    pub cache_max_mib: u64,
    /// Folder of secrets; there are none in files when `None`.
    pub secrets: Option<PathBuf>,
    /// Instances that may live at once.
    pub instances_max: u32,
    /// Whether one bad handler keeps the host from starting.
    pub strict: bool,
    /// The only handlers to run; all when empty.
    pub only: Vec<HandlerId>,
    /// Whether the host ends when it has settled what the topics held when it began to read them.
    pub until_caught_up: bool,
    /// Settled records after which the host ends.
    pub max_records: Option<u64>,
    /// Whether topics are created that handlers declare or need.
    pub create_topics: bool,
    /// The command that does the same.
    pub topics_command: String,
    /// Which of its handlers begin to read only when others have caught up.
    pub steps: Plan,
    /// What counts as stalled, and what is done then.
    pub watchdog: WatchPolicy,
    /// The Redis by which hosts share responses; nothing where each reads all of them.
    pub response: Option<RedisSettings>,
    /// What is kept of handlers, and who may change them.
    pub control: ControlConfig,
    /// Whose signatures are believed, where handlers have to be signed.
    pub trust: Trust,
    /// What holds for tenants.
    pub tenants: Rules,
    /// librdkafka keys for all clients, without `bootstrap.servers`.
    pub kafka: BTreeMap<String, String>,
    /// Where all of this comes from.
    pub origin: Origin,
}

/// What is kept of handlers, and who may change them.
#[derive(Debug, Clone)]
pub struct ControlConfig {
    /// Folder of the revisions of handlers; none are kept when `None`.
    pub state: Option<PathBuf>,
    /// Revisions of a handler that are kept there.
    pub revisions_kept: usize,
    /// Who may ask what of the control API; none where nobody needs to be known.
    pub tokens: Option<Arc<Tokens>>,
    /// How the control API is served.
    pub api: ApiSettings,
    /// What connections to the HTTP address begin with, where they are encrypted.
    pub tls: Option<Tls>,
}

impl ServeConfig {
    /// Puts the sources together. The error holds everything that is wrong, a line each.
    pub fn resolve(given: Given) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut origin = Origin::of(&given);
        let settings = origin.read();
        // What a file that could not be read says is not missing.
        let is_read = settings.is_ok();
        let settings = settings.unwrap_or_else(|found| {
            problems.extend(found);
            Settings::default()
        });
        let brokers = brokers(&given, &settings);
        if brokers.is_none() && is_read {
            problems.push(
                "--brokers: missing (host:port,… of a Kafka cluster, or --dev for an embedded broker)"
                    .to_owned(),
            );
        }
        let flags = command::flags(&given);
        let handlers = given.handlers.or(settings.handlers);
        if handlers.is_none() && is_read {
            problems.push(
                "--handlers: missing (name the folder of the handlers, or set `handlers` in host.toml)".to_owned(),
            );
        }
        let http = http_addr(given.http.or(settings.http), &mut problems);
        let mut kafka = settings.kafka;
        kafka.extend(kafka_settings(given.kafka, &mut problems));
        // Before anything waits for it; nothing is connected to.
        let redis = settings.response.as_ref();
        problems.extend(redis.and_then(|redis| client(redis).err()));
        let control = control(given.state.or(settings.state), settings.revisions_kept)
            .with_api(given.api.over(settings.api), &mut problems)
            .with_tokens(settings.tokens_file.as_deref(), &mut problems);
        let only = Some(given.only).filter(|only| !only.is_empty());
        let only = only.or(settings.only).unwrap_or_default();
        match (brokers, handlers) {
            (Some(brokers), Some(handlers)) if problems.is_empty() => Ok(Self {
                topics_command: command::topics(&flags, &handlers, &brokers),
                brokers,
                handlers,
                http,
                drain_timeout: given
                    .drain_timeout
                    .or(settings.drain_timeout)
                    .unwrap_or(DRAIN_TIMEOUT),
                log: settings.log,
                log_format: given
                    .log_format
                    .or(settings.log_format.map(Into::into))
                    .unwrap_or_default(),
                cache: given.cache.or(settings.cache).or_else(default_cache),
                cache_max_mib: settings.cache_max_mib.unwrap_or(CACHE_MAX_MIB_DEFAULT),
                secrets: given.secrets.or(settings.secrets),
                instances_max: given
                    .instances_max
                    .or(settings.instances_max)
                    .unwrap_or(INSTANCES_MAX),
                strict: given.strict || settings.strict.unwrap_or(false),
                steps: settings.steps.only(&only),
                only,
                until_caught_up: given.until_caught_up || settings.until_caught_up.unwrap_or(false),
                max_records: given.max_records.or(settings.max_records),
                create_topics: given.create_topics || settings.create_topics.unwrap_or(false),
                watchdog: settings.watchdog,
                response: settings.response,
                control,
                trust: settings.trust,
                tenants: settings.tenants,
                kafka,
                origin,
            }),
            _ => Err(problems),
        }
    }
}

impl From<FileLogFormat> for LogFormat {
    fn from(format: FileLogFormat) -> Self {
        match format {
            FileLogFormat::Text => Self::Text,
            FileLogFormat::Json => Self::Json,
        }
    }
}

/// Reads where health and metrics are to be served; none where a problem was noted.
fn http_addr(text: Option<String>, problems: &mut Vec<String>) -> Option<SocketAddr> {
    let addr = socket_addr(&text?);
    addr.map_err(|problem| problems.push(format!("--http: {problem}")))
        .ok()
}

/// Checks what the command line says of librdkafka; what is wrong is left out and told.
fn kafka_settings(
    given: Vec<(String, String)>,
    problems: &mut Vec<String>,
) -> Vec<(String, String)> {
    let mut checked = Vec::new();
    for (name, value) in given {
        let result = check(Clients::All, &name, &value).and_then(|()| check_value(&name, &value));
        match result {
            Ok(()) => checked.push((name, value)),
            Err(why) => problems.push(format!("--kafka-setting {name}: {why}")),
        }
    }
    checked
}

/// Reads a host.toml. The error holds everything that is wrong, a line each.
pub(crate) fn read_settings(path: &Path) -> Result<Settings, Vec<String>> {
    let text = read_text(path)?;
    parse(path, &text)
}

fn read_text(path: &Path) -> Result<String, Vec<String>> {
    let bytes = std::fs::read(path)
        .map_err(|error| vec![format!("{}: cannot be read: {error}", path.display())])?;
    text_of(bytes, path).map_err(|problem| vec![problem])
}

fn parse(path: &Path, text: &str) -> Result<Settings, Vec<String>> {
    Settings::parse_with(text, check_value)
        .map_err(|problems| problems.iter().map(|it| it.at(path)).collect())
}

fn control(state: Option<PathBuf>, kept: Option<usize>) -> ControlConfig {
    ControlConfig {
        state,
        revisions_kept: kept.unwrap_or(REVISIONS_KEPT),
        tokens: None,
        api: ApiSettings::default(),
        tls: None,
    }
}

impl ControlConfig {
    /// Adds how it is served.
    fn with_api(self, api: ApiSettings, problems: &mut Vec<String>) -> Self {
        let tls = match (&api.tls_cert, &api.tls_key) {
            (Some(cert), Some(key)) => Tls::read(cert, key).map(Some),
            (None, None) => Ok(None),
            (Some(_), None) => {
                Err("--http-tls-key: missing (the key of --http-tls-cert)".to_owned())
            }
            (None, Some(_)) => {
                Err("--http-tls-cert: missing (the certificate of --http-tls-key)".to_owned())
            }
        };
        let tls = tls.map_err(|why| problems.push(why)).ok().flatten();
        Self { api, tls, ..self }
    }

    /// Adds those of a file, where there is one.
    fn with_tokens(mut self, file: Option<&Path>, problems: &mut Vec<String>) -> Self {
        match file.map(read_tokens) {
            Some(Ok(tokens)) => self.tokens = Some(Arc::new(tokens)),
            Some(Err(found)) => problems.extend(found),
            None => {}
        }
        self
    }
}

fn read_tokens(path: &Path) -> Result<Tokens, Vec<String>> {
    let text = read_text(path)?;
    let at = |(line, why): &(usize, String)| format!("{}:{line}: {why}", path.display());
    Tokens::parse(&text).map_err(|problems| problems.iter().map(at).collect())
}

fn brokers(given: &Given, settings: &Settings) -> Option<Brokers> {
    // The environment or host.toml may name a cluster; `--dev` on the command line is the nearer wish.
    if given.dev {
        return Some(Brokers::Embedded);
    }
    let list = given.brokers.as_ref().or(settings.brokers.as_ref());
    list.cloned().map(Brokers::Cluster)
}

fn socket_addr(text: &str) -> Result<SocketAddr, String> {
    let mut found = text
        .to_socket_addrs()
        .map_err(|error| format!("{text}: {error} (expected HOST:PORT)"))?;
    found
        .next()
        .ok_or_else(|| format!("{text}: no such address"))
}

/// The user's cache folder, as the XDG Base Directory Specification names it.
fn default_cache() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    Some(base.join("kafka-wasm-host"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let given = Given {
            http: Some("nowhere".to_owned()),
            kafka: ["group.id", "fetch.min.bytes", "linger.ms"]
                .map(|name| (name.to_owned(), "x".to_owned()))
                .into(),
            ..Given::default()
        };
        let problems = ServeConfig::resolve(given).unwrap_err();
        let starts = [
            "--brokers: missing",
            "--handlers: missing",
            "--http: nowhere",
            "--kafka-setting group.id",
            "--kafka-setting fetch.min.bytes: librdkafka refuses the value: ",
            "--kafka-setting linger.ms: librdkafka refuses the value: ",
        ];
        assert_eq!(problems.len(), starts.len(), "{problems:?}");
        for (problem, start) in problems.iter().zip(starts) {
            assert!(problem.starts_with(start), "{problem}");
        }
    }

    #[test]
    fn what_a_broken_host_toml_says_is_not_called_missing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("host.toml");
        std::fs::write(&file, "brokers = 5\n[kafka]\nfetch.min.bytes = \"x\"\n").unwrap();
        let given = Given {
            config: Some(file.clone()),
            ..Given::default()
        };
        let problems = ServeConfig::resolve(given).unwrap_err();
        let starts = [
            format!("{}:1: brokers: expected", file.display()),
            format!(
                "{}:3: kafka.\"fetch.min.bytes\": librdkafka",
                file.display()
            ),
        ];
        assert_eq!(problems.len(), starts.len(), "{problems:?}");
        for (problem, start) in problems.iter().zip(&starts) {
            assert!(problem.starts_with(start), "{problem}");
        }
    }

    #[test]
    fn the_command_line_wins_over_host_toml() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("host.toml");
        std::fs::write(
            &file,
            "brokers = \"file:9092\"\nhandlers = \"h\"\ndrain-timeout-ms = 1000\n",
        )
        .unwrap();
        let given = Given {
            config: Some(file),
            brokers: Some("cli:9092".to_owned()),
            ..Given::default()
        };
        let config = ServeConfig::resolve(given).unwrap();
        assert_eq!(config.brokers, Brokers::Cluster("cli:9092".to_owned()));
        assert_eq!(config.drain_timeout, Duration::from_secs(1));
    }
}
