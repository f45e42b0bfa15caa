//! The keys by which a handler says how its outputs are written.

use crate::manifest::key::{Key, Kind};

pub(crate) const KEY_FROM: Key = Key {
    path: "publish.key-from",
    kind: Kind::Text {
        what: "a JSON pointer such as \"/id\"",
        default: "",
    },
    doc: "Where the key of a record that is emitted without one stands in its own value, a JSON document: a text, a number, \
          true or false under this JSON pointer (RFC 6901). A value that has none of them there is not emitted.",
};
