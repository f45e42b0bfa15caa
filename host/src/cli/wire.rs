//! A connection to a host: plain, or with TLS where the address begins with `https://`.
//!
//! **Invariant:** a handshake has the same bounds of time as what follows it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use native_tls::{TlsConnector, TlsStream};

/// What is read from and written to, with the connection below it.
pub(super) trait Wire: Read + Write {
    /// Returns the connection.
    fn tcp(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Wire for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref()
    }
}

/// Splits what a user calls an address: what stands after `http://` or `https://`, and whether it is the latter.
pub(super) fn split(http: &str) -> (&str, bool) {
    let (rest, is_tls) = match http.strip_prefix("https://") {
        Some(rest) => (rest, true),
        None => (http.strip_prefix("http://").unwrap_or(http), false),
    };
    (rest.trim_end_matches('/'), is_tls)
}

/// Begins TLS on a connection; `address` is what the certificate has to be for.
pub(super) fn secure(
    connector: &TlsConnector,
    address: &str,
    stream: TcpStream,
    patience: Duration,
) -> io::Result<Box<dyn Wire>> {
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let secured = connector.connect(host, stream);
    let secured = secured.map_err(|error| io::Error::other(format!("TLS: {error}")))?;
    Ok(Box::new(secured))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_say_how_it_is_talked_to() {
        assert_eq!(split("127.0.0.1:8080"), ("127.0.0.1:8080", false));
        assert_eq!(split("http://host:1/"), ("host:1", false));
        assert_eq!(split("https://host:1"), ("host:1", true));
    }
}
