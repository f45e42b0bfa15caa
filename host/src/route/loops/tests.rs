//! Examples, and what must hold at random, against a naive model.

use proptest::prelude::*;

use super::*;
use crate::route::Matcher;

fn header(value: Option<&[u8]>) -> Header<'_> {
    Header {
        key: HOPS_HEADER.into(),
        value,
    }
}

fn emit(headers: Vec<Header<'_>>) -> Emit<'_> {
    Emit {
        topic: "t",
        key: None,
        value: None,
        headers,
        partition: None,
        timestamp_ms: None,
    }
}

/// All ways without a turn, one after the other, the shortest of those that come back.
fn naive(from: usize, at: usize, feeds: &[Vec<usize>], way: &mut Vec<usize>) -> Option<usize> {
    way.push(at);
    let mut shortest = None;
    for fed in &feeds[at] {
        let length = if *fed == from {
            Some(way.len())
        } else if way.contains(fed) {
            None
        } else {
            naive(from, *fed, feeds, way)
        };
        shortest = length.into_iter().chain(shortest).min();
    }
    way.pop();
    shortest
}

proptest! {
    #[test]
    fn a_count_is_written_and_read_back(hops in any::<u32>(), max in any::<u32>(), others in 0usize..3) {
        let count = next_hop(hops).to_string();
        let own = vec![header(Some(b"77")); others];
        for made in [with_hops(emit(own.clone()), &count), with_later_hops(emit(own), &count)] {
            prop_assert_eq!(hops_of(&made.headers), hops.saturating_add(1));
        }
        prop_assert_eq!(within(hops, max).is_err(), hops > max);
    }

    #[test]
    fn any_header_is_a_count(values in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..20)), 0..3)) {
        let headers: Vec<Header<'_>> = values.iter().map(|value| header(value.as_deref())).collect();
        let text = values.last().cloned().flatten().and_then(|value| String::from_utf8(value).ok());
        let digits = text.filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
        let expected = digits.map_or(0, |digits| digits.parse::<u128>().map_or(u32::MAX, |it| it.try_into().unwrap_or(u32::MAX)));
        prop_assert_eq!(hops_of(&headers), expected);
    }

    #[test]
    fn the_way_back_is_the_shortest_one(
        feeds in (1usize..7).prop_flat_map(|n| prop::collection::vec(prop::collection::vec(0..n, 0..4), n)),
    ) {
        let found = way_back(0, &feeds[0], &feeds);
        prop_assert_eq!(found.as_ref().map(Vec::len), naive(0, 0, &feeds, &mut Vec::new()));
        if let Some(way) = found {
            prop_assert_eq!(way[0], 0);
            for pair in way.windows(2) {
                prop_assert!(feeds[pair[0]].contains(&pair[1]), "{:?}", way);
            }
            prop_assert!(feeds[way[way.len() - 1]].contains(&0), "{:?}", way);
        }
    }
}

#[test]
fn counts_begin_anew_where_the_header_is_missing_or_damaged() {
    let damaged = ["", "x", "-1", "+1", " 1", "1 ", "1.0", "\u{661}"].map(str::as_bytes);
    for value in damaged.into_iter().chain([&b"1\xFF"[..]]) {
        assert_eq!(hops_of(&[header(Some(value))]), 0, "{value:?}");
    }
    assert_eq!((hops_of(&[]), hops_of(&[header(None)])), (0, 0));
    assert_eq!(hops_of(&[header(Some(b"0015"))]), 15);
    let huge = hops_of(&[header(Some(b"99999999999999999999999"))]);
    let error = within(huge, u32::MAX - 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "handlers have passed the record on 4294967295 times, and max-hops in handler.toml allows 4294967294: they feed each \
         other, or it is too small"
    );
    assert_eq!(next_hop(huge), u32::MAX);
}

#[test]
fn a_count_takes_the_place_of_any_or_comes_last() {
    let own = || vec![header(Some(b"1")), header(None)];
    assert_eq!(with_hops(emit(own()), "2").headers, [header(Some(b"2"))]);
    let later = with_later_hops(emit(own()), "2").headers;
    assert_eq!(
        later,
        [header(Some(b"1")), header(None), header(Some(b"2"))]
    );
}

#[test]
fn a_rule_for_another_topic_takes_nothing() {
    let rule = |topic: Option<&str>| Rule {
        target: 0,
        topic: topic.map(|topic| Matcher::pattern(topic).unwrap()),
        event: None,
        headers: Vec::new(),
    };
    let rules = [rule(Some("orders")), rule(Some("eu-*"))];
    assert!(may_take(&rules, "orders") && may_take(&rules, "eu-7"));
    assert!(!may_take(&rules, "audit"));
    assert!(may_take(&[rule(None)], "audit"));
    assert!(!may_take(&[], "audit"));
}
