//! The names of what is measured.
//!
//! **Invariant:** each variant does the same with the same records as the one it is compared with.

use std::fmt;

use clap::ValueEnum;

/// How many routes a handler has that has many.
const ROUTES: usize = 100;

/// Three middlewares, each with `more` keys.
fn behind(more: &str) -> String {
    let table = |n| format!("{{ component = \"through.wasm\", name = \"{n}\"{more} }}");
    let tables: Vec<String> = (1..=3).map(table).collect();
    format!("middleware = [{}]\n", tables.join(", "))
}

/// One way to carry records from a topic to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Variant {
    /// Pass-through by a native loop as a careful user writes it.
    Native,
    /// Pass-through by a native loop with batches and raw queues.
    Tuned,
    /// Pass-through by a handler in the host.
    Host,
    /// Pass-through by a handler in the host, in the order of keys.
    HostKey,
    /// Pass-through by a handler in the host, with a commit each 100 ms.
    HostCommits,
    /// Pass-through by a handler in the host, exactly once, with a transaction each 100 ms.
    HostOnce,
    /// Pass-through by a handler in the host whose producer waits for no more outputs.
    HostAtOnce,
    /// Pass-through by a handler in the host whose producer waits up to 5 ms for more outputs.
    HostLinger,
    /// The JSON transform in the native user loop.
    NativeJson,
    /// The JSON transform by a handler in the host.
    HostJson,
    /// Three JSON fields read, the record sent on, by the native user loop.
    NativeFields,
    /// The same by the native loop with batches and raw queues.
    TunedFields,
    /// The same by a handler in the host, with which the record stays.
    HostFields,
    /// Pass-through by a handler in the host that is found by one of 100 routes.
    HostRoutes,
    /// Pass-through by a handler in the host behind three middlewares that let every record pass.
    HostBehind,
    /// The same, with middlewares that hand every record back.
    HostChanged,
    /// Reads and drops.
    ConsumeOnly,
    /// Writes made-up records.
    ProduceOnly,
}

impl Variant {
    /// All, in the order in which they run.
    pub(crate) const ALL: [Self; 18] = [
        Self::Native,
        Self::Tuned,
        Self::Host,
        Self::HostKey,
        Self::HostCommits,
        Self::HostOnce,
        Self::HostAtOnce,
        Self::HostLinger,
        Self::NativeJson,
        Self::HostJson,
        Self::NativeFields,
        Self::TunedFields,
        Self::HostFields,
        Self::HostRoutes,
        Self::HostBehind,
        Self::HostChanged,
        Self::ConsumeOnly,
        Self::ProduceOnly,
    ];

    /// Returns what its CPU time is divided by.
    pub(crate) fn baseline(self) -> Self {
        match self {
            Self::NativeJson | Self::HostJson => Self::NativeJson,
            Self::NativeFields | Self::TunedFields | Self::HostFields => Self::NativeFields,
            Self::HostCommits | Self::HostOnce => Self::HostCommits,
            Self::HostAtOnce
            | Self::HostLinger
            | Self::HostRoutes
            | Self::HostBehind
            | Self::HostChanged => Self::Host,
            _ => Self::Native,
        }
    }

    /// Returns whether it is measured only when asked for.
    pub(crate) fn is_extra(self) -> bool {
        self.is_floor()
            || self.baseline() == Self::Host
            || matches!(self, Self::HostKey | Self::HostCommits | Self::HostOnce)
    }

    /// Returns whether it is half of a path only.
    pub(crate) fn is_floor(self) -> bool {
        matches!(self, Self::ConsumeOnly | Self::ProduceOnly)
    }

    /// Returns what its manifest says beside topics and group.
    pub(crate) fn manifest(self) -> String {
        match self {
            Self::HostKey => "ordering = \"key\"\n".to_owned(),
            Self::HostCommits => "kafka.consumer.\"auto.commit.interval.ms\" = 100\n".to_owned(),
            Self::HostOnce => "delivery = \"exactly-once\"\n".to_owned(),
            Self::HostAtOnce => "kafka.producer.\"linger.ms\" = 0\n".to_owned(),
            Self::HostLinger => "kafka.producer.\"linger.ms\" = 5\n".to_owned(),
            Self::HostRoutes => {
                let routes: Vec<String> = (1..ROUTES)
                    .map(|n| format!("{{ event = \"event-{n}\" }}"))
                    .collect();
                let all = "{ event = \"*\" }";
                let routes = routes.join(", ");
                format!("event.source = \"value:/name\"\nroute = [{routes}, {all}]\n")
            }
            Self::HostBehind => behind(""),
            Self::HostChanged => behind(", config = { change = \"all\" }"),
            _ => String::new(),
        }
    }

    /// Returns the fixture that stands beside its own, where its manifest names one.
    pub(crate) fn beside(self) -> Option<&'static str> {
        matches!(self, Self::HostBehind | Self::HostChanged).then_some("through")
    }

    /// Returns the fixture that the host runs, of a variant of the host.
    pub(crate) fn guest(self) -> Option<&'static str> {
        match self {
            Self::Host
            | Self::HostKey
            | Self::HostCommits
            | Self::HostOnce
            | Self::HostAtOnce
            | Self::HostLinger
            | Self::HostRoutes
            | Self::HostBehind
            | Self::HostChanged => Some("pass"),
            Self::HostJson => Some("json"),
            Self::HostFields => Some("fields"),
            _ => None,
        }
    }

    /// Returns its name on the command line.
    pub(crate) fn argument(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Tuned => "tuned",
            Self::Host => "host",
            Self::HostKey => "host-key",
            Self::HostCommits => "host-commits",
            Self::HostOnce => "host-once",
            Self::HostAtOnce => "host-at-once",
            Self::HostLinger => "host-linger",
            Self::NativeJson => "native-json",
            Self::HostJson => "host-json",
            Self::NativeFields => "native-fields",
            Self::TunedFields => "tuned-fields",
            Self::HostFields => "host-fields",
            Self::HostRoutes => "host-routes",
            Self::HostBehind => "host-behind",
            Self::HostChanged => "host-changed",
            Self::ConsumeOnly => "consume-only",
            Self::ProduceOnly => "produce-only",
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "pass-through, native user loop",
            Self::Tuned => "pass-through, native tuned loop",
            Self::Host => "pass-through, host",
            Self::HostKey => "pass-through, host, order by key",
            Self::HostCommits => "pass-through, host, a commit each 100 ms",
            Self::HostOnce => "pass-through, host, exactly once",
            Self::HostAtOnce => "pass-through, host, `linger.ms = 0`",
            Self::HostLinger => "pass-through, host, `linger.ms = 5`",
            Self::NativeJson => "JSON transform, native user loop",
            Self::HostJson => "JSON transform, host",
            Self::NativeFields => "three fields and on, native user loop",
            Self::TunedFields => "three fields and on, native tuned loop",
            Self::HostFields => "three fields and on, host",
            Self::HostRoutes => "pass-through, host, 100 routes",
            Self::HostBehind => "pass-through, host, behind 3 middlewares",
            Self::HostChanged => "pass-through, host, behind 3 that change",
            Self::ConsumeOnly => "consume only, native",
            Self::ProduceOnly => "produce only, native",
        })
    }
}
