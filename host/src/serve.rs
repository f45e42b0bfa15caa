//! Putting a host together and running it: the only file that names every part.
//!
//! **Invariant:** a stop is orderly in this order: no new deployments, partitions drained and committed, producers
//! flushed; each within its deadline.

mod clients;
mod folders;
mod http;
mod once;
mod reload;
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use self::clients::{Clients, embedded};
pub(crate) use self::folders::runtime;
use self::folders::{cache, state_folder};
use self::http::{admin, control};
use self::once::{Done, Ended};
use self::reload::Helm;
use crate::admin::{Admin, View};
use crate::assignment::Flow;
use crate::catalog::{Catalog, CatalogReader};
use crate::config::ServeConfig;
use crate::deploy::{Board, Deployer, EXPECTED, FolderWatch, Order, SecretStore};
use crate::dev_broker::DevBroker;
use crate::duration::millis;
use crate::reply::{Store, client};
use crate::settings::{RedisSettings, trusted};
use crate::sinks::Sinks;
use crate::stats::Registry;
use crate::steps::Steps;
use crate::stop::Draining;
use crate::subscriptions::Subscriptions;
use crate::telemetry::LogLevel;
use crate::watcher::{Watch, Watched, Watcher};

/// How long closing the clients may take beyond the drain deadline.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// Why a host cannot be built or goes down.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The WebAssembly engine cannot be made.
    #[error("{0}")]
    Runtime(String),
    /// The embedded broker cannot be started.
    #[error("the embedded broker cannot be started: {0}")]
    DevBroker(String),
    /// What host.toml says of the reply store cannot be used any more.
    #[error("{0}")]
    ReplyStore(String),
    /// The address for health and metrics cannot be bound.
    #[error("{0}")]
    Admin(String),
    /// The host was to end by itself and could not do what it was to do first.
    #[error("{what}\n{}", problems.join("\n"))]
    Unfinished {
        /// What it did.
        what: String,
        /// What stood in the way, a line each.
        problems: Vec<String>,
    },
    /// Another host keeps its revisions in the same folder.
    #[error("{0}")]
    State(String),
    /// `strict`, and something is wrong with the handlers.
    #[error("refusing to start, because {flag} is given and something is wrong with the handlers:\n{}", problems.join("\n"))]
    Strict {
        /// The flag that asks for it.
        flag: &'static str,
        /// What is wrong, a line each.
        problems: Vec<String>,
    },
    /// The watchdog is to end the host when something stalls, and something does.
    #[error("{0}; the host ends because watchdog.action is \"exit\" in host.toml")]
    Stalled(String),
}

/// What may be asked of the deployer while it is busy.
const ORDERS_MAX: usize = 16;

/// A host that is ready to run.
pub struct Host {
    config: ServeConfig,
    deployer: Deployer,
    /// What is asked of the deployer, and of the host.
    orders: mpsc::Receiver<Order>,
    helm: Helm,
    view: Arc<View>,
    admin: Option<Admin>,
    /// Lives as long as the host; the others find it by its address.
    dev_broker: Option<Arc<DevBroker>>,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Host {
    /// Puts the parts together. To be called within the async runtime; nothing is consumed yet.
    pub async fn build(config: ServeConfig, log: LogLevel) -> Result<Self, Error> {
        let runtime = runtime(config.instances_max, cache(&config))?;
        let places = Arc::clone(runtime.places());
        let dev_broker = embedded(&config.brokers)?;
        let clients = Clients::new(&config, dev_broker.as_deref());
        let store = reply_store(config.response.as_ref())?;
        let exchanges = Arc::new(clients.exchanges(config.instances_max).with_store(store));
        let board = Arc::new(Board::default());
        let topics = clients.topic_keeper(&config, dev_broker.clone(), &board);
        let audit = Arc::new(clients.audit(&config));
        let (publish, catalog) = watch::channel(Arc::new(Catalog::default()));
        let registry = Arc::new(Registry::default());
        let flow = flow(&config, &catalog, &registry);
        let subscriptions = Arc::new(Mutex::new(Subscriptions::new(
            flow,
            clients.consumer,
            clients.producer.clone(),
            config.until_caught_up,
            Steps::new(config.steps.clone()),
        )));
        let sinks = Arc::new(Sinks::new(clients.producer));
        let state = state_folder(&config).await?;
        let (orderer, orders) = mpsc::channel(ORDERS_MAX);
        let (reloader, helm) = Helm::new(config.origin.clone());
        let deployer = Deployer {
            folder: config.handlers.clone(),
            only: config.only.clone(),
            runtime,
            sinks: Arc::clone(&sinks),
            exchanges: Arc::clone(&exchanges),
            catalog: publish,
            subscriptions: Arc::clone(&subscriptions),
            board: Arc::clone(&board),
            topics,
            registry: Arc::clone(&registry),
            state: state.clone(),
            secrets: SecretStore::new(config.secrets.clone()),
            trust: Arc::new(config.trust.clone()),
            trusted: trusted(&config.tenants),
            audit: Arc::clone(&audit),
            known: BTreeMap::new(),
            paused: BTreeSet::new(),
            is_changed: false,
            alarm: Arc::default(),
        };
        let view = Arc::new(View {
            registry,
            catalog,
            subscriptions,
            sinks,
            exchanges,
            board,
            places,
            draining: AtomicBool::new(false),
            watched: Arc::new(Watched::new(&config.watchdog)),
            control: control(&config, (orderer, reloader), state, (audit, log)),
        });
        let admin = admin(&config).await?;
        Ok(Self {
            config,
            deployer,
            orders,
            helm,
            view,
            admin,
            dev_broker,
        })
    }

    /// Returns what a user should know before the first log line.
    pub fn greeting(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(broker) = &self.dev_broker {
            lines.push(format!(
                "embedded broker at {} (nothing is kept)",
                broker.bootstrap()
            ));
        }
        if let Some(admin) = &self.admin {
            let with = if admin.has_tls() { " with TLS" } else { "" };
            lines.push(format!("http on {}{with}", admin.addr()));
        }
        lines
    }

    /// Serves until `stop` is ready, or until it ends by itself where it shall; then drains and closes everything.
    ///
    /// Reads its settings again at each of `hangups`. Returns what a host did that ended by itself.
    pub async fn run(
        mut self,
        stop: impl Future<Output = ()>,
        hangups: Signal,
    ) -> Result<Option<String>, Error> {
        let (quit, _) = watch::channel(false);
        if let Some(admin) = self.admin.take() {
            let mut quit = quit.subscribe();
            let view = Arc::clone(&self.view);
            tokio::spawn(async move {
                let stopped = async move {
                    let _ = quit.changed().await;
                };
                if let Err(error) = admin.serve(view, stopped).await {
                    tracing::error!(%error, "health and metrics are gone");
                }
            });
        }
        self.helm.hear(hangups);
        let mut watch = self.watch()?;
        tokio::pin!(stop);
        let (mut drain, mut is_stopped) = (self.view.control.drain.subscribe(), false);
        // A look may take long: it waits for trial runs.
        let ended = tokio::select! {
            biased;
            () = &mut stop => {
                is_stopped = true;
                None
            }
            _ = drain.wait_for(|it| *it == Draining::Asked) => None,
            refused = serve(&self.config, &mut self.deployer, (&mut self.orders, &mut self.helm), &self.view) => return Err(refused),
            ended = once::ended(&self.config, &self.view) => Some(ended),
            never = steps::tend(&self.view) => match never {},
            what = watch.verdict() => Some(Ended::Stalled(what)),
        };
        self.turn_away();
        // Whatever takes its time from now on has a deadline.
        drop(watch);
        let left_open = self.drain().await;
        let control = &self.view.control;
        if *control.drain.borrow() == Draining::Asked {
            let done = Draining::Done(left_open.clone());
            control.drain.send_replace(done);
            // Whoever was told to stop as well, or ends by itself, waits no longer.
            if ended.is_none() && !is_stopped {
                tracing::info!("drained; the host waits to be stopped");
                stop.await;
            }
        }
        control.audit.settle(CLOSE_MAX).await;
        let _ = quit.send(true);
        self.report(ended, left_open)
    }

    /// Takes note of what was asked and will not be looked at any more.
    fn turn_away(&mut self) {
        self.orders.close();
        while let Ok(order) = self.orders.try_recv() {
            self.deployer.turn_away(&order);
        }
        self.helm.turn_away(&self.deployer.audit);
    }

    fn watch(&self) -> Result<Watch, Error> {
        let watcher = Watcher {
            drain_timeout: self.config.drain_timeout,
            subscriptions: Arc::clone(&self.view.subscriptions),
            catalog: self.view.catalog.clone(),
            watched: Arc::clone(&self.view.watched),
        };
        watcher
            .start()
            .map_err(|error| Error::Runtime(format!("the watchdog cannot be started: {error}")))
    }

    /// Says what a host did that was to end by itself.
    fn report(
        &self,
        ended: Option<Ended>,
        left_open: Vec<String>,
    ) -> Result<Option<String>, Error> {
        let done = Done::of(&self.view).report();
        let (what, mut problems) = match ended {
            None if !self.config.until_caught_up => return Ok(None),
            None => {
                let why = "told to stop before it had caught up";
                ("not caught up", vec![why.to_owned()])
            }
            Some(Ended::Stalled(what)) => return Err(Error::Stalled(what)),
            Some(Ended::Stuck(problems)) => ("not caught up", problems),
            Some(Ended::CaughtUp) => ("caught up", Vec::new()),
            Some(Ended::Enough) => ("stopped at --max-records", Vec::new()),
        };
        let what = format!("{what}; {done}");
        problems.extend(left_open);
        if problems.is_empty() {
            return Ok(Some(what));
        }
        Err(Error::Unfinished { what, problems })
    }

    /// Lets partitions finish, commit and leave; then flushes the producers. Returns what was left open.
    async fn drain(&mut self) -> Vec<String> {
        tracing::info!(
            drain_timeout_ms = millis(self.config.drain_timeout),
            "stopping"
        );
        self.view.draining.store(true, Ordering::Relaxed);
        let began = Instant::now();
        let deadline = began + self.config.drain_timeout + CLOSE_MAX;
        let mut left_open = Vec::new();
        let sources = self.view.subscriptions.lock().status();
        let threads = self.view.subscriptions.lock().stop_all();
        let left = tokio::task::spawn_blocking(move || join_until(threads, deadline))
            .await
            .unwrap_or(0);
        if left > 0 {
            let what = "consumers did not close in time; their records will be handled again";
            tracing::warn!(consumers = left, "{what}");
            left_open.push(what.to_owned());
        }
        let uncommitted = sources.iter().filter(|(_, status)| status.is_uncommitted());
        left_open.extend(uncommitted.map(|((_, group), _)| {
            format!("the last positions of group {group} could not be committed")
        }));
        let sinks = self.view.sinks.open();
        let flushed =
            tokio::task::spawn_blocking(move || sinks.iter().all(|sink| sink.flush(CLOSE_MAX)))
                .await;
        if !flushed.unwrap_or(false) {
            let what =
                "some outputs were not acknowledged in time; their records will be handled again";
            tracing::warn!("{what}");
            left_open.push(what.to_owned());
        }
        let exchanges = Arc::clone(&self.view.exchanges);
        let has_left = tokio::task::spawn_blocking(move || exchanges.leave(CLOSE_MAX)).await;
        if !has_left.unwrap_or(false) {
            tracing::warn!(
                "not all groups of responses were left in time; others read in their place after 10 s"
            );
        }
        tracing::info!(took_ms = millis(began.elapsed()), "stopped");
        left_open
    }
}

/// Looks for changes of the handlers folder until it is dropped; returns only where `strict` refuses to start.
async fn serve(
    config: &ServeConfig,
    deployer: &mut Deployer,
    (orders, helm): (&mut mpsc::Receiver<Order>, &mut Helm),
    view: &View,
) -> Error {
    let mut watch = FolderWatch::start(&config.handlers, config.secrets.as_deref());
    if let Some(refusal) = first_look(config, deployer, view).await {
        return refusal;
    }
    let alarm = Arc::clone(&deployer.alarm);
    loop {
        // Orders do not begin the wait anew: whoever has many would keep the folder from being looked at.
        let changed = watch.changed();
        tokio::pin!(changed);
        loop {
            tokio::select! {
                () = &mut changed => break,
                () = alarm.notified() => deployer.look().await,
                Some(order) = orders.recv() => deployer.obey(order).await,
                asked = helm.asked() => helm.turn(asked, deployer, view).await,
            }
        }
        deployer.look().await;
    }
}

/// Deploys what lies in the handlers folder; returns why it is refused to start, where it is.
async fn first_look(config: &ServeConfig, deployer: &mut Deployer, view: &View) -> Option<Error> {
    let first = deployer.load().await;
    let unknown = config.steps.unknown(&deployer.names());
    if (config.strict || config.until_caught_up) && !(first.is_fine() && unknown.is_empty()) {
        let flag = if config.strict {
            "--strict"
        } else {
            "--until-caught-up"
        };
        let mut problems = first.problems();
        problems.extend(
            unknown
                .iter()
                .map(|(handler, why)| format!("{handler} {why}")),
        );
        return Some(Error::Strict { flag, problems });
    }
    deployer.take_up(first).await;
    if view.catalog.borrow().handlers().next().is_none() {
        tracing::warn!(folder = %config.handlers.display(), "no handlers serve yet; waiting for some ({EXPECTED})");
    }
    None
}

/// Makes what the tasks of partitions share.
fn flow(config: &ServeConfig, catalog: &CatalogReader, registry: &Arc<Registry>) -> Flow {
    Flow {
        runtime: Handle::current(),
        catalog: catalog.clone(),
        registry: Arc::clone(registry),
        drain_timeout: config.drain_timeout,
    }
}

/// Begins to connect to the Redis that hosts share, where they do.
fn reply_store(settings: Option<&RedisSettings>) -> Result<Option<Store>, Error> {
    let start = |settings: &RedisSettings| Ok(Store::start(client(settings)?, settings.key));
    settings.map(start).transpose().map_err(Error::ReplyStore)
}

/// Waits for threads to end; returns how many have not.
fn join_until(mut threads: Vec<JoinHandle<()>>, deadline: Instant) -> usize {
    while !threads.is_empty() && Instant::now() < deadline {
        threads.retain(|thread| !thread.is_finished());
        std::thread::sleep(Duration::from_millis(2));
    }
    threads.len()
}
