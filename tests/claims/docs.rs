//! The documentation does what it says: each command in it is run, each file in it is valid, each name in it exists.
//!
//! [`FATES`] says for every command where it is run. A command that it does not know fails the tests, and so does an
//! entry that no page needs, so pages and tests cannot drift apart.
//! **Invariant:** a command with the fate [`Fate::Run`] is run by the scenario that it names, as the page has it.

mod names;
pub(crate) mod pages;
pub(crate) mod terminal;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process;
use std::time::Duration;

use harness::{HandlersDir, Host, guest, root};

use self::pages::{Block, Command, blocks_in};
use self::terminal::{Terminal, user_environment};

/// Where a command is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// By a test of this module, or of `kafka::docs`.
    Run(Scenario),
    /// Not here, for this reason; instead there is a file that has this text in it.
    Elsewhere {
        why: &'static str,
        file: &'static str,
        text: &'static str,
    },
}

/// Tests that type commands, each in its own terminals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// [`the_readme_leads_from_nothing_to_a_greeting`]
    Greeter,
    /// [`the_demo_of_the_readme_is_right`]
    Demo,
    /// [`the_readmes_of_the_examples_work_as_written`]
    Examples,
    /// `kafka::docs`: everything that names a real Kafka, and what stands beside it.
    Kafka,
    /// `kafka::walks`: from beginning to end what the page walks a newcomer through, on a Kafka of its own.
    Walks,
}

/// Every command of a page, or of one of its sections, begins with one of these; the first that fits counts.
const FATES: &[(&str, &str, Fate)] = &[
    ("README.md", "cargo xtask demo", Fate::Run(Scenario::Demo)),
    ("README.md", "cargo xtask test", RUNS_THIS),
    ("README.md", "export PATH=", HAS_THE_PATH),
    ("README.md", "docker ", NEEDS_A_DAEMON),
    (
        "README.md",
        "kafka-wasm-host serve --handlers handlers --brokers",
        Fate::Run(Scenario::Kafka),
    ),
    ("README.md", "", Fate::Run(Scenario::Greeter)),
    (DEPLOYING, "", Fate::Run(Scenario::Walks)),
    (ROLLING_BACK, "", Fate::Run(Scenario::Walks)),
    (A_TENANT, "", Fate::Run(Scenario::Walks)),
    ("docs/OPERATIONS.md", "docker ", NEEDS_A_DAEMON),
    (
        "docs/OPERATIONS.md",
        "kafka-wasm-host serve --handlers handlers --brokers kafka:9092 --until-caught-up",
        ENDS_BY_ITSELF,
    ),
    ("docs/OPERATIONS.md", "kafka-wasm-host seek ", NEEDS_A_GROUP),
    (
        "docs/OPERATIONS.md",
        "kafka-wasm-host reload ",
        NEEDS_SETTINGS,
    ),
    (
        "docs/OPERATIONS.md",
        "kafka-wasm-host revisions ",
        NEEDS_REVISIONS,
    ),
    (
        "docs/OPERATIONS.md",
        "kafka-wasm-host rollback ",
        NEEDS_REVISIONS,
    ),
    (
        "docs/OPERATIONS.md",
        "kafka-wasm-host release ",
        NEEDS_A_KEY,
    ),
    ("docs/OPERATIONS.md", "minisign ", NEEDS_A_KEY),
    (
        "docs/OPERATIONS.md",
        "kafka-wasm-host check staging --config ",
        NEEDS_A_KEY,
    ),
    (
        "docs/OPERATIONS.md",
        "kafka-wasm-host deploy ",
        NEEDS_A_BUILD,
    ),
    ("docs/OPERATIONS.md", "tar -cf ", NEEDS_A_BUILD),
    ("docs/OPERATIONS.md", "kafka-wasm-host drain ", ENDS_SERVING),
    ("docs/OPERATIONS.md", "", Fate::Run(Scenario::Kafka)),
    ("docs/HANDLERS.md", "", Fate::Run(Scenario::Kafka)),
    ("docs/BENCHMARKS.md", "cargo xtask bench ", MEASURES),
    ("docs/RELIABILITY.md", "cargo xtask torture ", TORTURES),
    ("CONTRIBUTING.md", "cargo xtask check", RUN_BY_CI),
    ("CONTRIBUTING.md", "cargo xtask test --fast", SKIPS),
    ("CONTRIBUTING.md", "cargo xtask test", RUNS_THIS),
    ("CONTRIBUTING.md", "cargo xtask docs", COMPARED),
    ("CONTRIBUTING.md", "cargo xtask fuzz", FUZZES),
    ("CONTRIBUTING.md", ".ci/run", RUNS_THIS),
    (
        "examples/hello/README.md",
        "",
        Fate::Run(Scenario::Examples),
    ),
    (
        "examples/earthquakes/README.md",
        "",
        Fate::Run(Scenario::Examples),
    ),
    (
        "examples/summaries/README.md",
        "",
        Fate::Run(Scenario::Examples),
    ),
    ("examples/felt/README.md", "", Fate::Run(Scenario::Examples)),
    ("examples/orders/README.md", "", Fate::Run(Scenario::Demo)),
    ("examples/tenants/README.md", "", Fate::Run(Scenario::Demo)),
    (
        "examples/bulletins/README.md",
        "",
        Fate::Run(Scenario::Examples),
    ),
];

/// The walks of the page on operations.
pub(crate) const DEPLOYING: &str = "docs/OPERATIONS.md#deploying-step-by-step";
pub(crate) const ROLLING_BACK: &str = "docs/OPERATIONS.md#rolling-back-step-by-step";
pub(crate) const A_TENANT: &str = "docs/OPERATIONS.md#a-tenant-step-by-step";

const RUNS_THIS: Fate = Fate::Elsewhere {
    why: "it runs this test",
    file: ".ci/run",
    text: "cargo xtask test",
};
const RUN_BY_CI: Fate = Fate::Elsewhere {
    why: "it is run before the tests are",
    file: ".ci/run",
    text: "cargo xtask check",
};
const SKIPS: Fate = Fate::Elsewhere {
    why: "it runs a part of the tests that run this one",
    file: "xtask/src/test.rs",
    text: "\"--skip\", needs",
};
const COMPARED: Fate = Fate::Elsewhere {
    why: "it writes what other tests compare",
    file: "host/src/manifest/schema.rs",
    text: "fn the_tables_in_docs_are_up_to_date",
};
const MEASURES: Fate = Fate::Elsewhere {
    why: "it measures for minutes; here it measures a few records",
    file: "tests/claims/kafka/docs.rs",
    text: "fn the_benchmarks_measure_every_row(",
};
const FUZZES: Fate = Fate::Elsewhere {
    why: "it takes an hour; what it begins with is run by the host's own tests",
    file: "host/src/fuzzed/seeds.rs",
    text: "join(\"../fuzz/seeds\")",
};
const TORTURES: Fate = Fate::Elsewhere {
    why: "it takes minutes; shorter runs follow these tests",
    file: "xtask/src/test.rs",
    text: "step(\"torture\"",
};
const HAS_THE_PATH: Fate = Fate::Elsewhere {
    why: "the terminals of these tests have the built host on their path",
    file: "tests/claims/docs/terminal.rs",
    text: "fn user_environment",
};
const NEEDS_SETTINGS: Fate = Fate::Elsewhere {
    why: "it asks a host whose settings have changed",
    file: "tests/claims/reload.rs",
    text: "fn a_reload_changes_what_it_can_and_names_what_it_cannot(",
};
const ENDS_BY_ITSELF: Fate = Fate::Elsewhere {
    why: "it ends by itself, while the other commands of its page need a host that serves",
    file: "tests/claims/kafka/once.rs",
    text: "fn a_run_until_caught_up_ends_by_itself(",
};
const NEEDS_A_GROUP: Fate = Fate::Elsewhere {
    why: "it needs a group that has positions and no members",
    file: "tests/claims/kafka/seek.rs",
    text: "fn seek_moves_a_group_and_refuses_while_it_has_members(",
};
const NEEDS_REVISIONS: Fate = Fate::Elsewhere {
    why: "it needs a handler of which several revisions were published",
    file: "tests/claims/kafka/revisions.rs",
    text: "fn a_rollback_serves_the_revision_before(",
};
const NEEDS_A_KEY: Fate = Fate::Elsewhere {
    why: "it needs a secret key; there the signature is made as minisign makes it",
    file: "tests/claims/kafka/signed.rs",
    text: "fn check_says_whether_a_host_would_believe_a_release(",
};
const NEEDS_A_BUILD: Fate = Fate::Elsewhere {
    why: "it needs the folder of a handler that somebody has built",
    file: "tests/claims/control/uploads.rs",
    text: "fn a_handler_is_sent_in_by_the_command_and_by_curl(",
};
const ENDS_SERVING: Fate = Fate::Elsewhere {
    why: "no other command of its page finds a host that serves after it",
    file: "tests/claims/control/host.rs",
    text: "fn a_host_that_drains_finishes_and_waits_to_be_stopped(",
};
const NEEDS_A_DAEMON: Fate = Fate::Elsewhere {
    why: "it needs a container engine; what the image runs is run without one",
    file: "tests/claims/docs.rs",
    text: "fn the_image_serves_as_its_dockerfile_says",
};

fn fate(command: &Command) -> Option<usize> {
    let fits = |(page, start, _): &(&str, &str, Fate)| {
        let is_there = match page.split_once('#') {
            Some((page, section)) => page == command.page && section == command.section,
            None => *page == command.page,
        };
        is_there && command.text.starts_with(start)
    };
    FATES.iter().position(fits)
}

/// The commands that a scenario types, in the order of the pages.
pub(crate) fn commands_of(scenario: Scenario) -> Vec<Command> {
    let mut commands: Vec<Command> = pages::pages()
        .iter()
        .flat_map(|page| pages::commands(page))
        .collect();
    commands.retain(|command| fate(command).is_some_and(|at| FATES[at].2 == Fate::Run(scenario)));
    assert!(!commands.is_empty(), "{scenario:?} has nothing to do");
    commands
}

#[test]
fn every_command_in_the_docs_is_run_by_a_test() {
    let mut used = vec![false; FATES.len()];
    let mut problems = Vec::new();
    for page in pages::pages() {
        for command in pages::commands(&page) {
            match fate(&command) {
                Some(at) => used[at] = true,
                None => problems.push(format!(
                    "{}: nothing runs `{}`",
                    command.place, command.text
                )),
            }
        }
    }
    for ((page, start, fate), used) in FATES.iter().zip(used) {
        if !used {
            problems.push(format!("{page} has no command that begins with `{start}`"));
        }
        if let Fate::Elsewhere { why, file, text } = fate {
            let found =
                fs::read_to_string(root().join(file)).is_ok_and(|content| content.contains(text));
            if !found || why.is_empty() {
                problems.push(format!("`{start}` of {page}: {file} has no {text:?}"));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// The first block of the README in this language that has `text` in it.
fn readme_block(language: &str, text: &str) -> Block {
    let mut blocks = blocks_in("README.md", language).into_iter();
    let found = blocks.find(|block| block.text().contains(text));
    found.unwrap_or_else(|| panic!("README.md has no block in {language} with {text:?}"))
}

#[test]
fn the_handler_of_the_readme_is_the_hello_example() {
    let example = fs::read_to_string(root().join("examples/hello/src/lib.rs")).unwrap();
    let (example, _) = example.split_once("\n#[cfg(test)]").unwrap();
    let shown = readme_block("rust", "on_message");
    assert_eq!(shown.text(), example);
    assert!(shown.lines.len() <= 10, "{} lines", shown.lines.len());
}

/// A cargo manifest of a page, with the guest crate where it is.
fn cargo_toml(text: &str) -> String {
    let path = root().join("guest-sdk/rust");
    let replaced = text.replace("../kafka-wasm-host/guest-sdk/rust", &path.to_string_lossy());
    assert_ne!(
        replaced, text,
        "the page names the guest crate by another path"
    );
    replaced
}

/// The versions of the examples, so that a crate of a page needs nothing that they do not.
fn copy_lock(folder: &Path) {
    fs::copy(
        root().join("examples/Cargo.lock"),
        folder.join("Cargo.lock"),
    )
    .unwrap();
}

#[test]
fn the_readme_leads_from_nothing_to_a_greeting() {
    let folder = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::new(folder.path());
    for command in commands_of(Scenario::Greeter) {
        if command.text.starts_with("cargo build") {
            let krate = terminal.folder.clone();
            fs::write(
                krate.join("Cargo.toml"),
                cargo_toml(&readme_block("toml", "[package]").text()),
            )
            .unwrap();
            fs::write(
                krate.join("src/lib.rs"),
                readme_block("rust", "on_message").text(),
            )
            .unwrap();
            fs::write(
                krate.join("handler.toml"),
                readme_block("toml", "topics").text(),
            )
            .unwrap();
            copy_lock(&krate);
            // What the guests of the tests were built with is used again.
            symlink(root().join("target/guests"), krate.join("target")).unwrap();
        }
        terminal.run(&command);
    }
    terminal.stop();
}

#[test]
fn the_readmes_of_the_examples_work_as_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::new(root().join("examples"));
    let target = root().join("target/guests");
    terminal.variable("CARGO_TARGET_DIR", &target);
    terminal.name(
        "target/wasm32-wasip2",
        target.join("wasm32-wasip2").to_string_lossy(),
    );
    terminal.name(
        "/tmp/handlers",
        folder.path().join("handlers").to_string_lossy(),
    );
    terminal.run_all(&commands_of(Scenario::Examples));
}

#[test]
fn the_demo_of_the_readme_is_right() {
    let mut terminal = Terminal::new(root());
    terminal.run_all(&commands_of(Scenario::Demo));
}

/// The words of a line of the Dockerfile such as `CMD ["a", "b"]`.
fn dockerfile(instruction: &str) -> Vec<String> {
    let text = pages::read("Dockerfile");
    let line = text.lines().rfind(|line| line.starts_with(instruction));
    let line = line.unwrap_or_else(|| panic!("the Dockerfile has no {instruction}"));
    let at = line.find('[').expect("words in brackets");
    serde_json::from_str(&line[at..]).unwrap()
}

#[test]
fn the_image_serves_as_its_dockerfile_says() {
    assert_eq!(dockerfile("ENTRYPOINT"), ["kafka-wasm-host"]);
    let run = pages::commands("README.md")
        .into_iter()
        .find(|command| command.text.starts_with("docker run"));
    let run = run.unwrap().text;
    assert!(
        run.contains(":/handlers:ro")
            && run.contains("-e KAFKA_WASM_BROKERS=")
            && run.contains("-p 8080:8080"),
        "{run}"
    );

    let folder = HandlersDir::new().unwrap();
    folder
        .handler("hello", guest("hello"), "topics = [\"names\"]\n")
        .unwrap();
    let handlers = folder.path().to_string_lossy();
    let command = dockerfile("CMD");
    assert_eq!(&command[..1], ["serve"]);
    let args: Vec<String> = command[1..]
        .iter()
        .map(|word| word.replace("/handlers", &handlers))
        .collect();
    let at = args
        .iter()
        .position(|word| word == "0.0.0.0:8080")
        .expect("the port that README.md maps");
    let mut host = Host::without_brokers()
        .args(args[..at - 1].iter().chain(&args[at + 1..]))
        .env("KAFKA_WASM_BROKERS", "127.0.0.1:1")
        .env(
            "KAFKA_WASM_CACHE",
            &folder.path().join(".cache").to_string_lossy(),
        )
        .start()
        .unwrap();
    host.wait_for_line("subscribed", Duration::from_secs(60))
        .unwrap();
    let health = dockerfile("HEALTHCHECK");
    assert_eq!(health.len(), 2, "{health:?}");
    let mut health = harness::host::command(&health[1]).unwrap();
    health.env("KAFKA_WASM_HTTP", host.http_addr());
    assert!(health.output().unwrap().status.success());
    host.stop().unwrap();
}

#[test]
fn the_rust_of_the_handlers_guide_compiles_and_its_test_passes() {
    let folder = tempfile::tempdir().unwrap();
    let lib: String = blocks_in("docs/HANDLERS.md", "rust")
        .iter()
        .enumerate()
        .map(|(number, block)| {
            format!(
                "#[allow(dead_code)]\nmod block_{number} {{\n{}}}\n",
                block.text()
            )
        })
        .collect();
    let cargo = readme_block("toml", "[package]")
        .text()
        .replace("\"cdylib\"", "\"lib\"");
    let cargo = cargo_toml(&cargo) + "serde = { version = \"1\", features = [\"derive\"] }\n";
    fs::create_dir(folder.path().join("src")).unwrap();
    fs::write(folder.path().join("src/lib.rs"), lib).unwrap();
    fs::write(
        folder.path().join("Cargo.toml"),
        cargo.replace("greeter", "guide"),
    )
    .unwrap();
    copy_lock(folder.path());
    let mut command = process::Command::new("cargo");
    user_environment(&mut command, false);
    command
        .arg("test")
        .current_dir(folder.path())
        .env("CARGO_TARGET_DIR", root().join("target/guests-native"));
    let output = command.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let problems = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}{problems}");
    assert!(printed.contains("a_name_is_greeted ... ok"), "{printed}");
}
