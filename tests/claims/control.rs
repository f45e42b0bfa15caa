//! Who may ask what of the control API, with the embedded broker.
//!
//! **Invariant:** whatever is asked, the handler goes on as it was.

mod host;
mod openapi;
mod tenants;
mod tls;
mod uploads;

use std::fs;
use std::path::Path;

use harness::host::command;
use harness::http::request;
use harness::{HandlersDir, Host, guest};
use serde_json::Value;

use crate::answer::Answer;

const PAUSE: &str = "POST /v1/handlers/default/good/pause";
const JSON: (&str, &str) = ("Content-Type", "application/json");
/// The SHA-256 of `s3cret-root`, `s3cret-acme` and `s3cret-eve`.
const TOKENS: &str = "# who may ask\n\
    root admin 2c7b1e2a-root\n\
    ann deploy:acme 2c7b1e2a-acme\n\
    eve read 2c7b1e2a-eve\n";

fn handlers() -> HandlersDir {
    let folder = HandlersDir::new().unwrap();
    let manifest = "topics = [\"orders\"]\n";
    folder.handler("good", guest("act"), manifest).unwrap();
    folder
}

/// Asks; returns the status and the `error`, if there is one.
fn ask(host: &Host, what: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let (status, answer) = request(host.http_addr(), what, headers, body).unwrap();
    let answer: Value =
        serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{what}: {answer}"));
    let error = answer["error"].as_str().unwrap_or_default();
    (status, error.to_owned())
}

/// Whether the handler is paused, as `/readyz` has it; the metric says the same.
fn is_paused(host: &Host) -> bool {
    let (_, said) = host.get("/readyz").unwrap();
    let said: Value = serde_json::from_str(&said).unwrap();
    let paused = said["handlers"][0]["paused"].as_bool().unwrap();
    let counted = host.metric("kafka_wasm_paused_by_command", &[("handler", "good")]);
    assert_eq!(counted.unwrap() > 0.0, paused);
    paused
}

/// The SHA-256 of a token, as `sha256sum` has it.
fn digest(token: &str) -> String {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let mut sum = Command::new("sha256sum");
    let mut sum = sum
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    sum.stdin
        .take()
        .unwrap()
        .write_all(token.as_bytes())
        .unwrap();
    let output = sum.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split(' ').next().unwrap().to_owned()
}

/// Writes the file of tokens, and a host.toml that names it; returns the latter.
fn with_tokens(folder: &Path) -> String {
    let mut tokens = TOKENS.to_owned();
    for name in ["root", "acme", "eve"] {
        let token = digest(&format!("s3cret-{name}"));
        tokens = tokens.replace(&format!("2c7b1e2a-{name}"), &token);
    }
    fs::write(folder.join("tokens"), tokens).unwrap();
    let toml = folder.join("host.toml");
    let tokens = folder.join("tokens").display().to_string();
    fs::write(&toml, format!("[api]\ntokens-file = \"{tokens}\"\n")).unwrap();
    toml.display().to_string()
}

fn serve(folder: &HandlersDir, args: &[&str], address: &str) -> Host {
    let host = Host::dev().handlers(folder.path()).http(address).args(args);
    host.start_ready().unwrap()
}

/// A request by its line, headers and body; the status of the answer, and a text in it.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, u16, &'a str);

#[test]
fn the_api_refuses_wrong_tokens_methods_and_sizes() {
    let (folder, aside) = (handlers(), tempfile::tempdir().unwrap());
    let toml = with_tokens(aside.path());
    let host = serve(&folder, &["--config", &toml], "127.0.0.1:0");
    let root = ("Authorization", "Bearer s3cret-root");
    let long = format!("{{\"to\": \"{}\"}}", "a".repeat(70_000));
    let cases: &[Case<'_>] = &[
        (PAUSE, &[JSON], "", 401, "a token is needed"),
        (
            PAUSE,
            &[JSON, ("Authorization", "Bearer s3cret")],
            "",
            401,
            "nobody has this token",
        ),
        (
            PAUSE,
            &[JSON, ("Authorization", "Basic s3cret-root")],
            "",
            401,
            "a token is needed",
        ),
        (
            PAUSE,
            &[JSON, ("Authorization", "Bearer s3cret-eve")],
            "",
            403,
            "the role of eve is not enough to change",
        ),
        (
            PAUSE,
            &[JSON, ("Authorization", "Bearer s3cret-acme")],
            "",
            403,
            "the role of ann is not enough to change",
        ),
        (
            "GET /v1/handlers/default/good",
            &[("Authorization", "Bearer s3cret-acme")],
            "",
            403,
            "not enough to look",
        ),
        ("GET /v1/handlers", &[], "", 401, "a token is needed"),
        (PAUSE, &[root], "", 415, "Content-Type: application/json"),
        (
            PAUSE,
            &[root, JSON],
            "[1",
            400,
            "the body is not as expected",
        ),
        (
            PAUSE,
            &[root, JSON],
            "{\"too\": 1}",
            400,
            "unknown field `too`",
        ),
        (
            PAUSE,
            &[root, JSON],
            "{\"to\": \"a\"}",
            400,
            "means nothing to pause",
        ),
        (PAUSE, &[root, JSON], &long, 413, "more than 65536 bytes"),
        (
            "GET /v1/handlers/default/good/pause",
            &[root],
            "",
            405,
            "is asked by POST, not by GET",
        ),
        (
            "DELETE /v1/handlers/default/good",
            &[root],
            "",
            405,
            "is asked by GET or PUT, not by DELETE",
        ),
        (
            "GET /v1/handlers/default/none",
            &[root],
            "",
            404,
            "runs no handler default/none (it runs default/good)",
        ),
        (
            "POST /v1/handlers/default/none/pause",
            &[root, JSON],
            "",
            404,
            "runs no handler default/none",
        ),
        (
            "GET /v1/handlers/a%2Fb/good",
            &[root],
            "",
            404,
            "is no name of a handler",
        ),
        (
            "GET /v1/handler",
            &[root],
            "",
            404,
            "the paths are /v1/handlers",
        ),
        (
            "GET /v1/handlers/default/good/revisions",
            &[root],
            "",
            409,
            "`state` in host.toml",
        ),
        (
            "POST /v1/handlers/default/good/rollback",
            &[root, JSON],
            "",
            409,
            "`state` in host.toml",
        ),
    ];
    for (what, headers, body, status, told) in cases {
        let (found, error) = ask(&host, what, headers, body);
        assert!(
            found == *status && error.contains(told),
            "{what} {headers:?}: {found} {error}"
        );
        assert!(!error.contains("s3cret"), "{error}");
    }
    assert!(!is_paused(&host));
    // Who sees only the own tenant's sees none here.
    let ann = ("Authorization", "Bearer s3cret-acme");
    let (status, all) = request(host.http_addr(), "GET /v1/handlers", &[ann], "").unwrap();
    let all: Value = serde_json::from_str(&all).unwrap();
    assert_eq!(
        (status, all["handlers"].as_array().unwrap().len()),
        (200, 0)
    );

    // The commands show the token of a file, and the audit has the name of its owner.
    fs::write(aside.path().join("token"), "s3cret-root\n").unwrap();
    let mut pause = command("pause").unwrap();
    pause.args(["good", "--http", host.http_addr()]);
    let refused = Answer::of(&mut pause);
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("--token-file"),
        "{}",
        refused.stderr
    );
    let paused = Answer::of(pause.arg("--token-file").arg(aside.path().join("token")));
    assert_eq!(
        paused.stdout, "default/good is paused\n",
        "{}",
        paused.stderr
    );
    assert!(is_paused(&host));
    let lines = host.lines();
    let audit = |texts: &[&str]| {
        let mut lines = lines.iter();
        lines.any(|line| line.contains("audit") && texts.iter().all(|it| line.contains(it)))
    };
    assert!(
        audit(&["done", "root", "pause", "handler=good"]),
        "{}",
        host.tail()
    );
    assert!(
        audit(&["refused", "root", "pause", "handler=none"]),
        "{}",
        host.tail()
    );
    assert!(!host.tail().contains("s3cret"), "{}", host.tail());
    host.stop().unwrap();
}

#[test]
fn nobody_changes_anything_without_a_token_on_another_address() {
    let folder = handlers();
    let host = serve(&folder, &["--http-insecure"], "0.0.0.0:0");
    let (status, error) = ask(&host, PAUSE, &[JSON], "");
    assert_eq!(status, 403);
    assert!(error.contains("[api] tokens-file"), "{error}");
    assert!(!is_paused(&host));
    // To look is as allowed as the metrics are.
    let status = Answer::of(
        command("status")
            .unwrap()
            .args(["--http", host.http_addr()]),
    );
    assert_eq!(status.code, 0, "{}", status.stderr);
    assert!(
        status.stdout.contains("default/good  serving"),
        "{}",
        status.stdout
    );
    host.stop().unwrap();

    // On this machine, programs may, and pages of a browser may not.
    let host = serve(&folder, &[], "127.0.0.1:0");
    let page = [JSON, ("Origin", "http://127.0.0.1")];
    let (status, error) = ask(&host, PAUSE, &page, "");
    assert!(
        status == 403 && error.contains("programs of this machine"),
        "{error}"
    );
    assert!(!is_paused(&host));
    assert_eq!(ask(&host, PAUSE, &[JSON], "").0, 200);
    assert!(is_paused(&host));
    host.stop().unwrap();
}

#[test]
fn tokens_that_cannot_be_read_are_told_before_anything_starts() {
    let (folder, aside) = (handlers(), tempfile::tempdir().unwrap());
    let toml = with_tokens(aside.path());
    let tokens = aside.path().join("tokens");
    fs::write(&tokens, "root admin 1234\neve looks 1234\n").unwrap();
    let serve = |toml: &str| {
        let mut serve = command("serve").unwrap();
        Answer::of(
            serve
                .args(["--dev", "--config", toml, "--handlers"])
                .arg(folder.path()),
        )
    };
    let refused = serve(&toml);
    assert_eq!(refused.code, 64);
    let place = tokens.display();
    for told in [
        format!("{place}:1: what root has is no SHA-256"),
        format!("{place}:2: eve has no role"),
    ] {
        assert!(refused.stderr.contains(&told), "{}", refused.stderr);
    }
    fs::remove_file(&tokens).unwrap();
    let refused = serve(&toml);
    assert!(
        refused.stderr.contains("tokens: cannot be read"),
        "{}",
        refused.stderr
    );
}
