//! The keys for the handler's own component.

use crate::manifest::key::{Key, Kind};

pub(crate) const COMPONENT: Key = Key {
    path: "component",
    kind: Kind::Text {
        what: "the file name of a component, ending in .wasm",
        default: "the only `.wasm` file there",
    },
    doc: "File name of the component, in the folder of the manifest. A handler of nothing but pipelines needs none.",
};
pub(crate) const DIGEST: Key = Key {
    path: "digest",
    kind: Kind::Text {
        what: "\"sha256:\" and 64 hexadecimal digits",
        default: "",
    },
    doc: "The SHA-256 of the component's file, as `sha256sum` prints it, with `sha256:` before it. A file that has another one is \
          not deployed.",
};
