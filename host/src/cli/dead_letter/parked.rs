//! The parked keys of a group, as the command sees them.
//!
//! It is handed a group, and reads the topic of its parked keys.
//! **Invariant:** nothing is written; a topic that does not exist says that no key is parked.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::bail;
use serde_json::json;
use tokio::time::Instant;

use super::print::key_text;
use super::topics::Session;
use super::{ReachArgs, counted};
use crate::ids::{GroupId, HandlerId, TopicName};
use crate::letter::time_text;
use crate::marker::{Markers, Place, Slot, State, parked_topic};
use crate::marker_log::MarkerLog;

/// Markers that are read before something else is looked at.
const AT_ONCE: usize = 100;
/// How long to wait for one.
const POLL: Duration = Duration::from_millis(20);

/// A parked key: where its records were, and which key it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ParkedKey {
    pub(super) place: Place,
    pub(super) key: Vec<u8>,
    pub(super) state: State,
}

impl ParkedKey {
    /// Returns what stands for it where records come from.
    pub(super) fn slot(&self) -> Slot {
        Slot {
            of: None,
            key: self.key.clone(),
        }
    }

    /// Names it for a person.
    pub(super) fn name(&self) -> String {
        let (topic, partition) = &self.place;
        format!("key {} of {topic}[{partition}]", key_text(&self.key))
    }
}

/// See the module.
pub(super) struct ParkedTopic {
    pub(super) name: TopicName,
    log: MarkerLog,
    pub(super) markers: Markers,
    timeout: Duration,
}

impl ParkedTopic {
    /// Reads the topic; none where there is no such topic.
    pub(super) fn open(
        session: &Session<'_>,
        reach: &ReachArgs,
        group: &GroupId,
    ) -> anyhow::Result<Option<Self>> {
        let Ok(name) = parked_topic(group) else {
            return Ok(None);
        };
        if session.partitions(&name)?.is_none() {
            return Ok(None);
        }
        let config = reach.connect.config(&[], &[])?;
        let mut log = MarkerLog::new(config, &name)?;
        let deadline = Instant::now() + reach.timeout;
        let is_there = loop {
            match log.find() {
                Ok(is_there) => break is_there,
                Err(_) if Instant::now() < deadline => {}
                Err(error) => bail!("cannot look for topic {name}: {error}"),
            }
        };
        if !is_there {
            return Ok(None);
        }
        let mut topic = Self {
            name,
            log,
            markers: Markers::default(),
            timeout: reach.timeout,
        };
        topic.read_to_end()?;
        Ok(Some(topic))
    }

    /// Reads all that is there now.
    pub(super) fn read_to_end(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let why = match self.log.go_to_end() {
                Ok(true) => break,
                Ok(false) => "a transaction is open".to_owned(),
                Err(error) => error,
            };
            if Instant::now() > deadline {
                bail!("cannot read topic {}: {why}", self.name);
            }
            std::thread::sleep(POLL);
        }
        while !self.log.is_at_end() {
            self.read_some();
            if Instant::now() > deadline {
                let why = self.log.trouble().unwrap_or_default();
                bail!(
                    "topic {} could not be read to its end within {:?} (--timeout) {why}",
                    self.name,
                    self.timeout
                );
            }
        }
        Ok(())
    }

    /// Reads what is new, waiting a moment for it.
    pub(super) fn read_some(&mut self) {
        for _ in 0..AT_ONCE {
            let Some((key, value)) = self.log.poll(POLL) else {
                return;
            };
            // What is no marker says nothing of keys.
            let _ = self.markers.apply(&key, value.as_deref());
        }
    }

    /// Lists the parked keys of a handler's topics, of all handlers where none is named; without those of replays.
    pub(super) fn keys(&self, handler: Option<&HandlerId>) -> Vec<ParkedKey> {
        let states = self.markers.states().into_iter();
        states
            .filter(|(_, slot, state)| {
                let is_of = handler.is_none_or(|handler| state.handler == handler.to_string());
                // A state that cannot be read parks its key, whosever it is.
                slot.of.is_none() && (is_of || state.handler.is_empty())
            })
            .map(|(place, slot, state)| ParkedKey {
                place: place.clone(),
                key: slot.key.clone(),
                state: state.clone(),
            })
            .collect()
    }
}

/// Prints a line for each parked key, and how many there are.
pub(super) fn print(out: &mut dyn Write, keys: &[ParkedKey], as_json: bool) -> io::Result<()> {
    for key in keys {
        let (topic, partition) = &key.place;
        let State {
            handler,
            first,
            last,
            error_kind,
            time_ms,
            session,
        } = &key.state;
        if as_json {
            let text = std::str::from_utf8(&key.key).ok();
            let line = json!({
                "topic": topic, "partition": partition, "key": text, "handler": handler, "first-offset": first,
                "last-offset": last, "error-kind": error_kind, "time": time_text(*time_ms),
                "replaying": session.is_some(),
            });
            writeln!(out, "{line}")?;
            continue;
        }
        let is_held = if session.is_some() {
            "  being replayed"
        } else {
            ""
        };
        writeln!(
            out,
            "{topic}[{partition}]  {key}  {handler}  {error_kind}  offsets {first} to {last}  {time}{is_held}",
            key = key_text(&key.key),
            time = time_text(*time_ms),
        )?;
    }
    if !as_json {
        writeln!(out, "{}", summary(keys.len() as u64))?;
    }
    Ok(())
}

/// Says how many keys are parked.
pub(super) fn summary(keys: u64) -> String {
    counted(keys, "parked key", "parked keys")
}
