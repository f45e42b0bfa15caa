//! Each flag lets through what it names, and says what else it could have been given.

use clap::Parser;
use proptest::prelude::*;

use super::*;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    filter: FilterArgs,
}

fn filter(flags: &[&str]) -> FilterArgs {
    Cli::try_parse_from(std::iter::once("x").chain(flags.iter().copied()))
        .unwrap_or_else(|error| panic!("{error}"))
        .filter
}

fn refusal(flags: &[&str]) -> String {
    Cli::try_parse_from(std::iter::once("x").chain(flags.iter().copied()))
        .map(|_| ())
        .unwrap_err()
        .to_string()
}

fn letter() -> Letter {
    Letter {
        topic: "orders".to_owned(),
        partition: 3,
        offset: 17,
        timestamp_ms: None,
        handler: "acme/orders".parse().unwrap(),
        revision: String::new(),
        attempts: 5,
        kind: FailureKind::Trap,
        error: String::new(),
        // 2018-01-31T02:00:31.800Z
        time_ms: 1_517_364_031_800,
    }
}

const AT: Place = Place {
    partition: 1,
    offset: 9,
};

#[test]
fn each_flag_leaves_out_what_it_does_not_name() {
    for (fits, misses) in [
        (["--key", "k"], ["--key", "kk"]),
        (["--kind", "trap"], ["--kind", "reject"]),
        (
            ["--since", "2018-01-31T02:00:31.800Z"],
            ["--since", "2018-01-31T02:00:31.801Z"],
        ),
        (
            ["--until", "2018-01-31T02:00:31.801Z"],
            ["--until", "2018-01-31T02:00:31.800Z"],
        ),
        (["--at", "1@9"], ["--at", "9@1"]),
        (["--from-topic", "orders"], ["--from-topic", "order"]),
        (["--from-partition", "3"], ["--from-partition", "1"]),
    ] {
        assert_eq!(
            filter(&fits).mismatch(AT, Some(b"k"), &letter()),
            None,
            "{fits:?}"
        );
        let flag = filter(&misses).mismatch(AT, Some(b"k"), &letter());
        assert_eq!(flag, Some(misses[0]), "{misses:?}");
    }
    assert_eq!(filter(&[]).mismatch(AT, None, &letter()), None);
    assert_eq!(
        filter(&["--key", ""]).mismatch(AT, None, &letter()),
        Some("--key")
    );
    assert_eq!(
        filter(&["--key", ""]).mismatch(AT, Some(b""), &letter()),
        None
    );
}

#[test]
fn flags_that_repeat_mean_any_of_them_and_different_ones_mean_all() {
    let any = filter(&[
        "--kind", "reject", "--kind", "trap", "--at", "0@0", "--at", "1@9",
    ]);
    assert_eq!(any.mismatch(AT, None, &letter()), None);
    let all = filter(&[
        "--kind",
        "trap",
        "--from-partition",
        "3",
        "--from-offsets",
        "18-20",
    ]);
    assert_eq!(all.mismatch(AT, None, &letter()), Some("--from-offsets"));
}

#[test]
fn what_a_flag_does_not_take_says_what_it_takes() {
    let kind = refusal(&["--kind", "tarp"]);
    for known in FailureKind::ALL {
        assert!(kind.contains(known.as_str()), "{kind}");
    }
    assert!(kind.contains("'trap'"), "{kind}");
    assert!(refusal(&["--at", "17"]).contains("expected PARTITION@OFFSET, such as 0@17"));
    assert!(refusal(&["--at", "0@-1"]).contains("expected PARTITION@OFFSET"));
    assert!(refusal(&["--from-offsets", "1-2"]).contains("--from-partition"));
    assert!(refusal(&["--from-partition", "0", "--from-offsets", "9-2"]).contains("10-20 or 10-"));
    assert!(refusal(&["--since", "yesterday"]).contains("or a time such as 2026-01-31T02:00:00Z"));
    assert!(refusal(&["--since", "2026-13-01"]).contains("is no time"));
    assert!(refusal(&["--limit", "0"]).contains("0 is not in 1.."));
    assert!(refusal(&["--colour", "red"]).contains("unexpected argument '--colour'"));
}

#[test]
fn times_are_read_as_people_write_them() {
    let now_ms = 1_517_364_031_800;
    let parse = |text| parse_moment(text, now_ms);
    assert_eq!(parse("2018-01-31T02:00:31.800Z"), Ok(now_ms));
    assert_eq!(parse("2018-01-31t02:00:31.800z"), Ok(now_ms));
    assert_eq!(parse("2018-01-31T03:30:31.8+01:30"), Ok(now_ms));
    assert_eq!(parse("2018-01-30T22:00:31.800-04:00"), Ok(now_ms));
    assert_eq!(parse("2018-01-31 02:00:31.800"), Ok(now_ms));
    assert_eq!(parse("2018-01-31"), Ok(1_517_356_800_000));
    assert_eq!(parse("2h"), Ok(now_ms - 7_200_000));
    assert_eq!(parse("7d"), Ok(now_ms - 7 * DAY_MS));
    for bad in [
        "",
        "now",
        "2",
        "2018-01-31T02:00:31Z+01:00",
        "2018-01-31T02:00:31+1",
        "2018-02-30",
        "99999999999999999h",
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn places_and_offsets_are_read_back(partition in 0..i32::MAX, first in 0..i64::MAX / 2, more in 0..i64::MAX / 2) {
        let place = Place { partition, offset: first };
        prop_assert_eq!(place.to_string().parse(), Ok(place));
        let offsets: Offsets = format!("{first}-{}", first + more).parse().unwrap();
        prop_assert!(offsets.contains(first) && offsets.contains(first + more));
        prop_assert!(!offsets.contains(first + more + 1) && !offsets.contains(first - 1));
    }

    #[test]
    fn no_text_is_too_odd_for_a_time(text in ".{0,30}", dated in "[0-9]{4}-[0-9-:+TZ .é]{0,20}") {
        let _ = parse_moment(&text, 0);
        let _ = parse_moment(&dated, 0);
    }
}
