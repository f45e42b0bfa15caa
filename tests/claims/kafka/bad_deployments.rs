//! Deployments that are bad in one way each.
//!
//! **Invariant:** after each of them the old revision serves the next record, and the log, the metric and the API say why.

use std::fs;
use std::path::Path;

use harness::http::request;
use harness::{Host, TestRecord, guest, wait_until};
use serde_json::Value;

use super::stage::{PATIENCE, Stage, count_lines, wait_lines};

/// What an editor or a pipeline might leave behind, and what has to be told of it.
struct Bad {
    what: &'static str,
    told: &'static str,
    /// Does it to the handler's folder; is handed the manifest that serves.
    does: fn(&Path, &str),
}

fn component(folder: &Path, bytes: &[u8]) {
    let aside = folder.with_extension("aside");
    fs::write(&aside, bytes).unwrap();
    fs::rename(aside, folder.join("handler.wasm")).unwrap();
}

fn fixture(folder: &Path, name: &str) {
    component(folder, &fs::read(guest(name)).unwrap());
}

fn manifest(folder: &Path, text: impl AsRef<[u8]>) {
    let aside = folder.with_extension("aside");
    fs::write(&aside, text).unwrap();
    fs::rename(aside, folder.join("handler.toml")).unwrap();
}

const BAD: &[Bad] = &[
    Bad {
        what: "a component that was copied half way",
        told: "cannot be compiled (is the file complete?)",
        does: |folder, _| {
            let whole = fs::read(guest("label")).unwrap();
            component(folder, &whole[..whole.len() / 2]);
        },
    },
    Bad {
        what: "a file that is no WebAssembly",
        told: "this is not a WebAssembly file",
        does: |folder, _| component(folder, b"#!/bin/sh\necho hello\n"),
    },
    Bad {
        what: "an empty file",
        told: "this is not a WebAssembly file",
        does: |folder, _| component(folder, b""),
    },
    Bad {
        what: "a core module",
        told: "this is a core WebAssembly module, not a component",
        does: |folder, _| component(folder, b"\0asm\x01\0\0\0"),
    },
    Bad {
        what: "a component without hooks",
        told: "it has to handle records or batches",
        does: |folder, _| fixture(folder, "no-hooks"),
    },
    Bad {
        what: "a component of another version of the interfaces",
        told: "built for kafka:handler@9.9.9",
        does: |folder, _| fixture(folder, "other-version"),
    },
    Bad {
        what: "a component that refuses its config",
        told: "refused on purpose",
        does: |folder, _| fixture(folder, "no-context"),
    },
    Bad {
        what: "a component that never begins",
        told: "define-context",
        does: |folder, good| {
            manifest(folder, format!("{good}\nconfig.spin = \"yes\""));
            fixture(folder, "no-context");
        },
    },
    Bad {
        what: "no component",
        told: "there is no component beside it",
        does: |folder, _| fs::remove_file(folder.join("handler.wasm")).unwrap(),
    },
    Bad {
        what: "two components, of which none is named",
        told: "there are 2 components beside it",
        does: |folder, _| {
            fs::copy(guest("act"), folder.join("other.wasm")).unwrap();
        },
    },
    Bad {
        what: "a manifest that is no TOML",
        told: "handler.toml:1",
        does: |folder, _| manifest(folder, "topics = [\"a\""),
    },
    Bad {
        what: "a manifest that is no text",
        told: "handler.toml:1: cannot be read: byte 11 (0xff) is not UTF-8",
        does: |folder, _| manifest(folder, b"topics = [\"\xff\xfe\"]"),
    },
    Bad {
        what: "a key that does not exist",
        told: "did you mean \"retry",
        does: |folder, good| manifest(folder, format!("{good}\nretri.max-attempts = 2")),
    },
    Bad {
        what: "a value out of its range",
        told: "limits.memory-mib",
        does: |folder, good| manifest(folder, format!("{good}\nlimits.memory-mib = 0")),
    },
    Bad {
        what: "less memory than the component begins with",
        told: "memory",
        does: |folder, good| manifest(folder, format!("{good}\nlimits.memory-mib = 1")),
    },
    Bad {
        what: "a topic that the tenant may not read",
        told: "is not granted: grants.consume has",
        does: |folder, good| {
            manifest(
                folder,
                good.replace("topics = [", "topics = [\"salaries\", "),
            )
        },
    },
];

/// What the API has to say against the handler.
fn problems(host: &Host, name: &str) -> String {
    let path = format!("GET /v1/handlers/acme/{name}");
    let (_, answer) = request(host.http_addr(), &path, &[], "").unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let problems = answer["problems"].as_array().unwrap().iter();
    problems.filter_map(Value::as_str).collect()
}

#[test]
fn a_bad_deployment_leaves_the_old_revision_serving() {
    let stage = Stage::new("bad-deployment", 1);
    let name = format!("acme/{}", stage.name);
    let good = stage.manifest("config.label = \"good\"\nlimits.deadline-ms = 1000");
    let all = format!("[\"{}*\"]", stage.name);
    let grants = format!("[grants]\nconsume = {all}\nproduce = {all}\ngroups = {all}\n");
    stage
        .folder
        .swap_text("acme", "tenant.toml", &grants)
        .unwrap();
    stage.folder.swap_in(&name, guest("label"), &good).unwrap();
    let host = stage.serve(&[]);
    let serves = |n: usize| {
        stage.produce(&["a record"]);
        let outputs = stage.outputs(&host, n);
        let label = |it: &TestRecord| it.header_text("label").unwrap() == "good";
        assert!(outputs.iter().all(label));
    };
    serves(1);
    let refused = || {
        host.metric("kafka_wasm_deploys_total", &[("result", "refused")])
            .unwrap()
    };
    let folder = stage.folder.folder(&name);
    for (nth, bad) in BAD.iter().enumerate() {
        let before = refused();
        (bad.does)(&folder, &good);
        let mut told = String::new();
        let waited = wait_until(bad.what, PATIENCE, || {
            told = problems(&host, &stage.name);
            told.contains(bad.told)
        });
        assert!(
            waited.is_ok(),
            "{}: told {told:?}\n{}",
            bad.what,
            host.tail()
        );
        wait_until("it is counted", PATIENCE, || refused() > before).unwrap();
        let logged = ["a new revision was refused; the old one goes on serving"];
        wait_lines(&host, &logged, nth + 1);
        serves(nth + 2);

        // What serves is put back, and there is nothing to tell any more.
        let _ = fs::remove_file(folder.join("other.wasm"));
        manifest(&folder, &good);
        fixture(&folder, "label");
        wait_until("all is well", PATIENCE, || {
            problems(&host, &stage.name).is_empty()
        })
        .unwrap();
    }
    assert_eq!(count_lines(&host, &[" deployed "]), 1);
}
