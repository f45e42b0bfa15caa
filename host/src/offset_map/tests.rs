//! Properties of the map and of its text.

use super::*;
use proptest::{collection::vec, prelude::*};
use std::collections::BTreeSet;

fn text(base: i64, form: u8, body: impl IntoIterator<Item = u8>) -> String {
    let base = varint(base.cast_unsigned());
    seal(iter::once(form).chain(base).chain(body).collect())
}

fn from_offsets(base: i64, offsets: impl IntoIterator<Item = i64>) -> OffsetMap {
    OffsetMap::from_runs(base, offsets.into_iter().map(|offset| offset..offset + 1))
}

/// A base, and completed offsets around it, sparse and dense.
fn model() -> impl Strategy<Value = (i64, BTreeSet<i64>)> {
    let length = || prop_oneof![4 => 1i64..4, 1 => 1i64..300];
    let base = prop_oneof![0i64..200, Just(1 << 40), Just(i64::MAX - 5)];
    (base, vec((length(), length()), 0..40)).prop_map(|(base, lengths)| {
        let (mut offsets, mut at) = (BTreeSet::new(), base - 20);
        for (open, done) in lengths {
            let start = at.saturating_add(open);
            at = start.saturating_add(done);
            offsets.extend(start..at);
        }
        (base, offsets)
    })
}

/// Changes one character after the other to `other`, and cuts the text at every place.
fn refuses_damage(map: &OffsetMap, other: char) {
    let text = map.encode();
    for (place, right) in text.char_indices() {
        let cut = &text[..place];
        let changed = format!("{cut}{other}{}", &text[place + 1..]);
        let got = OffsetMap::decode(&changed, map.base);
        assert!(right == other || got.is_err(), "{changed}: {got:?}");
        let got = OffsetMap::decode(cut, map.base);
        assert!(cut.is_empty() || got.is_err(), "{cut}: {got:?}");
    }
}

#[test]
fn the_text_of_version_1_stays() {
    assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    let runs = OffsetMap::from_runs(1000, [1001..1300, 1302..1303]);
    assert_eq!(runs.encode(), "kwh1:AOgHAasCAgFvNtep");
    let bits = from_offsets(1000, [1001, 1003, 1006, 1008, 1010]);
    assert_eq!(bits.encode(), "kwh1:AegHAaUCFoVRww");
}

proptest! {
    /// What is promised to fit does, whichever records are open.
    #[test]
    fn what_surely_fits_fits(
        gaps in vec(prop_oneof![4 => 1i64..3, 2 => 1i64..300, 1 => 1i64..200_000], 1..900),
        last in 0i64..1000,
    ) {
        let mut at = 0;
        let runs: Vec<_> = gaps.iter().map(|gap| {
            let start = at + 1;
            at = start + gap;
            start..at
        }).collect();
        let span = (at + last).unsigned_abs();
        if OffsetMap::surely_fits(gaps.len(), span) {
            prop_assert!(OffsetMap::from_runs(0, runs).encoded_len() <= METADATA_BYTES_MAX);
        }
    }
}

#[test]
fn some_open_records_surely_fit_whatever_is_complete_behind_them() {
    assert!(OffsetMap::surely_fits(5000, 24_000));
    assert!(OffsetMap::surely_fits(500, 1 << 20));
    assert!(OffsetMap::surely_fits(150, u64::MAX));
    assert!(!OffsetMap::surely_fits(5000, 1 << 20));
}

#[test]
fn no_changed_character_passes() {
    let dense = from_offsets(3, (4..200).step_by(2));
    let sparse = OffsetMap::from_runs(3, [9..90, 1000..1001, 5000..70_000]);
    for other in '\0'..='\u{ff}' {
        refuses_damage(&dense, other);
        refuses_damage(&sparse, other);
    }
}

#[test]
fn the_documented_worst_cases_fit() {
    let million = from_offsets(1 << 40, (1 << 40) + 1..(1 << 40) + 1_000_001);
    assert!(million.encoded_len() < 40, "{}", million.encode());
    let (base, first) = (1 << 61, 1 << 62);
    let alternate = |span| from_offsets(base, (first..first + span).step_by(2)).encode();
    assert!(alternate(20_000).len() < METADATA_BYTES_MAX);
    assert_eq!(alternate(24_360).len(), METADATA_BYTES_MAX);
    assert!(alternate(24_361).len() > METADATA_BYTES_MAX);
    let far = |count| from_offsets(1 << 56, (1..=count).map(|n| (1 << 56) + (n << 49)));
    assert!(far(305).encoded_len() <= METADATA_BYTES_MAX);
    let runs = |count| {
        (1..=count)
            .map(|n| base + n * 16_510)
            .map(|end| end - 127..end)
    };
    let length = |count| OffsetMap::from_runs(base, runs(count)).encoded_len();
    assert_eq!(length(1018), METADATA_BYTES_MAX);
    assert!(length(1019) > METADATA_BYTES_MAX);
}

#[test]
fn what_is_not_a_map_says_why() {
    use MapError::*;
    let runs = |body: &[u8]| text(5, FORM_RUNS, body.iter().copied());
    let bits = |body: &[u8]| text(5, FORM_BITS, body.iter().copied());
    let huge: Vec<u8> = varint(i64::MAX.abs_diff(5)).chain([1]).collect();
    let star = DecodeError::InvalidByte(1, b'*');
    for (text, error) in [
        ("host-7".to_owned(), Foreign),
        ("kwh2:AAAA".to_owned(), Version),
        ("kwh1:A*".to_owned(), Base64(star)),
        ("kwh1:AAA".to_owned(), Truncated),
        ("kwh1:AAAAAAAA".to_owned(), Checksum),
        (text(4, FORM_RUNS, [1, 1]), Base(4, 5)),
        (text(5, 2, [1, 1]), Form(2)),
        (runs(&[]), Truncated),
        (runs(&[1]), Truncated),
        (runs(&[1, 0x80]), Truncated),
        (runs(&[1, 1, 1]), Truncated),
        (runs(&[1, 0]), EmptyRun),
        (runs(&[1, 1, 0, 1]), EmptyRun),
        (
            runs(b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02\x01"),
            Overflow,
        ),
        (runs(&[[0x80; 10], [1; 10]].concat()), Overflow),
        (runs(&huge), Overflow),
        (bits(&huge), Overflow),
        (bits(&[1]), EmptyRun),
        (bits(&[1, 2]), EmptyRun),
        (bits(&[1, 1, 0]), EmptyRun),
    ] {
        assert_eq!(OffsetMap::decode(&text, 5), Err(error), "{text}");
    }
}

proptest! {
    #[test]
    fn a_map_is_the_set_of_its_offsets((base, offsets) in model(), other: char) {
        let map = from_offsets(base, offsets.iter().copied());
        let kept: BTreeSet<i64> = offsets.into_iter().filter(|offset| *offset >= base).collect();
        prop_assert_eq!(map.end(), kept.last().map_or(base, |last| last + 1));
        for offset in base - 30..=map.end().saturating_add(30) {
            prop_assert_eq!(map.contains(offset), kept.contains(&offset), "{}", offset);
        }
        prop_assert!(map.runs().is_sorted_by(|one, next| one.end < next.start));
        refuses_damage(&map, other);
        let written = map.encode();
        prop_assert_eq!(written.len(), map.encoded_len());
        let read = OffsetMap::decode(&written, base);
        prop_assert_eq!(read, Ok(Some(map.clone()).filter(|_| !kept.is_empty())));

        // Both forms, written naively: the text is the shorter one.
        let Some(first) = kept.first() else { return Ok(()) };
        let skip = || varint(first.abs_diff(base));
        let bits = (*first..map.end()).step_by(8).map(|_| 0);
        let runs = map.lengths(*first).flat_map(varint);
        let shorter = text(base, 1, skip().chain(bits)).len().min(text(base, 0, skip().chain(runs)).len());
        prop_assert_eq!(written.len(), shorter);
    }

    #[test]
    fn nothing_that_is_read_panics(any in ".*", bytes in vec(any::<u8>(), 0..200), form in 0u8..3, base: i64) {
        let _ = OffsetMap::decode(&any, base);
        let _ = OffsetMap::decode(&format!("{PREFIX}{any}"), base);
        let _ = OffsetMap::decode(&seal(bytes.clone()), base);
        // Behind a right checksum and a right base; what is accepted there is a proper map.
        if let Ok(Some(map)) = OffsetMap::decode(&text(base, form, bytes.clone()), base) {
            prop_assert!(map.runs.len() <= bytes.len() * 4);
            prop_assert_eq!(OffsetMap::decode(&map.encode(), base), Ok(Some(map)));
        }
    }
}

#[test]
fn a_map_that_does_not_fit_keeps_its_first_runs() {
    let all = OffsetMap::from_runs(0, (0..5_000).map(|n| n * 100 + 1..n * 100 + 50));
    assert!(all.encoded_len() > METADATA_BYTES_MAX);
    let point = CommitPoint::from(all.clone());
    assert!((3000..=METADATA_BYTES_MAX).contains(&point.metadata.len()));
    let kept = OffsetMap::decode(&point.metadata, 0).unwrap().unwrap();
    assert!(!kept.is_empty() && kept.runs().zip(all.runs()).all(|(kept, all)| kept == all));
    assert_eq!(CommitPoint::from(OffsetMap::new(7)), CommitPoint::from(7));
}

proptest! {
    /// Against sets of offsets: what either completed is complete, and nothing else.
    #[test]
    fn what_earlier_owners_completed_is_joined(
        base in 0i64..20, settled in runs_in(20, 40), earlier in runs_in(30, 70),
    ) {
        let earlier = OffsetMap::from_runs(base, earlier);
        let joined = OffsetMap::joined(base, settled.clone(), &earlier);
        let last = settled.last().map_or(base, |run| run.end);
        for offset in base..80 {
            let is_settled = settled.iter().any(|run| run.contains(&offset));
            let is_earlier = offset >= last && earlier.contains(offset);
            let is_known = offset < joined.base() || joined.contains(offset);
            prop_assert_eq!(is_known, is_settled || is_earlier, "{} of {:?}", offset, joined);
        }
        prop_assert!(joined.base() >= base);
        let text = joined.encode();
        if !text.is_empty() {
            prop_assert_eq!(OffsetMap::decode(&text, joined.base()), Ok(Some(joined)));
        }
    }
}

/// Ascending runs that do not touch, between two offsets.
fn runs_in(from: i64, to: i64) -> impl Strategy<Value = Vec<Range<i64>>> {
    proptest::collection::btree_set(from..to, 0..8).prop_map(|bounds| {
        let bounds: Vec<i64> = bounds.into_iter().collect();
        bounds
            .chunks_exact(2)
            .map(|pair| pair[0]..pair[1])
            .collect()
    })
}
