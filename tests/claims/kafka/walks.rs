//! The walks of the page on operations: what a newcomer types, from beginning to end, and what is seen then.
//!
//! They are typed in the order of the page, in one folder, at a Kafka of their own.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use harness::{Kafka, guest};

use crate::docs::commands_of;
use crate::docs::fates::{A_TENANT, DEPLOYING, Scenario};
use crate::docs::pages::{Command, blocks_in};
use crate::docs::terminal::Terminal;

/// The files that the blocks of a walk are, in their order.
const FILES: [(&str, &str); 3] = [
    (DEPLOYING, "v1/handler.toml"),
    (A_TENANT, "host.toml"),
    (A_TENANT, "handlers/shop/tenant.toml"),
];

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// The greeter of the README, and the same with another greeting.
fn builds(folder: &Path) {
    let component = fs::read(guest("hello")).unwrap();
    let at = component
        .windows(7)
        .position(|it| it == b"Hello, ")
        .unwrap();
    let mut other = component.clone();
    other[at..at + 7].copy_from_slice(b"Howdy, ");
    write(folder, "v1/greeter.wasm", &component);
    write(folder, "v2/greeter.wasm", &other);
}

/// Writes the files that a walk has its reader write.
fn files(folder: &Path, terminal: &Terminal, command: &Command) {
    let walk = format!("{}#{}", command.page, command.section);
    let blocks = blocks_in(&command.page, "toml").into_iter();
    let blocks = blocks.filter(|it| it.section == command.section);
    let files = FILES.iter().filter(|(of, _)| *of == walk);
    let blocks: Vec<_> = blocks.collect();
    assert_eq!(blocks.len(), files.clone().count(), "{walk}");
    for (block, (_, name)) in blocks.iter().zip(files) {
        write(folder, name, terminal.meaning(&block.text()).as_bytes());
    }
}

#[test]
fn a_newcomer_deploys_rolls_back_and_sets_up_a_tenant_as_written() {
    let kafka = Kafka::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    builds(folder.path());
    let mut terminal = Terminal::new(folder.path());
    terminal.name("kafka:9092", kafka.bootstrap());
    let commands = commands_of(Scenario::Walks);
    let mut walks = BTreeSet::new();
    for command in &commands {
        if walks.insert(command.section.clone()) {
            files(folder.path(), &terminal, command);
        }
        terminal.run(command);
        if command.text.starts_with("kafka-wasm-host serve") {
            // Where the commands look for it, unless they are told.
            let http = terminal.host().http_addr().to_owned();
            terminal.variable("KAFKA_WASM_HTTP", http);
        }
    }
    assert_eq!(walks.len(), 3, "{walks:?}");
    terminal.stop();
}
