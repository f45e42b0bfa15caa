//! Redis as the store that the hosts of a group share.
//!
//! Owns one connection, over which commands go and by which the host hears what others tell; makes another one whenever it
//! is of no use any more.
//! **Invariant:** nobody waits for Redis longer than a command may take; while it is out of reach, everybody is told so at
//! once. After each new connection all requests that wait are looked at, so that nothing is missed that Redis still has.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, Pipeline, PushInfo, PushKind, RedisError,
    RedisResult, Value,
};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Link;
use super::client::{Fault, is_refusal};
use crate::response::KeyForm;
use crate::stats::Counter;

/// How long a command may take, and a new connection.
const COMMAND_MAX: Duration = Duration::from_secs(2);
/// How long it takes until Redis is tried again; doubled after each time, up to the second.
const REST: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// How long after a break nothing is told: the other hosts may not hear yet, and Redis may have forgotten what they asked.
const SETTLE: Duration = Duration::from_secs(2);
/// How often a connection is tried that nobody uses.
const PING_EVERY: Duration = Duration::from_secs(5);
/// How often all requests are looked at where a response may be written by a process that tells nobody.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many requests are looked at in one command: Redis closes a connection that messages come over when an answer of more
/// than 32 MB waits for it, and a response may have a megabyte.
const LOOK_MAX: usize = 25;
/// How long kafka-python-app keeps a response.
const COMPAT_TTL_SECS: u64 = 30;

/// A response to be handed on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'a> {
    pub(super) key: &'a str,
    /// What is stored under the key.
    pub(super) stored: &'a [u8],
    /// What is told to the hosts of the group.
    pub(super) told: &'a [u8],
}

/// What became of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// It is told, and stored unless Redis has no room.
    Done,
    /// It is told; there is no such request in Redis.
    Unasked,
}

/// What Redis is like.
#[derive(Debug, Clone)]
enum State {
    /// It was not tried yet.
    Unknown,
    Up(Line),
    /// Why.
    Down(String),
}

/// A connection, with a number of its own.
#[derive(Debug, Clone)]
struct Line {
    number: u64,
    made_at: Instant,
    connection: MultiplexedConnection,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Store {
    shared: Arc<Shared>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    form: KeyForm,
    state: watch::Sender<State>,
    links: Mutex<Vec<Weak<Link>>>,
    /// A link came, or the connection is of no use any more.
    news: Notify,
    errors: Counter,
}

impl Store {
    /// Begins to connect. To be called within the async runtime.
    pub(crate) fn start(client: Client, form: KeyForm) -> Self {
        let shared = Arc::new(Shared {
            client,
            form,
            state: watch::Sender::new(State::Unknown),
            links: Mutex::default(),
            news: Notify::new(),
            errors: Counter::default(),
        });
        let task = tokio::spawn(Arc::clone(&shared).keep()).abort_handle();
        Self { shared, task }
    }

    /// Returns how requests are named.
    pub(crate) fn form(&self) -> KeyForm {
        self.shared.form
    }

    /// Returns whether Redis answered when it was last asked.
    pub(crate) fn is_up(&self) -> bool {
        matches!(&*self.shared.state.borrow(), State::Up(_))
    }

    /// Returns how many commands and connections have failed.
    pub(crate) fn errors(&self) -> u64 {
        self.shared.errors.get()
    }

    /// Has a link told what it is to hear.
    pub(super) fn join(&self, link: &Arc<Link>) {
        self.shared.links.lock().push(Arc::downgrade(link));
        self.shared.news.notify_one();
    }

    /// Writes a name without a response, for so many seconds.
    pub(super) async fn announce(
        &self,
        key: &str,
        ttl_secs: u64,
        deadline: Instant,
    ) -> Result<(), String> {
        let mut set = redis::cmd("SET");
        set.arg(key).arg("").arg("EX").arg(ttl_secs);
        let announced = async {
            let mut line = self.shared.line().await?;
            self.shared.ask(&mut line, &set).await
        };
        let announced = timeout_at(deadline, announced).await;
        let announced = announced.unwrap_or_else(|_| Err(Fault::out_of_reach("no answer in time")));
        announced.map_err(|fault| self.shared.words(&fault))
    }

    /// Stores responses under names that are there already, and tells all of them to the hosts of a group.
    pub(super) async fn tell(
        &self,
        channel: &str,
        items: &[Item<'_>],
    ) -> Result<Vec<Written>, String> {
        let written = self.shared.tell(channel, items).await;
        written.map_err(|fault| self.shared.words(&fault))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    /// Connects for ever.
    async fn keep(self: Arc<Self>) {
        let mut rest = REST.0;
        for number in 0.. {
            let fault = match self.connect(number).await {
                Ok(line) => {
                    let made_at = line.made_at;
                    let fault = self.attend(line).await;
                    // One that was of no use from the beginning is no reason to hurry.
                    if made_at.elapsed() > PING_EVERY {
                        rest = REST.0;
                    }
                    fault
                }
                Err(fault) => fault,
            };
            self.set_down(fault.why);
            sleep(rest).await;
            rest = (rest * 2).min(REST.1);
        }
    }

    async fn connect(self: &Arc<Self>, number: u64) -> Result<Line, Fault> {
        let shared = Arc::downgrade(self);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(COMMAND_MAX))
            .set_response_timeout(Some(COMMAND_MAX))
            .set_push_sender(move |push: PushInfo| {
                if let Some(shared) = shared.upgrade() {
                    shared.pushed(number, &push);
                }
                Ok::<(), redis::aio::SendError>(())
            });
        let connected = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        let why = match timeout(COMMAND_MAX, connected).await {
            Ok(Ok(connection)) => {
                return Ok(Line {
                    number,
                    made_at: Instant::now(),
                    connection,
                });
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        self.errors.increment();
        Err(Fault::out_of_reach(why))
    }

    /// Uses a connection as long as it is of use; returns why it is of none any more.
    async fn attend(&self, mut line: Line) -> Fault {
        let mut heard = BTreeSet::new();
        let begun = async {
            // It may be there and still read its file.
            self.ask::<()>(&mut line, &redis::cmd("PING")).await?;
            self.subscribe(&mut line, &mut heard).await
        };
        if let Err(fault) = begun.await {
            return fault;
        }
        tracing::info!(store = %self.address(), "the reply store is in reach");
        self.state.send_replace(State::Up(line.clone()));
        let every = match self.form {
            KeyForm::Tenant => PING_EVERY,
            KeyForm::Compat => LOOK_EVERY,
        };
        let mut must_look = true;
        loop {
            let attended = async {
                self.ask::<()>(&mut line, &redis::cmd("PING")).await?;
                let is_new = self.subscribe(&mut line, &mut heard).await?;
                if is_new || must_look || self.form == KeyForm::Compat {
                    self.look(&mut line).await?;
                }
                Ok::<(), Fault>(())
            };
            if let Err(fault) = attended.await {
                return fault;
            }
            must_look = false;
            // Whichever of the two it is, the connection is tried.
            let _ = timeout(every, self.news.notified()).await;
            if let State::Down(why) = &*self.state.borrow() {
                return Fault::out_of_reach(why.as_str());
            }
        }
    }

    /// Subscribes to the channels of all links that are not heard yet; returns whether there were any.
    async fn subscribe(
        &self,
        line: &mut Line,
        heard: &mut BTreeSet<String>,
    ) -> Result<bool, Fault> {
        let wanted: BTreeSet<String> = self
            .links()
            .iter()
            .map(|link| link.channel().to_owned())
            .collect();
        let new: Vec<String> = wanted.difference(heard).cloned().collect();
        let old: Vec<String> = heard.difference(&wanted).cloned().collect();
        let done = async {
            if !new.is_empty() {
                line.connection.subscribe(&new).await?;
            }
            if !old.is_empty() {
                line.connection.unsubscribe(&old).await?;
            }
            Ok(())
        };
        done.await
            .map_err(|error| self.failed(line.number, &error))?;
        *heard = wanted;
        Ok(!new.is_empty())
    }

    /// Looks at all requests that wait.
    async fn look(&self, line: &mut Line) -> Result<(), Fault> {
        for link in self.links() {
            for ids in link.waiting().chunks(LOOK_MAX) {
                let mut get = redis::cmd("MGET");
                for id in ids {
                    get.arg(link.key(*id));
                }
                let values: Vec<Option<Vec<u8>>> = self.ask(line, &get).await?;
                for (id, value) in ids.iter().zip(values) {
                    link.seen(*id, value.unwrap_or_default());
                }
            }
        }
        Ok(())
    }

    /// Returns the links that are open, and forgets the others.
    fn links(&self) -> Vec<Arc<Link>> {
        let mut links = self.links.lock();
        links.retain(|link| link.strong_count() > 0);
        links.iter().filter_map(Weak::upgrade).collect()
    }

    /// Takes in what comes without having been asked for.
    fn pushed(&self, number: u64, push: &PushInfo) {
        match (&push.kind, push.data.as_slice()) {
            (PushKind::Disconnection, _) => self.lost(number, "the connection was closed"),
            (PushKind::Message, [Value::BulkString(channel), Value::BulkString(told)]) => {
                let mut links = self.links().into_iter();
                // Of those with one channel a request belongs to one at most.
                links.any(|link| link.channel().as_bytes() == channel && link.heard(told));
            }
            _ => {}
        }
    }

    /// Returns the connection, once Redis was tried.
    async fn line(&self) -> Result<Line, Fault> {
        let mut state = self.state.subscribe();
        let known = state
            .wait_for(|state| !matches!(state, State::Unknown))
            .await;
        match known.as_deref() {
            Ok(State::Up(line)) => Ok(line.clone()),
            Ok(State::Down(why)) => Err(Fault::out_of_reach(why.as_str())),
            Ok(State::Unknown) | Err(_) => Err(Fault::out_of_reach("the host stops")),
        }
    }

    async fn tell(&self, channel: &str, items: &[Item<'_>]) -> Result<Vec<Written>, Fault> {
        let mut line = self.line().await?;
        if line.number > 0 && line.made_at.elapsed() < SETTLE {
            return Err(Fault::out_of_reach("the hosts connect again"));
        }
        let mut pipe = redis::pipe();
        for item in items {
            let set = pipe.cmd("SET").arg(item.key).arg(item.stored);
            set.arg("XX").arg("KEEPTTL");
            pipe.cmd("PUBLISH").arg(channel).arg(item.told);
        }
        let results = self.ask_all(&mut line, &mut pipe).await?;
        // A response that is told nobody may lie nowhere either, so it is to be handed on again.
        let mut told = results.iter().skip(1).step_by(2);
        if let Some(why) = told.find_map(|told| told.as_ref().err()) {
            return Err(Fault::out_of_reach(why.to_string()));
        }
        let written: Vec<Written> = results
            .chunks(2)
            .map(|pair| match pair.first() {
                Some(Ok(Value::Nil)) => Written::Unasked,
                _ => Written::Done,
            })
            .collect();
        if self.form == KeyForm::Compat {
            // A Python process asks without writing its request down.
            let mut pipe = redis::pipe();
            let unasked = items.iter().zip(&written);
            for (item, _) in unasked.filter(|(_, written)| **written == Written::Unasked) {
                let set = pipe.cmd("SET").arg(item.key).arg(item.stored);
                set.arg("EX").arg(COMPAT_TTL_SECS);
            }
            if !pipe.is_empty() {
                self.ask_all(&mut line, &mut pipe).await?;
            }
        }
        Ok(written)
    }

    async fn ask<T: FromRedisValue>(&self, line: &mut Line, command: &Cmd) -> Result<T, Fault> {
        let answer = command.query_async(&mut line.connection).await;
        answer.map_err(|error| self.failed(line.number, &error))
    }

    /// Sends commands together; what Redis refuses one by one is counted and no error of all.
    async fn ask_all(
        &self,
        line: &mut Line,
        commands: &mut Pipeline,
    ) -> Result<Vec<RedisResult<Value>>, Fault> {
        let answers = commands
            .ignore_errors()
            .query_async(&mut line.connection)
            .await;
        let answers: Vec<RedisResult<Value>> =
            answers.map_err(|error| self.failed(line.number, &error))?;
        for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            let fault = self.failed(line.number, error);
            if !is_refusal(error) {
                return Err(fault);
            }
        }
        Ok(answers)
    }

    /// Takes note of an error.
    fn failed(&self, number: u64, error: &RedisError) -> Fault {
        self.errors.increment();
        let why = error.to_string();
        if is_refusal(error) {
            return Fault {
                what: "refuses",
                why,
            };
        }
        self.lost(number, &why);
        Fault::out_of_reach(why)
    }

    /// Takes note that a connection is of no use any more.
    fn lost(&self, number: u64, why: &str) {
        let is_news = self.state.send_if_modified(|state| {
            let is_this = matches!(state, State::Up(line) if line.number == number);
            if is_this {
                *state = State::Down(why.to_owned());
            }
            is_this
        });
        if is_news {
            tracing::warn!(store = %self.address(), why, "the reply store is out of reach");
            self.news.notify_one();
        }
    }

    fn set_down(&self, why: String) {
        let was_known = matches!(&*self.state.borrow(), State::Down(_));
        if !was_known {
            tracing::warn!(store = %self.address(), why, "the reply store is out of reach");
        }
        self.state.send_replace(State::Down(why));
    }

    fn address(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    fn words(&self, fault: &Fault) -> String {
        let (address, Fault { what, why }) = (self.address(), fault);
        format!("the reply store {address} (response.store in host.toml) {what}: {why}")
    }
}
