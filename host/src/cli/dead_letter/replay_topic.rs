//! The topic from which a group replays, made at the first letter.
//!
//! **Invariant:** a topic that is there is left as it is.

use anyhow::{Context as _, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;
use tokio::time::Instant;

use super::counted;
use super::topics::Session;
use crate::cli::async_runtime;
use crate::cli::connect::{Troubles, explain_config};
use crate::ids::TopicName;
use crate::topics::REPLAY_RETENTION_MS as RETENTION_MS;

/// Makes the topic of replays, unless it is there; with as many partitions as the letters have.
pub(super) fn make_topic(
    session: &Session<'_>,
    name: &TopicName,
    partitions: usize,
) -> anyhow::Result<()> {
    if session.partitions(name)?.is_some() {
        return Ok(());
    }
    let partitions = i32::try_from(partitions)?;
    let admin: AdminClient<Troubles> = session
        .connect
        .config(&[], &[])?
        .create_with_context(Troubles::default())
        .map_err(explain_config)?;
    // The brokers know best how often to replicate.
    let topic = NewTopic::new(name.as_str(), partitions, TopicReplication::Fixed(-1))
        .set("cleanup.policy", "delete")
        .set("retention.ms", RETENTION_MS);
    let options = AdminOptions::new()
        .operation_timeout(Some(session.timeout))
        .request_timeout(Some(session.timeout));
    let remedy = || {
        format!(
            "cannot create topic {name}; create it, then replay again (kafka-topics.sh --create --topic {name} \
             --partitions {partitions} --config retention.ms={RETENTION_MS} --bootstrap-server {})",
            session.connect.brokers
        )
    };
    let created = async_runtime()?
        .block_on(admin.create_topics([&topic], &options))
        .with_context(remedy)?;
    for result in created {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(anyhow::Error::new(code)).with_context(remedy),
        }
    }
    session.console.say(&format!(
        "created topic {name} with {}",
        counted(partitions.unsigned_abs().into(), "partition", "partitions")
    ));
    let deadline = Instant::now() + session.timeout;
    while session.partitions(name)?.is_none() {
        if Instant::now() >= deadline {
            bail!(
                "topic {name} was created, but does not appear within {:?}",
                session.timeout
            );
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    Ok(())
}
