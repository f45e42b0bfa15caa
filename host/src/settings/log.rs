//! The key of `host.toml` for what is logged.
//!
//! **Invariant:** directives that are there can be read.

use crate::manifest::{Key, Kind, Reader, Text};
use crate::telemetry::check_directives;

pub(super) const LOG: Key = Key {
    path: "log",
    kind: Kind::Text {
        what: "directives such as \"info,guest=debug\"",
        default: "`\"info\"`",
    },
    doc: "What is logged, in the words of `RUST_LOG`, which wins over it.",
};

/// Reads the directives.
pub(super) fn log(reader: &mut Reader<'_>) -> Option<String> {
    let Text { text, offset } = reader.text(&LOG)?;
    let why = match text.trim() {
        "" => Some("found the text \"\"".to_owned()),
        _ => check_directives(&text).err(),
    };
    if let Some(why) = why {
        let what = format!("expected {}: {why}", LOG.kind.expected());
        reader.problem(&LOG, Some(offset), &what);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use crate::settings::Settings;

    #[test]
    fn directives_are_read_or_refused_with_the_reason() {
        let read = Settings::parse("log = \"warn,guest=debug\"").unwrap();
        assert_eq!(read.log.as_deref(), Some("warn,guest=debug"));
        for text in ["log = \"\"", "log = \"guest=loud\"", "log = \"[a\""] {
            let problems = Settings::parse(text).unwrap_err();
            let found = problems[0].to_string();
            assert!(
                found.starts_with("1: log: expected directives"),
                "{text}: {found}"
            );
        }
    }
}
