//! The key of `host.toml` for secrets.
//!
//! **Invariant:** only the operator says where secrets lie.

use crate::manifest::{Key, Kind};

pub(super) const SECRETS: Key = Key {
    path: "secrets",
    kind: Kind::Text {
        what: "the path of a folder",
        default: "",
    },
    doc: "Folder of secrets, a file each, which configs of components may name where `tenant.toml` allows it.",
};
