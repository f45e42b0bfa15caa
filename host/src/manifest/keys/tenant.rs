//! The keys of `tenant.toml`.
//!
//! **Invariant:** every key of the file is in [`TENANT_KEYS`], once.

use crate::manifest::kafka::Clients;
use crate::manifest::key::{Key, Kind};
use crate::manifest::keys::middleware::MIDDLEWARE;
use crate::rate::Rate;

/// All keys, in the order of the documentation.
pub(crate) static TENANT_KEYS: &[&Key] = &[
    &TOPIC_PREFIX,
    &MIDDLEWARE,
    &CONSUME,
    &PRODUCE,
    &GROUPS,
    &IMPORTS,
    &SECRETS_ENV,
    &SECRETS_FILES,
    &HANDLERS,
    &COMPONENT_MIB,
    &COMPILE_MS,
    &MEMORY_MIB,
    &DEADLINE_MS,
    &IN_FLIGHT_MIB,
    &PENDING_REQUESTS,
    &RECORDS_PER_S,
    &EMIT_RECORDS_PER_S,
    &EMIT_MIB_PER_S,
    &CPU_PERCENT,
    &LOG_LINES_PER_S,
    &KAFKA,
];

/// The keys of what is counted by the second.
pub(crate) static RATES: [(Rate, &Key); Rate::ALL.len()] = [
    (Rate::Records, &RECORDS_PER_S),
    (Rate::EmitRecords, &EMIT_RECORDS_PER_S),
    (Rate::EmitBytes, &EMIT_MIB_PER_S),
    (Rate::Cpu, &CPU_PERCENT),
    (Rate::LogLines, &LOG_LINES_PER_S),
];

pub(crate) const TOPIC_PREFIX: Key = Key {
    path: "topic-prefix",
    kind: Kind::Text {
        what: "the beginning of names such as \"acme.\"",
        default: "",
    },
    doc: "What the names of the tenant's topics and groups begin with. Names in manifests and from components that do not begin \
          with it get it.",
};
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
pub(crate) const IMPORTS: Key = Key {
    path: "imports",
    kind: Kind::Texts {
        what: "names of packages or interfaces or globs of them",
        example: "[\"wasi:cli\", \"wasi:io\", \"wasi:clocks\"]",
    },
    doc: "What its components may import beyond the host's own interfaces; everything that the host offers where it is left out.",
};
pub(crate) const SECRETS_ENV: Key = Key {
    path: "secrets.env",
    kind: Kind::Texts {
        what: "names of variables or globs of them",
        example: "[\"ACME_*\"]",
    },
    doc: "Variables of the host's environment that the configs of its components may name. What is not named may not be read.",
};
pub(crate) const SECRETS_FILES: Key = Key {
    path: "secrets.files",
    kind: Kind::Texts {
        what: "names of files or globs of them",
        example: "[\"acme-*\"]",
    },
    doc: "Files of the host's folder of secrets (`secrets` in `host.toml`) that they may name.",
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
pub(crate) const COMPILE_MS: Key = Key {
    path: "quotas.compile-ms",
    kind: Kind::Whole {
        unit: "milliseconds",
        min: 1,
        max: 3_600_000,
        default: None,
    },
    doc: "Time that a component may take to compile. One that takes longer is not deployed. It depends on the machine and on what \
          else that does, so leave room.",
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
pub(crate) const RECORDS_PER_S: Key = Key {
    path: "quotas.records-per-s",
    kind: Kind::Whole {
        unit: "records a second",
        min: 1,
        max: 100_000_000,
        default: None,
    },
    doc: "Records that its handlers are handed, each attempt on its own. Beyond that the tenant's partitions wait, and nobody else's.",
};
pub(crate) const EMIT_RECORDS_PER_S: Key = Key {
    path: "quotas.emit-records-per-s",
    kind: Kind::Whole {
        unit: "records a second",
        min: 1,
        max: 100_000_000,
        default: None,
    },
    doc: "Records that they emit. What a record emits is sent in full; the tenant's partitions wait before the next one until it is \
          paid for.",
};
pub(crate) const EMIT_MIB_PER_S: Key = Key {
    path: "quotas.emit-mib-per-s",
    kind: Kind::Whole {
        unit: "MiB a second",
        min: 1,
        max: 100_000,
        default: None,
    },
    doc: "Size of what they emit, in the same way.",
};
pub(crate) const CPU_PERCENT: Key = Key {
    path: "quotas.cpu-percent",
    kind: Kind::Whole {
        unit: "percent of a core",
        min: 1,
        max: 100_000,
        default: None,
    },
    doc: "Time for which their hooks run: 100 is one core all the time. In the same way.",
};
pub(crate) const LOG_LINES_PER_S: Key = Key {
    path: "quotas.log-lines-per-s",
    kind: Kind::Whole {
        unit: "lines a second",
        min: 1,
        max: 1_000_000,
        default: None,
    },
    doc: "Lines that they write to the log. More are dropped and counted.",
};
pub(crate) const KAFKA: Key = Key {
    path: "kafka",
    kind: Kind::Table {
        clients: Some(Clients::All),
    },
    doc: "Settings of librdkafka for the clients of its handlers, over those of `host.toml` and of manifests, except those that \
          the host depends on. One may be named instead: `{ file = \"NAME\" }`.",
};
