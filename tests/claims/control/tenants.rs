//! What the control API tells of tenants and of partitions.

use std::time::Duration;

use harness::host::command;
use harness::http::request;
use harness::{HandlersDir, Host, clients, guest, wait_until};
use serde_json::Value;

use super::{ask, with_tokens};
use crate::answer::Answer;

const PATIENCE: Duration = Duration::from_secs(30);

/// One tenant with quotas, one without a file.
fn folder() -> HandlersDir {
    let folder = HandlersDir::new().unwrap();
    let tenant = "[grants]\nconsume = [\"*\"]\nproduce = [\"*\"]\ngroups = [\"*\"]\n\
        [quotas]\nhandlers = 2\nmemory-mib = 32\nrecords-per-s = 1000\n";
    folder.swap_text("acme", "tenant.toml", tenant).unwrap();
    for name in ["acme/orders", "other/free"] {
        let manifest = format!("topics = [\"{}\"]\n", name.replace('/', "."));
        folder.handler(name, guest("act"), &manifest).unwrap();
    }
    folder
}

fn look(host: &Host, path: &str, token: &str) -> Value {
    let token = format!("Bearer {token}");
    let headers = [("Authorization", token.as_str())];
    let (status, answer) = request(host.http_addr(), path, &headers, "").unwrap();
    assert_eq!(status, 200, "{path}: {answer}");
    serde_json::from_str(&answer).unwrap()
}

#[test]
fn a_tenant_shows_what_it_uses_of_its_quotas() {
    let (folder, aside) = (folder(), tempfile::tempdir().unwrap());
    let toml = with_tokens(aside.path());
    let host = Host::dev()
        .handlers(folder.path())
        .args(["--config", &toml]);
    let mut host = host.start_ready().unwrap();
    let broker = host.embedded_broker().unwrap();
    let mut used = 0.0;
    let path = "GET /v1/tenants/acme";
    wait_until("use of a quota in the last second", PATIENCE, || {
        let records = vec![(Some("k"), Some("ok")); 20];
        clients::produce(&broker, "acme.orders", records).unwrap();
        let told = look(&host, path, "s3cret-acme");
        used = told["quotas"]["records-per-s"]["used"].as_f64().unwrap();
        used > 0.0
    })
    .unwrap();
    let told = look(&host, path, "s3cret-acme");
    assert_eq!(told["handlers"], serde_json::json!(["orders"]), "{told}");
    let quota = |name: &str| {
        (
            told["quotas"][name]["max"].as_u64(),
            told["quotas"][name]["used"].as_u64(),
        )
    };
    assert_eq!(quota("handlers"), (Some(2), Some(1)), "{told}");
    assert_eq!(quota("memory-mib"), (Some(32), Some(32)), "{told}");
    assert_eq!(quota("component-mib"), (None, Some(1)), "{told}");
    assert_eq!(told["quotas"]["records-per-s"]["max"], 1000, "{told}");
    assert!(told["cpu-seconds"].as_f64().unwrap() > 0.0, "{told}");
    // Nothing more comes, so the last second is empty again.
    wait_until("a second without use", PATIENCE, || {
        look(&host, path, "s3cret-acme")["quotas"]["records-per-s"]["used"].as_f64() == Some(0.0)
    })
    .unwrap();

    // Who deploys one tenant sees that one.
    let names = |token: &str| {
        let all = look(&host, "GET /v1/tenants", token);
        let all = all["tenants"].as_array().unwrap().iter();
        all.map(|it| it["tenant"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("s3cret-acme"), ["acme"]);
    assert_eq!(names("s3cret-eve"), ["acme", "other"]);
    let ann = [("Authorization", "Bearer s3cret-acme")];
    let (status, error) = ask(&host, "GET /v1/tenants/other", &ann, "");
    assert!(status == 403 && error.contains("not enough"), "{error}");
    let root = [("Authorization", "Bearer s3cret-root")];
    for (name, told) in [
        ("none", "runs no handler of tenant"),
        ("a%2Fb", "is no name"),
    ] {
        let (status, error) = ask(&host, &format!("GET /v1/tenants/{name}"), &root, "");
        assert!(status == 404 && error.contains(told), "{error}");
    }
    assert_eq!(ask(&host, "GET /v1/tenants", &[], "").0, 401);

    // The partitions of a handler by themselves are those that it has.
    let own = look(&host, "GET /v1/handlers/acme/orders", "s3cret-acme");
    let alone = look(
        &host,
        "GET /v1/handlers/acme/orders/partitions",
        "s3cret-acme",
    );
    assert_eq!(own["partitions"], alone["partitions"]);
    assert_eq!(alone["partitions"][0]["topic"], "acme.orders", "{alone}");

    std::fs::write(aside.path().join("token"), "s3cret-eve\n").unwrap();
    let mut tenants = command("tenants").unwrap();
    tenants.args(["acme", "--http", host.http_addr(), "--token-file"]);
    let shown = Answer::of(tenants.arg(aside.path().join("token")));
    let line = shown.stdout.lines().find(|it| it.contains("memory-mib"));
    let words: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
    assert_eq!(words, ["memory-mib", "32", "32"], "{shown:?}");
    host.stop().unwrap();
}
