//! Whose dead letters: from a handler and the handlers folder, or from a topic, to the names in Kafka.
//!
//! **Invariant:** manifests are all that is read of the folder.

use std::path::{Path, PathBuf};

use super::Usage;
use super::replayed::Replayed;
use super::topics::Session;
use crate::deploy::{FindError, find_manifest, find_sharer};
use crate::ids::{GroupId, HandlerId, NameError, TopicName};
use crate::letter::replay_topic;

/// A handler, or a topic.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct WhichArgs {
    /// The handler whose letters are meant, as tenant/handler
    #[arg(value_name = "HANDLER")]
    pub handler: Option<HandlerId>,

    /// Folder of the handlers; the handler's manifest names the dead-letter topic and the group
    #[arg(long, env = "KAFKA_WASM_HANDLERS", value_name = "DIR")]
    pub handlers: Option<PathBuf>,

    /// The dead-letter topic, where it is not to be taken from a manifest
    #[arg(long, value_name = "TOPIC")]
    pub topic: Option<TopicName>,

    /// With --topic: the handler's consumer group, to tell which letters were replayed
    #[arg(long, value_name = "GROUP", requires = "topic")]
    pub group: Option<GroupId>,
}

/// Where the letters are, and which of them are meant.
#[derive(Debug)]
pub(super) struct Which {
    /// The dead-letter topic.
    pub(super) topic: TopicName,
    /// The handler; without one, all that write to the topic.
    pub(super) handler: Option<HandlerId>,
    /// Where replays go; none where the group is not known.
    pub(super) replays: Option<TopicName>,
    /// The handler's group, where it is known.
    pub(super) group: Option<GroupId>,
}

impl Which {
    /// Reads which letters were replayed; none where nothing is known of replays.
    pub(super) fn replayed(&self, session: &Session<'_>) -> anyhow::Result<Option<Replayed>> {
        let replays = self.replays.as_ref();
        replays
            .map(|replays| Replayed::read(session, replays, &self.topic))
            .transpose()
    }
}

impl WhichArgs {
    /// Finds the topic. Kafka is not asked.
    pub(super) fn find(&self) -> anyhow::Result<Which> {
        if let Some(topic) = &self.topic {
            let replays = self.group.as_ref().map(replays).transpose()?;
            return Ok(Which {
                topic: topic.clone(),
                handler: self.handler.clone(),
                replays,
                group: self.group.clone(),
            });
        }
        let Some(handler) = &self.handler else {
            return Err(Usage(
                "whose letters? Name a handler, as in acme/orders --handlers DIR, or a topic by --topic".to_owned(),
            )
            .into());
        };
        let (topic, group) = of_handler(handler, self.handlers.as_deref())?;
        Ok(Which {
            topic,
            handler: Some(handler.clone()),
            // A group whose name is no topic's cannot have had replays.
            replays: replay_topic(&group).ok(),
            group: Some(group),
        })
    }
}

/// Returns the dead-letter topic and the group of a handler's manifest.
pub(super) fn of_handler(
    handler: &HandlerId,
    folder: Option<&Path>,
) -> anyhow::Result<(TopicName, GroupId)> {
    let Some(folder) = folder else {
        return Err(Usage(format!(
            "where is the manifest of {handler}? Name the handlers folder by --handlers or KAFKA_WASM_HANDLERS"
        ))
        .into());
    };
    match find_manifest(folder, handler) {
        Ok(manifest) => Ok((manifest.dead_letter_topic, manifest.group)),
        Err(error @ FindError::Gone { .. }) => Err(Usage(format!(
            "{error}. Letters of a handler that is gone can be listed, shown and purged by --topic, \
             but not replayed: nobody would handle them"
        ))
        .into()),
        Err(error) => Err(Usage(error.to_string()).into()),
    }
}

/// Sees to it that records can come back to a handler: the topic is that of its group, which must be its own.
pub(super) fn reads_alone(
    handler: &HandlerId,
    group: &GroupId,
    folder: Option<&Path>,
) -> anyhow::Result<()> {
    let Some(folder) = folder else { return Ok(()) };
    match find_sharer(folder, handler, group) {
        Ok(None) => Ok(()),
        Ok(Some(other)) => Err(Usage(format!(
            "{handler} shares the group {group} with {other}, so nothing can come back to it (give one of them another \
             group in its manifest)"
        ))
        .into()),
        Err(error) => Err(Usage(error.to_string()).into()),
    }
}

/// Returns the topic for replays of a group.
pub(super) fn replays(group: &GroupId) -> anyhow::Result<TopicName> {
    replay_topic(group).map_err(|error: NameError| {
        Usage(format!(
            "the group {group} cannot have a topic {group}.replay: {error}"
        ))
        .into()
    })
}
