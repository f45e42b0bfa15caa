//! What is written into records for later: dead letters and records that come back, parked keys, responses; and what is kept
//! of revisions.

use super::first_line;
use crate::history::History;
use crate::letter::{self, Letter};
use crate::marker::{MarkerKey, Markers, Request, State};
use crate::parked::{Look, Parked};
use crate::pending::CorrelationId;
use crate::record::Header;
use crate::response;
use crate::returned::{Deferral, Returned};
use crate::route::hops_of;

/// Reads the rest of the input as what its first line says.
pub fn letters(data: &[u8]) {
    let (what, rest) = first_line(data);
    match what {
        b"headers" => headers(rest),
        b"markers" => markers(rest),
        b"response" => stored(rest),
        b"history" => history(rest),
        b"id" => id(rest),
        _ => {}
    }
}

/// A line is a header: its name, and behind a colon its value, if it has one.
fn headers(text: &[u8]) {
    let lines = text.split(|byte| *byte == b'\n');
    let lines = lines.map(|line| {
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        Header {
            key: String::from_utf8_lossy(name),
            value: value.get(1..),
        }
    });
    let mut headers: Vec<Header<'_>> = lines.collect();
    let _ = hops_of(&headers);
    if let Some(place) = letter::replay_of(&headers) {
        assert_eq!(place.to_string().parse(), Ok(place));
    }
    if let Ok(letter) = Letter::parse(&headers) {
        let _ = letter.source().to_string();
        let block = letter.block();
        assert_eq!(Letter::parse(&lent(&block)), Ok(letter));
    }
    if let Ok(back) = Returned::parse(&headers) {
        came_back(&back, headers.len());
    }
    let before = headers.len();
    letter::forget_hops(&mut headers);
    assert!(headers.len() <= before);
}

fn came_back(back: &Returned, headers: usize) {
    assert!(back.own_headers < headers);
    for now_ms in [i64::MIN, 0, back.letter.time_ms, i64::MAX] {
        let _ = back.wait(now_ms);
    }
    let (Some(due_ms), Some(begun_ms)) = (back.due_ms, back.begun_ms) else {
        return;
    };
    let mut block = Vec::from(back.letter.block());
    block.extend(Deferral { due_ms, begun_ms }.headers());
    let again = Returned {
        own_headers: 0,
        session: None,
        ..back.clone()
    };
    assert_eq!(Returned::parse(&lent(&block)), Ok(again));
}

fn lent<'a>(block: &'a [(&'static str, String)]) -> Vec<Header<'a>> {
    let block = block.iter();
    let block = block.map(|(key, value)| Header {
        key: (*key).into(),
        value: Some(value.as_bytes()),
    });
    block.collect()
}

/// A line is a record of the topic of parked keys: its key, and behind a tab its value, if it has one.
fn markers(text: &[u8]) {
    let mut markers = Markers::default();
    for line in text.split(|byte| *byte == b'\n') {
        let tab = line.iter().position(|byte| *byte == b'\t');
        let (key, value) = line.split_at(tab.unwrap_or(line.len()));
        let value = value.get(1..);
        let _ = markers.apply(key, value);
        if let Ok(key) = MarkerKey::decode(key) {
            let again = MarkerKey::decode(&key.encode());
            assert!(again.is_ok_and(|again| again == key), "{key:?}");
        }
        let value = value.unwrap_or_default();
        if let Ok(state) = serde_json::from_slice::<State>(value) {
            let again = serde_json::from_slice(&state.encode());
            assert!(again.is_ok_and(|again: State| again == state), "{state:?}");
        }
        if let Ok(asked) = serde_json::from_slice::<Request>(value) {
            let again = serde_json::from_slice(&asked.encode());
            assert!(
                again.is_ok_and(|again: Request| again == asked),
                "{asked:?}"
            );
        }
    }
    let states = markers.states();
    for (place, slot, state) in states {
        let of_place = markers.of(&place.0, place.1);
        let mut parked = Parked::default();
        parked.restore(of_place.clone(), 10);
        assert!(parked.has(slot) && parked.count() == of_place.states.len());
        for now in [1u64, 5, 20] {
            let lease = |asked: &Request| now.saturating_add(asked.lease_ms);
            let complete = || Some(state.last.saturating_add(1));
            for (slot, _) in parked.tend(Some(&of_place), now, lease, complete) {
                parked.unparked(&slot);
                assert_eq!(parked.look(&slot, None, state.last, now), Look::Free);
            }
            let _ = parked.look(slot, state.session.as_deref(), state.first, now);
            parked.park(slot, state, now);
        }
    }
}

fn stored(bytes: &[u8]) {
    if let Ok((id, response)) = response::decode(bytes) {
        assert!(response.size_bytes() <= bytes.len());
        assert_eq!(response::encode(id, &response), bytes);
    }
}

fn history(text: &[u8]) {
    let Ok(mut history) = serde_json::from_slice::<History>(text) else {
        return;
    };
    let again = serde_json::to_vec(&history).ok();
    let again = again.and_then(|text| serde_json::from_slice(&text).ok());
    assert_eq!(again.as_ref(), Some(&history));
    for kept in history.revisions.clone() {
        let _ = history.target(Some(&kept.revision), None);
        let _ = history.target(None, Some(kept.revision.as_str()));
        history.fail(&kept.revision);
        let serving = kept.revision.clone();
        let dropped = history.publish(kept, 3);
        assert!(!dropped.contains(&serving), "what serves is dropped");
    }
}

fn id(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    if let Ok(id) = text.parse::<CorrelationId>() {
        assert_eq!(id.to_string(), text.to_ascii_lowercase());
    }
}
