//! Which protocol the members of a group speak, and who decides it with `group.protocol = "auto"`: the brokers.
//!
//! Handed what librdkafka logs while a consumer of the protocol of KIP-848 is tried, since librdkafka tells nobody else
//! what brokers can do, and a member whose coordinator lacks the protocol asks for ever. Having the request says little:
//! brokers have it also where the protocol is not enabled. So the word of the group's coordinator counts, too.
//! **Invariant:** a consumer that Kafka has given partitions keeps its protocol.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::client::{Client, ClientContext};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::types::RDKafkaErrorCode;
use tokio::time::Instant;

use crate::manifest::kafka::GROUP_PROTOCOL;

/// The version of `ConsumerGroupHeartbeat` that librdkafka sends.
const VERSION: i16 = 1;
/// How long one poll of a consumer lasts that is being closed.
const POLL: Duration = Duration::from_millis(10);
/// How long a consumer that was given nothing may take to close.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// The protocol between the members of a group and its coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// One of the members shares out the partitions.
    Classic,
    /// The coordinator does (KIP-848).
    Consumer,
    /// As [`Self::Consumer`], unless the brokers cannot do that.
    Auto,
}

impl Protocol {
    /// Returns the protocol that these settings of librdkafka ask for.
    pub(super) fn of(kafka: &BTreeMap<String, String>) -> Self {
        match kafka.get(GROUP_PROTOCOL).map(String::as_str) {
            None | Some("classic") => Self::Classic,
            Some("auto") => Self::Auto,
            Some(_) => Self::Consumer,
        }
    }

    /// Returns librdkafka's word for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Consumer | Self::Auto => "consumer",
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum State {
    /// No broker has told yet what it can do.
    #[default]
    Asking,
    /// All brokers that told it can so far.
    Offered,
    /// One cannot or will not, for this reason.
    Refused(String),
    /// The coordinator has given out partitions.
    Taken,
}

/// Whether the brokers take a consumer of KIP-848.
#[derive(Debug, Default)]
pub(super) struct Trial(Mutex<State>);

impl Trial {
    /// Takes note of a line of librdkafka's log about what a broker can do.
    pub(super) fn hear(&self, line: &str) {
        let mut state = self.0.lock();
        match (&*state, verdict(line)) {
            (State::Asking, Some(true)) => *state = State::Offered,
            (State::Asking | State::Offered, Some(false)) => {
                *state = State::Refused(format!(
                    "broker {} does not have ConsumerGroupHeartbeat of version {VERSION} (KIP-848)",
                    broker(line)
                ));
            }
            _ => {}
        }
    }

    /// Takes note that partitions were given out, which counts more than what brokers told; returns whether that is news.
    pub(super) fn end(&self) -> bool {
        std::mem::replace(&mut *self.0.lock(), State::Taken) != State::Taken
    }

    /// Returns whether a broker has told that it can, and none that it cannot.
    pub(super) fn may_subscribe(&self) -> bool {
        matches!(*self.0.lock(), State::Offered | State::Taken)
    }

    /// Looks whether the client came to its end because the coordinator does not take the protocol.
    pub(super) fn is_ended<C: ClientContext>(&self, client: &Client<C>) -> bool {
        let mut state = self.0.lock();
        if *state == State::Taken {
            return false;
        }
        let Some((code, why)) = client.fatal_error() else {
            return false;
        };
        let is_refused = matches!(
            code,
            RDKafkaErrorCode::UnsupportedVersion | RDKafkaErrorCode::UnsupportedFeature
        );
        if is_refused {
            *state = State::Refused(format!("the group's coordinator refuses KIP-848: {why}"));
        }
        is_refused
    }

    /// Returns why the brokers do not take the protocol, if they do not.
    pub(super) fn refusal(&self) -> Option<String> {
        match &*self.0.lock() {
            State::Refused(why) => Some(why.clone()),
            _ => None,
        }
    }
}

/// Closes a consumer that was given no partitions.
pub(super) fn close<C: ConsumerContext>(consumer: BaseConsumer<C>, group: &str) {
    // A client that was ended by its coordinator cannot be closed and need not be: dropping it is enough.
    if consumer.close_queue().is_ok() {
        let deadline = Instant::now() + CLOSE_MAX;
        while !consumer.closed() && Instant::now() < deadline {
            consumer.poll(POLL);
        }
        if !consumer.closed() {
            tracing::warn!(group, "the consumer that was tried is left open");
            // Dropping it would wait without an end.
            std::mem::forget(consumer);
        }
    }
}

/// Reads whether a broker can share out partitions from a line such as `… ApiKey ConsumerGroupHeartbeat (68) Versions 0..1`
/// or, where it does not have the request, `… Feature …: ConsumerGroupHeartbeat (0..32767) NOT supported by broker`.
fn verdict(line: &str) -> Option<bool> {
    if let Some((_, versions)) = line.split_once("ConsumerGroupHeartbeat (68) Versions ") {
        let (min, max) = versions.trim().split_once("..")?;
        let (min, max): (i16, i16) = (min.parse().ok()?, max.parse().ok()?);
        return Some((min..=max).contains(&VERSION));
    }
    let is_missing =
        line.contains(": ConsumerGroupHeartbeat (") && line.contains(" NOT supported by broker");
    is_missing.then_some(false)
}

/// Returns the name of the broker that a line is about: `[thrd:…]: name: …`.
fn broker(line: &str) -> &str {
    let rest = line.split_once("]: ").map_or(line, |(_, rest)| rest);
    rest.split_once(": ").map_or(rest, |(name, _)| name)
}

#[cfg(test)]
mod tests;
