//! `drain` and `loglevel`: what is asked of a host as a whole.

use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::Ask;
use super::print::text;
use super::{HostArgs, complain, say};

/// How often it is asked whether a host has drained.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const DRAIN: &str = "/v1/drain";
const LOG_LEVEL: &str = "/v1/loglevel";

/// Let a host finish what it has in hand and leave its groups; it waits to be stopped then
///
/// The command ends when the host has drained, so it can be what an orchestrator does before it stops a container. /readyz
/// says no from then on; health, metrics and the control API go on until the host is stopped.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Example:
  kafka-wasm-host drain

The exit code is 1 where something was left open: its records are handled again by other hosts.")]
pub struct DrainArgs {
    #[command(flatten)]
    host: HostArgs,
}

/// Show or change what a host logs, while it runs
///
/// Without directives, they are shown. They are those of `RUST_LOG`: a level for all, and levels for targets; guest is what
/// handlers say. They hold until the host ends.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  kafka-wasm-host loglevel
  kafka-wasm-host loglevel info,guest=debug")]
pub struct LogLevelArgs {
    /// What is to be logged, such as info,guest=debug
    #[arg(value_name = "DIRECTIVES")]
    directives: Option<String>,
    #[command(flatten)]
    host: HostArgs,
}

/// Runs `drain`.
pub fn drain(args: &DrainArgs) -> anyhow::Result<ExitCode> {
    let (host, mut ask) = (&args.host, Ask::post(DRAIN.to_owned(), &json!({})));
    loop {
        let (answer, body) = &host.ask(&ask)?;
        if answer["state"] == "draining" {
            ask = Ask::get(DRAIN.to_owned());
            sleep(LOOK_EVERY);
            continue;
        }
        if host.json {
            say(body.trim_end())?;
        } else {
            say(&format!(
                "{} has drained, and waits to be stopped",
                host.http
            ))?;
        }
        let left_open = answer["left-open"].as_array().into_iter().flatten();
        let mut code = ExitCode::SUCCESS;
        for what in left_open {
            complain(&text(what));
            code = ExitCode::FAILURE;
        }
        return Ok(code);
    }
}

/// Runs `loglevel`.
pub fn log_level(args: &LogLevelArgs) -> anyhow::Result<ExitCode> {
    let path = LOG_LEVEL.to_owned();
    match &args.directives {
        None => args.host.run(&Ask::get(path), |it| text(&it["directives"])),
        Some(directives) => {
            let body = json!({ "directives": directives });
            args.host.run(&Ask::put_json(path, &body), changed)
        }
    }
}

fn changed(answer: &Value) -> String {
    let (now, was) = (text(&answer["directives"]), text(&answer["was"]));
    format!("logs {now} (before it {was})")
}
