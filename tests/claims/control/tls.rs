//! TLS of the HTTP address.

use std::fs;
use std::path::Path;
use std::process::Command;

use harness::Host;
use harness::host::command;

use super::{handlers, with_tokens};
use crate::answer::Answer;

/// A certificate for this machine that nobody else has signed, and its key.
fn certificate(folder: &Path) -> [String; 2] {
    let files = ["cert.pem", "key.pem"].map(|name| folder.join(name).display().to_string());
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]);
    openssl.args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    openssl.args(["-out", &files[0], "-keyout", &files[1]]);
    assert!(openssl.output().unwrap().status.success());
    files
}

#[test]
fn with_a_certificate_the_api_is_served_to_other_machines() {
    let (folder, aside) = (handlers(), tempfile::tempdir().unwrap());
    let [cert, key] = certificate(aside.path());
    let toml = with_tokens(aside.path());
    let args = [
        "--config",
        &toml,
        "--http-tls-cert",
        &cert,
        "--http-tls-key",
        &key,
    ];
    let host = Host::dev()
        .handlers(folder.path())
        .args(args)
        .http("0.0.0.0:0");
    let mut host = host.start().unwrap();
    host.wait_for_line("partitions assigned", std::time::Duration::from_secs(30))
        .unwrap();
    let port = host.http_addr().rsplit(':').next().unwrap().to_owned();
    let https = format!("https://localhost:{port}");
    let token = aside.path().join("token");
    fs::write(&token, "s3cret-root\n").unwrap();
    let ask = |subcommand: &str, http: &str, more: &[&str]| {
        let mut asked = command(subcommand).unwrap();
        asked.args(["--http", http]).args(more);
        if subcommand == "status" {
            asked.arg("--token-file").arg(&token);
        }
        Answer::of(&mut asked)
    };
    let shown = ask("status", &https, &["--ca-file", &cert]);
    assert!(
        shown.stdout.contains("default/good  serving"),
        "{shown:?}\n{}",
        host.tail()
    );
    // Nobody is told a token who is not trusted, or is somebody else.
    let untrusted = ask("status", &https, &[]);
    assert!(
        untrusted.code == 1 && untrusted.stderr.contains("--ca-file"),
        "{untrusted:?}"
    );
    let other = ask(
        "status",
        &format!("https://127.0.0.2:{port}"),
        &["--ca-file", &cert],
    );
    assert!(
        other.code == 1 && other.stderr.contains("is not trusted"),
        "{other:?}"
    );
    // In plain text nothing is answered, and nobody else is kept waiting.
    let plain = ask("status", &format!("localhost:{port}"), &[]);
    assert_eq!(plain.code, 1, "{plain:?}");
    let health = ask("health", &https, &[]);
    assert!(
        health.code == 0 && health.stdout.starts_with("alive"),
        "{health:?}"
    );
    host.stop().unwrap();
}

#[test]
fn a_renewed_certificate_serves_new_connections_after_a_reload() {
    let (folder, aside) = (handlers(), tempfile::tempdir().unwrap());
    let [cert, key] = certificate(aside.path());
    let first = aside.path().join("first.pem").display().to_string();
    fs::copy(&cert, &first).unwrap();
    let args = ["--http-tls-cert", &cert, "--http-tls-key", &key];
    let host = Host::dev().handlers(folder.path()).args(args);
    let mut host = host.start().unwrap();
    host.wait_for_line("partitions assigned", std::time::Duration::from_secs(30))
        .unwrap();
    let port = host.http_addr().rsplit(':').next().unwrap().to_owned();
    let https = format!("https://localhost:{port}");
    let ask = |subcommand: &str, trusted: &str| {
        let mut asked = command(subcommand).unwrap();
        Answer::of(asked.args(["--http", &https, "--ca-file", trusted]))
    };
    assert_eq!(ask("status", &first).code, 0);
    certificate(aside.path());
    // Not before it is asked to, and a token stays what it was.
    assert_eq!(ask("status", &first).code, 0);
    let reloaded = ask("reload", &first);
    assert_eq!(reloaded.code, 0, "{reloaded:?}");
    assert_eq!(ask("status", &cert).code, 0, "{}", host.tail());
    assert_eq!(ask("status", &first).code, 1);
    // One that is broken leaves the one before, with the reason.
    let second = fs::read(&cert).unwrap();
    fs::write(&cert, "half of it").unwrap();
    fs::write(&first, &second).unwrap();
    let refused = ask("reload", &first);
    assert!(
        refused.code == 1
            && refused
                .stderr
                .contains("these are no certificate and its key"),
        "{refused:?}"
    );
    assert_eq!(ask("status", &first).code, 0, "{}", host.tail());
    host.stop().unwrap();
}

#[test]
fn a_certificate_that_cannot_be_served_with_is_told_before_anything_starts() {
    let (folder, aside) = (handlers(), tempfile::tempdir().unwrap());
    let [cert, key] = certificate(aside.path());
    let told = |args: &[&str], what: &str| {
        let mut serve = command("serve").unwrap();
        serve.args(["--dev", "--http", "127.0.0.1:0", "--handlers"]);
        let refused = Answer::of(serve.arg(folder.path()).args(args));
        assert!(
            refused.code == 64 && refused.stderr.contains(what),
            "{refused:?}"
        );
    };
    told(&["--http-tls-cert", &cert], "--http-tls-key: missing");
    told(&["--http-tls-key", &key], "--http-tls-cert: missing");
    told(
        &["--http-tls-cert", &key, "--http-tls-key", &cert],
        "these are no certificate and its key",
    );
    told(
        &["--http-tls-cert", "none.pem", "--http-tls-key", &key],
        "none.pem: cannot be read",
    );
}
