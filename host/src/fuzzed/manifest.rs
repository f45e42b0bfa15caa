//! Texts of files: `handler.toml`, `tenant.toml`, `host.toml`, and the file of tokens.

use crate::manifest::{self, Manifest, Problem};
use crate::prefix::TopicPrefix;
use crate::setting::check_value;
use crate::settings::{Settings, said};
use crate::tokens::Tokens;

/// Reads the input as each of them.
pub fn manifest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(id) = "acme/orders".parse() else {
        return;
    };
    for prefix in ["", "acme."] {
        let prefix: TopicPrefix = prefix.parse().unwrap_or_default();
        let read = Manifest::parse_with(text, &id, &prefix, check_value);
        told(text, read.map(|manifest| format!("{manifest:?}")));
    }
    let tenant = manifest::tenant_with(text, check_value);
    told(text, tenant.map(|tenant| format!("{tenant:?}")));
    let settings = Settings::parse_with(text, check_value);
    told(text, settings.map(|settings| format!("{settings:?}")));
    // Also what was not read without a problem.
    let _ = format!("{:?}", said(text));
    if let Err(problems) = Tokens::parse(text) {
        assert!(!problems.is_empty(), "a file of tokens is refused silently");
    }
}

/// What is refused is refused with lines that are there and words.
fn told(text: &str, read: Result<String, Vec<Problem>>) {
    let Err(problems) = read else {
        return;
    };
    assert!(!problems.is_empty(), "a text is refused silently");
    for problem in problems {
        let what = problem.to_string();
        assert!(!what.is_empty(), "a problem says nothing");
        let number = what.split_once(':').and_then(|(line, _)| line.parse().ok());
        let lines = text.lines().count().max(1) + 1;
        assert!(number.is_none_or(|it: usize| it <= lines), "{what}");
    }
}
