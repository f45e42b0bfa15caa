//! What is signed, who signed it, and what components say of themselves.

use super::first_line;
use crate::provenance::provenance;
use crate::release::{FileDigest, Release, Subject};
use crate::trust::{Key, Signs, Trust, TrustedKey};

/// Characters that are printed of one component, whatever is in it.
const SAID_MAX: usize = 64 << 10;
/// A key of minisign.
const KEY: &str = "RWTjj36ejDxG+nfLAENzAyyTmGH3rzfBL5YSeVW5rPowz9G9nfn32hrH";

/// Reads the rest of the input as what its first line says.
pub fn signature(data: &[u8]) {
    let (what, rest) = first_line(data);
    match what {
        b"release" => release(rest),
        b"signature" => minisign(rest),
        b"key" => key(rest),
        b"component" => component(rest),
        _ => {}
    }
}

fn release(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    if let Ok(release) = Release::parse(&text) {
        assert_eq!(release.text(), text);
        let _ = format!("{:?} {}", release, release.subject);
    }
    for word in text.split_whitespace() {
        if let Ok(digest) = word.parse::<FileDigest>() {
            assert_eq!(digest.to_string(), word);
        }
    }
}

/// What is signed, a line with nothing but two dashes, and the signature.
fn minisign(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let (signed, signature) = text.split_once("--\n").unwrap_or(("", &text));
    let (Ok(id), Ok(key), Ok(all)) = ("acme/orders".parse(), KEY.parse(), "*".parse()) else {
        return;
    };
    let signs = vec![Signs::Handlers];
    let trusted = TrustedKey {
        key,
        tenants: vec![all],
        signs,
    };
    let keys = Some(vec![trusted]);
    let trust = Trust { keys };
    let subject = Subject::Handler(id);
    let _ = trust.check(&subject, signed.as_bytes(), signature);
}

fn key(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let read: Vec<Key> = text.lines().filter_map(|line| line.parse().ok()).collect();
    assert!(read.len() <= text.lines().count());
}

fn component(wasm: &[u8]) {
    let lines = provenance(wasm);
    let said: usize = lines.iter().map(String::len).sum();
    assert!(said <= SAID_MAX, "{said} bytes are printed");
    for line in lines {
        assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
    }
}
