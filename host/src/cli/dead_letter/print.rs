//! Dead letters as people and programs read them.
//!
//! It is handed letters and a writer.
//! **Invariant:** no byte of a record reaches a terminal as a control character, but for line feeds and tabs of a text.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use super::counted;
use super::filter::Place;
use crate::cli::records;
use crate::letter::{self, Letter, ParseError, time_text};
use crate::record::{Header, RecordView};

/// What a line shows of an error.
const ERROR_CHARS_MAX: usize = 160;

/// A record of a dead-letter topic.
#[derive(Debug)]
pub(super) struct Item<'r> {
    pub(super) place: Place,
    pub(super) record: &'r RecordView<'r>,
    pub(super) letter: Result<Letter, ParseError>,
}

impl<'r> Item<'r> {
    pub(super) fn of(record: &'r RecordView<'r>) -> Self {
        Self {
            place: Place {
                partition: record.partition,
                offset: record.offset,
            },
            record,
            letter: Letter::parse(&record.headers),
        }
    }

    /// The headers that the record had before it was given up; all of them where it is no letter.
    fn own_headers(&self) -> &'r [Header<'r>] {
        match &self.letter {
            Ok(_) => letter::split(&self.record.headers).map_or(&[], |(own, _)| own),
            Err(_) => &self.record.headers,
        }
    }
}

/// Writes a letter as a line; whether it was replayed is not always known.
pub(super) fn line(
    out: &mut dyn Write,
    place: Place,
    letter: &Letter,
    replayed: Option<bool>,
) -> io::Result<()> {
    let source = letter.source().to_string();
    let handler = letter.handler.to_string();
    let first = letter.error.lines().next().unwrap_or_default();
    let mut error: String = printable(first, false)
        .chars()
        .take(ERROR_CHARS_MAX)
        .collect();
    if error.len() < letter.error.len() {
        error.push('…');
    }
    writeln!(
        out,
        "{place:<8}  {source:<24}  {handler:<20}  {kind:<8}  {attempts:<11}  {time}  {replayed:<8}  {error}",
        kind = letter.kind.as_str(),
        attempts = counted(u64::from(letter.attempts), "attempt", "attempts"),
        time = time_text(letter.time_ms),
        replayed = match replayed {
            Some(true) => "replayed",
            Some(false) => "-",
            None => "?",
        },
    )
}

/// Writes a letter, or a record that is none, as a JSON object of one line; without `whole`, its value and its own
/// headers are left out.
pub(super) fn json(
    out: &mut dyn Write,
    item: &Item<'_>,
    replayed: Option<bool>,
    whole: bool,
) -> io::Result<()> {
    let mut line = Vec::new();
    let record = RecordView {
        headers: if whole {
            item.own_headers().to_vec()
        } else {
            Vec::new()
        },
        value: item.record.value.filter(|_| whole),
        ..item.record.clone()
    };
    records::print(&mut line, &record)?;
    let mut object: Map<String, Value> = serde_json::from_slice(&line)?;
    if !whole {
        object.shift_remove("value");
    }
    match &item.letter {
        Ok(letter) => {
            object.insert("dead-letter".to_owned(), block(letter));
            object.insert("replayed".to_owned(), json!(replayed));
        }
        Err(problem) => {
            object.insert("dead-letter".to_owned(), Value::Null);
            object.insert("problem".to_owned(), json!(problem.to_string()));
        }
    }
    serde_json::to_writer(&mut *out, &object)?;
    out.write_all(b"\n")
}

fn block(letter: &Letter) -> Value {
    json!({
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "timestamp": letter.timestamp_ms.map(time_text),
        "handler": letter.handler.to_string(),
        "revision": letter.revision,
        "attempts": letter.attempts,
        "error-kind": letter.kind.as_str(),
        "error": letter.error,
        "time": time_text(letter.time_ms),
    })
}

/// Writes everything of a letter, or of a record that is none, for a person.
pub(super) fn page(out: &mut dyn Write, item: &Item<'_>, replayed: Option<bool>) -> io::Result<()> {
    let record = item.record;
    field(
        out,
        "place",
        &format!("{}[{}]@{}", record.topic, record.partition, record.offset),
    )?;
    match &item.letter {
        Ok(letter) => {
            let timestamp = letter
                .timestamp_ms
                .map_or_else(|| "none".to_owned(), time_text);
            field(out, "record of", &letter.source().to_string())?;
            field(out, "timestamp", &timestamp)?;
            field(
                out,
                "handler",
                &format!("{}, revision {}", letter.handler, letter.revision),
            )?;
            field(out, "attempts", &letter.attempts.to_string())?;
            field(out, "given up", &time_text(letter.time_ms))?;
            field(
                out,
                "replayed",
                match replayed {
                    Some(true) => "yes",
                    Some(false) => "no",
                    None => "not known without --group",
                },
            )?;
            field(out, "kind", letter.kind.as_str())?;
            field(out, "error", &printable(&letter.error, true))?;
        }
        Err(problem) => {
            let timestamp = record
                .timestamp_ms
                .map_or_else(|| "none".to_owned(), time_text);
            field(out, "timestamp", &timestamp)?;
            field(
                out,
                "problem",
                &format!("this is no dead letter: {problem}"),
            )?;
        }
    }
    for header in item.own_headers() {
        let name = printable(&header.key, false);
        field(
            out,
            "header",
            &format!("{name}: {}", bytes(header.value, false)),
        )?;
    }
    field(out, "key", &bytes(record.key, false))?;
    field(out, "value", &bytes(record.value, true))
}

/// Writes a name and a text whose further lines are indented below the first.
fn field(out: &mut dyn Write, name: &str, text: &str) -> io::Result<()> {
    let text = text.replace('\n', "\n             ");
    writeln!(out, "{name:<11}  {text}")
}

/// Returns the key of records as people read it.
pub(super) fn key_text(key: &[u8]) -> String {
    bytes(Some(key), false)
}

fn bytes(bytes: Option<&[u8]>, may_break: bool) -> String {
    match bytes.map(|bytes| (std::str::from_utf8(bytes), bytes)) {
        None => "(null)".to_owned(),
        Some((_, [])) => "(empty)".to_owned(),
        Some((Ok(text), _)) => printable(text, may_break),
        Some((Err(_), bytes)) => format!("(base64) {}", BASE64.encode(bytes)),
    }
}

/// Escapes what could move a terminal's cursor or change its colours.
fn printable(text: &str, may_break: bool) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        let stays = !c.is_control() || c == '\t' || (c == '\n' && may_break);
        if stays {
            safe.push(c);
        } else {
            safe.extend(c.escape_default());
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    const BLOCK: [(&str, &str); 10] = [
        ("dead-letter.topic", "orders"),
        ("dead-letter.partition", "3"),
        ("dead-letter.offset", "1007"),
        ("dead-letter.timestamp", ""),
        ("dead-letter.handler", "acme/orders"),
        ("dead-letter.revision", "0123456789ab"),
        ("dead-letter.attempts", "5"),
        ("dead-letter.error-kind", "trap"),
        ("dead-letter.error", "\u{1b}[31mred\nsecond line"),
        ("dead-letter.time", "2018-01-31T02:00:31.800Z"),
    ];

    fn record(block: &[(&'static str, &'static str)]) -> RecordView<'static> {
        let own = [("trace", Some(b"7f".as_slice())), ("odd", None)];
        let block = block
            .iter()
            .map(|&(key, value)| (key, Some(value.as_bytes())));
        let header = |(key, value)| Header {
            key: Cow::Borrowed(key),
            value,
        };
        RecordView {
            topic: "dead",
            partition: 0,
            offset: 17,
            timestamp_ms: Some(5),
            key: Some(b"k"),
            value: Some(b"\xff"),
            headers: own.into_iter().chain(block).map(header).collect(),
        }
    }

    fn written(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_holds_the_first_line_of_the_error_without_control_characters() {
        let record = record(&BLOCK);
        let item = Item::of(&record);
        let letter = item.letter.as_ref().unwrap();
        let text = written(|out| line(out, item.place, letter, Some(true)));
        let words: Vec<&str> = text
            .split("  ")
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .collect();
        assert_eq!(
            words,
            [
                "0@17",
                "orders[3]@1007",
                "acme/orders",
                "trap",
                "5 attempts",
                "2018-01-31T02:00:31.800Z",
                "replayed",
                "\\u{1b}[31mred…",
            ]
        );
    }

    #[test]
    fn a_page_shows_everything_of_a_letter() {
        let record = record(&BLOCK);
        let text = written(|out| page(out, &Item::of(&record), Some(false)));
        assert_eq!(
            text,
            "\
place        dead[0]@17
record of    orders[3]@1007
timestamp    none
handler      acme/orders, revision 0123456789ab
attempts     5
given up     2018-01-31T02:00:31.800Z
replayed     no
kind         trap
error        \\u{1b}[31mred
             second line
header       trace: 7f
header       odd: (null)
key          k
value        (base64) /w==
"
        );
    }

    #[test]
    fn json_shows_the_same_to_programs() {
        let record = record(&BLOCK);
        let text = written(|out| json(out, &Item::of(&record), None, true));
        let found: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            found,
            json!({
                "topic": "dead", "partition": 0, "offset": 17, "timestamp": 5, "key": "k",
                "headers": {"trace": "7f", "odd": null}, "value-base64": "/w==",
                "dead-letter": {
                    "topic": "orders", "partition": 3, "offset": 1007, "timestamp": null, "handler": "acme/orders",
                    "revision": "0123456789ab", "attempts": 5, "error-kind": "trap",
                    "error": "\u{1b}[31mred\nsecond line", "time": "2018-01-31T02:00:31.800Z",
                },
                "replayed": null,
            })
        );
        let text = written(|out| json(out, &Item::of(&record), Some(true), false));
        let found: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(found["replayed"], true);
        assert!(found.get("value").is_none() && found.get("headers").is_none());
    }

    #[test]
    fn a_record_that_is_no_letter_is_shown_with_the_reason() {
        let record = record(&BLOCK[..3]);
        let item = Item::of(&record);
        let text = written(|out| page(out, &item, None));
        assert!(
            text.contains(
                "problem      this is no dead letter: it has the header dead-letter.topic, but no "
            ),
            "{text}"
        );
        assert!(
            text.contains("header       dead-letter.offset: 1007"),
            "{text}"
        );
        let found: Value =
            serde_json::from_str(&written(|out| json(out, &item, None, true))).unwrap();
        assert_eq!(found["dead-letter"], Value::Null);
        assert_eq!(found["headers"]["dead-letter.offset"], "1007");
    }
}
