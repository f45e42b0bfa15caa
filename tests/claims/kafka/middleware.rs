//! Components that see each record before it is known who handles it.
//!
//! The fixture `middleware` does what the words of the value say that end with `@` and its name.

use std::time::Duration;

use harness::{Host, TestRecord, guest};

use super::stage::{
    Stage, TWICE, count_lines, field, is, never, said, texts, value_on, verdict, wait_lines,
};

/// The stage's handler, and middleware of these names before it.
fn deploy(stage: &Stage, fixture: &str, names: &[&str], more: &str) {
    stage
        .folder
        .swap_beside(&stage.name, "middleware.wasm", guest("middleware"))
        .unwrap();
    let folder = &stage.folder;
    let manifest = manifest(stage, names, more);
    folder
        .handler(&stage.name, guest(fixture), &manifest)
        .unwrap();
}

fn manifest(stage: &Stage, names: &[&str], more: &str) -> String {
    format!("{}{}", stage.manifest(more), tables(names))
}

fn tables(names: &[&str]) -> String {
    let table = |name: &&str| {
        format!(
            "[[middleware]]\ncomponent = \"middleware.wasm\"\nname = \"{name}\"\nconfig.name = \"{name}\"\n"
        )
    };
    names.iter().map(table).collect()
}

/// The file of a tenant that may do everything.
fn of_tenant(names: &[&str]) -> String {
    let all = "grants = { consume = [\"*\"], produce = [\"*\"], groups = [\"*\"] }\n";
    format!("{all}{}", tables(names))
}

/// How many records middleware of this name saw, and what became of them: passed, changed, dropped, failed.
fn seen(host: &Host, name: &str) -> [f64; 4] {
    ["passed", "changed", "dropped", "failed"].map(|result| {
        let labels = [("middleware", name), ("result", result)];
        host.metric("kafka_wasm_middleware_records_total", &labels)
            .unwrap_or_default()
    })
}

fn headers(record: &TestRecord) -> Vec<(String, String)> {
    let text = |value: &Option<Vec<u8>>| {
        String::from_utf8_lossy(value.as_deref().unwrap_or_default()).into_owned()
    };
    let headers = record.headers.iter().flatten();
    headers
        .map(|(key, value)| (key.clone(), text(value)))
        .collect()
}

#[test]
fn middleware_sees_every_record_once() {
    let stage = Stage::new("chain", 1);
    let retry = "retry.max-attempts = 3\nretry.initial-ms = 10\n";
    deploy(&stage, "act", &["a", "b", "c"], retry);
    let host = stage.serve(&[]);
    let values = [
        "ok",
        "flaky 2 #",
        "ok # drop@b",
        "ok # once@c",
        "ok # pass@a pass@b pass@c",
        "ok # reject@b",
        "trap # trapped by its handler",
        "ok # last",
    ];
    stage.produce(&values);
    let outputs = stage.outputs(&host, 5);
    let handled = outputs.iter().map(|it| field(it, "value"));
    let expected = [values[0], values[1], values[3], values[4], values[7]];
    assert_eq!(handled.collect::<Vec<_>>(), expected);
    let letters = stage.letters(&host, 2);
    assert_eq!(verdict(&letters[0]), is("reject", "1"));
    assert_eq!(
        said(&letters[0], "error"),
        "middleware b: the middleware does not like it"
    );
    assert_eq!(verdict(&letters[1]), is("trap", "3"));
    // Dead letters are the records as they were.
    assert_eq!(texts(&letters), [values[5], values[6]]);
    assert!(
        letters.iter().all(|it| it.header_text("a").is_none()),
        "{letters:?}"
    );
    stage.committed(&host, &[(0, 8)]);
    assert_eq!(seen(&host, "a"), [1.0, 7.0, 0.0, 0.0]);
    assert_eq!(seen(&host, "b"), [1.0, 5.0, 1.0, 1.0]);
    // Only where it failed itself it saw a record again.
    assert_eq!(seen(&host, "c"), [1.0, 5.0, 0.0, 1.0]);
    let filtered = host.metric("kafka_wasm_records_total", &[("outcome", "filtered")]);
    assert_eq!(filtered.unwrap(), 1.0);
    host.stop().unwrap();
}

#[test]
fn each_middleware_sees_what_the_one_before_it_made() {
    let stage = Stage::new("chained", 1);
    stage
        .folder
        .swap_beside("default", "middleware.wasm", guest("middleware"))
        .unwrap();
    stage
        .folder
        .swap_text("default", "tenant.toml", &of_tenant(&["t"]))
        .unwrap();
    deploy(&stage, "pass", &["a", "b"], "");
    let host = stage.serve(&[]);
    stage.produce(&[
        "one",
        "two upper@a",
        "THREE@b key=k@t",
        "emit@b",
        "tombstone@a",
    ]);
    let outputs = stage.outputs(&host, 5);
    assert_eq!(
        texts(&outputs)[..4],
        ["one", "TWO UPPER@A", "THREE@b key=k@t", "emit@b"]
    );
    assert_eq!(outputs[2].key.as_deref(), Some(&b"k"[..]));
    assert_eq!(outputs[4].value, None);
    for (at, output) in outputs.iter().enumerate() {
        let names = headers(output)
            .into_iter()
            .filter(|(name, _)| name != "refused");
        let calls = (at + 1).to_string();
        let expected = ["t", "a", "b"].map(|name| (name.to_owned(), calls.clone()));
        assert_eq!(names.collect::<Vec<_>>(), expected);
    }
    // Whatever it asks for, it may not emit.
    let refused = outputs[3].header_text("refused").unwrap();
    assert!(refused.contains("not"), "{refused}");
    stage.committed(&host, &[(0, 5)]);
    host.stop().unwrap();
}

#[test]
fn what_middleware_drops_says_nothing_of_a_handler_that_pauses() {
    let stage = Stage::new("chain-breaker", 2);
    let pauses = "retry.max-attempts = 1\nbreaker.window-records = 4\nbreaker.pause-ms = 500\n";
    deploy(&stage, "act", &["a"], pauses);
    let host = stage.serve(&[]);
    // The fourth is tried again after each pause, and fails.
    stage.produce(&["other no"; 4]);
    wait_lines(&host, &["the paused handler tries one record"], 1);
    // Meanwhile middleware goes on.
    stage.produce_on(1, &["drop@a"; 10]);
    stage.committed(&host, &[(0, 3), (1, 10)]);
    assert_eq!(seen(&host, "a")[2], 10.0);
    wait_lines(&host, &["the paused handler tries one record"], 4);
    assert_eq!(count_lines(&host, &["the paused handler goes on"]), 0);
    assert_eq!(stage.letters(&host, 3).len(), 3);
    host.stop().unwrap();
}

#[test]
fn what_fails_in_middleware_is_not_given_up_while_its_handler_pauses() {
    let stage = Stage::new("chain-pause", 1);
    let pauses = "retry.max-attempts = 1\nbreaker.window-records = 2\nbreaker.pause-ms = 500\n";
    deploy(&stage, "pass", &["a"], pauses);
    let host = stage.serve(&[]);
    stage.produce(&["1 reject@a", "2 reject@a", "3"]);
    wait_lines(&host, &["the handler pauses"], 1);
    let before = seen(&host, "a")[3];
    never(
        "it is tried more often than the pauses allow",
        Duration::from_secs(2),
        || seen(&host, "a")[3] > before + 6.0,
    );
    assert_eq!(stage.letters(&host, 1).len(), 1);
    // What comes after it is handled once it goes through, and the handler goes on.
    let fine = manifest(&stage, &["b"], pauses);
    stage.folder.swap_manifest(&stage.name, &fine).unwrap();
    assert_eq!(texts(&stage.outputs(&host, 2)), ["2 reject@a", "3"]);
    stage.committed(&host, &[(0, 3)]);
    host.stop().unwrap();
}

#[test]
fn what_fails_in_middleware_leaves_the_probe_of_a_paused_handler_to_others() {
    let stage = Stage::new("chain-probe", 2);
    let pauses = "retry.max-attempts = 1\nbreaker.window-records = 2\nbreaker.pause-ms = 500\n";
    deploy(&stage, "act", &["a"], pauses);
    let host = stage.serve(&[]);
    stage.produce(&["1 reject@a", "2 reject@a"]);
    wait_lines(&host, &["the handler pauses"], 1);
    // The second waits for each pause to be over, and fails again, also while this one is tried; but nothing is wrong with
    // the handler.
    stage.produce_on(1, &["sleep 200"]);
    wait_lines(&host, &["the paused handler goes on"], 1);
    stage.outputs(&host, 1);
    assert_eq!(stage.letters(&host, 2).len(), 2);
    stage.committed(&host, &[(0, 2), (1, 1)]);
    host.stop().unwrap();
}

#[test]
fn attempts_in_middleware_begin_anew_after_a_halt() {
    let stage = Stage::new("chain-halt", 1);
    deploy(
        &stage,
        "pass",
        &["a"],
        &format!("{TWICE}on-exhausted = \"halt\"\n"),
    );
    let host = stage.serve(&[]);
    stage.produce(&["trap@a"]);
    wait_lines(&host, &["the partition is halted"], 1);
    assert_eq!(seen(&host, "a")[3], 2.0);
    // The same middleware before another revision of the handler.
    stage
        .folder
        .swap_manifest(&stage.name, &manifest(&stage, &["a"], TWICE))
        .unwrap();
    let letter = stage.letter(&host);
    assert_eq!(verdict(&letter), is("trap", "2"));
    stage.committed(&host, &[(0, 1)]);
    host.stop().unwrap();
}

#[test]
fn hooks_are_shown_the_original_of_a_record_that_fails_in_middleware() {
    let stage = Stage::new("chain-original", 1);
    deploy(&stage, "hooks", &["a", "b"], "");
    let host = stage.serve(&[]);
    let value = "x cut@a reject@b";
    stage.produce(&[value]);
    let letter = stage.letter(&host);
    assert_eq!(letter.text(), value);
    let told = |hook: &str| {
        let traces = stage.read(&stage.output);
        let trace = traces.iter().find(|it| field(it, "hook") == hook);
        let trace = trace.unwrap_or_else(|| panic!("no {hook} in {:?}", texts(&traces)));
        trace.text()
    };
    stage.committed(&host, &[(0, 1)]);
    for hook in ["on-error", "on-finished"] {
        assert!(told(hook).contains(value), "{}", told(hook));
    }
    host.stop().unwrap();
}

#[test]
fn routes_see_what_middleware_made() {
    let stage = Stage::new("routed", 1);
    let routes = "event.source = \"header:event\"\nroute = [{ event = \"wanted\" }]\n";
    deploy(&stage, "pass", &["a"], routes);
    let host = stage.serve(&[]);
    stage.produce(&[
        "event=wanted@a",
        "event=other@a",
        "no event",
        "2 event=wanted@a",
    ]);
    let expected = ["event=wanted@a", "2 event=wanted@a"];
    assert_eq!(texts(&stage.outputs(&host, 2)), expected);
    stage.committed(&host, &[(0, 4)]);
    host.stop().unwrap();
}

#[test]
fn middleware_sees_each_record_of_a_batch() {
    let stage = Stage::new("chain-bulk", 1);
    let bulk = "retry.max-attempts = 2\nretry.initial-ms = 10\nbulk.max-records = 5\nbulk.max-wait-ms = 1000\n";
    deploy(&stage, "bulk", &["a", "b"], bulk);
    let host = stage.serve(&[]);
    let values = [
        "ok 1",
        "ok 2 drop@a",
        "ok 3 once@b",
        "ok 4 reject@b",
        "ok 5",
    ];
    stage.produce(&values);
    let letter = stage.letter(&host);
    assert_eq!(verdict(&letter), is("reject", "1"));
    stage.committed(&host, &[(0, 5)]);
    assert_eq!(seen(&host, "a"), [0.0, 4.0, 1.0, 0.0]);
    assert_eq!(seen(&host, "b"), [0.0, 3.0, 0.0, 2.0]);
    let outcome = |outcome| {
        host.metric("kafka_wasm_records_total", &[("outcome", outcome)])
            .unwrap()
    };
    assert_eq!([outcome("handled"), outcome("filtered")], [3.0, 1.0]);
    host.stop().unwrap();
}

#[test]
fn a_chain_needs_no_more_than_one_place() {
    let stage = Stage::new("chain-places", 2);
    deploy(&stage, "pass", &["a", "b", "c"], "");
    let host = stage.serve(&["--instances-max", "1"]);
    stage.produce_records((0..40).map(|n| value_on(n % 2, &n.to_string())));
    assert_eq!(stage.outputs(&host, 40).len(), 40);
    stage.committed(&host, &[(0, 20), (1, 20)]);
    host.stop().unwrap();
}

#[test]
fn outputs_behind_middleware_are_seen_once_in_a_transaction() {
    let stage = Stage::new("chain-once", 1);
    let once = "delivery = \"exactly-once\"\nretry.initial-ms = 10\n";
    deploy(&stage, "pass", &["a", "b"], once);
    let host = stage.serve(&[]);
    let values = ["1", "2 once@b", "3 drop@a", "4"];
    stage.produce(&values);
    assert_eq!(texts(&stage.outputs(&host, 3)), ["1", "2 once@b", "4"]);
    assert_eq!(seen(&host, "a"), [0.0, 3.0, 1.0, 0.0]);
    host.stop().unwrap();
}

#[test]
fn a_tenants_middleware_is_before_all_of_its_handlers_and_no_others() {
    let stage = Stage::new("chain-tenants", 1);
    let folder = &stage.folder;
    folder
        .swap_beside("acme", "middleware.wasm", guest("middleware"))
        .unwrap();
    folder
        .swap_text("acme", "tenant.toml", &of_tenant(&["a"]))
        .unwrap();
    let output = |name: &str| format!("{}.{name}", stage.name);
    let names = ["acme/one", "acme/two", "other/three"];
    for name in names {
        let (group, out) = (name.replace('/', "-"), output(&name.replace('/', ".")));
        stage.create_topic(&out, 1);
        let manifest = stage.manifest("").replace(&stage.output, &out);
        let manifest = manifest.replace(
            &format!("group = \"{}\"", stage.name),
            &format!("group = \"{}-{group}\"", stage.name),
        );
        folder.swap_in(name, guest("pass"), &manifest).unwrap();
    }
    let host = stage.serve(&[]);
    stage.produce(&["1"]);
    let marks = |n: usize| {
        names.map(|name| {
            let outputs = stage.exactly(&output(&name.replace('/', ".")), &host, n);
            headers(&outputs[n - 1])
                .into_iter()
                .map(|(name, _)| name)
                .collect::<String>()
        })
    };
    assert_eq!(marks(1), ["a", "a", ""]);
    // What is wrong there leaves the old revisions serving; what is right is taken up by all.
    folder
        .swap_text(
            "acme",
            "tenant.toml",
            "[[middleware]]\ncomponent = \"gone.wasm\"",
        )
        .unwrap();
    wait_lines(&host, &["acme/tenant.toml", "gone.wasm", "no such file"], 2);
    stage.produce(&["2"]);
    assert_eq!(marks(2), ["a", "a", ""]);
    folder
        .swap_text("acme", "tenant.toml", &of_tenant(&["b", "c"]))
        .unwrap();
    wait_lines(&host, &["deployed", "acme"], 4);
    stage.produce(&["3"]);
    assert_eq!(marks(3), ["bc", "bc", ""]);
    host.stop().unwrap();
}

#[test]
fn a_record_that_waits_within_middleware_begins_anew_in_another_one() {
    let stage = Stage::new("chain-swap", 1);
    let patient = "retry.initial-ms = 3000\nretry.jitter = 0\n";
    deploy(&stage, "pass", &["a", "b"], patient);
    let host = stage.serve(&[]);
    stage.produce(&["1 once@b"]);
    wait_lines(&host, &["attempt failed", "middleware b: once"], 1);
    let quick = manifest(&stage, &["c"], "");
    stage.folder.swap_manifest(&stage.name, &quick).unwrap();
    let outputs = stage.outputs(&host, 1);
    assert_eq!(headers(&outputs[0]), [("c".to_owned(), "1".to_owned())]);
    // And of none where there is none any more.
    let slow = manifest(&stage, &["a", "b"], patient);
    stage.folder.swap_manifest(&stage.name, &slow).unwrap();
    wait_lines(&host, &["deployed"], 3);
    stage.produce(&["2 once@b"]);
    wait_lines(&host, &["attempt failed", "middleware b: once"], 2);
    let plain = manifest(&stage, &[], "component = \"handler.wasm\"\n");
    stage.folder.swap_manifest(&stage.name, &plain).unwrap();
    assert_eq!(headers(&stage.outputs(&host, 2)[1]), []);
    host.stop().unwrap();
}

#[test]
fn handlers_of_one_topic_have_their_middleware_in_common() {
    let stage = Stage::new("chain-common", 1);
    deploy(&stage, "pass", &["a"], "multi = \"all\"\n");
    let host = stage.serve(&[]);
    wait_lines(&host, &["deployed"], 1);
    let second = format!("{}-second", stage.name);
    let other = stage.manifest("multi = \"all\"\n");
    stage
        .folder
        .swap_in(&second, guest("pass"), &other)
        .unwrap();
    wait_lines(&host, &["and [[middleware]] differs"], 1);
    host.stop().unwrap();
}
