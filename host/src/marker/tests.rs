//! Markers say to each reader what their writer meant.

use proptest::prelude::*;

use super::*;

fn any_place() -> impl Strategy<Value = Place> {
    ("[a-z.]{1,5}", 0..5i32)
}

fn any_key() -> impl Strategy<Value = MarkerKey> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..6);
    let text = "\\PC{0,4}".prop_map(String::into_bytes);
    let says = prop_oneof![Just(Says::State), "[a-z]{0,3}".prop_map(Says::Request)];
    let of = prop::option::of(any_place());
    (any_place(), of, prop_oneof![bytes, text], says).prop_map(|(place, of, key, says)| MarkerKey {
        place,
        slot: Slot { of, key },
        says,
    })
}

fn state(first: i64, last: i64) -> State {
    State {
        handler: "acme/orders".to_owned(),
        first,
        last,
        error_kind: "trap".to_owned(),
        time_ms: 1,
        session: Some("s".to_owned()),
    }
}

proptest! {
    #[test]
    fn what_a_key_says_is_read_back_and_no_other_says_it(one in any_key(), other in any_key()) {
        let bytes = one.encode();
        prop_assert_eq!(&MarkerKey::decode(&bytes).unwrap(), &one);
        prop_assert_eq!(bytes == other.encode(), one == other);
    }

    #[test]
    fn the_markers_are_the_last_words(
        words in proptest::collection::vec((0..6usize, prop::option::of(0..9i64)), 0..40),
    ) {
        let keys: Vec<MarkerKey> = (0..6).map(|n: i32| MarkerKey {
            place: ("t".to_owned(), n % 2),
            slot: Slot { of: None, key: vec![0xff, u8::try_from(n / 2).unwrap()] },
            says: Says::State,
        }).collect();
        let mut markers = Markers::default();
        for (n, value) in &words {
            let value = value.map(|last| state(0, last).encode());
            markers.apply(&keys[*n].encode(), value.as_deref()).unwrap();
        }
        for (n, key) in keys.iter().enumerate() {
            let last = words.iter().rev().find(|(other, _)| *other == n).and_then(|(_, value)| *value);
            let found = markers.of("t", key.place.1).states.get(&key.slot).map(|state| state.last);
            prop_assert_eq!(found, last);
        }
    }
}

#[test]
fn a_marker_is_text_that_a_person_can_read() {
    let key = MarkerKey {
        place: ("g.replay".to_owned(), 2),
        slot: Slot {
            of: Some(("orders".to_owned(), 7)),
            key: b"k-1".to_vec(),
        },
        says: Says::State,
    };
    assert_eq!(
        String::from_utf8(key.encode()).unwrap(),
        r#"{"says":"state","topic":"g.replay","partition":2,"of":["orders",7],"key":"k-1"}"#
    );
    let text = String::from_utf8(state(3, 9).encode()).unwrap();
    assert_eq!(
        text,
        r#"{"handler":"acme/orders","first":3,"last":9,"error-kind":"trap","time-ms":1,"session":"s"}"#
    );
    assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state(3, 9));
}

#[test]
fn a_state_that_cannot_be_read_parks_its_key_all_the_same() {
    let key = MarkerKey {
        place: ("t".to_owned(), 0),
        slot: Slot {
            of: None,
            key: b"k".to_vec(),
        },
        says: Says::State,
    };
    let mut markers = Markers::default();
    markers.apply(&key.encode(), Some(b"{")).unwrap();
    assert_eq!(markers.states().len(), 1);
    let request = MarkerKey {
        says: Says::Request("s".to_owned()),
        ..key
    };
    assert!(markers.apply(&request.encode(), Some(b"{")).is_err());
    assert!(markers.apply(b"k", Some(b"{}")).is_err());
    assert_eq!(markers.states().len(), 1);
}

#[test]
fn a_request_without_a_session_is_taken_back_as_it_was_written() {
    let old = br#"{"says":"request","topic":"t","partition":0,"key":"k"}"#;
    let key = MarkerKey::decode(old).unwrap();
    assert_eq!(key.says, Says::Request(String::new()));
    assert_eq!(key.encode(), old);
}
