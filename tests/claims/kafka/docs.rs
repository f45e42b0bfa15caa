//! The commands of the documentation that name a real Kafka.
//!
//! They are typed in the order of the pages, in a folder with the README's handler; `kafka:9092` stands for the shared
//! node, `kafka:9093` for one that does not answer.

use std::fs;
use std::process::Command;
use std::time::Duration;

use harness::{Kafka, guest, root, wait_until};

use crate::docs::commands_of;
use crate::docs::fates::Scenario;
use crate::docs::pages::blocks_in;
use crate::docs::terminal::{Terminal, user_environment};

#[test]
fn the_commands_for_a_real_kafka_work_as_written() {
    let kafka = Kafka::shared();
    for topic in ["names", "greetings", "default.greeter.dead-letter"] {
        kafka.create_topic(topic, 1, &[]).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::new(folder.path());
    terminal.name("kafka:9092", kafka.bootstrap());
    terminal.name("kafka:9093", "127.0.0.1:1");
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    file("handlers/greeter/handler.toml", b"topics = [\"names\"]\n");
    file(
        "handlers/greeter/greeter.wasm",
        &fs::read(guest("hello")).unwrap(),
    );
    file("staging/greeter/handler.toml", b"topics = [\"names\"]\n");
    file(
        "staging/greeter/greeter.wasm",
        &fs::read(guest("pass")).unwrap(),
    );
    file("build/greeter.wasm", &fs::read(guest("pass")).unwrap());
    let settings = blocks_in("docs/OPERATIONS.md", "toml");
    file(
        "host.toml",
        terminal.meaning(&settings[0].text()).as_bytes(),
    );

    for command in commands_of(Scenario::Kafka) {
        terminal.run(&command);
        if command.text.starts_with("printf ") {
            let host = terminal.host();
            host.wait_for_line("a new revision is tried", Duration::from_secs(20))
                .unwrap();
        }
        if command.text.starts_with("mv ") {
            let host = terminal.host();
            let deployed = |line: &&String| line.contains(" deployed ");
            wait_until("the new revision", Duration::from_secs(20), || {
                host.lines().iter().filter(deployed).count() == 2
            })
            .unwrap();
        }
    }
    terminal.stop();
}

#[test]
fn the_demo_of_the_orders_is_right_on_a_real_kafka() {
    // This node makes no topics on first use.
    let mut demo = Command::new("cargo");
    user_environment(&mut demo, false);
    let output = demo
        .args(["xtask", "demo", "--example", "orders", "--brokers"])
        .arg(Kafka::shared().bootstrap())
        .current_dir(root())
        .output()
        .unwrap();
    let page = String::from_utf8_lossy(&output.stdout);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{page}\n{log}");
}

#[test]
fn the_benchmarks_measure_every_row() {
    let path = [
        env!("CARGO_BIN_EXE_bench-path"),
        "--records=2000",
        "--runs=1",
        "--size=200",
    ];
    let guarantees = [
        env!("CARGO_BIN_EXE_bench-guarantees"),
        "--records=200",
        "--pause-ms=1",
        "--concurrency=20",
        "--latency-seconds=1",
        "--batch-records=2000",
        "--hot-records=2000",
        "--key-records=2000",
        "--key-runs=1",
        "--linger-runs=1",
        "--linger-rate=1000",
    ];
    let conversations = [
        env!("CARGO_BIN_EXE_bench-conversations"),
        "--requests=20",
        "--python-requests=20",
        "--in-flight=1",
        "--in-flight=2",
        "--runs=1",
    ];
    // Of applications in Python only where there is one.
    let rows_of_conversations = 2 * (4 + usize::from(harness::python::is_set_up()));
    // Six tables, with a head each but the first.
    let rows_guaranteed = 4 + (1 + 4) + (1 + 4) + (1 + 2) + (1 + 2) + (1 + 4);
    for (command, rows) in [
        (path.as_slice(), 8),
        (&guarantees, rows_guaranteed),
        (&conversations, rows_of_conversations),
    ] {
        let output = Command::new(command[0])
            .args(&command[1..])
            .output()
            .unwrap();
        let page = String::from_utf8_lossy(&output.stdout);
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{page}\n{log}");
        let lines = page.lines().filter(|line| line.starts_with("| "));
        // The head of the table is one more.
        assert_eq!(lines.count(), rows + 1, "{page}");
    }
}
