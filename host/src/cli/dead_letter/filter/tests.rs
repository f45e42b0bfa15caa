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
    assert!(refusal(&["--since", "yesterday"]).contains("or -2h for two hours ago"));
    assert!(refusal(&["--since", "2026-13-01"]).contains("such as 2026-01-31T00:00:00Z"));
    assert!(refusal(&["--limit", "0"]).contains("0 is not in 1.."));
    assert!(refusal(&["--colour", "red"]).contains("unexpected argument '--colour'"));
}

#[test]
fn times_are_read_as_people_write_them() {
    let parse = |text: &str| text.parse::<Since>().map(|Since(ms)| ms);
    assert_eq!(parse("2018-01-31T02:00:31.800Z"), Ok(1_517_364_031_800));
    assert_eq!(parse("2018-01-31T03:30:31.8+01:30"), Ok(1_517_364_031_800));
    let now_ms = || crate::letter::unix_ms(SystemTime::now()).unwrap();
    for (text, ago_ms) in [("2h", 7_200_000), ("-2h", 7_200_000), ("7d", 604_800_000)] {
        let before = now_ms();
        let ms = parse(text).unwrap();
        assert!(
            (before - ago_ms..=now_ms() - ago_ms).contains(&ms),
            "{text}"
        );
    }
    for bad in ["", "now", "2", "2018-01-31", "2018-01-31T02:00:31"] {
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
}
