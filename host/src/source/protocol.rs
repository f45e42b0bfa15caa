//! Which protocol the members of a group speak, and who decides it with `group.protocol = "auto"`: the brokers.
//!
//! Handed what librdkafka logs while a consumer of the protocol of KIP-848 is tried, since a member whose coordinator lacks
//! the protocol asks for ever. Having the request says little: brokers have it also where the protocol is not enabled. So
//! the word of the group's coordinator counts, too.
//! **Invariant:** a consumer that Kafka has given partitions keeps its protocol.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use rdkafka::client::{Client, ClientContext};
use rdkafka::types::RDKafkaErrorCode;

use crate::api_versions::{ApiVersions, Needed, Told};
use crate::manifest::kafka::GROUP_PROTOCOL;

/// What librdkafka sends as a member.
const HEARTBEAT: Needed = Needed {
    name: "ConsumerGroupHeartbeat",
    key: 68,
    version: 1,
    kip: "KIP-848",
};

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
    /// What brokers tell counts.
    #[default]
    Open,
    /// The coordinator does not take it, for this reason.
    Refused(String),
    /// The coordinator has given out partitions.
    Taken,
}

/// Whether the brokers take a consumer of KIP-848.
#[derive(Debug)]
pub(super) struct Trial {
    versions: ApiVersions,
    state: Mutex<State>,
}

impl Default for Trial {
    fn default() -> Self {
        Self {
            versions: ApiVersions::new(HEARTBEAT),
            state: Mutex::default(),
        }
    }
}

impl Trial {
    /// Takes note of a line of librdkafka's log.
    pub(super) fn hear(&self, facility: &str, line: &str) {
        self.versions.hear(facility, line);
    }

    /// Takes note that partitions were given out, which counts more than what brokers told; returns whether that is news.
    pub(super) fn end(&self) -> bool {
        std::mem::replace(&mut *self.state.lock(), State::Taken) != State::Taken
    }

    /// Returns whether a broker has told that it can, and none that it cannot.
    pub(super) fn may_subscribe(&self) -> bool {
        match *self.state.lock() {
            State::Open => self.versions.told() == Told::Offered,
            State::Refused(_) => false,
            State::Taken => true,
        }
    }

    /// Looks whether the client came to its end because the coordinator does not take the protocol.
    pub(super) fn is_ended<C: ClientContext>(&self, client: &Client<C>) -> bool {
        let mut state = self.state.lock();
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
        match &*self.state.lock() {
            State::Open => match self.versions.told() {
                Told::Lacking(why) => Some(why),
                Told::Nothing | Told::Offered => None,
            },
            State::Refused(why) => Some(why.clone()),
            State::Taken => None,
        }
    }
}

#[cfg(test)]
mod tests;
