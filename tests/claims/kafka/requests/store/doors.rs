//! A Redis behind a password and TLS.

use harness::{Host, Redis, root, wait_until};

use super::{Sharing, sum};
use crate::kafka::requests::MINUTE;
use crate::kafka::stage::{PATIENCE, count_lines};

fn gets_a_response(sharing: &Sharing, host: &Host, place: usize) {
    let question = sharing.ask(host, &["k"], MINUTE);
    sharing.answer_on(0, &question[0], "answered");
    assert_eq!(sharing.asking.results(host, place + 1)[place], "answered");
}

/// Sees that a host does not get through, and why.
fn is_refused(sharing: &Sharing, host: Host, place: usize, why: &str) {
    let stage = &sharing.asking.stage;
    stage.produce_records([sharing.asking.ask("k", MINUTE, "ok")]);
    let result = sharing.asking.results(&host, place + 1).remove(place);
    assert!(
        result.contains("(response.store in host.toml) is out of reach: ") && result.contains(why),
        "{result}"
    );
    let waited = wait_until("the log says so", PATIENCE, || {
        count_lines(&host, &["the reply store is out of reach", why]) > 0
    });
    waited.unwrap_or_else(|error| panic!("{error}\n{}", host.tail()));
    host.stop().unwrap();
}

#[test]
fn a_password_is_taken_from_a_file_or_the_url_and_told_nobody() {
    let redis = Redis::builder().password("hunter2").start().unwrap();
    let sharing = Sharing::on(redis, "password");
    let file = |name: &str, text: &str| {
        let path = sharing.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        format!("password-file = \"{}\"", path.display())
    };
    is_refused(&sharing, sharing.serve(""), 0, "NOAUTH");
    is_refused(
        &sharing,
        sharing.serve(&file("wrong", "hunter3")),
        1,
        "WRONGPASS",
    );
    let host = sharing.serve(&file("right", "hunter2\n"));
    gets_a_response(&sharing, &host, 2);
    host.stop().unwrap();
    let url = sharing.redis.url().replace("//", "//:hunter2@");
    let host = sharing.serve_with(&url, "");
    gets_a_response(&sharing, &host, 3);
    assert_eq!(count_lines(&host, &["hunter2"]), 0);
    let outputs = sharing.asking.results(&host, 4).concat();
    assert!(!outputs.contains("hunter"), "{outputs}");
    host.stop().unwrap();
    // A user with the rights that the documentation names.
    let page = std::fs::read_to_string(root().join("docs/OPERATIONS.md")).unwrap();
    let (_, rights) = page.split_once("access lists needs\n").unwrap();
    let (rights, _) = rights.split_once(';').unwrap();
    let rights = rights.replace(['`', ','], "").replace("and ", "");
    let mut user = vec!["ACL", "SETUSER", "kwh", "on", ">hunter4"];
    user.extend(rights.split_whitespace());
    sharing.redis.ask(&user).unwrap();
    let url = sharing.redis.url().replace("//", "//kwh:hunter4@");
    let hosts = [0, 1].map(|_| sharing.serve_with(&url, ""));
    sharing.wait_for_two();
    let questions = sharing.ask(&hosts[0], &["a", "b"], MINUTE);
    sharing.answer(&questions, &["one", "two"]);
    let mut results = sharing.asking.results(&hosts[0], 6).split_off(4);
    results.sort_unstable();
    assert_eq!(results, ["one", "two"]);
    let errors = "kafka_wasm_reply_store_errors_total";
    assert_eq!(sum(&hosts, errors, &[]), 0.0);
}

#[test]
fn a_redis_with_tls_is_used_if_its_certificate_is_trusted() {
    let redis = Redis::builder().tls().password("hunter2").start().unwrap();
    let sharing = Sharing::on(redis, "tls");
    let (url, certificate) = sharing.redis.tls().unwrap();
    let url = url.replace("//", "//:hunter2@");
    is_refused(&sharing, sharing.serve_with(&url, ""), 0, "certificate");
    let trusted = format!("ca-file = \"{}\"", certificate.display());
    let host = sharing.serve_with(&url, &trusted);
    gets_a_response(&sharing, &host, 1);
}
