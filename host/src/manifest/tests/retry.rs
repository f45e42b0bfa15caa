//! What is read from `[retry]` and its tables for kinds of failures, and every problem of them.

use std::time::Duration;

use super::{parse, problems_of};
use crate::manifest::keys::retry::ON;
use crate::outcome::FailureKind;
use crate::policy::{Backoff, BackoffKind, KindPolicy, RetryPolicy};

fn retry(rest: &str) -> RetryPolicy {
    parse(&format!("topics = [\"a\"]\n{rest}")).retry
}

fn list(millis: &[u64]) -> BackoffKind {
    BackoffKind::List(millis.iter().copied().map(Duration::from_millis).collect())
}

#[test]
fn every_way_to_wait_is_read() {
    let kind = |rest| retry(rest).base().backoff.kind.clone();
    assert_eq!(
        kind("retry.backoff = \"exponential\""),
        BackoffKind::Exponential
    );
    assert_eq!(kind("retry.backoff = \"fixed\""), BackoffKind::Fixed);
    assert_eq!(
        kind("retry.backoff = \"fibonacci\""),
        BackoffKind::Fibonacci
    );
    assert_eq!(
        kind("[retry]\nbackoff = \"list\"\ndelays-ms = [100, 1_000, 0xff]"),
        list(&[100, 1000, 255])
    );
}

#[test]
fn a_kind_of_failures_has_its_own_keys_and_else_those_of_all_kinds() {
    let policy = retry(
        "[retry]\nmax-attempts = 9\ninitial-ms = 5\njitter = 0\n[retry.on.deadline]\nmax-age-ms = 70\nbackoff = \"fixed\"\n\
         [retry.on.memory]\n",
    );
    let base = KindPolicy {
        max_attempts: 9,
        max_age: None,
        backoff: Backoff {
            initial: Duration::from_millis(5),
            jitter: 0.0,
            ..Backoff::DEFAULT
        },
    };
    assert_eq!(policy.base(), &base);
    for kind in FailureKind::ALL {
        let expected = if kind == FailureKind::Deadline {
            KindPolicy {
                max_age: Some(Duration::from_millis(70)),
                backoff: Backoff {
                    kind: BackoffKind::Fixed,
                    ..base.backoff.clone()
                },
                ..base.clone()
            }
        } else {
            base.clone()
        };
        assert_eq!(policy.on(kind), &expected, "{kind:?}");
    }
}

#[test]
fn a_kind_of_failures_may_follow_a_list_change_it_or_leave_it() {
    let policy = retry(
        "[retry]\nbackoff = \"list\"\ndelays-ms = [1, 2]\n[retry.on.trap]\ndelays-ms = [3]\n[retry.on.other]\nbackoff = \"fixed\"\n\
         [retry.on.retry]\nbackoff = \"list\"\nmax-attempts = 2\n",
    );
    let kind = |kind| policy.on(kind).backoff.kind.clone();
    assert_eq!(kind(FailureKind::Memory), list(&[1, 2]));
    assert_eq!(kind(FailureKind::Trap), list(&[3]));
    assert_eq!(kind(FailureKind::Other), BackoffKind::Fixed);
    assert_eq!(kind(FailureKind::Retry), list(&[1, 2]));
}

#[test]
fn the_table_of_a_kind_of_failures_has_its_name() {
    for (kind, keys) in ON {
        assert_eq!(
            keys.jitter.path,
            format!("retry.on.{}.jitter", kind.as_str())
        );
    }
}

#[test]
fn the_longest_wait_is_not_below_the_first() {
    assert_eq!(
        problems_of("retry.initial-ms = 20000"),
        ["2: retry.max-ms: expected at least retry.initial-ms, which is 20000, found 10000"]
    );
    assert_eq!(
        problems_of("retry.max-ms = 20\n[retry.on.trap]\n[retry.on.memory]\njitter = 0"),
        ["2: retry.max-ms: expected at least retry.initial-ms, which is 100, found 20"]
    );
    assert_eq!(
        problems_of("[retry.on.trap]\ninitial-ms = 20000"),
        [
            "3: retry.on.trap.max-ms: expected at least retry.on.trap.initial-ms, which is 20000, found 10000, \
             that of retry.max-ms"
        ]
    );
    assert_eq!(
        problems_of("retry.initial-ms = 500\n[retry.on.trap]\nmax-ms = 400"),
        ["4: retry.on.trap.max-ms: expected at least retry.initial-ms, which is 500, found 400"]
    );
}

#[test]
fn a_list_of_waits_and_the_word_list_go_together() {
    let needs = "needs a list of whole numbers of milliseconds from 0 to 86400000 such as [100, 1000, 60000]";
    assert_eq!(
        problems_of("[retry]\nbackoff = \"list\""),
        [format!(
            "3: retry.delays-ms: missing, retry.backoff = \"list\" {needs}"
        )]
    );
    assert_eq!(
        problems_of("[retry.on.trap]\nbackoff = \"list\""),
        [format!(
            "3: retry.on.trap.delays-ms: missing, retry.on.trap.backoff = \"list\" {needs}"
        )]
    );
    let only = "(write backoff = \"list\", or leave delays-ms out)";
    assert_eq!(
        problems_of("[retry]\ndelays-ms = [1]"),
        [format!(
            "3: retry.delays-ms: only for retry.backoff = \"list\" {only}"
        )]
    );
    assert_eq!(
        problems_of("[retry]\nbackoff = \"fibonacci\"\ndelays-ms = [1]"),
        [format!(
            "4: retry.delays-ms: only for retry.backoff = \"list\" {only}"
        )]
    );
    assert_eq!(
        problems_of("[retry.on.other]\ndelays-ms = [1]"),
        [format!(
            "3: retry.on.other.delays-ms: only for retry.on.other.backoff = \"list\" {only}"
        )]
    );
    assert_eq!(
        problems_of(
            "retry.backoff = \"list\"\nretry.delays-ms = [1]\n[retry.on.memory]\nbackoff = \"fixed\"\ndelays-ms = [1]"
        ),
        [format!(
            "6: retry.on.memory.delays-ms: only for retry.on.memory.backoff = \"list\" {only}"
        )]
    );
}

#[test]
fn a_list_of_waits_holds_whole_numbers() {
    let of =
        |value: &str| problems_of(&format!("[retry]\nbackoff = \"list\"\ndelays-ms = {value}"));
    assert_eq!(
        of("5"),
        [
            "4: retry.delays-ms: expected a list of whole numbers of milliseconds from 0 to 86400000 such as \
             [100, 1000, 60000], found 5"
        ]
    );
    assert_eq!(
        of("[]"),
        [
            "4: retry.delays-ms: the list is empty, expected a list of whole numbers of milliseconds from 0 to \
             86400000 such as [100, 1000, 60000]"
        ]
    );
    let expected = "expected a whole number of milliseconds from 0 to 86400000, found";
    assert_eq!(
        of("[\n5,\n-1,\n\"1s\",\n1.5,\n86400001\n]"),
        [
            format!("6: retry.delays-ms[1]: {expected} -1"),
            format!("7: retry.delays-ms[2]: {expected} the text \"1s\""),
            format!("8: retry.delays-ms[3]: {expected} 1.5"),
            format!("9: retry.delays-ms[4]: {expected} 86400001"),
        ]
    );
}

#[test]
fn a_word_that_is_no_way_to_wait_is_one_problem() {
    let expected = "expected \"exponential\", \"fixed\", \"fibonacci\" or \"list\", found the text";
    assert_eq!(
        problems_of("[retry]\nbackoff = \"lists\"\ndelays-ms = [1]"),
        [format!(
            "3: retry.backoff: {expected} \"lists\" (did you mean \"list\"?)"
        )]
    );
    assert_eq!(
        problems_of("[retry.on.trap]\nbackoff = \"fibonaci\""),
        [format!(
            "3: retry.on.trap.backoff: {expected} \"fibonaci\" (did you mean \"fibonacci\"?)"
        )]
    );
}

#[test]
fn values_for_a_kind_of_failures_have_the_ranges_of_all_kinds() {
    assert_eq!(
        problems_of(
            "[retry.on.trap]\nmax-attempts = 0\njitter = 2\nmax-age-ms = 0\nmultiplier = nan"
        ),
        [
            "3: retry.on.trap.max-attempts: expected a whole number of attempts from 1 to 1000000, found 0",
            "4: retry.on.trap.jitter: expected a number from 0 to 1, found 2",
            "5: retry.on.trap.max-age-ms: expected a whole number of milliseconds from 1 to 2592000000, found 0",
            "6: retry.on.trap.multiplier: expected a number from 1 to 100, found nan",
        ]
    );
    assert_eq!(
        problems_of("retry.jitter = 2\n[retry.on.trap]\n[retry.on.other]"),
        ["2: retry.jitter: expected a number from 0 to 1, found 2"]
    );
}

#[test]
fn a_table_or_key_with_another_name_gets_a_suggestion() {
    assert_eq!(
        problems_of("[retry.on.traps]\njitter = 0"),
        ["2: unknown key \"retry.on.traps\" (did you mean \"retry.on.trap\"?)"]
    );
    assert_eq!(
        problems_of("[retry.on.deadline]\nmax_attempt = 1"),
        [
            "3: unknown key \"retry.on.deadline.max_attempt\" (did you mean \"retry.on.deadline.max-attempts\"?)"
        ]
    );
    assert_eq!(
        problems_of("[retry.trap]\njitter = 0"),
        ["2: unknown key \"retry.trap\" (did you mean \"retry.on.trap\"?)"]
    );
    let known = "(known here: retry, other, trap, deadline, memory)";
    for kind in ["emit", "reject"] {
        assert_eq!(
            problems_of(&format!("[retry.on.{kind}]\njitter = 0")),
            [format!("2: unknown key \"retry.on.{kind}\" {known}")]
        );
    }
    assert_eq!(
        problems_of("retry.on = 5"),
        ["2: retry.on: expected a table, [retry.on], found 5"]
    );
    assert_eq!(
        problems_of("retry.on.trap = 5"),
        ["2: retry.on.trap: expected a table, [retry.on.trap], found 5"]
    );
}

#[test]
fn topics_for_long_waits_bear_the_names_of_their_delays() {
    let topics = "topics = [\"a\"]\ngroup = \"g\"\nordering = \"none\"\n";
    let manifest = parse(&format!(
        "{topics}retry.topic-delays-ms = [3600000, 90000, 1500]"
    ));
    let all: Vec<String> = manifest
        .return_topics
        .all()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        all,
        ["g.replay", "g.retry.1s500ms", "g.retry.1m30s", "g.retry.1h"]
    );
    let manifest = parse("topics = [\"a\"]");
    assert!(!manifest.return_topics.has_retries());
}

#[test]
fn long_waits_in_topics_need_records_without_order() {
    let problems = problems_of("ordering = \"key\"\nretry.topic-delays-ms = [1000]");
    let [problem] = problems.as_slice() else {
        panic!("{problems:?}")
    };
    assert!(
        problem.starts_with("3: retry.topic-delays-ms: ")
            && problem.contains("needs ordering = \"none\""),
        "{problem}"
    );
    assert_eq!(
        problems_of("ordering = \"none\"\nretry.topic-delays-ms = [1000, 1000]"),
        ["3: retry.topic-delays-ms: 1000 is there twice"]
    );
    let problems = problems_of("ordering = \"none\"\nretry.topic-delays-ms = [10]");
    assert!(
        problems[0].contains("from 1000 to 86400000"),
        "{problems:?}"
    );
}
