//! The table `[response]` of host.toml: where hosts find the responses to each other's requests.
//!
//! **Invariant:** what a URL may hold beside an address is never printed.

use std::fmt;
use std::path::PathBuf;

use crate::manifest::{Key, Kind, Reader, Text};
use crate::response::KeyForm;

/// No store: each host reads all responses.
const MEMORY: &str = "memory";
const SCHEMES: [&str; 2] = ["redis://", "rediss://"];

pub(super) const STORE: Key = Key {
    path: "response.store",
    kind: Kind::Text {
        what: "\"memory\" or a URL such as \"redis://redis:6379\" or \"rediss://redis:6380/2\"",
        default: "`\"memory\"`",
    },
    doc: "How a host gets the responses to its requests: it reads all of them itself, or shares them with others through a Redis, \
          see [Reply store](#reply-store).",
};
pub(super) const KEY: Key = Key {
    path: "response.key",
    kind: Kind::Choice {
        words: &["tenant", "compat"],
    },
    doc: "Names in Redis: `kwh:{tenant}:{group}:{sha256 of event_id}`, or the SHA-256 alone, as kafka-python-app has it; that is for \
          one tenant.",
};
pub(super) const PASSWORD_FILE: Key = Key {
    path: "response.password-file",
    kind: Kind::Text {
        what: "the path of a file",
        default: "",
    },
    doc: "File with the password for Redis; it wins over one in the URL.",
};
pub(super) const CA_FILE: Key = Key {
    path: "response.ca-file",
    kind: Kind::Text {
        what: "the path of a file",
        default: "",
    },
    doc: "File with the certificates (PEM) of those who sign Redis's, besides those that the system trusts; with `rediss://`.",
};

/// A Redis that hosts share.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisSettings {
    /// `redis://[[user]:password@]host[:port][/database]`, or `rediss://` for TLS.
    pub url: String,
    /// How requests are named there.
    pub key: KeyForm,
    /// File with the password.
    pub password_file: Option<PathBuf>,
    /// File with certificates of authorities, in PEM.
    pub ca_file: Option<PathBuf>,
}

impl fmt::Debug for RedisSettings {
    /// Leaves out what stands before the address: it may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.url.rsplit_once('@');
        let address = address.map_or(self.url.as_str(), |(_, address)| address);
        f.debug_struct("RedisSettings")
            .field("url", &address)
            .field("key", &self.key)
            .field("password_file", &self.password_file)
            .field("ca_file", &self.ca_file)
            .finish()
    }
}

/// Reads the table; nothing where each host reads all responses.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<RedisSettings> {
    let url = store(reader);
    let key = reader.choice(&KEY).map(|word| match word {
        "compat" => KeyForm::Compat,
        _ => KeyForm::Tenant,
    });
    let password_file = super::folder(reader, &PASSWORD_FILE);
    let ca_file = super::folder(reader, &CA_FILE);
    if url.is_none() {
        for of_redis in [&KEY, &PASSWORD_FILE, &CA_FILE] {
            if let Some(offset) = reader.offset(of_redis) {
                let what = "does nothing without a Redis (response.store = \"redis://…\")";
                reader.problem(of_redis, Some(offset), what);
            }
        }
    }
    let url = url?;
    if let Some(offset) = reader.offset(&CA_FILE)
        && !url.starts_with(SCHEMES[1])
    {
        let what = "does nothing without TLS (response.store = \"rediss://…\")";
        reader.problem(&CA_FILE, Some(offset), what);
    }
    Some(RedisSettings {
        url,
        key: key.unwrap_or_default(),
        password_file,
        ca_file,
    })
}

/// Reads the URL; what is no URL is not repeated, since a password may be in it.
fn store(reader: &mut Reader<'_>) -> Option<String> {
    let Text { text, offset } = reader.text(&STORE)?;
    if text == MEMORY {
        return None;
    }
    let rest = SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme));
    if rest.is_none_or(str::is_empty) {
        let what = format!("expected {}", STORE.kind.expected());
        reader.problem(&STORE, Some(offset), &what);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn problems(text: &str) -> Vec<String> {
        let problems = Settings::parse(text).unwrap_err();
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_host_reads_its_responses_itself_unless_told_otherwise() {
        for text in ["", "[response]\nstore = \"memory\""] {
            assert_eq!(Settings::parse(text).unwrap().response, None);
        }
    }

    #[test]
    fn a_redis_is_read_as_written() {
        let text = "[response]\nstore = \"rediss://redis/2\"\nkey = \"compat\"\npassword-file = \"p\"\nca-file = \"c\"";
        let expected = RedisSettings {
            url: "rediss://redis/2".to_owned(),
            key: KeyForm::Compat,
            password_file: Some("p".into()),
            ca_file: Some("c".into()),
        };
        assert_eq!(Settings::parse(text).unwrap().response, Some(expected));
        let text = "response.store = \"redis://redis\"";
        let found = Settings::parse(text).unwrap().response.unwrap();
        assert_eq!((found.key, found.ca_file), (KeyForm::Tenant, None));
    }

    #[test]
    fn what_is_no_store_is_refused_and_not_repeated() {
        let store = "1: response.store: expected \"memory\" or a URL such as";
        for (text, start) in [
            ("response.store = \"redis\"", store),
            ("response.store = \"http://:secret@redis\"", store),
            ("response.store = \"rediss://\"", store),
            (
                "response.key = \"compat\"",
                "1: response.key: does nothing without a Redis",
            ),
            (
                "response.key = \"python\"",
                "1: response.key: expected \"tenant\" or \"compat\"",
            ),
            (
                "response.password-file = \"p\"",
                "1: response.password-file: does nothing without",
            ),
            (
                "response = { store = \"redis://r\", ca-file = \"c\" }",
                "1: response.ca-file: does nothing without TLS",
            ),
        ] {
            let found = problems(text);
            assert!(found[0].starts_with(start), "{text}: {found:?}");
            assert!(!found.concat().contains("secret"), "{found:?}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let text = "response.store = \"redis://me:hunter2@redis:6379/1\"\nkafka.sasl.password = \"hunter2\"";
        let printed = format!("{:?}", Settings::parse(text).unwrap());
        for name in ["redis:6379/1", "sasl.password"] {
            assert!(printed.contains(name), "{printed}");
        }
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}
