//! What is said about keys that do not exist and values that do not fit.

use super::{parse, problems_of};
use crate::policy::OnExhausted;

#[test]
fn an_unknown_key_gets_a_suggestion_or_the_list_of_keys() {
    assert_eq!(
        problems_of("dead_letter_topic = \"b\""),
        ["2: unknown key \"dead_letter_topic\" (did you mean \"dead-letter-topic\"?)"]
    );
    assert_eq!(
        problems_of("limits.deadine-ms = 5"),
        ["2: unknown key \"limits.deadine-ms\" (did you mean \"limits.deadline-ms\"?)"]
    );
    assert_eq!(
        problems_of("max_attempts = 5"),
        ["2: unknown key \"max_attempts\" (did you mean \"retry.max-attempts\"?)"]
    );
    assert_eq!(
        problems_of("\"limits.deadline-ms\" = 5"),
        ["2: unknown key \"limits.deadline-ms\" (write it without the quotes)"]
    );
    assert_eq!(
        problems_of("[bulk]\ncolour = 5"),
        [
            "3: unknown key \"bulk.colour\" (known here: max-records, max-bytes, max-wait-ms, compact, enter-lag, exit-lag)"
        ]
    );
    assert_eq!(
        problems_of("[kafka]\ncompression.type = \"lz4\""),
        ["3: unknown key \"kafka.compression\" (known here: consumer, producer)"]
    );
    assert_eq!(
        problems_of("\"a\\nb\" = 5")[0].split(" (").next(),
        Some("2: unknown key \"a\\nb\"")
    );
}

#[test]
fn a_value_of_the_wrong_type_or_range_says_what_was_expected() {
    let deadline =
        "2: limits.deadline-ms: expected a whole number of milliseconds from 1 to 3600000, found";
    for (value, found) in [
        ("\"5s\"", "the text \"5s\""),
        ("0", "0"),
        ("-1", "-1"),
        ("3600001", "3600001"),
        ("99999999999999999999", "99999999999999999999"),
        ("1.5", "1.5"),
        ("0xffffffff", "0xffffffff"),
        ("true", "true"),
        ("[1]", "a list"),
        ("{ a = 1 }", "a table"),
        ("1979-05-27", "the date 1979-05-27"),
    ] {
        assert_eq!(
            problems_of(&format!("limits.deadline-ms = {value}")),
            [format!("{deadline} {found}")]
        );
    }
    for value in ["0.9", "nan", "inf", "\"2\""] {
        let found = if value == "\"2\"" {
            "the text \"2\""
        } else {
            value
        };
        assert_eq!(
            problems_of(&format!("retry.multiplier = {value}")),
            [format!(
                "2: retry.multiplier: expected a number from 1 to 100, found {found}"
            )]
        );
    }
    assert_eq!(
        problems_of("limits = 5"),
        ["2: limits: expected a table, [limits], found 5"]
    );
    assert_eq!(
        problems_of("config = \"x\""),
        ["2: config: expected a table, [config], found the text \"x\""]
    );
    let long = "x".repeat(50);
    assert_eq!(
        problems_of(&format!("isolation = \"{long}\"")),
        [format!(
            "2: isolation: expected \"lane\" or \"record\", found the text \"{}…\"",
            "x".repeat(40)
        )]
    );
}

#[test]
fn a_word_out_of_place_gets_a_suggestion() {
    assert_eq!(
        problems_of("start = \"earlist\""),
        [
            "2: start: expected \"earliest\", \"latest\", a time such as \"2026-01-31T00:00:00Z\" or \"-2h\", or \
             \"offset:1200\", found the text \"earlist\" (did you mean \"earliest\"?)"
        ]
    );
    assert_eq!(
        problems_of("on-exhausted = 1"),
        ["2: on-exhausted: expected \"dead-letter\", \"skip\", \"halt\" or \"park\", found 1"]
    );
}

#[test]
fn a_start_that_is_none_says_what_to_write() {
    for (value, what) in [
        (
            "5",
            "expected \"earliest\", \"latest\", a time such as \"2026-01-31T00:00:00Z\" or \"-2h\", or \"offset:1200\", found 5",
        ),
        (
            "\"2026-01-31\"",
            "2026-01-31 is not a whole time, write it as 2026-01-31T00:00:00Z",
        ),
        (
            "2026-01-31",
            "2026-01-31 is not a whole time, write it as 2026-01-31T00:00:00Z",
        ),
        (
            "\"2026-01-31T00:00:00\"",
            "2026-01-31T00:00:00 has no time zone, write 2026-01-31T00:00:00Z for UTC, or 2026-01-31T00:00:00+02:00",
        ),
        (
            "\"-2\"",
            "-2 is no time ago: expected a whole number and a unit, such as -30m, -2h or -7d",
        ),
        (
            "\"offset:-1\"",
            "\"-1\" is no offset: expected a whole number from 0, as in \"offset:1200\"",
        ),
    ] {
        assert_eq!(
            problems_of(&format!("start = {value}")),
            [format!("2: start: {what}")]
        );
    }
}

#[test]
fn bounds_of_the_lag_that_do_not_fit_are_refused() {
    for (bulk, start) in [
        (
            "enter-lag = 5",
            "3: bulk.enter-lag: batches that begin must end",
        ),
        (
            "exit-lag = 5",
            "3: bulk.exit-lag: batches that end must begin",
        ),
        (
            "enter-lag = 5\nexit-lag = 6",
            "4: bulk.exit-lag: 6 is above the enter-lag of 5",
        ),
        (
            "enter-lag = 0\nexit-lag = 0",
            "3: bulk.enter-lag: expected a whole number of records from 1",
        ),
    ] {
        let problems = problems_of(&format!("[bulk]\n{bulk}"));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(start), "{problems:?}");
    }
}

#[test]
fn waits_in_topics_and_batches_exclude_each_other() {
    let problems =
        problems_of("ordering = \"none\"\nretry.topic-delays-ms = [1000]\nbulk.max-records = 5");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].starts_with("3: retry.topic-delays-ms: records of a batch wait in the host"),
        "{problems:?}"
    );
}

#[test]
fn a_breaker_and_batches_exclude_each_other() {
    let problems = problems_of("[breaker]\nfailure-share = 0.2\n[bulk]\nmax-records = 5");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].starts_with("3: breaker.failure-share: ")
            && problems[0].contains("[breaker] and [bulk] exclude each other"),
        "{problems:?}"
    );
}

#[test]
fn what_contradicts_exactly_once_is_refused() {
    let problems = problems_of("transaction-interval-ms = 50");
    assert!(
        problems[0].contains("transaction-interval-ms") && problems[0].contains("\"exactly-once\""),
        "{problems:?}"
    );
    let dirty = "[kafka.consumer]\nisolation.level = \"read_uncommitted\"";
    let problems = problems_of(&format!("delivery = \"exactly-once\"\n{dirty}"));
    assert!(problems[0].contains("isolation.level"), "{problems:?}");
}

#[test]
fn a_transaction_lasts_longer_than_its_interval() {
    let timeout = |ms| {
        format!(
            "delivery = \"exactly-once\"\ntransaction-interval-ms = 50\nkafka.producer.\"transaction.timeout.ms\" = {ms}"
        )
    };
    let problems = problems_of(&timeout(50));
    assert!(
        problems[0].starts_with("3: transaction-interval-ms: ")
            && problems[0].contains("is not longer than this"),
        "{problems:?}"
    );
    parse(&format!("topics = [\"a\"]\n{}", timeout(51)));
}

#[test]
fn dead_letters_do_not_come_back() {
    for topic in ["g.replay", "g.retry.1m", "g.parked"] {
        let problems = problems_of(&format!(
            "group = \"g\"\nordering = \"none\"\nretry.topic-delays-ms = [60000]\ndead-letter-topic = \"{topic}\""
        ));
        assert!(
            problems.len() == 1
                && problems[0].starts_with("5: dead-letter-topic: ")
                && problems[0].contains("a topic of the group's own"),
            "{problems:?}"
        );
    }
}

#[test]
fn a_key_is_parked_only_where_keys_keep_their_order() {
    for ordering in ["", "ordering = \"none\"", "ordering = \"partition\""] {
        let problems = problems_of(&format!("on-exhausted = \"park\"\n{ordering}"));
        assert!(
            problems.len() == 1
                && problems[0].starts_with("2: on-exhausted: ")
                && problems[0].contains("nothing overtakes its failure")
                && problems[0].contains("write ordering = \"key\""),
            "{problems:?}"
        );
    }
    let manifest = parse("topics = [\"a\"]\nordering = \"key\"\non-exhausted = \"park\"");
    assert_eq!(manifest.on_exhausted, OnExhausted::Park);
    let batches = "ordering = \"key\"\non-exhausted = \"park\"\nbulk.max-records = 5";
    let problems = problems_of(batches);
    assert!(problems[0].contains("[bulk]"), "{problems:?}");
    let group = "g".repeat(245);
    let problems = problems_of(&format!(
        "ordering = \"key\"\ngroup = \"{group}\"\ndead-letter-topic = \"d\"\non-exhausted = \"park\""
    ));
    assert!(
        problems.iter().all(|problem| problem.contains("249")) && problems.len() == 2,
        "{problems:?}"
    );
}

#[test]
fn a_list_of_tables_names_the_table_that_is_wrong() {
    let text = "response = [{ topic = \"a\" }, { event = \"b\" }, 5, { topic = \"__a\", evnt = 1 }, { topic = \"a\" }]";
    assert_eq!(
        problems_of(text),
        [
            "2: response[1].topic: missing (name the topic of the responses)",
            "2: response[2]: expected a table, found 5",
            "2: response[3].topic: __a has the name of one of Kafka's internal topics",
            "2: unknown key \"response[3].evnt\" (did you mean \"event\"?)",
            "2: response[4].topic: this response is there twice",
        ]
    );
    assert_eq!(
        problems_of("[response]\ntopic = \"a\""),
        [
            "2: response: expected a list of tables with topic, event, found a table (write [[response]])"
        ]
    );
    let long = "x".repeat(257);
    assert_eq!(
        problems_of(&format!("[[response]]\ntopic = \"a\"\nevent = \"{long}\"")),
        ["4: response[0].event: the name of an event has 1 to 256 bytes"]
    );
    assert_eq!(
        problems_of("delivery = \"exactly-once\"\n[[response]]\ntopic = \"a\""),
        [
            "3: response: a request is written at once and no transaction takes it back, which delivery = \"exactly-once\" is \
             meant to exclude (write side-effects = \"allowed\", or leave [[response]] out)"
        ]
    );
}

#[test]
fn secrets_are_not_printed() {
    let manifest = parse(
        "topics = [\"a\"]\n[config]\ntoken = \"hunter2\"\n[kafka.consumer]\nsasl.password = \"hunter2\"",
    );
    let printed = format!("{manifest:?}");
    assert!(
        printed.contains("token") && printed.contains("sasl.password"),
        "{printed}"
    );
    assert!(!printed.contains("hunter2"), "{printed}");
}
