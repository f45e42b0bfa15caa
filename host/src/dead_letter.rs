//! What a dead letter says: the record as it was, and in headers that a person can read where it came from and why.
//!
//! **Invariant:** key, value, headers and timestamp of the record are kept unchanged; ours come after them.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use crate::catalog::Deployed;
use crate::outbox::{Full, Outbox};
use crate::outcome::Failure;
use crate::record::{Emit, Header, RecordView};

/// Bytes of the error's text that are kept.
const ERROR_BYTES_MAX: usize = 4 * 1024;

/// Why a record becomes a dead letter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reason<'a> {
    pub(crate) failure: &'a Failure,
    /// How many attempts were made.
    pub(crate) attempts: u32,
}

/// Appends the dead letter of a record to `letters`.
pub(crate) fn write(
    letters: &mut Outbox,
    handler: &Deployed,
    record: &RecordView<'_>,
    reason: Reason<'_>,
) -> Result<(), Full> {
    let ours = [
        ("dead-letter.topic", record.topic.to_owned()),
        ("dead-letter.partition", record.partition.to_string()),
        ("dead-letter.offset", record.offset.to_string()),
        (
            "dead-letter.timestamp",
            record.timestamp_ms.map_or_else(String::new, time_text),
        ),
        ("dead-letter.handler", handler.id.to_string()),
        ("dead-letter.revision", handler.revision.to_string()),
        ("dead-letter.attempts", reason.attempts.to_string()),
        (
            "dead-letter.error-kind",
            reason.failure.kind.as_str().to_owned(),
        ),
        ("dead-letter.error", cut(&reason.failure.message).to_owned()),
        (
            "dead-letter.time",
            humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
        ),
    ];
    let mut headers = record.headers.clone();
    headers.extend(ours.iter().map(|(key, value)| Header {
        key: Cow::Borrowed(*key),
        value: Some(value.as_bytes()),
    }));
    letters.push(&Emit {
        topic: handler.manifest.dead_letter_topic.as_str(),
        key: record.key,
        value: record.value,
        headers,
        partition: None,
        timestamp_ms: record.timestamp_ms,
    })
}

fn time_text(timestamp_ms: i64) -> String {
    u64::try_from(timestamp_ms)
        .ok()
        .and_then(|ms| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(ms)))
        // Beyond the year 9999 the format has no place, so the number stands for itself.
        .filter(|_| timestamp_ms < 253_402_300_800_000)
        .map_or_else(|| timestamp_ms.to_string(), |time| humantime::format_rfc3339_millis(time).to_string())
}

fn cut(text: &str) -> &str {
    let mut end = ERROR_BYTES_MAX.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_readable_and_absurd_ones_do_no_harm() {
        assert_eq!(time_text(1_517_364_031_800), "2018-01-31T02:00:31.800Z");
        assert_eq!(time_text(i64::MAX), "9223372036854775807");
        assert_eq!(time_text(-5), "-5");
    }

    #[test]
    fn a_long_error_is_cut_between_characters() {
        let text = "é".repeat(ERROR_BYTES_MAX);
        assert_eq!(cut(&text).len(), ERROR_BYTES_MAX);
        assert_eq!(cut(&format!("x{text}")).len(), ERROR_BYTES_MAX - 1);
    }
}
