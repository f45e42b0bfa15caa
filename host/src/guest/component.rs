//! One component, compiled and linked: what it exports, what it imports, and whether the host can run it.
//!
//! **Invariant:** a component that loads can be instantiated: its imports are there, its hooks have the types of wit/.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre};

use super::clock::Clock;
use super::engine::Runtime;
use super::library::compiled;
use super::places::Places;
use super::state::GuestState;
use crate::quotas::Beyond;
use crate::release::FileDigest;

/// The WIT package and version that the host speaks.
pub(crate) const PACKAGE: &str = "kafka:handler";
/// The version of [`PACKAGE`].
pub(crate) const VERSION: &str = "0.1.0";

/// The interface for writing.
const PRODUCER: &str = "kafka:handler/producer@0.1.0";
/// The interfaces of its own that the host offers.
const OFFERED: [&str; 6] = [
    PRODUCER,
    "kafka:handler/conversation@0.1.0",
    "kafka:handler/current@0.1.0",
    "kafka:handler/json@0.1.0",
    "wasi:logging/logging@0.1.0-draft",
    "wasi:config/store@0.2.0-rc.1",
];
/// The words of the interfaces: it has no functions, so there is nothing to offer.
const TYPES: &str = "kafka:handler/types@0.1.0";
/// What the names of the interfaces of WASI 0.2 begin with. The last digit is compatible.
const WASI: [&str; 7] = [
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:http/",
    "wasi:io/",
    "wasi:random/",
    "wasi:sockets/",
];

/// Why a file is not a handler.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The file is a core module.
    #[error(
        "this is a core WebAssembly module, not a component (build it for wasm32-wasip2, or wrap it with \
         `wasm-tools component new`)"
    )]
    CoreModule,
    /// The file is no WebAssembly.
    #[error("this is not a WebAssembly file")]
    NotWasm,
    /// The file is damaged, incomplete, or asks for features that the host does not have.
    #[error("the component cannot be compiled (is the file complete?): {0}")]
    Compile(String),
    /// It takes longer to compile than its tenant may have.
    #[error("{0}")]
    Slow(Beyond),
    /// Imports are missing.
    #[error(
        "the component imports {}, which this host does not offer (it offers {}, and of WASI 0.2 cli, clocks, \
         filesystem, http, io, random and sockets): {cause}",
        missing.join(", "),
        OFFERED.join(", ")
    )]
    Missing { missing: Vec<String>, cause: String },
    /// An import has another type than the host's.
    #[error("an import of the component has another type than this host offers: {0}")]
    Imports(String),
    /// The hooks are of another version of the WIT package.
    #[error(
        "the component was built for {found}, this host speaks {PACKAGE}@{VERSION} (rebuild it with the SDK of this version)"
    )]
    OtherVersion { found: String },
    /// There is nothing to call.
    #[error(
        "the component exports none of {PACKAGE}/message-handler@{VERSION}, {PACKAGE}/view-handler@{VERSION}, \
         {PACKAGE}/event-handler@{VERSION}, {PACKAGE}/bulk-handler@{VERSION} and {PACKAGE}/packed-bulk-handler@{VERSION} (it \
         has to handle records or batches: include world handler, view, events, bulk-only or packed-bulk, or name \
         on_message, on_view or on_bulk in the SDK's handler!, or use its events!)"
    )]
    NoHandler,
    /// It is named as middleware and is none.
    #[error(
        "the component does not export {PACKAGE}/middleware@{VERSION}, so it is no middleware (include world receiving, or \
         name middleware in the SDK's handler!)"
    )]
    NoMiddleware,
    /// It is named as a step of a pipeline and is none.
    #[error(
        "the component exports neither {PACKAGE}/transformer@{VERSION} nor {PACKAGE}/decider@{VERSION}, so it is no step of a \
         pipeline (include world transform or decide, or name transform or decide in the SDK's handler!)"
    )]
    NoStep,
}

/// What a component without anything in it is.
pub(crate) const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

/// What a component is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// It handles records or batches.
    Handler,
    /// It stands beside pipelines: it may handle records or be a step, or do neither.
    Beside,
    /// It is a step of pipelines.
    Step,
    /// It sees records before it is known who handles them.
    Middleware,
}

macro_rules! hooks {
    ($($(#[$doc:meta])* $field:ident: $interface:literal $function:literal,)*) => {
        /// Where a component exports its hooks; `None` for those that it does not have.
        #[derive(Debug, Clone, Default)]
        pub(crate) struct Hooks {
            $($(#[$doc])* pub(super) $field: Option<ComponentExportIndex>,)*
        }

        impl Hooks {
            fn find(component: &Component) -> Self {
                $(let $field = {
                    let interface = concat!("kafka:handler/", $interface, "@0.1.0");
                    component
                        .get_export_index(None, interface)
                        .and_then(|instance| component.get_export_index(Some(&instance), $function))
                };)*
                Self { $($field,)* }
            }

            /// Returns the names of the hooks that the component exports.
            pub(crate) fn names(&self) -> Vec<&'static str> {
                let mut names = Vec::new();
                $(if self.$field.is_some() { names.push($function); })*
                // That is asked once, and beside a hook.
                names.retain(|name| *name != "check-arguments");
                names
            }
        }
    };
}

hooks! {
    /// Prepares an instance.
    define_context: "context-definer" "define-context",
    /// Sees a record first.
    did_receive: "received-hook" "did-receive",
    /// Sees a record before it is known who handles it.
    middleware: "middleware" "did-receive",
    /// Handles a record.
    on_message: "message-handler" "on-message",
    /// Names the events that it handles.
    events: "event-handler" "events",
    /// Handles a record of one of these events.
    on_event: "event-handler" "on-event",
    /// Handles a record that stays with the host.
    on_view: "view-handler" "on-view",
    /// Handles a tombstone.
    on_tombstone: "tombstone-handler" "on-tombstone",
    /// Says whether it can work with the arguments of a step that changes records.
    check_transform: "transformer" "check-arguments",
    /// Changes a record as a step of a pipeline.
    transform: "transformer" "transform",
    /// Says whether it can work with the arguments of a step that decides.
    check_decide: "decider" "check-arguments",
    /// Decides as a step of a pipeline.
    decide: "decider" "decide",
    /// Decides about a failure.
    on_error: "error-handler" "on-error",
    /// Sees a batch first.
    did_receive_bulk: "bulk-received-hook" "did-receive-bulk",
    /// Handles a batch.
    on_bulk: "bulk-handler" "on-bulk",
    /// Handles a batch that lies in one block of bytes.
    on_packed_bulk: "packed-bulk-handler" "on-packed-bulk",
    /// Decides about the failure of a batch.
    on_bulk_error: "bulk-error-handler" "on-bulk-error",
    /// Learns how records ended.
    on_finished: "finished-hook" "on-finished",
    /// Learns of an assigned partition.
    on_assigned: "partition-hook" "on-assigned",
    /// Learns of a revoked partition.
    on_revoked: "partition-hook" "on-revoked",
}

/// What instances are made of.
pub(crate) struct Code {
    pub(super) pre: InstancePre<GuestState>,
    pub(super) hooks: Hooks,
    imports: Vec<String>,
    /// Whether it waits for receipts.
    wants_receipts: bool,
}

/// A component that can be instantiated.
#[derive(Clone)]
pub(crate) struct Handler {
    pub(super) code: Arc<Code>,
    /// How long it took to compile; nothing where that is not known.
    compiled_in: Option<Duration>,
    pub(super) clock: Arc<Clock>,
    /// Whether its instances can be interrupted.
    pub(super) is_interruptible: bool,
    places: Arc<Places>,
}

impl Code {
    /// Links a component.
    fn of(runtime: &Runtime, component: &Component, role: Role) -> Result<Self, Error> {
        let engine = &runtime.engine;
        let hooks = Hooks::find(component);
        check_exports(runtime, component, &hooks, role)?;
        let imports: Vec<String> = component
            .component_type()
            .imports(engine)
            .map(|(name, _)| name.to_owned())
            .collect();
        let wants_receipts = imports_function(engine, component, PRODUCER, "emit-and-wait");
        let pre = runtime
            .linker
            .instantiate_pre(component)
            .map_err(|error| not_linked(&imports, chain(&error)))?;
        Ok(Self {
            pre,
            hooks,
            imports,
            wants_receipts,
        })
    }
}

impl std::fmt::Debug for Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handler")
            .field("hooks", &self.hooks())
            .finish_non_exhaustive()
    }
}

impl Handler {
    /// Compiles a component, or takes it from the cache, and links it. Takes long: not for the record path.
    pub(crate) fn load(runtime: &Runtime, wasm: &[u8], role: Role) -> Result<Self, Error> {
        Self::load_within(runtime, wasm, role, |_| None)
    }

    /// As [`Self::load`]; `too_long` says why a component is refused that takes so long to compile, if it is.
    pub(crate) fn load_within(
        runtime: &Runtime,
        wasm: &[u8],
        role: Role,
        too_long: impl Fn(Duration) -> Option<Beyond>,
    ) -> Result<Self, Error> {
        check_preamble(wasm)?;
        let name = (FileDigest::of(wasm), role, runtime.is_interruptible);
        let (code, compiled_in) = if let Some(code) = runtime.library.get(&name) {
            (code, None)
        } else {
            let (component, compiled_in) = compiled(runtime, (wasm, &name.0), too_long)?;
            let code = Code::of(runtime, &component, role)?;
            (runtime.library.put(name, Arc::new(code)), compiled_in)
        };
        Ok(Self {
            code,
            compiled_in,
            clock: Arc::clone(&runtime.clock),
            is_interruptible: runtime.is_interruptible,
            places: Arc::clone(runtime.places()),
        })
    }

    /// Returns the places that its instances take.
    pub(crate) fn places(&self) -> &Arc<Places> {
        &self.places
    }

    /// Returns how long the component took to compile; nothing where it was compiled before.
    pub(crate) fn compiled_in(&self) -> Option<Duration> {
        self.compiled_in
    }

    /// Returns the names of the hooks that the component exports.
    pub(crate) fn hooks(&self) -> Vec<&'static str> {
        self.code.hooks.names()
    }

    /// Returns the names of the interfaces that the component imports.
    pub(crate) fn imports(&self) -> &[String] {
        &self.code.imports
    }

    /// Returns whether the component imports what waits for receipts.
    pub(crate) fn wants_receipts(&self) -> bool {
        self.code.wants_receipts
    }

    /// Returns whether the component has a hook for batches, and whether it has one for single records.
    pub(crate) fn takes(&self) -> Takes {
        Takes {
            batches: self.code.hooks.on_bulk.is_some() || self.code.hooks.on_packed_bulk.is_some(),
            singles: [
                &self.code.hooks.on_message,
                &self.code.hooks.on_view,
                &self.code.hooks.on_event,
            ]
            .into_iter()
            .any(Option::is_some),
            any_record: [
                &self.code.hooks.on_message,
                &self.code.hooks.on_view,
                &self.code.hooks.on_bulk,
                &self.code.hooks.on_packed_bulk,
            ]
            .into_iter()
            .any(Option::is_some),
        }
    }

    /// Returns whether the component changes records as a step, and whether it decides about them.
    pub(crate) fn is_step(&self) -> (bool, bool) {
        (
            self.code.hooks.transform.is_some(),
            self.code.hooks.decide.is_some(),
        )
    }

    /// Returns whether the component wants to decide about failures of single records.
    pub(crate) fn has_error_hook(&self) -> bool {
        self.code.hooks.on_error.is_some()
    }

    /// Returns whether the component wants to know how records ended.
    pub(crate) fn has_finished_hook(&self) -> bool {
        self.code.hooks.on_finished.is_some()
    }

    /// Returns whether the component wants to decide about failures of batches.
    pub(crate) fn has_bulk_error_hook(&self) -> bool {
        self.code.hooks.on_bulk_error.is_some()
    }
}

/// What a component can be handed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Takes {
    pub(crate) batches: bool,
    pub(crate) singles: bool,
    /// Whether there is a hook for records whatever their event.
    pub(crate) any_record: bool,
}

/// Returns whether a component imports this function.
fn imports_function(
    engine: &Engine,
    component: &Component,
    interface: &str,
    function: &str,
) -> bool {
    let ty = component.component_type();
    let mut imports = ty.imports(engine).filter(|(name, _)| *name == interface);
    imports.any(|(_, import)| match import.ty {
        ComponentItem::ComponentInstance(instance) => {
            instance.exports(engine).any(|(name, _)| name == function)
        }
        _ => false,
    })
}

fn not_linked(imports: &[String], cause: String) -> Error {
    let is_offered = |import: &&String| {
        let wasi = WASI.iter().any(|package| import.starts_with(package));
        (wasi && import.contains("@0.2.")) || *import == TYPES || OFFERED.contains(&import.as_str())
    };
    let missing: Vec<String> = imports
        .iter()
        .filter(|import| !is_offered(import))
        .cloned()
        .collect();
    if missing.is_empty() {
        Error::Imports(cause)
    } else {
        Error::Missing { missing, cause }
    }
}

/// The first eight bytes tell a component from a core module (the second half of the version field is the layer).
fn check_preamble(wasm: &[u8]) -> Result<(), Error> {
    match wasm.get(..8) {
        Some([0, b'a', b's', b'm', _, _, 0, 0]) => Err(Error::CoreModule),
        Some([0, b'a', b's', b'm', ..]) => Ok(()),
        _ => Err(Error::NotWasm),
    }
}

fn check_exports(
    runtime: &Runtime,
    component: &Component,
    hooks: &Hooks,
    role: Role,
) -> Result<(), Error> {
    let handlers = [
        &hooks.on_message,
        &hooks.on_event,
        &hooks.on_view,
        &hooks.on_bulk,
        &hooks.on_packed_bulk,
    ];
    let is_step = hooks.transform.is_some() || hooks.decide.is_some();
    let (is_there, missing) = match role {
        Role::Handler => (handlers.into_iter().any(Option::is_some), Error::NoHandler),
        Role::Beside => (true, Error::NoHandler),
        Role::Step => (is_step, Error::NoStep),
        Role::Middleware => (hooks.middleware.is_some(), Error::NoMiddleware),
    };
    if is_there {
        return Ok(());
    }
    let ours = format!("{PACKAGE}/");
    let versions: BTreeSet<String> = component
        .component_type()
        .exports(&runtime.engine)
        .filter_map(|(name, _)| {
            let (_, version) = name.strip_prefix(&ours)?.split_once('@')?;
            (version != VERSION).then(|| format!("{PACKAGE}@{version}"))
        })
        .collect();
    match versions.into_iter().next() {
        Some(found) => Err(Error::OtherVersion { found }),
        None => Err(missing),
    }
}

/// Returns an error with its causes on one line.
pub(super) fn chain(error: &wasmtime::Error) -> String {
    error
        .chain()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
