//! What a guest says: wasi:logging, stdout and stderr become events of the host's log.
//!
//! **Invariant:** a line is bounded, no more of them are written than the tenant may write, and each event names tenant,
//! handler, topic, partition and offset.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::bindings::LogLevel;
use crate::ids::HandlerId;
use crate::outcome::excerpt;
use crate::stats::Meter;

/// Bytes of one line; more is cut.
const LINE_BYTES_MAX: usize = 8 * 1024;
/// Bytes of stderr that are kept to explain a trap.
const TAIL_BYTES_MAX: usize = 2 * 1024;
/// Bytes that a guest may write to a stream at once.
const WRITE_BYTES_MAX: usize = 64 * 1024;

/// Where the lines of one instance come from.
#[derive(Debug)]
pub(crate) struct GuestLog {
    handler: HandlerId,
    topic: Arc<str>,
    partition: i32,
    offset: AtomicI64,
    meter: Arc<Meter>,
    /// Set where they are those of a shadow.
    shadow: Option<bool>,
    /// The last lines of stderr since the hook began.
    tail: Mutex<String>,
}

impl GuestLog {
    pub(crate) fn new(
        handler: HandlerId,
        topic: Arc<str>,
        partition: i32,
        meter: Arc<Meter>,
    ) -> Self {
        Self {
            handler,
            topic,
            partition,
            offset: AtomicI64::new(-1),
            meter,
            shadow: None,
            tail: Mutex::new(String::new()),
        }
    }

    /// Marks the lines as those of a revision that is only a shadow.
    pub(crate) fn of_shadow(mut self) -> Self {
        self.shadow = Some(true);
        self
    }

    /// Names the record that the next lines belong to.
    pub(super) fn begin(&self, offset: i64) {
        self.offset.store(offset, Ordering::Relaxed);
    }

    /// Takes what was written to stderr since the last call.
    pub(super) fn take_tail(&self) -> String {
        std::mem::take(&mut *self.tail.lock())
    }

    pub(super) fn log(&self, level: LogLevel, context: &str, message: &str) {
        // What nobody would see does not count.
        if is_seen(level) && self.may_write() {
            self.write(level, cut(context), cut(message));
        }
    }

    fn write(&self, level: LogLevel, context: &str, message: &str) {
        macro_rules! event {
            ($level:ident) => {
                tracing::$level!(
                    target: "guest",
                    tenant = %self.handler.tenant,
                    handler = %self.handler.name,
                    topic = &*self.topic,
                    partition = self.partition,
                    offset = self.offset.load(Ordering::Relaxed),
                    shadow = self.shadow,
                    context,
                    "{message}"
                )
            };
        }
        match level {
            LogLevel::Trace => event!(trace),
            LogLevel::Debug => event!(debug),
            LogLevel::Info => event!(info),
            LogLevel::Warn => event!(warn),
            LogLevel::Error | LogLevel::Critical => event!(error),
        }
    }

    /// Returns whether the tenant may write one more line; tells now and then how many it could not.
    fn may_write(&self) -> bool {
        let line = self.meter.line();
        if let Some(dropped) = line.dropped {
            tracing::warn!(
                tenant = %self.handler.tenant,
                handler = %self.handler.name,
                dropped,
                "lines of the tenant's log were dropped: there are more than quotas.log-lines-per-s allows"
            );
        }
        line.is_written
    }

    fn keep_tail(&self, line: &str) {
        let mut tail = self.tail.lock();
        if !tail.is_empty() {
            tail.push('\n');
        }
        tail.push_str(line);
        if tail.len() > TAIL_BYTES_MAX {
            let mut from = tail.len() - TAIL_BYTES_MAX;
            while !tail.is_char_boundary(from) {
                from += 1;
            }
            tail.drain(..from);
        }
    }
}

/// Returns whether lines of this level are written at all.
fn is_seen(level: LogLevel) -> bool {
    macro_rules! seen {
        ($level:ident) => {
            tracing::event_enabled!(target: "guest", tracing::Level::$level)
        };
    }
    match level {
        LogLevel::Trace => seen!(TRACE),
        LogLevel::Debug => seen!(DEBUG),
        LogLevel::Info => seen!(INFO),
        LogLevel::Warn => seen!(WARN),
        LogLevel::Error | LogLevel::Critical => seen!(ERROR),
    }
}

fn cut(text: &str) -> &str {
    excerpt(text, LINE_BYTES_MAX)
}

/// Which stream it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamKind {
    /// Lines become events of level info.
    Stdout,
    /// Lines become events of level warn, and the last ones explain a trap.
    Stderr,
}

/// One of a guest's output streams, cut into lines.
#[derive(Debug, Clone)]
pub(super) struct GuestStream {
    kind: StreamKind,
    log: Arc<GuestLog>,
    /// The begun line, shared by all handles of the stream.
    line: Arc<Mutex<Vec<u8>>>,
}

impl GuestStream {
    pub(super) fn new(kind: StreamKind, log: Arc<GuestLog>) -> Self {
        Self {
            kind,
            log,
            line: Arc::default(),
        }
    }

    fn end_line(&self, line: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches('\r');
        if !text.is_empty() {
            match self.kind {
                StreamKind::Stdout => self.log.log(LogLevel::Info, "stdout", text),
                StreamKind::Stderr => {
                    self.log.log(LogLevel::Warn, "stderr", text);
                    self.log.keep_tail(cut(text));
                }
            }
        }
        line.clear();
    }
}

impl OutputStream for GuestStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let shared = Arc::clone(&self.line);
        let mut line = shared.lock();
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            let (text, ended) = match part.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (part, false),
            };
            let room = LINE_BYTES_MAX.saturating_sub(line.len());
            line.extend_from_slice(text.get(..room).unwrap_or(text));
            if ended {
                self.end_line(&mut line);
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

#[async_trait]
impl Pollable for GuestStream {
    async fn ready(&mut self) {}
}

impl IsTerminal for GuestStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only components of WASI 0.3 would ask for this; they are refused at load.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}
