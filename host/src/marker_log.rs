//! Reads the topic of a group's parked keys, and makes it where it is missing.
//!
//! Handed the settings of a client and the topic; gives its records out one by one and knows whether all that were there
//! at a moment have been given out. It joins no group and commits nothing.
//! **Invariant:** it says to be at the end only when every partition was read to where it ended after
//! [`MarkerLog::go_to_end`] was called.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use crate::groupless::{OF_MEMBERS, Troubles, partitions, reader};
use crate::ids::TopicName;
use crate::topic_settings::{admin, client_config, topic_settings};

/// How long a broker may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A record of the topic: key and value.
pub(crate) type Marker = (Vec<u8>, Option<Vec<u8>>);

/// See the module.
pub(crate) struct MarkerLog {
    consumer: BaseConsumer<Troubles>,
    topic: TopicName,
    /// Where reading goes on, of each partition; none at its beginning.
    next: BTreeMap<i32, Option<i64>>,
    /// Where the partitions end, records of open transactions included, until all before is decided.
    ends: Option<BTreeMap<i32, i64>>,
    /// Partitions whose end was not reached, with that end.
    pending: BTreeMap<i32, i64>,
    is_assigned: bool,
    /// A client that is told of records of open transactions is made of these.
    config: ClientConfig,
}

impl MarkerLog {
    /// Makes a reader of what is committed; nothing is sent yet.
    pub(crate) fn new(config: ClientConfig, topic: &TopicName) -> Result<Self, KafkaError> {
        let mut config = reader(config, topic.as_str());
        config
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "earliest")
            .set("allow.auto.create.topics", "false");
        Ok(Self {
            consumer: config.create_with_context(Troubles::default())?,
            topic: topic.clone(),
            next: BTreeMap::new(),
            ends: None,
            pending: BTreeMap::new(),
            is_assigned: false,
            config,
        })
    }

    /// As [`Self::new`], from settings by name.
    pub(crate) fn with(
        settings: &BTreeMap<String, String>,
        topic: &TopicName,
    ) -> Result<Self, KafkaError> {
        Self::new(client_config(settings, |_| true), topic)
    }

    /// Looks for the topic; returns whether it is there.
    pub(crate) fn find(&mut self) -> Result<bool, String> {
        let partitions = partitions(&self.consumer, &self.topic, TIMEOUT)?;
        self.next = (0..partitions).map(|partition| (partition, None)).collect();
        Ok(partitions > 0)
    }

    /// From now on, the end is where the partitions ended at the first call. Returns whether what lies before is decided:
    /// a reader of committed records sees nothing behind the first record of an open transaction, not even what others
    /// have committed there since. Until then it is to be called again.
    pub(crate) fn go_to_end(&mut self) -> Result<bool, String> {
        let ends = match self.ends.take() {
            Some(ends) => ends,
            None => self.all_ends()?,
        };
        let mut pending = BTreeMap::new();
        for (partition, next) in &self.next {
            let (low, high) = watermarks(&self.consumer, &self.topic, *partition)?;
            if ends.get(partition).is_some_and(|end| high < *end) {
                self.ends = Some(ends);
                return Ok(false);
            }
            if low < high && next.is_none_or(|next| next < high) {
                pending.insert(*partition, high);
            }
        }
        self.pending = pending;
        if self.is_assigned && self.pending.is_empty() {
            return Ok(true);
        }
        let mut list = TopicPartitionList::with_capacity(self.next.len());
        for (partition, next) in &self.next {
            let offset = next.map_or(Offset::Beginning, Offset::Offset);
            list.add_partition_offset(self.topic.as_str(), *partition, offset)
                .map_err(|error| error.to_string())?;
        }
        // Behind the last record there may be marks of transactions, so its offset does not tell the end; the client does,
        // once for each assignment.
        self.consumer
            .unassign()
            .map_err(|error| error.to_string())?;
        self.consumer
            .assign(&list)
            .map_err(|error| error.to_string())?;
        self.is_assigned = true;
        Ok(true)
    }

    /// Asks where the partitions end, records of open transactions included.
    fn all_ends(&self) -> Result<BTreeMap<i32, i64>, String> {
        let client: BaseConsumer<Troubles> = self
            .config
            .clone()
            .set("isolation.level", "read_uncommitted")
            .create_with_context(Troubles::default())
            .map_err(|error| error.to_string())?;
        let partitions = self.next.keys();
        partitions
            .map(|partition| Ok((*partition, watermarks(&client, &self.topic, *partition)?.1)))
            .collect()
    }

    /// Returns whether everything was given out that was there when [`Self::go_to_end`] was called.
    pub(crate) fn is_at_end(&self) -> bool {
        self.pending.is_empty()
    }

    /// Gives the next record out, if one comes within this time.
    pub(crate) fn poll(&mut self, timeout: Duration) -> Option<Marker> {
        match self.consumer.poll(timeout)? {
            Ok(message) => {
                let place = (message.partition(), message.offset() + 1);
                let marker = message
                    .key()
                    .map(|key| (key.to_vec(), message.payload().map(<[u8]>::to_vec)));
                drop(message);
                self.next.insert(place.0, Some(place.1));
                self.pending
                    .retain(|partition, end| *partition != place.0 || place.1 < *end);
                // A record without a key is none of ours, but a step on the way.
                Some(marker.unwrap_or_default())
            }
            Err(KafkaError::PartitionEOF(partition)) => {
                self.pending.remove(&partition);
                None
            }
            Err(error) => {
                self.consumer.context().note(error.to_string());
                None
            }
        }
    }

    /// Returns what went wrong with a connection since the last call.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.consumer.context().take()
    }
}

/// Returns the first offset of a partition and the one behind the last record that `client` may see.
fn watermarks(
    client: &BaseConsumer<Troubles>,
    topic: &TopicName,
    partition: i32,
) -> Result<(i64, i64), String> {
    client
        .fetch_watermarks(topic.as_str(), partition, TIMEOUT)
        .map_err(|error| error.to_string())
}

/// Returns why what is written to the topic may be forgotten, if it may; none also where the brokers do not say.
pub(crate) async fn forgets(
    settings: &BTreeMap<String, String>,
    topic: &TopicName,
) -> Option<String> {
    let mut found = topic_settings(settings, &[topic]).await;
    let policy = found.remove(topic)?.cleanup_policy?;
    (policy != "compact").then(|| format!("cleanup.policy={policy}"))
}

/// Makes the topic with one partition and compaction. A broker that makes topics only for those who use them (the embedded
/// one) is asked that way.
pub(crate) async fn create(
    settings: &BTreeMap<String, String>,
    topic: &TopicName,
) -> Result<(), String> {
    let admin = admin(settings).map_err(|error| error.to_string())?;
    let wanted = NewTopic::new(topic.as_str(), 1, TopicReplication::Fixed(-1))
        .set("cleanup.policy", "compact");
    let options = AdminOptions::new()
        .operation_timeout(Some(TIMEOUT))
        .request_timeout(Some(TIMEOUT));
    let results = admin.create_topics([&wanted], &options).await;
    let code = match results.map(|results| results.into_iter().next()) {
        Ok(None | Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)))) => return Ok(()),
        Ok(Some(Err((_, code)))) => code.to_string(),
        Err(error) => error.to_string(),
    };
    if settings.get("allow.auto.create.topics").map(String::as_str) != Some("true") {
        return Err(code);
    }
    let consumer: BaseConsumer<Troubles> =
        client_config(settings, |key| !OF_MEMBERS.contains(&key))
            .create_with_context(Troubles::default())
            .map_err(|error| error.to_string())?;
    partitions(&consumer, topic, TIMEOUT).map(drop)
}
