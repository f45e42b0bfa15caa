//! Whether the host creates topics.

use crate::manifest::{Key, Kind};

pub(super) const CREATE_TOPICS: Key = Key {
    path: "create-topics",
    kind: Kind::Flag { default: false },
    doc: "Whether topics that handlers declare or need are created when they are deployed, as `topics apply` does.",
};
