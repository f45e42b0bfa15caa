//! How outputs are written, as the manifest says it.

use std::time::Duration;

use super::{parse, problems_of};
use crate::policy::{Backoff, BackoffKind};
use crate::publish::{Publish, Repeat};

#[test]
fn a_place_of_keys_is_a_json_pointer() {
    assert_eq!(
        problems_of("publish.key-from = \"id\""),
        ["2: publish.key-from: the pointer begins with 'i' in place of '/'"]
    );
    assert_eq!(
        problems_of("[publish]\nkey-from = 5"),
        ["3: publish.key-from: expected a JSON pointer such as \"/id\", found 5"]
    );
    assert_eq!(
        problems_of("publish.key_from = \"/id\""),
        ["2: unknown key \"publish.key_from\" (did you mean \"publish.key-from\"?)"]
    );
}

#[test]
fn what_becomes_of_refused_outputs_is_read_as_written() {
    let manifest = parse(
        "topics = [\"a\"]\n[publish]\ndead-letter-topic = \"{topic}.dlq\"\n[publish.retry]\nattempts = 3\n\
         backoff = \"fibonacci\"\ndelay-ms = 50\nmax-delay-ms = 70",
    );
    let backoff = Backoff {
        kind: BackoffKind::Fibonacci,
        initial: Duration::from_millis(50),
        max: Duration::from_millis(70),
        multiplier: 2.0,
        jitter: 0.0,
    };
    let expected = Publish {
        key_from: None,
        retry: Some(Repeat {
            attempts: 3,
            backoff,
        }),
        dead_letter: "{topic}.dlq".parse().ok(),
    };
    assert_eq!(manifest.publish, expected);
    let bare = parse("topics = [\"a\"]\n[publish.retry]\n").publish;
    assert_eq!(bare.retry, Some(Repeat::DEFAULT));
}

#[test]
fn waits_of_outputs_fit_each_other() {
    assert_eq!(
        problems_of("publish.retry.delay-ms = 70000"),
        [
            "2: publish.retry.max-delay-ms: expected at least publish.retry.delay-ms, which is 70000, found 60000"
        ]
    );
    assert_eq!(
        problems_of("[publish.retry]\nbackoff = \"list\"\nattempts = 0"),
        [
            "3: publish.retry.backoff: expected \"exponential\", \"fixed\" or \"fibonacci\", found the text \"list\"",
            "4: publish.retry.attempts: expected a whole number of attempts from 1 to 1000000, found 0",
        ]
    );
}

#[test]
fn refused_outputs_go_to_a_topic_that_is_for_nothing_else() {
    assert_eq!(
        problems_of("publish.dead-letter-topic = \"{topic}\""),
        [
            "2: publish.dead-letter-topic: this is the topic that refuses the output (write \"{topic}.dlq\")"
        ]
    );
    for topic in [
        "a",
        "acme.orders.dead-letter",
        "acme.orders.replay",
        "acme.orders.parked",
    ] {
        assert_eq!(
            problems_of(&format!("publish.dead-letter-topic = \"{topic}\"")),
            [format!(
                "2: publish.dead-letter-topic: {topic} is read by the handler, or is for its own dead letters or for what \
                 comes back to it (name another one)"
            )]
        );
    }
}

#[test]
fn what_is_mended_later_is_neither_part_of_a_transaction_nor_of_several() {
    let of_transactions = "a refused output aborts its transaction, and with it the record is handled again, which \
                           delivery = \"exactly-once\" is meant for (leave [publish.retry] and publish.dead-letter-topic out)";
    let of_several = "the outputs of a record that several take are sent together, and each handler has its own idea of them \
                      (leave multi = \"all\", or [publish.retry] and publish.dead-letter-topic out)";
    for (rest, why) in [
        ("delivery = \"exactly-once\"", of_transactions),
        ("multi = \"all\"", of_several),
    ] {
        assert_eq!(
            problems_of(&format!("{rest}\npublish.retry.attempts = 2")),
            [format!("3: publish.retry.attempts: {why}")]
        );
        assert_eq!(
            problems_of(&format!("{rest}\npublish.dead-letter-topic = \"x\"")),
            [format!("3: publish.dead-letter-topic: {why}")]
        );
    }
}
