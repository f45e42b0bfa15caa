//! `topics`: shows which topics the handlers of a folder need, and creates those that do not exist.
//!
//! It is handed the flags and the file that `serve` is, reads the manifests and asks the brokers. What has to be done is
//! decided in `topics`, and done by `topic_admin`.
//! **Invariant:** `plan` changes nothing; `apply` deletes nothing, changes no setting, and adds partitions only where it is
//! told to.

mod print;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;

use self::print::{Outcome, Printer};
use super::console::Console;
use super::{EX_USAGE, async_runtime, complain, connect, say};
use crate::config::{Brokers, Given, ServeConfig};
use crate::deploy::find_manifests;
use crate::ids::{HandlerId, TopicName};
use crate::manifest::Manifest;
use crate::topic_admin::TopicAdmin;
use crate::topics::{Item, NewTopic, Raise, Verdict, Wanted, conflict, plan, wanted};

/// The exit code of a plan that has something to do.
const EX_SOMETHING_TO_DO: u8 = 2;
/// How long the brokers get for each answer.
const TIMEOUT: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
Examples:
  kafka-wasm-host topics plan --handlers handlers/ --brokers kafka:9092
  kafka-wasm-host topics apply --handlers handlers/ --brokers kafka:9092
  kafka-wasm-host topics apply --config host.toml --raise-partitions

Topics are declared in handler.toml, by tables [[topic]]. Those that a handler needs besides, for dead letters, retries,
replays, parked keys and responses, need no table. Topics that a handler reads are created only where they are declared.

Each line begins with what is to be done: + it does not exist and is created, ! it does not exist and nobody declares it,
~ it is not as declared, ? the brokers do not tell, = nothing.
apply never deletes a topic, never takes partitions away and never changes settings: what differs is shown, with the
command of Kafka's own tools that would change it.
Exit code of plan: 0 nothing to do, 2 something to do. Of both: 1 the brokers do not answer or refuse, 64 wrong usage or
manifests.";

/// Shows and creates the topics that handlers declare or need
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct TopicsArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Command {
    /// Show what `apply` would do, and what differs; changes nothing
    #[command(after_help = EXAMPLES)]
    Plan(ReachArgs),
    /// Create the topics that do not exist
    #[command(after_help = EXAMPLES)]
    Apply(ApplyArgs),
}

/// Whose topics, and where; as `serve` is told.
#[derive(Debug, Clone, clap::Args)]
struct ReachArgs {
    /// Folder of the handlers
    #[arg(long, env = "KAFKA_WASM_HANDLERS", value_name = "DIR")]
    handlers: Option<PathBuf>,
    /// The brokers to ask first, as host:port,host:port
    #[arg(long, env = "KAFKA_WASM_BROKERS", value_name = "LIST")]
    brokers: Option<String>,
    /// The file with settings of the host
    #[arg(long, env = "KAFKA_WASM_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Any setting of librdkafka, such as security.protocol=SSL; may be repeated
    #[arg(long = "kafka-setting", value_name = "KEY=VALUE", value_parser = connect::parse_pair)]
    kafka_settings: Vec<(String, String)>,
    /// Only the topics of this handler, as tenant/handler; may be repeated
    #[arg(long, value_name = "HANDLER")]
    only: Vec<HandlerId>,
    /// Print a JSON object for each topic
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, clap::Args)]
struct ApplyArgs {
    #[command(flatten)]
    reach: ReachArgs,
    /// Add partitions to topics that have fewer than declared. Later records of a key then go to other partitions than its
    /// earlier ones, so their order is lost
    #[arg(long)]
    raise_partitions: bool,
}

impl From<ReachArgs> for Given {
    fn from(args: ReachArgs) -> Self {
        Self {
            config: args.config,
            handlers: args.handlers,
            brokers: args.brokers,
            only: args.only,
            kafka: args.kafka_settings,
            ..Self::default()
        }
    }
}

/// What is to be done at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Plan,
    Apply { raises: bool },
}

/// Runs the command. Blocks, so call it outside of an async task.
pub fn run(args: TopicsArgs) -> anyhow::Result<ExitCode> {
    let (reach, mode) = match args.command {
        Command::Plan(reach) => (reach, Mode::Plan),
        Command::Apply(ApplyArgs {
            reach,
            raise_partitions: raises,
        }) => (reach, Mode::Apply { raises }),
    };
    let is_json = reach.json;
    let (config, wanted) = match subject(reach) {
        Ok(subject) => subject,
        Err(problems) => {
            for problem in problems {
                complain(&problem);
            }
            return Ok(ExitCode::from(EX_USAGE));
        }
    };
    let done = async_runtime()?.block_on(carry_out(&config, &wanted, mode))?;
    let brokers = brokers(&config);
    let printer = Printer {
        is_json,
        brokers: &brokers,
        command: &config.topics_command,
    };
    for (item, outcome) in done.items.iter().zip(&done.outcomes) {
        for line in printer.lines(item, outcome) {
            say(&line).context("the plan cannot be printed")?;
        }
    }
    let console = Console::stderr();
    console.say(&print::summary(&done.items, &done.outcomes));
    let mut all = done.items.iter().zip(&done.outcomes);
    let has_failed = all.any(|(item, outcome)| {
        matches!(outcome, Outcome::Refused(_)) || matches!(item.verdict, Verdict::Unseen(_))
    });
    Ok(match mode {
        Mode::Apply { .. } if has_failed => ExitCode::FAILURE,
        Mode::Plan if !done.items.iter().all(Item::is_fine) => ExitCode::from(EX_SOMETHING_TO_DO),
        Mode::Plan | Mode::Apply { .. } => ExitCode::SUCCESS,
    })
}

type Subject = (ServeConfig, BTreeMap<TopicName, Wanted>);

/// Reads the settings and the manifests. The error holds everything that is wrong, a line each.
fn subject(reach: ReachArgs) -> Result<Subject, Vec<String>> {
    let config = ServeConfig::resolve(reach.into())?;
    let manifests = find_manifests(&config.handlers, &config.only)?;
    let mut problems = Vec::new();
    let mut earlier: Vec<(&PathBuf, &Manifest)> = Vec::new();
    for (path, manifest) in manifests.values() {
        for (other, old) in &earlier {
            if let Some(what) = conflict(manifest, old) {
                let (path, other) = (path.display(), other.display());
                problems.push(format!("{path}: does not go together with {other}: {what}"));
            }
        }
        earlier.push((path, manifest));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let handlers = manifests.iter().map(|(id, (_, manifest))| (id, manifest));
    let wanted = wanted(handlers);
    Ok((config, wanted))
}

fn brokers(config: &ServeConfig) -> String {
    match &config.brokers {
        Brokers::Cluster(list) => list.clone(),
        Brokers::Embedded => String::new(),
    }
}

/// What is to be done, and what was.
struct Done {
    items: Vec<Item>,
    /// One for each item.
    outcomes: Vec<Outcome>,
}

/// Asks, decides, and does what it may.
async fn carry_out(
    config: &ServeConfig,
    wanted: &BTreeMap<TopicName, Wanted>,
    mode: Mode,
) -> anyhow::Result<Done> {
    let mut settings = config.kafka.clone();
    settings.insert("bootstrap.servers".to_owned(), brokers(config));
    settings.insert("client.id".to_owned(), "kafka-wasm-host".to_owned());
    let kafka = TopicAdmin::new(settings, TIMEOUT);
    let cluster = kafka
        .look(wanted)
        .await
        .with_context(|| format!("cannot ask for topics at {}", brokers(config)))?;
    let items = plan(wanted, &cluster);
    let created: Vec<NewTopic> = items.iter().filter_map(Item::creation).cloned().collect();
    let raised: Vec<Raise> = match mode {
        Mode::Apply { raises: true } => items.iter().filter_map(Item::raise).collect(),
        Mode::Apply { raises: false } | Mode::Plan => Vec::new(),
    };
    // Brokers know best what they would refuse, so the plan asks them as well.
    let mut refused = kafka.create(&created, mode == Mode::Plan).await;
    refused.extend(kafka.raise(&raised).await);
    let outcome = |item: &Item| {
        let name = &item.wanted.name;
        if let Some(why) = refused.get(name) {
            return Outcome::Refused(why.clone());
        }
        let is_created = item.creation().is_some();
        match mode {
            Mode::Apply { .. } if is_created => Outcome::Created,
            Mode::Apply { .. } if raised.iter().any(|raise| raise.name == *name) => Outcome::Raised,
            Mode::Plan | Mode::Apply { .. } => Outcome::Nothing,
        }
    };
    let outcomes = items.iter().map(outcome).collect();
    Ok(Done { items, outcomes })
}
