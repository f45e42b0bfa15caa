//! One pass for all readers gives what a pass for each of them gives.

use super::*;

/// Makes a selection that a test wrote right.
fn selection(pointers: &[&str]) -> Selection {
    Selection::new(pointers.iter().map(|source| pointer(source)).collect()).unwrap()
}

fn texts(reader: &mut Reader, document: &str, selection: &mut Selection) -> Vec<Option<String>> {
    let values = reader.read(document.as_bytes(), selection).unwrap();
    values
        .iter()
        .map(|value| value.map(|value| value.raw().to_owned()))
        .collect()
}

#[test]
fn a_document_is_gone_over_once_whatever_the_number_of_readers() {
    let mut reader = Reader::new(Limits::default());
    let (mut first, mut second) = (selection(&["/a", "/b/0"]), selection(&["/c"]));
    for (nth, document) in [r#"{"a":1,"b":[2],"c":3}"#, r#"{"c":4}"#, "[]"]
        .iter()
        .enumerate()
    {
        reader.turn_over();
        for _ in 0..3 {
            texts(&mut reader, document, &mut first);
            texts(&mut reader, document, &mut second);
            texts(&mut reader, document, &mut selection(&["/c"]));
        }
        // The first document has a second pass: only then is the second selection known.
        assert_eq!(reader.passes(), nth as u64 + 2, "{document}");
    }
}

#[test]
fn a_document_that_is_no_json_is_gone_over_once() {
    let mut reader = Reader::new(Limits::default());
    let error = reader.read(b"{\"a\":}", &mut selection(&["/a"]));
    let fault = Fault::NoValue;
    assert_eq!(error, Err(JsonError::Syntax { at: 5, fault }));
    assert_eq!(
        reader.read(b"{\"a\":}", &mut selection(&["/b"])),
        Err(JsonError::Syntax { at: 5, fault })
    );
    assert_eq!(reader.passes(), 1);
}

#[test]
fn a_reader_that_knows_too_much_begins_to_learn_anew() {
    let mut reader = Reader::new(Limits::default());
    let mut kept = selection(&["/1", "/0"]);
    let document = "[1,2,3]";
    for nth in 0..3 * POINTERS_MAX {
        let wanted = ["1", "2", "3"]
            .get(nth)
            .map(|text| Some((*text).to_owned()));
        let mut other = selection(&[&format!("/{nth}")]);
        assert_eq!(texts(&mut reader, document, &mut other), [wanted.flatten()]);
        let values = texts(&mut reader, document, &mut kept);
        assert_eq!(values, [Some("2".to_owned()), Some("1".to_owned())]);
    }
}

#[test]
fn a_selection_has_as_many_pointers_as_a_set() {
    let many = |count| Selection::new(vec![pointer("/a"); count]);
    assert!(many(POINTERS_MAX).is_ok());
    let pointers = POINTERS_MAX + 1;
    assert_eq!(
        many(pointers).unwrap_err(),
        PointerError::TooMany { pointers }
    );
}

proptest! {
    /// Against a pass for each selection.
    #[test]
    fn many_readers_read_what_each_would_read_alone(
        documents in vec((prop_oneof![4 => document().prop_map(String::into_bytes), 1 => damaged()], vec(0..4_usize, 1..6)), 1..5),
        selections in vec(vec(any_pointer(), 0..4), 4),
    ) {
        let mut reader = Reader::new(Limits::default());
        let mut kept: Vec<_> = selections.iter().cloned().map(|it| Selection::new(it).unwrap()).collect();
        for (document, order) in &documents {
            reader.turn_over();
            for &nth in order {
                let alone = PointerSet::new(&selections[nth]).unwrap();
                let wanted = pick(document, &alone).map(|picked| picked.iter().collect::<Vec<_>>());
                prop_assert_eq!(reader.read(document, &mut kept[nth]), wanted);
            }
        }
    }
}
