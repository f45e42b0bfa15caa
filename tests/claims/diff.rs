//! What `diff` says of two handlers folders.

use std::fs;

use harness::host::command;
use harness::{HandlersDir, guest};

use crate::answer::Answer;

fn diff(new: &HandlersDir, old: &HandlersDir) -> Answer {
    let mut command = command("diff").unwrap();
    Answer::of(command.arg(new.path()).arg("--handlers").arg(old.path()))
}

fn folder(handlers: &[(&str, &str, &str)]) -> HandlersDir {
    let folder = HandlersDir::new().unwrap();
    for (name, fixture, manifest) in handlers {
        folder.handler(name, guest(fixture), manifest).unwrap();
    }
    folder
}

#[test]
fn diff_tells_what_a_folder_would_change_and_no_secret() {
    let old = folder(&[
        ("same", "pass", "topics = [\"a\"]\n"),
        ("gone", "pass", "topics = [\"b\"]\n"),
        (
            "other",
            "pass",
            "topics = [\"c\"]\nconfig.password = \"hunter2\"\n",
        ),
    ]);
    let new = folder(&[
        ("same", "pass", "topics = [\"a\"]\n"),
        (
            "other",
            "error",
            "topics = [\"c\", \"d\"]\nconfig.password = \"hunter3\"\n",
        ),
        ("acme/new", "pass", "topics = [\"e\"]\n"),
    ]);
    fs::write(
        new.path().join("acme/tenant.toml"),
        "[grants]\nconsume = [\"e\", \"acme.*\"]\nproduce = [\"*\"]\ngroups = [\"acme.*\"]\n",
    )
    .unwrap();
    let answer = diff(&new, &old);
    println!("{}", answer.stdout);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    for line in [
        "+ acme/new  revision ",
        "    +tenant's consume e",
        "    +topics = [\"e\"]",
        "- default/gone",
        "~ default/other  revision ",
        "    code: changed",
        "    config.password: changed",
        "    +hook on-error",
        "    topics: [\"c\"] → [\"c\",\"d\"]",
        "3 changes, 1 the same",
    ] {
        let is_there = answer.stdout.lines().any(|it| it.starts_with(line));
        assert!(is_there, "{line}\n{}", answer.stdout);
    }
    assert!(!answer.stdout.contains("hunter"));
}

#[test]
fn diff_takes_what_cannot_be_loaded_for_no_difference() {
    let old = folder(&[("a", "pass", "topics = [\"a\"]\n")]);
    let new = folder(&[("a", "pass", "topics = [\"a\"]\norderin = \"key\"\n")]);
    let answer = diff(&new, &old);
    assert_eq!(answer.code, 64);
    assert!(answer.stderr.contains("did you mean"), "{}", answer.stderr);
    assert!(answer.stdout.contains("0 changes"), "{}", answer.stdout);
}
