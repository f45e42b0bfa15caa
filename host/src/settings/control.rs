//! The keys of `host.toml` for what is kept of handlers, and for who may ask for changes.

use std::path::PathBuf;

use super::folder;
use crate::history::REVISIONS_KEPT;
use crate::ids::TopicName;
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

pub(super) const INSECURE: Key = Key {
    path: "http-insecure",
    kind: Kind::Flag { default: false },
    doc: "Whether the control API is served in plain text also where `http` is no loopback address, see \
          [Control API](#control-api).",
};
pub(super) const TLS_CERT: Key = Key {
    path: "http-tls-cert",
    kind: Kind::Text {
        what: "the path of a file",
        default: "",
    },
    doc: "File with the certificate of the HTTP address, in PEM, with those that lead to a root behind it; all of it is TLS then.",
};
pub(super) const TLS_KEY: Key = Key {
    path: "http-tls-key",
    kind: Kind::Text {
        what: "the path of a file",
        default: "",
    },
    doc: "File with the key of that certificate, in PEM (PKCS #8).",
};
pub(super) const AUDIT_TOPIC: Key = Key {
    path: "api.audit-topic",
    kind: Kind::Text {
        what: "the name of a topic",
        default: "",
    },
    doc: "Topic to which each change that is asked of the control API is written, see [Audit](#audit).",
};

/// How the control API is served; none stands for what is left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApiSettings {
    /// Whether it is served in plain text also to other machines.
    pub insecure: Option<bool>,
    /// Topic to which each change is written.
    pub audit_topic: Option<TopicName>,
    /// Files of a certificate and its key.
    pub tls_cert: Option<PathBuf>,
    /// See there.
    pub tls_key: Option<PathBuf>,
}

impl ApiSettings {
    /// Fills in from below what is left out.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        Self {
            insecure: self.insecure.or(below.insecure),
            audit_topic: self.audit_topic.or(below.audit_topic),
            tls_cert: self.tls_cert.or(below.tls_cert),
            tls_key: self.tls_key.or(below.tls_key),
        }
    }
}

/// Reads how the control API is served.
pub(super) fn api(reader: &mut Reader<'_>) -> ApiSettings {
    ApiSettings {
        insecure: reader.flag(&INSECURE),
        audit_topic: reader.parsed(&AUDIT_TOPIC),
        tls_cert: folder(reader, &TLS_CERT),
        tls_key: folder(reader, &TLS_KEY),
    }
}

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
    use super::ApiSettings;
    use crate::settings::Settings;

    #[test]
    fn what_the_command_line_leaves_out_of_the_api_the_file_says() {
        let text = "http-insecure = true\nhttp-tls-cert = \"c\"\nhttp-tls-key = \"k\"\napi.audit-topic = \"changes\"";
        let read = Settings::parse(text).unwrap().api;
        let given = ApiSettings {
            insecure: Some(false),
            tls_key: Some("own".into()),
            ..ApiSettings::default()
        };
        let both = given.over(read);
        assert_eq!(both.insecure, Some(false));
        assert_eq!(both.tls_cert, Some("c".into()));
        assert_eq!(both.tls_key, Some("own".into()));
        assert_eq!(both.audit_topic.unwrap().as_str(), "changes");
        let problems = Settings::parse("api.audit-topic = \"a b\"").unwrap_err();
        assert!(
            problems[0].to_string().contains("api.audit-topic"),
            "{}",
            problems[0]
        );
    }

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
