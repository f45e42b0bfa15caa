//! The keys of `tenant.toml`.
//!
//! **Invariant:** every key of the file is in [`TENANT_KEYS`], once.

use crate::manifest::key::{Key, Kind};
use crate::manifest::keys::middleware::MIDDLEWARE;

/// All keys, in the order of the documentation.
pub(crate) static TENANT_KEYS: &[&Key] = &[&MIDDLEWARE, &CONSUME, &PRODUCE, &GROUPS];

pub(crate) const CONSUME: Key = Key {
    path: "grants.consume",
    kind: Kind::Texts {
        what: "names of topics or globs of them",
        example: "[\"orders\", \"acme.*\"]",
    },
    doc: "Topics that the tenant's handlers may read. What is not named may not be read.",
};
pub(crate) const PRODUCE: Key = Key {
    path: "grants.produce",
    kind: Kind::Texts {
        what: "names of topics or globs of them",
        example: "[\"acme.*\"]",
    },
    doc: "Topics that they may write, and that the host writes for them: dead letters, retries. What is not named may not be \
          written.",
};
pub(crate) const GROUPS: Key = Key {
    path: "grants.groups",
    kind: Kind::Texts {
        what: "names of groups or globs of them",
        example: "[\"acme.*\"]",
    },
    doc: "Consumer groups of which they may be members. What is not named may not be joined.",
};
