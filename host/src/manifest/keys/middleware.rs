//! The keys of a table `[[middleware]]`, in `handler.toml` and `tenant.toml`.
//!
//! **Invariant:** every key of the tables is in [`MIDDLEWARE_KEYS`], once.

use crate::manifest::key::{Key, Kind};

/// The keys of one table `[[middleware]]`.
pub(crate) static MIDDLEWARE_KEYS: &[&Key] = &[&COMPONENT, &NAME, &CONFIG];

pub(crate) const MIDDLEWARE: Key = Key {
    path: "middleware",
    kind: Kind::Rows {
        keys: MIDDLEWARE_KEYS,
    },
    doc: "Components that see each record before its event is read and a handler chosen, in this order, after those of the \
          tenant (`tenant.toml`).",
};
pub(crate) const COMPONENT: Key = Key {
    path: "component",
    kind: Kind::Text {
        what: "the name of a .wasm file",
        default: "",
    },
    doc: "File name of the middleware beside this file; must be given.",
};
pub(crate) const NAME: Key = Key {
    path: "name",
    kind: Kind::Text {
        what: "a name",
        default: "the file's name without `.wasm`",
    },
    doc: "What messages and metrics call it.",
};
pub(crate) const CONFIG: Key = Key {
    path: "config",
    kind: Kind::Table { clients: None },
    doc: "Texts for the middleware, which reads them by `wasi:config` and `define-context`. One may be named instead: `{ env = \"NAME\" }` or \
          `{ file = \"NAME\" }`.",
};
