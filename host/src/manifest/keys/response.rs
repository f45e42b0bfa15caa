//! The keys by which a handler says where responses to its requests arrive.

use crate::manifest::key::{Key, Kind};

/// The keys of one table `[[response]]`.
pub(crate) static KEYS: &[&Key] = &[&TOPIC, &EVENT];

pub(crate) const RESPONSE: Key = Key {
    path: "response",
    kind: Kind::Rows { keys: KEYS },
    doc: "Where responses to the component's requests arrive. The first topic is told to whoever answers.",
};
pub(crate) const TOPIC: Key = Key {
    path: "topic",
    kind: Kind::Text {
        what: "a topic name",
        default: "",
    },
    doc: "Topic of the responses; must be given.",
};
pub(crate) const EVENT: Key = Key {
    path: "event",
    kind: Kind::Text {
        what: "the name of an event",
        default: "",
    },
    doc: "Name that a response has under `event` in its value, a JSON object. Left out, every record that bears the id of a \
          request is its response.",
};
