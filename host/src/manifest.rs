//! What a handler's author writes beside the component: `handler.toml`.
//!
//! Handed the text and the handler's name, gives a [`Manifest`] of typed values, or everything that is wrong with the
//! text at once. Files are read, and problems printed, elsewhere.
//! **Invariant:** a manifest that exists is complete: every default is filled in and every value is in its range.

mod breaker;
mod bulk;
mod components;
mod delivery;
mod deploy;
mod found;
pub mod kafka;
mod key;
mod keys;
mod librdkafka;
mod masked;
mod pipelines;
mod problem;
mod publish;
mod reader;
mod refusals;
mod responses;
mod retry;
mod routes;
pub mod schema;
mod subscription;
mod tenant;
#[cfg(test)]
mod tests;
mod topics;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

pub use self::components::Middleware;
pub(crate) use self::key::{Key, Kind};
pub(crate) use self::masked::Masked;
pub use self::problem::Problem;
pub(crate) use self::problem::closest;
pub(crate) use self::reader::{Reader, Text};
pub use self::tenant::{Tenant, TenantKafka, tenant, tenant_with};
use crate::canary::Trial;
use crate::ids::{GroupId, HandlerId, TopicName};
use crate::letter::replay_topic;
use crate::marker::parked_topic;
use crate::pipeline::Pipeline;
use crate::policy::{
    BreakerPolicy, Bulk, CONCURRENCY, DeclaredTopic, Delivery, Isolation, Limits, OnExhausted,
    Ordering, ProbationPolicy, ResponseRoute, RetryPolicy, ReturnTopics, Start, StartError,
    Subscription,
};
use crate::prefix::TopicPrefix;
use crate::publish::Publish;
use crate::release::FileDigest;
use crate::route::Routing;
use crate::secrets::Secrets;

/// What the name of the default dead-letter topic ends with.
const DEAD_LETTER_SUFFIX: &str = ".dead-letter";
/// What the names of Kafka's own topics begin with.
const INTERNAL_PREFIX: &str = "__";

/// How one handler is to be run.
#[derive(Clone, PartialEq)]
pub struct Manifest {
    /// File name of the component beside the manifest; none where the manifest leaves it to the folder.
    pub component: Option<String>,
    /// What that file is recognized by; none where any is good.
    pub digest: Option<FileDigest>,
    /// Components that see each record before a handler is chosen, in their order.
    pub middleware: Vec<Middleware>,
    /// Topics to read.
    pub subscription: Subscription,
    /// Consumer group, `<tenant>.<handler>` unless named.
    pub group: GroupId,
    /// Where a group begins that has no committed position.
    pub start: Start,
    /// Which records of a partition wait for each other.
    pub ordering: Ordering,
    /// Instances that one host runs at once; none where its partitions are the only bound.
    pub concurrency: Option<usize>,
    /// Whether outputs and positions are committed together.
    pub delivery: Delivery,
    /// Whether the component may do what no transaction takes back.
    pub side_effects: bool,
    /// Where responses to the component's requests arrive.
    pub responses: Vec<ResponseRoute>,
    /// How its outputs are written.
    pub publish: Publish,
    /// Which of the records it takes.
    pub routing: Routing,
    /// What is done with some of its records step by step.
    pub pipelines: Vec<Pipeline>,
    /// Topics that are to exist.
    pub declared_topics: Vec<DeclaredTopic>,
    /// How long an instance of the component lives.
    pub isolation: Isolation,
    /// Bounds of memory, time and flow.
    pub limits: Limits,
    /// Attempts and the waits between them.
    pub retry: RetryPolicy,
    /// What becomes of a record whose attempts are used up.
    pub on_exhausted: OnExhausted,
    /// Topic of the records that could not be handled, `<group>.dead-letter` unless named.
    pub dead_letter_topic: TopicName,
    /// Topics by which records come back.
    pub return_topics: ReturnTopics,
    /// Batches; none where the manifest has no table `[bulk]`.
    pub bulk: Option<Bulk>,
    /// When the handler pauses; none where the manifest has no table `[breaker]`.
    pub breaker: Option<BreakerPolicy>,
    /// How a new revision proves itself; none where it need not.
    pub probation: Option<ProbationPolicy>,
    /// File name of the record, beside the manifest, that a revision has to handle before it serves.
    pub trial_record: Option<String>,
    /// How a new revision is tried beside the one that serves; none where it serves at once.
    pub trial: Option<Trial>,
    /// Texts for the component, by name.
    pub config: BTreeMap<String, String>,
    /// Texts for it that are said by name; they are among the others once they are read.
    pub secrets: Secrets,
    /// Settings of librdkafka for the consumer; none of them touches what the host depends on.
    pub kafka_consumer: BTreeMap<String, String>,
    /// Settings of librdkafka for the producer; none of them touches what the host depends on.
    pub kafka_producer: BTreeMap<String, String>,
    /// What its tenant's file says of both, once that is read.
    pub tenant_kafka: TenantKafka,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// The error holds everything that is wrong, in the order of the file; it is never empty.
    pub fn parse(text: &str, id: &HandlerId) -> Result<Self, Vec<Problem>> {
        Self::parse_with(text, id, &TopicPrefix::default(), kafka::any_value)
    }

    /// Reads a manifest whose topics and group begin with `prefix`, and has the values of librdkafka's settings checked.
    pub fn parse_with(
        text: &str,
        id: &HandlerId,
        prefix: &TopicPrefix,
        check_value: kafka::ValueCheck,
    ) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader::new(text, keys::KEYS, check_value)?.within(prefix);
        let (component, digest) = components::own(&mut reader);
        let middleware = components::middleware(&mut reader);
        let group = reader.group(&keys::GROUP, &id.default_group());
        let dead_letter_topic = dead_letter_topic(&mut reader, &group);
        let subscription = subscription::subscription(&mut reader, dead_letter_topic.as_ref());
        let routing = routes::routing(&mut reader, subscription.as_ref());
        let start = start(&mut reader);
        let ordering = ordering(&mut reader);
        let concurrency = concurrency(&mut reader, ordering);
        let delivery = delivery::delivery(&mut reader);
        let side_effects = reader.choice(&keys::SIDE_EFFECTS) == Some("allowed");
        let mut responses = responses::responses(&mut reader, delivery, side_effects);
        let publish = publish::publish(&mut reader, delivery, routing.multi);
        let (reads, promises) = (subscription.as_ref(), (delivery, side_effects));
        let pipelines = pipelines::pipelines(&mut reader, reads, promises, &mut responses);
        let declared_topics = topics::topics(&mut reader);
        let isolation = isolation(&mut reader);
        let on_exhausted = on_exhausted(&mut reader, &group, ordering);
        let limits = limits(&mut reader);
        let retry = retry::retry(&mut reader);
        let return_topics = retry::return_topics(&mut reader, &group, ordering);
        routes::fan_out_fits(&mut reader, &routing, on_exhausted, &return_topics);
        let bulk = bulk::bulk(&mut reader, on_exhausted);
        let breaker = breaker::breaker(&mut reader);
        let (probation, trial_record, trial) = deploy::deploy(&mut reader, &pipelines);
        let (config, secrets) = reader.texts(&keys::CONFIG);
        let kafka_consumer = reader.table(&keys::KAFKA_CONSUMER);
        let kafka_producer = reader.table(&keys::KAFKA_PRODUCER);
        delivery::fits(&mut reader, delivery, &kafka_consumer, &kafka_producer);
        let dead_letter_topic = dead_letter_topic
            .filter(|topic| stays_away(&mut reader, topic, &return_topics, &group));
        let manifest =
            subscription
                .zip(dead_letter_topic)
                .map(|(subscription, dead_letter_topic)| Self {
                    component,
                    digest,
                    middleware,
                    subscription,
                    group,
                    start,
                    ordering,
                    concurrency,
                    delivery,
                    side_effects,
                    responses,
                    publish,
                    routing,
                    pipelines,
                    declared_topics,
                    isolation,
                    limits,
                    retry,
                    on_exhausted,
                    dead_letter_topic,
                    return_topics,
                    bulk,
                    breaker,
                    probation,
                    trial_record,
                    trial,
                    config,
                    secrets,
                    kafka_consumer,
                    kafka_producer,
                    tenant_kafka: TenantKafka::default(),
                });
        publish::stays_away(&mut reader, manifest.as_ref());
        reader.finish(manifest)
    }
}

impl Manifest {
    /// Lists the topics to which the handler's records go without its component doing anything, but for requests.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = &TopicName> {
        let steps = self.pipelines.iter().flat_map(|it| &it.steps);
        let pipes = steps.filter_map(|step| step.pipe.as_ref());
        let pipes = pipes.filter(|pipe| pipe.response.is_none());
        std::iter::once(&self.dead_letter_topic).chain(pipes.map(|pipe| &pipe.topic))
    }
}

impl fmt::Debug for Manifest {
    /// Prints the names of settings without their values: some are passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manifest")
            .field("component", &self.component)
            .field("digest", &self.digest)
            .field("middleware", &self.middleware)
            .field("subscription", &self.subscription)
            .field("group", &self.group)
            .field("start", &self.start)
            .field("ordering", &self.ordering)
            .field("concurrency", &self.concurrency)
            .field("delivery", &self.delivery)
            .field("side_effects", &self.side_effects)
            .field("responses", &self.responses)
            .field("publish", &self.publish)
            .field("routing", &self.routing)
            .field("pipelines", &self.pipelines.len())
            .field("declared_topics", &self.declared_topics)
            .field("isolation", &self.isolation)
            .field("limits", &self.limits)
            .field("retry", &self.retry)
            .field("on_exhausted", &self.on_exhausted)
            .field("dead_letter_topic", &self.dead_letter_topic)
            .field("return_topics", &self.return_topics)
            .field("bulk", &self.bulk)
            .field("breaker", &self.breaker)
            .field("probation", &self.probation)
            .field("trial_record", &self.trial_record)
            .field("trial", &self.trial)
            .field("config", &Masked(&self.config))
            .field("secrets", &self.secrets)
            .field("kafka_consumer", &Masked(&self.kafka_consumer))
            .field("kafka_producer", &Masked(&self.kafka_producer))
            .field("tenant_kafka", &self.tenant_kafka)
            .finish()
    }
}

fn isolation(reader: &mut Reader<'_>) -> Isolation {
    match reader.choice(&keys::ISOLATION) {
        Some("record") => Isolation::Record,
        _ => Isolation::Lane,
    }
}

/// Returns the dead-letter topic; none where a problem was noted.
fn dead_letter_topic(reader: &mut Reader<'_>, group: &GroupId) -> Option<TopicName> {
    let key = &keys::DEAD_LETTER_TOPIC;
    if let Some(offset) = reader.offset(key) {
        let topic = reader.topic(key)?;
        if topic.as_str().starts_with(INTERNAL_PREFIX) {
            let what = format!(
                "{topic:?} has the name of one of Kafka's internal topics, which begin with {INTERNAL_PREFIX} \
                 (name one of your own, or leave the key out for {:?})",
                format!("{group}{DEAD_LETTER_SUFFIX}"),
                topic = topic.as_str(),
            );
            reader.problem(key, Some(offset), &what);
        }
        return Some(topic);
    }
    let topic = match TopicName::with_suffix(group, DEAD_LETTER_SUFFIX) {
        Ok(topic) if topic.as_str().starts_with(INTERNAL_PREFIX) => Err(format!(
            "is one of Kafka's internal topics, which begin with {INTERNAL_PREFIX}"
        )),
        Ok(topic) => Ok(topic),
        Err(error) => Err(format!("is no topic: {error}")),
    };
    match topic {
        Ok(topic) => Some(topic),
        Err(fault) => {
            let what = format!(
                "missing, and the default {:?} {fault}",
                format!("{group}{DEAD_LETTER_SUFFIX}")
            );
            // The group's name made it so, that is the line to look at.
            let offset = reader.offset(&keys::GROUP);
            reader.problem(key, offset, &what);
            None
        }
    }
}

fn start(reader: &mut Reader<'_>) -> Start {
    let Some(Text { text, offset }) = reader.text_or_date(&keys::START) else {
        return Start::default();
    };
    text.parse().unwrap_or_else(|error: StartError| {
        if error == StartError::Form {
            let near = closest(&text, ["earliest", "latest"]);
            let hint = near.map(|near| format!(" (did you mean \"{near}\"?)"));
            reader.mismatch(&keys::START, &hint.unwrap_or_default());
        } else {
            reader.problem(&keys::START, Some(offset), &error.to_string());
        }
        Start::default()
    })
}

fn limits(reader: &mut Reader<'_>) -> Limits {
    Limits {
        memory_bytes: mebibytes(reader, &keys::MEMORY_MIB),
        deadline: Duration::from_millis(reader.whole(&keys::DEADLINE_MS)),
        in_flight_records: count(reader, &keys::IN_FLIGHT_RECORDS),
        in_flight_bytes: mebibytes(reader, &keys::IN_FLIGHT_MIB),
        outbox_records: count(reader, &keys::OUTBOX_RECORDS),
        outbox_bytes: mebibytes(reader, &keys::OUTBOX_MIB),
        pending_requests: count(reader, &keys::PENDING_REQUESTS),
    }
}

fn on_exhausted(reader: &mut Reader<'_>, group: &GroupId, ordering: Ordering) -> OnExhausted {
    let key = &keys::ON_EXHAUSTED;
    match reader.choice(key) {
        Some("skip") => OnExhausted::Skip,
        Some("halt") => OnExhausted::Halt,
        Some("park") => {
            let offset = reader.offset(key);
            if ordering != Ordering::Key {
                let what = "a key is parked so that nothing overtakes its failure, which takes an order of keys (write \
                            ordering = \"key\", or on-exhausted = \"dead-letter\")";
                reader.problem(key, offset, what);
            }
            for name in [parked_topic(group), replay_topic(group)] {
                if let Err(error) = name {
                    let what =
                        format!("group {group} cannot have the topics that this needs: {error}");
                    reader.problem(key, offset, &what);
                }
            }
            OnExhausted::Park
        }
        _ => OnExhausted::DeadLetter,
    }
}

fn ordering(reader: &mut Reader<'_>) -> Ordering {
    match reader.choice(&keys::ORDERING) {
        Some("key") => Ordering::Key,
        Some("none") => Ordering::None,
        _ => Ordering::Partition,
    }
}

fn concurrency(reader: &mut Reader<'_>, ordering: Ordering) -> Option<usize> {
    let given = reader
        .whole_given(&keys::CONCURRENCY)
        .and_then(|given| usize::try_from(given).ok());
    given.or_else(|| (ordering != Ordering::Partition).then_some(CONCURRENCY))
}

/// Returns whether dead letters stay where they are written: records of the topics of retries and replays come back to the
/// handler, and the topic of parked keys has others.
fn stays_away(
    reader: &mut Reader<'_>,
    topic: &TopicName,
    return_topics: &ReturnTopics,
    group: &GroupId,
) -> bool {
    let is_own = return_topics.contains(topic.as_str())
        || parked_topic(group).is_ok_and(|parked| parked == *topic);
    if is_own {
        let key = &keys::DEAD_LETTER_TOPIC;
        let what = format!(
            "{topic} is a topic of the group's own, for records that come back to the handler or for parked keys (name \
             another one, or leave the key out for {group}{DEAD_LETTER_SUFFIX})"
        );
        let offset = reader.offset(key);
        reader.problem(key, offset, &what);
    }
    !is_own
}

fn count(reader: &mut Reader<'_>, key: &'static Key) -> usize {
    usize::try_from(reader.whole(key)).unwrap_or(usize::MAX)
}

fn mebibytes(reader: &mut Reader<'_>, key: &'static Key) -> usize {
    count(reader, key).saturating_mul(1 << 20)
}
