//! The topics of the handlers that serve: made where the host may make them, else told with the command that does.
//!
//! Handed what serves now, before it is read; asks Kafka beside everything else, except where it makes topics first.
//! **Invariant:** no record waits for it, and a topic that cannot be made keeps no handler from serving.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::board::Board;
use super::deployer::Deployer;
use crate::dev_broker::{self, AUTO_CREATED_PARTITIONS, DevBroker};
use crate::ids::TopicName;
use crate::topic_admin::{Error, TopicAdmin};
use crate::topics::{Item, Need, NewTopic, Verdict, Wanted, plan, wanted};

/// How long Kafka gets for each answer; a deployment may wait for it.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Topics by name.
pub(super) type Topics = BTreeMap<TopicName, Wanted>;

/// See the module.
#[derive(Debug)]
pub(crate) struct TopicKeeper {
    settings: BTreeMap<String, String>,
    /// Whether the host makes topics.
    creates: bool,
    /// The command that makes them.
    command: String,
    /// The broker of this process, which is not asked as others are.
    embedded: Option<Arc<DevBroker>>,
    board: Arc<Board>,
    wanted: Mutex<Arc<Topics>>,
    /// Whether Kafka is to be asked, or to be asked again.
    is_open: AtomicBool,
    /// Topics of which nothing more is asked.
    settled: Mutex<Topics>,
    /// What is wrong with which of the others, as it was told last.
    told: Mutex<BTreeMap<TopicName, String>>,
    /// Held by whoever asks.
    turn: tokio::sync::Mutex<()>,
}

/// A topic that does not exist, and is asked for again.
#[derive(Debug)]
struct Missing {
    name: TopicName,
    why: String,
}

impl TopicKeeper {
    /// `settings` are those of any client of the host.
    pub(crate) fn new(
        settings: BTreeMap<String, String>,
        (creates, command): (bool, String),
        embedded: Option<Arc<DevBroker>>,
        board: Arc<Board>,
    ) -> Arc<Self> {
        Arc::new(Self {
            settings,
            creates,
            command,
            embedded,
            board,
            wanted: Mutex::default(),
            is_open: AtomicBool::new(false),
            settled: Mutex::default(),
            told: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        })
    }

    /// Takes up which topics are to exist from now on. Where the host makes topics, returns when those are there that Kafka
    /// makes in time.
    pub(super) async fn take_up(&self, wanted: Topics) {
        if let Some(broker) = &self.embedded {
            return make_embedded(broker, &wanted);
        }
        let remedies = wanted.iter().map(|(name, one)| {
            let remedy = one.remedy(&self.command);
            (name.to_string(), remedy)
        });
        self.board.set_remedies(remedies.collect());
        self.settled
            .lock()
            .retain(|name, _| wanted.contains_key(name));
        *self.wanted.lock() = Arc::new(wanted);
        self.is_open.store(true, Ordering::SeqCst);
        if self.creates {
            let _turn = self.turn.lock().await;
            self.ask().await;
        }
    }

    /// Asks for what is open, if nobody does already, and does not wait for the answer.
    pub(super) fn tend(self: &Arc<Self>) {
        if self.is_open.load(Ordering::SeqCst) {
            let keeper = Arc::clone(self);
            tokio::spawn(async move {
                if let Ok(_turn) = keeper.turn.try_lock() {
                    keeper.ask().await;
                }
            });
        }
    }

    /// Asks Kafka, makes what is missing where the host may, and tells the rest.
    async fn ask(&self) {
        self.is_open.store(false, Ordering::SeqCst);
        let wanted = Arc::clone(&self.wanted.lock());
        let asked = self.unsettled(&wanted);
        let missing = match self.look_and_make(&asked).await {
            Ok(missing) => missing,
            Err(error) => {
                // Consumers tell that Kafka is out of reach.
                tracing::debug!(%error, "topics cannot be asked for; trying again");
                self.is_open.store(true, Ordering::SeqCst);
                return;
            }
        };
        self.tell(&missing);
        let names: BTreeSet<&TopicName> = missing.iter().map(|one| &one.name).collect();
        let settled = asked.into_iter().filter(|(name, _)| !names.contains(name));
        self.settled.lock().extend(settled);
        if !missing.is_empty() {
            self.is_open.store(true, Ordering::SeqCst);
        }
        let listed = missing
            .iter()
            .map(|one| (one.name.to_string(), one.why.clone()));
        self.board.set_missing_topics(listed.collect());
    }

    /// Returns what is to be asked for: what is not settled, and what its partitions go by.
    fn unsettled(&self, wanted: &Topics) -> Topics {
        let settled = self.settled.lock();
        let open = wanted
            .iter()
            .filter(|(name, one)| settled.get(*name) != Some(*one));
        let like = open.clone().flat_map(|(_, one)| &one.like);
        let like = like.filter_map(|name| wanted.get_key_value(name));
        open.chain(like)
            .map(|(name, one)| (name.clone(), one.clone()))
            .collect()
    }

    /// Returns the topics that should exist and do not, and are to be asked for again.
    async fn look_and_make(&self, asked: &Topics) -> Result<Vec<Missing>, Error> {
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let kafka = TopicAdmin::new(self.settings.clone(), TIMEOUT);
        let items = plan(asked, &kafka.look(asked).await?);
        self.tell_drift(&items);
        if !self.creates {
            return Ok(self.missing(&items));
        }
        let new: Vec<NewTopic> = items.iter().filter_map(Item::creation).cloned().collect();
        let failed = kafka.create(&new, false).await;
        for topic in new.iter().filter(|it| !failed.contains_key(&it.name)) {
            tracing::info!(
                topic = %topic.name,
                partitions = topic.partitions,
                replication = topic.replication,
                "created the topic"
            );
        }
        let failed = failed.into_iter().map(|(name, why)| Missing {
            name,
            why: format!("it does not exist and cannot be created: {why}"),
        });
        Ok(failed.chain(unseen(&items, |_| true)).collect())
    }

    /// Returns those that are declared, and those of responses, without which requests have no end. Of what handlers need
    /// besides, it tells once.
    fn missing(&self, items: &[Item]) -> Vec<Missing> {
        let is_told = |need| matches!(need, Need::Declared | Need::Responses);
        let mut missing: Vec<Missing> = unseen(items, is_told).collect();
        for one in items.iter().filter(|it| it.creation().is_some()) {
            let (name, reason) = (&one.wanted.name, one.wanted.reason());
            let remedy = one.wanted.remedy(&self.command);
            let why = format!("it does not exist, {reason}; {remedy}");
            match one.wanted.need {
                Need::Declared | Need::Responses => missing.push(Missing {
                    name: name.clone(),
                    why,
                }),
                // Brokers may make these at their first use, or somebody who has not declared them.
                Need::DeadLetters | Need::Refused | Need::Retries => {
                    tracing::info!(topic = %name, "{why}");
                }
                // Made where they are first needed; inputs are told by whoever waits for them.
                Need::Parked | Need::Replays | Need::Input => {}
            }
        }
        missing
    }

    /// Says that topics are not as they were declared, unless that was said; the command shows in what.
    fn tell_drift(&self, items: &[Item]) {
        let settled = self.settled.lock();
        let topics: Vec<&str> = items
            .iter()
            .map(|item| (&item.wanted, &item.verdict))
            .filter(|(wanted, _)| settled.get(&wanted.name) != Some(*wanted))
            .filter(|(_, verdict)| matches!(verdict, Verdict::Differs(_)))
            .map(|(wanted, _)| wanted.name.as_str())
            .collect();
        if !topics.is_empty() {
            tracing::warn!(
                ?topics,
                "topics are not as they are declared; `topics plan` shows in what"
            );
        }
    }

    /// Says what was not said already.
    fn tell(&self, missing: &[Missing]) {
        let mut told = self.told.lock();
        let names: BTreeSet<&TopicName> = missing.iter().map(|one| &one.name).collect();
        told.retain(|topic, _| {
            let stays = names.contains(topic);
            if !stays {
                tracing::info!(%topic, "the topic exists now, or is not needed any more");
            }
            stays
        });
        for Missing { name: topic, why } in missing {
            if told.insert(topic.clone(), why.clone()).as_ref() != Some(why) {
                tracing::warn!(%topic, "{why}");
            }
        }
    }
}

/// Returns the topics of some needs of which brokers do not tell whether they exist. What is read, its readers tell.
fn unseen(items: &[Item], is_meant: fn(Need) -> bool) -> impl Iterator<Item = Missing> {
    let meant = items.iter().filter(move |item| {
        let need = item.wanted.need;
        need != Need::Input && is_meant(need)
    });
    meant.filter_map(|item| match &item.verdict {
        Verdict::Unseen(why) => Some(Missing {
            name: item.wanted.name.clone(),
            why: format!("it is not known whether it exists: {why}"),
        }),
        _ => None,
    })
}

/// Makes declared topics in the broker of this process; all others it makes at their first use.
fn make_embedded(broker: &DevBroker, wanted: &Topics) {
    for one in wanted.values().filter(|one| one.need == Need::Declared) {
        let partitions = one.spec.partitions.unwrap_or(AUTO_CREATED_PARTITIONS);
        match broker.create_topic(one.name.as_str(), partitions) {
            Ok(()) | Err(dev_broker::Error::TopicExists { .. }) => {}
            Err(error) => tracing::warn!(topic = %one.name, %error, "the topic is not as declared"),
        }
    }
}
impl Deployer {
    /// Makes the topics that are needed by what was loaded, or tells that they are missing.
    pub(super) async fn make_topics(&self) {
        let serving = self.known.values().filter_map(|it| it.serving.as_ref());
        let tried = self.known.values().filter_map(|it| it.trial.as_ref());
        let all = serving.chain(tried.map(|it| &it.on.handler));
        let wanted = wanted(all.map(|it| (&it.id, &it.manifest)));
        self.topics.take_up(wanted).await;
    }
}
