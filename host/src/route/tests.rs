//! Examples, and what must hold at random, against a naive model.

mod naive;

use std::collections::HashSet;

use proptest::prelude::*;

use self::naive::{Plain, compare, naive_matches, records, rules, without_conflicts};
use super::*;

const ORDERS: &str = "orders";
const CREATED: Event<'_> = Event::Text("order.created");

fn pattern(source: &str) -> Matcher {
    Matcher::pattern(source).unwrap()
}

/// A rule with a topic and an event, `-` for any, and conditions on headers, `None` for "present".
fn rule(target: usize, topic: &str, event: &str, headers: &[(&str, Option<&str>)]) -> Rule {
    let some = |text: &str| (text != "-").then(|| text.to_owned());
    let headers = headers.iter();
    let headers = headers.map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned)));
    let plain = Plain {
        target,
        topic: some(topic),
        event: some(event),
        headers: headers.collect(),
    };
    plain.rule()
}

fn header<'a>(name: &'a str, value: Option<&'a [u8]>) -> Header<'a> {
    let key = name.into();
    Header { key, value }
}

/// What a table of the rules answers.
fn answer(
    rules: &[Rule],
    multi: Multi,
    (topic, event): (&str, Event<'_>),
    headers: &[Header<'_>],
) -> Result<Vec<usize>, Unmatched> {
    let table = RouteTable::new(rules, multi).unwrap();
    let targets = table.route(topic, event, headers);
    targets.map(|targets| targets.to_vec())
}

/// All texts of up to `length` of the characters.
fn all_texts(chars: &[char], length: usize) -> Vec<String> {
    let mut texts = vec![String::new()];
    let mut begin = 0;
    for _ in 0..length {
        let end = texts.len();
        for index in begin..end {
            let longer = chars.iter().map(|c| format!("{}{c}", texts[index]));
            let longer: Vec<_> = longer.collect();
            texts.extend(longer);
        }
        begin = end;
    }
    texts
}

proptest! {
    #[test]
    fn the_most_specific_route_wins(rules in rules(8), records in records()) {
        compare(&without_conflicts(rules), Multi::First, &records)?;
    }

    #[test]
    fn fan_out_agrees_with_asking_each_rule(rules in rules(8), records in records()) {
        compare(&rules, Multi::All, &records)?;
    }

    #[test]
    fn the_order_of_declaration_counts_only_between_equals(rules in rules(8), records in records()) {
        let mut ranks = HashSet::new();
        let rules = rules.iter().filter(|rule| ranks.insert(rule.rank()));
        let there: Vec<_> = rules.map(Plain::rule).collect();
        let back: Vec<_> = there.iter().rev().cloned().collect();
        for record in &records {
            let (topic, event, headers) = record.parts();
            let [there, back] = [&there, &back].map(|rules| answer(rules, Multi::All, (topic, event), &headers));
            prop_assert_eq!(there, back);
        }
    }

    #[test]
    fn a_glob_matches_as_the_naive_matcher_does(glob in "[abé漢*?]{1,7}", text in "[abé漢]{0,7}") {
        let (matcher, expected) = (pattern(&glob), naive_matches(&glob, &text));
        prop_assert_eq!(matcher.matches(&text), expected);
        prop_assert_eq!(matcher.matches_bytes(text.as_bytes()), expected);
    }

    #[test]
    fn a_glob_of_more_places_than_a_word_has_bits_matches_alike(
        glob in "[ab]{50,60}[é?]{5,9}([*][ab?]{1,3}){0,2}[ab]{50,60}",
        holes in "[ab漢]{0,3}",
        change in any::<prop::sample::Index>(),
    ) {
        let matching = glob.replace('?', "漢").replace('*', &holes);
        prop_assert!(pattern(&glob).matches(&matching));
        let mut changed: Vec<char> = matching.chars().collect();
        changed[change.index(matching.chars().count())] = 'ä';
        let changed: String = changed.into_iter().collect();
        prop_assert_eq!(pattern(&glob).matches(&changed), naive_matches(&glob, &changed));
    }

    #[test]
    fn patterns_are_equal_exactly_where_they_match_the_same(a in "[ab*?]{1,4}", b in "[ab*?]{1,4}") {
        let texts = all_texts(&['a', 'b', 'c'], 5);
        let is_alike = |text: &String| naive_matches(&a, text) == naive_matches(&b, text);
        prop_assert_eq!(pattern(&a) == pattern(&b), texts.iter().all(is_alike));
    }

    #[test]
    fn no_text_makes_a_matcher_panic(source in any::<String>(), text in any::<String>(), bytes in any::<Vec<u8>>()) {
        if let Ok(matcher) = Matcher::pattern(&source) {
            prop_assert_eq!(matcher.matches(&text), naive_matches(&source, &text));
            let _ = matcher.matches_bytes(&bytes);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_table_of_a_hundred_rules_agrees_with_asking_each(rules in rules(100), records in records()) {
        compare(&rules, Multi::All, &records)?;
        compare(&without_conflicts(rules), Multi::First, &records)?;
    }
}

#[test]
fn each_point_of_the_specificity_decides_before_those_that_follow() {
    let mut rules = vec![
        rule(0, ORDERS, "order.created", &[("x", Some("1"))]),
        rule(1, ORDERS, "order.created", &[]),
        rule(2, ORDERS, "order.*", &[("x", None)]),
        rule(3, ORDERS, "order.cr*", &[]),
        rule(4, ORDERS, "order.?r*", &[]),
        rule(5, ORDERS, "*", &[]),
        rule(6, ORDERS, "-", &[("x", None)]),
        rule(7, ORDERS, "-", &[]),
        rule(8, "or*", "order.created", &[]),
        rule(9, "or*", "*", &[("x", Some("1")), ("y", Some("2"))]),
        rule(10, "order*", "*", &[("x", Some("1")), ("x", Some("1"))]),
        rule(11, "or*", "*.created", &[("x", Some("1"))]),
        rule(12, "or*", "order*", &[("x", Some("*"))]),
        rule(13, "or*", "-", &[("x", Some("1"))]),
        rule(14, "-", "order.created", &[]),
        rule(15, "-", "order.*", &[]),
        rule(16, "-", "-", &[("x", None)]),
        rule(17, "-", "-", &[]),
    ];
    let ranks: Vec<_> = rules.iter().map(Specificity::of).collect();
    assert!(ranks.is_sorted_by(|a, b| a > b), "{ranks:#?}");
    rules.reverse();
    let headers = [header("x", Some(b"1")), header("y", Some(b"2"))];
    let all = answer(&rules, Multi::All, (ORDERS, CREATED), &headers);
    assert_eq!(all.unwrap(), (0..18).collect::<Vec<_>>());
    for target in 0..18 {
        let first = answer(&rules, Multi::First, (ORDERS, CREATED), &headers);
        assert_eq!(first.unwrap(), [target]);
        rules.pop();
    }
}

#[test]
fn characters_that_are_not_wildcards_are_counted_rather_than_bytes() {
    let rules = [
        rule(0, ORDERS, "é*", &[]),
        rule(1, ORDERS, "*bc", &[]),
        rule(2, ORDERS, "?b*", &[]),
    ];
    let all = answer(&rules, Multi::All, (ORDERS, Event::Text("ébc")), &[]);
    assert_eq!(all.unwrap(), [1, 0, 2]);
}

#[test]
fn fan_out_names_each_target_once_most_specific_first() {
    let rules = [
        rule(7, "-", "-", &[]),
        rule(3, ORDERS, "order.*", &[]),
        rule(7, ORDERS, "order.created", &[]),
        rule(5, "o*", "-", &[]),
        rule(3, ORDERS, "-", &[]),
        rule(9, ORDERS, "order.removed", &[]),
        rule(4, ORDERS, "order.*", &[]),
    ];
    let all = answer(&rules, Multi::All, (ORDERS, CREATED), &[]);
    assert_eq!(all.unwrap(), [7, 3, 4, 5]);
}

#[test]
fn an_unmatched_record_is_told_why() {
    let rules = [
        rule(0, ORDERS, "order.created", &[]),
        rule(1, "eu-*", "*", &[("x", Some("1"))]),
        rule(2, "plain", "-", &[("x", Some("1"))]),
    ];
    let why = |topic, event| answer(&rules, Multi::First, (topic, event), &[]).unwrap_err();
    let long = "é".repeat(TEXT_BYTES_MAX / 2);
    let longer = format!("{long}.");
    for topic in [ORDERS, "eu-1"] {
        assert_eq!(why(topic, Event::None), Unmatched::NoEvent);
        assert_eq!(why(topic, Event::TooLong), Unmatched::EventTooLong);
        assert_eq!(why(topic, Event::NotText), Unmatched::EventNotText);
        assert_eq!(why(topic, Event::Text("other")), Unmatched::NoRule);
        assert_eq!(why(topic, Event::Text(&long)), Unmatched::NoRule);
        assert_eq!(why(topic, Event::Text(&longer)), Unmatched::EventTooLong);
    }
    // An event would not have helped them.
    assert_eq!(why("plain", Event::None), Unmatched::NoRule);
    assert_eq!(why("other", Event::TooLong), Unmatched::NoRule);
    let any = [rule(3, ORDERS, "-", &[]), rule(4, ORDERS, "*", &[])];
    for event in [Event::None, Event::TooLong, Event::NotText] {
        let targets = answer(&any, Multi::All, (ORDERS, event), &[]);
        assert_eq!(targets.unwrap(), [3], "a rule for any event needs none");
    }
    assert_eq!(
        Unmatched::EventTooLong.to_string(),
        "the record's event is longer than 256 bytes"
    );
}

#[test]
fn a_header_matches_by_any_of_its_values_and_what_is_no_text_is_only_present() {
    let takes = |value: Option<&str>, headers: &[Header<'_>]| {
        let rules = [rule(0, "-", "-", &[("x", value)])];
        answer(&rules, Multi::First, (ORDERS, Event::None), headers).is_ok()
    };
    let twice = [
        header("x", Some(b"1")),
        header("y", Some(b"3")),
        header("x", Some(b"22")),
    ];
    for wanted in [
        None,
        Some("1"),
        Some("22"),
        Some("2*"),
        Some("*2"),
        Some("?"),
    ] {
        assert!(takes(wanted, &twice), "{wanted:?}");
    }
    assert!(!takes(Some("3"), &twice) && !takes(None, &twice[1..2]));
    for value in [None, Some(&b"a\xFF"[..])] {
        let headers = [header("x", value)];
        assert!(takes(None, &headers));
        for wanted in ["*", "a*", "a?", "*?"] {
            assert!(!takes(Some(wanted), &headers), "{wanted} of {value:?}");
        }
    }
    let empty = [header("x", Some(b""))];
    assert!(takes(Some("*"), &empty) && !takes(Some("?"), &empty));
    let exact = HeaderMatcher::Text(Matcher::exact("").unwrap());
    assert!(exact.matches(Some(b"")) && !exact.matches(None));
}

#[test]
fn rules_that_ask_the_same_for_different_targets_are_a_conflict() {
    let conflict = |rules: &[Rule]| RouteTable::new(rules, Multi::First).err();
    let found = |first, second| Some(RouteError::Conflict { first, second });
    let x = ("x", Some("1*?"));
    let rules = [
        rule(0, ORDERS, "order.*?", &[x, ("y", None)]),
        rule(0, ORDERS, "order.*?", &[("y", None), x]),
        rule(1, ORDERS, "order.*?", &[]),
        rule(1, ORDERS, "order.*?", &[x]),
        rule(
            1,
            ORDERS,
            "order.?*",
            &[("y", None), ("x", Some("1?**")), x],
        ),
    ];
    assert_eq!(conflict(&rules), found(0, 4));
    assert_eq!(conflict(&rules[1..]), found(0, 3));
    assert_eq!(conflict(&rules[..4]), None);
    assert_eq!(
        conflict(&[rule(0, "-", "-", &[]), rule(1, "-", "-", &[])]),
        found(0, 1)
    );
    assert_eq!(
        found(0, 4).unwrap().to_string(),
        "the rules 0 and 4 match the same records and name different targets"
    );
    assert!(
        RouteTable::new(&rules, Multi::All).is_ok(),
        "all are wanted"
    );
    // These have a common record, but each has others, too.
    let equals = [
        rule(1, ORDERS, "order.*", &[]),
        rule(0, ORDERS, "*reated", &[]),
    ];
    assert_eq!(Specificity::of(&equals[0]), Specificity::of(&equals[1]));
    let first = answer(&equals, Multi::First, (ORDERS, CREATED), &[]);
    assert_eq!(first.unwrap(), [1], "the first one");
}

#[test]
fn a_glob_never_goes_back() {
    let text = "a".repeat(100_000);
    assert!(!pattern("*a*a*a*a*a*a*a*a*b").matches(&text));
    assert!(pattern("*a*a*a*a*a*a*a*a*").matches(&text));
    let (stars, holes) = ("*a".repeat(127), "*a??".repeat(63));
    assert!(!pattern(&format!("{stars}*b")).matches(&text));
    assert!(pattern(&format!("{holes}*a")).matches(&text));
}

#[test]
fn a_glob_of_any_length_matches_that_length() {
    for length in 1..=TEXT_BYTES_MAX {
        let glob = pattern(&"?".repeat(length));
        for other in length - 1..=length + 1 {
            assert_eq!(
                glob.matches(&"é".repeat(other)),
                other == length,
                "{other} of {length}"
            );
        }
    }
}

#[test]
fn what_cannot_be_a_matcher_says_why() {
    let fails = |source: &str| Matcher::pattern(source).unwrap_err().to_string();
    assert_eq!(fails(""), "the pattern is empty");
    let longer = "?".repeat(TEXT_BYTES_MAX + 1);
    assert_eq!(fails(&longer), "the text has 257 bytes, more than 256");
    assert_eq!(
        Matcher::exact(&longer).unwrap_err().to_string(),
        fails(&longer)
    );
    let exact = Matcher::exact("a*?").unwrap();
    assert!(exact.matches("a*?") && !exact.matches("abc"));
}
