//! The documentation does what it says: each command in it is run, each file in it is valid, each name in it exists.
//!
//! [`fates::FATES`] says for every command where it is run. A command that it does not know fails the tests, and so does an
//! entry that no page needs, so pages and tests cannot drift apart.
//! **Invariant:** no command and no file of a page is passed over in silence.

pub(crate) mod fates;
mod names;
pub(crate) mod pages;
pub(crate) mod terminal;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process;
use std::time::Duration;

use harness::{HandlersDir, Host, guest, root};

use self::fates::{FATES, Fate, Scenario};
use self::pages::{Block, Command, blocks_in};
use self::terminal::{Terminal, user_environment};

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
