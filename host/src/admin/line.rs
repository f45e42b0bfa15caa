//! What a connection is made of: plain TCP, or TLS over it.
//!
//! **Invariant:** nobody waits for a handshake but the connection that it is of.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_native_tls::{TlsAcceptor, TlsStream};

/// Reads and writes.
pub(super) trait Both: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Both for T {}

type Handshake =
    Pin<Box<dyn Future<Output = Result<TlsStream<TcpStream>, native_tls::Error>> + Send>>;

/// See the module.
pub(super) enum Line {
    Plain(TcpStream),
    Greeting(Handshake),
    Tls(Box<TlsStream<TcpStream>>),
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Greeting(_) => "Greeting",
            Self::Tls(_) => "Tls",
        })
    }
}

impl Line {
    /// Begins to talk; with TLS, at the first word.
    pub(super) fn new(stream: TcpStream, acceptor: Option<TlsAcceptor>) -> Self {
        let Some(acceptor) = acceptor else {
            return Self::Plain(stream);
        };
        Self::Greeting(Box::pin(async move { acceptor.accept(stream).await }))
    }

    /// Returns what to read from and write to, once there is something.
    pub(super) fn poll_open(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Pin<&mut dyn Both>>> {
        if let Self::Greeting(handshake) = self {
            let opened = ready!(handshake.as_mut().poll(cx));
            let opened =
                opened.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            *self = Self::Tls(Box::new(opened));
        }
        match self {
            Self::Plain(stream) => Poll::Ready(Ok(Pin::new(stream))),
            Self::Tls(stream) => Poll::Ready(Ok(Pin::new(&mut **stream))),
            // It is over here.
            Self::Greeting(_) => Poll::Pending,
        }
    }

    /// Returns whether several pieces are written at once.
    pub(super) fn is_vectored(&self) -> bool {
        matches!(self, Self::Plain(stream) if stream.is_write_vectored())
    }
}
