//! The bindings of the WIT package, generated while this crate compiles.
//!
//! It is handed the files under `wit/` and owns every generated item. There is one `generate!` for
//! each mix-in world, because what a world exports is exported as a whole: this way a handler
//! exports only the hooks that it names.
//!
//! **Invariant:** all worlds share the types of `imports`, so a record never has to be converted.

#![allow(
    clippy::all,
    clippy::pedantic,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::allow_attributes_without_reason,
    elided_lifetimes_in_paths,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    unsafe_code,
    unused_qualifications,
    dead_code,
    reason = "generated code"
)]

/// What every handler may import. Borrowed parameters: `emit` passes slices of the caller.
pub mod imports {
    wit_bindgen::generate!({
        path: "wit",
        world: "imports",
        ownership: Borrowing { duplicate_if_necessary: false },
        additional_derives: [PartialEq, Eq],
        generate_all,
    });
}

/// One module with the export macro of one mix-in world, mapping the types of [`imports`].
macro_rules! world {
    ($module:ident, $world:literal, $export:literal $(, $types:literal)?) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: "wit",
                world: $world,
                pub_export_macro: true,
                export_macro_name: $export,
                with: { $($types: crate::bindings::imports::kafka::handler::types)? },
            });
        }
    };
}

world!(
    tombstone,
    "tombstone",
    "export_tombstone",
    "kafka:handler/types@0.1.0"
);
world!(
    events,
    "events",
    "export_events",
    "kafka:handler/types@0.1.0"
);
world!(
    error,
    "on-error",
    "export_error",
    "kafka:handler/types@0.1.0"
);
world!(view, "view", "export_view", "kafka:handler/types@0.1.0");
world!(bulk, "bulk", "export_bulk", "kafka:handler/types@0.1.0");
world!(
    packed_bulk,
    "packed-bulk",
    "export_packed_bulk",
    "kafka:handler/types@0.1.0"
);
world!(
    bulk_error,
    "on-bulk-error",
    "export_bulk_error",
    "kafka:handler/types@0.1.0"
);
world!(
    received,
    "received",
    "export_received",
    "kafka:handler/types@0.1.0"
);
world!(
    middleware,
    "receiving",
    "export_middleware",
    "kafka:handler/types@0.1.0"
);
world!(
    bulk_received,
    "bulk-received",
    "export_bulk_received",
    "kafka:handler/types@0.1.0"
);
world!(
    finished,
    "finished",
    "export_finished",
    "kafka:handler/types@0.1.0"
);
world!(
    transform,
    "transform",
    "export_transform",
    "kafka:handler/types@0.1.0"
);
world!(
    decide,
    "decide",
    "export_decide",
    "kafka:handler/types@0.1.0"
);
world!(context, "define-context", "export_context");
world!(partition, "partitions", "export_partition");

/// `on-message`. The only world of single records also names the imports: those of `imports`.
pub mod message {
    wit_bindgen::generate!({
        path: "wit",
        world: "handler",
        pub_export_macro: true,
        export_macro_name: "export_message",
        with: {
            "kafka:handler/types@0.1.0": crate::bindings::imports::kafka::handler::types,
            "kafka:handler/producer@0.1.0": crate::bindings::imports::kafka::handler::producer,
            "kafka:handler/conversation@0.1.0": crate::bindings::imports::kafka::handler::conversation,
            "kafka:handler/current@0.1.0": crate::bindings::imports::kafka::handler::current,
            "kafka:handler/json@0.1.0": crate::bindings::imports::kafka::handler::json,
            "wasi:logging/logging@0.1.0-draft": crate::bindings::imports::wasi::logging::logging,
            "wasi:config/store@0.2.0-rc.1": crate::bindings::imports::wasi::config::store,
        },
    });
}
