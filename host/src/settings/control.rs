//! The keys of `host.toml` for what is kept of handlers, and for who may ask for changes.

use crate::history::REVISIONS_KEPT;
use crate::manifest::{Key, Kind, Reader};

pub(super) const STATE: Key = Key {
    path: "state",
    kind: Kind::Text {
        what: "the path of a folder",
        default: "",
    },
    doc: "Folder in which this host keeps the revisions of its handlers, what was rolled back and what is paused, see \
          [Revisions](#revisions). Only the host may be able to write there: what lies in it is deployed.",
};
pub(super) const KEPT: Key = Key {
    path: "revisions-kept",
    kind: Kind::Whole {
        unit: "revisions",
        min: 1,
        max: 1000,
        default: Some(REVISIONS_KEPT as u64),
    },
    doc: "Revisions of each handler that are kept in `state`; the one that serves always is.",
};
pub(super) const TOKENS_FILE: Key = Key {
    path: "api.tokens-file",
    kind: Kind::Text {
        what: "the path of a file",
        default: "",
    },
    doc: "File with those who may ask what of the control API, see [Control API](#control-api).",
};

/// Reads how many revisions are kept.
pub(super) fn kept(reader: &mut Reader<'_>) -> Option<usize> {
    let kept = reader.whole_given(&KEPT);
    if let Some(offset) = reader
        .offset(&KEPT)
        .filter(|_| reader.offset(&STATE).is_none())
    {
        let what = "does nothing without a folder to keep them in (state = \"…\")";
        reader.problem(&KEPT, Some(offset), what);
    }
    kept.and_then(|kept| usize::try_from(kept).ok())
}

#[cfg(test)]
mod tests {
    use crate::settings::Settings;

    #[test]
    fn revisions_are_kept_only_where_there_is_a_folder() {
        let read =
            Settings::parse("state = \"s\"\nrevisions-kept = 3\napi.tokens-file = \"t\"").unwrap();
        assert_eq!(read.revisions_kept, Some(3));
        assert_eq!(read.state, Some("s".into()));
        assert_eq!(read.tokens_file, Some("t".into()));
        for (text, start) in [
            (
                "revisions-kept = 3",
                "1: revisions-kept: does nothing without a folder",
            ),
            (
                "state = \"\"",
                "1: state: expected the path of a folder, found the text \"\"",
            ),
            (
                "state = \"s\"\nrevisions-kept = 0",
                "2: revisions-kept: expected a whole number of revisions from 1 to 1000",
            ),
        ] {
            let problems = Settings::parse(text).unwrap_err();
            let found = problems[0].to_string();
            assert!(found.starts_with(start), "{found}");
        }
    }
}
