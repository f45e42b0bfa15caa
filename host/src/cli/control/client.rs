//! Just enough HTTP to ask a host something.
//!
//! **Invariant:** it ends within twelve seconds per address, or a minute where the host tries something out, and reads no more than a host of ours would send.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::time::Instant;

use crate::cli::health::read_until;
use crate::cli::wire::{Wire, secure, split};
use crate::tls::connector;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How long it may take to agree on a cipher.
const TLS: Duration = Duration::from_secs(5);
/// How long an answer may take; the host ends a connection after ten.
const ANSWER: Duration = Duration::from_secs(12);
/// The same where the host tries something out; it ends such a connection after a minute.
const LONG_ANSWER: Duration = Duration::from_secs(62);
const JSON: &str = "application/json";
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// What is asked.
#[derive(Debug)]
pub(super) struct Ask {
    method: &'static str,
    path: String,
    kind: &'static str,
    body: Vec<u8>,
    /// How long an answer may take.
    patience: Duration,
}

impl Ask {
    pub(super) fn get(path: String) -> Self {
        Self {
            method: "GET",
            path,
            kind: JSON,
            body: Vec::new(),
            patience: ANSWER,
        }
    }

    pub(super) fn post(path: String, body: &Value) -> Self {
        Self {
            method: "POST",
            body: body.to_string().into_bytes(),
            ..Self::get(path)
        }
    }

    /// Replaces what is there by something else.
    pub(super) fn put_json(path: String, body: &Value) -> Self {
        Self {
            method: "PUT",
            ..Self::post(path, body)
        }
    }

    /// Sends in something that the host has to try out.
    pub(super) fn put(path: String, kind: &'static str, body: Vec<u8>) -> Self {
        Self {
            method: "PUT",
            kind,
            body,
            patience: LONG_ANSWER,
            ..Self::get(path)
        }
    }

    fn request(&self, host: &str, token: Option<&str>) -> Vec<u8> {
        let token = token.map_or_else(String::new, |token| {
            format!("Authorization: Bearer {token}\r\n")
        });
        // With 1.0 the answer is never in chunks and ends with the connection.
        let head = format!(
            "{} {} HTTP/1.0\r\nHost: {host}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{token}\r\n",
            self.method,
            self.path,
            self.kind,
            self.body.len(),
        );
        [head.as_bytes(), &self.body].concat()
    }
}

/// Returns status and body of the answer.
pub(super) fn ask(
    http: &str,
    what: &Ask,
    token: Option<&str>,
    roots: Option<&Path>,
) -> anyhow::Result<(u16, String)> {
    let (host, is_tls) = split(http);
    let addresses = host
        .to_socket_addrs()
        .with_context(|| format!("{http} is no address of the form host:port"))?;
    let mut connected = Err(io::Error::other("the name has no address"));
    for address in addresses {
        connected = TcpStream::connect_timeout(&address, CONNECT);
        if connected.is_ok() {
            break;
        }
    }
    let stream = connected.with_context(|| {
        format!(
            "nothing listens on {http} (name the address of the host's HTTP server with --http)"
        )
    })?;
    let address = stream.peer_addr().ok();
    let mut stream: Box<dyn Wire> = if is_tls {
        let connector = connector(roots).map_err(anyhow::Error::msg)?;
        let secured = secure(&connector, host, stream, TLS);
        secured.with_context(|| {
            format!(
                "{http} is not trusted (--ca-file names whom to trust besides the system's roots)"
            )
        })?
    } else {
        Box::new(stream)
    };
    let answer = exchange(stream.as_mut(), &what.request(host, token), what.patience);
    let answer = answer.with_context(|| unanswered(http, address))?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        bail!("{http} does not speak HTTP, or has ended");
    };
    let status = head.strip_prefix("HTTP/1.");
    let status = status.and_then(|head| head.split(' ').nth(1)?.parse().ok());
    let status = status.with_context(|| format!("{http} does not speak HTTP"))?;
    Ok((status, body.to_owned()))
}

fn unanswered(http: &str, address: Option<SocketAddr>) -> String {
    let address = address.map_or_else(String::new, |address| format!(" ({address})"));
    format!("{http}{address} did not answer; `status` says what became of what was asked")
}

fn exchange(stream: &mut dyn Wire, request: &[u8], patience: Duration) -> io::Result<String> {
    let deadline = Instant::now() + patience;
    stream.tcp().set_write_timeout(Some(patience))?;
    // Who refuses a body need not read it, and says why.
    let written = stream.write_all(request);
    let answer = read_until(stream, deadline, |answer| answer.len() >= ANSWER_BYTES_MAX);
    match answer {
        Ok(answer) if answer.is_empty() => written.map(|()| String::new()),
        Ok(answer) => Ok(String::from_utf8_lossy(&answer).into_owned()),
        Err(error) => Err(written.err().unwrap_or(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn an_answer_is_read_to_its_end_and_the_token_is_shown() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"{\"to\":\"0a\"}") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            stream
                .write_all(b"HTTP/1.0 409 Conflict\r\nA: b\r\n\r\n{\"error\"")
                .unwrap();
            stream.write_all(b": \"no\"}").unwrap();
            String::from_utf8(request).unwrap()
        });
        let what = Ask::post("/v1/x".to_owned(), &serde_json::json!({ "to": "0a" }));
        let answer = ask(&address, &what, Some("secret"), None).unwrap();
        assert_eq!(answer, (409, "{\"error\": \"no\"}".to_owned()));
        let request = server.join().unwrap();
        assert!(request.starts_with("POST /v1/x HTTP/1.0\r\n"), "{request}");
        assert!(
            request.contains("\r\nAuthorization: Bearer secret\r\n"),
            "{request}"
        );
        assert!(request.contains("\r\nContent-Length: 11\r\n"), "{request}");
    }

    #[test]
    fn where_nothing_listens_the_flag_is_named() {
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let what = Ask::get("/v1/handlers".to_owned());
        let error = ask(&free.to_string(), &what, None, None).unwrap_err();
        assert!(format!("{error:#}").contains("with --http"), "{error:#}");
    }
}
