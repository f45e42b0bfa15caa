//! The keys of `tenant.toml`.
//!
//! **Invariant:** every key of the file is in [`TENANT_KEYS`], once.

use crate::manifest::key::{Key, Kind};
use crate::manifest::keys::middleware::MIDDLEWARE;

/// All keys, in the order of the documentation.
pub(crate) static TENANT_KEYS: &[&Key] = &[
    &MIDDLEWARE,
    &CONSUME,
    &PRODUCE,
    &GROUPS,
    &HANDLERS,
    &COMPONENT_MIB,
    &MEMORY_MIB,
    &DEADLINE_MS,
    &IN_FLIGHT_MIB,
    &PENDING_REQUESTS,
];

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
pub(crate) const HANDLERS: Key = Key {
    path: "quotas.handlers",
    kind: Kind::Whole {
        unit: "handlers",
        min: 1,
        max: 100_000,
        default: None,
    },
    doc: "Handlers that the tenant may have on a host. One more is not deployed.",
};
pub(crate) const COMPONENT_MIB: Key = Key {
    path: "quotas.component-mib",
    kind: Kind::Whole {
        unit: "MiB",
        min: 1,
        max: 1024,
        default: None,
    },
    doc: "Size of the file of a component. A larger one is not even read.",
};
pub(crate) const MEMORY_MIB: Key = Key {
    path: "quotas.memory-mib",
    kind: Kind::Whole {
        unit: "MiB",
        min: 1,
        max: 4096,
        default: None,
    },
    doc: "What `limits.memory-mib` of a manifest may be.",
};
pub(crate) const DEADLINE_MS: Key = Key {
    path: "quotas.deadline-ms",
    kind: Kind::Whole {
        unit: "milliseconds",
        min: 1,
        max: 3_600_000,
        default: None,
    },
    doc: "What `limits.deadline-ms` may be.",
};
pub(crate) const IN_FLIGHT_MIB: Key = Key {
    path: "quotas.in-flight-mib",
    kind: Kind::Whole {
        unit: "MiB",
        min: 1,
        max: 1024,
        default: None,
    },
    doc: "What `limits.in-flight-mib` may be.",
};
pub(crate) const PENDING_REQUESTS: Key = Key {
    path: "quotas.pending-requests",
    kind: Kind::Whole {
        unit: "requests",
        min: 1,
        max: 100_000,
        default: None,
    },
    doc: "What `limits.pending-requests` may be.",
};
