//! `produce`: sends lines to a topic, from a file, a pipe or the keyboard, while they come.
//!
//! It is handed lines and counts what Kafka acknowledged and what it refused.
//! **Invariant:** every line is acknowledged or reported with its number; memory does not grow with the input.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};

use super::connect::{ConnectArgs, parse_header};
use super::console::Console;
use super::records;
use super::sender::{Sender, Tally};
use crate::duration::parse_duration;
use crate::ids::TopicName;
use crate::record::{Emit, Header};

const EXAMPLES: &str = "\
Examples:
  echo hello | kafka-wasm-host produce greetings --brokers localhost:9092
  kafka-wasm-host produce orders orders.txt --key-separator :       # id-17:{\"total\": 3}
  kafka-wasm-host produce orders orders.jsonl --format json
  kafka-wasm-host produce orders --key id-17 --tombstone

A line of --format json is an object; each field may be left out:
  {\"key\": \"id-17\", \"value\": {\"total\": 3}, \"headers\": {\"source\": \"shop\"}, \"partition\": 0, \"timestamp\": 1700000000000}
  - value: a text is sent as it is, any other JSON as compact JSON; null or none is a tombstone, \"\" is an empty value
  - key-base64 and value-base64 take bytes that are not text
  - headers: an object, or [[\"name\", \"value\"], …] where names repeat; a value is a text, null or {\"base64\": \"…\"}
  - topic and offset are ignored, so that what `consume --format json` prints can be sent again";

/// Sends lines to a topic
///
/// Each line becomes a record. The exit code is 0 only when Kafka acknowledged every one of them.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ProduceArgs {
    /// The topic; the brokers may create it at its first use
    pub topic: TopicName,

    /// The file to read; without it, or as -, lines are read from stdin
    pub file: Option<PathBuf>,

    /// How to reach Kafka.
    #[command(flatten)]
    pub connect: ConnectArgs,

    /// What a line is: the value itself, or a JSON object with key, value, headers …
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,

    /// The key of every record that has none of its own
    #[arg(long, value_name = "TEXT")]
    pub key: Option<String>,

    /// Splits a line of text, at its first place, into key and value
    #[arg(long, value_name = "SEP", conflicts_with = "key", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub key_separator: Option<String>,

    /// A header of every record; may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = parse_header)]
    pub headers: Vec<(String, String)>,

    /// The partition of every record that has none of its own; by default the key decides, as with Java's clients
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: Option<i32>,

    /// The timestamp of every record that has none of its own, in milliseconds since 1970; 0 is now
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(i64).range(0..))]
    pub timestamp: Option<i64>,

    /// Sends one record without a value for --key, and reads no lines
    #[arg(long, requires = "key", conflicts_with = "file")]
    pub tombstone: bool,

    /// How long to wait for a broker, and for the acknowledgement of a record
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    pub timeout: Duration,
}

/// How a record is written as a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// The value, as it is
    Text,
    /// A JSON object
    Json,
}

/// Runs the command. Blocks, so call it outside of an async task.
pub fn run(args: &ProduceArgs) -> anyhow::Result<ExitCode> {
    let console = Arc::new(Console::stderr());
    let tally = match args.file.as_ref().filter(|path| path.as_os_str() != "-") {
        _ if args.tombstone => produce(args, io::empty(), &console)?,
        Some(path) => {
            let file =
                File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
            produce(args, BufReader::with_capacity(1 << 16, file), &console)?
        }
        None => {
            if io::stdin().is_terminal() {
                console.say("each line is sent as a record; Ctrl-D ends");
            }
            produce(args, io::stdin().lock(), &console)?
        }
    };
    let lost = match tally.failed {
        0 => String::new(),
        1 => ", 1 failed".to_owned(),
        failed => format!(", {failed} failed"),
    };
    let noun = if tally.acknowledged == 1 {
        "record"
    } else {
        "records"
    };
    console.say(&format!(
        "produced {} {noun} to {}{lost}",
        tally.acknowledged, args.topic
    ));
    Ok(if tally.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Sends the lines of `input` and waits for their acknowledgements.
pub fn produce(
    args: &ProduceArgs,
    input: impl BufRead,
    console: &Arc<Console>,
) -> anyhow::Result<Tally> {
    if args.key_separator.is_some() && args.format == Format::Json {
        bail!("--key-separator is for --format text; in JSON the key is the field \"key\"");
    }
    if let Some((name, _)) = args.headers.iter().find(|(name, _)| name.contains('\0')) {
        bail!("{}", records::ParseError::HeaderName(name.clone()));
    }
    let sender = Sender::connect(&args.connect, &args.topic, args.timeout, console)?;
    sender
        .check_partition(args.partition)
        .map_err(|problem| anyhow!(problem))?;
    let lines = Lines { args, sender };
    if args.tombstone {
        lines.sender.send(
            1,
            &Emit {
                value: None,
                ..lines.record(None, &[])
            },
        )?;
    } else {
        lines.send_all(input)?;
    }
    lines.sender.finish()
}

/// Turns lines into records.
struct Lines<'a> {
    args: &'a ProduceArgs,
    sender: Sender,
}

impl Lines<'_> {
    fn send_all(&self, mut input: impl BufRead) -> anyhow::Result<()> {
        // JSON writes a byte in up to six (\u0000), and a line of text is never more than its record.
        let line_bytes_max = self
            .sender
            .record_bytes_max()
            .saturating_mul(6)
            .saturating_add(64 * 1024);
        let mut line = Vec::new();
        let mut number = 0;
        loop {
            number += 1;
            match read_line(&mut input, &mut line, line_bytes_max)
                .context("cannot read the lines")?
            {
                LineEnd::Input => return Ok(()),
                LineEnd::TooLong => {
                    self.sender.fail(
                        number,
                        &format!("longer than {line_bytes_max} bytes, no record can be that large"),
                    );
                }
                LineEnd::Found => match self.args.format {
                    Format::Text => self.send_text(number, &line)?,
                    Format::Json => self.send_json(number, &line)?,
                },
            }
            self.sender.show_progress();
        }
    }

    fn send_text(&self, number: u64, line: &[u8]) -> anyhow::Result<()> {
        let Some(separator) = self.args.key_separator.as_deref().map(str::as_bytes) else {
            return self.sender.send(number, &self.record(None, line));
        };
        let Some(at) = line
            .windows(separator.len())
            .position(|window| window == separator)
        else {
            let separator = String::from_utf8_lossy(separator);
            self.sender.fail(
                number,
                &format!("there is no {separator:?} between a key and a value"),
            );
            return Ok(());
        };
        let (key, value) = line.split_at(at);
        let value = value.get(separator.len()..).unwrap_or_default();
        self.sender.send(number, &self.record(Some(key), value))
    }

    fn send_json(&self, number: u64, line: &[u8]) -> anyhow::Result<()> {
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let record = match records::parse(line) {
            Ok(record) => record,
            Err(problem) => {
                self.sender.fail(number, &problem.to_string());
                return Ok(());
            }
        };
        let common = self.record(None, &[]);
        let own = record.as_emit(common.topic);
        let headers = common.headers.into_iter().chain(own.headers).collect();
        let emit = Emit {
            topic: own.topic,
            key: own.key.or(common.key),
            value: own.value,
            headers,
            partition: own.partition.or(common.partition),
            timestamp_ms: own.timestamp_ms.or(common.timestamp_ms),
        };
        self.sender.send(number, &emit)
    }

    /// Returns a record of a value and of what the flags say.
    fn record<'r>(&'r self, key: Option<&'r [u8]>, value: &'r [u8]) -> Emit<'r> {
        let header = |(name, value): &'r (String, String)| Header {
            key: Cow::Borrowed(name.as_str()),
            value: Some(value.as_bytes()),
        };
        Emit {
            topic: self.args.topic.as_str(),
            key: key.or(self.args.key.as_deref().map(str::as_bytes)),
            value: Some(value),
            headers: self.args.headers.iter().map(header).collect(),
            partition: self.args.partition,
            timestamp_ms: self.args.timestamp,
        }
    }
}

/// How the reading of a line ended.
#[derive(Debug, PartialEq, Eq)]
enum LineEnd {
    /// There is a line, without its line feed.
    Found,
    /// The line was skipped: it is longer than allowed.
    TooLong,
    /// There is no line any more.
    Input,
}

/// Reads the next line into `line`, never more than `bytes_max` of it.
fn read_line(
    input: &mut impl BufRead,
    line: &mut Vec<u8>,
    bytes_max: usize,
) -> io::Result<LineEnd> {
    line.clear();
    let window = (bytes_max as u64).saturating_add(1);
    if input.by_ref().take(window).read_until(b'\n', line)? == 0 {
        return Ok(LineEnd::Input);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() > bytes_max {
        input.skip_until(b'\n')?;
        return Ok(LineEnd::TooLong);
    }
    Ok(LineEnd::Found)
}

#[cfg(test)]
mod tests;
