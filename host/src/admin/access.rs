//! Who may ask what under `/v1`.
//!
//! Handed the headers of a request; gives the name that the audit has, or says why not.
//! **Invariant:** without tokens nothing is changed from elsewhere than this machine, and no page of a browser changes
//! anything.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use parking_lot::RwLock;

use crate::ids::TenantId;
use crate::tokens::{Role, Tokens};

/// Who asks where nobody has to say it.
const HERE: &str = "this machine";

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Access {
    tokens: RwLock<Option<Arc<Tokens>>>,
    is_loopback: bool,
    /// Whether the API is served on another address at all.
    is_open: bool,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need<'a> {
    /// To look at the handlers of a tenant; without one, at all.
    Read(Option<&'a TenantId>),
    /// To change a handler of a tenant.
    Change(&'a TenantId),
    /// To change something of the host.
    Host,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Who {
    /// As the audit has it.
    pub(super) name: String,
    /// Whether it is somebody who runs the host.
    pub(super) is_operator: bool,
}

impl Who {
    /// A program of this machine, where nobody has to say who asks.
    fn here() -> Self {
        Self {
            name: HERE.to_owned(),
            is_operator: true,
        }
    }
}

/// Why something is not done, and the status that says so.
pub(super) type Denied = (StatusCode, String);

impl Access {
    /// `addr` is what HTTP is served on; `is_open` says whether other machines may ask there.
    pub(crate) fn new(
        tokens: Option<Arc<Tokens>>,
        addr: Option<SocketAddr>,
        is_open: bool,
    ) -> Self {
        let is_loopback = addr.is_some_and(|addr| addr.ip().is_loopback());
        Self {
            tokens: RwLock::new(tokens),
            is_loopback,
            is_open: is_loopback || is_open,
        }
    }

    /// Puts other tokens in the place of those that were known.
    pub(crate) fn set_tokens(&self, tokens: Option<Arc<Tokens>>) {
        *self.tokens.write() = tokens;
    }

    /// Returns whether the API is served at all where HTTP is.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Says no to everybody where the API is not served.
    pub(super) fn enter(&self) -> Result<(), Denied> {
        if self.is_open {
            return Ok(());
        }
        let why = "the control API is served on loopback addresses only, since tokens and answers would be read on the way: \
                   give the host a certificate (--http-tls-cert, --http-tls-key), or serve it in plain text all the same \
                   (--http-insecure); health and metrics are served anyway";
        Err((StatusCode::FORBIDDEN, why.to_owned()))
    }

    /// Returns who asks, if it is allowed.
    pub(super) fn admit(&self, headers: &HeaderMap, need: Need<'_>) -> Result<Who, Denied> {
        self.enter()?;
        let tokens = self.tokens.read().clone();
        match tokens {
            Some(tokens) => with_token(&tokens, headers, need),
            None => self.without(headers, need),
        }
    }

    fn without(&self, headers: &HeaderMap, need: Need<'_>) -> Result<Who, Denied> {
        let forbidden = |why: &str| Err((StatusCode::FORBIDDEN, why.to_owned()));
        if matches!(need, Need::Read(_)) {
            return Ok(Who::here());
        }
        if !self.is_loopback {
            return forbidden(
                "nothing is changed by this address without a token: name those who may in host.toml ([api] tokens-file = \"…\"), \
                 or serve HTTP on a loopback address",
            );
        }
        // What a browser is made to ask for by a page, be it by another name of this machine.
        if headers.contains_key(ORIGIN) || !is_here(headers) {
            return forbidden(
                "without tokens only programs of this machine may change something, and ask for it as localhost or by an IP \
                 address",
            );
        }
        Ok(Who::here())
    }
}

/// Returns whether a request names the host as only somebody does who means this machine.
fn is_here(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else {
        return true;
    };
    let Ok(host) = host.to_str() else {
        return false;
    };
    let is_name = |host: &str| {
        let plain = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || plain.parse::<IpAddr>().is_ok()
    };
    let without_port = host.rsplit_once(':').map(|(name, _)| name);
    is_name(host) || without_port.is_some_and(is_name)
}

fn with_token(tokens: &Tokens, headers: &HeaderMap, need: Need<'_>) -> Result<Who, Denied> {
    let shown = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let shown = shown.and_then(|it| it.strip_prefix(b"Bearer "));
    let Some(shown) = shown else {
        let why =
            "a token is needed (Authorization: Bearer …; the commands take --token-file FILE)";
        return Err((StatusCode::UNAUTHORIZED, why.to_owned()));
    };
    let Some(token) = tokens.find(shown.trim_ascii()) else {
        let why = "nobody has this token; `api.tokens-file` in host.toml names those who may ask, and is read at the start and by \
                   `reload`";
        return Err((StatusCode::UNAUTHORIZED, why.to_owned()));
    };
    let may = match need {
        Need::Read(tenant) => token.role.may_read(tenant),
        Need::Change(tenant) => token.role.may_change(tenant),
        Need::Host => token.role == Role::Admin,
    };
    if may {
        return Ok(Who {
            name: token.name.clone(),
            is_operator: token.role == Role::Admin,
        });
    }
    let what = match need {
        Need::Host => "change something of the host (admin)".to_owned(),
        Need::Read(None) => "look at all handlers (read or admin)".to_owned(),
        Need::Read(Some(tenant)) => {
            format!("look at handlers of tenant {tenant} (read, deploy:{tenant} or admin)")
        }
        Need::Change(tenant) => {
            format!("change handlers of tenant {tenant} (deploy:{tenant} or admin)")
        }
    };
    let why = format!("the role of {} is not enough to {what}", token.name);
    Err((StatusCode::FORBIDDEN, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs
            .iter()
            .map(|&(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        pairs.collect()
    }

    #[test]
    fn without_tokens_only_this_machine_changes_anything() {
        let tenant: TenantId = "acme".parse().unwrap();
        let here = Access::new(None, Some("127.0.0.1:8080".parse().unwrap()), false);
        let elsewhere = Access::new(None, Some("0.0.0.0:8080".parse().unwrap()), true);
        let change = |access: &Access, pairs: &[(&'static str, &'static str)]| {
            access.admit(&headers(pairs), Need::Change(&tenant))
        };
        for host in [
            "localhost",
            "localhost:1",
            "127.0.0.1:8080",
            "[::1]:8080",
            "[::1]",
        ] {
            let pairs = [("host", host)];
            assert_eq!(change(&here, &pairs), Ok(Who::here()));
        }
        for pairs in [
            &[("host", "evil.example:8080")][..],
            &[
                ("host", "localhost:8080"),
                ("origin", "http://localhost:8080"),
            ],
        ] {
            let (status, why) = change(&here, pairs).unwrap_err();
            assert_eq!(status, StatusCode::FORBIDDEN);
            assert!(why.contains("programs of this machine"), "{why}");
        }
        let (status, why) = change(&elsewhere, &[("host", "localhost")]).unwrap_err();
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert!(why.contains("tokens-file"), "{why}");
        assert!(elsewhere.admit(&headers(&[]), Need::Read(None)).is_ok());
        // Where nobody has said that it may be in plain text, nobody is told anything.
        let closed = Access::new(None, Some("0.0.0.0:8080".parse().unwrap()), false);
        let (status, why) = closed.admit(&headers(&[]), Need::Read(None)).unwrap_err();
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert!(why.contains("--http-insecure"), "{why}");
    }
}
