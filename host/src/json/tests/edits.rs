//! What is changed agrees with changes of a `serde_json::Value`, and the rest stays.

use super::*;

fn set(source: &str, value: &str) -> Change {
    Change::Set(pointer(source), value.to_owned())
}

fn remove(source: &str) -> Change {
    Change::Remove(pointer(source))
}

fn edited(document: &str, changes: &[Change]) -> String {
    String::from_utf8(edit(document.as_bytes(), changes).unwrap()).unwrap()
}

/// Makes a change on a tree.
fn naive(document: &mut Value, change: &Change) -> Result<(), &'static str> {
    let (Change::Set(pointer, _) | Change::Remove(pointer)) = change;
    let value = match change {
        Change::Set(_, value) => Some(serde_json::from_str(value).map_err(|_| "value")?),
        Change::Remove(_) => None,
    };
    let Some((parent, last)) = pointer.as_str().rsplit_once('/') else {
        *document = value.ok_or("all")?;
        return Ok(());
    };
    let last = last.replace("~1", "/").replace("~0", "~");
    match (document.pointer_mut(parent), value) {
        (Some(Value::Object(members)), Some(value)) => drop(members.insert(last, value)),
        (Some(Value::Object(members)), None) => drop(members.shift_remove(&last)),
        (Some(Value::Array(items)), Some(value)) => {
            let place = (0..=items.len()).find(|i| i.to_string() == last);
            let place = if last == "-" {
                items.len()
            } else {
                place.ok_or("index")?
            };
            items.splice(place..items.len().min(place + 1), [value]);
        }
        (Some(Value::Array(items)), None) => {
            let place = (0..items.len()).find(|i| i.to_string() == last);
            place.map(|place| items.remove(place));
        }
        (_, Some(_)) => return Err("parent"),
        (_, None) => {}
    }
    Ok(())
}

fn name_of(error: &JsonError) -> &'static str {
    match error {
        JsonError::Value { .. } => "value",
        JsonError::NoParent { .. } => "parent",
        JsonError::NoIndex { .. } => "index",
        JsonError::RemovesAll => "all",
        _ => "other",
    }
}

/// Leaves out the space between tokens.
fn dense(document: &[u8]) -> Vec<u8> {
    let (mut quoted, mut escaped) = (false, false);
    let keep = |byte: &u8| {
        let keep = quoted || !b" \t\r\n".contains(byte);
        quoted ^= *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        keep
    };
    document.iter().copied().filter(keep).collect()
}

/// A change of a place that a document may have, at which `select` chooses among all it has.
#[derive(Debug, Clone)]
struct Wish {
    select: Option<prop::sample::Index>,
    pointer: Pointer,
    value: Option<String>,
}

impl Wish {
    /// Makes the change: of the pointer, or of it below a place of the document.
    fn of(&self, places: &[Pointer]) -> Change {
        let base = self
            .select
            .map_or("", |select| places[select.index(places.len())].as_str());
        let below = format!("{base}{}", self.pointer);
        let pointer = Pointer::parse(&below).unwrap_or(self.pointer.clone());
        match self.value.clone() {
            Some(value) => Change::Set(pointer, value),
            None => Change::Remove(pointer),
        }
    }
}

fn wish() -> impl Strategy<Value = Wish> {
    let short = prop_oneof![
        2 => Just(pointer("")),
        3 => any_pointer(),
        3 => select(vec!["/-", "/a", "/0", "/1", "/b"]).prop_map(pointer),
    ];
    let padded = value(false).prop_map(|value| format!(" {value}\n"));
    let value = prop_oneof![2 => value(false), 1 => padded, 1 => Just("[]".to_owned())];
    let value = prop_oneof![3 => value.prop_map(Some), 2 => Just(None)];
    let select = prop::option::weighted(0.8, any::<prop::sample::Index>());
    (select, short, value).prop_map(|(select, pointer, value)| Wish {
        select,
        pointer,
        value,
    })
}

/// Makes changes of wishes, each at a place that is there when it is applied; most are possible.
fn changes_of(
    document: &str,
    wishes: &[Wish],
    all: bool,
) -> (Vec<Change>, Result<Value, &'static str>) {
    let mut model: Value = serde_json::from_str(document).unwrap();
    let mut changes = Vec::new();
    for wish in wishes {
        let mut places = Vec::new();
        all_pointers(&model, "", &mut places);
        let change = wish.of(&places);
        let mut next = model.clone();
        match naive(&mut next, &change) {
            Ok(()) => model = next,
            Err(_) if !all => continue,
            Err(error) => {
                changes.push(change);
                return (changes, Err(error));
            }
        }
        changes.push(change);
    }
    (changes, Ok(model))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    #[test]
    fn edits_agree_with_edits_of_a_tree(
        document in document(),
        wishes in vec(wish(), 0..12),
        all in prop::bool::weighted(0.3),
    ) {
        let (changes, want) = changes_of(&document, &wishes, all);
        let got = edit(document.as_bytes(), &changes);
        match (&got, want) {
            (Ok(got), Ok(want)) => {
                let got: Value = serde_json::from_slice(got).unwrap();
                // As text, so that the order of members counts.
                prop_assert_eq!(got.to_string(), want.to_string());
            }
            (got, want) => prop_assert_eq!(got.as_ref().map_err(name_of).map(drop), want.map(drop)),
        }
        let mut one_by_one = Ok(document.into_bytes());
        for change in &changes {
            one_by_one = one_by_one.and_then(|document| edit(&document, std::slice::from_ref(change)));
        }
        prop_assert_eq!(got.map(|got| dense(&got)), one_by_one.map(|got| dense(&got)));
    }

    #[test]
    fn a_value_that_is_set_changes_no_other_byte(
        value in value(true),
        (before, after) in (space(), space()),
        select in any::<prop::sample::Index>(),
    ) {
        let document = format!("{before}{value}{after}");
        let mut places = Vec::new();
        all_pointers(&serde_json::from_str(&document).unwrap(), "", &mut places);
        let place = &places[select.index(places.len())];
        let old = one(document.as_bytes(), place.as_str()).unwrap().unwrap().raw();
        let start = old.as_ptr().addr() - document.as_ptr().addr();
        let want = format!("{}[ 7 ]{}", &document[..start], &document[start + old.len()..]);
        prop_assert_eq!(edited(&document, &[Change::Set(place.clone(), " [ 7 ]\n".to_owned())]), want);
        prop_assert_eq!(edited(&document, &[Change::Set(place.clone(), old.to_owned())]), document);
    }

    #[test]
    fn no_change_changes_nothing(document in document(), absent in any_pointer()) {
        prop_assert_eq!(&edited(&document, &[]), &document);
        if raw(&document, absent.as_str()).is_none() {
            prop_assert_eq!(&edited(&document, &[Change::Remove(absent)]), &document);
        }
    }
}

#[test]
fn what_is_removed_goes_with_one_comma() {
    let document = "{\n  \"a\": 1,\n  \"b\" : [ 1 , 2,3 ],\n  \"c\": 1.50\n}\n";
    let cases: [(&[&str], &str); 7] = [
        (&["/a"], "{\n  \"b\" : [ 1 , 2,3 ],\n  \"c\": 1.50\n}\n"),
        (&["/b"], "{\n  \"a\": 1,\n  \"c\": 1.50\n}\n"),
        (&["/c"], "{\n  \"a\": 1,\n  \"b\" : [ 1 , 2,3 ]\n}\n"),
        (&["/c", "/a", "/b"], "{\n}\n"),
        (&["/c", "/a", "/b/0"], "{\n  \"b\" : [ 2,3 ]\n}\n"),
        (&["/c", "/a", "/b/1"], "{\n  \"b\" : [ 1,3 ]\n}\n"),
        (&["/c", "/a", "/b/2"], "{\n  \"b\" : [ 1 , 2 ]\n}\n"),
    ];
    for (sources, want) in cases {
        let changes: Vec<_> = sources.iter().copied().map(remove).collect();
        assert_eq!(edited(document, &changes), want, "{sources:?}");
    }
}

#[test]
fn what_is_new_comes_last() {
    assert_eq!(edited("{}", &[set("/a", "1")]), r#"{"a":1}"#);
    assert_eq!(
        edited("{ \"b\": 2 }", &[set("/a", "1"), set("/\"~1\u{1}", "2")]),
        r#"{ "b": 2,"a":1,"\"/\u0001":2 }"#
    );
    assert_eq!(
        edited("[]", &[set("/0", "1"), set("/-", "2"), set("/2", "3")]),
        "[1,2,3]"
    );
    assert_eq!(
        edited("[ 9 ]", &[set("/-", "1"), set("/0", "2")]),
        "[ 2,1 ]"
    );
    assert_eq!(edited(r#"{"-":1}"#, &[set("/-", "2")]), r#"{"-":2}"#);
    // Removed and set again, it is new.
    assert_eq!(
        edited(r#"{"a":1,"b":2}"#, &[remove("/a"), set("/a", "3")]),
        r#"{"b":2,"a":3}"#
    );
    assert_eq!(
        edited("{}", &[set("/b", "1"), set("/a", "2"), set("/b", "3")]),
        r#"{"b":3,"a":2}"#
    );
}

#[test]
fn what_is_set_can_be_changed_further() {
    let changes = [
        set("/a", "{ }"),
        set("/a/b", "[0]"),
        set("/a/b/0", "1e400"),
        set("/a/b/-", "null"),
        remove("/a/c"),
    ];
    assert_eq!(edited("{}", &changes), r#"{"a":{"b":[1e400,null] }}"#);
    assert_eq!(
        edited(
            "[1,2,3]",
            &[
                remove("/0"),
                set("/0", "[]"),
                set("/0/-", "5"),
                remove("/1")
            ]
        ),
        "[[5]]"
    );
}

#[test]
fn members_of_one_name_become_one() {
    let document = r#"{"a":1,"b":2,"\u0061":3,"a":4}"#;
    assert_eq!(edited(document, &[set("/a", "9")]), r#"{"a":9,"b":2}"#);
    assert_eq!(edited(document, &[remove("/a")]), r#"{"b":2}"#);
    // On the way to what is set, the last counts; the others stay.
    let document = r#"{"a":{"x":1},"b":2,"a":{"x":3}}"#;
    assert_eq!(
        edited(document, &[set("/a/x", "9")]),
        r#"{"a":{"x":1},"b":2,"a":{"x":9}}"#
    );
    assert_eq!(
        edited(document, &[set("/a/x", "9"), set("/a", "0")]),
        r#"{"a":0,"b":2}"#
    );
}

#[test]
fn a_change_that_cannot_be_made_says_where() {
    let fails = |document: &str, change: Change| edit(document.as_bytes(), &[change]).unwrap_err();
    for (document, source) in [
        ("{}", "/a/b"),
        ("1", "/a"),
        ("[1]", "/0/0"),
        ("[1]", "/1/0"),
        ("[]", "/-/a"),
        (r#"{"a":"x"}"#, "/a/0"),
    ] {
        let pointer = pointer(source);
        assert_eq!(
            fails(document, set(source, "1")),
            JsonError::NoParent { pointer }
        );
        assert_eq!(edited(document, &[remove(source)]), document);
    }
    for source in ["/2", "/a", "/01", "/"] {
        let pointer = pointer(source);
        assert_eq!(
            fails("[1]", set(source, "1")),
            JsonError::NoIndex { pointer }
        );
        assert_eq!(edited("[1]", &[remove(source)]), "[1]");
    }
    assert_eq!(edited("[1]", &[remove("/1"), remove("/-")]), "[1]");
    assert_eq!(fails("{}", remove("")), JsonError::RemovesAll);
    assert_eq!(edited(" 1 ", &[set("", " 2 ")]), " 2 ");
    for wrong in ["", "1 2", "x", "{\"a\":1,\"b\":2", "1,\"b\":2", "1}"] {
        assert!(
            matches!(fails("{}", set("/a", wrong)), JsonError::Value { .. }),
            "{wrong}"
        );
    }
    let error = fails("{}", set("/a~1b", "[1 2]"));
    assert_eq!(
        error.to_string(),
        "the value to set at `/a~1b`: neither a comma nor the end of the array or object at byte 3"
    );
}

#[test]
fn the_result_has_limits() {
    let limits = Limits {
        bytes_max: 10,
        depth_max: 3,
    };
    let edit = |document: &str, change| edit_within(document.as_bytes(), &[change], limits);
    assert_eq!(edit("{}", set("/a", "1234")).unwrap(), b"{\"a\":1234}");
    assert_eq!(
        edit("{}", set("/a", "12345")),
        Err(JsonError::TooLarge {
            bytes: 11,
            bytes_max: 10
        })
    );
    assert_eq!(edit("[[0]]", set("/0/0", "[1]")).unwrap(), b"[[[1]]]");
    let error = edit("[[0]]", set("/0/0", "[[]]")).unwrap_err();
    let source = Box::new(JsonError::TooDeep {
        at: 1,
        depth_max: 1,
    });
    assert_eq!(
        error,
        JsonError::Value {
            pointer: pointer("/0/0"),
            source
        }
    );
    assert_eq!(
        edit("[[[[]]]]", remove("/0")),
        Err(JsonError::TooDeep {
            at: 3,
            depth_max: 3
        })
    );
    let changes = vec![remove("/a"); CHANGES_MAX + 1];
    assert_eq!(
        super::edit(b"{}", &changes),
        Err(JsonError::TooManyChanges { changes: 1025 })
    );
    assert!(super::edit(b"{}", &changes[1..]).is_ok());
}

#[test]
fn items_far_into_a_long_array_are_found() {
    let mut items: Vec<String> = (0..5000).map(|i| format!("{{\"n\": {i}}}")).collect();
    let document = format!("[{}]", items.join(", "));
    let mut changes = Vec::new();
    for i in (0..900).map(|i| i * 977 % 4000) {
        if i % 3 == 0 {
            changes.push(remove(&format!("/{i}")));
            items.remove(i);
        } else {
            changes.push(set(&format!("/{i}/n"), "true"));
            items[i] = "{\"n\": true}".to_owned();
        }
    }
    assert_eq!(
        edited(&document, &changes),
        format!("[{}]", items.join(", "))
    );
}
