//! What is done with a record step by step.
//!
//! The fixture `step` leaves its name and how often it was called in the list `trail` of the value, and does before that what
//! the value says under `deeds`; `choose` decides as its arguments say.

mod asking;
mod refused;

use std::collections::BTreeMap;
use std::time::Duration;

use harness::{Host, TestRecord, guest, wait_until};
use serde_json::json;

use super::stage::{
    PATIENCE, Stage, count_lines, is, never, said, texts, value_on, verdict, wait_lines,
};

const QUICKLY: &str = "retry.max-attempts = 4\nretry.initial-ms = 10\nretry.max-ms = 10\n";

/// Deploys a handler of nothing but pipelines, whose tables come after `more` keys.
fn deploy(stage: &Stage, more: &str, pipelines: &str) {
    put_steps(stage, pipelines);
    let manifest = manifest(stage, more, pipelines);
    stage
        .folder
        .swap_text(&stage.name, "handler.toml", &manifest)
        .unwrap();
}

/// Puts the components of these steps into the handler's folder.
fn put_steps(stage: &Stage, pipelines: &str) {
    for fixture in ["step", "choose"] {
        let file = format!("{fixture}.wasm");
        if pipelines.contains(&file) {
            let folder = &stage.folder;
            folder
                .swap_beside(&stage.name, &file, guest(fixture))
                .unwrap();
        }
    }
}

fn manifest(stage: &Stage, more: &str, pipelines: &str) -> String {
    format!("{}\n{pipelines}", stage.manifest(more))
}

/// A pipeline with these steps; `keys` are its own.
fn pipeline(name: &str, keys: &str, steps: &[String]) -> String {
    let steps = steps.join(",\n");
    format!("[[pipeline]]\nname = \"{name}\"\n{keys}\nstep = [\n{steps}\n]\n")
}

/// A step of the fixture, with more keys after a comma each.
fn step(name: &str, more: &str) -> String {
    format!(
        "{{ name = \"{name}\", component = \"step.wasm\", args = {{ name = \"{name}\" }}{more} }}"
    )
}

fn pipe(topic: &str) -> String {
    format!("{{ name = \"to-{topic}\", pipe.topic = \"{topic}\" }}")
}

/// A record with this event whose steps do such deeds.
fn record(event: &str, deeds: &[(&str, &str)]) -> TestRecord {
    let deeds: BTreeMap<_, _> = deeds.iter().copied().collect();
    value_on(0, &json!({ "event": event, "deeds": deeds }).to_string())
}

/// What steps a record has been through.
fn trail(record: &TestRecord) -> String {
    let value = super::stage::json(record);
    let trail = value["trail"].as_array().cloned().unwrap_or_default();
    let names = trail.iter().map(|name| name.as_str().unwrap_or_default());
    names.collect::<Vec<_>>().join(" ")
}

fn trails(records: &[TestRecord]) -> Vec<String> {
    records.iter().map(trail).collect()
}

fn ended(host: &Host, outcome: &str) -> f64 {
    host.metric("kafka_wasm_records_total", &[("outcome", outcome)])
        .unwrap_or_default()
}

#[test]
fn a_failed_step_retries_where_it_should() {
    let stage = Stage::new("retries-where", 1);
    let seen = format!("{}.seen", stage.name);
    stage.create_topic(&seen, 1);
    let steps = [
        step("a", ""),
        step(
            "b",
            &format!(", repeatable = false, pipe.topic = \"{seen}\""),
        ),
        step("c", ""),
        step("d", ""),
        pipe(&stage.output),
    ];
    deploy(&stage, QUICKLY, &pipeline("bill", "", &steps));
    let host = stage.serve(&[]);
    stage.produce_records([
        record("well", &[]),
        // Behind what is not to be repeated.
        record("late", &[("d", "fail 2")]),
        // Before it.
        record("early", &[("a", "fail 1"), ("b", "fail 1")]),
        record("never", &[("d", "reject it is bad")]),
        record("worn-out", &[("c", "other no luck")]),
        record("last", &[]),
    ]);
    let outputs = stage.outputs(&host, 4);
    let expected = ["a1 b1 c1 d1", "a1 b1 c3 d3", "a3 b2 c1 d1", "a1 b1 c1 d1"];
    assert_eq!(trails(&outputs), expected);
    // What was sent on by the step that is not repeated is sent once, and not at all for records that were given up.
    let sent_on = stage.exactly(&seen, &host, 4);
    assert_eq!(trails(&sent_on), ["a1 b1", "a1 b1", "a3 b2", "a1 b1"]);
    let letters = stage.letters(&host, 2);
    assert_eq!(verdict(&letters[0]), is("reject", "1"));
    assert_eq!(verdict(&letters[1]), is("other", "4"));
    let told = letters
        .iter()
        .map(|it| (said(it, "step"), said(it, "error")));
    let expected = [
        ("bill/d", "pipeline bill, step d: it is bad"),
        ("bill/c", "pipeline bill, step c: no luck"),
    ];
    let expected = expected.map(|(step, error)| (step.to_owned(), error.to_owned()));
    assert_eq!(told.collect::<Vec<_>>(), expected);
    // Dead letters are the records as they were.
    assert_eq!(trails(&letters), ["", ""]);
    stage.committed(&host, &[(0, 6)]);
    // As often as an attempt met the step.
    let took = |step: &str| {
        let labels = [("pipeline", "bill"), ("step", step)];
        host.metric("kafka_wasm_pipeline_step_duration_seconds_count", &labels)
            .unwrap()
    };
    assert_eq!((took("a"), took("b"), took("d")), (8.0, 7.0, 7.0));
    host.stop().unwrap();
}

#[test]
fn a_pipeline_keeps_order_per_key() {
    let stage = Stage::new("pipeline-order", 1);
    let steps = [
        step("a", ", repeatable = false"),
        step("b", ""),
        pipe(&stage.output),
    ];
    // Each lane has instances of its own, which fail the record as often as it says.
    let more = "ordering = \"key\"\nconcurrency = 6\nretry.max-attempts = 50\nretry.initial-ms = 1\nretry.max-ms = 5";
    deploy(&stage, more, &pipeline("p", "max-concurrent = 3", &steps));
    let host = stage.serve(&[]);
    let keys = 12;
    let records = (0..240).map(|n| {
        let deeds = match n % 7 {
            0 => json!({ "b": "fail 2" }),
            3 => json!({ "a": "fail 1" }),
            5 => json!({ "a": "sleep 3" }),
            _ => json!({}),
        };
        let value = json!({ "n": n, "deeds": deeds });
        TestRecord::new(format!("k{}", n % keys), value.to_string()).on(0)
    });
    stage.produce_records(records);
    let outputs = stage.outputs(&host, 240);
    let mut by_key: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for output in &outputs {
        let n = super::stage::json(output)["n"].as_u64().unwrap();
        by_key.entry(output.key_text()).or_default().push(n);
    }
    assert_eq!(by_key.len(), keys);
    for (key, numbers) in &by_key {
        assert!(numbers.is_sorted(), "{key}: {numbers:?}");
    }
    stage.committed(&host, &[(0, 240)]);
    host.stop().unwrap();
}

#[test]
fn a_handler_and_a_pipeline_take_the_same_record() {
    let stage = Stage::new("both", 1);
    let done = format!("{}.done", stage.name);
    stage.create_topic(&done, 1);
    let steps = [step("a", ""), pipe(&done)];
    let tables = pipeline("p", "event = \"both*\"", &steps);
    put_steps(&stage, &tables);
    let manifest = manifest(&stage, &format!("multi = \"all\"\n{QUICKLY}"), &tables);
    let own = guest("label");
    stage
        .folder
        .swap_beside(&stage.name, "own.wasm", own)
        .unwrap();
    stage
        .folder
        .swap_text(&stage.name, "handler.toml", &manifest)
        .unwrap();
    let host = stage.serve(&[]);
    stage.produce_records([
        record("both", &[]),
        record("alone", &[]),
        record("both.retried", &[("a", "fail 2")]),
        record("both.refused", &[("a", "reject not here")]),
    ]);
    // The hook has all of them, and once only.
    assert_eq!(stage.outputs(&host, 4).len(), 4);
    assert_eq!(trails(&stage.exactly(&done, &host, 2)), ["a1", "a3"]);
    assert_eq!(verdict(&stage.letter(&host)), is("reject", "1"));
    stage.committed(&host, &[(0, 4)]);
    assert_eq!(
        (ended(&host, "handled"), ended(&host, "dead_lettered")),
        (6.0, 1.0)
    );
    host.stop().unwrap();
}

#[test]
fn middleware_that_comes_between_two_who_take_a_record_sees_the_next_one() {
    let stage = Stage::new("between", 1);
    let steps = [step("a", ""), step("b", "")];
    let tables = pipeline("p", "event = \"slow\"", &steps);
    put_steps(&stage, &tables);
    let more = format!("multi = \"all\"\nlimits.deadline-ms = 10000\n{QUICKLY}");
    let folder = &stage.folder;
    let beside = |file: &str, fixture: &str| {
        let put = folder.swap_beside(&stage.name, file, guest(fixture));
        put.map(|_| ()).unwrap();
    };
    beside("own.wasm", "label");
    beside("middleware.wasm", "middleware");
    let plain = format!("component = \"own.wasm\"\n{more}");
    folder
        .swap_text(
            &stage.name,
            "handler.toml",
            &manifest(&stage, &plain, &tables),
        )
        .unwrap();
    let host = stage.serve(&[]);
    wait_lines(&host, &["deployed"], 1);
    let deeds = json!({ "event": "slow", "deeds": { "a": "sleep 3000" }, "words": " drop@a " });
    stage.produce_records([value_on(0, &deeds.to_string())]);
    let is_taken = || {
        host.metric("kafka_wasm_record_bytes_total", &[])
            .is_ok_and(|it| it > 0.0)
    };
    wait_until("the record is taken", PATIENCE, is_taken).unwrap();
    let dropping =
        "[[middleware]]\ncomponent = \"middleware.wasm\"\nname = \"a\"\nconfig.name = \"a\"\n";
    let with = manifest(&stage, &plain, &format!("{tables}{dropping}"));
    folder
        .swap_text(&stage.name, "handler.toml", &with)
        .unwrap();
    wait_lines(&host, &["deployed"], 2);
    assert!(stage.read(&stage.output).is_empty(), "it took too long");
    stage.outputs(&host, 1);
    stage.committed(&host, &[(0, 1)]);
    stage.produce_records([value_on(0, &deeds.to_string())]);
    stage.committed(&host, &[(0, 2)]);
    assert_eq!(
        (ended(&host, "handled"), ended(&host, "filtered")),
        (2.0, 1.0)
    );
    host.stop().unwrap();
}

#[test]
fn what_a_step_drops_is_filtered_and_what_was_sent_on_before_is_sent() {
    let stage = Stage::new("drops", 1);
    let seen = format!("{}.seen", stage.name);
    stage.create_topic(&seen, 1);
    let by_step = [
        "{ use = \"drop-unless\", args = { \"/event\" = \"a\" } }".to_owned(),
        pipe(&seen),
        step("a", ""),
        pipe(&stage.output),
    ];
    deploy(&stage, QUICKLY, &pipeline("p", "", &by_step));
    let host = stage.serve(&[]);
    stage.produce_records([
        record("b", &[]),
        record("a", &[("a", "drop")]),
        record("a", &[]),
    ]);
    assert_eq!(trails(&stage.outputs(&host, 1)), ["a1"]);
    assert_eq!(stage.exactly(&seen, &host, 2).len(), 2);
    stage.committed(&host, &[(0, 3)]);
    assert_eq!(
        (ended(&host, "filtered"), ended(&host, "handled")),
        (2.0, 1.0)
    );
    host.stop().unwrap();
}

#[test]
fn a_failed_step_does_what_its_on_error_says() {
    let stage = Stage::new("on-error-of-step", 1);
    let tables = ["go-on", "skip", "dead-letter", "halt", "retry"].map(|word| {
        let on_error = format!(", pipe.topic = \"{}\", on-error = \"{word}\"", stage.output);
        let steps = [
            step("a", ""),
            step("b", &on_error),
            step("c", ""),
            pipe(&stage.output),
        ];
        pipeline(word, &format!("event = \"{word}\""), &steps)
    });
    deploy(&stage, QUICKLY, &tables.concat());
    let host = stage.serve(&[]);
    let fails = |event: &str| record(event, &[("b", "other no luck")]);
    stage.produce_records(["go-on", "skip", "dead-letter", "retry"].map(fails));
    // Of the step that is left out nothing stays.
    assert_eq!(trails(&stage.outputs(&host, 1)), ["a1 c1"]);
    let letters = stage.letters(&host, 2);
    let verdicts: Vec<_> = letters.iter().map(verdict).collect();
    assert_eq!(verdicts, [is("other", "1"), is("other", "4")]);
    stage.committed(&host, &[(0, 4)]);
    assert_eq!(
        (ended(&host, "handled"), ended(&host, "skipped")),
        (1.0, 1.0)
    );
    stage.produce_records([fails("halt"), record("go-on", &[])]);
    wait_lines(&host, &["the partition is halted", "step b: no luck"], 1);
    stage.committed(&host, &[(0, 4)]);
    assert_eq!(count_lines(&host, &["the partition is halted"]), 1);
    host.stop().unwrap();
}

#[test]
fn what_steps_have_left_counts_against_what_may_be_in_flight() {
    let stage = Stage::new("grown", 1);
    let steps = [
        step("a", ", repeatable = false"),
        step("b", ""),
        pipe(&stage.output),
    ];
    let more = "ordering = \"none\"\nlimits.in-flight-mib = 1\nretry.max-attempts = 2\nretry.initial-ms = 6000\n\
                retry.jitter = 0\n";
    deploy(&stage, more, &pipeline("p", "", &steps));
    let host = stage.serve(&[]);
    let grown = || record("x", &[("a", "grow 400000"), ("b", "other no")]);
    stage.produce_records((0..4).map(|_| grown()));
    wait_lines(&host, &["attempt failed", "step b: no"], 4);
    // They are small in Kafka; what the host holds of them is not.
    stage.produce_records([record("x", &[])]);
    never(
        "a record is taken in spite of what waits",
        Duration::from_secs(2),
        || !stage.read(&stage.output).is_empty(),
    );
    assert_eq!(trails(&stage.outputs(&host, 1)), ["a1 b1"]);
    assert_eq!(stage.letters(&host, 4).len(), 4);
    stage.committed(&host, &[(0, 5)]);
    host.stop().unwrap();
}

#[test]
fn a_pipeline_is_one_piece_of_work_in_a_transaction() {
    let stage = Stage::new("pipeline-once", 1);
    let steps = [
        step(
            "a",
            &format!(", repeatable = false, pipe.topic = \"{}\"", stage.output),
        ),
        step("b", ""),
        pipe(&stage.output),
    ];
    let more = format!("delivery = \"exactly-once\"\ntransaction-interval-ms = 20\n{QUICKLY}");
    deploy(&stage, &more, &pipeline("p", "", &steps));
    let host = stage.serve(&[]);
    stage.produce_records((0..40).map(|n| match n % 4 {
        0 => record("x", &[("b", "fail 2")]),
        1 => record("x", &[("b", "reject no")]),
        _ => record("x", &[]),
    }));
    let outputs = stage.outputs(&host, 60);
    let of = |wanted: &str| {
        texts(&outputs)
            .iter()
            .filter(|it| it.contains(wanted))
            .count()
    };
    assert_eq!(of("\"a1\"]"), 30);
    assert_eq!(of("\"b3\"]"), 10);
    assert_eq!(stage.letters(&host, 10).len(), 10);
    stage.committed(&host, &[(0, 40)]);
    host.stop().unwrap();
}
