//! The command `dead-letter`: what it shows, what it writes and what it deletes.
//!
//! Letters come from a host where it matters how they came to be; else they are written as a host would.
//! **Invariant:** what a claim expects of a topic is all that the topic holds.

mod post;
mod purge;
mod replay;

use std::time::Duration;

use serde_json::Value;

use self::post::{Post, letter};
use super::stage::{Stage, TWICE, said, value_on, without_rights};
use crate::answer::Answer;
use harness::TestRecord;
use harness::host::command;
use tokio::time::Instant;

#[test]
fn dead_letters_are_listed_with_where_they_came_from_and_why() {
    let stage = Stage::new("listed", 2);
    stage.produce_records([
        value_on(1, "ok"),
        TestRecord::new("k-17", "reject not today\nsecond line").on(1),
    ]);
    let host = stage.run("act", TWICE);
    stage.letters(&host, 1);
    // One after the other, so that their order is known.
    stage.produce_on(0, &["other \u{1b}[31mred"]);
    let written = stage.letters(&host, 2);
    host.stop().unwrap();

    let post = Post::of_stage(stage);
    let name = &post.name;
    let listed = post.run(&["list", name]);
    assert_eq!(listed.code, 0, "{}", listed.stderr);
    let rows = listed.rows();
    let time = |n: usize| said(&written[n], "time");
    let source = |partition, offset| format!("{name}.in[{partition}]@{offset}");
    let handler = format!("default/{name}");
    assert_eq!(
        rows[0],
        [
            "0@0",
            &source(1, 1),
            &handler,
            "reject",
            "1 attempt",
            &time(0),
            "-",
            "not today…"
        ]
    );
    assert_eq!(
        rows[1],
        [
            "0@1",
            &source(0, 0),
            &handler,
            "other",
            "2 attempts",
            &time(1),
            "-",
            "\\u{1b}[31mred"
        ]
    );
    let counts = |lines: &[&str]| lines.join("\n") + "\n";
    let (rejects, others) = (
        format!("  {handler}  reject  1"),
        format!("  {handler}  other  1"),
    );
    assert_eq!(
        post.run(&["list", name, "--count"]).stdout,
        counts(&["2 letters", &rejects, &others])
    );
    let one = post.run(&["list", name, "--key", "k-17", "--count"]);
    assert_eq!(one.stdout, counts(&["1 letter", &rejects]));

    let json = post.run(&["list", "--topic", &post.topic, "--json"]).json();
    assert_eq!(json.len(), 2);
    assert_eq!(json[0]["offset"], 0);
    assert_eq!(json[0]["key"], "k-17");
    assert_eq!(json[0]["dead-letter"]["error"], "not today\nsecond line");
    // Without a group nobody knows.
    assert_eq!(json[0]["replayed"], Value::Null);
}

#[test]
fn each_flag_chooses_letters_and_unknown_ones_are_refused() {
    let post = Post::new("chosen", 1);
    post.write(&[
        letter(&post.handler(), 0, "reject", "a"),
        letter(&post.handler(), 1, "trap", "b"),
        letter(&post.handler(), 2, "reject", "b"),
        letter(&post.handler(), 3, "deadline", "c"),
    ]);
    let chosen = |flags: &[&str]| -> Vec<i64> {
        let mut args = vec!["list", post.name.as_str(), "--json"];
        args.extend(flags);
        let answer = post.run(&args);
        assert_eq!(answer.code, 0, "{flags:?}: {}", answer.stderr);
        answer
            .json()
            .iter()
            .map(|letter| letter["offset"].as_i64().unwrap())
            .collect()
    };
    assert_eq!(chosen(&[]), [0, 1, 2, 3]);
    assert_eq!(chosen(&["--key", "b"]), [1, 2]);
    assert_eq!(chosen(&["--kind", "reject"]), [0, 2]);
    assert_eq!(chosen(&["--kind", "reject", "--kind", "trap"]), [0, 1, 2]);
    assert_eq!(chosen(&["--kind", "reject", "--key", "b"]), [2]);
    // The letter with the number n was given up n minutes after the first.
    assert_eq!(chosen(&["--since", "2018-01-31T02:02:00Z"]), [2, 3]);
    assert_eq!(chosen(&["--until", "2018-01-31T03:02:00+01:00"]), [0, 1]);
    assert_eq!(chosen(&["--since", "2h"]), [] as [i64; 0]);
    assert_eq!(chosen(&["--until", "2h", "--limit", "3"]), [0, 1, 2]);
    assert_eq!(chosen(&["--at", "0@3", "--at", "0@1"]), [1, 3]);
    assert_eq!(
        chosen(&["--from-topic", "orders", "--from-partition", "7"]),
        [0, 1, 2, 3]
    );
    assert_eq!(
        chosen(&["--from-partition", "7", "--from-offsets", "1002-"]),
        [2, 3]
    );
    assert_eq!(chosen(&["--from-topic", "bills"]), [] as [i64; 0]);

    for (flags, told) in [
        (
            ["--kind", "tarp"],
            "[possible values: retry, reject, other, trap, deadline, memory, emit, parked, unmatched, loop]",
        ),
        (
            ["--since", "soon"],
            "expected a time such as 2026-01-31T00:00:00Z, or -2h",
        ),
        (["--at", "17"], "expected PARTITION@OFFSET, such as 0@17"),
        (["--colour", "red"], "unexpected argument '--colour'"),
        (["--from-offsets", "1-2"], "--from-partition <N>"),
    ] {
        let answer = post.run(&["list", &post.name, flags[0], flags[1]]);
        assert_eq!(answer.code, 64, "{flags:?}");
        assert!(answer.stderr.contains(told), "{}", answer.stderr);
    }
}

#[test]
fn a_letter_is_shown_whole() {
    let post = Post::new("shown", 2);
    let mut odd = letter(&post.handler(), 5, "trap", "k").on(1);
    odd.value = Some(vec![0xff, 0]);
    odd.headers
        .as_mut()
        .unwrap()
        .insert(0, ("trace".to_owned(), Some(b"7f".to_vec())));
    post.write(&[odd]);
    let shown = post.run(&["show", &post.name, "1@0"]);
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    let time = "2018-01-31T02:05:00.000Z";
    let expected = [
        format!("place        {}[1]@0", post.topic),
        "record of    orders[7]@1005".to_owned(),
        "timestamp    2018-01-31T02:00:31.800Z".to_owned(),
        format!("handler      default/{}, revision 0123456789ab", post.name),
        "attempts     3".to_owned(),
        format!("given up     {time}"),
        "replayed     no".to_owned(),
        "kind         trap".to_owned(),
        "error        error 5".to_owned(),
        "             more of it".to_owned(),
        "header       trace: 7f".to_owned(),
        "header       own: 5".to_owned(),
        "key          k".to_owned(),
        "value        (base64) /wA=".to_owned(),
    ];
    assert_eq!(shown.stdout.lines().collect::<Vec<_>>(), expected);

    let json = post
        .run(&["show", "--topic", &post.topic, "1@0", "--json"])
        .json()
        .remove(0);
    assert_eq!(json["value-base64"], "/wA=");
    assert_eq!(
        json["headers"],
        serde_json::json!({"trace": "7f", "own": "5"})
    );
    assert_eq!(json["dead-letter"]["time"], time);

    let missing = post.run(&["show", &post.name, "1@1"]);
    assert_eq!(missing.code, 1);
    assert!(
        missing
            .stderr
            .contains("has no letter at 1@1: the partition holds offsets 0 to 0"),
        "{}",
        missing.stderr
    );
    let missing = post.run(&["show", &post.name, "2@0"]);
    assert!(
        missing.stderr.contains("has no partition 2, only 0 to 1"),
        "{}",
        missing.stderr
    );
}

#[test]
fn letters_of_several_handlers_share_a_topic_and_are_told_apart() {
    let post = Post::new("shared-topic", 1);
    let (mine, other) = (post.handler(), "acme/other".to_owned());
    post.write(&[
        letter(&mine, 0, "trap", "a"),
        letter(&other, 1, "trap", "b"),
        TestRecord::new("no", "letter"),
        letter(&mine, 3, "reject", "c"),
    ]);
    let listed = post.run(&["list", "--topic", &post.topic, "--count"]);
    assert_eq!(
        listed.stdout,
        format!("3 letters\n  acme/other  trap  1\n  {mine}  reject  1\n  {mine}  trap  1\n")
    );
    let told = "1 record is no dead letter, 0@2: it has no header dead-letter.topic";
    assert!(listed.stderr.contains(told), "{}", listed.stderr);
    let others = post
        .run(&["list", "acme/other", "--topic", &post.topic, "--json"])
        .json();
    assert_eq!(others.len(), 1);

    let replayed = post.run(&["replay", &post.name]);
    assert_eq!(replayed.code, 0, "{}", replayed.stderr);
    assert!(
        replayed.stderr.contains("of other handlers: 1"),
        "{}",
        replayed.stderr
    );
    assert!(replayed.stderr.contains(told), "{}", replayed.stderr);
    assert_eq!(post.replayed_places(), ["0@0", "0@3"]);
    // What was replayed is told by group, also where the handler is not named.
    let listed = post.run(&["list", "--topic", &post.topic, "--group", &post.name]);
    let states: Vec<String> = listed.rows().iter().map(|row| row[6].clone()).collect();
    assert_eq!(states, ["replayed", "-", "replayed"]);
}

#[test]
fn letters_of_a_handler_that_is_gone_can_be_seen_but_not_replayed() {
    let post = Post::new("gone", 1);
    // Another handler is broken, which does no harm.
    post.folder
        .handler("broken", harness::guest("act"), "topics = 7\n")
        .unwrap();
    post.write(&[letter(&post.handler(), 0, "trap", "a")]);
    assert_eq!(post.run(&["list", &post.name]).rows().len(), 1);

    post.folder.remove(&post.name).unwrap();
    for args in [["list", &post.name], ["replay", &post.name]] {
        let answer = post.run(&args);
        assert_eq!(answer.code, 64, "{args:?}");
        for told in [
            format!("there is no handler default/{} in ", post.name),
            "it holds default/broken".to_owned(),
        ] {
            assert!(answer.stderr.contains(&told), "{}", answer.stderr);
        }
    }
    assert_eq!(post.replays(), None, "nothing may be written");
    let listed = post.run(&["list", &post.name, "--topic", &post.topic]);
    assert_eq!((listed.code, listed.rows().len()), (0, 1));
    let broken = post.run(&["list", "broken"]);
    assert_eq!(broken.code, 64);
    assert!(
        broken.stderr.contains("broken/handler.toml:1"),
        "{}",
        broken.stderr
    );
}

#[test]
fn what_cannot_be_meant_is_wrong_usage_and_what_is_not_there_an_error() {
    let post = Post::new("usage", 1);
    for (args, code, told) in [
        (
            vec!["list"],
            64,
            "Name a handler, as in acme/orders --handlers DIR, or a topic by --topic",
        ),
        (
            vec!["list", "--topic", "no-such-topic"],
            1,
            "topic no-such-topic does not exist",
        ),
        (vec!["list", "--group", "g"], 64, "--topic <TOPIC>"),
        (
            vec!["purge", "--topic", &post.topic],
            64,
            "<--before <TIME>|--replayed|--all>",
        ),
        (
            vec!["purge", "--topic", &post.topic, "--replayed"],
            64,
            "Name the group beside --topic by --group",
        ),
        (
            vec!["purge", "--topic", &post.topic, "--all", "--replayed"],
            64,
            "cannot be used with",
        ),
        (
            vec!["replay", &post.name, "--rate", "0"],
            64,
            "0 is not in 1..",
        ),
        (
            vec![
                "replay",
                &post.name,
                "--kafka-setting",
                "transactional.id=mine",
            ],
            1,
            "this command depends on transactional.id=",
        ),
    ] {
        let answer = post.run(&args);
        assert_eq!(answer.code, code, "{args:?}: {}", answer.stderr);
        assert!(answer.stderr.contains(told), "{args:?}: {}", answer.stderr);
    }
    let mut nowhere = command("dead-letter").unwrap();
    nowhere.args([
        "list",
        "--topic",
        &post.topic,
        "--brokers",
        "127.0.0.1:1",
        "--timeout",
        "300ms",
    ]);
    let answer = Answer::of(&mut nowhere);
    assert_eq!(answer.code, 1);
    assert!(
        answer
            .stderr
            .contains("no broker answered at 127.0.0.1:1 within 300ms"),
        "{}",
        answer.stderr
    );
}

#[test]
fn a_topic_that_the_user_may_not_see_is_told_with_the_right_that_is_missing() {
    let kafka = without_rights();
    let post = Post::without_topic(&kafka, "denied");
    let parked = format!("{}.parked", post.name);
    for (args, topic) in [
        (["list", &post.name, "--count"].as_slice(), &parked),
        (&["show", &post.name, "0@0"], &post.topic),
        (&["replay", &post.name], &post.topic),
        (&["purge", &post.name, "--all", "--yes"], &post.topic),
    ] {
        let told = format!(
            "the brokers do not let this user see topic {topic}: grant it Describe and Read"
        );
        let begun = Instant::now();
        let answer = post.run(args);
        // Not only when --timeout is over.
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{args:?}: {}",
            answer.stderr
        );
        assert_eq!(answer.code, 1, "{args:?}: {}", answer.stderr);
        assert!(answer.stderr.contains(&told), "{args:?}: {}", answer.stderr);
        assert_eq!(answer.stdout, "", "{args:?}");
    }
}
