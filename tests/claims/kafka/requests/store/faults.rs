//! A Redis that is away, stands still, or loses what it was told.

use std::time::Duration;

use harness::proxy::Network;
use harness::{Host, Proxy, Redis, wait_until};
use tokio::time::Instant;

use super::{DROPPED, Sharing, is_up, sum};
use crate::kafka::requests::{MINUTE, metric};
use crate::kafka::stage::PATIENCE;

/// Waits until the store is, or is not, in reach of a host.
fn wait_up(host: &Host, expected: bool) {
    let what = format!("a store in reach: {expected}");
    let waited = wait_until(&what, PATIENCE, || is_up(host) == expected);
    waited.unwrap_or_else(|error| panic!("{error}\n{}", host.tail()));
}

/// Sees that requests fail at once while they do, and succeed as soon as they may.
fn fails_at_once(sharing: &Sharing, host: &Host, place: usize) {
    let began = Instant::now();
    let stage = &sharing.asking.stage;
    stage.produce_records([sharing.asking.ask("k", MINUTE, "ok")]);
    let result = sharing.asking.results(host, place + 1).remove(place);
    let start = format!(
        "responses cannot be read: the reply store {} (response.store in host.toml) is out of reach: ",
        sharing.redis.url().trim_start_matches("redis://")
    );
    assert!(result.starts_with(&start), "{result}");
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
}

fn asks_again(sharing: &Sharing, host: &Host, place: usize) {
    wait_up(host, true);
    let question = sharing.ask(host, &["again"], MINUTE);
    sharing.answer_on(0, &question[0], "answered");
    assert_eq!(sharing.asking.results(host, place + 1)[place], "answered");
}

/// Has two requests answered while Redis is away, and sees that both are; returns which host has asked.
fn is_answered_while_redis_is_away(sharing: &mut Sharing, hosts: &[Host; 2]) -> usize {
    let questions = sharing.ask(&hosts[0], &["a", "b"], MINUTE);
    let pending = |host: &Host| metric(host, "kafka_wasm_pending_requests", &[]);
    let asker = usize::from(pending(&hosts[1]) > 0.0);
    sharing.redis.stop().unwrap();
    sharing.answer(&questions, &["one", "two"]);
    // One is read by the host that asked; the other host keeps its own.
    assert_eq!(sharing.asking.results(&hosts[asker], 1).len(), 1);
    let held = || sum(hosts, "kafka_wasm_held_responses", &[]) == 1.0;
    wait_until("a response is held", PATIENCE, held).unwrap();
    sharing.redis.start_again().unwrap();
    assert_eq!(sharing.sorted_results(&hosts[asker], 2), ["one", "two"]);
    asker
}

#[test]
fn a_redis_that_restarts_and_has_forgotten_all_loses_no_response_to_who_waits() {
    let mut sharing = Sharing::new("forgets");
    let hosts = sharing.serve_two();
    is_answered_while_redis_is_away(&mut sharing, &hosts);
    assert_eq!(sum(&hosts, DROPPED, &[("reason", "orphaned")]), 1.0);
}

#[test]
fn a_request_and_its_response_survive_a_redis_restart() {
    let redis = Redis::builder().persistent().start().unwrap();
    let mut sharing = Sharing::on(redis, "restart");
    let mut hosts = sharing.serve_two();
    let asker = is_answered_while_redis_is_away(&mut sharing, &hosts);
    // Who asked hears nothing until Redis has been away.
    hosts.iter().for_each(|host| wait_up(host, true));
    let before = sharing.stored();
    let questions = sharing.ask(&hosts[asker], &["a", "b"], MINUTE);
    hosts[asker].freeze().unwrap();
    sharing.answer(&questions, &["three", "four"]);
    let is_stored = || sharing.stored() == before + 1;
    wait_until("a response is stored", PATIENCE, is_stored).unwrap();
    sharing.redis.stop().unwrap();
    sharing.redis.start_again().unwrap();
    hosts[asker].thaw().unwrap();
    let results = sharing.sorted_results(&hosts[asker], 4);
    assert_eq!(results, ["four", "one", "three", "two"]);
    assert_eq!(sum(&hosts, DROPPED, &[("reason", "orphaned")]), 0.0);
}

#[test]
fn while_redis_is_down_requests_fail_at_once() {
    let mut sharing = Sharing::new("down");
    sharing.redis.stop().unwrap();
    // Also where it was never there.
    let host = sharing.serve("");
    fails_at_once(&sharing, &host, 0);
    assert!(!is_up(&host));
    sharing.redis.start_again().unwrap();
    asks_again(&sharing, &host, 1);
    sharing.redis.stop().unwrap();
    wait_up(&host, false);
    fails_at_once(&sharing, &host, 2);
    assert!(metric(&host, "kafka_wasm_reply_store_errors_total", &[]) > 0.0);
    assert_eq!(metric(&host, "kafka_wasm_pending_requests", &[]), 0.0);
}

#[test]
fn a_redis_that_stands_still_holds_up_no_guest() {
    let mut sharing = Sharing::new("still");
    let host = sharing.serve("");
    let question = sharing.ask(&host, &["waits"], MINUTE);
    sharing.redis.freeze().unwrap();
    fails_at_once(&sharing, &host, 0);
    wait_up(&host, false);
    // The host reads this one itself, and needs no store for it.
    sharing.answer_on(0, &question[0], "read here");
    assert_eq!(sharing.asking.results(&host, 2)[1], "read here");
    sharing.redis.thaw().unwrap();
    asks_again(&sharing, &host, 2);
}

#[test]
fn a_slow_way_to_redis_slows_requests_and_one_that_is_cut_fails_them() {
    let sharing = Sharing::new("slow");
    let proxy = Proxy::start(sharing.redis.port()).unwrap();
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let hosts = [0, 1].map(|_| sharing.serve_with(&url, ""));
    sharing.wait_for_two();
    let answered = |host: &Host, place: usize| {
        let questions = sharing.ask(host, &["a", "b"], MINUTE);
        sharing.answer(&questions, &["one", "two"]);
        let mut results = sharing.asking.results(host, place + 2).split_off(place);
        results.sort_unstable();
        assert_eq!(results, ["one", "two"]);
    };
    proxy.set(Network::Slow(Duration::from_millis(300)));
    answered(&hosts[0], 0);
    assert!(hosts.iter().all(is_up));
    proxy.set(Network::Cut);
    hosts.iter().for_each(|host| wait_up(host, false));
    let stage = &sharing.asking.stage;
    stage.produce_records([sharing.asking.ask("k", MINUTE, "ok")]);
    let result = sharing.asking.results(&hosts[0], 3).remove(2);
    assert!(result.contains("is out of reach: "), "{result}");
    proxy.set(Network::Fine);
    hosts.iter().for_each(|host| wait_up(host, true));
    answered(&hosts[0], 3);
}

#[test]
fn a_redis_that_is_flushed_loses_no_response_to_who_waits() {
    let sharing = Sharing::new("flushed");
    let hosts = sharing.serve_two();
    let questions = sharing.ask(&hosts[0], &["a", "b"], MINUTE);
    sharing.redis.ask(&["FLUSHALL"]).unwrap();
    sharing.answer(&questions, &["one", "two"]);
    assert_eq!(sharing.sorted_results(&hosts[0], 2), ["one", "two"]);
    // It is told all the same, and counted as one that nobody was known to wait for.
    let orphaned = || sum(&hosts, DROPPED, &[("reason", "orphaned")]) == 1.0;
    wait_until("an orphaned response", PATIENCE, orphaned).unwrap();
}

#[test]
fn a_redis_that_is_full_or_evicts_loses_no_response_to_who_waits() {
    let sharing = Sharing::new("full");
    let hosts = sharing.serve_two();
    let questions = sharing.ask(&hosts[0], &["a", "b"], MINUTE);
    let set = |name: &str, value: &str| {
        let answer = sharing.redis.ask(&["CONFIG", "SET", name, value]);
        assert_eq!(answer.unwrap().as_deref(), Some("OK"));
    };
    set("maxmemory-policy", "allkeys-random");
    set("maxmemory", "1");
    let is_empty = || sharing.names().is_empty();
    wait_until("all names are evicted", PATIENCE, is_empty).unwrap();
    sharing.answer(&questions, &["one", "two"]);
    assert_eq!(sharing.sorted_results(&hosts[0], 2), ["one", "two"]);
    // A new request has no room.
    let stage = &sharing.asking.stage;
    stage.produce_records([sharing.asking.ask("k", MINUTE, "ok")]);
    let result = sharing.asking.results(&hosts[0], 3).remove(2);
    assert!(
        result.contains("(response.store in host.toml) refuses: ") && result.contains("OOM"),
        "{result}"
    );
    assert!(hosts.iter().all(is_up));
    set("maxmemory", "0");
    asks_again(&sharing, &hosts[0], 3);
}
