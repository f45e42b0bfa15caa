//! A TCP proxy on 127.0.0.1 that can be told to misbehave as a network does.
//!
//! It listens on a port that the system gives it and keeps it for its life, so that nobody else can have it in
//! between. Each connection has two threads, one for each direction, which end with it.
//! **Invariant:** bytes are delivered in order and unchanged, or the connection ends.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// How often a held connection looks whether it may go on.
const LOOK: Duration = Duration::from_millis(20);
/// Bytes that are taken at once, and that wait once for a slow network.
const CHUNK_BYTES: usize = 16 * 1024;

/// What the network is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// As if there were no proxy.
    Fine,
    /// Every connection is closed, and every new one too.
    Cut,
    /// Connections stay, and are accepted, but nothing gets through.
    Held,
    /// Every chunk of up to 16 KiB waits so long, in each direction.
    Slow(Duration),
}

/// A running proxy; dropping it closes its connections.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    network: Network,
    closed: bool,
    next: u64,
    /// Both ends of each connection, to close them.
    open: BTreeMap<u64, [TcpStream; 2]>,
}

impl Proxy {
    /// Leads each connection to the port `target`, which need not listen yet.
    pub fn start(target: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("a proxy cannot listen")?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Mutex::new(Shared {
            network: Network::Fine,
            closed: false,
            next: 0,
            open: BTreeMap::new(),
        }));
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if with(&accepting, |shared| shared.closed) {
                    break;
                }
                // A connection that cannot be led on is dropped, which its client sees as closed.
                let _ = lead(&accepting, stream, target);
            }
        });
        Ok(Self { port, shared })
    }

    /// Makes the network so from now on.
    pub fn set(&self, network: Network) {
        with(&self.shared, |shared| {
            shared.network = network;
            if network == Network::Cut {
                close_all(shared);
            }
        });
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        with(&self.shared, |shared| {
            shared.closed = true;
            close_all(shared);
        });
        // Wakes the thread that accepts, which then ends.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn with<T>(shared: &Mutex<Shared>, act: impl FnOnce(&mut Shared) -> T) -> T {
    act(&mut shared.lock().unwrap_or_else(PoisonError::into_inner))
}

fn close_all(shared: &mut Shared) {
    for ends in std::mem::take(&mut shared.open).into_values() {
        for end in ends {
            // It fails where the other side was faster.
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

/// Connects a client to the target and begins to copy in both directions.
fn lead(shared: &Arc<Mutex<Shared>>, client: TcpStream, target: u16) -> Result<()> {
    let server = TcpStream::connect(("127.0.0.1", target))?;
    for end in [&client, &server] {
        end.set_nodelay(true)?;
    }
    let ends = [client.try_clone()?, server.try_clone()?];
    let id = with(shared, |shared| {
        if shared.closed || shared.network == Network::Cut {
            return None;
        }
        shared.next += 1;
        shared.open.insert(shared.next, ends);
        Some(shared.next)
    });
    let Some(id) = id else { return Ok(()) };
    let ways = [(client.try_clone()?, server.try_clone()?), (server, client)];
    for (from, to) in ways {
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            copy(&shared, from, to);
            with(&shared, |shared| {
                for end in shared.open.remove(&id).into_iter().flatten() {
                    let _ = end.shutdown(Shutdown::Both);
                }
            });
        });
    }
    Ok(())
}

/// Copies until either end is closed.
fn copy(shared: &Mutex<Shared>, mut from: TcpStream, mut to: TcpStream) {
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Ok(n @ 1..) = from.read(&mut chunk) {
        loop {
            match with(shared, |shared| shared.network) {
                Network::Held if !with(shared, |shared| shared.closed) => thread::sleep(LOOK),
                Network::Slow(wait) => {
                    thread::sleep(wait);
                    break;
                }
                _ => break,
            }
        }
        if to.write_all(&chunk[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets, on a port of its own.
    fn echo() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut from, mut to) = {
                    let stream = stream.unwrap();
                    (stream.try_clone().unwrap(), stream)
                };
                thread::spawn(move || std::io::copy(&mut from, &mut to));
            }
        });
        port
    }

    fn connect(proxy: &Proxy) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        stream
    }

    /// What comes back of a word; `None` where the connection ended or nothing came in time.
    fn answer(mut stream: &TcpStream) -> Option<[u8; 4]> {
        stream.write_all(b"word").ok()?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).ok().map(|()| answer)
    }

    #[test]
    fn a_network_is_as_it_was_told() {
        let proxy = Proxy::start(echo()).unwrap();
        let first = connect(&proxy);
        assert_eq!(answer(&first), Some(*b"word"));
        proxy.set(Network::Slow(Duration::from_millis(10)));
        assert_eq!(answer(&first), Some(*b"word"));
        proxy.set(Network::Held);
        assert_eq!(answer(&first), None);
        proxy.set(Network::Fine);
        // What was held comes after all.
        let mut held = [0; 4];
        (&first).read_exact(&mut held).unwrap();
        assert_eq!(&held, b"word");
        proxy.set(Network::Cut);
        assert_eq!(answer(&first), None);
        assert_eq!(answer(&connect(&proxy)), None);
        proxy.set(Network::Fine);
        assert_eq!(answer(&connect(&proxy)), Some(*b"word"));
        assert_eq!(answer(&first), None);
    }
}
