//! The command line: what can be asked for, and how the answers are printed.

pub mod connect;
pub mod console;
pub mod consume;
pub mod control;
pub mod dead_letter;
pub mod health;
pub mod produce;
pub mod reader;
pub mod records;
mod release;
pub mod seek;
pub mod sender;
pub mod topics;
mod usage;
mod wire;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Given, ServeConfig, read_settings};
use crate::deploy::SecretStore;
use crate::duration::parse_duration;
use crate::ids::{HandlerId, TopicName};
use crate::serve::{Host, runtime};
use crate::settings::ApiSettings;
use crate::telemetry::{self, LogFormat};

/// The exit code for wrong usage and wrong configuration, as in BSD's sysexits.h.
const EX_USAGE: u8 = 64;

/// Runs sandboxed WebAssembly components as Kafka message handlers.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Consume Kafka and call the handlers of a folder
    Serve(Box<ServeArgs>),
    /// Say whether the handlers of a folder would serve; needs no broker
    Check(CheckArgs),
    /// Say what a handlers folder would change in the place of another one; needs no broker
    Diff(DiffArgs),
    /// Print what is to be signed of a handler; needs no broker
    Release(release::ReleaseArgs),
    /// Write records to a topic
    Produce(produce::ProduceArgs),
    /// Read records from a topic
    Consume(consume::ConsumeArgs),
    /// Show, replay and delete the records that could not be handled
    DeadLetter(Box<dead_letter::DeadLetterArgs>),
    /// Move the committed positions of a consumer group
    Seek(seek::SeekArgs),
    /// Show and create the topics that handlers declare or need
    Topics(Box<topics::TopicsArgs>),
    /// Say what the handlers of a running host do
    Status(control::StatusArgs),
    /// Say what the tenants of a running host use of what they may have
    Tenants(control::TenantsArgs),
    /// Send the folder of a handler to a running host
    Deploy(control::DeployArgs),
    /// List the revisions of a handler that a host keeps
    Revisions(control::RevisionsArgs),
    /// Let a host serve an earlier revision of a handler
    Rollback(control::RollbackArgs),
    /// Let the revision of a handler serve that is tried beside another one
    Promote(control::PromoteArgs),
    /// Hand no more records to a handler, until `resume`
    Pause(control::PauseArgs),
    /// Let a handler go on that was paused
    Resume(control::ResumeArgs),
    /// Have a running host read its settings again
    Reload(control::ReloadArgs),
    /// Let a host finish what it has in hand and leave its groups
    Drain(control::DrainArgs),
    /// Show or change what a host logs, while it runs
    #[command(name = "loglevel")]
    LogLevel(control::LogLevelArgs),
    /// Ask a running host whether it is alive
    Health(health::HealthArgs),
}

#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  kafka-wasm-host serve --handlers handlers/ --dev
  kafka-wasm-host serve --handlers handlers/ --brokers kafka:9092 --http 0.0.0.0:8080
  kafka-wasm-host serve --config host.toml --kafka-setting security.protocol=SSL
  kafka-wasm-host serve --handlers handlers/ --brokers kafka:9092 --until-caught-up

With --until-caught-up or --max-records the host ends by itself, as after SIGTERM, and says what it did. Then the exit
code is 0; it is 1 where something stood in the way: a halted partition, a topic that does not exist (30 s), Kafka out
of reach (60 s), a signal before it had caught up. --until-caught-up includes --strict.

Authority: command line, then environment, then host.toml, then defaults.
RUST_LOG chooses what is logged, such as RUST_LOG=info,guest=debug; else `log` in host.toml does.

SIGHUP has host.toml read again, as `reload` does.")]
struct ServeArgs {
    /// Folder of the handlers: <handler>/handler.toml with a .wasm file, or <tenant>/<handler>/…
    #[arg(long, env = "KAFKA_WASM_HANDLERS", value_name = "DIR")]
    handlers: Option<PathBuf>,
    /// The brokers to ask first, as host:port,host:port
    #[arg(long, env = "KAFKA_WASM_BROKERS", value_name = "LIST")]
    brokers: Option<String>,
    /// Run a broker inside this process instead; nothing is kept
    #[arg(long)]
    dev: bool,
    /// A file with settings of the host
    #[arg(long, env = "KAFKA_WASM_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Any setting of librdkafka for all clients; may be repeated
    #[arg(long = "kafka-setting", value_name = "KEY=VALUE", value_parser = connect::parse_pair)]
    kafka_settings: Vec<(String, String)>,
    /// Where /livez, /readyz and /metrics are served
    #[arg(long, env = "KAFKA_WASM_HTTP", value_name = "HOST:PORT")]
    http: Option<String>,
    /// Serve the control API in plain text also where --http is no loopback address
    #[arg(long)]
    http_insecure: bool,
    /// File with the certificate of the --http address, in PEM; all of it is TLS then
    #[arg(long, env = "KAFKA_WASM_HTTP_TLS_CERT", value_name = "FILE")]
    http_tls_cert: Option<PathBuf>,
    /// File with the key of the certificate, in PEM
    #[arg(long, env = "KAFKA_WASM_HTTP_TLS_KEY", value_name = "FILE")]
    http_tls_key: Option<PathBuf>,
    /// Topic to which each change that is asked of the control API is written
    #[arg(long, env = "KAFKA_WASM_AUDIT_TOPIC", value_name = "TOPIC")]
    audit_topic: Option<TopicName>,
    /// How long a stop or a rebalance waits for records under way, such as 10s
    #[arg(long, env = "KAFKA_WASM_DRAIN_TIMEOUT", value_name = "DURATION", value_parser = parse_duration)]
    drain_timeout: Option<Duration>,
    /// How log lines look
    #[arg(long, env = "KAFKA_WASM_LOG_FORMAT", value_enum)]
    log_format: Option<LogFormat>,
    /// Run only this handler, as tenant/handler; may be repeated
    #[arg(long, value_name = "HANDLER")]
    only: Vec<HandlerId>,
    /// Refuse to start when anything is wrong with any handler
    #[arg(long)]
    strict: bool,
    /// Folder of compiled components, for fast starts
    #[arg(long, env = "KAFKA_WASM_CACHE", value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Folder in which revisions of handlers are kept, to roll back to
    #[arg(long, env = "KAFKA_WASM_STATE", value_name = "DIR")]
    state: Option<PathBuf>,
    /// Folder of secrets that components may be told by name, a file each
    #[arg(long, env = "KAFKA_WASM_SECRETS", value_name = "DIR")]
    secrets: Option<PathBuf>,
    /// Instances of components that may live at once
    #[arg(long, env = "KAFKA_WASM_INSTANCES_MAX", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    instances_max: Option<u32>,
    /// End when all records are settled that the topics held when the host began to read them
    #[arg(long)]
    until_caught_up: bool,
    /// Create topics that handlers declare or need, as `topics apply` does
    #[arg(long)]
    create_topics: bool,
    /// End when at least so many records are settled on this host
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_records: Option<u64>,
}

impl From<ServeArgs> for Given {
    fn from(args: ServeArgs) -> Self {
        Self {
            config: args.config,
            handlers: args.handlers,
            brokers: args.brokers,
            dev: args.dev,
            http: args.http,
            api: ApiSettings {
                insecure: args.http_insecure.then_some(true),
                audit_topic: args.audit_topic,
                tls_cert: args.http_tls_cert,
                tls_key: args.http_tls_key,
            },
            drain_timeout: args.drain_timeout,
            log_format: args.log_format,
            cache: args.cache,
            secrets: args.secrets,
            instances_max: args.instances_max,
            strict: args.strict,
            only: args.only,
            until_caught_up: args.until_caught_up,
            max_records: args.max_records,
            create_topics: args.create_topics,
            state: args.state,
            kafka: args.kafka_settings,
        }
    }
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  kafka-wasm-host check handlers/ --config host.toml

Of host.toml only the keys are looked at that releases are signed with. Without it, nothing needs to be signed.")]
struct CheckArgs {
    /// Folder of the handlers
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Folder of secrets that the manifests name, as for `serve`
    #[arg(long, env = "KAFKA_WASM_SECRETS", value_name = "DIR")]
    secrets: Option<PathBuf>,
    /// A file with settings of the host, which says whose signatures are believed
    #[arg(long, env = "KAFKA_WASM_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  kafka-wasm-host diff staging/handlers --handlers handlers/

Each handler that is new (+), gone (-) or different (~) is named, with what differs: keys of the manifest, hooks, imports,
what its tenant's file grants and allows, code. Of [config] and [kafka] only the names are shown. The exit code is 0
whether there are differences or not, and 64 where a handler cannot be loaded.")]
struct DiffArgs {
    /// The folder that is to be deployed
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The folder that serves
    #[arg(long, env = "KAFKA_WASM_HANDLERS", value_name = "DIR")]
    handlers: PathBuf,
    /// Folder of secrets that the manifests name, as for `serve`
    #[arg(long, env = "KAFKA_WASM_SECRETS", value_name = "DIR")]
    secrets: Option<PathBuf>,
}

/// Does what the command line asks for.
pub fn run() -> ExitCode {
    let mut command = Cli::command();
    let cli = match usage::parse(&mut command) {
        Ok(cli) => cli,
        Err(usage) => {
            // Help and version are no errors and go to stdout.
            let code = if usage.use_stderr() {
                ExitCode::from(EX_USAGE)
            } else {
                ExitCode::SUCCESS
            };
            let _ = usage.print();
            return code;
        }
    };
    let warnings = usage::unknown_variables(&command);
    if !matches!(cli.command, Command::Serve(_)) {
        for warning in &warnings {
            complain(&format!("warning: {warning}"));
        }
    }
    let result = match cli.command {
        Command::Serve(args) => serve(*args, &warnings),
        Command::Check(args) => check(&args),
        Command::Diff(args) => diff(&args),
        Command::Release(args) => release::run(args),
        Command::Produce(args) => produce::run(&args),
        Command::Consume(args) => consume::run(&args),
        Command::DeadLetter(args) => dead_letter::run(&args),
        Command::Seek(args) => seek::run(&args),
        Command::Topics(args) => topics::run(*args),
        Command::Status(args) => control::status(&args),
        Command::Tenants(args) => control::tenants(&args),
        Command::Deploy(args) => control::deploy(&args),
        Command::Revisions(args) => control::revisions(&args),
        Command::Rollback(args) => control::rollback(&args),
        Command::Pause(args) => control::pause(&args),
        Command::Promote(args) => control::promote(&args),
        Command::Resume(args) => control::resume(&args),
        Command::Reload(args) => control::reload(&args),
        Command::Drain(args) => control::drain(&args),
        Command::LogLevel(args) => control::log_level(&args),
        Command::Health(args) => health::run(&args),
    };
    result.unwrap_or_else(|error| {
        complain(&format!("error: {error:#}"));
        ExitCode::FAILURE
    })
}

fn serve(args: ServeArgs, warnings: &[String]) -> anyhow::Result<ExitCode> {
    let config = match ServeConfig::resolve(args.into()) {
        Ok(config) => config,
        Err(problems) => {
            // A mistyped variable is often why something else is missing.
            for problem in problems.iter().chain(warnings) {
                complain(problem);
            }
            return Ok(ExitCode::from(EX_USAGE));
        }
    };
    let log = telemetry::init(config.log_format, config.log.as_deref());
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let runtime = async_runtime()?;
    let result = runtime.block_on(async {
        let stop = stop_signal().context("signals cannot be handled")?;
        let hangups = signal(SignalKind::hangup()).context("signals cannot be handled")?;
        let host = Host::build(config, log).await?;
        for line in host.greeting() {
            say(&line)?;
        }
        match host.run(stop, hangups).await {
            Ok(Some(report)) => {
                say(&report)?;
                Ok(ExitCode::SUCCESS)
            }
            Err(error @ crate::serve::Error::Strict { .. }) => {
                complain(&error.to_string());
                Ok(ExitCode::from(EX_USAGE))
            }
            other => other.map(|_| ExitCode::SUCCESS).map_err(Into::into),
        }
    });
    // Threads that still close a consumer must not hold the process.
    runtime.shutdown_background();
    result
}

fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let settings = args.config.as_deref().map(read_settings).transpose();
    let trust = match settings {
        Ok(settings) => settings.unwrap_or_default().trust,
        Err(problems) => {
            for problem in &problems {
                complain(problem);
            }
            return Ok(ExitCode::from(EX_USAGE));
        }
    };
    let report = async_runtime()?.block_on(async {
        let runtime = runtime(16, None)?;
        let secrets = SecretStore::new(args.secrets.clone());
        anyhow::Ok(crate::deploy::check(&args.folder, &runtime, &secrets, &trust).await)
    })?;
    for handler in &report.handlers {
        say(handler)?;
    }
    for warning in &report.warnings {
        complain(&format!("warning: {warning}"));
    }
    for problem in &report.problems {
        complain(problem);
    }
    if report.problems.is_empty() {
        say(&format!(
            "{}, all good",
            counted(report.handlers.len(), "handler")
        ))?;
        return Ok(ExitCode::SUCCESS);
    }
    complain(&counted(report.problems.len(), "problem"));
    Ok(ExitCode::from(EX_USAGE))
}

fn diff(args: &DiffArgs) -> anyhow::Result<ExitCode> {
    let (runtime, secrets) = (runtime(16, None)?, SecretStore::new(args.secrets.clone()));
    let difference = crate::deploy::diff(&args.folder, &args.handlers, &runtime, &secrets);
    for handler in &difference.handlers {
        say(handler)?;
    }
    for problem in &difference.problems {
        complain(problem);
    }
    let (changes, same) = (difference.handlers.len(), difference.same);
    say(&format!("{}, {same} the same", counted(changes, "change")))?;
    if difference.problems.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    complain(&counted(difference.problems.len(), "problem"));
    Ok(ExitCode::from(EX_USAGE))
}

fn counted(n: usize, what: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} {what}{s}")
}

fn async_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the async runtime cannot be made")
}

/// Returns what is ready at the first SIGTERM or SIGINT; a second one ends the process at once.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let (mut term, mut int) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let (told, mut first) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        for again in [false, true] {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            if again {
                complain("stopped by a second signal; records under way will be handled again");
                std::process::exit(130);
            }
            let _ = told.send(true);
        }
    });
    Ok(async move {
        let _ = first.changed().await;
    })
}

fn say(line: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{line}")
}

fn complain(line: &str) {
    // Nowhere is left to complain that stderr is gone.
    let _ = writeln!(std::io::stderr(), "{line}");
}
