//! `status`, `tenants`, `deploy`, `revisions`, `rollback`, `promote`, `pause`, `resume`, `reload`: asks a running host by its control
//! API.
//!
//! Handed an address and perhaps a handler; prints what the host answers, for people or as it is.
//! **Invariant:** a token comes from a file, never from the command line, and is not printed.

mod client;
mod deploy;
mod host;
mod print;
mod tenants;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::{Value, json};

use self::client::{Ask, ask};
pub use self::deploy::{DeployArgs, deploy};
pub use self::host::{DrainArgs, LogLevelArgs, drain, log_level};
pub use self::tenants::{TenantsArgs, tenants};
use super::{complain, say};
use crate::ids::HandlerId;

/// Where the host is, and how the answer is printed.
#[derive(Debug, Clone, clap::Args)]
pub struct HostArgs {
    /// Where the host serves HTTP; with https:// before it where that is TLS
    #[arg(
        long,
        env = "KAFKA_WASM_HTTP",
        value_name = "ADDR",
        default_value = "127.0.0.1:8080"
    )]
    http: String,
    /// File with the token to ask with, where the host wants one
    #[arg(long, env = "KAFKA_WASM_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// File with certificates to trust besides the system's, in PEM
    #[arg(long, env = "KAFKA_WASM_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Print the answer as the host gives it, in JSON
    #[arg(long)]
    json: bool,
}

/// Say what the handlers of a running host do
///
/// Without a handler, one line for each of them. With one, its revision, what stands in its way, and each partition that
/// this host reads for it: the next offset after a restart, the records behind it, those under way and those that wait for
/// another attempt, and parked keys.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  kafka-wasm-host status
  kafka-wasm-host status acme/orders --json")]
pub struct StatusArgs {
    /// The handler, as tenant/handler; all when left out
    #[arg(value_name = "HANDLER")]
    handler: Option<HandlerId>,
    #[command(flatten)]
    host: HostArgs,
}

/// List the revisions of a handler that a host keeps
///
/// The host keeps them where `state` in its host.toml, or serve --state, names a folder.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Example:
  kafka-wasm-host revisions acme/orders")]
pub struct RevisionsArgs {
    /// The handler, as tenant/handler
    #[arg(value_name = "HANDLER")]
    handler: HandlerId,
    #[command(flatten)]
    host: HostArgs,
}

/// Let a host serve an earlier revision of a handler
///
/// It is loaded and tried out as a deployment is, and serves as long as the files in the handlers folder are those that it
/// replaces, also when the host starts again; new files there are deployed as ever. What its tenant may do is what
/// tenant.toml says now.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  kafka-wasm-host rollback acme/orders
  kafka-wasm-host rollback acme/orders --to 0a1b2c")]
pub struct RollbackArgs {
    /// The handler, as tenant/handler
    #[arg(value_name = "HANDLER")]
    handler: HandlerId,
    /// The revision, or the first digits of its name; the one before that which serves when left out
    #[arg(long, value_name = "REVISION")]
    to: Option<String>,
    #[command(flatten)]
    host: HostArgs,
}

/// Let the revision of a handler serve that is tried beside another one
///
/// A canary (deploy.canary in its manifest) has all keys from then on, and a shadow (deploy.shadow) sends what it emits. `rollback`
/// ends the trial instead. Each host is asked for itself.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Example:
  kafka-wasm-host promote acme/orders")]
pub struct PromoteArgs {
    /// The handler, as tenant/handler
    #[arg(value_name = "HANDLER")]
    handler: HandlerId,
    #[command(flatten)]
    host: HostArgs,
}

/// Hand no more records to a handler, until `resume`
///
/// What it has in hand is finished and committed. Its partitions stay with the host, and stand; so do those that other
/// handlers of the same group read with it.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Example:
  kafka-wasm-host pause acme/orders")]
pub struct PauseArgs {
    /// The handler, as tenant/handler
    #[arg(value_name = "HANDLER")]
    handler: HandlerId,
    #[command(flatten)]
    host: HostArgs,
}

/// Let a handler go on that was paused, with the next record
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Example:
  kafka-wasm-host resume acme/orders")]
pub struct ResumeArgs {
    /// The handler, as tenant/handler
    #[arg(value_name = "HANDLER")]
    handler: HandlerId,
    #[command(flatten)]
    host: HostArgs,
}

/// Have a running host read its settings again
///
/// It reads host.toml, the file of tokens, and what has changed in the handlers folder and in that of the secrets. What can
/// change while it runs does; all else that differs is named and needs a restart. A file with anything wrong in it changes
/// nothing. SIGHUP does the same.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Example:
  kafka-wasm-host reload")]
pub struct ReloadArgs {
    #[command(flatten)]
    host: HostArgs,
}

/// Runs `status`.
pub fn status(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    match &args.handler {
        None => args
            .host
            .run(&Ask::get("/v1/handlers".to_owned()), print::handlers),
        Some(id) => args.host.run(&Ask::get(path(id, "")), print::handler),
    }
}

/// Runs `revisions`.
pub fn revisions(args: &RevisionsArgs) -> anyhow::Result<ExitCode> {
    let ask = Ask::get(path(&args.handler, "/revisions"));
    args.host.run(&ask, print::revisions)
}

/// Runs `rollback`.
pub fn rollback(args: &RollbackArgs) -> anyhow::Result<ExitCode> {
    let body = match &args.to {
        Some(to) => json!({ "to": to }),
        None => json!({}),
    };
    let ask = Ask::post(path(&args.handler, "/rollback"), &body);
    args.host.run(&ask, |answer| {
        print::served(answer, "is asked to roll back")
    })
}

/// Runs `promote`.
pub fn promote(args: &PromoteArgs) -> anyhow::Result<ExitCode> {
    let ask = Ask::post(path(&args.handler, "/promote"), &json!({}));
    args.host
        .run(&ask, |answer| print::served(answer, "is asked to promote"))
}

/// Runs `pause`.
pub fn pause(args: &PauseArgs) -> anyhow::Result<ExitCode> {
    let ask = Ask::post(path(&args.handler, "/pause"), &json!({}));
    args.host
        .run(&ask, |answer| print::changed(answer, "is paused"))
}

/// Runs `resume`.
pub fn resume(args: &ResumeArgs) -> anyhow::Result<ExitCode> {
    let ask = Ask::post(path(&args.handler, "/resume"), &json!({}));
    args.host
        .run(&ask, |answer| print::changed(answer, "goes on"))
}

/// Runs `reload`.
pub fn reload(args: &ReloadArgs) -> anyhow::Result<ExitCode> {
    let ask = Ask::post("/v1/reload".to_owned(), &json!({}));
    args.host.run(&ask, print::reloaded)
}

fn path(id: &HandlerId, rest: &str) -> String {
    format!("/v1/handlers/{id}{rest}")
}

impl HostArgs {
    /// Asks; returns the answer, and as it came.
    fn ask(&self, what: &Ask) -> anyhow::Result<(Value, String)> {
        let token = self.token()?;
        let (status, body) = ask(&self.http, what, token.as_deref(), self.ca_file.as_deref())?;
        let answer: Value = serde_json::from_str(&body).unwrap_or(Value::Null);
        if !(200..300).contains(&status) {
            let why = answer.get("error").and_then(Value::as_str);
            let why = why.unwrap_or_else(|| body.trim());
            anyhow::bail!("{} answers {status}: {why}", self.http);
        }
        Ok((answer, body))
    }

    /// Asks, and prints the answer.
    fn run(&self, what: &Ask, print: impl Fn(&Value) -> String) -> anyhow::Result<ExitCode> {
        let (answer, body) = self.ask(what)?;
        if self.json {
            say(body.trim_end())?;
            return Ok(ExitCode::SUCCESS);
        }
        say(print(&answer).trim_end())?;
        if let Some(note) = answer.get("note").and_then(Value::as_str) {
            complain(&format!("note: {note}"));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn token(&self) -> anyhow::Result<Option<String>> {
        let Some(path) = &self.token_file else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{}: cannot be read", path.display()))?;
        let token = text.trim();
        let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        anyhow::ensure!(
            is_token,
            "{}: this is no token (one word of visible ASCII characters)",
            path.display()
        );
        Ok(Some(token.to_owned()))
    }
}
