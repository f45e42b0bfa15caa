//! Which handler takes which record: routes by topic, event and headers, and records that several take.

use std::time::Duration;

use harness::{Host, Kafka, TestRecord, guest};

use super::stage::{Stage, is, never, said, texts, value_on, verdict, wait_lines};

/// A stage with a second handler on the same topic, in the same group.
struct Shared {
    stage: Stage,
    /// Where the second one's dead letters go.
    letters: String,
}

impl Shared {
    fn new(name: &str) -> Self {
        let stage = Stage::new(name, 1);
        let letters = format!("{}.second.dead", stage.name);
        stage.create_topic(&letters, 1);
        Self { stage, letters }
    }

    /// Puts the second handler into the folder.
    fn deploy_second(&self, fixture: &str, more: &str) {
        let folder = &self.stage.folder;
        let manifest = self.second_manifest(more);
        folder
            .swap_in(&self.second(), guest(fixture), &manifest)
            .unwrap();
    }

    fn second(&self) -> String {
        format!("{}-second", self.stage.name)
    }

    fn second_manifest(&self, more: &str) -> String {
        let manifest = self.stage.manifest(more);
        manifest.replace(&self.stage.dead_letters, &self.letters)
    }

    fn change_second(&self, more: &str) {
        let manifest = self.second_manifest(more);
        self.stage
            .folder
            .swap_manifest(&self.second(), &manifest)
            .unwrap();
    }

    fn second_letters(&self, host: &Host, n: usize) -> Vec<TestRecord> {
        self.stage.exactly(&self.letters, host, n)
    }
}

fn event(name: &str) -> TestRecord {
    value_on(0, &format!("{{\"event\":\"{name}\"}}"))
}

fn headers(records: &[TestRecord], name: &str) -> Vec<String> {
    let texts = records.iter().map(|record| record.header_text(name));
    texts.map(Option::unwrap_or_default).collect()
}

#[test]
fn a_record_goes_to_the_function_of_its_event() {
    let stage = Stage::new("functions", 1);
    let host = stage.run("events", "");
    let names = ["order.created", "order.shipped", "bill.paid", "order.flaky"];
    stage.produce_records(names.map(event));
    stage.produce(&["no JSON"]);
    stage.produce_records([event("order.refused")]);
    let outputs = stage.outputs(&host, 5);
    let functions = headers(&outputs, "function");
    let expected = ["created", "changed", "on_message", "flaky", "on_message"];
    assert_eq!(functions, expected);
    let events = headers(&outputs, "event");
    assert_eq!(
        events,
        ["order.created", "order.shipped", "", "order.flaky", ""]
    );
    assert_eq!(verdict(&stage.letter(&host)), is("reject", "1"));
    stage.committed(&host, &[(0, 6)]);
    host.stop().unwrap();
}

#[test]
fn of_several_handlers_the_most_specific_one_takes_a_record() {
    let shared = Shared::new("specific");
    let stage = &shared.stage;
    stage.deploy(
        "label",
        "route = [{ event = \"order.*\" }]\nconfig.label = \"any\"",
    );
    let rare = "route = [{ event = \"order.created\" }, { event = \"order.*\", headers = { region = \"eu\" } }]\n";
    shared.deploy_second("label", &format!("{rare}config.label = \"rare\""));
    let host = stage.serve(&[]);
    let from_eu = event("order.shipped").header("region", Some(b"eu"));
    stage.produce_records([event("order.created"), event("order.shipped"), from_eu]);
    let outputs = stage.outputs(&host, 3);
    assert_eq!(headers(&outputs, "label"), ["rare", "any", "rare"]);
    stage.committed(&host, &[(0, 3)]);
    // The one that is gone leaves its records to the other.
    stage.folder.remove(&shared.second()).unwrap();
    wait_lines(&host, &["removed"], 1);
    stage.produce_records([event("order.created")]);
    assert_eq!(headers(&stage.outputs(&host, 4), "label")[3], "any");
    host.stop().unwrap();
}

#[test]
fn an_event_is_the_key_or_a_header_where_the_manifest_says_so() {
    let stage = Stage::new("sources", 1);
    let keys = "event.source = \"key\"\nroute = [{ event = \"a*\" }]";
    let host = stage.run("label", keys);
    let keyed = |key: &str| TestRecord::new(key, key).on(0);
    stage.produce_records(["apple", "pear", "avocado"].map(keyed));
    assert_eq!(texts(&stage.outputs(&host, 2)), ["apple", "avocado"]);
    stage.committed(&host, &[(0, 3)]);
    let unmatched = host.metric("kafka_wasm_records_total", &[("outcome", "unmatched")]);
    assert_eq!(unmatched.unwrap(), 1.0);
    let keys = "event.source = \"header:kind\"\nroute = [{ event = \"a\" }, { headers = { urgent = \"*\" } }]";
    stage
        .folder
        .swap_manifest(&stage.name, &stage.manifest(keys))
        .unwrap();
    wait_lines(&host, &["deployed"], 2);
    let headed = |value: &str, name: &str| value_on(0, value).header(name, Some(b"a"));
    let urgent = value_on(0, "4").header("urgent", None);
    stage.produce_records([
        headed("1", "kind"),
        headed("2", "kin"),
        value_on(0, "3"),
        urgent,
    ]);
    assert_eq!(texts(&stage.outputs(&host, 4))[2..], ["1", "4"]);
    host.stop().unwrap();
}

#[test]
fn what_no_route_takes_is_skipped_dead_lettered_or_halts() {
    let stage = Stage::new("unmatched", 1);
    let keys = "route = [{ event = \"a\" }]\n";
    stage.deploy("label", &format!("{keys}unmatched = \"dead-letter\""));
    let host = stage.serve(&[]);
    let long = "x".repeat(300);
    stage.produce_records([event("b"), event("a"), value_on(0, "{}"), event(&long)]);
    let letters = stage.letters(&host, 3);
    assert_eq!(verdict(&letters[0]), is("unmatched", "0"));
    let said: Vec<String> = letters.iter().map(|letter| said(letter, "error")).collect();
    let expected = [
        "no rule matches the record",
        "the record has no event",
        "the record's event is longer than 256 bytes",
    ];
    assert_eq!(said, expected);
    let change = |keys: &str| {
        let manifest = stage.manifest(keys);
        stage.folder.swap_manifest(&stage.name, &manifest).unwrap();
    };
    change(&format!("{keys}unmatched = \"halt\""));
    wait_lines(&host, &["deployed"], 2);
    stage.produce_records([event("b"), event("a")]);
    wait_lines(&host, &["the partition is halted", "no rule matches"], 1);
    stage.committed(&host, &[(0, 4)]);
    // Until somebody takes it.
    change("route = [{ event = \"?\" }]\n");
    assert_eq!(stage.outputs(&host, 3).len(), 3);
    stage.committed(&host, &[(0, 6)]);
    host.stop().unwrap();
}

#[test]
fn fan_out_settles_once_after_all() {
    let shared = Shared::new("fan-out");
    let stage = &shared.stage;
    let all = "multi = \"all\"\nretry.max-attempts = 4\nretry.initial-ms = 10\nretry.max-ms = 10\n";
    stage.deploy("label", &format!("{all}config.label = \"first\""));
    shared.deploy_second("act", &format!("{all}limits.deadline-ms = 20000"));
    let host = stage.serve(&[]);
    // The second one fails, is tried again by itself, and its record ends in its own dead letters.
    stage.produce(&["ok", "flaky 2", "reject not for me"]);
    let outputs = stage.outputs(&host, 5);
    let by_first: Vec<String> = outputs
        .iter()
        .filter(|output| output.header_text("label").is_some())
        .map(TestRecord::text)
        .collect();
    assert_eq!(by_first, ["ok", "flaky 2", "reject not for me"]);
    assert_eq!(
        verdict(&shared.second_letters(&host, 1)[0]),
        is("reject", "1")
    );
    assert!(stage.read(&stage.dead_letters).is_empty());
    stage.committed(&host, &[(0, 3)]);
    let handled = |handler: &str| {
        let labels = [("outcome", "handled"), ("handler", handler)];
        host.metric("kafka_wasm_records_total", &labels).unwrap()
    };
    assert_eq!(
        (handled(&stage.name), handled(&shared.second())),
        (3.0, 2.0)
    );
    // What the first one emitted waits for the second one, and so does the position.
    stage.produce(&["sleep 3000"]);
    never(
        "an output before the last handler is done",
        Duration::from_secs(2),
        || stage.read(&stage.output).len() > 5,
    );
    stage.committed(&host, &[(0, 3)]);
    stage.outputs(&host, 7);
    stage.committed(&host, &[(0, 4)]);
    host.stop().unwrap();
}

#[test]
fn a_halted_handler_of_several_is_all_that_is_called_again() {
    let shared = Shared::new("fan-halt");
    let stage = &shared.stage;
    stage.deploy("label", "multi = \"all\"");
    let halts = "multi = \"all\"\nretry.max-attempts = 1\non-exhausted = \"halt\"\n";
    shared.deploy_second("act", halts);
    let host = stage.serve(&[]);
    stage.produce(&["other never", "ok"]);
    wait_lines(&host, &["the partition is halted"], 1);
    assert!(stage.read(&stage.output).is_empty());
    shared.change_second(&halts.replace("\"halt\"", "\"skip\""));
    let outputs = stage.outputs(&host, 3);
    let by_first = outputs
        .iter()
        .filter(|it| it.header_text("label").is_some());
    assert_eq!(by_first.count(), 2);
    stage.committed(&host, &[(0, 2)]);
    let labels = [("outcome", "handled"), ("handler", stage.name.as_str())];
    assert_eq!(
        host.metric("kafka_wasm_records_total", &labels).unwrap(),
        2.0
    );
    host.stop().unwrap();
}

#[test]
fn a_refused_output_costs_only_the_handler_that_emitted_it() {
    for delivery in ["", "delivery = \"exactly-once\"\n"] {
        let shared = Shared::new("fan-refused");
        let stage = &shared.stage;
        let all = format!("multi = \"all\"\n{delivery}");
        stage.deploy("label", &format!("{all}config.label = \"first\""));
        shared.deploy_second("act", &all);
        let host = stage.serve(&[]);
        stage.produce(&["ok", &format!("emit-to {}", narrow(stage)), "ok"]);
        let letter = &shared.second_letters(&host, 1)[0];
        assert_eq!(verdict(letter), is("emit", "1"), "{delivery}");
        // What the guilty one emitted besides is part of the transaction that is not committed.
        let outputs = stage.outputs(&host, if delivery.is_empty() { 6 } else { 5 });
        let firsts = headers(&outputs, "label");
        assert_eq!(
            firsts.iter().filter(|it| *it == "first").count(),
            3,
            "{delivery}"
        );
        assert!(stage.read(&stage.dead_letters).is_empty(), "{delivery}");
        stage.committed(&host, &[(0, 3)]);
        host.stop().unwrap();
    }
}

#[test]
fn a_refused_output_of_the_only_taker_is_settled_by_its_own_manifest() {
    for delivery in ["", "delivery = \"exactly-once\"\n"] {
        let shared = Shared::new("refused-first");
        let stage = &shared.stage;
        let keys = format!("event.source = \"key\"\n{delivery}");
        // The first by name would skip it.
        let first = "on-exhausted = \"skip\"\nroute = [{ event = \"first\" }]";
        stage.deploy("label", &format!("{keys}{first}"));
        shared.deploy_second("act", &format!("{keys}route = [{{ event = \"second\" }}]"));
        let host = stage.serve(&[]);
        let deed = format!("emit-to {}", narrow(stage));
        stage.produce_records([TestRecord::new("second", deed).on(0)]);
        let letter = &shared.second_letters(&host, 1)[0];
        assert_eq!(verdict(letter), is("emit", "1"), "{delivery}");
        stage.committed(&host, &[(0, 1)]);
        let labels = [("handler", stage.name.as_str()), ("outcome", "skipped")];
        let skipped = host.metric("kafka_wasm_records_total", &labels);
        assert_eq!(skipped.unwrap_or_default(), 0.0, "{delivery}");
        host.stop().unwrap();
    }
}

#[test]
fn each_of_several_handlers_with_a_refused_output_gives_the_record_up() {
    for delivery in ["", "delivery = \"exactly-once\"\n"] {
        let shared = Shared::new("refused-both");
        let stage = &shared.stage;
        let all = format!("multi = \"all\"\n{delivery}");
        // Their outputs differ by the label.
        stage.deploy("act", &format!("{all}config.label = \"first\""));
        shared.deploy_second("act", &format!("{all}config.label = \"second\""));
        let host = stage.serve(&[]);
        stage.produce(&["ok", &format!("emit-to {}", narrow(stage)), "ok"]);
        assert_eq!(verdict(&stage.letter(&host)), is("emit", "1"), "{delivery}");
        let letter = &shared.second_letters(&host, 1)[0];
        assert_eq!(verdict(letter), is("emit", "1"), "{delivery}");
        stage.committed(&host, &[(0, 3)]);
        host.stop().unwrap();
    }
}

#[test]
fn a_route_that_the_component_has_a_hook_for_is_refused() {
    let stage = Stage::new("doubled", 1);
    stage.deploy("events", "route = [{ event = \"order.created\" }]");
    let host = stage.serve(&[]);
    let told = "a [[route]] takes event order.created, and so does the component";
    wait_lines(&host, &[told], 1);
    host.stop().unwrap();
}

#[test]
fn a_place_goes_from_handler_to_handler_and_from_partition_to_partition() {
    let name = "fan-one-place";
    let shared = Shared {
        stage: Stage::new(name, 2),
        letters: String::new(),
    };
    let stage = &shared.stage;
    let keys = "multi = \"all\"\nconcurrency = 1\n";
    let manifest = |more: &str| stage.manifest(&format!("{keys}{more}"));
    for (handler, label) in [(stage.name.clone(), "first"), (shared.second(), "second")] {
        let manifest = manifest(&format!("config.label = \"{label}\""));
        stage
            .folder
            .swap_in(&handler, guest("label"), &manifest)
            .unwrap();
    }
    let host = stage.serve(&["--instances-max", "1"]);
    for n in 0..10 {
        stage.produce_on(0, &["a"]);
        stage.produce_on(1, &["b"]);
        stage.outputs(&host, 4 * (n + 1));
    }
    stage.committed(&host, &[(0, 10), (1, 10)]);
    host.stop().unwrap();
}

/// A topic that takes no record of a handler.
fn narrow(stage: &Stage) -> String {
    let narrow = format!("{}.narrow", stage.name);
    let limit = [("max.message.bytes", "80")];
    Kafka::shared().create_topic(&narrow, 1, &limit).unwrap();
    narrow
}

#[test]
fn several_handlers_share_few_places_for_instances() {
    let shared = Shared::new("fan-places");
    let stage = &shared.stage;
    stage.deploy(
        "label",
        "multi = \"all\"\nordering = \"key\"\nconcurrency = 4",
    );
    shared.deploy_second(
        "label",
        "multi = \"all\"\nordering = \"key\"\nconcurrency = 4",
    );
    let host = stage.serve(&["--instances-max", "2"]);
    let records = (0..200).map(|n| TestRecord::new(format!("k{n}"), n.to_string()).on(0));
    stage.produce_records(records);
    stage.outputs(&host, 400);
    stage.committed(&host, &[(0, 200)]);
    host.stop().unwrap();
}

#[test]
fn handlers_that_take_the_same_records_are_refused_by_name() {
    let shared = Shared::new("clash");
    let stage = &shared.stage;
    stage.deploy("label", "route = [{ event = \"a\" }, { event = \"b*\" }]");
    shared.deploy_second("label", "route = [{ event = \"b*\" }]");
    let host = stage.serve(&[]);
    let told = "and each takes event b* (give one of them another group";
    wait_lines(&host, &["does not go together with", told], 1);
    shared.change_second("route = [{ event = \"c\" }]\nunmatched = \"halt\"");
    wait_lines(&host, &["and unmatched differs"], 1);
    shared.change_second("route = [{ event = \"c\" }]");
    wait_lines(&host, &["deployed"], 2);
    stage.produce_records([event("c")]);
    stage.outputs(&host, 1);
    host.stop().unwrap();
}
