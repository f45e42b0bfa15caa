//! The names of what is measured.
//!
//! **Invariant:** each variant does the same with the same records as the one it is compared with.

use std::fmt;
use std::path::PathBuf;

use clap::ValueEnum;
use harness::{guest, root};

/// How many routes a handler has that has many.
const ROUTES: usize = 100;

/// What a tenant may have of Kafka: all.
const GRANTS: &str = "grants = { consume = [\"*\"], produce = [\"*\"], groups = [\"*\"] }\n";

/// More of the host than anybody can use.
const QUOTAS: &str = "[quotas]\nhandlers = 1000\ncomponent-mib = 1024\ncompile-ms = 3600000\nmemory-mib = 4096\n\
     deadline-ms = 3600000\nin-flight-mib = 1024\npending-requests = 100000\n\
     records-per-s = 100000000\nemit-records-per-s = 100000000\nemit-mib-per-s = 100000\n\
     cpu-percent = 100000\nlog-lines-per-s = 1000000\n";

/// Three middlewares, each with `more` keys.
fn behind(more: &str) -> String {
    let table = |n| format!("{{ component = \"through.wasm\", name = \"{n}\"{more} }}");
    let tables: Vec<String> = (1..=3).map(table).collect();
    format!("middleware = [{}]\n", tables.join(", "))
}

/// A pipeline with this step first, which then sends the record on.
fn pipeline(step: &str, output: &str) -> String {
    let steps = format!("{step}{{ pipe.topic = \"{output}\" }}");
    format!("pipeline = [{{ name = \"bench\", step = [{steps}] }}]\n")
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
    /// Pass-through by a handler in the host of a tenant with grants and without quotas.
    HostTenant,
    /// Pass-through by a handler in the host of a tenant with every quota, none of which is ever reached.
    HostQuotas,
    /// The JSON transform in the native user loop.
    NativeJson,
    /// The JSON transform by a handler in the host.
    HostJson,
    /// The same, of a tenant that is trusted: nothing interrupts it.
    HostJsonTrusted,
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
    /// Sent on by a pipeline of nothing else.
    HostPipe,
    /// By a pipeline with a built-in step that requires three JSON fields.
    HostPipelineBuiltin,
    /// By a pipeline with a step of a component that hands the record back.
    HostPipeline,
    /// Pass-through by a handler in Python.
    PythonPassing,
    /// Three JSON fields read by Python's own parser, the record sent on.
    PythonOwn,
    /// Sent on by a handler in Python with which the record does not stay.
    PythonStaying,
    /// The same, which has three JSON fields read by the host.
    PythonFields,
    /// Pass-through by a handler in JavaScript.
    JsPassing,
    /// Three JSON fields read by JavaScript's own parser, the record sent on.
    JsOwn,
    /// Sent on by a handler in JavaScript with which the record does not stay.
    JsStaying,
    /// The same, which has three JSON fields read by the host.
    JsFields,
    /// Pass-through by a handler in JavaScript, in QuickJS.
    QuickjsPassing,
    /// Three JSON fields read by QuickJS's own parser, the record sent on.
    QuickjsOwn,
    /// Sent on by a handler in JavaScript with which the record does not stay, in QuickJS.
    QuickjsStaying,
    /// The same, which has three JSON fields read by the host.
    QuickjsFields,
    /// Reads and drops.
    ConsumeOnly,
    /// Writes made-up records.
    ProduceOnly,
}

impl Variant {
    /// All, in the order in which they run.
    pub(crate) const ALL: [Self; 36] = [
        Self::Native,
        Self::Tuned,
        Self::Host,
        Self::HostKey,
        Self::HostCommits,
        Self::HostOnce,
        Self::HostAtOnce,
        Self::HostLinger,
        Self::HostTenant,
        Self::HostQuotas,
        Self::NativeJson,
        Self::HostJson,
        Self::HostJsonTrusted,
        Self::NativeFields,
        Self::TunedFields,
        Self::HostFields,
        Self::HostRoutes,
        Self::HostBehind,
        Self::HostChanged,
        Self::HostPipe,
        Self::HostPipelineBuiltin,
        Self::HostPipeline,
        Self::PythonPassing,
        Self::PythonOwn,
        Self::PythonStaying,
        Self::PythonFields,
        Self::JsPassing,
        Self::JsOwn,
        Self::JsStaying,
        Self::JsFields,
        Self::QuickjsPassing,
        Self::QuickjsOwn,
        Self::QuickjsStaying,
        Self::QuickjsFields,
        Self::ConsumeOnly,
        Self::ProduceOnly,
    ];

    /// Returns what its CPU time is divided by.
    pub(crate) fn baseline(self) -> Self {
        match self {
            Self::NativeJson | Self::HostJson => Self::NativeJson,
            Self::HostJsonTrusted => Self::HostJson,
            Self::NativeFields | Self::TunedFields | Self::HostFields => Self::NativeFields,
            Self::HostCommits | Self::HostOnce => Self::HostCommits,
            Self::HostAtOnce
            | Self::HostLinger
            | Self::HostTenant
            | Self::HostQuotas
            | Self::HostRoutes
            | Self::HostBehind
            | Self::HostChanged => Self::Host,
            Self::HostPipe | Self::HostPipelineBuiltin | Self::HostPipeline => Self::Host,
            Self::PythonPassing | Self::PythonOwn | Self::PythonStaying | Self::PythonFields => {
                Self::PythonOwn
            }
            Self::JsPassing | Self::JsOwn | Self::JsStaying | Self::JsFields => Self::JsOwn,
            Self::QuickjsPassing
            | Self::QuickjsOwn
            | Self::QuickjsStaying
            | Self::QuickjsFields => Self::QuickjsOwn,
            _ => Self::Native,
        }
    }

    /// Returns whether it is measured only when asked for.
    pub(crate) fn is_extra(self) -> bool {
        self.is_floor()
            || self.is_of_other_language()
            || self.baseline() == Self::Host
            || matches!(
                self,
                Self::HostKey | Self::HostCommits | Self::HostOnce | Self::HostJsonTrusted
            )
    }

    /// Returns whether it is half of a path only.
    pub(crate) fn is_floor(self) -> bool {
        matches!(self, Self::ConsumeOnly | Self::ProduceOnly)
    }

    /// Returns what its manifest says beside topics, group and config, of a variant of the host that writes `output`.
    pub(crate) fn manifest(self, output: &str) -> String {
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
            Self::HostPipe => pipeline("", output),
            Self::HostPipelineBuiltin => pipeline(
                "{ use = \"require\", args.pointers = [\"/id\", \"/name\", \"/total\"] }, ",
                output,
            ),
            Self::HostPipeline => pipeline("{ component = \"through.wasm\" }, ", output),
            _ => String::new(),
        }
    }

    /// Returns what the host's own file says.
    pub(crate) fn settings(self) -> &'static str {
        match self {
            Self::HostJsonTrusted => "[tenants.default]\ntrusted = true\n",
            _ => "",
        }
    }

    /// Returns what the file of its tenant says, of a variant whose tenant is not the default one.
    pub(crate) fn tenant(self) -> Option<String> {
        match self {
            Self::HostTenant => Some(GRANTS.to_owned()),
            Self::HostQuotas => Some(format!("{GRANTS}{QUOTAS}")),
            _ => None,
        }
    }

    /// Returns the fixture that stands beside its own, where its manifest names one.
    pub(crate) fn beside(self) -> Option<&'static str> {
        let is_named = matches!(
            self,
            Self::HostBehind | Self::HostChanged | Self::HostPipeline
        );
        is_named.then_some("through")
    }

    /// Returns whether its handler is written in another language than Rust.
    fn is_of_other_language(self) -> bool {
        matches!(
            self.baseline(),
            Self::PythonOwn | Self::JsOwn | Self::QuickjsOwn
        )
    }

    /// Returns whether the host runs it, and not a native loop.
    pub(crate) fn is_host(self) -> bool {
        let is_pipeline = matches!(
            self,
            Self::HostPipe | Self::HostPipelineBuiltin | Self::HostPipeline
        );
        is_pipeline || self.component().is_some()
    }

    /// Returns the component of its handler, where the host runs one that is more than pipelines.
    pub(crate) fn component(self) -> Option<PathBuf> {
        if self.is_of_other_language() {
            let file = format!("target/languages/{}.wasm", self.argument());
            return Some(root().join(file));
        }
        self.fixture().map(guest)
    }

    fn fixture(self) -> Option<&'static str> {
        match self {
            Self::Host
            | Self::HostKey
            | Self::HostCommits
            | Self::HostOnce
            | Self::HostAtOnce
            | Self::HostLinger
            | Self::HostTenant
            | Self::HostQuotas
            | Self::HostRoutes
            | Self::HostBehind
            | Self::HostChanged => Some("pass"),
            Self::HostJson | Self::HostJsonTrusted => Some("json"),
            Self::HostFields => Some("fields"),
            _ => None,
        }
    }

    /// Returns its name on the command line.
    pub(crate) fn argument(self) -> String {
        let value = self.to_possible_value();
        value
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
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
            Self::HostTenant => "pass-through, host, a tenant without quotas",
            Self::HostQuotas => "pass-through, host, a tenant with every quota",
            Self::NativeJson => "JSON transform, native user loop",
            Self::HostJson => "JSON transform, host",
            Self::HostJsonTrusted => "JSON transform, host, trusted",
            Self::NativeFields => "three fields and on, native user loop",
            Self::TunedFields => "three fields and on, native tuned loop",
            Self::HostFields => "three fields and on, host",
            Self::HostRoutes => "pass-through, host, 100 routes",
            Self::HostBehind => "pass-through, host, behind 3 middlewares",
            Self::HostChanged => "pass-through, host, behind 3 that change",
            Self::HostPipe => "pipeline, host, sent on",
            Self::HostPipelineBuiltin => "pipeline, host, a built-in step, sent on",
            Self::HostPipeline => "pipeline, host, a step of a component, sent on",
            Self::PythonPassing => "pass-through, host, Python",
            Self::PythonOwn => "three fields and on, host, Python's own JSON",
            Self::PythonStaying => "sent on unseen, host, Python",
            Self::PythonFields => "three fields and on, host, Python, the host's JSON",
            Self::JsPassing => "pass-through, host, JavaScript",
            Self::JsOwn => "three fields and on, host, JavaScript's own JSON",
            Self::JsStaying => "sent on unseen, host, JavaScript",
            Self::JsFields => "three fields and on, host, JavaScript, the host's JSON",
            Self::QuickjsPassing => "pass-through, host, QuickJS",
            Self::QuickjsOwn => "three fields and on, host, QuickJS's own JSON",
            Self::QuickjsStaying => "sent on unseen, host, QuickJS",
            Self::QuickjsFields => "three fields and on, host, QuickJS, the host's JSON",
            Self::ConsumeOnly => "consume only, native",
            Self::ProduceOnly => "produce only, native",
        })
    }
}
