//! Which texts are pointers, and what they name.

use super::*;

#[test]
fn the_examples_of_rfc_6901_name_what_it_says() {
    let document = r#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8}"#;
    let cases = [
        ("", document),
        ("/foo", r#"["bar","baz"]"#),
        ("/foo/0", "\"bar\""),
        ("/", "0"),
        ("/a~1b", "1"),
        ("/c%d", "2"),
        ("/e^f", "3"),
        ("/g|h", "4"),
        ("/i\\j", "5"),
        ("/k\"l", "6"),
        ("/ ", "7"),
        ("/m~0n", "8"),
    ];
    for (source, want) in cases {
        assert_eq!(raw(document, source), Some(want), "{source}");
        assert_eq!(pointer(source).to_string(), source);
    }
    let set: Vec<_> = cases.iter().map(|(source, _)| pointer(source)).collect();
    let picked = PointerSet::new(&set).unwrap();
    let picked = pick(document.as_bytes(), &picked).unwrap();
    let got: Vec<_> = picked.iter().map(|value| value.unwrap().raw()).collect();
    assert_eq!(got, cases.map(|(_, want)| want));
}

#[test]
fn an_item_is_named_by_its_index_only() {
    for token in [
        "01",
        "00",
        "-",
        "+1",
        "1.0",
        "-1",
        " 1",
        "1e0",
        "3",
        "18446744073709551616",
        "",
    ] {
        assert_eq!(raw("[7,8,9]", &format!("/{token}")), None, "{token}");
    }
    assert_eq!(raw("[7,8,9]", "/2"), Some("9"));
    assert_eq!(raw(r#"{"01":1,"-":2}"#, "/01"), Some("1"));
    assert_eq!(raw(r#"{"01":1,"-":2}"#, "/-"), Some("2"));
}

#[test]
fn escapes_of_a_tilde_come_last() {
    let tokens: Vec<_> = pointer("/~01/~1~0/")
        .tokens()
        .map(ToOwned::to_owned)
        .collect();
    assert_eq!(tokens, ["~1", "/~", ""]);
}

#[test]
fn what_is_no_pointer_says_where_and_why() {
    let wrong = |source: &str| Pointer::parse(source).unwrap_err();
    assert_eq!(wrong("a/b"), PointerError::NoSlash { found: 'a' });
    assert_eq!(wrong("#/b"), PointerError::NoSlash { found: '#' });
    assert_eq!(wrong("/a~"), PointerError::Tilde { at: 2 });
    assert_eq!(wrong("/~0/é~2"), PointerError::Tilde { at: 6 });
    assert_eq!(wrong("/~/1"), PointerError::Tilde { at: 1 });
    assert_eq!(wrong("/~~0"), PointerError::Tilde { at: 1 });
    assert_eq!(
        wrong(&"/a".repeat(33)),
        PointerError::TooDeep { tokens: 33 }
    );
    assert_eq!(
        wrong(&"/a".repeat(600)),
        PointerError::TooLong { bytes: 1200 }
    );
    assert_eq!(
        wrong("/a~2").to_string(),
        "'~' at byte 2 of the pointer must be written '~0', or '~1' where '/' is meant"
    );
    assert!(Pointer::parse(&"/a".repeat(32)).is_ok());
    assert!(Pointer::parse(&format!("/{}", "a".repeat(1023))).is_ok());
}

#[test]
fn a_set_has_a_bound() {
    let pointers = vec![pointer("/a"); POINTERS_MAX + 1];
    assert!(PointerSet::new(&pointers[1..]).is_ok());
    let error = PointerSet::new(&pointers).unwrap_err();
    assert_eq!(error, PointerError::TooMany { pointers: 1025 });
    assert_eq!(error.to_string(), "1025 pointers, 1024 are allowed");
}

#[test]
fn a_set_of_the_most_pointers_reads_each() {
    let pointers: Vec<_> = (0..POINTERS_MAX)
        .map(|i| pointer(&format!("/m{}/{i}", i % 7)))
        .collect();
    let members: Vec<_> = (0..7)
        .rev()
        .map(|m| {
            let inner: Vec<_> = (0..POINTERS_MAX)
                .map(|i| format!("\"\\u003{}{}\":{i}", i % 10, i / 10))
                .collect();
            format!("\"m{m}\":{{{}}}", inner.join(","))
        })
        .collect();
    let document = format!("{{{}}}", members.join(","));
    agree(document.as_bytes(), pointers);
}

proptest! {
    #[test]
    fn any_text_makes_a_pointer_or_an_error(source in any::<String>(), tokens in vec(any::<String>(), 0..6)) {
        if let Ok(pointer) = Pointer::parse(&source) {
            prop_assert_eq!(pointer.as_str(), source);
        }
        let escape = |token: &String| format!("/{}", token.replace('~', "~0").replace('/', "~1"));
        let escaped = tokens.iter().map(escape).collect::<Vec<_>>().concat();
        if escaped.len() <= POINTER_BYTES_MAX {
            prop_assert!(pointer(&escaped).tokens().eq(tokens.iter().map(String::as_str)));
        }
    }
}
