//! The metadata of commits.

use crate::compact::is_last_of_its_key;
use crate::offset_map::{METADATA_BYTES_MAX, OffsetMap, sealed};

/// Reads the input as metadata; behind the word `sealed` it is what stands before a checksum, since nobody guesses those.
pub fn commit_metadata(data: &[u8]) {
    keys(data);
    let Some(body) = data.strip_prefix(b"sealed") else {
        let (committed, text) = number(data);
        return map(&String::from_utf8_lossy(text), committed);
    };
    let (Some((form, rest)), base) = (body.split_first(), body.get(1..)) else {
        return;
    };
    let (base, _) = number(base.unwrap_or_default());
    let rest = rest.get(8..).unwrap_or_default();
    map(&sealed(*form, base, rest), base);
}

/// Splits a number off.
fn number(data: &[u8]) -> (i64, &[u8]) {
    match data.split_first_chunk() {
        Some((number, rest)) => (i64::from_le_bytes(*number), rest),
        None => (0, data),
    }
}

fn map(text: &str, committed: i64) {
    let Ok(Some(map)) = OffsetMap::decode(text, committed) else {
        return;
    };
    assert_eq!(map.base(), committed);
    assert!(!map.is_empty(), "an empty map is empty text");
    let mut end = committed;
    for run in map.runs() {
        assert!(run.start >= end && run.end > run.start, "{run:?}");
        assert!(map.contains(run.start) && map.contains(run.end - 1));
        end = run.end;
    }
    let written = map.encode();
    assert_eq!(map.encoded_len(), written.len());
    assert_eq!(
        OffsetMap::decode(&written, committed),
        Ok(Some(map.clone()))
    );
    // What the next owner makes of it, who settled the first of what was open.
    let open = map.runs().next().map_or(committed, |run| run.start);
    let joined = OffsetMap::joined(committed, std::iter::once(committed..open), &map);
    assert_eq!(joined.end().max(joined.base()), map.end());
    let mut short = map;
    short.shorten(METADATA_BYTES_MAX);
    let text = short.encode();
    assert!(text.len() <= METADATA_BYTES_MAX, "{} bytes", text.len());
    let kept = (!short.is_empty()).then_some(short);
    assert_eq!(OffsetMap::decode(&text, committed), Ok(kept));
}

/// Of each key of a batch one record is left.
fn keys(data: &[u8]) {
    let keys: Vec<_> = data.chunks(2).map(Some).collect();
    let left = is_last_of_its_key(keys.iter().copied());
    let distinct: std::collections::HashSet<_> = keys.iter().collect();
    assert_eq!(left.iter().filter(|it| **it).count(), distinct.len());
}
