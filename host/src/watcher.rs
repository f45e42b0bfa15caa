//! The rounds of the watchdog: looks at consumers and partitions now and then, and tells what stalls.
//!
//! A thread of its own, so that it goes on whatever else stands still. It reads counters that those at work leave behind,
//! and takes no lock that somebody holds while waiting.
//! **Invariant:** what is in alarm is in the log with its record's coordinates, in the metrics and in `/readyz`, until it
//! goes on or is gone.

mod round;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::round::{Round, Subject};
use crate::catalog::{CatalogReader, GroupKey};
use crate::duration::millis;
use crate::ids::HandlerId;
use crate::subscriptions::Subscriptions;
use crate::watchdog::{Action, News, Stall, WatchPolicy, Watchdog};

/// How often it looks, at most and at least. In between, a quarter of what may stand shortest.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// What the watchdog knows, for whoever asks.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    policy: Mutex<WatchPolicy>,
    seen: Mutex<Seen>,
}

/// What was seen at the last look.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// Whether partitions are watched, and consumers.
    pub(crate) watches: (bool, bool),
    /// Whether the host is not ready while anything stalls.
    pub(crate) is_strict: bool,
    pub(crate) partitions: Vec<StalledPartition>,
    pub(crate) polls: BTreeMap<GroupKey, Poll>,
    /// How often something stood for too long, by handler and topic.
    pub(crate) stalls: BTreeMap<(HandlerId, Arc<str>), u64>,
}

/// The thread of a group's consumer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Poll {
    /// How long ago it was seen to come round.
    pub(crate) age: Duration,
    /// Whether it is late, or was until lately.
    pub(crate) late: Option<Stall>,
}

impl Poll {
    /// Says for how long it is late, if it is.
    pub(crate) fn what(&self) -> Option<String> {
        Some(describe_late(&self.late?))
    }
}

fn describe_late(stall: &Stall) -> String {
    let stood_ms = millis(stall.stood);
    match stall.over_for {
        None => format!("its consumer's thread has not come round for {stood_ms} ms"),
        Some(over) => format!(
            "its consumer's thread did not come round for {stood_ms} ms; it came {} ms ago",
            millis(over)
        ),
    }
}

/// A partition that stalls.
#[derive(Debug, Clone)]
pub(crate) struct StalledPartition {
    pub(crate) handler: HandlerId,
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) stall: Stall,
}

impl StalledPartition {
    /// Says where it stands, for how long, and what it waits for.
    pub(crate) fn what(&self) -> String {
        let place = place(&self.topic, self.partition, self.stall.offset);
        let Stall { stood, why, .. } = self.stall;
        let stood_ms = millis(stood);
        match self.stall.over_for {
            None => format!("{place} for {stood_ms} ms: {why}"),
            Some(over) => format!(
                "{place} for {stood_ms} ms: {why}; it went on {} ms ago",
                millis(over)
            ),
        }
    }
}

fn place(topic: &str, partition: i32, offset: Option<i64>) -> String {
    match offset {
        Some(offset) => format!("{topic}[{partition}] at offset {offset}"),
        None => format!("{topic}[{partition}]"),
    }
}

impl Watched {
    /// Makes what is known before the first look.
    pub(crate) fn new(policy: &WatchPolicy) -> Self {
        let watched = Self::default();
        watched.set_policy(policy);
        watched
    }

    /// Has another policy hold from the next look on.
    pub(crate) fn set_policy(&self, policy: &WatchPolicy) {
        *self.policy.lock() = *policy;
        let mut seen = self.seen.lock();
        seen.watches = (
            policy.stall_after.is_some(),
            policy.poll_late_after.is_some(),
        );
        seen.is_strict = policy.action != Action::Report;
    }

    /// Returns what was seen at the last look.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().clone()
    }
}

/// What a watcher is made with.
#[derive(Debug)]
pub(crate) struct Watcher {
    /// How long a consumer's thread may wait for the partitions of a rebalance, beyond what it may take anyway.
    pub(crate) drain_timeout: Duration,
    pub(crate) subscriptions: Arc<Mutex<Subscriptions>>,
    pub(crate) catalog: CatalogReader,
    pub(crate) watched: Arc<Watched>,
}

/// A running watcher; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    _stop: mpsc::Sender<()>,
    verdict: oneshot::Receiver<String>,
}

impl Watch {
    /// Waits until the host shall end because something stalls; returns what does.
    pub(crate) async fn verdict(&mut self) -> String {
        match (&mut self.verdict).await {
            Ok(what) => what,
            // It does not watch, or its action is another one.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Watcher {
    /// Begins to watch.
    pub(crate) fn start(self) -> std::io::Result<Watch> {
        let (stop, stopped) = mpsc::channel();
        let (sender, verdict) = oneshot::channel();
        std::thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || self.run(&stopped, sender))?;
        Ok(Watch {
            _stop: stop,
            verdict,
        })
    }

    fn run(self, stopped: &mpsc::Receiver<()>, verdict: oneshot::Sender<String>) {
        let mut policy = *self.watched.policy.lock();
        let mut watchdog = Watchdog::new(every(&policy) * 2);
        let mut verdict = Some(verdict);
        let begun = Instant::now();
        while stopped.recv_timeout(every(&policy)) == Err(mpsc::RecvTimeoutError::Timeout) {
            let now = *self.watched.policy.lock();
            if now != policy {
                // What stands is told anew by the bounds that hold now.
                policy = now;
                watchdog = Watchdog::new(every(&policy) * 2);
            }
            let round = self.look(&policy, begun);
            let news = watchdog.look(begun.elapsed(), round.sights);
            let handlers = &round.handlers;
            for (subject, news) in &news {
                tell(subject, handlers.get(subject), news);
            }
            self.publish(&watchdog, handlers, &news);
            let stalled = news.iter().find_map(|(subject, news)| match news {
                News::Stalled(stall) => Some(describe(subject, handlers.get(subject), stall)),
                News::Recovered { .. } | News::Gone => None,
            });
            if policy.action == Action::Exit
                && let Some(stalled) = stalled
                && let Some(verdict) = verdict.take()
            {
                // Nobody listens any more when the host stops anyway.
                let _ = verdict.send(stalled);
            }
        }
    }

    fn look(&self, policy: &WatchPolicy, begun: Instant) -> Round {
        let groups = self.subscriptions.lock().vitals();
        let catalog = Arc::clone(&self.catalog.borrow());
        Round::new(&groups, &catalog, policy, self.drain_timeout, begun)
    }

    fn publish(
        &self,
        watchdog: &Watchdog<Subject>,
        handlers: &BTreeMap<Subject, HandlerId>,
        news: &[(Subject, News)],
    ) {
        let mut partitions = Vec::new();
        let mut polls: BTreeMap<GroupKey, Poll> = BTreeMap::new();
        for (subject, age) in watchdog.standing() {
            if let Subject::Consumer(group) = subject {
                polls.insert(group.clone(), Poll { age, late: None });
            }
        }
        for (subject, stall) in watchdog.stalls() {
            match subject {
                Subject::Consumer(group) => {
                    polls.entry(group.clone()).or_default().late = Some(stall);
                }
                Subject::Partition(_, topic, partition) => {
                    partitions.extend(handlers.get(subject).map(|handler| StalledPartition {
                        handler: handler.clone(),
                        topic: Arc::clone(topic),
                        partition: *partition,
                        stall,
                    }));
                }
            }
        }
        let mut seen = self.watched.seen.lock();
        for (subject, _) in news
            .iter()
            .filter(|(_, news)| matches!(news, News::Stalled(_)))
        {
            if let (Subject::Partition(_, topic, _), Some(handler)) =
                (subject, handlers.get(subject))
            {
                let series = (handler.clone(), Arc::clone(topic));
                *seen.stalls.entry(series).or_default() += 1;
            }
        }
        seen.partitions = partitions;
        seen.polls = polls;
    }
}

/// Returns how often to look.
fn every(policy: &WatchPolicy) -> Duration {
    let (least, most) = LOOK_EVERY;
    let bounds = [policy.stall_after, policy.poll_late_after];
    let shortest = bounds.into_iter().flatten().min();
    shortest.map_or(most, |shortest| (shortest / 4).clamp(least, most))
}

/// Says in a few words what stalls.
fn describe(subject: &Subject, handler: Option<&HandlerId>, stall: &Stall) -> String {
    match subject {
        Subject::Consumer((tenant, group)) => {
            format!("group {group} of tenant {tenant}: {}", describe_late(stall))
        }
        Subject::Partition((_, group), topic, partition) => {
            let place = place(topic, *partition, stall.offset);
            let handler = handler
                .map(|it| format!("handler {it}, "))
                .unwrap_or_default();
            let (stood_ms, why) = (millis(stall.stood), stall.why);
            format!("{place} ({handler}group {group}) stands for {stood_ms} ms: {why}")
        }
    }
}

/// Writes a line of the log.
fn tell(subject: &Subject, handler: Option<&HandlerId>, news: &News) {
    match subject {
        Subject::Consumer((tenant, group)) => match news {
            News::Stalled(stall) => tracing::warn!(
                %tenant,
                %group,
                late_ms = millis(stall.stood),
                "the consumer's thread is late: it does not come round, so its group may take the partitions away"
            ),
            News::Recovered { after } => tracing::info!(
                %tenant,
                %group,
                after_ms = millis(*after),
                "the consumer's thread comes round again"
            ),
            News::Gone => tracing::info!(%tenant, %group, "the consumer that was late is gone"),
        },
        Subject::Partition((tenant, group), topic, partition) => {
            let handler = handler.map(|it| it.name.to_string()).unwrap_or_default();
            match news {
                News::Stalled(stall) => tracing::warn!(
                    %tenant,
                    handler,
                    %group,
                    topic = &**topic,
                    partition,
                    offset = stall.offset.unwrap_or(-1),
                    stalled_ms = millis(stall.stood),
                    why = %stall.why,
                    "the partition makes no progress"
                ),
                News::Recovered { after } => tracing::info!(
                    %tenant,
                    handler,
                    %group,
                    topic = &**topic,
                    partition,
                    after_ms = millis(*after),
                    "the partition makes progress again"
                ),
                News::Gone => tracing::info!(
                    %tenant,
                    %group,
                    topic = &**topic,
                    partition,
                    "the partition that made no progress is not read here any more"
                ),
            }
        }
    }
}
