//! What the host says about bad input, where no Kafka is needed to see it.
//!
//! Each claim makes one mistake in a handlers folder, or on the command line, and reads the answer of `check` and of
//! `serve`.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use harness::host::command;
use harness::{HandlersDir, Host, guest};

use crate::answer::Answer;

const PATIENCE: Duration = Duration::from_secs(30);
/// The exit code for wrong usage and wrong configuration.
const EX_USAGE: i32 = 64;
const GOOD: &str = "topics = [\"orders\"]\n";

fn check(folder: impl AsRef<Path>) -> Answer {
    Answer::of(command("check").unwrap().arg(folder.as_ref()))
}

/// A folder with a good handler `good` and another one.
fn beside_a_good_one(name: &str, component: &[u8], manifest: &str) -> HandlersDir {
    let folder = HandlersDir::new().unwrap();
    folder.handler("good", guest("act"), GOOD).unwrap();
    folder.handler(name, guest("act"), manifest).unwrap();
    folder.replace_component_bytes(name, component).unwrap();
    folder
}

/// `check` names the component `bad/handler.wasm` with this text and praises the good one; `serve` says the same and
/// lets the good one serve; with `--strict` it refuses.
fn is_refused(component: &[u8], text: &str) {
    let folder = beside_a_good_one("bad", component, "topics = [\"bills\"]\n");
    let wasm = folder
        .folder("bad")
        .join("handler.wasm")
        .display()
        .to_string();
    told_and_survived(&folder, &format!("{wasm}: "), text);
}

fn told_and_survived(folder: &HandlersDir, place: &str, text: &str) {
    let answer = check(folder.path());
    let line = answer.stderr.lines().find(|line| line.contains(text));
    let line = line.unwrap_or_else(|| panic!("no {text:?} in {}", answer.stderr));
    println!("{line}");
    assert!(line.starts_with(place), "{line}");
    assert_eq!(answer.code, EX_USAGE);
    assert!(answer.stdout.contains("default/good"), "{}", answer.stdout);
    assert!(answer.stderr.contains("1 problem"), "{}", answer.stderr);

    let mut host = Host::dev().handlers(folder.path()).start().unwrap();
    let told = host.wait_for_line(text, PATIENCE).unwrap();
    assert!(told.contains(place), "{told}");
    let deployed = host.wait_for_line(" deployed ", PATIENCE).unwrap();
    assert!(deployed.contains("handler=good"), "{deployed}");
    host.wait_for_line("partitions assigned", PATIENCE).unwrap();
    host.stop().unwrap();

    let strict = serve_strict(folder.path());
    assert_eq!(strict.code, EX_USAGE);
    assert!(
        strict.stderr.contains("--strict is given"),
        "{}",
        strict.stderr
    );
    assert!(strict.stderr.contains(line), "{}", strict.stderr);
}

fn serve_strict(folder: &Path) -> Answer {
    let mut serve = command("serve").unwrap();
    Answer::of(serve.args(["--dev", "--strict", "--handlers"]).arg(folder))
}

#[test]
fn a_truncated_component_is_told() {
    let whole = fs::read(guest("act")).unwrap();
    is_refused(
        &whole[..whole.len() / 3],
        "cannot be compiled (is the file complete?)",
    );
}

#[test]
fn a_core_module_is_told_with_the_remedy() {
    // The smallest one: magic and version.
    is_refused(
        b"\0asm\x01\0\0\0",
        "build it for wasm32-wasip2, or wrap it with `wasm-tools component new`",
    );
}

#[test]
fn what_is_no_wasm_is_told() {
    is_refused(b"#!/bin/sh\n", "this is not a WebAssembly file");
    is_refused(b"", "this is not a WebAssembly file");
}

#[test]
fn a_component_of_another_wit_version_is_told_with_both_versions() {
    let other = fs::read(guest("other-version")).unwrap();
    is_refused(
        &other,
        "the component was built for kafka:handler@9.9.9, this host speaks kafka:handler@0.1.0",
    );
}

#[test]
fn an_import_that_the_host_does_not_offer_is_told_by_name() {
    // A component whose import of wasi:config has another name, of the same length.
    let mut component = fs::read(guest("act")).unwrap();
    let (from, to) = (b"wasi:config/store", b"acme:secret/store");
    let places: Vec<usize> = (0..component.len() - from.len())
        .filter(|at| component[*at..].starts_with(from))
        .collect();
    assert!(!places.is_empty());
    for at in places {
        component[at..at + to.len()].copy_from_slice(to);
    }
    is_refused(
        &component,
        "the component imports acme:secret/store@0.2.0-rc.1, which this host does not offer (it offers \
         kafka:handler/producer@0.1.0, kafka:handler/conversation@0.1.0, kafka:handler/current@0.1.0, \
         kafka:handler/json@0.1.0, wasi:logging/logging@0.1.0-draft, wasi:config/store@0.2.0-rc.1, and of WASI 0.2",
    );
}

#[test]
fn a_component_without_a_handler_hook_is_told() {
    let none = fs::read(guest("no-hooks")).unwrap();
    is_refused(
        &none,
        "exports none of kafka:handler/message-handler@0.1.0, kafka:handler/view-handler@0.1.0, \
         kafka:handler/event-handler@0.1.0, \
         kafka:handler/bulk-handler@0.1.0 and \
         kafka:handler/packed-bulk-handler@0.1.0",
    );
}

#[test]
fn a_handler_that_refuses_its_context_is_told() {
    let component = fs::read(guest("no-context")).unwrap();
    let folder = beside_a_good_one("bad", &component, "topics = [\"bills\"]\n");
    let toml = folder
        .folder("bad")
        .join("handler.toml")
        .display()
        .to_string();
    told_and_survived(&folder, &toml, "refused on purpose");
}

#[test]
fn two_handlers_of_one_group_that_disagree_are_told() {
    let component = fs::read(guest("act")).unwrap();
    // The first in the order of names is the good one.
    let folder = beside_a_good_one(
        "other",
        &component,
        "topics = [\"x\", \"orders\"]\ngroup = \"default.good\"\n",
    );
    let toml = folder
        .folder("other")
        .join("handler.toml")
        .display()
        .to_string();
    told_and_survived(
        &folder,
        &toml,
        "does not go together with default/good: both read orders in group default.good",
    );
}

#[test]
fn a_value_that_librdkafka_refuses_is_told_before_any_connection() {
    let manifest = "topics = [\"bills\"]\n[kafka.consumer]\n\"fetch.min.bytes\" = \"many\"\n";
    let folder = HandlersDir::new().unwrap();
    folder.handler("good", guest("act"), GOOD).unwrap();
    folder.handler("bad", guest("act"), manifest).unwrap();
    let place = folder.folder("bad").join("handler.toml");
    told_and_survived(
        &folder,
        &format!("{}:3: ", place.display()),
        "fetch.min.bytes",
    );
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let folder = HandlersDir::new().unwrap();
    let manifest = "topics = \"orders\"\nstrat = \"latest\"\nlimits.memory-mib = 0\n[kafka.consumer]\n\"group.id\" = \"g\"\nfetch.min.bytes = \"x\"\n[kafka.producer]\nlinger.ms = \"abc\"\ncompression.type = \"foo\"\n";
    folder
        .handler("acme/first", guest("act"), manifest)
        .unwrap();
    folder
        .replace_component_bytes("acme/first", b"nothing")
        .unwrap();
    folder
        .handler("acme/second", guest("act"), "topics = [\n")
        .unwrap();
    fs::write(folder.path().join("lonely.wasm"), b"").unwrap();
    let answer = check(folder.path());
    println!("{}", answer.stderr);
    assert_eq!(answer.code, EX_USAGE);
    let first = folder.folder("acme/first");
    let second = folder.folder("acme/second");
    let expected = [
        format!(
            "{}:1: topics: expected",
            first.join("handler.toml").display()
        ),
        format!(
            "{}:2: unknown key \"strat\" (did you mean \"start\"?)",
            first.join("handler.toml").display()
        ),
        format!(
            "{}:3: limits.memory-mib: expected a whole number of MiB from 1 to 4096, found 0",
            first.join("handler.toml").display()
        ),
        format!(
            "{}:5: kafka.consumer.\"group.id\": cannot be set",
            first.join("handler.toml").display()
        ),
        format!(
            "{}:6: kafka.consumer.\"fetch.min.bytes\": librdkafka refuses the value: ",
            first.join("handler.toml").display()
        ),
        format!(
            "{}:8: kafka.producer.\"linger.ms\": librdkafka refuses the value: ",
            first.join("handler.toml").display()
        ),
        format!(
            "{}:9: kafka.producer.\"compression.type\": librdkafka refuses the value: ",
            first.join("handler.toml").display()
        ),
        format!(
            "{}: this is not a WebAssembly file",
            first.join("handler.wasm").display()
        ),
        format!("{}:", second.join("handler.toml").display()),
        format!(
            "{}: has no manifest (expected lonely.toml beside it)",
            folder.path().join("lonely.wasm").display()
        ),
    ];
    for line in &expected {
        assert!(
            answer.stderr.lines().any(|told| told.starts_with(line)),
            "no {line:?}"
        );
    }
    assert!(
        answer
            .stderr
            .ends_with(&format!("{} problems\n", expected.len()))
    );
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let folder = beside_a_good_one("bad", b"", "");
    // Text of no encoding that manifests may have; permissions would not stop root.
    fs::write(
        folder.folder("bad").join("handler.toml"),
        b"topics = [\"\xff\"]",
    )
    .unwrap();
    folder.replace_component("bad", guest("act")).unwrap();
    let toml = folder
        .folder("bad")
        .join("handler.toml")
        .display()
        .to_string();
    told_and_survived(&folder, &toml, "cannot be read: ");
}

#[test]
fn an_unreadable_folder_is_told_and_waited_for() {
    let outer = HandlersDir::new().unwrap();
    let folder = outer.path().join("handlers");
    let answer = check(&folder);
    assert_eq!(answer.code, EX_USAGE);
    let line = format!("{}: the handlers folder cannot be read: ", folder.display());
    assert!(answer.stderr.starts_with(&line), "{}", answer.stderr);
    let strict = serve_strict(&folder);
    assert_eq!(strict.code, EX_USAGE);
    assert!(strict.stderr.contains(&line), "{}", strict.stderr);

    let mut host = Host::dev().handlers(&folder).start().unwrap();
    host.wait_for_line(&line, PATIENCE).unwrap();
    outer.swap_in("handlers/late", guest("act"), GOOD).unwrap();
    let deployed = host.wait_for_line(" deployed ", PATIENCE).unwrap();
    assert!(deployed.contains("handler=late"), "{deployed}");
    host.stop().unwrap();
}

#[test]
fn a_folder_without_handlers_is_told_and_waited_for() {
    let folder = HandlersDir::new().unwrap();
    let answer = check(folder.path());
    assert_eq!(answer.code, EX_USAGE);
    let remedy =
        "there are no handlers (expected <handler>/handler.toml with a .wasm file beside it)";
    assert!(answer.stderr.contains(remedy), "{}", answer.stderr);

    let mut host = Host::dev().handlers(folder.path()).start().unwrap();
    let line = host
        .wait_for_line(
            "no handlers serve yet; waiting for some (expected <handler>/handler.toml",
            PATIENCE,
        )
        .unwrap();
    assert!(
        line.contains(&folder.path().display().to_string()),
        "{line}"
    );
    folder.swap_in("late", guest("act"), GOOD).unwrap();
    host.wait_for_line(" deployed ", PATIENCE).unwrap();
    host.stop().unwrap();
}

#[test]
fn a_wrong_broker_address_is_told_and_tried_again_without_spinning() {
    let folder = HandlersDir::new().unwrap();
    folder.handler("good", guest("act"), GOOD).unwrap();
    // Port 1 of this machine: nothing listens there, and no test is given it.
    let mut host = Host::builder("127.0.0.1:1")
        .handlers(folder.path())
        .start()
        .unwrap();
    let line = host
        .wait_for_line("kafka is out of reach; trying again", PATIENCE)
        .unwrap();
    assert!(line.contains("127.0.0.1:1"), "{line}");
    let (status, said) = host.get("/readyz").unwrap();
    assert_eq!(status, 503);
    assert!(said.contains("127.0.0.1:1"), "{said}");
    assert_eq!(host.get("/livez").unwrap().0, 200);
    // It is watched for a while: the figure is the claim, and it needs time to pass.
    let (before_ms, lines) = (cpu_ms(host.pid()), host.lines().len());
    thread::sleep(Duration::from_secs(4));
    let used_ms = cpu_ms(host.pid()) - before_ms;
    let told = host.lines().len() - lines;
    println!("{used_ms} ms of CPU and {told} lines in 4 s");
    assert!(used_ms < 200, "{used_ms} ms of CPU in 4 s");
    assert!(told <= 8, "{}", host.tail());
    host.stop().unwrap();
}

/// CPU time of a process in milliseconds, user and system.
fn cpu_ms(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // After the name, which may have spaces, come state and numbers; a tick is 10 ms.
    let (_, numbers) = stat.rsplit_once(") ").unwrap();
    let ticks = numbers.split(' ').skip(11).take(2);
    ticks
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum::<u64>()
        * 10
}

#[test]
fn handlers_that_feed_each_other_are_told_before_they_are_deployed() {
    let folder = HandlersDir::new().unwrap();
    let there = "topics = [\"a\"]\n[[pipeline]]\nname = \"p\"\nstep = [{ pipe.topic = \"b\" }]\n";
    folder.swap_text("there", "handler.toml", there).unwrap();
    let back = "topics = [\"b\"]\ngroup = \"back\"\ndead-letter-topic = \"a\"\n";
    folder.handler("back", guest("act"), back).unwrap();
    // Another tenant, and topics that nobody reads, make no circle.
    let other = "topics = [\"b\"]\ndead-letter-topic = \"a\"\n";
    folder.handler("acme/other", guest("act"), other).unwrap();
    let answer = check(folder.path());
    // It may be meant so, and records that go round are cut.
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    let told = |name: &str, way: &str| {
        let manifest = folder.folder(name).join("handler.toml");
        format!(
            "warning: {}: the manifest has records written to a topic that feeds the handler again; a record that goes \
             round is cut at max-hops of the handlers on its way ({way})",
            manifest.display()
        )
    };
    let expected = [
        told("back", "a: back > there > back"),
        told("there", "b: there > back > there"),
    ];
    assert_eq!(answer.stderr.lines().collect::<Vec<_>>(), expected);
    assert!(answer.stdout.contains("3 handlers, all good"));
}

#[test]
fn a_good_folder_passes_and_says_what_is_in_it() {
    let folder = HandlersDir::new().unwrap();
    folder
        .handler(
            "acme/quakes",
            guest("hooks"),
            "pattern = \"quakes.*\"\n[limits]\nmemory-mib = 8\n",
        )
        .unwrap();
    let asks = format!("{GOOD}response = [{{ topic = \"prices\", event = \"priced\" }}]\n");
    folder.handler("orders", guest("act"), &asks).unwrap();
    let answer = check(folder.path());
    println!("{}", answer.stdout);
    assert_eq!((answer.code, answer.stderr.as_str()), (0, ""));
    for text in [
        "acme/quakes",
        "on-message",
        "on-bulk-error",
        "kafka:handler/producer@0.1.0",
        "pattern quakes.*",
        "acme.quakes.dead-letter",
        "8 MiB",
        "default/orders",
        "prices (event priced)",
        "2 handlers, all good",
    ] {
        assert!(answer.stdout.contains(text), "no {text:?}");
    }
}
