//! What is asked of a host as a whole: to drain, to log more, to write down who changed what.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use harness::host::command;
use harness::http::request;
use harness::{HandlersDir, Host, clients, guest, wait_until};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{JSON, PAUSE, ask, handlers, serve, with_tokens};
use crate::answer::Answer;

const PATIENCE: Duration = Duration::from_secs(30);
const ROOT: (&str, &str) = ("Authorization", "Bearer s3cret-root");
const EVE: (&str, &str) = ("Authorization", "Bearer s3cret-eve");

fn tell(host: &Host, what: &str, body: &str) -> (u16, Value) {
    let (status, answer) = request(host.http_addr(), what, &[ROOT, JSON], body).unwrap();
    (status, serde_json::from_str(&answer).unwrap())
}

#[test]
fn other_machines_are_told_nothing_in_plain_text_unless_that_is_wanted() {
    let (folder, aside) = (handlers(), tempfile::tempdir().unwrap());
    let toml = with_tokens(aside.path());
    let host = serve(&folder, &["--config", &toml], "0.0.0.0:0");
    for what in [
        PAUSE,
        "GET /v1/handlers",
        "GET /v1/tenants",
        "PUT /v1/loglevel",
        "GET /v1/drain",
    ] {
        let (status, error) = ask(&host, what, &[ROOT, JSON], "");
        assert!(
            status == 403 && error.contains("--http-insecure"),
            "{what}: {status} {error}"
        );
    }
    // What orchestrators ask is there, and the log says what is not.
    assert_eq!(host.get("/livez").unwrap().0, 200);
    assert_eq!(host.get("/metrics").unwrap().0, 200);
    assert!(
        host.lines()
            .iter()
            .any(|line| line.contains("the control API is not")),
        "{}",
        host.tail()
    );
    host.stop().unwrap();
    let host = serve(
        &folder,
        &["--config", &toml, "--http-insecure"],
        "0.0.0.0:0",
    );
    assert_eq!(ask(&host, PAUSE, &[ROOT, JSON], "").0, 200);
    assert_eq!(ask(&host, "GET /v1/handlers", &[], "").0, 401);
    host.stop().unwrap();
}

#[test]
fn what_is_logged_is_changed_while_the_host_runs() {
    let (folder, aside) = (handlers(), tempfile::tempdir().unwrap());
    let toml = with_tokens(aside.path());
    let host = Host::dev()
        .handlers(folder.path())
        .args(["--config", &toml]);
    let mut host = host
        .env("RUST_LOG", "info,guest=warn")
        .start_ready()
        .unwrap();
    let broker = host.embedded_broker().unwrap();
    let records = |text: &str| vec![(Some("k"), Some(format!("log {text}")))];
    clients::produce(&broker, "orders", records("unheard")).unwrap();
    clients::consume_until(&broker, "out", 1, PATIENCE).unwrap();
    let (status, was) = tell(
        &host,
        "PUT /v1/loglevel",
        "{\"directives\": \"warn,guest=info\"}",
    );
    assert_eq!(
        (status, &was["was"]),
        (200, &json!("info,guest=warn")),
        "{was}"
    );
    clients::produce(&broker, "orders", records("heard")).unwrap();
    let line = host.wait_for_line("heard", PATIENCE).unwrap();
    assert!(!line.contains("unheard"), "{line}");
    // What is wrong is told, and leaves what is logged.
    for (body, told) in [
        ("{\"directives\": \"inof\"}", "is no level"),
        ("{\"directives\": \"guest=loud\"}", "directives: "),
        ("{\"level\": \"info\"}", "unknown field `level`"),
        ("", "the body is empty"),
    ] {
        let (status, error) = ask(&host, "PUT /v1/loglevel", &[ROOT, JSON], body);
        assert!(
            status == 400 && error.contains(told),
            "{body}: {status} {error}"
        );
    }
    let (status, error) = ask(
        &host,
        "PUT /v1/loglevel",
        &[EVE, JSON],
        "{\"directives\": \"off\"}",
    );
    assert!(
        status == 403 && error.contains("of the host (admin)"),
        "{error}"
    );
    let token = aside.path().join("token");
    std::fs::write(&token, "s3cret-root\n").unwrap();
    let mut level = command("loglevel").unwrap();
    level.args(["--http", host.http_addr(), "--token-file"]);
    let shown = Answer::of(level.arg(&token));
    assert_eq!(shown.stdout, "warn,guest=info\n", "{shown:?}");
    let set = Answer::of(level.arg("info"));
    assert_eq!(
        set.stdout, "logs info (before it warn,guest=info)\n",
        "{set:?}"
    );
    host.wait_for_line("action=\"loglevel\"", PATIENCE).unwrap();
    host.stop().unwrap();
}

/// A host that has a slow record in hand.
fn busy(aside: &std::path::Path) -> (HandlersDir, Host, String) {
    let folder = HandlersDir::new().unwrap();
    let manifest = "topics = [\"in\"]\nlimits.deadline-ms = 60000\n";
    folder.handler("slow", guest("act"), manifest).unwrap();
    let toml = with_tokens(aside);
    let host = Host::dev()
        .handlers(folder.path())
        .args(["--config", &toml]);
    let mut host = host.start_ready().unwrap();
    let broker = host.embedded_broker().unwrap();
    let records = ["log begun", "sleep 2000"].map(|text| (Some("k"), Some(text)));
    clients::produce(&broker, "in", records).unwrap();
    host.wait_for_line("begun", PATIENCE).unwrap();
    (folder, host, broker)
}

#[test]
fn a_host_that_drains_finishes_and_waits_to_be_stopped() {
    let aside = tempfile::tempdir().unwrap();
    let (_folder, mut host, broker) = busy(aside.path());
    let (status, error) = ask(&host, "POST /v1/drain", &[EVE, JSON], "");
    assert!(
        status == 403 && error.contains("of the host (admin)"),
        "{error}"
    );
    assert_eq!(tell(&host, "GET /v1/drain", "").1["state"], "serving");
    let token = aside.path().join("token");
    std::fs::write(&token, "s3cret-root\n").unwrap();
    let mut drain = command("drain").unwrap();
    drain.args(["--http", host.http_addr(), "--token-file"]);
    let drained = Answer::of(drain.arg(&token));
    assert_eq!(drained.code, 0, "{drained:?}\n{}", host.tail());
    // What it had in hand is done, and it is out of its group.
    assert_eq!(
        clients::consume_until(&broker, "out", 2, PATIENCE)
            .unwrap()
            .len(),
        2
    );
    let committed: i64 = clients::committed(&broker, "default.slow", "in")
        .unwrap()
        .iter()
        .map(|it| it.1.max(0))
        .sum();
    assert_eq!(committed, 2);
    clients::produce(&broker, "in", [(Some("k"), Some("later"))]).unwrap();
    let (status, said) = host.get("/readyz").unwrap();
    assert!(status == 503 && said.contains("\"draining\""), "{said}");
    assert_eq!(host.get("/livez").unwrap().0, 200);
    assert_eq!(
        tell(&host, "POST /v1/drain", "").1,
        json!({ "state": "drained", "left-open": [] })
    );
    let (status, answer) = tell(&host, "POST /v1/handlers/default/slow/pause", "");
    assert_eq!(status, 503, "{answer}");
    assert!(host.ended().unwrap().is_none());
    assert_eq!(clients::consume_all(&broker, "out", true).unwrap().len(), 2);
    host.stop().unwrap();
}

#[test]
fn silent_connections_keep_no_probe_out() {
    let folder = handlers();
    let host = serve(&folder, &[], "127.0.0.1:0");
    // More than there are places, by somebody who comes again and again and says nothing, or half of it.
    let knock = |n: usize| {
        let mut silent = TcpStream::connect(host.http_addr()).unwrap();
        silent
            .write_all(&b"GET /livez HTTP/1.1\r\n"[..n % 22])
            .unwrap();
        silent
    };
    let mut silent: Vec<TcpStream> = (0..150).map(knock).collect();
    for n in 0..10 {
        silent.extend((0..20).map(knock));
        let began = Instant::now();
        let (page, good) = [("/livez", 200), ("/metrics", 200)][n % 2];
        assert_eq!(host.get(page).unwrap().0, good);
        // A probe of Kubernetes waits for a second.
        let took = began.elapsed();
        assert!(took < Duration::from_secs(1), "{page}: {took:?}");
    }
    drop(silent);
    host.stop().unwrap();
}

#[test]
fn a_deployment_that_a_drain_cuts_off_is_told_in_the_audit() {
    let (folder, aside) = (handlers(), tempfile::tempdir().unwrap());
    let toml = with_tokens(aside.path());
    let host = serve(&folder, &["--config", &toml], "127.0.0.1:0");
    // Its trial takes until the deadline.
    let slow = tempfile::tempdir().unwrap();
    let manifest = "topics = [\"slow\"]\nconfig.spin = \"yes\"\nlimits.deadline-ms = 5000\n";
    fs::write(slow.path().join("handler.toml"), manifest).unwrap();
    fs::copy(guest("no-context"), slow.path().join("slow.wasm")).unwrap();
    let token = aside.path().join("token");
    fs::write(&token, "s3cret-root\n").unwrap();
    let mut deploy = command("deploy").unwrap();
    deploy.arg(slow.path()).arg("default/slow");
    deploy.args(["--http", host.http_addr(), "--token-file"]);
    let mut deploying = deploy.arg(&token).stderr(Stdio::null()).spawn().unwrap();
    // It is tried out beside its place.
    wait_until("the trial", PATIENCE, || {
        fs::read_dir(folder.path().join("default")).is_ok_and(|all| all.count() > 0)
    })
    .unwrap();
    assert_eq!(tell(&host, "POST /v1/drain", "{}").0, 200);
    let told = [
        "audit",
        "refused",
        "root",
        "deploy",
        "handler=slow",
        "the host stops",
    ];
    let lines = host.lines();
    let found = lines
        .iter()
        .filter(|line| told.iter().all(|it| line.contains(it)));
    assert_eq!(found.count(), 1, "{}", host.tail());
    assert!(!deploying.wait().unwrap().success());
    host.stop().unwrap();
}

#[test]
fn each_change_is_a_record_of_the_audit_topic() {
    let (folder, aside) = (handlers(), tempfile::tempdir().unwrap());
    let toml = with_tokens(aside.path());
    let args = ["--config", &toml, "--audit-topic", "changes"];
    let mut host = serve(&folder, &args, "127.0.0.1:0");
    let broker = host.embedded_broker().unwrap();
    assert_eq!(tell(&host, PAUSE, "").0, 200);
    assert_eq!(
        tell(&host, "POST /v1/handlers/default/none/pause", "").0,
        404
    );
    assert_eq!(
        tell(&host, "PUT /v1/loglevel", "{\"directives\": \"info\"}").0,
        200
    );
    let records = clients::consume_until(&broker, "changes", 3, PATIENCE).unwrap();
    let mut records: Vec<Value> = records
        .iter()
        .map(|it| serde_json::from_str(&it.text()).unwrap())
        .collect();
    records.sort_by_key(|it| it["action"].to_string() + &it["outcome"].to_string());
    let told = |record: &Value| {
        ["who", "action", "handler", "outcome", "detail"].map(|it| record[it].clone())
    };
    assert_eq!(
        json!(told(&records[0])),
        json!(["root", "loglevel", null, "done", "info"])
    );
    assert_eq!(
        json!(told(&records[1])),
        json!(["root", "pause", "good", "done", null])
    );
    assert_eq!(
        json!(told(&records[2])),
        json!(["root", "pause", "none", "refused", null])
    );
    assert_eq!(
        records[1]["digest"].as_str().unwrap().len(),
        64,
        "{}",
        records[1]
    );
    assert_eq!(
        records[1]["revision"].as_str().unwrap().len(),
        12,
        "{}",
        records[1]
    );
    assert!(
        records[2]["why"]
            .as_str()
            .unwrap()
            .contains("runs no handler")
    );
    host.stop().unwrap();
}

#[test]
fn a_change_is_made_also_where_the_audit_topic_cannot_be_written() {
    let (folder, aside) = (handlers(), tempfile::tempdir().unwrap());
    let toml = with_tokens(aside.path());
    // Larger than a record of the producer may be, so that it is refused at once.
    let args = [
        "--config",
        &toml,
        "--audit-topic",
        "changes",
        "--kafka-setting",
        "message.max.bytes=1000",
    ];
    let mut host = serve(&folder, &args, "127.0.0.1:0");
    let directives = format!("info,{}=debug", "a".repeat(1500));
    let body = format!("{{\"directives\": \"{directives}\"}}");
    assert_eq!(tell(&host, "PUT /v1/loglevel", &body).0, 200);
    let line = host
        .wait_for_line("a change is not in the audit topic", PATIENCE)
        .unwrap();
    assert!(line.contains("WARN") && line.contains("loglevel"), "{line}");
    wait_until("the level", PATIENCE, || {
        tell(&host, "GET /v1/loglevel", "").1["directives"] == directives
    })
    .unwrap();
    host.stop().unwrap();
}
