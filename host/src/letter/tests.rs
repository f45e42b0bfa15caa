//! The block is read back as it was written, and what is no block is named.

use std::borrow::Cow;

use proptest::prelude::*;

use super::*;

/// A name and a value, as a record owns them.
type Plain = (String, Option<Vec<u8>>);

fn lend(headers: &[Plain]) -> Vec<Header<'_>> {
    headers
        .iter()
        .map(|(key, value)| Header {
            key: Cow::Borrowed(key),
            value: value.as_deref(),
        })
        .collect()
}

fn owned(block: &[(&'static str, String)]) -> Vec<Plain> {
    block
        .iter()
        .map(|(key, value)| ((*key).to_owned(), Some(value.clone().into_bytes())))
        .collect()
}

fn letter() -> Letter {
    Letter {
        topic: "orders".to_owned(),
        partition: 3,
        offset: 17,
        timestamp_ms: Some(1_517_364_031_800),
        handler: "acme/orders".parse().unwrap(),
        revision: "0123456789ab".to_owned(),
        attempts: 5,
        kind: FailureKind::Trap,
        error: "wasm trap: unreachable".to_owned(),
        time_ms: 1_517_364_032_000,
    }
}

fn any_letter() -> impl Strategy<Value = Letter> {
    let place = ("[a-z]{1,9}", 0..i32::MAX, 0..i64::MAX);
    let times = (any::<Option<i64>>(), any::<i64>());
    let kind = proptest::sample::select(FailureKind::ALL.to_vec());
    let failure = (any::<u32>(), kind, any::<String>());
    let names = ("[a-zA-Z0-9_-]{1,9}", "[a-zA-Z0-9_-]{1,9}", "[0-9a-f]{12}");
    (place, times, failure, names).prop_map(|(place, times, failure, names)| Letter {
        topic: place.0,
        partition: place.1,
        offset: place.2,
        timestamp_ms: times.0,
        handler: format!("{}/{}", names.0, names.1).parse().unwrap(),
        revision: names.2,
        attempts: failure.0,
        kind: failure.1,
        error: failure.2,
        time_ms: times.1,
    })
}

/// Headers of the record itself, among them some that look like ours.
fn any_own() -> impl Strategy<Value = Vec<Plain>> {
    let name = prop_oneof![
        "[a-z.]{0,5}",
        Just(TOPIC.to_owned()),
        Just(ERROR.to_owned()),
        Just(REPLAY_OF.to_owned())
    ];
    let value = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..6));
    proptest::collection::vec((name, value), 0..6)
}

proptest! {
    #[test]
    fn a_letter_is_read_back_as_it_was_written(letter in any_letter(), own in any_own(), replayed in any::<bool>()) {
        let mut headers = own.clone();
        headers.extend(owned(&letter.block()));
        if replayed {
            headers.push((REPLAY_OF.to_owned(), Some(b"dead[2]@7".to_vec())));
        }
        let headers = lend(&headers);
        prop_assert_eq!(Letter::parse(&headers), Ok(letter));
        let (before, block) = split(&headers).unwrap();
        let expected = lend(&own);
        prop_assert_eq!(before, expected.as_slice());
        prop_assert_eq!(block.len(), 10 + usize::from(replayed));
        let place = replay_of(&headers).map(|place| place.to_string());
        prop_assert_eq!(place, replayed.then(|| "dead[2]@7".to_owned()));
    }

    #[test]
    fn times_are_read_back_to_the_millisecond(time_ms in prop_oneof![any::<i64>(), 0..2 * YEAR_10000_MS]) {
        prop_assert_eq!(parse_time(&time_text(time_ms)), Some(time_ms));
    }
}

#[test]
fn a_letter_that_died_twice_tells_the_last_time() {
    let first = letter();
    let second = Letter {
        topic: "acme.orders.dead-letter".to_owned(),
        attempts: 1,
        ..letter()
    };
    let mut headers = owned(&first.block());
    headers.extend(owned(&second.block()));
    assert_eq!(Letter::parse(&lend(&headers)), Ok(second));
}

#[test]
fn times_are_readable_and_absurd_ones_do_no_harm() {
    assert_eq!(time_text(1_517_364_031_800), "2018-01-31T02:00:31.800Z");
    assert_eq!(time_text(i64::MAX), "9223372036854775807");
    assert_eq!(time_text(-5), "-5");
}

#[test]
fn what_is_no_letter_says_why() {
    let problem = |headers: &[Plain]| Letter::parse(&lend(headers)).unwrap_err().to_string();
    assert_eq!(problem(&[]), "it has no header dead-letter.topic");

    let whole = owned(&letter().block());
    for (index, (name, _)) in whole.iter().enumerate().skip(1) {
        let mut headers = whole.clone();
        headers.remove(index);
        assert_eq!(
            problem(&headers),
            format!("it has the header dead-letter.topic, but no {name} after it")
        );
    }

    let changed = |name: &str, value: &str| {
        let mut headers = whole.clone();
        let header = headers.iter_mut().find(|(key, _)| key == name).unwrap();
        header.1 = Some(value.as_bytes().to_vec());
        problem(&headers)
    };
    for (name, value, expected) in [
        (PARTITION, "one", "the number of a partition"),
        (OFFSET, "", "an offset"),
        (TIMESTAMP, "soon", "a time such as 2026-01-31T02:00:31.800Z"),
        (HANDLER, "a/b/c", "tenant/handler"),
        (ATTEMPTS, "-1", "a number of attempts"),
        (KIND, "bad", "a kind of failure that this version knows"),
        (TIME, "", "a time such as 2026-01-31T02:00:31.800Z"),
    ] {
        assert_eq!(
            changed(name, value),
            format!("its header {name} is {value:?}, expected {expected}")
        );
    }
}

#[test]
fn a_replay_names_its_letter_in_the_last_header() {
    let of = |headers: &[(&str, &str)]| {
        let headers: Vec<Plain> = headers
            .iter()
            .map(|(key, value)| ((*key).to_owned(), Some(value.as_bytes().to_vec())))
            .collect();
        replay_of(&lend(&headers))
            .map(|place| (place.topic.to_string(), place.partition, place.offset))
    };
    assert_eq!(
        of(&[(REPLAY_OF, "a.b[12]@345")]),
        Some(("a.b".to_owned(), 12, 345))
    );
    assert_eq!(of(&[(REPLAY_OF, "a[1]@2"), ("other", "x")]), None);
    assert_eq!(of(&[(REPLAY_OF, "a[1]")]), None);
    assert_eq!(of(&[(REPLAY_OF, "a[-1]@2")]), None);
    assert_eq!(of(&[]), None);
}

#[test]
fn the_topic_of_replays_is_named_after_the_group() {
    let group = "acme.orders".parse().unwrap();
    assert_eq!(replay_topic(&group).unwrap().as_str(), "acme.orders.replay");
    assert!(replay_topic(&"a/b".parse().unwrap()).is_err());
}

proptest! {
    #[test]
    fn only_what_was_cut_begins_to_count_anew(letter in any_letter(), places in proptest::collection::vec(any::<bool>(), 0..5)) {
        let header = |is_count: &bool| {
            let name = if *is_count { HOPS_HEADER } else { "x" };
            (name.to_owned(), Some(b"33".to_vec()))
        };
        let mut all: Vec<Plain> = places.iter().map(header).collect();
        all.extend(owned(&letter.block()));
        all.push((HOPS_HEADER.to_owned(), Some(b"34".to_vec())));
        let mut headers = lend(&all);
        forget_hops(&mut headers);
        let left = places.iter().filter(|is_count| letter.kind != FailureKind::Loop || !**is_count).count();
        prop_assert_eq!(headers.len(), left + 11);
        prop_assert_eq!(&headers[left..], &lend(&all)[places.len()..]);
        prop_assert_eq!(Letter::parse(&headers), Ok(letter));
    }
}
