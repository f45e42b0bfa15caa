//! Handlers that are sent to a running host.
//!
//! **Invariant:** what is refused leaves files and revision as they were.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::host::command;
use harness::http::request;
use harness::{HandlersDir, Host, clients, guest};
use serde_json::Value;

use super::with_tokens;
use crate::answer::Answer;

const PATIENCE: Duration = Duration::from_secs(30);
const TENANT: &str = "[grants]\nconsume = [\"*\"]\nproduce = [\"*\"]\ngroups = [\"*\"]\n\
    [quotas]\ncomponent-mib = 2\n";
const ORDERS: &str = "PUT /v1/handlers/acme/orders";
const TAR: (&str, &str) = ("Content-Type", "application/x-tar");

/// A tenant with a file and no handlers, and a handler of a tenant without one.
fn folder() -> HandlersDir {
    let folder = HandlersDir::new().unwrap();
    folder.swap_text("acme", "tenant.toml", TENANT).unwrap();
    folder
        .handler("other/free", guest("act"), "topics = [\"free\"]\n")
        .unwrap();
    folder
}

/// A folder with a handler that emits what it is handed to `out`, as a user has built it.
fn built(topic: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let manifest = format!("topics = [\"{topic}\"]\n");
    fs::write(folder.path().join("handler.toml"), manifest).unwrap();
    fs::copy(guest("act"), folder.path().join("act.wasm")).unwrap();
    fs::write(folder.path().join("act.wasm.sig"), "a signature").unwrap();
    folder
}

/// The folder as `tar` packs it.
fn packed(folder: &Path) -> Vec<u8> {
    let mut tar = Command::new("tar");
    tar.args(["-cf", "-", "-C"]).arg(folder).arg(".");
    let output = tar.output().unwrap();
    assert!(output.status.success());
    output.stdout
}

/// An archive with one file of this name.
fn with_name(name: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("x"), "x").unwrap();
    let mut tar = Command::new("tar");
    tar.args(["-cPf", "-", "-C"]).arg(folder.path());
    let output = tar
        .arg(format!("--transform=s,^x$,{name},"))
        .arg("x")
        .output()
        .unwrap();
    assert!(output.status.success());
    output.stdout
}

fn send(host: &Host, what: &str, token: &str, body: &[u8]) -> (u16, Value) {
    let token = format!("Bearer {token}");
    let headers = [TAR, ("Authorization", token.as_str())];
    let (status, answer) = request(host.http_addr(), what, &headers, body).unwrap();
    let answer = serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{what}: {answer}"));
    (status, answer)
}

/// All files below a folder with their content, also hidden ones.
fn all_files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(all_files(&path));
        } else {
            all.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    all.sort();
    all
}

#[test]
fn a_handler_is_sent_in_by_the_command_and_by_curl() {
    let (folder, aside) = (folder(), tempfile::tempdir().unwrap());
    let toml = with_tokens(aside.path());
    let state = aside.path().join("state").display().to_string();
    let host = Host::dev().handlers(folder.path());
    let host = host.args(["--config", &toml, "--state", &state]);
    let mut host = host.start_ready().unwrap();
    let broker = host.embedded_broker().unwrap();

    let token = aside.path().join("token");
    fs::write(&token, "s3cret-acme\n").unwrap();
    let one = built("one");
    let mut deploy = command("deploy").unwrap();
    deploy.arg(one.path()).arg("acme/orders");
    deploy.args(["--http", host.http_addr(), "--token-file"]);
    let first = Answer::of(deploy.arg(&token));
    assert!(
        first.stdout.starts_with("acme/orders serves revision ")
            && first.stdout.contains("(its first)"),
        "{first:?}\n{}",
        host.tail()
    );
    clients::produce(&broker, "one", [(Some("k"), Some("first"))]).unwrap();
    let outputs = clients::consume_until(&broker, "out", 1, PATIENCE).unwrap();
    assert!(outputs[0].text().contains("first"), "{}", outputs[0].text());

    // As the documentation has it for curl; the files replace those from before.
    let second = built("two");
    fs::rename(
        second.path().join("act.wasm"),
        second.path().join("new.wasm"),
    )
    .unwrap();
    let mut tar = Command::new("tar");
    tar.args(["-cf", "-", "-C"]).arg(second.path()).arg(".");
    let mut tar = tar.stdout(Stdio::piped()).spawn().unwrap();
    let mut curl = Command::new("curl");
    curl.args([
        "-s",
        "-T",
        "-",
        "-H",
        "Content-Type: application/x-tar",
        "-H",
    ]);
    curl.arg("Authorization: Bearer s3cret-acme");
    curl.arg(format!(
        "http://{}/v1/handlers/acme/orders",
        host.http_addr()
    ));
    let answer = curl.stdin(tar.stdout.take().unwrap()).output().unwrap();
    assert!(tar.wait().unwrap().success());
    let answer: Value = serde_json::from_slice(&answer.stdout).unwrap();
    assert!(
        first.stdout.contains(answer["was"].as_str().unwrap()),
        "{answer}"
    );
    clients::produce(&broker, "two", [(Some("k"), Some("second"))]).unwrap();
    clients::consume_until(&broker, "out", 2, PATIENCE).unwrap();
    let names: Vec<String> = all_files(&folder.folder("acme/orders"))
        .iter()
        .map(|(path, _)| path.rsplit('/').next().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["act.wasm.sig", "handler.toml", "new.wasm"]);

    // The audit and what is kept have the name of who sent it, and the first one comes back.
    let audit = ["audit", "done", "ann", "deploy", "handler=orders"];
    let lines = host.lines();
    let count = lines
        .iter()
        .filter(|line| audit.iter().all(|it| line.contains(it)));
    assert_eq!(count.count(), 2, "{}", host.tail());
    let mut asked = command("revisions").unwrap();
    asked.args(["acme/orders", "--http", host.http_addr(), "--token-file"]);
    let kept = Answer::of(asked.arg(&token)).stdout;
    assert_eq!(
        kept.lines().filter(|line| line.contains("  ann")).count(),
        2,
        "{kept}"
    );
    let mut rollback = command("rollback").unwrap();
    rollback.args(["acme/orders", "--http", host.http_addr(), "--token-file"]);
    assert_eq!(Answer::of(rollback.arg(&token)).code, 0);
    // What was rolled back from is not sent in again by mistake.
    let again = send(&host, ORDERS, "s3cret-acme", &packed(second.path()));
    assert_eq!(again.0, 409, "{}", again.1);
    host.stop().unwrap();
}

#[test]
fn what_is_refused_leaves_files_and_revision_as_they_were() {
    let (folder, aside) = (folder(), tempfile::tempdir().unwrap());
    let toml = with_tokens(aside.path());
    let host = Host::dev()
        .handlers(folder.path())
        .args(["--config", &toml]);
    let host = host.start_ready().unwrap();
    let good = packed(built("in").path());
    let (status, answer) = send(&host, ORDERS, "s3cret-acme", &good);
    assert_eq!(status, 200, "{answer}");
    let before = all_files(folder.path());

    let broken = built("in");
    fs::write(broken.path().join("act.wasm"), "no component").unwrap();
    let wrong = built("in");
    fs::write(wrong.path().join("handler.toml"), "topic = [\"in\"]\n").unwrap();
    let large = built("in");
    fs::write(large.path().join("act.wasm"), vec![0; 3 << 20]).unwrap();
    let greedy = built("in");
    fs::copy(
        folder.folder("acme").join("tenant.toml"),
        greedy.path().join("tenant.toml"),
    )
    .unwrap();
    let deep = built("in");
    fs::create_dir(deep.path().join("sub")).unwrap();
    let link = built("in");
    std::os::unix::fs::symlink("/etc/passwd", link.path().join("passwd")).unwrap();
    let bare = tempfile::tempdir().unwrap();
    fs::write(bare.path().join("act.wasm"), "x").unwrap();
    let ann = "s3cret-acme";
    let cases: &[(&str, &str, &[u8], u16, &str)] = &[
        (
            ORDERS,
            ann,
            &packed(broken.path()),
            422,
            "acme/orders/act.wasm: ",
        ),
        (
            ORDERS,
            ann,
            &packed(wrong.path()),
            422,
            "acme/orders/handler.toml:1: topic",
        ),
        (
            ORDERS,
            ann,
            &packed(large.path()),
            422,
            "quotas.component-mib",
        ),
        (
            ORDERS,
            ann,
            &packed(greedy.path()),
            400,
            "a tenant.toml in the archive",
        ),
        (
            ORDERS,
            ann,
            &packed(deep.path()),
            400,
            "\"sub/\" is no plain file",
        ),
        (
            ORDERS,
            ann,
            &packed(link.path()),
            400,
            "\"passwd\" is no plain file",
        ),
        (
            ORDERS,
            ann,
            &packed(bare.path()),
            400,
            "no handler.toml in the archive",
        ),
        (
            ORDERS,
            ann,
            &with_name("../../handler.toml"),
            400,
            "is no name for a file",
        ),
        (
            ORDERS,
            ann,
            &with_name("/tmp/handler.toml"),
            400,
            "is no name for a file",
        ),
        (ORDERS, ann, b"\x1f\x8b\x08", 400, "it is compressed"),
        (ORDERS, ann, b"", 400, "cut off"),
        (ORDERS, ann, &good[..good.len() / 2], 400, "cut off"),
        (
            ORDERS,
            "s3cret-eve",
            &good,
            403,
            "the role of eve is not enough to change",
        ),
        (ORDERS, "s3cret", &good, 401, "nobody has this token"),
        (
            "PUT /v1/handlers/other/free",
            ann,
            &good,
            403,
            "the role of ann is not enough",
        ),
        (
            "PUT /v1/handlers/acme/..%2F..",
            ann,
            &good,
            404,
            "is no name of a handler",
        ),
        (
            "PUT /v1/handlers/acme/%C3%B6rders",
            ann,
            &good,
            404,
            "is no name of a handler",
        ),
    ];
    for (what, token, body, status, told) in cases {
        let (found, answer) = send(&host, what, token, body);
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(
            found == *status && error.contains(told),
            "{what} {told}: {found} {answer}"
        );
        assert!(!error.contains(".incoming"), "{error}");
        assert_eq!(all_files(folder.path()), before, "{told}");
    }
    let (_, ready) = host.get("/readyz").unwrap();
    assert!(!ready.contains("not-ready\": [\n    {"), "{ready}");
    // A body that is said to be something else, or to have no end, is not read.
    let token = ("Authorization", "Bearer s3cret-acme");
    let plain = request(host.http_addr(), ORDERS, &[token], &good).unwrap();
    assert!(plain.0 == 415 && plain.1.contains("curl -T -"), "{plain:?}");
    let huge = vec![0; (64 << 20) + 1];
    let (status, answer) = send(&host, ORDERS, ann, &huge);
    assert_eq!(status, 413, "{answer}");

    // Whoever runs the host may deploy where nothing is granted by a file; a tenant's token may not.
    let (status, answer) = send(
        &host,
        "PUT /v1/handlers/other/new",
        "s3cret-root",
        &packed(built("new").path()),
    );
    assert_eq!(status, 200, "{answer}");
    fs::remove_dir_all(folder.folder("acme")).unwrap();
    let (status, answer) = send(&host, ORDERS, ann, &good);
    assert!(
        status == 403
            && answer["error"]
                .as_str()
                .unwrap()
                .contains("has no tenant.toml"),
        "{answer}"
    );
    assert!(!folder.folder("acme").exists());
    // Where the place is taken by something else, or cannot be written, it is told and left as it is.
    fs::write(folder.path().join("blocked"), "a file").unwrap();
    fs::write(folder.path().join("flat.toml"), "topics = [\"flat\"]\n").unwrap();
    fs::copy(guest("act"), folder.path().join("flat.wasm")).unwrap();
    for (what, status, told) in [
        ("PUT /v1/handlers/blocked/x", 507, "cannot be written"),
        ("PUT /v1/handlers/default/flat", 409, "as two files"),
    ] {
        let (found, answer) = send(&host, what, "s3cret-root", &good);
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(found == status && error.contains(told), "{found} {answer}");
    }
    host.stop().unwrap();
}
