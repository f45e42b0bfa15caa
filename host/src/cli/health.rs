//! `health`: asks a running host whether it is alive, for a container's health check.
//!
//! It is handed an address and speaks just enough HTTP, so that an image needs no other program.
//! **Invariant:** it ends within two seconds per address, whatever the other side does.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use tokio::time::Instant;

use super::wire::{Wire, secure, split};
use crate::tls::credulous_connector;

/// How long one address may take to connect and answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// A status line is far shorter; what is longer is no host of ours.
const STATUS_LINE_BYTES_MAX: usize = 512;

/// Asks a running host whether it is alive (GET /livez)
///
/// Exits with 0 when it is, with 1 when it is not, and says why in one line.
#[derive(Debug, Clone, clap::Args)]
pub struct HealthArgs {
    /// Where the host serves HTTP; with https:// before it where that is TLS
    #[arg(
        long,
        env = "KAFKA_WASM_HTTP",
        value_name = "ADDR",
        default_value = "127.0.0.1:8080"
    )]
    pub http: String,
}

/// Runs the command; the error is the one line that says why not.
pub fn run(args: &HealthArgs) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    let (code, line) = match ask(&args.http) {
        Ok(status) => (
            ExitCode::SUCCESS,
            format!("alive: {} answers {status}", args.http),
        ),
        Err(reason) => (ExitCode::FAILURE, format!("not alive: {reason}")),
    };
    // Who closed the pipe still gets the exit code.
    let _ = writeln!(out, "{line}");
    Ok(code)
}

/// Returns the status that says the host is alive, or else the reason why it does not count as alive.
fn ask(http: &str) -> Result<String, String> {
    let (address, is_tls) = split(http);
    let addresses = address
        .to_socket_addrs()
        .map_err(|error| format!("{http} is no address of the form host:port ({error})"))?;
    let mut reason = format!("{http} has no address");
    for address in addresses {
        match ask_one(address, http, is_tls) {
            Ok(status) => return Ok(status),
            Err(other) => reason = other,
        }
    }
    Err(reason)
}

fn ask_one(address: SocketAddr, http: &str, is_tls: bool) -> Result<String, String> {
    let deadline = Instant::now() + TIMEOUT;
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)
        .map_err(|error| format!("nothing listens on {address} ({error})"))?;
    let mut stream: Box<dyn Wire> = if is_tls {
        // As an orchestrator asks: nothing is told to whoever answers.
        let secured = secure(&credulous_connector()?, split(http).0, stream, TIMEOUT);
        secured.map_err(|error| format!("{address} does not speak TLS ({error})"))?
    } else {
        Box::new(stream)
    };
    let line = exchange(stream.as_mut(), http, deadline)
        .map_err(|error| format!("{address} did not answer within {TIMEOUT:?} ({error})"))?;
    let status = line
        .strip_prefix("HTTP/1.1 ")
        .or_else(|| line.strip_prefix("HTTP/1.0 "));
    match status {
        Some(status) if status.starts_with("200") => Ok(status.to_owned()),
        Some(status) => Err(format!("{address} answers {status}")),
        None => Err(format!("{address} does not speak HTTP")),
    }
}

/// Sends the request and returns the status line.
fn exchange(stream: &mut dyn Wire, host: &str, deadline: Instant) -> io::Result<String> {
    let host = split(host).0;
    stream.tcp().set_write_timeout(Some(TIMEOUT))?;
    write!(
        stream,
        "GET /livez HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )?;
    let is_whole = |line: &[u8]| line.contains(&b'\n') || line.len() >= STATUS_LINE_BYTES_MAX;
    let mut line = read_until(stream, deadline, is_whole)?;
    line.truncate(STATUS_LINE_BYTES_MAX);
    let line = line.split(|&byte| byte == b'\n').next().unwrap_or_default();
    Ok(String::from_utf8_lossy(line).trim_end().to_owned())
}

/// Reads until it `is_enough`, or the other side ends; an error when it is not by the deadline.
pub(super) fn read_until<W: Wire + ?Sized>(
    stream: &mut W,
    deadline: Instant,
    is_enough: impl Fn(&[u8]) -> bool,
) -> io::Result<Vec<u8>> {
    let (mut answer, mut bytes) = (Vec::new(), [0; 4096]);
    while !is_enough(&answer) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.tcp().set_read_timeout(Some(left))?;
        let count = stream.read(&mut bytes)?;
        if count == 0 {
            break;
        }
        answer.extend(bytes.iter().take(count));
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Serves one connection with a fixed answer.
    fn serve(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            // To its end: closing earlier would break the pipe under who still writes.
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            assert!(request.starts_with(b"GET /livez HTTP/1.1\r\n"));
            stream.write_all(answer).unwrap();
        });
        address
    }

    #[test]
    fn a_200_is_alive_and_nothing_else_is() {
        assert_eq!(ask(&serve(b"HTTP/1.1 200 OK\r\n\r\nok")).unwrap(), "200 OK");
        assert!(
            ask(&serve(b"HTTP/1.1 503 Service Unavailable\r\n\r\n"))
                .unwrap_err()
                .contains("503")
        );
        assert!(
            ask(&serve(b"220 mail ready\r\n"))
                .unwrap_err()
                .contains("does not speak HTTP")
        );
        assert!(
            ask(&serve(b""))
                .unwrap_err()
                .contains("does not speak HTTP")
        );
    }

    #[test]
    fn a_closed_port_and_a_bad_address_say_so() {
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        assert!(
            ask(&free.to_string())
                .unwrap_err()
                .starts_with("nothing listens on")
        );
        assert!(ask("no port").unwrap_err().contains("host:port"));
    }

    #[test]
    fn a_silent_server_is_given_up_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let start = Instant::now();
        let reason = ask(&listener.local_addr().unwrap().to_string()).unwrap_err();
        assert!(reason.contains("did not answer within 2s"), "{reason}");
        assert!(start.elapsed() < Duration::from_secs(4));
    }
}
