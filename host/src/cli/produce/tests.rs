//! `produce` against the embedded broker: what is sent, what is refused, and how it says so.
//!
//! What arrives is looked at in the tests of `consume`.
//! **Invariant:** every message that a user can get from a bad line or flag is shown here.

use clap::Parser;

use super::*;
use crate::cli::console::tests::Said;
use crate::dev_broker::DevBroker;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: ProduceArgs,
}

fn args(broker: &str, flags: &[&str]) -> ProduceArgs {
    let flags = ["produce", "--brokers", broker]
        .into_iter()
        .chain(flags.iter().copied());
    Cli::try_parse_from(flags).unwrap().args
}

/// Sends `input` and returns the tally and what was said about it.
fn produced(args: &ProduceArgs, input: &[u8]) -> (anyhow::Result<Tally>, String) {
    let (console, said) = Said::console();
    let tally = produce(args, input, &Arc::new(console));
    (tally, said.text())
}

#[test]
fn bad_lines_are_named_and_the_others_are_sent() {
    let broker = DevBroker::start().unwrap();
    let flags = args(broker.bootstrap(), &["orders", "--format", "json"]);
    let input =
        b"{\"value\":1}\n\n{\"vlaue\":2}\nplain\n{\"value\":3,\"partition\":9}\n{\"value\":4}";
    let (tally, said) = produced(&flags, input);
    assert_eq!(
        tally.unwrap(),
        Tally {
            acknowledged: 2,
            failed: 3
        }
    );
    let said: Vec<_> = said.lines().collect();
    assert!(
        said[0].starts_with("line 3: column 8: unknown field `vlaue`"),
        "{said:?}"
    );
    assert!(
        said[1].starts_with("line 4: expected a JSON object"),
        "{said:?}"
    );
    assert_eq!(said[2], "line 5: orders has no partition 9, only 0 to 3");
}

#[test]
fn a_record_that_is_too_large_is_named_with_its_remedy() {
    let broker = DevBroker::start().unwrap();
    let flags = args(
        broker.bootstrap(),
        &["orders", "--kafka-setting", "message.max.bytes=2000"],
    );
    let mut input = vec![b'x'; 3000];
    input.extend(b"\nfits\n");
    input.extend(vec![b'y'; 100_000]);
    input.extend(b"\nfits too");
    let (tally, said) = produced(&flags, &input);
    assert_eq!(
        tally.unwrap(),
        Tally {
            acknowledged: 2,
            failed: 2
        }
    );
    assert!(
        said.starts_with("line 1: too large; the limits are --kafka-setting message.max.bytes=N"),
        "{said}"
    );
    assert!(said.contains("line 3: longer than 77536 bytes"), "{said}");
}

#[test]
fn a_missing_separator_fails_its_line_only() {
    let broker = DevBroker::start().unwrap();
    let (tally, said) = produced(
        &args(broker.bootstrap(), &["orders", "--key-separator", "=>"]),
        b"a=>1\nb\n=>",
    );
    assert_eq!(
        tally.unwrap(),
        Tally {
            acknowledged: 2,
            failed: 1
        }
    );
    assert_eq!(
        said,
        "line 2: there is no \"=>\" between a key and a value\n"
    );
}

#[test]
fn a_queue_that_is_full_holds_the_reader_and_loses_nothing() {
    let broker = DevBroker::start().unwrap();
    let flags = args(
        broker.bootstrap(),
        &[
            "orders",
            "--kafka-setting",
            "queue.buffering.max.messages=10",
        ],
    );
    let input: Vec<u8> = b"line\n".repeat(5000);
    let (tally, said) = produced(&flags, &input);
    assert_eq!(
        (tally.unwrap(), said.as_str()),
        (
            Tally {
                acknowledged: 5000,
                failed: 0
            },
            ""
        )
    );
}

#[test]
fn a_broker_that_is_not_there_is_reported_in_time() {
    let (tally, said) = produced(
        &args("127.0.0.1:1", &["orders", "--timeout", "2500ms"]),
        b"line",
    );
    let problem = tally.unwrap_err().to_string();
    assert!(
        problem.starts_with("no broker answered at 127.0.0.1:1 within 2.5s"),
        "{problem}"
    );
    assert!(problem.contains("Connection refused"), "{problem}");
    assert!(
        said.starts_with("no broker answers at 127.0.0.1:1 yet, still trying"),
        "{said}"
    );
}

#[test]
fn a_topic_that_nobody_creates_is_reported_in_time() {
    let broker = DevBroker::start().unwrap();
    let flags = [
        "ordres",
        "--timeout",
        "1s",
        "--kafka-setting",
        "allow.auto.create.topics=false",
    ];
    let problem = produced(&args(broker.bootstrap(), &flags), b"line")
        .0
        .unwrap_err()
        .to_string();
    assert!(
        problem.starts_with("topic ordres does not exist, and the brokers do not create topics"),
        "{problem}"
    );
}

#[test]
fn flags_that_do_not_fit_together_are_refused() {
    let broker = DevBroker::start().unwrap();
    let problem = |flags: &[&str]| match produced(&args(broker.bootstrap(), flags), b"").0 {
        Ok(tally) => panic!("{tally:?}"),
        Err(problem) => problem.to_string(),
    };
    assert!(
        problem(&["orders", "--format", "json", "--key-separator", ":"])
            .starts_with("--key-separator is for")
    );
    assert_eq!(
        problem(&["orders", "--partition", "4"]),
        "orders has no partition 4, only 0 to 3"
    );
    for flags in [
        ["produce", "orders", "--brokers=x", "--tombstone"],
        ["produce", "two words", "--brokers=x", "--key=k"],
        ["produce", "orders", "--brokers=x", "--partition=-1"],
        ["produce", "orders", "--brokers=x", "--timeout=10"],
    ] {
        assert!(Cli::try_parse_from(flags).is_err(), "{flags:?}");
    }
}

#[test]
fn a_line_longer_than_allowed_is_skipped_without_being_kept() {
    let mut input: &[u8] = b"abc\nabcd\n\nab";
    let mut line = Vec::new();
    let mut next = || (read_line(&mut input, &mut line, 3).unwrap(), line.clone());
    assert_eq!(next(), (LineEnd::Found, b"abc".to_vec()));
    assert_eq!(next().0, LineEnd::TooLong);
    assert_eq!(next(), (LineEnd::Found, Vec::new()));
    assert_eq!(next(), (LineEnd::Found, b"ab".to_vec()));
    assert_eq!(next().0, LineEnd::Input);
}
