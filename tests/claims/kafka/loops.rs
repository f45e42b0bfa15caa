//! Handlers that feed each other: their records are counted on each round, and cut at the limit.
//!
//! It is handed one stage for each test; the topics that make up the circle keep every record that went round.
//! **Invariant:** a test ends only when the circle stands still, or it would have an end by chance.

use std::time::Duration;

use harness::host::command;
use harness::{Host, TestRecord, clients, guest};

use super::batches::BATCHES;
use super::stage::{Stage, count_lines, is, never, said, texts, value_on, verdict, wait_lines};

const HOPS: &str = "kafka-wasm-hops";
const ONCE: &str = "delivery = \"exactly-once\"\n";

/// What is logged of a circle.
const WARNING: &str = "feeds the handler again";

/// The counts of records, empty where there is none.
fn hops(records: &[TestRecord]) -> Vec<String> {
    let counts = records.iter().map(|record| record.header_text(HOPS));
    counts.map(Option::unwrap_or_default).collect()
}

/// A record for partition 0 with a count.
fn counted(value: &str, count: &str) -> TestRecord {
    value_on(0, value).header(HOPS, Some(count.as_bytes()))
}

/// Puts a handler of a group of its own beside that of the stage.
fn deploy_beside(stage: &Stage, name: &str, fixture: &str, (from, to): (&str, &str), more: &str) {
    let name = format!("{}-{name}", stage.name);
    let letters = format!("{name}.dead");
    stage.create_topic(&letters, 1);
    let manifest = format!(
        "topics = [\"{from}\"]\ngroup = \"{name}\"\ndead-letter-topic = \"{letters}\"\nconfig.output = \"{to}\"\n{more}\n"
    );
    stage
        .folder
        .swap_in(&name, guest(fixture), &manifest)
        .unwrap();
}

/// Deploys a handler that writes to its own input.
fn deploy_ring(stage: &Stage, fixture: &str, more: &str) {
    let manifest = ring(stage, more);
    stage
        .folder
        .swap_in(&stage.name, guest(fixture), &manifest)
        .unwrap();
}

fn ring(stage: &Stage, more: &str) -> String {
    stage.manifest(more).replace(&stage.output, &stage.input)
}

fn looped(host: &Host) -> f64 {
    host.metric("kafka_wasm_failures_total", &[("kind", "loop")])
        .unwrap()
}

#[test]
fn a_handler_that_feeds_itself_is_cut_at_the_limit() {
    for more in ["", ONCE, "ordering = \"key\"\n"] {
        // Both partitions see the circle, and one of them tells of it.
        let stage = Stage::new("ring", 2);
        deploy_ring(&stage, "label", &format!("{more}max-hops = 3"));
        let host = stage.serve(&[]);
        let records = (0..2).map(|n| TestRecord::new(format!("k{n}"), "a").on(n));
        stage.produce_records(records);
        let letters = stage.letters(&host, 2);
        assert_eq!(hops(&letters), ["4", "4"], "{more}");
        assert_eq!(verdict(&letters[0]), is("loop", "0"), "{more}");
        assert_eq!(
            said(&letters[0], "error"),
            format!(
                "handlers have passed the record on 4 times, and max-hops in handler.toml allows 3: they feed each other, \
                 or it is too small (it came by {})",
                stage.input
            )
        );
        let mut rounds = hops(&stage.exactly(&stage.input, &host, 10));
        rounds.sort_unstable();
        assert_eq!(rounds, ["", "", "1", "1", "2", "2", "3", "3", "4", "4"]);
        assert_eq!(looped(&host), 2.0, "{more}");
        assert_eq!(count_lines(&host, &[WARNING]), 1, "{}", host.tail());
        let way = format!("way=\"{0} > {0}\"", stage.name);
        assert_eq!(
            count_lines(&host, &[WARNING, &way, "max_hops=3"]),
            1,
            "{}",
            host.tail()
        );
        host.stop().unwrap();
    }
}

#[test]
fn two_handlers_that_feed_each_other_are_cut_at_the_limit() {
    let stage = Stage::new("pair", 1);
    let middle = format!("{}.middle", stage.name);
    stage.create_topic(&middle, 1);
    let manifest = stage
        .manifest("max-hops = 5")
        .replace(&stage.output, &middle);
    stage
        .folder
        .swap_in(&stage.name, guest("pass"), &manifest)
        .unwrap();
    // It sends the headers on that it was handed, the count among them.
    deploy_beside(
        &stage,
        "back",
        "pass",
        (&middle, &stage.input),
        "max-hops = 5",
    );
    let host = stage.serve(&[]);
    stage.produce_records([value_on(0, "a").header("trace", Some(b"7"))]);
    let letter = stage.letter(&host);
    assert_eq!(verdict(&letter), is("loop", "0"));
    assert_eq!(
        (letter.header_text("trace"), letter.header_text(HOPS)),
        (Some("7".into()), Some("6".into()))
    );
    let counts = letter
        .headers
        .as_ref()
        .unwrap()
        .iter()
        .filter(|(name, _)| name == HOPS)
        .count();
    assert_eq!(counts, 1, "{letter:?}");
    assert_eq!(
        hops(&stage.exactly(&stage.input, &host, 4)),
        ["", "2", "4", "6"]
    );
    assert_eq!(hops(&stage.exactly(&middle, &host, 3)), ["1", "3", "5"]);
    assert_eq!(count_lines(&host, &[WARNING]), 1, "{}", host.tail());
    assert_eq!(
        count_lines(
            &host,
            &[WARNING, &format!("{0}-back > {0} > {0}-back", stage.name)]
        ),
        1,
        "{}",
        host.tail()
    );
    host.stop().unwrap();
}

#[test]
fn a_chain_of_handlers_below_the_limit_goes_through() {
    let stage = Stage::new("chain", 1);
    let topics = ["one", "two"].map(|name| format!("{}.{name}", stage.name));
    for topic in &topics {
        stage.create_topic(topic, 1);
    }
    let manifest = stage
        .manifest("max-hops = 1")
        .replace(&stage.output, &topics[0]);
    stage
        .folder
        .swap_in(&stage.name, guest("pass"), &manifest)
        .unwrap();
    deploy_beside(
        &stage,
        "two",
        "label",
        (&topics[0], &topics[1]),
        "max-hops = 1",
    );
    deploy_beside(
        &stage,
        "three",
        "label",
        (&topics[1], &stage.output),
        "max-hops = 2",
    );
    let host = stage.serve(&[]);
    // What is no count is one of nothing.
    stage.produce_records([value_on(0, "a"), counted("b", "-1"), counted("c", "")]);
    let outputs = stage.outputs(&host, 3);
    assert_eq!(texts(&outputs), ["a", "b", "c"]);
    // Nobody here reads the last topic, but somebody else may.
    assert_eq!(hops(&outputs), ["3", "3", "3"]);
    assert_eq!(hops(&stage.read(&topics[0])), ["1", "1", "1"]);
    assert_eq!(looped(&host), 0.0);
    assert_eq!(count_lines(&host, &[WARNING]), 0, "{}", host.tail());
    host.stop().unwrap();
}

#[test]
fn what_nobody_reads_here_goes_as_it_is() {
    let stage = Stage::new("unread", 1);
    let host = stage.run("label", "");
    let forged = "9".repeat(40);
    stage.produce_records([value_on(0, "a"), counted("b", "4"), counted("c", &forged)]);
    let outputs = stage.outputs(&host, 2);
    assert_eq!(hops(&outputs), ["", "5"]);
    let letter = stage.letter(&host);
    assert_eq!(
        (letter.text(), verdict(&letter)),
        ("c".into(), is("loop", "0"))
    );
    assert_eq!(letter.header_text(HOPS), Some(forged));
    stage.committed(&host, &[(0, 3)]);
    host.stop().unwrap();
}

#[test]
fn a_batch_goes_on_without_the_records_that_are_cut() {
    for more in ["", ONCE] {
        let stage = Stage::new("bulk-loop", 1);
        let far = |value: &str| counted(value, "4");
        stage.produce_records([
            far("a"),
            value_on(0, "b"),
            far("c"),
            far("d"),
            counted("e", "3"),
        ]);
        let host = stage.run(
            "bulk",
            &format!("{more}{BATCHES}max-hops = 3\nconfig.dump = 1"),
        );
        let letters = stage.letters(&host, 3);
        assert_eq!(texts(&letters), ["a", "c", "d"], "{more}");
        assert_eq!(verdict(&letters[2]), is("loop", "0"));
        stage.committed(&host, &[(0, 5)]);
        let outputs = stage.outputs(&host, 2);
        assert_eq!(hops(&outputs), ["", "4"]);
        host.stop().unwrap();
    }
}

#[test]
fn a_batch_that_feeds_itself_is_cut_at_the_limit() {
    let stage = Stage::new("bulk-ring", 1);
    deploy_ring(&stage, "bulk", &format!("{BATCHES}max-hops = 2"));
    let host = stage.serve(&[]);
    // Summaries go round as records of their own; the largest count of a batch goes on.
    stage.produce_records([value_on(0, "a"), counted("b", "1")]);
    let letter = stage.letter(&host);
    assert_eq!(verdict(&letter), is("loop", "0"));
    assert_eq!(letter.header_text(HOPS), Some("3".into()));
    let rounds = hops(&stage.exactly(&stage.input, &host, 4));
    assert_eq!(rounds, ["", "1", "2", "3"]);
    host.stop().unwrap();
}

#[test]
fn a_record_that_is_cut_ends_as_the_manifest_says() {
    let stage = Stage::new("cut-ends", 1);
    let skips = "on-exhausted = \"skip\"\nmax-hops = 1";
    let host = stage.run("label", skips);
    stage.produce_records([counted("a", "2"), value_on(0, "b")]);
    assert_eq!(texts(&stage.outputs(&host, 1)), ["b"]);
    stage.committed(&host, &[(0, 2)]);
    let change = |keys: &str| {
        let manifest = stage.manifest(keys);
        stage.folder.swap_manifest(&stage.name, &manifest).unwrap();
    };
    change("on-exhausted = \"halt\"\nmax-hops = 1");
    wait_lines(&host, &["deployed"], 2);
    stage.produce_records([counted("c", "2")]);
    wait_lines(&host, &["the partition is halted", "max-hops"], 1);
    // Until it may come as far.
    change("max-hops = 2");
    assert_eq!(texts(&stage.outputs(&host, 2)), ["b", "c"]);
    stage.committed(&host, &[(0, 3)]);
    host.stop().unwrap();
}

#[test]
fn a_retry_keeps_the_count_and_a_replay_of_what_was_cut_begins_anew() {
    let stage = Stage::new("replayed-loop", 1);
    let keys = "max-hops = 3\nretry.max-attempts = 3\nretry.initial-ms = 10\n";
    let host = stage.run("act", keys);
    let topic = format!("{}.replay", stage.name);
    stage.create_topic(&topic, 1);
    stage.produce_records([
        counted("flaky 2", "3"),
        counted("reject it", "2"),
        counted("ok", "4"),
    ]);
    assert_eq!(hops(&stage.outputs(&host, 1)), ["4"]);
    let letters = stage.letters(&host, 2);
    let kinds: Vec<String> = letters
        .iter()
        .map(|letter| said(letter, "error-kind"))
        .collect();
    assert_eq!(kinds, ["reject", "loop"]);
    let mut replay = command("dead-letter").unwrap();
    let output = replay
        .args([
            "replay",
            &stage.name,
            "--brokers",
            &stage.bootstrap,
            "--handlers",
        ])
        .arg(stage.folder.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(hops(&stage.exactly(&topic, &host, 2)), ["2", ""]);
    assert_eq!(hops(&stage.outputs(&host, 2)), ["4", ""]);
    assert_eq!(hops(&stage.letters(&host, 3)), ["2", "4", "2"]);
    host.stop().unwrap();
}

#[test]
fn dead_letters_that_feed_each_other_are_told_when_deployed_and_come_to_an_end() {
    let stage = Stage::new("letter-ring", 1);
    let name = format!("{}-back", stage.name);
    // Each reads the dead letters of the other one.
    let other = format!(
        "topics = [\"{}\"]\ngroup = \"{name}\"\ndead-letter-topic = \"{}\"\nmax-hops = 4\n",
        stage.dead_letters, stage.input
    );
    stage.folder.swap_in(&name, guest("error"), &other).unwrap();
    stage.deploy("error", "max-hops = 4\nretry.max-attempts = 1");
    let host = stage.serve(&[]);
    wait_lines(&host, &["the manifest has records written", WARNING], 1);
    stage.produce(&["no"]);
    wait_lines(&host, &["the partition is halted", "go round for ever"], 1);
    let first = stage.read(&stage.input);
    let last = first
        .last()
        .and_then(|record| record.headers.clone())
        .unwrap();
    assert_eq!(
        last.last(),
        Some(&(HOPS.to_owned(), Some(b"6".to_vec()))),
        "{last:?}"
    );
    never("another round", Duration::from_secs(2), || {
        clients::end_offsets(&stage.bootstrap, &stage.input).unwrap()[0].1 > first.len() as i64
    });
    host.stop().unwrap();
}

/// Sees that the circle of two stages stands still, halted for what it is.
fn comes_to_an_end(stage: &Stage, host: &Host) {
    wait_lines(host, &["the partition is halted", "go round for ever"], 1);
    let count = || -> i64 {
        let topics = [&stage.input, &stage.dead_letters];
        let ends = topics.map(|topic| clients::end_offsets(&stage.bootstrap, topic).unwrap()[0].1);
        ends.into_iter().sum()
    };
    let first = count();
    never("another round", Duration::from_secs(2), || count() > first);
}

#[test]
fn dead_letters_of_middleware_that_feed_each_other_come_to_an_end() {
    let stage = Stage::new("letter-middle", 1);
    let other = format!("{}-back", stage.name);
    let middleware =
        "[[middleware]]\ncomponent = \"middleware.wasm\"\nname = \"a\"\nconfig.name = \"a\"\n";
    let back = format!(
        "topics = [\"{}\"]\ngroup = \"{other}\"\ndead-letter-topic = \"{}\"\nmax-hops = 4\n{middleware}",
        stage.dead_letters, stage.input
    );
    let own = format!("{}{middleware}", stage.manifest("max-hops = 4"));
    for (name, manifest) in [(&other, back), (&stage.name, own)] {
        let component = guest("middleware");
        stage
            .folder
            .swap_beside(name, "middleware.wasm", component)
            .unwrap();
        stage
            .folder
            .handler(name, guest("pass"), &manifest)
            .unwrap();
    }
    let host = stage.serve(&[]);
    stage.produce(&["reject@a"]);
    comes_to_an_end(&stage, &host);
    host.stop().unwrap();
}

#[test]
fn parked_keys_that_feed_each_other_come_to_an_end() {
    let stage = Stage::new("letter-parked", 1);
    let name = format!("{}-back", stage.name);
    let keys =
        "max-hops = 4\nordering = \"key\"\non-exhausted = \"park\"\nretry.max-attempts = 1\n";
    let other = format!(
        "topics = [\"{}\"]\ngroup = \"{name}\"\ndead-letter-topic = \"{}\"\n{keys}",
        stage.dead_letters, stage.input
    );
    stage.folder.swap_in(&name, guest("act"), &other).unwrap();
    stage.deploy("act", keys);
    let host = stage.serve(&[]);
    stage.produce_records([TestRecord::new("k", "other no").on(0)]);
    comes_to_an_end(&stage, &host);
    host.stop().unwrap();
}

#[test]
fn a_request_bears_the_next_count() {
    let stage = Stage::new("asked-loop", 1);
    let questions = format!("{}.questions", stage.name);
    stage.create_topic(&questions, 1);
    let answers = format!("{}.answers", stage.name);
    stage.create_topic(&answers, 1);
    let host = stage.run("act", &format!("response = [{{ topic = \"{answers}\" }}]"));
    let deed = format!("ask {questions} 100 who");
    stage.produce_records([value_on(0, &deed), counted(&deed, "6")]);
    stage.outputs(&host, 2);
    assert_eq!(hops(&stage.exactly(&questions, &host, 2)), ["1", "7"]);
    host.stop().unwrap();
}
