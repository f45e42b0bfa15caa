//! What requests and answers of the control API look like, as JSON Schema of `OpenAPI` 3.1.
//!
//! **Invariant:** an object has the fields that stand here and no other ones; a claim compares answers with it.

use serde_json::{Map, Value, json};

use crate::rate::Rate;

/// A shape that has a name in the document.
pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) schema: fn() -> Value,
}

/// All of them.
pub(super) static SHAPES: &[&Shape] = &[
    &HANDLERS,
    &HANDLER,
    &PARTITIONS,
    &REVISIONS,
    &CHANGED,
    &TO,
    &NOTHING,
    &TENANTS,
    &TENANT,
    &LEVEL,
    &LEVEL_SET,
    &RELOADED,
    &DRAINING,
    &DOCUMENT,
    &ERROR,
];

macro_rules! shape {
    ($name:ident, $title:literal, $schema:expr) => {
        pub(super) static $name: Shape = Shape {
            name: $title,
            schema: || $schema,
        };
    };
}

shape!(ERROR, "Error", object(&[("error", text())], &[]));
shape!(
    HANDLERS,
    "Handlers",
    object(&[("handlers", list(summary(&[])))], &[])
);
shape!(
    HANDLER,
    "Handler",
    summary(&[
        ("partitions", list(partition())),
        (
            "probation",
            or_null(object(&[("handled", whole()), ("failed", whole())], &[]))
        ),
        ("trial", or_null(trial())),
        (
            "paused-by",
            or_null(object(&[("who", text()), ("at", text())], &[]))
        ),
        ("rolled-back", rolled_back()),
    ])
);
shape!(
    PARTITIONS,
    "Partitions",
    object(
        &[
            ("tenant", text()),
            ("handler", text()),
            ("partitions", list(partition()))
        ],
        &[]
    )
);
shape!(
    REVISIONS,
    "Revisions",
    object(
        &[
            ("tenant", text()),
            ("handler", text()),
            ("revision", or_null(text())),
            ("revisions", list(revision())),
            ("rolled-back", rolled_back()),
        ],
        &[],
    )
);
shape!(
    CHANGED,
    "Changed",
    object(
        &[
            ("tenant", text()),
            ("handler", text()),
            ("note", or_null(text()))
        ],
        &[("revision", or_null(text())), ("was", or_null(text()))],
    )
);
shape!(TO, "RollbackTo", object(&[], &[("to", or_null(text()))]));
shape!(NOTHING, "Nothing", object(&[], &[]));
shape!(
    TENANTS,
    "Tenants",
    object(&[("tenants", list(reference(&TENANT)))], &[])
);
shape!(
    TENANT,
    "Tenant",
    object(
        &[
            ("tenant", text()),
            ("handlers", list(text())),
            ("quotas", quotas()),
            ("cpu-seconds", or_null(number())),
            ("throttled-seconds", or_null(number())),
            ("dropped-log-lines", or_null(whole())),
            ("waiting-requests", or_null(whole())),
        ],
        &[],
    )
);
shape!(LEVEL, "LogLevel", object(&[("directives", text())], &[]));
shape!(
    LEVEL_SET,
    "LogLevelSet",
    object(&[("directives", text()), ("was", text())], &[])
);
shape!(
    DRAINING,
    "Draining",
    object(
        &[
            ("state", one_of(&["serving", "draining", "drained"])),
            ("left-open", list(text()))
        ],
        &[]
    )
);
shape!(
    RELOADED,
    "Reloaded",
    object(
        &[],
        &[
            ("changed", list(setting())),
            ("needs-restart", list(setting())),
            ("overruled", list(setting())),
            ("lines", list(text())),
            ("note", text()),
        ],
    )
);
shape!(DOCUMENT, "Document", json!({ "type": "object" }));

/// Refers to a shape by its name.
pub(super) fn reference(shape: &Shape) -> Value {
    json!({ "$ref": format!("#/components/schemas/{}", shape.name) })
}

/// What is told of each handler; one that was refused and does not serve has less.
fn summary(more: &[(&str, Value)]) -> Value {
    let mut fields = vec![
        ("tenant", text()),
        ("handler", text()),
        (
            "state",
            one_of(&["serving", "degraded", "paused", "refused"]),
        ),
        ("revision", or_null(text())),
        ("problems", list(text())),
    ];
    let mut less = vec![
        ("group", text()),
        ("topics", list(text())),
        ("assigned", whole()),
    ];
    // What is kept may not be readable.
    for (name, shape) in more {
        let is_kept = matches!(*name, "paused-by" | "rolled-back");
        let fields = if is_kept { &mut less } else { &mut fields };
        fields.push((name, shape.clone()));
    }
    object(&fields, &less)
}

/// What is tried beside the revision that serves: a canary, or a shadow.
fn trial() -> Value {
    let side = || {
        let fields = [
            ("handled", whole()),
            ("failed", whole()),
            ("mean-ms", or_null(number())),
        ];
        object(&fields, &[])
    };
    let difference = object(
        &[
            ("topic", text()),
            ("partition", whole()),
            ("offset", whole()),
            ("what", text()),
        ],
        &[],
    );
    let canary = object(
        &[
            ("kind", one_of(&["canary"])),
            ("revision", text()),
            ("share", text()),
            ("tried", side()),
            ("serving", side()),
        ],
        &[],
    );
    let shadow = object(
        &[
            ("kind", one_of(&["shadow"])),
            ("revision", text()),
            ("compared", whole()),
            ("equal", whole()),
            ("differing", whole()),
            ("skipped", whole()),
            ("differences", list(difference)),
        ],
        &[],
    );
    json!({ "anyOf": [canary, shadow] })
}

/// A key of host.toml that says something else than before.
fn setting() -> Value {
    object(
        &[
            ("key", text()),
            ("from", or_null(text())),
            ("to", or_null(text())),
            ("is-secret", json!({ "type": "boolean" })),
        ],
        &[],
    )
}

fn partition() -> Value {
    let known = || or_null(whole());
    object(
        &[
            ("topic", text()),
            ("partition", whole()),
            ("position", known()),
            ("lag", known()),
            ("in-flight", whole()),
            ("retrying", whole()),
            ("parked-keys", known()),
            ("halted-at", known()),
        ],
        &[],
    )
}

fn revision() -> Value {
    object(
        &[
            ("revision", text()),
            ("serving", json!({ "type": "boolean" })),
            ("at", text()),
            ("cause", text()),
            ("by", text()),
            ("files", text()),
        ],
        &[],
    )
}

fn rolled_back() -> Value {
    let fields = [
        ("from", or_null(text())),
        ("to", text()),
        ("who", text()),
        ("at", text()),
    ];
    or_null(object(&fields, &[]))
}

fn quotas() -> Value {
    let whole = [
        "handlers",
        "component-mib",
        "memory-mib",
        "deadline-ms",
        "in-flight-mib",
        "pending-requests",
    ];
    let rates = Rate::ALL.map(Rate::as_str);
    let quota = || {
        object(
            &[("max", or_null(number())), ("used", or_null(number()))],
            &[],
        )
    };
    let all: Vec<(&str, Value)> = whole
        .into_iter()
        .chain(rates)
        .map(|name| (name, quota()))
        .collect();
    object(&all, &[])
}

/// An object that always has some fields, and may have others.
fn object(fields: &[(&str, Value)], optional: &[(&str, Value)]) -> Value {
    let required: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    let all = fields.iter().chain(optional);
    let properties: Map<String, Value> = all
        .map(|(name, shape)| ((*name).to_owned(), shape.clone()))
        .collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn list(of: Value) -> Value {
    let fields = [("type", "array".into()), ("items", of)];
    fields
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
}

fn or_null(shape: Value) -> Value {
    let any = vec![shape, json!({ "type": "null" })];
    json!({ "anyOf": any })
}

fn one_of(words: &[&str]) -> Value {
    json!({ "type": "string", "enum": words })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn whole() -> Value {
    json!({ "type": "integer" })
}

fn number() -> Value {
    json!({ "type": "number" })
}
