//! Tests of what a component says of itself, with components made by hand.

use miniz_oxide::deflate::compress_to_vec_zlib;
use proptest::prelude::*;

use super::*;

const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
const MODULE: &[u8] = b"\0asm\x01\0\0\0";

fn number(mut n: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = u8::try_from(n & 0x7f).unwrap();
        n >>= 7;
        if n == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

fn with_length(bytes: &[u8]) -> Vec<u8> {
    [number(bytes.len()), bytes.to_vec()].concat()
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [vec![id], with_length(content)].concat()
}

fn custom(name: &str, content: &[u8]) -> Vec<u8> {
    section(
        0,
        &[with_length(name.as_bytes()), content.to_vec()].concat(),
    )
}

fn producers(fields: &[(&str, &[(&str, &str)])]) -> Vec<u8> {
    let mut content = number(fields.len());
    for (field, tools) in fields {
        content.extend(with_length(field.as_bytes()));
        content.extend(number(tools.len()));
        for (name, version) in *tools {
            content.extend(with_length(name.as_bytes()));
            content.extend(with_length(version.as_bytes()));
        }
    }
    custom("producers", &content)
}

fn component(sections: &[Vec<u8>]) -> Vec<u8> {
    [COMPONENT.to_vec(), sections.concat()].concat()
}

fn packages(json: &str) -> Vec<u8> {
    custom(".dep-v0", &compress_to_vec_zlib(json.as_bytes(), 6))
}

#[test]
fn what_tools_have_left_is_told_in_short_lines() {
    let list = r#"{"packages":[{"name":"orders","version":"1.2.0","source":"local","root":true},
        {"name":"anyhow","version":"1.0.1","source":"crates.io","kind":"build"}]}"#;
    let module = [
        MODULE.to_vec(),
        producers(&[
            ("language", &[("Rust", "")]),
            ("processed-by", &[("rustc", "1.95.0 (59807616e)")]),
        ]),
        // Of the module, not of the whole.
        custom("version", b"9"),
        packages(list),
    ]
    .concat();
    let wasm = component(&[
        section(1, &module),
        custom(
            "component-name",
            &section(0, &with_length(b"orders-handler")),
        ),
        custom("version", b"1.2.0"),
        custom("licenses", b"MIT"),
        producers(&[("processed-by", &[("wit-component", "0.254.0")])]),
    ]);
    assert_eq!(
        provenance(&wasm),
        [
            "name orders-handler, version 1.2.0, licenses MIT",
            "language Rust; processed-by rustc 1.95.0 (59807616e), wit-component 0.254.0",
            "2 packages: anyhow 1.0.1, orders 1.2.0",
        ]
    );
    assert!(provenance(COMPONENT).is_empty());
}

#[test]
fn a_hostile_component_prints_nothing_that_a_terminal_obeys() {
    let evil = "\u{1b}[2J\r\n\u{202e}\u{9b}1m\0";
    let wasm = component(&[
        custom("version", evil.as_bytes()),
        custom("description", "x".repeat(100_000).as_bytes()),
        custom("authors", b"\xff\xfe"),
        producers(&[("language", &[(evil, evil)])]),
        packages(&format!(
            r#"{{"packages":[{{"name":{},"version":"1"}}]}}"#,
            serde_json::to_string(evil).unwrap()
        )),
    ]);
    let told = provenance(&wasm).join("\n");
    assert!(
        told.chars().all(|c| c == '\n' || !c.is_control()) && !told.contains('\u{202e}'),
        "{told:?}"
    );
    assert!(told.contains("\\u{1b}[2J"), "{told}");
    assert!(told.len() < 2_000, "{}", told.len());
}

#[test]
fn a_list_that_unpacks_to_too_much_is_told_and_not_unpacked() {
    let bomb = packages(&" ".repeat(64 << 20));
    assert!(bomb.len() < 100_000);
    let many = vec![bomb; 50];
    let told = "a list of packages that is damaged or too large";
    assert_eq!(provenance(&component(&many)), [told]);
    assert_eq!(
        provenance(&component(&[custom(".dep-v0", b"no zlib")])),
        [told]
    );
    let nested = "[".repeat(100_000);
    assert_eq!(provenance(&component(&[packages(&nested)])), [told]);
}

#[test]
fn binaries_within_binaries_are_followed_so_far() {
    let mut wasm = component(&[producers(&[("language", &[("Rust", "1")])])]);
    for _ in 0..5 {
        wasm = component(&[section(4, &wasm)]);
    }
    assert_eq!(provenance(&wasm), ["language Rust 1"]);
    for _ in 0..50 {
        wasm = component(&[section(4, &wasm)]);
    }
    assert!(provenance(&wasm).is_empty());
    // Thousands beside each other, and a length that is not there.
    let empty = section(1, MODULE);
    assert!(provenance(&component(&vec![empty; 10_000])).is_empty());
    let cut = component(&[
        custom("version", b"1"),
        vec![0, 0xff, 0xff, 0xff, 0xff, 0x0f],
    ]);
    assert_eq!(provenance(&cut), ["version 1"]);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_talk(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in any::<prop::sample::Index>()) {
        let good = component(&[
            producers(&[("language", &[("Rust", "1"), ("C", "2")])]),
            custom("version", &bytes),
            packages("{\"packages\":[]}"),
        ]);
        let mut broken = good.clone();
        let at = cut.index(good.len());
        broken[at] ^= bytes.first().copied().unwrap_or(1);
        for wasm in [&bytes, &good[..at].to_vec(), &broken, &component(std::slice::from_ref(&bytes))] {
            let told = provenance(wasm).join("");
            prop_assert!(told.len() < 5_000);
            prop_assert!(!told.chars().any(char::is_control), "{told:?}");
        }
    }
}
