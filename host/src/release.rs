//! What is signed of a handler, or of a tenant: whose it is, and the SHA-256 of each of its files.
//!
//! Handed names and digests, gives the text that is signed, and reads it again.
//! **Invariant:** a release has one text, and a text that is read is the text of its release, byte by byte.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::ids::{HandlerId, TenantId, hex};

/// The first line of a release.
const TITLE: &str = "kafka-wasm-host release 1";
/// What a digest begins with where it is written alone.
const ALGORITHM: &str = "sha256:";

/// The SHA-256 of a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileDigest([u8; 32]);

impl FileDigest {
    /// Takes that of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Returns its bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn from_hex(text: &str) -> Option<Self> {
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 64 || !text.as_bytes().iter().all(is_digit) {
            return None;
        }
        let mut digest = [0; 32];
        for (at, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(Self(digest))
    }
}

impl<D: Into<[u8; 32]>> From<D> for FileDigest {
    fn from(digest: D) -> Self {
        Self(digest.into())
    }
}

impl fmt::Display for FileDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ALGORITHM}{}", hex(&self.0))
    }
}

impl fmt::Debug for FileDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text is not the digest of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected \"sha256:\" and 64 hexadecimal digits in small letters (`sha256sum FILE` prints them)"
)]
pub struct DigestError;

impl FromStr for FileDigest {
    type Err = DigestError;

    /// Parses what [`Display`](fmt::Display) writes.
    fn from_str(text: &str) -> Result<Self, DigestError> {
        let digits = text.strip_prefix(ALGORITHM);
        digits.and_then(Self::from_hex).ok_or(DigestError)
    }
}

/// Whose files a release is made of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A handler's own: its manifest, and what that names.
    Handler(HandlerId),
    /// A tenant's: its `tenant.toml`, and the middleware beside it.
    Tenant(TenantId),
}

impl Subject {
    /// Returns the tenant.
    pub fn tenant(&self) -> &TenantId {
        match self {
            Self::Handler(id) => &id.tenant,
            Self::Tenant(tenant) => tenant,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handler(id) => write!(f, "the handler {id}"),
            Self::Tenant(tenant) => write!(f, "the tenant {tenant}"),
        }
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Whose it is.
    pub subject: Subject,
    /// Its files by their names.
    pub files: BTreeMap<String, FileDigest>,
}

/// Why a text is not a release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// A line is not what stands there in a release.
    #[error("line {line} is not what `kafka-wasm-host release` prints there, which is {expected}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What would.
        expected: &'static str,
    },
    /// All lines are fine, and it is not the text of what they say: another order, another end.
    #[error("it is not as `kafka-wasm-host release` prints it (print it again)")]
    Form,
}

impl Release {
    /// Returns the text that is signed.
    pub fn text(&self) -> String {
        use fmt::Write as _;
        let mut text = format!("{TITLE}\ntenant {}\n", self.subject.tenant());
        if let Subject::Handler(id) = &self.subject {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "handler {}", id.name);
        }
        for (name, FileDigest(digest)) in &self.files {
            let _ = writeln!(text, "sha256 {} {name}", hex(digest));
        }
        text
    }

    /// Reads such a text.
    pub fn parse(text: &str) -> Result<Self, ReleaseError> {
        let mut lines = (1..).zip(text.lines()).peekable();
        let wrong = |line, expected| ReleaseError::Line { line, expected };
        let title = lines.next_if(|(_, line)| *line == TITLE);
        title.ok_or(wrong(1, TITLE))?;
        let tenant = lines.next().and_then(|(_, line)| {
            let tenant = line.strip_prefix("tenant ")?;
            tenant.parse::<TenantId>().ok()
        });
        let tenant = tenant.ok_or(wrong(2, "tenant and its name"))?;
        let named = lines.next_if(|(_, line)| line.starts_with("handler "));
        let subject = match named.and_then(|(_, line)| line.strip_prefix("handler ")) {
            Some(name) => Subject::Handler(HandlerId {
                tenant,
                name: name.parse().map_err(|_| wrong(3, "handler and its name"))?,
            }),
            None => Subject::Tenant(tenant),
        };
        let mut files = BTreeMap::new();
        for (number, line) in lines {
            let expected = "sha256, 64 hexadecimal digits, and the name of a file";
            let (name, digest) = file(line).ok_or(wrong(number, expected))?;
            files.insert(name.to_owned(), digest);
        }
        let release = Self { subject, files };
        if release.text() == text {
            Ok(release)
        } else {
            Err(ReleaseError::Form)
        }
    }
}

/// Reads the line of a file.
fn file(line: &str) -> Option<(&str, FileDigest)> {
    let (digits, name) = line.strip_prefix("sha256 ")?.split_once(' ')?;
    is_file_name(name).then_some(())?;
    Some((name, FileDigest::from_hex(digits)?))
}

/// Returns whether a file of this name can be part of a release: one line holds it, and it lies beside the others.
pub fn is_file_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_control() || matches!(c, '/' | '\\'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn release(handler: Option<&str>, files: &[&str]) -> Release {
        let tenant: TenantId = "acme".parse().unwrap();
        let subject = match handler {
            Some(name) => Subject::Handler(HandlerId {
                tenant,
                name: name.parse().unwrap(),
            }),
            None => Subject::Tenant(tenant),
        };
        let files = files.iter();
        let files = files.map(|name| ((*name).to_owned(), FileDigest::of(name.as_bytes())));
        Release {
            subject,
            files: files.collect(),
        }
    }

    #[test]
    fn it_is_written_as_a_person_can_read_it() {
        let text = release(Some("orders"), &["handler.toml"]).text();
        let digits = hex(&Sha256::digest("handler.toml"));
        assert_eq!(
            text,
            format!(
                "kafka-wasm-host release 1\ntenant acme\nhandler orders\nsha256 {digits} handler.toml\n"
            )
        );
    }

    #[test]
    fn what_is_not_its_text_is_refused() {
        let good = release(Some("orders"), &["a.wasm", "handler.toml"]).text();
        assert!(Release::parse(&good).is_ok());
        let mut lines: Vec<&str> = good.lines().collect();
        lines.swap(3, 4);
        for bad in [
            String::new(),
            good.replace("release 1", "release 2"),
            good.replace("tenant acme\n", ""),
            good.replace("acme", "ac me"),
            good.replace("orders", "or/ders"),
            good.replace("a.wasm", "../a.wasm"),
            good.replace("a.wasm", ""),
            good.replace("a.wasm", "handler.toml"),
            good.replace('\n', "\r\n"),
            good.trim_end().to_owned(),
            format!("{good}\n"),
            good.to_uppercase(),
            lines.join("\n") + "\n",
        ] {
            assert!(Release::parse(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_digest_is_read_as_it_is_written_and_no_other_way() {
        let digest = FileDigest::of(b"x");
        let text = digest.to_string();
        assert_eq!(text.parse(), Ok(digest));
        for bad in [
            &text[7..],
            &text[..70],
            &text.to_uppercase(),
            &text.replace(':', "="),
            &format!("{text}0"),
            "sha256:éééééééééééééééééééééééééééééééé",
            "",
        ] {
            assert_eq!(bad.parse::<FileDigest>(), Err(DigestError), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_release_is_read_as_it_was_written(
            handler in proptest::option::of("[a-z][a-z0-9-]{0,8}"),
            files in proptest::collection::btree_set("[a-z .é-]{1,12}", 0..6),
        ) {
            let files: Vec<&str> = files.iter().map(String::as_str).collect();
            let release = release(handler.as_deref(), &files);
            prop_assert_eq!(Release::parse(&release.text()), Ok(release));
        }

        /// Two releases that differ have texts that differ, whatever lines somebody makes up.
        #[test]
        fn a_text_that_is_read_is_that_of_its_release(text in "(kafka-wasm-host release 1\n)?(tenant [a-z]{1,3}\n)?(handler [a-z]{1,3}\n)?(sha256 [0-9a-f]{64} [a-z]{1,3}\n){0,3}") {
            if let Ok(release) = Release::parse(&text) {
                prop_assert_eq!(release.text(), text);
            }
        }
    }
}
