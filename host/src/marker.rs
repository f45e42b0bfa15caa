//! What the topic of parked keys says: for each parked key of a group a state, which the host writes that reads the
//! key's partition, and at times a request, which the command `dead-letter replay` writes.
//!
//! Handed keys and values of records; knows no Kafka client. The topic is compacted, so a key has one value: its last.
//! **Invariant:** two different places of keys are never written alike, and a state that cannot be read still parks its
//! key.

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::ids::{GroupId, NameError, TopicName};

/// What the name of the topic ends with in which a group keeps its parked keys.
const SUFFIX: &str = ".parked";

/// Returns the topic in which a group keeps its parked keys.
pub fn parked_topic(group: &GroupId) -> Result<TopicName, NameError> {
    TopicName::with_suffix(group, SUFFIX)
}

/// A topic and a partition.
pub type Place = (String, i32);

/// A key within a partition of what a group reads.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    /// In the topic of replays: where the records of the key were first.
    pub of: Option<Place>,
    /// The key of the records.
    pub key: Vec<u8>,
}

/// Whose word a marker is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Says {
    /// Of the host that reads the partition.
    State,
    /// Of the command that replays the key in this session. Each has a marker of its own, so that none of two that ask at
    /// once covers what the other asked for. Empty in the marker of earlier commands, which had one for all of them.
    Request(String),
}

/// As a marker's key names the kind of its writer.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    State,
    Request,
}

/// The key of a marker.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MarkerKey {
    /// The partition that the group reads.
    pub place: Place,
    /// The key there.
    pub slot: Slot,
    pub says: Says,
}

/// As the key of a marker is written.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Written {
    says: Kind,
    topic: String,
    partition: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    of: Option<Place>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<String>,
}

/// A record of the topic is no marker.
#[derive(Debug, thiserror::Error)]
pub enum MarkerError {
    /// Its key is not what a host writes.
    #[error("its key is none that a host writes: {0}")]
    Form(#[from] serde_json::Error),
    /// The key of the parked records is missing.
    #[error("its key names no key of records")]
    NoKey,
}

impl MarkerKey {
    /// Returns the bytes that stand for it.
    pub fn encode(&self) -> Vec<u8> {
        let text = std::str::from_utf8(&self.slot.key).ok().map(str::to_owned);
        let key_base64 = text.is_none().then(|| BASE64.encode(&self.slot.key));
        let (says, session) = match &self.says {
            Says::State => (Kind::State, None),
            Says::Request(session) => {
                let session = Some(session.clone()).filter(|session| !session.is_empty());
                (Kind::Request, session)
            }
        };
        encoded(&Written {
            says,
            topic: self.place.0.clone(),
            partition: self.place.1,
            of: self.slot.of.clone(),
            key: text,
            key_base64,
            session,
        })
    }

    /// Reads what [`Self::encode`] writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, MarkerError> {
        let written: Written = serde_json::from_slice(bytes)?;
        let base64 = written.key_base64.map(|text| BASE64.decode(text));
        let key = match (written.key, base64) {
            (Some(text), _) => text.into_bytes(),
            (None, Some(Ok(bytes))) => bytes,
            (None, _) => return Err(MarkerError::NoKey),
        };
        Ok(Self {
            place: (written.topic, written.partition),
            slot: Slot {
                of: written.of,
                key,
            },
            says: match written.says {
                Kind::State => Says::State,
                Kind::Request => Says::Request(written.session.unwrap_or_default()),
            },
        })
    }
}

/// What a host says of a parked key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct State {
    /// Whose records they are, as `tenant/handler`.
    pub handler: String,
    /// The offset of the first record that was given up or followed.
    pub first: i64,
    /// The offset of the last one.
    pub last: i64,
    /// What kind of failure the first one was.
    pub error_kind: String,
    /// When the key was parked, in milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// In the topic of replays: the session whose replay failed there. Else: the session for which later records wait,
    /// while all up to the last one lie in the dead letters.
    pub session: Option<String>,
}

impl State {
    /// Returns the value of the marker.
    pub fn encode(&self) -> Vec<u8> {
        encoded(self)
    }
}

/// What a command asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Want {
    /// Later records of the key shall wait.
    Hold,
    /// All parked records are handled: later ones shall go on.
    Unpark,
}

/// A request of a command that replays a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Request {
    /// Tells one replay of the key from others.
    pub session: String,
    pub want: Want,
    /// A hold ends when it is not asked for again within this time.
    pub lease_ms: u64,
    /// With [`Want::Unpark`]: the offset of the last record that was parked when the replay began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<i64>,
}

impl Request {
    /// Returns the value of the marker.
    pub fn encode(&self) -> Vec<u8> {
        encoded(self)
    }
}

fn encoded(value: &impl Serialize) -> Vec<u8> {
    // Texts and numbers always have a place in JSON.
    serde_json::to_vec(value).unwrap_or_default()
}

/// A request, and when it was read, as a number that rises from one to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub request: Request,
    pub number: u64,
}

/// The last request of each session that asks for a key.
pub type Askers = BTreeMap<String, Asked>;

/// The markers of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlaceMarkers {
    pub states: HashMap<Slot, State>,
    /// What is asked of each key, by the session that its marker names.
    pub requests: HashMap<Slot, Askers>,
}

/// All markers of a group, as the topic was read so far.
#[derive(Debug, Default)]
pub struct Markers {
    places: HashMap<Place, PlaceMarkers>,
    read: u64,
}

impl Markers {
    /// Takes note of a record of the topic. Returns whether it may be news for the host that reads the partition: what that
    /// host says of its own keys is none.
    pub fn apply(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<bool, MarkerError> {
        let key = MarkerKey::decode(key)?;
        let is_news = key.says != Says::State || key.slot.of.is_some();
        self.read += 1;
        let markers = self.places.entry(key.place.clone()).or_default();
        match (key.says, value) {
            (Says::State, Some(value)) => {
                // Whatever else it says, the key is parked.
                let state = serde_json::from_slice(value).unwrap_or_default();
                markers.states.insert(key.slot, state);
            }
            (Says::State, None) => {
                markers.states.remove(&key.slot);
            }
            (Says::Request(session), Some(value)) => {
                let request = serde_json::from_slice(value)?;
                let number = self.read;
                let askers = markers.requests.entry(key.slot).or_default();
                askers.insert(session, Asked { request, number });
            }
            (Says::Request(session), None) => {
                if let Some(askers) = markers.requests.get_mut(&key.slot) {
                    askers.remove(&session);
                }
                markers.requests.retain(|_, askers| !askers.is_empty());
            }
        }
        if markers.states.is_empty() && markers.requests.is_empty() {
            self.places.remove(&key.place);
        }
        Ok(is_news)
    }

    /// Returns the markers of a partition.
    pub fn of(&self, topic: &str, partition: i32) -> PlaceMarkers {
        let place = (topic.to_owned(), partition);
        self.places.get(&place).cloned().unwrap_or_default()
    }

    /// Lists the states of all parked keys, in the order of their places.
    pub fn states(&self) -> Vec<(&Place, &Slot, &State)> {
        let mut all: Vec<_> = self
            .places
            .iter()
            .flat_map(|(place, markers)| {
                let states = markers.states.iter();
                states.map(move |(slot, state)| (place, slot, state))
            })
            .collect();
        all.sort_by_key(|(place, slot, _)| (*place, *slot));
        all
    }
}

#[cfg(test)]
mod tests;
