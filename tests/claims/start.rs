//! How a host starts, refuses to, and takes up what lies in its folder, where no Kafka is needed to see it.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use harness::host::{binary, command};
use harness::{HandlersDir, Host, guest, wait_until};

use crate::answer::Answer;

const PATIENCE: Duration = Duration::from_secs(30);
/// The exit code for wrong usage and wrong configuration.
const EX_USAGE: i32 = 64;
/// The user and the group that own nothing.
const NOBODY: u32 = 65_534;
const GOOD: &str = "topics = [\"orders\"]\n";
const SPINS: &str = "topics = [\"bills\"]\nlimits.deadline-ms = 3600000\n[config]\nspin = \"\"\n";

/// A folder with a good handler `good` and a handler `bad` of this component.
fn with_a_good_one(component: &str, manifest: &str) -> HandlersDir {
    let folder = HandlersDir::new().unwrap();
    folder.handler("good", guest("act"), GOOD).unwrap();
    folder.handler("bad", guest(component), manifest).unwrap();
    folder
}

#[test]
fn a_strict_start_that_is_refused_touches_no_group_and_tells_each_problem_once() {
    let folder = with_a_good_one("no-context", "topics = [\"bills\"]\n");
    fs::write(folder.path().join("lonely.wasm"), b"").unwrap();
    let mut host = Host::dev()
        .handlers(folder.path())
        .args(["--strict"])
        .env("RUST_LOG", "debug")
        .spawn()
        .unwrap();
    let status = host.wait(PATIENCE).unwrap();
    assert_eq!(status.code(), Some(EX_USAGE));
    host.wait_for_line("--strict is given", PATIENCE).unwrap();
    host.wait_for_line("lonely.toml", PATIENCE).unwrap();
    let lines = host.lines();
    let told = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    for text in ["subscribed", "deployed", "partitions assigned"] {
        assert_eq!(told(text), 0, "{text}: {lines:#?}");
    }
    for text in ["refused on purpose", "lonely.toml"] {
        assert_eq!(told(text), 1, "{text}: {lines:#?}");
    }
}

#[test]
fn a_refusal_counts_once_however_often_other_handlers_change() {
    let folder = with_a_good_one("no-context", "topics = [\"bills\"]\n");
    let host = Host::dev().handlers(folder.path()).start_ready().unwrap();
    let count = |result| {
        host.metric("kafka_wasm_deploys_total", &[("result", result)])
            .unwrap()
    };
    assert_eq!((count("published"), count("refused")), (1.0, 1.0));
    let other = format!("{GOOD}start = \"latest\"\n");
    folder.swap_manifest("good", &other).unwrap();
    harness::wait_until("the second revision", PATIENCE, || {
        count("published") >= 2.0
    })
    .unwrap();
    assert_eq!((count("published"), count("refused")), (2.0, 1.0));
    let (_, said) = host.get("/readyz").unwrap();
    assert!(said.contains(r#""what": "handler default/bad""#), "{said}");
    host.stop().unwrap();
}

#[test]
fn a_folder_without_permission_is_told() {
    let outer = HandlersDir::new().unwrap();
    outer.handler("good", guest("act"), GOOD).unwrap();
    outer
        .handler("locked/inner", guest("act"), "topics = [\"bills\"]\n")
        .unwrap();
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let locked = outer.folder("locked");
    mode(outer.path(), 0o755);
    mode(&locked, 0o000);
    let mut check = command("check").unwrap();
    // Root may read everything: then the host runs as nobody, from a place where nobody may look.
    let place = tempfile::tempdir().unwrap();
    if fs::read_dir(&locked).is_ok() {
        let program = place.path().join("kafka-wasm-host");
        fs::copy(binary().unwrap(), &program).unwrap();
        mode(place.path(), 0o755);
        mode(&program, 0o755);
        check = Command::new(program);
        check.arg("check").uid(NOBODY).gid(NOBODY);
    }
    let answer = check.arg(outer.path()).output();
    mode(&locked, 0o700);
    let answer = match answer {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            println!("skipped: root, but not allowed to run a program as another user: {error}");
            return;
        }
        answer => answer.unwrap(),
    };
    let told = String::from_utf8(answer.stderr).unwrap();
    let line = format!("{}: cannot be read: ", locked.display());
    assert!(told.starts_with(&line), "{told}");
    assert_eq!(answer.status.code(), Some(EX_USAGE));
    let good = String::from_utf8(answer.stdout).unwrap();
    assert!(good.contains("default/good"), "{good}");
}

#[test]
fn a_handler_that_is_asked_for_and_not_there_is_told_with_those_that_are() {
    let folder = with_a_good_one("act", "topics = [\"bills\"]\n");
    let mut host = Host::dev()
        .handlers(folder.path())
        .args(["--only", "default/goood"])
        .start()
        .unwrap();
    let told = "--only default/goood: there is no such handler in the folder (it holds default/bad, default/good)";
    host.wait_for_line(told, PATIENCE).unwrap();
    host.stop().unwrap();
}

#[test]
fn a_value_that_librdkafka_refuses_ends_the_start_before_any_connection() {
    let folder = with_a_good_one("act", "topics = [\"bills\"]\n");
    let mut host = Host::dev()
        .handlers(folder.path())
        .args(["--kafka-setting", "fetch.min.bytes=x"])
        .args(["--kafka-setting", "linger.ms=y"])
        .spawn()
        .unwrap();
    let status = host.wait(PATIENCE).unwrap();
    assert_eq!(status.code(), Some(EX_USAGE));
    host.wait_for_line("--kafka-setting linger.ms: librdkafka refuses", PATIENCE)
        .unwrap();
    let lines = host.lines();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].starts_with("--kafka-setting fetch.min.bytes: librdkafka refuses"));
}

#[test]
fn the_embedded_broker_and_a_cluster_contradict_each_other_on_the_command_line_only() {
    let folder = with_a_good_one("act", "topics = [\"bills\"]\n");
    let mut host = Host::dev()
        .handlers(folder.path())
        .args(["--brokers", "127.0.0.1:1"])
        .spawn()
        .unwrap();
    let status = host.wait(PATIENCE).unwrap();
    assert_eq!(status.code(), Some(EX_USAGE));
    host.wait_for_line("'--dev' cannot be used with '--brokers", PATIENCE)
        .unwrap();

    let mut host = Host::dev()
        .handlers(folder.path())
        .env("KAFKA_WASM_BROKERS", "127.0.0.1:1")
        .env("KAFKA_WASM_BROKER", "127.0.0.1:1")
        .args(["--log-format", "json"])
        .start_ready()
        .unwrap();
    host.wait_for_line("(did you mean KAFKA_WASM_BROKERS?)", PATIENCE)
        .unwrap();
    let deployed = host
        .wait_for_line("\"message\":\"deployed\"", PATIENCE)
        .unwrap();
    let number = deployed.split("\"took_ms\":").nth(1).unwrap();
    assert!(
        number.starts_with(|c: char| c.is_ascii_digit()),
        "{deployed}"
    );
    host.stop().unwrap();
}

#[test]
fn a_trial_that_never_ends_is_given_up_long_before_a_long_deadline() {
    let folder = with_a_good_one("no-context", SPINS);
    let mut host = Host::dev().handlers(folder.path()).start().unwrap();
    let told = host.wait_for_line("did not return within", PATIENCE);
    let told = told.unwrap();
    assert!(
        told.contains("the trial before a deployment has 5 s"),
        "{told}"
    );
    let deployed = host.wait_for_line(" deployed ", PATIENCE).unwrap();
    assert!(deployed.contains("handler=good"), "{deployed}");
    host.stop().unwrap();
}

#[test]
fn a_host_stops_while_a_trial_runs() {
    let folder = HandlersDir::new().unwrap();
    folder.handler("bad", guest("no-context"), SPINS).unwrap();
    let mut host = Host::dev().handlers(folder.path()).start().unwrap();
    host.term().unwrap();
    // The trial alone would take five.
    let status = host.wait(Duration::from_secs(4)).unwrap();
    assert!(status.success(), "{status}");
}

#[test]
fn a_state_folder_is_one_hosts() {
    let (folder, aside) = (HandlersDir::new().unwrap(), tempfile::tempdir().unwrap());
    let manifest = "topics = [\"orders\"]\n";
    folder.handler("good", guest("act"), manifest).unwrap();
    let state = aside.path().join("state").display().to_string();
    let serve = || {
        Host::dev()
            .handlers(folder.path())
            .args(["--state", &state])
    };
    let mut host = serve().start_ready().unwrap();
    let mut second = command("serve").unwrap();
    second.args(["--dev", "--state", &state, "--handlers"]);
    let refused = Answer::of(second.arg(folder.path()));
    assert_eq!(refused.code, 1, "{refused:?}");
    for told in [state.as_str(), "another host", "`state` in host.toml"] {
        assert!(refused.stderr.contains(told), "{refused:?}");
    }
    // A host that is killed keeps nobody out.
    host.kill9();
    serve().start_ready().unwrap().stop().unwrap();
}

#[test]
fn a_manifest_that_is_no_text_is_told_with_line_and_remedy() {
    let folder = HandlersDir::new().unwrap();
    let manifest = "topics = [\"orders\"]\n";
    folder.handler("bad", guest("act"), manifest).unwrap();
    let bytes = b"# caf\xe9\ntopics = [\"orders\"]\n";
    fs::write(folder.folder("bad").join("handler.toml"), bytes).unwrap();
    let mut check = command("check").unwrap();
    let refused = Answer::of(check.arg(folder.path()));
    let told = format!("{refused:?}");
    assert!(
        told.contains("handler.toml:1: cannot be read: byte 5 (0xe9) is not UTF-8")
            && told.contains("iconv"),
        "{told}"
    );
}

#[test]
fn the_folder_of_compiled_components_does_not_grow_without_end() {
    let (folder, aside) = (HandlersDir::new().unwrap(), tempfile::tempdir().unwrap());
    let manifest = "topics = [\"orders\"]\n";
    folder.handler("good", guest("act"), manifest).unwrap();
    let cache = aside.path().join("cache");
    let toml = aside.path().join("host.toml");
    fs::write(&toml, format!("cache = {cache:?}\ncache-max-mib = 1\n")).unwrap();
    let toml = toml.display().to_string();
    let host = Host::dev().handlers(folder.path());
    let host = host
        .args(["--config", &toml])
        .env("KAFKA_WASM_CACHE", &cache.display().to_string());
    let host = host.start_ready().unwrap();
    let compiled = || {
        let files = fs::read_dir(&cache).unwrap().map(|it| it.unwrap().path());
        let files = files.filter(|it| it.extension().is_some_and(|it| it == "cwasm"));
        files.collect::<Vec<_>>()
    };
    let first = compiled();
    assert_eq!(first.len(), 1);
    // Each has a name of its own in a section that nobody reads.
    for n in 0..6u8 {
        let mut bytes = fs::read(guest("act")).unwrap();
        bytes.extend([0, 2, 1, b'a' + n]);
        folder.swap_component_bytes("good", &bytes).unwrap();
        let deployed = || {
            let lines = host.lines();
            lines.iter().filter(|it| it.contains(" deployed ")).count()
        };
        let count = usize::from(n) + 2;
        wait_until("the next revision", Duration::from_secs(30), || {
            deployed() == count
        })
        .unwrap_or_else(|error| panic!("{error}\n{}", host.tail()));
        let bytes = |it: &PathBuf| fs::metadata(it).unwrap().len();
        let all = compiled();
        let sum: u64 = all.iter().map(bytes).sum();
        // What serves and what comes in its place are there at any size.
        assert!(sum <= 1 << 20 || all.len() <= 2, "{sum} {all:?}");
    }
    assert!(!first[0].exists());
    host.stop().unwrap();
}
