//! Where HTTP connections come in, and how many and how long.
//!
//! Wraps the listener for axum, which has no bounds of its own: a connection serves one request and ends.
//! **Invariant:** there are never more than [`VISITS_MAX`] connections, and none outlives [`VISIT`], or [`LONG_VISIT`] where
//! that was granted to who may send in much; more wait in the kernel's queue. Who has not said what it wants keeps nobody out:
//! it has [`HEAD`] for that, and goes at once where its place is needed.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, Sleep};

use super::head::Head;
use super::line::{Both, Line};
use crate::duration::millis;
use crate::tls::Tls;

/// Connections at a time.
const VISITS_MAX: usize = 64;
/// From accepting a connection to the end of the request's head, with TLS or without.
const HEAD: Duration = Duration::from_secs(5);
/// From accepting a connection to its end: request, answer, and a slow reader.
const VISIT: Duration = Duration::from_secs(10);
/// The same where something large is sent in, or waited for.
pub(super) const LONG_VISIT: Duration = Duration::from_mins(1);

/// How long a connection may last: of the one that a request came by.
#[derive(Debug, Clone)]
pub(super) struct Stay {
    began: Instant,
    /// Milliseconds from then on; 0 where no more than usual was granted.
    granted_ms: Arc<AtomicU64>,
}

impl Stay {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            granted_ms: Arc::default(),
        }
    }

    /// Grants a connection so much time from its beginning on.
    pub(super) fn until(&self, end: Duration) {
        self.granted_ms.store(millis(end), Ordering::Relaxed);
    }

    /// Returns when the connection ends, if more than usual was granted.
    fn end(&self) -> Instant {
        self.began + Duration::from_millis(self.granted_ms.load(Ordering::Relaxed))
    }
}

impl Connected<IncomingStream<'_, Door>> for Stay {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.io().stay.clone()
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Door {
    listener: TcpListener,
    /// What begins connections, where they are encrypted.
    tls: Option<Tls>,
    free: Arc<Semaphore>,
    /// Those that may not have said yet what they want, the oldest first; each is sent away by a word to it.
    silent: VecDeque<oneshot::Sender<()>>,
    head: Duration,
    visit: Duration,
}

impl Door {
    pub(super) fn new(listener: TcpListener, tls: Option<Tls>) -> Self {
        Self {
            tls,
            ..Self::with_bounds(listener, VISITS_MAX, (HEAD, VISIT))
        }
    }

    fn with_bounds(
        listener: TcpListener,
        visits_max: usize,
        (head, visit): (Duration, Duration),
    ) -> Self {
        Self {
            listener,
            tls: None,
            free: Arc::new(Semaphore::new(visits_max)),
            silent: VecDeque::new(),
            head,
            visit,
        }
    }

    /// Sends the oldest away of those that have not said what they want, if there is one.
    fn make_room(&mut self) {
        while let Some(oldest) = self.silent.pop_front() {
            // Whoever has said it meanwhile, or is gone, does not listen any more.
            if oldest.send(()).is_ok() {
                return;
            }
        }
    }
}

impl Listener for Door {
    type Io = Visit;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Visit, SocketAddr) {
        let (stream, addr) = Listener::accept(&mut self.listener).await;
        self.silent.retain(|it| !it.is_closed());
        if self.free.available_permits() == 0 {
            self.make_room();
        }
        let Ok(permit) = Arc::clone(&self.free).acquire_owned().await else {
            // Nobody closes the semaphore.
            return std::future::pending().await;
        };
        let (word, sent_away) = oneshot::channel();
        self.silent.push_back(word);
        let stay = Stay::new();
        let visit = Visit {
            line: Line::new(stream, self.tls.as_ref().map(Tls::acceptor)),
            end: Box::pin(tokio::time::sleep_until(stay.began + self.head)),
            silence: Some(Silence {
                head: Head::default(),
                sent_away,
                after: self.visit,
            }),
            stay,
            _permit: permit,
        };
        (visit, addr)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// What is known of a connection before the head of its request is whole.
#[derive(Debug)]
struct Silence {
    head: Head,
    sent_away: oneshot::Receiver<()>,
    /// How long the connection may last once it is over.
    after: Duration,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Visit {
    line: Line,
    end: Pin<Box<Sleep>>,
    /// Until it has said what it wants.
    silence: Option<Silence>,
    stay: Stay,
    _permit: OwnedSemaphorePermit,
}

impl Visit {
    /// Returns the stream while the connection may last.
    fn poll_stream(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Pin<&mut dyn Both>>> {
        if let Some(silence) = &mut self.silence
            && Pin::new(&mut silence.sent_away).poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        while self.end.as_mut().poll(cx).is_ready() {
            let granted = self.stay.end();
            if granted <= Instant::now() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.end.as_mut().reset(granted);
        }
        self.line.poll_open(cx)
    }

    /// Takes note of what was read; who has said what it wants keeps its place.
    fn heard(&mut self, bytes: &[u8]) {
        if let Some(silence) = &mut self.silence
            && silence.head.take(bytes)
        {
            let end = self.stay.began + silence.after;
            self.end.as_mut().reset(end);
            self.silence = None;
        }
    }
}

impl AsyncRead for Visit {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(ready!(self.poll_stream(cx))?.poll_read(cx, buf))?;
        self.heard(buf.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Visit {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_stream(cx))?.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_stream(cx))?.poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.line.is_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_stream(cx))?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_stream(cx))?.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream as Client;

    use super::*;

    /// Serves an empty page with these bounds; the server ends with the runtime.
    async fn open(visits_max: usize, head: Duration, visit: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let door = Door::with_bounds(listener, visits_max, (head, visit));
        tokio::spawn(axum::serve(door, axum::Router::new()).into_future());
        addr
    }

    async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    #[tokio::test]
    async fn a_silent_client_is_sent_away() {
        let addr = open(4, Duration::from_millis(50), Duration::from_mins(1)).await;
        blocking(move || {
            let mut client = Client::connect(addr).unwrap();
            client
                .set_read_timeout(Some(Duration::from_secs(5)))
                .unwrap();
            client.write_all(b"GET / HT").unwrap();
            let mut rest = Vec::new();
            // Closed or reset, but not left waiting.
            let end = client.read_to_end(&mut rest);
            let waited = end.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
            assert!(!waited && rest.is_empty());
        })
        .await;
    }

    /// Asks for a page, and reads the answer.
    fn ask(addr: SocketAddr) -> String {
        let mut client = Client::connect(addr).unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    }

    #[tokio::test]
    async fn one_client_too_many_waits_for_a_place() {
        let addr = open(1, Duration::from_mins(1), Duration::from_millis(300)).await;
        blocking(move || {
            // It has said what it wants, and does not send what it wants taken.
            let mut slow = Client::connect(addr).unwrap();
            slow.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
                .unwrap();
            let answer = ask(addr);
            assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        })
        .await;
    }

    #[tokio::test]
    async fn a_silent_client_makes_room_for_one_that_asks() {
        let addr = open(2, Duration::from_mins(1), Duration::from_mins(1)).await;
        blocking(move || {
            let silent: Vec<Client> = (0..9)
                .map(|n| {
                    let mut client = Client::connect(addr).unwrap();
                    client.write_all(&b"GET / HT"[..n % 8]).unwrap();
                    client
                })
                .collect();
            for _ in 0..20 {
                let answer = ask(addr);
                assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
            }
            drop(silent);
        })
        .await;
    }
}
