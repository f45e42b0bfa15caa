//! The keys by which a handler has done something with records step by step.

use super::HOUR_MS;
use super::route::{EVENT, HEADERS, TOPIC};
use crate::manifest::key::{Key, Kind};

pub(crate) static KEYS: &[&Key] = &[&NAME, &TOPIC, &EVENT, &HEADERS, &MAX_CONCURRENT, &STEP];

pub(crate) static STEP_KEYS: &[&Key] = &[
    &NAME_OF_STEP,
    &COMPONENT,
    &USE,
    &ARGS,
    &CONFIG,
    &PIPE_TOPIC,
    &PIPE_EVENT,
    &RESPONSE_TOPIC,
    &RESPONSE_EVENT,
    &RESPONSE_TIMEOUT_MS,
    &REPEATABLE,
    &ON_ERROR,
];

pub(crate) const PIPELINE: Key = Key {
    path: "pipeline",
    kind: Kind::Rows { keys: KEYS },
    doc: "What is done step by step with the records that match, beside what the component's own hooks do with theirs. Such a \
          record has attempts, outputs and a dead letter as one that a hook is handed.",
};
pub(crate) const NAME: Key = Key {
    path: "name",
    kind: Kind::Text {
        what: "the name of a pipeline",
        default: "",
    },
    doc: "Name in metrics and messages; must be given.",
};
pub(crate) const MAX_CONCURRENT: Key = Key {
    path: "max-concurrent",
    kind: Kind::Whole {
        unit: "records",
        min: 1,
        max: 10_000,
        default: None,
    },
    doc: "Records that may be in the pipeline at once, on each host; those that wait for an answer count. Left out, only \
          `concurrency` bounds them.",
};
pub(crate) const STEP: Key = Key {
    path: "step",
    kind: Kind::Rows { keys: STEP_KEYS },
    doc: "The steps, in their order. Each has a `component`, a built-in step to `use`, a `pipe`, or one of the first two and a \
          pipe.",
};
pub(crate) const NAME_OF_STEP: Key = Key {
    path: "name",
    kind: Kind::Text {
        what: "the name of a step",
        default: "the component's or the built-in step's, else `pipe`",
    },
    doc: "Name in metrics, messages and dead letters.",
};
pub(crate) const COMPONENT: Key = Key {
    path: "component",
    kind: Kind::Text {
        what: "the file name of a component, ending in .wasm",
        default: "",
    },
    doc: "Component that is handed the record, in the folder of the manifest; it exports `transform` or `decide`.",
};
pub(crate) const USE: Key = Key {
    path: "use",
    kind: Kind::Text {
        what: "\"set\", \"remove\", \"require\", \"key-from\", \"headers\" or \"drop-unless\"",
        default: "",
    },
    doc: "Built-in step: `set` sets what JSON pointers name in the value, `remove` removes what `pointers` name, `require` \
          rejects a record in which one of `pointers` names nothing, `key-from` makes what a `pointer` names the key, `headers` \
          sets headers, and `drop-unless` drops a record unless pointers name the values that are given.",
};
pub(crate) const ARGS: Key = Key {
    path: "args",
    kind: Kind::Arguments,
    doc: "Arguments of the component, which it reads as JSON, or of the built-in step.",
};
pub(crate) const CONFIG: Key = Key {
    path: "config",
    kind: Kind::Table { clients: None },
    doc: "Any keys, for the component: it reads them as text. One may be named instead: `{ env = \"NAME\" }` or \
          `{ file = \"NAME\" }`.",
};
pub(crate) const PIPE_TOPIC: Key = Key {
    path: "pipe.topic",
    kind: Kind::Text {
        what: "a topic name",
        default: "",
    },
    doc: "Topic that the record, as it is after the step, is sent to; it goes on in the pipeline as well.",
};
pub(crate) const PIPE_EVENT: Key = Key {
    path: "pipe.event",
    kind: Kind::Text {
        what: "the name of an event",
        default: "",
    },
    doc: "Event that it gets there, written where `event.source` says. Left out, it stays as it is.",
};
pub(crate) const RESPONSE_TOPIC: Key = Key {
    path: "pipe.response.topic",
    kind: Kind::Text {
        what: "a topic name",
        default: "",
    },
    doc: "With this key the record is a request, and the answer that comes by this topic takes its place.",
};
pub(crate) const RESPONSE_EVENT: Key = Key {
    path: "pipe.response.event",
    kind: Kind::Text {
        what: "the name of an event",
        default: "",
    },
    doc: "Name that the answer has under `event` in its value, as in `[[response]]`.",
};
pub(crate) const RESPONSE_TIMEOUT_MS: Key = Key {
    path: "pipe.response.timeout-ms",
    kind: Kind::Whole {
        unit: "milliseconds",
        min: 1,
        max: HOUR_MS,
        default: Some(30_000),
    },
    doc: "How long the answer is waited for. Without one the step has failed.",
};
pub(crate) const REPEATABLE: Key = Key {
    path: "repeatable",
    kind: Kind::Flag { default: true },
    doc: "Whether an attempt may do the step again after it has succeeded. Behind one that may not, the host keeps the record \
          and what was to be sent, and the next attempt goes on from there.",
};
pub(crate) const ON_ERROR: Key = Key {
    path: "on-error",
    kind: Kind::Choice {
        words: &["retry", "go-on", "skip", "dead-letter", "halt"],
    },
    doc: "What becomes of a record when the step fails: attempts as `[retry]` and `on-exhausted` say, or, without another one, \
          it goes on as it was before the step, is left behind, goes to the dead-letter topic, or stops its partition.",
};
