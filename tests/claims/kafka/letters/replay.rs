//! `dead-letter replay`: each letter once, whatever happens to who replays it.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use harness::{Kafka, TestRecord, clients};

use super::post::{Post, letter, place};

/// Letters of `keys` keys, one after the other.
fn letters_of(post: &Post, n: usize, keys: usize) -> Vec<TestRecord> {
    let handler = post.handler();
    (0..n)
        .map(|n| letter(&handler, n, "trap", &format!("key-{}", n % keys)))
        .collect()
}

/// Every letter of the topic was replayed once, as it is, and those of a key in their order in one partition.
fn all_replayed_once(post: &Post, n: usize) {
    let mut letters = BTreeMap::new();
    for letter in clients::consume_all(&post.bootstrap, &post.topic, true).unwrap() {
        let place = format!("{}@{}", letter.partition.unwrap(), letter.offset.unwrap());
        letters.insert(place, letter);
    }
    assert_eq!(letters.len(), n);
    let replays = post.replays().unwrap();
    assert_eq!(replays.len(), n, "as many replays as letters");
    let mut last: BTreeMap<String, (i32, i64)> = BTreeMap::new();
    for mut replay in replays {
        let place = place(&post.topic, &replay);
        let letter = letters
            .remove(&place)
            .unwrap_or_else(|| panic!("{place} was replayed twice"));
        replay.headers.as_mut().unwrap().pop();
        assert_eq!(replay.payload(), letter.payload(), "{place}");
        let (partition, offset) = (letter.partition.unwrap(), letter.offset.unwrap());
        // As many partitions and the same partitioner put a key where it was.
        assert_eq!(replay.partition, Some(partition));
        if let Some((_, before)) = last.insert(letter.key_text(), (partition, offset)) {
            assert!(before < offset, "{place} is out of order");
        }
    }
}

#[test]
fn a_replay_writes_each_letter_as_it_is_and_only_once() {
    let post = Post::new("replayed", 3);
    let mut odd = letter(&post.handler(), 4, "trap", "key-1");
    odd.value = None;
    odd.timestamp_ms = Some(1_517_364_031_800);
    let mut letters = letters_of(&post, 30, 5);
    letters.push(odd);
    post.write(&letters);

    let began_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis();
    let first = post.run(&["replay", &post.name, "--limit", "10"]);
    assert_eq!(first.code, 0, "{}", first.stderr);
    let topic = post.replay_topic();
    for told in [
        format!("created topic {topic} with 3 partitions"),
        format!("replayed 10 letters of {} to {topic}", post.handler()),
    ] {
        assert!(first.stderr.contains(&told), "{}", first.stderr);
    }
    let rest = post.run(&["replay", &post.name]);
    assert!(
        rest.stderr.contains("replayed 21 letters of "),
        "{}",
        rest.stderr
    );
    assert!(
        rest.stderr.contains("already replayed: 10"),
        "{}",
        rest.stderr
    );
    assert!(!rest.stderr.contains("created topic"), "{}", rest.stderr);
    all_replayed_once(&post, 31);
    // Kafka's own timestamp is that of the writing, by which retention goes.
    for replay in post.replays().unwrap() {
        assert!(
            replay.timestamp_ms.unwrap() as u128 >= began_ms,
            "{replay:?}"
        );
    }

    let none = post.run(&["replay", &post.name]);
    assert_eq!(none.code, 0);
    assert!(
        none.stderr.contains("replayed 0 letters of "),
        "{}",
        none.stderr
    );
    assert!(
        none.stderr.contains("already replayed: 31"),
        "{}",
        none.stderr
    );
    let at = post.replayed_places().remove(0);
    let again = post.run(&["replay", &post.name, "--again", "--at", &at]);
    assert!(
        again.stderr.contains("replayed 1 letter of "),
        "{}",
        again.stderr
    );
    assert!(
        again.stderr.contains("left out by flags: 30"),
        "{}",
        again.stderr
    );
    let places = post.replayed_places();
    assert_eq!(places.iter().filter(|place| **place == at).count(), 2);
    assert_eq!(places.len(), 32);
}

#[test]
fn a_replay_that_was_killed_goes_on_where_it_stopped() {
    let post = Post::new("killed", 3);
    post.write(&letters_of(&post, 600, 20));
    let replay = post.start(&["replay", &post.name, "--rate", "50"]);
    post.wait_for_replays(50);
    replay.kill9();
    let killed_at = post.replays().unwrap().len();
    assert!(killed_at < 600, "it was not killed in the middle");

    let rest = post.run(&["replay", &post.name]);
    assert_eq!(rest.code, 0, "{}", rest.stderr);
    let told = format!("already replayed: {killed_at}");
    assert!(rest.stderr.contains(&told), "{told}: {}", rest.stderr);
    all_replayed_once(&post, 600);
}

#[test]
fn what_a_killed_replay_did_not_commit_was_never_replayed() {
    let post = Post::new("uncommitted", 1);
    let letters = letters_of(&post, 3, 1);
    post.write(&letters);
    // The topic is there, with one replay.
    assert_eq!(post.run(&["replay", &post.name, "--limit", "1"]).code, 0);
    let of = format!("{}[0]@1", post.topic);
    let uncommitted = letters[1].clone().header("replay.of", Some(of.as_bytes()));
    let topic = post.replay_topic();
    clients::leave_transaction_open(&post.bootstrap, &topic, &topic, [uncommitted]).unwrap();

    // A look does not disturb who replays, and counts what is committed.
    let look = post.run(&["replay", &post.name, "--dry-run"]);
    assert!(
        look.stderr.contains("would replay 2 letters"),
        "{}",
        look.stderr
    );
    let rest = post.run(&["replay", &post.name]);
    assert!(
        rest.stderr.contains("replayed 2 letters"),
        "{}",
        rest.stderr
    );
    all_replayed_once(&post, 3);
}

#[test]
fn of_two_replays_at_once_the_older_ends_and_each_letter_is_replayed_once() {
    let post = Post::new("fenced", 3);
    post.write(&letters_of(&post, 400, 20));
    let older = post.start(&["replay", &post.name, "--rate", "25"]);
    post.wait_for_replays(25);
    let newer = post.run(&["replay", &post.name]);
    assert_eq!(newer.code, 0, "{}", newer.stderr);
    let older = older.wait();
    println!("{}", older.stderr);
    assert_eq!(older.code, 1);
    let told = "another replay of the group has begun and taken over";
    assert!(older.stderr.contains(told), "{}", older.stderr);
    assert!(
        older.stderr.contains("before the error"),
        "{}",
        older.stderr
    );
    all_replayed_once(&post, 400);
}

#[test]
fn a_dry_run_shows_what_would_be_replayed_and_writes_nothing() {
    let post = Post::new("dry", 2);
    post.write(&letters_of(&post, 5, 5));
    let dry = post.run(&["replay", &post.name, "--dry-run", "--limit", "4"]);
    assert_eq!(dry.code, 0, "{}", dry.stderr);
    assert_eq!(dry.rows().len(), 4);
    assert!(
        dry.stderr.contains("would replay 4 letters of "),
        "{}",
        dry.stderr
    );
    assert!(dry.stderr.contains("nothing was written"), "{}", dry.stderr);
    assert_eq!(post.replays(), None, "not even the topic");

    // Beside a replay under way it takes nothing from it.
    let replay = post.start(&["replay", &post.name, "--rate", "1"]);
    post.wait_for_replays(1);
    assert_eq!(post.run(&["replay", &post.name, "--dry-run"]).code, 0);
    let replay = replay.wait();
    assert_eq!(replay.code, 0, "{}", replay.stderr);
    all_replayed_once(&post, 5);
}

#[test]
fn a_dead_letter_topic_that_was_made_anew_begins_anew() {
    let post = Post::new("anew", 1);
    post.write(&letters_of(&post, 2, 1));
    assert_eq!(post.run(&["replay", &post.name]).code, 0);
    let kafka = Kafka::shared();
    kafka.delete_topic(&post.topic).unwrap();
    harness::wait_until("the topic is gone", super::super::stage::PATIENCE, || {
        kafka.create_topic(&post.topic, 1, &[]).is_ok()
    })
    .unwrap();
    // Another letter at the same place as the first of the old ones, and the second as it was.
    post.write(&[
        letter(&post.handler(), 7, "trap", "k"),
        letter(&post.handler(), 1, "trap", "k"),
    ]);
    let replay = post.run(&["replay", &post.name]);
    assert!(
        replay.stderr.contains("replayed 1 letter of "),
        "{}",
        replay.stderr
    );
    assert!(
        replay.stderr.contains("already replayed: 1"),
        "{}",
        replay.stderr
    );
    assert_eq!(post.replayed_places(), ["0@0", "0@0", "0@1"]);
}

#[test]
fn a_letter_that_kafka_refuses_is_named_and_its_transaction_never_happened() {
    let post = Post::new("too-large", 1);
    let mut letters = letters_of(&post, 3, 1);
    letters[1].value = Some(vec![b'x'; 5000]);
    post.write(&letters);
    let bound = [("max.message.bytes", "3000")];
    Kafka::shared()
        .create_topic(&post.replay_topic(), 1, &bound)
        .unwrap();
    let all = post.run(&["replay", &post.name]);
    assert_eq!(all.code, 1, "{}", all.stderr);
    assert!(
        all.stderr.contains("replayed 0 letters of "),
        "{}",
        all.stderr
    );
    assert_eq!(post.replayed_places(), [] as [&str; 0]);
    let one = post.run(&["replay", &post.name, "--at", "0@1"]);
    println!("{}", one.stderr);
    assert_eq!(one.code, 1);
    let told = format!("does not take the letter {}[0]@1", post.topic);
    assert!(one.stderr.contains(&told), "{}", one.stderr);
    assert!(
        one.stderr.contains("raise max.message.bytes of "),
        "{}",
        one.stderr
    );
    let others = post.run(&["replay", &post.name, "--at", "0@0", "--at", "0@2"]);
    assert_eq!(others.code, 0, "{}", others.stderr);
    assert_eq!(post.replayed_places(), ["0@0", "0@2"]);
}

#[test]
fn a_topic_for_replays_that_the_cluster_refuses_is_told_with_the_remedy() {
    // One node has no place for three replicas.
    let kafka = Kafka::builder()
        .set("default.replication.factor", "3")
        .start()
        .unwrap();
    let post = Post::on(&kafka, "refused-topic", 2);
    post.write(&letters_of(&post, 3, 3));
    let refused = post.run(&["replay", &post.name]);
    println!("{}", refused.stderr);
    assert_eq!(refused.code, 1);
    let topic = post.replay_topic();
    for told in [
        format!("cannot create topic {topic}; create it, then replay again"),
        format!("--create --topic {topic} --partitions 2 --config retention.ms=2592000000"),
    ] {
        assert!(refused.stderr.contains(&told), "{}", refused.stderr);
    }
    kafka.create_topic(&topic, 2, &[]).unwrap();
    let replayed = post.run(&["replay", &post.name]);
    assert_eq!(replayed.code, 0, "{}", replayed.stderr);
    all_replayed_once(&post, 3);
}

#[test]
fn a_replay_that_takes_long_tells_on_a_terminal_how_far_it_is() {
    let post = Post::new("progress", 1);
    post.write(&letters_of(&post, 45, 3));
    let slow = ["replay", &post.name, "--rate", "15"];
    let eyes = post.run_on_terminal(&slow);
    assert_eq!(eyes.code, 0, "{}", eyes.stderr);
    let told: Vec<&str> = eyes.stderr.split('\r').collect();
    let so_far = told
        .iter()
        .filter(|line| line.contains(" letters replayed"));
    assert!(so_far.count() > 0, "{told:?}");
    // The last line of progress makes room for the result.
    let result = format!("\u{1b}[2Kreplayed 45 letters of {}", post.handler());
    assert!(
        told.iter().any(|line| line.starts_with(&result)),
        "{told:?}"
    );
    assert_eq!(eyes.stdout, "");
    // A log file has only whole lines.
    let log = post.run(&[slow.as_slice(), &["--again"]].concat());
    assert_eq!(log.code, 0, "{}", log.stderr);
    assert!(
        !log.stderr.contains('\r') && !log.stderr.contains(" of 45"),
        "{}",
        log.stderr
    );
    assert_eq!(log.stderr.lines().count(), 1, "{}", log.stderr);
    // What programs read has nothing of it.
    let listed = post.run_on_terminal(&["list", &post.name, "--json"]);
    assert_eq!(listed.json().len(), 45);
}
