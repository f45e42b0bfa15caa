//! The replay of parked keys: each in its order, while records arrive, hosts die and commands are interrupted.

use std::io::Read as _;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use harness::{Host, TestRecord, clients, guest, wait_until};

use super::super::stage::{PATIENCE, Stage, count_lines, field, texts, verdict, wait_lines};
use super::{PARK, dead_letter, letters_command, parked_keys, stage, values};

/// What one of two replays at once says when it gives way.
const GIVES_WAY: [&str; 2] = [
    "another replay of the group has begun and taken over",
    "is no longer held for this replay, since it was not asked for in time or another replay has begun",
];

fn with_deadline(ms: u32) -> String {
    format!("{PARK}limits.deadline-ms = {ms}\n")
}

/// Has the handler served with another deadline.
fn redeploy(stage: &Stage, deadline_ms: u32) {
    let manifest = stage.manifest(&with_deadline(deadline_ms));
    stage.folder.swap_manifest(&stage.name, &manifest).unwrap();
}

/// A command that is killed at the end of the test at the latest.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Begins to replay the key `k`, and waits until the host holds it.
fn replay_held(stage: &Stage, host: &mut Host) -> Running {
    let mut command = letters_command(stage, &["replay", &stage.name, "--key", "k"]);
    let running = Running(
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    host.wait_for_line("key held", PATIENCE).unwrap();
    running
}

/// How many records a topic of one partition holds.
fn count_of(stage: &Stage, topic: &str) -> i64 {
    let ends = clients::end_offsets(&stage.bootstrap, topic).unwrap();
    ends.iter().map(|(_, end)| end).sum()
}

#[test]
fn a_replayed_key_is_handled_in_order_and_once_while_new_records_arrive() {
    replays_while_fed("parked-replayed", PARK);
}

#[test]
fn a_key_is_parked_and_replayed_in_transactions() {
    let exactly_once = format!("{PARK}delivery = \"exactly-once\"\n");
    replays_while_fed("parked-once", &exactly_once);
}

fn replays_while_fed(name: &str, manifest: &str) {
    let stage = stage(name, 3);
    let host = stage.run("act", manifest);
    let stop = Arc::new(AtomicBool::new(false));
    let feed = {
        let (at, topic, stopped) = (
            stage.bootstrap.clone(),
            stage.input.clone(),
            Arc::clone(&stop),
        );
        let records = (0u32..).map_while(move |n| {
            thread::sleep(Duration::from_millis(3));
            let deed = if n == 0 { "other" } else { "ok" };
            (!stopped.load(Ordering::Relaxed)).then(|| TestRecord::new("k", format!("{deed} {n}")))
        });
        thread::spawn(move || clients::produce_records(&at, &topic, records).unwrap())
    };
    // Counted by the end: who reads a topic that is written to all the time may never come to it.
    let wait_for = |what: &str, topic: &str, count: i64| {
        let waited = wait_until(what, PATIENCE, || count_of(&stage, topic) > count);
        waited.unwrap_or_else(|error| panic!("{error}\n{}", host.tail()));
    };
    wait_for("parked records", &stage.dead_letters, 200);
    stage
        .folder
        .swap_component(&stage.name, guest("pass"))
        .unwrap();
    wait_lines(&host, &["deployed"], 2);
    let (code, printed) = dead_letter(&stage, &["replay", &stage.name, "--key", "k"]);
    assert_eq!(code, Some(0), "{printed}\n{}", host.tail());
    assert!(printed.contains("and unparked it"), "{printed}");
    // The feed goes on for a while.
    let so_far = count_of(&stage, &stage.output);
    wait_for("more outputs", &stage.output, so_far + 100);
    stop.store(true, Ordering::Relaxed);
    let fed = usize::try_from(feed.join().unwrap()).unwrap();
    let outputs = texts(&stage.outputs(&host, fed));
    let expected: Vec<String> = (0..fed)
        .map(|n| format!("{} {n}", if n == 0 { "other" } else { "ok" }))
        .collect();
    let wrong = outputs
        .iter()
        .zip(&expected)
        .find(|(found, expected)| found != expected);
    assert_eq!(wrong, None, "found, expected");
    parked_keys(&host, 0.0);
    let (_, listed) = dead_letter(&stage, &["list", &stage.name, "--parked"]);
    assert_eq!(listed, "0 parked keys\n");
    host.stop().unwrap();
}

#[test]
fn a_replay_that_fails_again_lets_nothing_overtake_the_failure() {
    let stage = stage("parked-again", 1);
    let host = stage.run("act", &with_deadline(100));
    let all = ["sleep 250", "ok 1", "sleep 700", "ok 3"];
    stage.produce_records(all.map(|value| TestRecord::new("k", value)));
    stage.letters(&host, 4);
    let replay = || dead_letter(&stage, &["replay", &stage.name, "--parked"]);
    // The first fails again, and the others follow it once more.
    let (code, printed) = replay();
    assert_eq!(code, Some(1), "{printed}\n{}", host.tail());
    assert!(
        printed.contains("failed again at offset 0 (deadline): it stays parked"),
        "{printed}"
    );
    let letters = stage.letters(&host, 8);
    assert_eq!(texts(&letters[4..]), all);
    assert_eq!(verdict(&letters[5]).0, "parked");
    // The third fails again.
    redeploy(&stage, 450);
    wait_lines(&host, &["deployed"], 2);
    let (code, printed) = replay();
    assert_eq!(code, Some(1), "{printed}\n{}", host.tail());
    assert!(printed.contains("failed again at offset 2"), "{printed}");
    assert_eq!(values(&stage.outputs(&host, 2)), all[..2]);
    // What arrives meanwhile follows as before.
    stage.produce_records([TestRecord::new("k", "ok 4")]);
    stage.letters(&host, 11);
    redeploy(&stage, 5000);
    wait_lines(&host, &["deployed"], 3);
    let (code, printed) = replay();
    assert_eq!(code, Some(0), "{printed}\n{}", host.tail());
    stage.produce_records([TestRecord::new("k", "ok 5")]);
    let expected = ["sleep 250", "ok 1", "sleep 700", "ok 3", "ok 4", "ok 5"];
    assert_eq!(values(&stage.outputs(&host, 6)), expected);
    host.stop().unwrap();
}

#[test]
fn an_interrupted_replay_leaves_the_key_parked() {
    let stage = stage("parked-interrupted", 1);
    let mut host = stage.run("act", &with_deadline(100));
    stage.produce_records(["sleep 6000", "ok 1"].map(|value| TestRecord::new("k", value)));
    stage.letters(&host, 2);
    redeploy(&stage, 30_000);
    wait_lines(&host, &["deployed"], 2);
    let running = replay_held(&stage, &mut host);
    let topic = format!("{}.replay", stage.name);
    clients::consume_until(&stage.bootstrap, &topic, 2, PATIENCE).unwrap();
    stage.produce_records([TestRecord::new("k", "ok 2"), TestRecord::new("other", "ok")]);
    drop(running);
    // It waits as long as the hold lasts, and then follows its key.
    host.wait_for_line("the replay of the key has ended", PATIENCE)
        .unwrap();
    assert_eq!(
        texts(&stage.letters(&host, 3)),
        ["sleep 6000", "ok 1", "ok 2"]
    );
    let outputs = values(&stage.outputs(&host, 3));
    assert_eq!(
        outputs,
        ["ok", "sleep 6000", "ok 1"],
        "what was replayed is handled"
    );
    let (code, printed) = dead_letter(&stage, &["replay", &stage.name, "--key", "k"]);
    assert_eq!(code, Some(0), "{printed}\n{}", host.tail());
    assert!(
        printed.contains("replayed 1 letter of key k of "),
        "{printed}"
    );
    assert_eq!(values(&stage.outputs(&host, 4))[3], "ok 2");
    host.stop().unwrap();
}

#[test]
fn a_held_key_stays_held_when_its_partition_gets_another_host() {
    let stage = stage("parked-held", 1);
    let mut host = stage.run("act", &with_deadline(100));
    stage.produce_records(["sleep 5000", "ok 1"].map(|value| TestRecord::new("k", value)));
    stage.letters(&host, 2);
    redeploy(&stage, 30_000);
    wait_lines(&host, &["deployed"], 2);
    let mut running = replay_held(&stage, &mut host);
    stage.produce_records([TestRecord::new("k", "ok 2")]);
    host.kill9();
    let host = stage.serve(&[]);
    let ended = wait_until("the end of the replay", Duration::from_secs(60), || {
        running.0.try_wait().unwrap().is_some()
    });
    ended.unwrap_or_else(|error| panic!("{error}\n{}", host.tail()));
    assert_eq!(running.0.wait().unwrap().code(), Some(0), "{}", host.tail());
    assert_eq!(
        values(&stage.outputs(&host, 3)),
        ["sleep 5000", "ok 1", "ok 2"]
    );
    stage.letters(&host, 2);
    host.stop().unwrap();
}

#[test]
fn keys_are_replayed_across_two_hosts_that_share_the_partitions() {
    let stage = stage("parked-shared", 2);
    let mut first = stage.run("act", &with_deadline(100));
    first
        .wait_for_line("partitions assigned", PATIENCE)
        .unwrap();
    let mut second = stage.serve(&[]);
    second
        .wait_for_line("partitions assigned", PATIENCE)
        .unwrap();
    let both = |value: &str| {
        [0, 1].map(|partition| TestRecord::new(format!("k-{partition}"), value).on(partition))
    };
    let all = ["sleep 250", "ok 1", "ok 2"];
    for value in all {
        stage.produce_records(both(value));
    }
    stage.letters(&first, 6);
    redeploy(&stage, 5000);
    wait_lines(&first, &["deployed"], 2);
    wait_lines(&second, &["deployed"], 2);
    let (code, printed) = dead_letter(&stage, &["replay", &stage.name, "--parked"]);
    assert_eq!(
        code,
        Some(0),
        "{printed}\n{}\n{}",
        first.tail(),
        second.tail()
    );
    stage.produce_records(both("ok 3"));
    let outputs = stage.outputs(&second, 8);
    for key in ["k-0", "k-1"] {
        let of = outputs.iter().filter(|it| it.key_text() == key).cloned();
        let of = values(&of.collect::<Vec<_>>());
        assert_eq!(of, ["sleep 250", "ok 1", "ok 2", "ok 3"], "{key}");
    }
    first.stop().unwrap();
    second.stop().unwrap();
}

#[test]
fn a_key_whose_first_letter_is_gone_is_replayed_only_when_told_so() {
    let stage = stage("parked-gap", 1);
    let host = stage.run("act", PARK);
    stage.produce_records([TestRecord::new("k", "other no")]);
    stage.letters(&host, 1);
    parked_keys(&host, 1.0);
    let (code, printed) = dead_letter(&stage, &["purge", &stage.name, "--all", "--yes"]);
    assert_eq!(code, Some(0), "{printed}");
    stage.produce_records([TestRecord::new("k", "ok 1")]);
    let followed = wait_until("the record that follows", PATIENCE, || {
        count_of(&stage, &stage.dead_letters) == 2
    });
    followed.unwrap();

    let replay = ["replay", &stage.name, "--key", "k"];
    let (code, printed) = dead_letter(&stage, &replay);
    assert_eq!(code, Some(1), "{printed}");
    let why = format!(
        "failed first at offset 0, and that dead letter is no longer in {}",
        stage.dead_letters
    );
    assert!(
        printed.contains(&why) && printed.contains("--despite-gap"),
        "{printed}"
    );
    assert!(stage.read(&stage.output).is_empty());
    parked_keys(&host, 1.0);

    let (code, printed) = dead_letter(&stage, &[replay.as_slice(), &["--despite-gap"]].concat());
    assert_eq!(code, Some(0), "{printed}");
    assert_eq!(field(&stage.outputs(&host, 1)[0], "value"), "ok 1");
    parked_keys(&host, 0.0);
    host.stop().unwrap();
}

/// How far the first of two replays is when the second begins.
#[derive(Debug, Clone, Copy)]
enum Far {
    /// Nowhere.
    Begun,
    /// The host holds the key.
    Held,
    /// The letters are written, and the handler is at the first.
    Written,
}

#[test]
fn of_two_replays_of_a_key_at_once_one_may_give_way_and_nothing_is_lost_or_repeated() {
    let stage = stage("parked-twice", 1);
    let host = stage.run("act", &with_deadline(100));
    let mut expected = Vec::new();
    for (round, far) in [Far::Begun, Far::Held, Far::Written]
        .into_iter()
        .enumerate()
    {
        let first = format!("sleep 400 #{round}");
        let others = (1..20).map(|n| format!("ok {round}-{n}"));
        let all: Vec<String> = std::iter::once(first).chain(others).collect();
        stage.produce_records(all.iter().map(|value| TestRecord::new("k", value.as_str())));
        expected.extend(all);
        stage.letters(&host, 20 * (round + 1));
        redeploy(&stage, 5000);
        wait_lines(&host, &["deployed"], 2 * round + 2);
        replay_twice(&stage, &host, far);
        // Nothing that comes later overtakes what was replayed.
        expected.push(format!("ok {round}-later"));
        stage.produce_records([TestRecord::new("k", expected[expected.len() - 1].as_str())]);
        let outputs = values(&stage.outputs(&host, expected.len()));
        assert_eq!(outputs, expected, "{far:?}");
        parked_keys(&host, 0.0);
        redeploy(&stage, 100);
        wait_lines(&host, &["deployed"], 2 * round + 3);
    }
    host.stop().unwrap();
}

/// Has the key replayed by two commands at once; one at least ends well, and the other so or with the reason.
fn replay_twice(stage: &Stage, host: &Host, far: Far) {
    let topic = format!("{}.replay", stage.name);
    let (held, before) = (count_lines(host, &["key held"]), stage.read(&topic).len());
    let begin = || {
        let mut command = letters_command(stage, &["replay", &stage.name, "--key", "k"]);
        let command = command.stdout(Stdio::null()).stderr(Stdio::piped());
        Running(command.spawn().unwrap())
    };
    let first = begin();
    match far {
        Far::Begun => {}
        Far::Held => wait_lines(host, &["key held"], held + 1),
        Far::Written => {
            let written = wait_until("the letters", PATIENCE, || {
                stage.read(&topic).len() >= before + 20
            });
            written.unwrap_or_else(|error| panic!("{error}\n{}", host.tail()));
        }
    }
    let ended = [first, begin()].map(|mut command| {
        let mut printed = String::new();
        let mut told = command.0.stderr.take().unwrap();
        told.read_to_string(&mut printed).unwrap();
        (command.0.wait().unwrap().code(), printed)
    });
    let is_well = |(code, printed): &&(Option<i32>, String)| {
        *code == Some(0) || GIVES_WAY.iter().any(|why| printed.contains(why))
    };
    assert_eq!(
        ended.iter().filter(is_well).count(),
        2,
        "{far:?}: {ended:?}"
    );
    let unparked = ended.iter().any(|(code, _)| *code == Some(0));
    assert!(unparked, "{far:?}: {ended:?}\n{}", host.tail());
}

#[test]
fn a_key_that_was_parked_by_a_loop_needs_one_replay() {
    let stage = stage("parked-loop", 1);
    let host = stage.run("act", &format!("{PARK}max-hops = 3\n"));
    let far = |value: &str| TestRecord::new("k", value).header("kafka-wasm-hops", Some(b"4"));
    stage.produce_records(["ok 1", "ok 2", "ok 3"].map(far));
    assert_eq!(verdict(&stage.letters(&host, 3)[0]).0, "loop");
    let (code, printed) = dead_letter(&stage, &["replay", &stage.name, "--key", "k"]);
    assert_eq!(code, Some(0), "{printed}\n{}", host.tail());
    assert_eq!(values(&stage.outputs(&host, 3)), ["ok 1", "ok 2", "ok 3"]);
    parked_keys(&host, 0.0);
    host.stop().unwrap();
}

#[test]
fn a_key_is_replayed_while_a_refused_output_holds_its_partition() {
    let stage = stage("parked-mending", 1);
    let late = format!("{}.late", stage.name);
    let keys = "max-hops = 3\npublish.retry.attempts = 300\npublish.retry.backoff = \"fixed\"\n\
                publish.retry.delay-ms = 200\n";
    stage.deploy("act", &format!("{PARK}{keys}"));
    let host = stage.serve(&[
        "--kafka-setting",
        "topic.metadata.propagation.max.ms=300",
        "--kafka-setting",
        "topic.metadata.refresh.interval.ms=300",
    ]);
    let far = TestRecord::new("k", "ok 1").header("kafka-wasm-hops", Some(b"4"));
    stage.produce_records([far]);
    stage.letters(&host, 1);
    stage.produce_records([TestRecord::new("m", format!("emit-to {late}"))]);
    wait_lines(&host, &["kafka refused outputs"], 1);
    let (code, printed) = dead_letter(&stage, &["replay", &stage.name, "--key", "k"]);
    assert_eq!(code, Some(0), "{printed}\n{}", host.tail());
    parked_keys(&host, 0.0);
    assert_eq!(count_of(&stage, &stage.input), 2);
    stage.create_topic(&late, 1);
    stage.exactly(&late, &host, 1);
    stage.committed(&host, &[(0, 2)]);
    host.stop().unwrap();
}
