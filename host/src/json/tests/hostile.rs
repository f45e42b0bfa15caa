//! What strangers send.

use super::*;

/// Runs a test on a small stack.
fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(256 << 10);
    thread.spawn(test).unwrap().join().unwrap();
}

fn fault(document: &str) -> (Fault, usize) {
    match one(document.as_bytes(), "/a").unwrap_err() {
        JsonError::Syntax { at, fault } => (fault, at),
        other => panic!("{other}"),
    }
}

fn refused(document: impl AsRef<[u8]>) {
    let document = document.as_ref();
    for source in ["", "/a", "/a/b", "/0"] {
        let got = one(document, source);
        assert!(
            got.is_err(),
            "{}: {got:?}",
            String::from_utf8_lossy(document)
        );
    }
    assert!(edit(document, &[]).is_err());
}

#[test]
fn deep_nesting_needs_no_stack() {
    for (levels, open, close) in [
        (1_000_000, "[", "]"),
        (1_000_000, "{\"a\":", "}"),
        (100_000, "[", "]"),
        (100_000, "{\"a\":", "}"),
        (50_000, "[{\"a\":", "}]"),
        (50_000, "{\"a\":[", "]}"),
    ] {
        on_a_small_stack(move || deep(levels, open, close));
    }
}

fn deep(levels: usize, open: &str, close: &str) {
    let (opens, closes) = (open.repeat(levels), close.repeat(levels));
    let nested = format!("{opens}1{closes}");
    assert_eq!(raw(&nested, ""), Some(nested.as_str()));
    // The same, but not as deep: what is there in it is there.
    let model = format!("{}1{}", open.repeat(40), close.repeat(40));
    let model: Value = serde_json::from_str(&model).unwrap();
    for tokens in ["/0", "/a", "/0/a", "/a/0"] {
        let source = tokens.repeat(POINTER_TOKENS_MAX * 2 / tokens.len());
        let got = raw(&nested, &source);
        assert_eq!(got.is_some(), model.pointer(&source).is_some(), "{source}");
        assert!(got.is_none_or(|got| got.len() < nested.len()));
    }
    // In members that no pointer names.
    let unread = format!("{{\"x\":{nested},\"a\":7,\"y\":{nested}}}");
    assert_eq!(raw(&unread, "/a"), Some("7"));
    assert_eq!(one(unread.as_bytes(), "/y").unwrap().unwrap().len(), Ok(1));
    let changes = [
        Change::Set(pointer("/a"), nested.clone()),
        Change::Remove(pointer("/x")),
    ];
    let got = edit(unread.as_bytes(), &changes).unwrap();
    assert!(got == format!("{{\"a\":{nested},\"y\":{nested}}}").into_bytes());
    for wrong in [
        format!("{opens}1{}", close.repeat(levels - 1)),
        format!("{nested}{close}"),
        opens,
    ] {
        assert!(one(wrong.as_bytes(), "/a/0").is_err());
    }
}

#[test]
fn nesting_can_be_bounded() {
    let limits = Limits {
        depth_max: 3,
        ..Limits::default()
    };
    let depth = |document: &str, source: &str| {
        let set = PointerSet::new([&pointer(source)]).unwrap();
        pick_within(document.as_bytes(), &set, limits).map(|_| ())
    };
    for source in ["", "/a", "/0/a/0", "/0/a/0/0", "/b"] {
        assert_eq!(
            depth("[{\"a\":[1,{}]}]", source),
            Err(JsonError::TooDeep {
                at: 9,
                depth_max: 3
            })
        );
        assert_eq!(
            depth("[{\"a\":[1]},{\"a\":[[]]}]", source),
            Err(JsonError::TooDeep {
                at: 17,
                depth_max: 3
            })
        );
        assert_eq!(depth("[{\"a\":[1],\"b\":{}},[[],[]],[{}]]", source), Ok(()));
    }
}

#[test]
fn wrong_encoding_is_refused() {
    let wrong: [&[u8]; 7] = [
        b"\xff",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xc3",
        b"a\x80",
    ];
    for bytes in wrong {
        for (before, after) in [
            ("{\"a\":\"", "\"}"),
            ("{\"x\":\"", "\",\"a\":1}"),
            ("{\"", "\":1}"),
            ("1 ", ""),
        ] {
            refused([before.as_bytes(), bytes, after.as_bytes()].concat());
        }
    }
    assert_eq!(
        one(b"{\"a\":\"x\xff\"}", "/a"),
        Err(JsonError::Utf8 { at: 7 })
    );
}

#[test]
fn the_last_of_members_with_one_name_counts() {
    let cases = [
        (r#"{"a":1,"a":2}"#, "/a", Some("2")),
        (r#"{"\u0061":1,"a":2}"#, "/a", Some("2")),
        (r#"{"a":1,"\u0061":2}"#, "/a", Some("2")),
        (r#"{"a":{"b":1},"a":2}"#, "/a/b", None),
        (r#"{"a":{"b":1},"\u0061":{}}"#, "/a/b", None),
        (r#"{"a":{"b":1},"a":{"c":2}}"#, "/a/b", None),
        (r#"{"a":{"b":1},"a":[2]}"#, "/a/b", None),
        (r#"{"a":{"0":1},"a":[2]}"#, "/a/0", Some("2")),
        (r#"{"a":[1,2],"a":[3]}"#, "/a/1", None),
        (r#"{"a":1,"a":{"b":2}}"#, "/a/b", Some("2")),
        (r#"{"a":{"b":{"c":1}},"a":{"b":{}}}"#, "/a/b/c", None),
        (
            r#"{"a":{"b":{"c":1},"b":0},"a":{"b":{"c":2}}}"#,
            "/a/b/c",
            Some("2"),
        ),
        (r#"{"a":{"b":{"c":1}},"a":{}}"#, "/a/b/c", None),
        (
            r#"{"\ud83d\ude00":1,"😀":2,"\uD83D\uDE00":3}"#,
            "/😀",
            Some("3"),
        ),
        (r#"{"a":1,"a\u0000":2,"\u0061\u0061":3}"#, "/a", Some("1")),
    ];
    for (document, source, want) in cases {
        assert_eq!(raw(document, source), want, "{document} {source}");
        agree(document.as_bytes(), vec![pointer(source)]);
    }
    let many: Vec<_> = (0..40).map(|i| format!("\"k{i}\":{i},")).collect();
    assert_eq!(
        raw(&format!("{{{}\"a\":1,\"a\":2}}", many.concat()), "/a"),
        Some("2")
    );
}

#[test]
fn nothing_may_follow_the_document() {
    for document in [
        "{\"a\":1}{\"a\":2}",
        "{\"a\":1} x",
        "{\"a\":1}\0",
        "{\"a\":1},",
        "1 2",
        "null null",
        "{\"a\":1}]",
    ] {
        refused(document);
    }
    assert_eq!(fault("{\"a\":1} x"), (Fault::Trailing, 8));
}

#[test]
fn what_json_does_not_have_is_refused() {
    let values = [
        "NaN",
        "Infinity",
        "-Infinity",
        "01",
        "-01",
        "+1",
        "1.",
        ".5",
        "1e",
        "1e+",
        "-",
        "0x1",
        "1_0",
        "'a'",
        "nul",
        "nulll",
        "True",
        "tru",
        "\"a\nb\"",
        "\"a\0b\"",
        "\"\u{1f}\"",
        r#""\x""#,
        r#""\u12""#,
        r#""\u12g4""#,
        r#""\U0061""#,
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"b\":1,}",
        "{,}",
        "{\"b\"}",
        "{\"b\":}",
        "{b:1}",
        "{1:1}",
        "{\"b\" 1}",
        "{\"b\":1 \"c\":2}",
        "[1}",
        "{\"b\":1]",
        "/*c*/1",
        "1//c",
        "\u{feff}1",
        "\u{a0}1",
        "\u{c}1",
        "\u{b}1",
        "undefined",
        "\"a",
        "[",
        "{",
        "",
    ];
    for value in values {
        refused(format!("{{\"a\":{value}}}"));
        refused(format!("{{\"x\":{value},\"a\":1}}"));
        refused(format!("{{\"a\":1,\"x\":{value}}}"));
        refused(format!(
            "[{value}]{}",
            if value.is_empty() { "]" } else { "" }
        ));
        refused(format!("{value}\u{b}"));
    }
    refused("\u{feff}{\"a\":1}");
    refused("");
    refused(" ");
}

#[test]
fn a_fault_says_what_and_where() {
    let cases = [
        ("{\"a\":1,}", Fault::NoName, 7),
        ("{\"a\" 1}", Fault::NoColon, 5),
        ("{\"a\":1 2}", Fault::NoComma, 7),
        ("[01]", Fault::NoComma, 2),
        ("[1.]", Fault::NoDigit, 3),
        ("[1,]", Fault::NoValue, 3),
        ("[nule]", Fault::NoValue, 1),
        ("[nul", Fault::Ended, 4),
        ("[\"ab", Fault::Ended, 4),
        ("[\"\\", Fault::Ended, 3),
        ("[\"\\u12", Fault::Ended, 6),
        ("[\"a\\x\"]", Fault::Escape, 3),
        ("[\"long enough\n\"]", Fault::Control, 13),
    ];
    for (document, want, at) in cases {
        assert_eq!(fault(document), (want, at), "{document}");
    }
}

#[test]
fn what_is_accepted_beyond_fails_when_it_is_read() {
    let document = r#"{"a":"\ud800","b":1e400,"\udc00":2,"c":3}"#;
    assert_eq!(raw(document, "/a"), Some(r#""\ud800""#));
    assert_eq!(
        one(document.as_bytes(), "/a").unwrap().unwrap().as_str(),
        Err(JsonError::Surrogate { at: 0 })
    );
    assert_eq!(raw(document, "/b"), Some("1e400"));
    assert_eq!(raw(document, "/c"), Some("3"));
    // Lone surrogates are not the character that takes the place of what is wrong.
    assert_eq!(raw(document, "/\u{fffd}"), None);
}

#[test]
fn long_numbers_stay_text() {
    let digits = "1".repeat(1 << 20);
    let document = format!("{{\"a\":{digits}}}");
    assert_eq!(raw(&document, "/a"), Some(digits.as_str()));
    let got = one(document.as_bytes(), "/a").unwrap().unwrap();
    assert_eq!(got.as_f64(), Err(JsonError::Range { wanted: "f64" }));
    assert_eq!(got.as_u64(), Err(JsonError::Range { wanted: "u64" }));
}

#[test]
fn large_documents_are_refused() {
    let limits = Limits {
        bytes_max: 7,
        ..Limits::default()
    };
    let set = PointerSet::new([&pointer("/a")]).unwrap();
    assert!(pick_within(b"{\"a\":1}", &set, limits).is_ok());
    let error = JsonError::TooLarge {
        bytes: 8,
        bytes_max: 7,
    };
    assert_eq!(pick_within(b"{\"a\":10}", &set, limits), Err(error.clone()));
    assert_eq!(JsonText::parse(b"{\"a\":10}", limits), Err(error));
    let big = vec![b' '; (64 << 20) + 1];
    assert!(matches!(
        pick(&big, &set),
        Err(JsonError::TooLarge {
            bytes: 67_108_865,
            bytes_max: 67_108_864
        })
    ));
}

#[test]
fn many_small_values_are_counted_one_by_one() {
    for (part, kind) in [
        ("0", Kind::Number),
        ("[]", Kind::Array),
        ("{\"\":0}", Kind::Object),
    ] {
        let document = format!("[{}]", vec![part; 100_000].join(","));
        let got = one(document.as_bytes(), "").unwrap().unwrap();
        assert_eq!(got.len(), Ok(100_000));
        assert!(got.items().unwrap().all(|item| item.kind() == kind));
        assert_eq!(raw(&document, "/99999"), Some(part));
    }
}
