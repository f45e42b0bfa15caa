//! Many requests at once, and many responses to one.

use harness::{Redis, TestRecord, clients, wait_until};

use super::{Asking, metric};
use crate::kafka::stage::{PATIENCE, field};

const GUESTS: usize = 100;
const EACH: usize = 100;
const REQUESTS: usize = GUESTS * EACH;

#[test]
fn ten_thousand_requests_wait_at_once() {
    ten_thousand("many", &[]);
}

#[test]
fn ten_thousand_requests_wait_at_once_with_a_redis() {
    let redis = Redis::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("host.toml");
    let text = format!("response.store = \"{}\"\n", redis.url());
    std::fs::write(&file, text).unwrap();
    ten_thousand("many-redis", &["--config", file.to_str().unwrap()]);
    let names = redis.ask(&["DBSIZE"]).unwrap();
    assert_eq!(names, Some(REQUESTS.to_string()));
}

fn ten_thousand(name: &str, args: &[&str]) {
    let asking = Asking::new(name, 1);
    let more = format!(
        "ordering = \"none\"\nconcurrency = {GUESTS}\nlimits.pending-requests = {REQUESTS}\n"
    );
    asking.stage.deploy("act", &asking.keys(&more));
    let host = asking.stage.serve(args);
    let text = format!("ask-many {EACH} {} 600000", asking.questions);
    let ask = |n: usize| TestRecord::new(format!("k{n}"), text.clone());
    // One of each guest is known before, so that what is measured are requests and not guests.
    let idle = (0..GUESTS).map(|n| TestRecord::new(format!("k{n}"), "sleep 300"));
    asking.stage.produce_records(idle);
    asking.stage.outputs(&host, GUESTS);
    let before = host.rss_bytes().unwrap();
    asking.stage.produce_records((0..GUESTS).map(ask));
    let pending = || metric(&host, "kafka_wasm_pending_requests", &[]) == REQUESTS as f64;
    let waited = wait_until("all requests wait", 2 * PATIENCE, pending);
    assert!(waited.is_ok(), "{}", host.tail());
    let bytes = host.rss_bytes().unwrap().saturating_sub(before) / REQUESTS as u64;
    println!("memory of a request that waits for its response: {bytes} bytes");
    assert!(bytes <= 2048, "{bytes} bytes for each request");
    let bootstrap = &asking.stage.bootstrap;
    let asked = clients::consume_until(bootstrap, &asking.questions, REQUESTS, PATIENCE).unwrap();
    let answers = asked.iter().map(|question| {
        let id = question.header_text("event_id").unwrap();
        TestRecord::new("k", question.text()).header("event_id", Some(id.as_bytes()))
    });
    clients::produce_records(bootstrap, &asking.answers, answers).unwrap();
    let outputs = asking.stage.outputs(&host, 2 * GUESTS);
    let right = outputs
        .iter()
        .filter(|output| field(output, "result") == EACH.to_string());
    assert_eq!(right.count(), GUESTS);
    assert_eq!(metric(&host, "kafka_wasm_pending_requests", &[]), 0.0);
}

#[test]
fn a_request_may_have_several_responses() {
    let asking = Asking::new("several", 1);
    let host = asking.stage.run("act", &asking.keys(""));
    let ask = |count: &str| {
        let text = format!("ask-several {count} {} 3000", asking.questions);
        asking.stage.produce_records([TestRecord::new("k", text)]);
    };
    // The first ones that come, and all that come in time.
    for (place, count, expected) in [
        (0, "2", "a, b"),
        (1, "5", "a, b, c, no response came in time"),
    ] {
        ask(count);
        let bootstrap = &asking.stage.bootstrap;
        let asked =
            clients::consume_until(bootstrap, &asking.questions, place + 1, PATIENCE).unwrap();
        for text in ["a", "b", "c"] {
            asking.answer(&asked[place], text);
        }
        assert_eq!(asking.results(&host, place + 1)[place], expected);
    }
    assert_eq!(metric(&host, "kafka_wasm_pending_requests", &[]), 0.0);
}
