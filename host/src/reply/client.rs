//! What a Redis is reached by, and what its errors mean.
//!
//! Handed host.toml's settings; reads the files that they name, and connects to nothing.
//! **Invariant:** no message holds a secret.

use std::fmt::Display;

use redis::{
    Client, ErrorKind, IntoConnectionInfo as _, ProtocolVersion, RedisError, TlsCertificates,
};

use crate::settings::RedisSettings;

/// What went wrong with Redis.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) what: &'static str,
    pub(super) why: String,
}

/// Makes the client of a Redis; connects to nothing. The error names the key of host.toml, and no secret.
pub(crate) fn client(settings: &RedisSettings) -> Result<Client, String> {
    let wrong = |key: &str, why: &dyn Display| format!("response.{key}: {why}");
    let info = settings
        .url
        .as_str()
        .into_connection_info()
        .map_err(|error| wrong("store", &error))?;
    let mut login = info
        .redis_settings()
        .clone()
        // Messages come over the same connection as answers (Redis 6).
        .set_protocol(ProtocolVersion::RESP3);
    if let Some(path) = &settings.password_file {
        let password = std::fs::read_to_string(path)
            .map_err(|error| wrong("password-file", &format!("{}: {error}", path.display())))?;
        login = login.set_password(password.trim_end_matches(['\r', '\n']));
    }
    let info = info.set_redis_settings(login);
    let Some(path) = &settings.ca_file else {
        return Client::open(info).map_err(|error| wrong("store", &error));
    };
    let root_cert = std::fs::read(path)
        .map_err(|error| wrong("ca-file", &format!("{}: {error}", path.display())))?;
    let certificates = TlsCertificates {
        client_tls: None,
        root_cert: Some(root_cert),
    };
    Client::build_with_tls(info, certificates).map_err(|error| wrong("ca-file", &error))
}

impl Fault {
    pub(super) fn out_of_reach(why: impl Into<String>) -> Self {
        Self {
            what: "is out of reach",
            why: why.into(),
        }
    }
}

/// Returns whether Redis is there, and does not want to do this one thing.
pub(super) fn is_refusal(error: &RedisError) -> bool {
    let is_answer = matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension);
    // These are of a server that is no master any more, or not yet one; the next connection may be to another.
    is_answer && !matches!(error.code(), Some("READONLY" | "LOADING" | "MASTERDOWN"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::KeyForm;

    fn settings(url: &str) -> RedisSettings {
        RedisSettings {
            url: url.to_owned(),
            key: KeyForm::Tenant,
            password_file: None,
            ca_file: None,
        }
    }

    #[test]
    fn what_cannot_be_used_is_told_by_its_key_and_without_the_password() {
        let wrong_port = settings("redis://:hunter2@redis:port");
        let no_password = RedisSettings {
            password_file: Some("no/such/file".into()),
            ..settings("redis://:hunter2@redis")
        };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, "hunter2").unwrap();
        let no_certificate = RedisSettings {
            ca_file: Some(file),
            ..settings("rediss://:hunter2@redis")
        };
        for (settings, start) in [
            (wrong_port, "response.store: "),
            (no_password, "response.password-file: no/such/file: "),
            (no_certificate, "response.ca-file: "),
        ] {
            let why = client(&settings).unwrap_err();
            assert!(why.starts_with(start), "{why}");
            assert!(!why.contains("hunter2"), "{why}");
        }
    }

    #[test]
    fn a_password_is_the_first_line_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "hunter2\n").unwrap();
        let settings = RedisSettings {
            password_file: Some(file),
            ..settings("redis://me:other@redis:1/3")
        };
        let client = client(&settings).unwrap();
        let info = client.get_connection_info();
        let login = info.redis_settings();
        assert_eq!(
            (login.username(), login.password()),
            (Some("me"), Some("hunter2"))
        );
        assert_eq!(
            (info.addr().to_string().as_str(), login.db()),
            ("redis:1", 3)
        );
    }
}
