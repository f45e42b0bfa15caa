//! Just enough HTTP to ask a host something.
//!
//! **Invariant:** an answer is read to its end, whatever its status.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// GETs `path` from `address`; returns status and body.
pub fn get(address: &str, path: &str) -> Result<(u16, String)> {
    request(address, &format!("GET {path}"), &[], "")
}

/// Asks `address` for something, such as `POST /path`, with more headers and a body; returns status and body.
pub fn request(
    address: &str,
    what: &str,
    headers: &[(&str, &str)],
    body: impl AsRef<[u8]>,
) -> Result<(u16, String)> {
    let body = body.as_ref();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;
    // With 1.0 the answer is never in chunks and ends with the connection.
    let mut request = format!("{what} HTTP/1.0\r\nHost: {address}\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += &format!("Content-Length: {}\r\n\r\n", body.len());
    // Who refuses a body need not read it.
    let _ = stream.write_all(&[request.as_bytes(), body].concat());
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    if answer.is_empty() {
        read?;
    }
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").context("half an answer")?;
    let status = head.split(' ').nth(1).context("an answer without status")?;
    Ok((status.parse()?, body.to_owned()))
}
