//! The keys by which a handler says which records it takes.

use crate::manifest::key::{Key, Kind};
use crate::route;

pub(crate) static KEYS: &[&Key] = &[&TOPIC, &EVENT, &HEADERS];

pub(crate) const ROUTE: Key = Key {
    path: "route",
    kind: Kind::Rows { keys: KEYS },
    doc: "Which records the handler takes: those that match at least one of these. Left out, all of them, or those of the \
          events that the component names.",
};
pub(crate) const TOPIC: Key = Key {
    path: "topic",
    kind: Kind::Text {
        what: "a pattern of topic names",
        default: "",
    },
    doc: "Topic of the record: `*` is any run of characters, `?` is one. Left out, every topic that the handler reads.",
};
pub(crate) const EVENT: Key = Key {
    path: "event",
    kind: Kind::Text {
        what: "a pattern of events such as \"order.*\"",
        default: "",
    },
    doc: "Event of the record, which stands where `event.source` says; a pattern as for `topic`. Left out, every record, \
          also one without an event.",
};
pub(crate) const HEADERS: Key = Key {
    path: "headers",
    kind: Kind::Table { clients: None },
    doc: "Headers that the record must have, each with a pattern of its value; `\"*\"` is any value, also none.",
};
pub(crate) const EVENT_SOURCE: Key = Key {
    path: "event.source",
    kind: Kind::Text {
        what: "\"value:/json/pointer\", \"key\" or \"header:name\"",
        default: "`value:/event`",
    },
    doc: "Where the event of a record stands: in its value, a JSON document, under a JSON pointer (RFC 6901), in its key, or \
          in a header.",
};
pub(crate) const MULTI: Key = Key {
    path: "multi",
    kind: Kind::Choice {
        words: &["first", "all"],
    },
    doc: "Who takes a record that several routes match: the most specific one, or all of them, one after the other.",
};
pub(crate) const UNMATCHED: Key = Key {
    path: "unmatched",
    kind: Kind::Choice {
        words: &["skip", "dead-letter", "halt"],
    },
    doc: "What becomes of a record that no route matches. It is counted in any case.",
};
pub(crate) const MAX_HOPS: Key = Key {
    path: "max-hops",
    kind: Kind::Whole {
        unit: "hops",
        min: 1,
        max: 1000,
        default: Some(route::MAX_HOPS as u64),
    },
    doc: "How often handlers may have passed a record on; one that has come further goes round in a loop, and is not handled \
          but given up as `on-exhausted` says.",
};
