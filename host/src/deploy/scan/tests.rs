//! Tests of what is found in a handlers folder.

use super::*;

fn folder(files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    folder
}

fn ids(scan: &Scan) -> Vec<String> {
    scan.candidates.keys().map(ToString::to_string).collect()
}

#[test]
fn all_three_layouts_are_found() {
    let folder = folder(&[
        "acme/orders/handler.toml",
        "acme/orders/o.wasm",
        "solo/handler.toml",
        "flat.toml",
        "flat.wasm",
    ]);
    let scan = scan(folder.path()).unwrap();
    assert_eq!(ids(&scan), ["acme/orders", "default/flat", "default/solo"]);
    assert!(scan.problems.is_empty(), "{:?}", scan.problems);
}

#[test]
fn what_cannot_be_a_handler_is_named() {
    let folder = folder(&[
        "x/app.wasm",
        "lone.wasm",
        "lone2.toml",
        "t/tenant.toml",
        "t/handler.toml",
        "bad name/handler.toml",
        ".hidden/handler.toml",
        "notes.txt",
    ]);
    let scan = scan(folder.path()).unwrap();
    assert!(ids(&scan).is_empty());
    let problems: Vec<&String> = scan.problems.values().collect();
    assert_eq!(problems.len(), 5, "{problems:?}");
    assert!(
        problems
            .iter()
            .any(|p| p.contains("expected handler.toml in it"))
    );
    assert!(
        problems
            .iter()
            .any(|p| p.contains("expected lone.toml beside it"))
    );
    assert!(
        problems
            .iter()
            .any(|p| p.contains("expected lone2.wasm beside it"))
    );
    assert!(
        problems
            .iter()
            .any(|p| p.contains("lies beside a tenant.toml"))
    );
    assert!(
        problems
            .iter()
            .any(|p| p.contains("is no name of a handler"))
    );
}

#[test]
fn handlers_know_the_file_of_their_tenant() {
    let folder = folder(&[
        "acme/tenant.toml",
        "acme/decrypt.wasm",
        "acme/orders/handler.toml",
        "default/tenant.toml",
        "flat.toml",
        "flat.wasm",
        "other/x/handler.toml",
    ]);
    let found = || scan(folder.path()).unwrap();
    assert_eq!(ids(&found()), ["acme/orders", "default/flat", "other/x"]);
    assert!(found().problems.is_empty(), "{:?}", found().problems);
    let tenant = |id: &str| found().candidates[&id.parse().unwrap()].tenant.clone();
    let path = |name: &str| Some(folder.path().join(name));
    assert_eq!(tenant("acme/orders"), path("acme/tenant.toml"));
    assert_eq!(tenant("default/flat"), path("default/tenant.toml"));
    assert_eq!(tenant("other/x"), None);
    // What changes there concerns all of them.
    let facts = || found().candidates.pop_first().unwrap().1.facts;
    let before = facts();
    let component = folder.path().join("acme/decrypt.wasm");
    fs::write(folder.path().join("new"), "").unwrap();
    fs::rename(folder.path().join("new"), component).unwrap();
    assert_ne!(before, facts());
}

#[test]
fn one_handler_in_two_places_is_refused() {
    let folder = folder(&["a/handler.toml", "a.toml", "a.wasm"]);
    let scan = scan(folder.path()).unwrap();
    assert_eq!(ids(&scan), ["default/a"]);
    assert_eq!(scan.problems.len(), 1);
}

#[test]
fn a_handler_that_is_asked_for_and_not_there_is_told_with_those_that_are() {
    let only = [
        "default/helo".parse().unwrap(),
        "default/hello".parse().unwrap(),
    ];
    let told = |files| {
        let problems = scan(folder(files).path()).unwrap().not_found(&only);
        problems
            .into_iter()
            .map(|(_, what)| what)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        told(&["acme/x/handler.toml", "hello/handler.toml"]),
        [
            "--only default/helo: there is no such handler in the folder (it holds acme/x, default/hello)"
        ]
    );
    let none = told(&[]);
    assert_eq!(none.len(), 2);
    assert!(
        none[0].ends_with(
            "(it holds none; expected <handler>/handler.toml with a .wasm file beside it)"
        )
    );
}

#[test]
fn a_folder_that_cannot_be_read_is_told_with_the_remedy() {
    let folder = folder(&["file"]);
    for (name, remedy) in [("none", "(create it, or"), ("file", "not a file)")] {
        let path = folder.path().join(name);
        let told = unreadable(&path, &scan(&path).unwrap_err());
        assert!(
            told.starts_with(&path.display().to_string()) && told.contains(remedy),
            "{told}"
        );
    }
}

#[test]
fn facts_change_when_a_file_is_replaced() {
    let folder = folder(&["a/handler.toml", "a/a.wasm"]);
    let first = scan(folder.path())
        .unwrap()
        .candidates
        .pop_first()
        .unwrap()
        .1;
    assert_eq!(
        first.facts,
        scan(folder.path())
            .unwrap()
            .candidates
            .pop_first()
            .unwrap()
            .1
            .facts
    );
    fs::write(folder.path().join("new"), "").unwrap();
    fs::rename(folder.path().join("new"), folder.path().join("a/a.wasm")).unwrap();
    assert_ne!(
        first.facts,
        scan(folder.path())
            .unwrap()
            .candidates
            .pop_first()
            .unwrap()
            .1
            .facts
    );
}
