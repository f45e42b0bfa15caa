//! Facts of hosts, well and unwell, and what is answered.

use super::*;

fn group(name: &str, source: Source) -> GroupFacts {
    GroupFacts {
        tenant: "default".to_owned(),
        group: name.to_owned(),
        source,
        late: None,
    }
}

fn reached() -> Source {
    Source::Reached {
        missing_topics: Vec::new(),
    }
}

fn handler(name: &str, partitions: usize, halted: usize) -> HandlerFacts {
    HandlerFacts {
        tenant: "default".to_owned(),
        handler: name.to_owned(),
        group: name.to_owned(),
        partitions,
        halted,
        ..HandlerFacts::default()
    }
}

/// A host with one handler, `a`, on which all is well.
fn well() -> Facts {
    Facts {
        looked: true,
        handlers: vec![handler("a", 2, 0)],
        groups: vec![group("a", reached())],
        ..Facts::default()
    }
}

/// The same with a second handler, `b`, whose consumer is as given.
fn two(second: Source) -> Facts {
    let mut facts = well();
    facts.handlers.push(handler("b", 0, 0));
    facts.groups.push(group("b", second));
    facts
}

fn cut_off() -> Source {
    Source::OutOfReach("connection refused".to_owned())
}

fn problem() -> Vec<(String, String)> {
    vec![("b/handler.toml".to_owned(), "line 1".to_owned())]
}

fn missing() -> Source {
    Source::Reached {
        missing_topics: vec!["orders".to_owned()],
    }
}

#[track_caller]
fn assert_judged(facts: Facts, state: State, ready: bool, named: &[&str]) {
    let readiness = judge(facts);
    assert_eq!((readiness.state, readiness.ready), (state, ready));
    let listed = readiness.not_ready.iter();
    let what: Vec<&str> = listed.map(|item| item.what.as_str()).collect();
    assert_eq!(what, named);
    assert!(readiness.not_ready.iter().all(|item| !item.why.is_empty()));
}

#[test]
fn a_host_on_which_all_is_well_serves() {
    assert_judged(well(), State::Serving, true, &[]);
    // More hosts than partitions are no fault of this one.
    let mut facts = well();
    facts.handlers[0].partitions = 0;
    assert_judged(facts, State::Serving, true, &[]);
}

#[test]
fn a_host_that_begins_or_stops_is_not_ready() {
    let named = &["handlers folder"];
    assert_judged(Facts::default(), State::Starting, false, named);
    let mut facts = well();
    facts.draining = true;
    assert_judged(facts.clone(), State::Draining, false, &["host"]);
    facts.looked = false;
    assert_judged(facts, State::Draining, false, &["host", "handlers folder"]);
}

#[test]
fn an_empty_folder_is_ready_and_one_with_bad_handlers_only_is_not() {
    let mut facts = Facts {
        looked: true,
        ..Facts::default()
    };
    assert_judged(facts.clone(), State::NoHandlers, true, &["handlers"]);
    facts.problems = problem();
    let named = &["handlers", "b/handler.toml"];
    assert_judged(facts, State::NoHandlers, false, named);
}

#[test]
fn a_bad_handler_does_not_take_the_good_one_out_of_service() {
    let mut facts = well();
    facts.problems = problem();
    assert_judged(facts, State::Degraded, true, &["b/handler.toml"]);
}

#[test]
fn kafka_out_of_reach_is_not_ready_unless_it_answers_another_group() {
    let mut facts = well();
    facts.groups = vec![group("a", cut_off())];
    assert_judged(facts, State::KafkaUnreachable, false, &["kafka"]);
    assert_judged(two(cut_off()), State::Degraded, true, &["kafka"]);
}

#[test]
fn a_missing_topic_is_listed_and_no_more() {
    let mut facts = well();
    facts.groups = vec![group("a", missing())];
    assert_judged(facts, State::Degraded, true, &["topic orders"]);
}

#[test]
fn a_handler_that_pauses_is_told_and_the_host_stays_ready() {
    let mut facts = well();
    facts.handlers[0].is_paused = true;
    assert_judged(facts, State::Degraded, true, &["handler default/a"]);
}

#[test]
fn halted_partitions_count_when_no_other_is_left() {
    let named = &["handler default/a"];
    let mut facts = well();
    facts.handlers[0].halted = 1;
    facts.handlers[0].halted_at = vec!["orders[3] at offset 17".to_owned()];
    assert_judged(facts.clone(), State::Degraded, true, named);
    assert!(
        judge(facts.clone()).not_ready[0]
            .why
            .starts_with("1 of its 2 partitions here are halted (orders[3] at offset 17); the log")
    );
    facts.handlers[0].halted = 2;
    assert_judged(facts, State::Degraded, false, named);
}

#[test]
fn stalled_partitions_count_when_no_other_is_left() {
    let named = &["handler default/a"];
    let mut facts = well();
    facts.handlers[0].stalled = 1;
    facts.handlers[0].stalled_at = vec!["orders[3] at offset 17 for 60000 ms: why".to_owned()];
    assert_judged(facts.clone(), State::Degraded, true, named);
    assert_eq!(
        judge(facts.clone()).not_ready[0].why,
        "1 of its 2 partitions here make no progress (orders[3] at offset 17 for 60000 ms: why)"
    );
    facts.handlers[0].halted = 1;
    assert_judged(facts.clone(), State::Degraded, false, &[named[0], named[0]]);
    facts.handlers[0].halted = 0;
    facts.handlers[0].stalled = 2;
    assert_judged(facts, State::Degraded, false, named);
}

#[test]
fn a_late_consumer_counts_when_no_other_is_in_time() {
    let named = &["group a of tenant default"];
    let mut facts = well();
    facts.groups[0].late = Some("it did not come round".to_owned());
    assert_judged(facts.clone(), State::Degraded, false, named);
    facts.handlers.push(handler("b", 1, 0));
    facts.groups.push(group("b", reached()));
    assert_judged(facts, State::Degraded, true, named);
}

#[test]
fn whatever_stalls_is_not_ready_where_the_operator_wants_it_so() {
    let mut facts = two(reached());
    facts.is_strict = true;
    assert_judged(facts.clone(), State::Serving, true, &[]);
    let mut late = facts.clone();
    late.groups[0].late = Some("it did not come round".to_owned());
    let named = &["group a of tenant default"];
    assert_judged(late, State::Degraded, false, named);
    facts.handlers[0].stalled = 1;
    assert_judged(facts, State::Degraded, false, &["handler default/a"]);
}

#[test]
fn a_consumer_that_does_not_run_counts_when_no_other_does() {
    let mut facts = well();
    facts.groups = vec![group("a", Source::Absent)];
    let named = &["group a of tenant default"];
    assert_judged(facts, State::Degraded, false, named);
    let named = &["group b of tenant default"];
    assert_judged(two(Source::Absent), State::Degraded, true, named);
}

#[test]
fn a_step_that_waits_is_told_and_the_host_stays_ready() {
    let mut facts = well();
    facts.handlers.push(handler("b", 0, 0));
    facts.waits = vec![("step 2".to_owned(), "waits for default/a".to_owned())];
    assert_judged(facts, State::Degraded, true, &["step 2"]);
}

#[test]
fn a_dead_producer_is_never_ready() {
    let mut facts = well();
    facts.dead_producers = vec!["fenced".to_owned()];
    assert_judged(facts, State::Degraded, false, &["producer"]);
}

#[test]
fn the_same_group_name_of_another_tenant_is_another_group() {
    let mut facts = well();
    facts.groups.push(group("a", cut_off()));
    facts.groups[0].tenant = "acme".to_owned();
    let readiness = judge(facts);
    assert_eq!((readiness.state, readiness.ready), (State::Degraded, false));
    assert_eq!(
        readiness.not_ready[0].why,
        "group a of tenant default: connection refused"
    );
}

#[test]
fn the_answer_has_the_documented_keys() {
    let mut facts = two(missing());
    facts.handlers.truncate(1);
    facts.handlers[0].topics = vec!["t".to_owned()];
    facts.handlers[0].revision = "0a".to_owned();
    let text = serde_json::to_string(&judge(facts)).unwrap();
    assert_eq!(
        text,
        concat!(
            r#"{"ready":true,"state":"degraded","handlers":[{"tenant":"default","handler":"a","#,
            r#""revision":"0a","group":"a","topics":["t"],"partitions":2,"halted":0,"stalled":0,"paused":false}],"#,
            r#""not-ready":[{"what":"topic orders","#,
            r#""why":"it does not exist; group b of tenant default waits for it"}]}"#
        )
    );
}

#[test]
fn a_missing_topic_is_told_once_with_what_creates_it() {
    let mut facts = two(missing());
    let remedy = "`topics apply` creates it".to_owned();
    facts.remedies = BTreeMap::from([("orders".to_owned(), remedy)]);
    let known = |topic: &str| (topic.to_owned(), "declared".to_owned());
    facts.missing_topics = vec![known("bills"), known("orders")];
    let told: Vec<(String, String)> = judge(facts)
        .not_ready
        .into_iter()
        .map(|one| (one.what, one.why))
        .collect();
    let expected = [
        (
            "topic orders",
            "it does not exist; group b of tenant default waits for it; `topics apply` creates it",
        ),
        ("topic bills", "declared"),
    ];
    assert_eq!(
        told,
        expected.map(|(what, why)| (what.to_owned(), why.to_owned()))
    );
}

#[test]
fn a_producer_of_requests_that_failed_for_good_is_told_and_the_host_serves_on() {
    let mut facts = well();
    facts.failed_couriers = vec!["fenced".to_owned()];
    assert_judged(facts, State::Degraded, true, &["producer"]);
}
