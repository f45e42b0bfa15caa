//! `consume`: prints the records of a topic, as text or as JSON lines.
//!
//! It is handed a writer and reads the partitions itself, without a consumer group.
//! **Invariant:** nothing is committed, so that looking at a topic changes nothing for its handlers.

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::bail;
use rdkafka::bindings;
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Headers as _, Message as _};

use super::connect::ConnectArgs;
use super::console::Console;
use super::produce::Format;
use super::reader::{Ended, Event, Reader};
use super::records;
use crate::duration::parse_duration;
use crate::ids::TopicName;
use crate::record::{Header, RecordView};

const EXAMPLES: &str = "\
Examples:
  kafka-wasm-host consume alerts --brokers localhost:9092           # everything, then wait for more
  kafka-wasm-host consume alerts --until-end --format json          # everything there is now
  kafka-wasm-host consume alerts --from end --count 5 --timeout 10s # the next five, or exit code 1
  kafka-wasm-host consume old --until-end --format json | kafka-wasm-host produce new --format json

Text shows the value and a line feed; a tombstone is an empty line. JSON shows everything, one record a line:
  {\"topic\": \"alerts\", \"partition\": 0, \"offset\": 7, \"timestamp\": 1700000000000, \"key\": \"k\", \"headers\": {\"a\": \"b\"}, \"value\": \"v\"}
  - value null is a tombstone; what is not UTF-8 becomes key-base64, value-base64 or {\"base64\": \"…\"} in a header";

/// Prints the records of a topic
///
/// Reads without a consumer group and commits nothing. Order is kept within each partition.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ConsumeArgs {
    /// The topic; where it does not exist yet, the command waits for it
    pub topic: TopicName,

    /// How to reach Kafka.
    #[command(flatten)]
    pub connect: ConnectArgs,

    /// Where to start: beginning, end, or an offset (in each partition)
    #[arg(long, value_name = "beginning|end|OFFSET", default_value = "beginning")]
    pub from: Start,

    /// Ends after so many records
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,

    /// Ends when no record came for this long; with --count unmet, the exit code is 1
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub timeout: Option<Duration>,

    /// Ends where the topic ended when the command started
    #[arg(long)]
    pub until_end: bool,

    /// Reads this partition only
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: Option<i32>,

    /// How a record is printed: its value, or everything as a JSON object
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,

    /// Prints the key and a tab before the value of a text
    #[arg(long)]
    pub keys: bool,
}

/// Where reading starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record that is kept.
    Beginning,
    /// Behind the newest record.
    End,
    /// At this offset.
    Offset(i64),
}

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "beginning" => Ok(Self::Beginning),
            "end" => Ok(Self::End),
            number => match number.parse() {
                Ok(offset @ 0..) => Ok(Self::Offset(offset)),
                _ => Err("expected beginning, end, or an offset from 0".to_owned()),
            },
        }
    }
}

/// Runs the command. Blocks, so call it outside of an async task.
pub fn run(args: &ConsumeArgs) -> anyhow::Result<ExitCode> {
    let console = Console::stderr();
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    match consume(args, &mut out, &console) {
        Ok(true) => Ok(ExitCode::SUCCESS),
        Ok(false) => Ok(ExitCode::FAILURE),
        // `| head` has seen enough.
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error),
    }
}

pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io_error = error.root_cause().downcast_ref::<io::Error>();
    io_error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Prints records to `out`; returns whether all that was asked for came.
pub fn consume(
    args: &ConsumeArgs,
    out: &mut impl Write,
    console: &Console,
) -> anyhow::Result<bool> {
    if args.keys && args.format == Format::Json {
        bail!("--keys is for --format text; JSON shows the key anyway");
    }
    let mut reader = Reader::connect(args, console)?;
    let ended = reader.run(|event| {
        match event {
            Event::Record(message) => print(out, args, message)?,
            Event::Idle => out.flush()?,
        }
        Ok(ControlFlow::Continue(()))
    })?;
    out.flush()?;
    let within = args.timeout.unwrap_or_default();
    match (ended, args.count) {
        (Ended::NoTopic, _) => {
            console.say(&format!(
                "topic {} did not appear within {within:?}",
                args.topic
            ));
            Ok(false)
        }
        (Ended::TimedOut, Some(count)) => {
            console.say(&format!(
                "got {} of {count} records within {within:?}",
                reader.got()
            ));
            Ok(false)
        }
        (Ended::Done, Some(count)) if reader.got() < count => {
            console.say(&format!(
                "got {} of {count} records before the end of {}",
                reader.got(),
                args.topic
            ));
            Ok(false)
        }
        _ => Ok(true),
    }
}

fn print(
    out: &mut impl Write,
    args: &ConsumeArgs,
    message: &BorrowedMessage<'_>,
) -> io::Result<()> {
    if args.format == Format::Json {
        return records::print(out, &view_of(message));
    }
    if args.keys {
        out.write_all(message.key().unwrap_or_default())?;
        out.write_all(b"\t")?;
    }
    out.write_all(message.payload().unwrap_or_default())?;
    out.write_all(b"\n")
}

/// Lends a message.
pub(super) fn view_of<'m>(message: &'m BorrowedMessage<'_>) -> RecordView<'m> {
    RecordView {
        topic: message.topic(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis(),
        key: message.key(),
        value: message.payload(),
        headers: message.headers().map(headers_of).unwrap_or_default(),
    }
}

/// Lends the headers of a message.
#[expect(
    unsafe_code,
    reason = "the client's own accessor panics at a header whose name is not UTF-8"
)]
fn headers_of(headers: &BorrowedHeaders) -> Vec<Header<'_>> {
    // A `BorrowedHeaders` has no contents: its address is that of librdkafka's list.
    let list = std::ptr::from_ref(headers).cast::<bindings::rd_kafka_headers_t>();
    let header = |index| {
        let (mut name, mut value, mut size) = (std::ptr::null(), std::ptr::null(), 0);
        // SAFETY: the list lives as long as the message that lends `headers`; the other pointers are to locals.
        let code = unsafe {
            bindings::rd_kafka_header_get_all(
                list,
                index,
                &raw mut name,
                &raw mut value,
                &raw mut size,
            )
        };
        if code != bindings::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
            return None;
        }
        // SAFETY: librdkafka ends names with NUL and keeps them as long as the list.
        let key = unsafe { std::ffi::CStr::from_ptr(name) };
        // SAFETY: a value that is not null has `size` readable bytes for as long as the list.
        let value = (!value.is_null())
            .then(|| unsafe { std::slice::from_raw_parts(value.cast::<u8>(), size) });
        Some(Header {
            key: key.to_string_lossy(),
            value,
        })
    };
    (0..headers.count()).map_while(header).collect()
}

#[cfg(test)]
mod tests;
