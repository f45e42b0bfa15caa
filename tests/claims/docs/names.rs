//! What the documentation names exists: files, links, tests, modules, metrics.
//!
//! Compares the pages with the sources.

use std::fs;

use harness::root;
use kafka_wasm_host::manifest::{Manifest, tenant};
use kafka_wasm_host::settings::Settings;

use super::pages::{self, blocks_in};

/// What only files of tenants have.
const TENANTS: [&str; 3] = ["[grants]", "[secrets]", "topic-prefix"];

#[test]
fn every_toml_file_in_the_docs_is_valid() {
    let mut problems = Vec::new();
    for page in pages::pages() {
        for block in blocks_in(&page, "toml") {
            let text = block.text();
            let parsed = if text.contains("[dependencies]") {
                // Cargo's own; the README's is built.
                continue;
            } else if ["brokers = ", "[tenants."]
                .iter()
                .any(|it| text.contains(it))
            {
                Settings::parse(&text).map(drop)
            } else if TENANTS.iter().any(|it| text.contains(it)) {
                tenant(&text).map(drop)
            } else {
                Manifest::parse(&text, &"acme/orders".parse().unwrap()).map(drop)
            };
            for problem in parsed.err().into_iter().flatten() {
                problems.push(format!("{}: {problem}", block.place));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_link_in_the_docs_leads_somewhere() {
    let mut problems = Vec::new();
    for page in pages::pages() {
        let folder = root().join(&page).parent().unwrap().to_path_buf();
        let dead = pages::links(&page)
            .into_iter()
            .filter(|target| !folder.join(target).exists());
        problems.extend(dead.map(|target| format!("{page}: {target} does not exist")));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_invariant_names_tests_that_exist() {
    let mut sources = String::new();
    for folder in ["tests/claims", "tests/claims/kafka"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            sources += &fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
        }
    }
    let page = pages::read("docs/ARCHITECTURE.md");
    let rows: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains("| **"))
        .collect();
    assert_eq!(rows.len(), 8);
    for row in rows {
        let names: Vec<&str> = pages::quoted(row).collect();
        assert!(!names.is_empty(), "{row}");
        for name in names {
            let function = format!("#[test]\nfn {name}()");
            assert!(
                sources.contains(&function),
                "docs/ARCHITECTURE.md: there is no test {name}"
            );
        }
    }
}

#[test]
fn the_map_names_every_module() {
    let map = blocks_in("docs/ARCHITECTURE.md", "text").remove(0).text();
    let words: Vec<&str> = map
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .collect();
    let code = pages::read("host/src/lib.rs");
    let modules = code
        .lines()
        .filter_map(|line| line.strip_suffix(';')?.split_once("mod "));
    let missing: Vec<&str> = modules
        .map(|(_, name)| name)
        .filter(|name| !words.contains(name))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/ARCHITECTURE.md does not show {missing:?}"
    );
}

#[test]
fn every_metric_is_in_the_docs_with_its_meaning() {
    let code = pages::read("host/src/admin/names.rs");
    let texts: Vec<&str> = code.split('"').skip(1).step_by(2).collect();
    let named: Vec<(&str, &str)> = texts
        .windows(2)
        .filter(|pair| {
            (pair[0].starts_with("kafka_wasm_") || pair[0].starts_with("process_"))
                && pair[1].contains(' ')
        })
        .map(|pair| (pair[0], pair[1]))
        .collect();
    assert!(named.len() > 20, "{named:?}");
    let page = pages::read("docs/OPERATIONS.md");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| `kafka_wasm_") || line.starts_with("| `process_"))
        .map(|line| {
            line.split('|')
                .map(|cell| cell.trim().trim_matches('`'))
                .collect()
        })
        .collect();
    let shown: Vec<(&str, &str)> = rows.iter().map(|cells| (cells[1], cells[3])).collect();
    assert_eq!(shown, named);
}
