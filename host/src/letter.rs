//! The headers of a dead letter: written when a record could not be handled, read back when it is looked at or replayed.
//!
//! It is handed a [`Letter`] and returns its block of ten headers, or the other way round; it knows no Kafka client.
//! **Invariant:** what [`Letter::block`] writes, [`Letter::parse`] reads back unchanged, whatever headers the record has
//! of its own: its block begins with the last header of the first name.

use std::time::{Duration, SystemTime};

use crate::ids::{GroupId, HandlerId, NameError, TopicName};
use crate::outcome::FailureKind;
use crate::record::{Header, RecordId};
use crate::route::HOPS_HEADER;

pub(crate) const TOPIC: &str = "dead-letter.topic";
pub(crate) const PARTITION: &str = "dead-letter.partition";
pub(crate) const OFFSET: &str = "dead-letter.offset";
pub(crate) const TIMESTAMP: &str = "dead-letter.timestamp";
pub(crate) const HANDLER: &str = "dead-letter.handler";
pub(crate) const REVISION: &str = "dead-letter.revision";
pub(crate) const ATTEMPTS: &str = "dead-letter.attempts";
pub(crate) const KIND: &str = "dead-letter.error-kind";
pub(crate) const ERROR: &str = "dead-letter.error";
pub(crate) const TIME: &str = "dead-letter.time";
/// Follows the block where a step of a pipeline failed, and says which one: `pipeline/step`.
pub(crate) const STEP: &str = "dead-letter.step";
/// Follows the block of a letter that is replayed, and says which letter that is.
pub(crate) const REPLAY_OF: &str = "replay.of";
/// Stands before the last header where a letter is replayed with all others of its key, and says in which replay.
pub(crate) const REPLAY_SESSION: &str = "replay.session";

/// What the name of the topic ends with in which a group finds the letters that it shall handle again.
const REPLAY_SUFFIX: &str = ".replay";

/// Beyond the year 9999 RFC 3339 has no place, so the number stands for itself.
const YEAR_10000_MS: i64 = 253_402_300_800_000;

/// Returns the topic from which a group replays.
pub(crate) fn replay_topic(group: &GroupId) -> Result<TopicName, NameError> {
    TopicName::with_suffix(group, REPLAY_SUFFIX)
}

/// Where a dead letter came from and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Letter {
    /// The topic of the record.
    pub(crate) topic: String,
    /// Its partition there.
    pub(crate) partition: i32,
    /// Its offset there.
    pub(crate) offset: i64,
    /// Its timestamp in milliseconds since the Unix epoch, if it had one.
    pub(crate) timestamp_ms: Option<i64>,
    /// The handler that could not handle it.
    pub(crate) handler: HandlerId,
    /// The revision of the last attempt.
    pub(crate) revision: String,
    /// How many attempts were made.
    pub(crate) attempts: u32,
    /// What kind of failure the last attempt was.
    pub(crate) kind: FailureKind,
    /// Its error in words.
    pub(crate) error: String,
    /// When it was given up, in milliseconds since the Unix epoch.
    pub(crate) time_ms: i64,
}

/// Why the headers of a record are not those of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseError {
    /// No block begins.
    #[error("it has no header {TOPIC}")]
    NoBlock,
    /// The block is not whole.
    #[error("it has the header {TOPIC}, but no {0} after it")]
    Missing(&'static str),
    /// A header does not hold what it should.
    #[error("its header {name} is {found:?}, expected {expected}")]
    Value {
        /// The header.
        name: &'static str,
        /// What it holds.
        found: String,
        /// What it should hold, in words.
        expected: &'static str,
    },
}

impl Letter {
    /// Returns the ten headers that say this, in their order.
    pub(crate) fn block(&self) -> [(&'static str, String); 10] {
        [
            (TOPIC, self.topic.clone()),
            (PARTITION, self.partition.to_string()),
            (OFFSET, self.offset.to_string()),
            (
                TIMESTAMP,
                self.timestamp_ms.map_or_else(String::new, time_text),
            ),
            (HANDLER, self.handler.to_string()),
            (REVISION, self.revision.clone()),
            (ATTEMPTS, self.attempts.to_string()),
            (KIND, self.kind.as_str().to_owned()),
            (ERROR, self.error.clone()),
            (TIME, time_text(self.time_ms)),
        ]
    }

    /// Reads the block back from all headers of a dead letter.
    pub(crate) fn parse(headers: &[Header<'_>]) -> Result<Self, ParseError> {
        let (_, block) = split(headers).ok_or(ParseError::NoBlock)?;
        let block = Block(block);
        let timestamp_ms = match block.text(TIMESTAMP)?.as_str() {
            "" => None,
            _ => Some(block.time(TIMESTAMP)?),
        };
        Ok(Self {
            topic: block.text(TOPIC)?,
            partition: block.parsed(PARTITION, "the number of a partition")?,
            offset: block.parsed(OFFSET, "an offset")?,
            timestamp_ms,
            handler: block.parsed(HANDLER, "tenant/handler")?,
            revision: block.text(REVISION)?,
            attempts: block.parsed(ATTEMPTS, "a number of attempts")?,
            kind: block.parsed(KIND, "a kind of failure that this version knows")?,
            error: block.text(ERROR)?,
            time_ms: block.time(TIME)?,
        })
    }

    /// Returns the place of the record that could not be handled.
    pub(crate) fn source(&self) -> RecordId {
        RecordId {
            topic: self.topic.as_str().into(),
            partition: self.partition,
            offset: self.offset,
        }
    }
}

/// Splits the headers of a dead letter into the record's own, and the block with what follows it.
///
/// A record may have been a dead letter before, then its own headers hold an older block.
pub(crate) fn split<'h, 'r>(
    headers: &'h [Header<'r>],
) -> Option<(&'h [Header<'r>], &'h [Header<'r>])> {
    let begin = headers.iter().rposition(|header| header.key == TOPIC)?;
    headers.split_at_checked(begin)
}

/// Takes the count of hops from a record's own headers, where its dead letter was written because of that count: whoever has
/// it handled again has seen to the loop, or means to try, and the same count would cut it at once.
pub(crate) fn forget_hops(headers: &mut Vec<Header<'_>>) {
    let Some((own, block)) = split(headers) else {
        return;
    };
    if optional_text(block, KIND).as_deref() != Some(FailureKind::Loop.as_str()) {
        return;
    }
    let mut own = 0..own.len();
    headers.retain(|header| own.next().is_none() || header.key != HOPS_HEADER);
}

/// Reads a header out of a block and what follows it; `None` where there is no such header.
pub(crate) fn optional_text(block: &[Header<'_>], name: &'static str) -> Option<String> {
    Block(block).text(name).ok()
}

/// Reads a header with a time out of a block and what follows it; `None` where there is no such header.
pub(crate) fn optional_time(
    block: &[Header<'_>],
    name: &'static str,
) -> Result<Option<i64>, ParseError> {
    if !block.iter().any(|header| header.key == name) {
        return Ok(None);
    }
    Block(block).time(name).map(Some)
}

/// Returns the place of the dead letter that a record replays, if it is a replay.
pub(crate) fn replay_of(headers: &[Header<'_>]) -> Option<RecordId> {
    let header = headers.last().filter(|header| header.key == REPLAY_OF)?;
    std::str::from_utf8(header.value?).ok()?.parse().ok()
}

/// The block, and what follows it.
struct Block<'h, 'r>(&'h [Header<'r>]);

impl Block<'_, '_> {
    fn text(&self, name: &'static str) -> Result<String, ParseError> {
        let header = self.0.iter().find(|header| header.key == name);
        let value = header.and_then(|header| header.value);
        value
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .ok_or(ParseError::Missing(name))
    }

    fn parsed<T: std::str::FromStr>(
        &self,
        name: &'static str,
        expected: &'static str,
    ) -> Result<T, ParseError> {
        let found = self.text(name)?;
        found.parse().map_err(|_| ParseError::Value {
            name,
            found,
            expected,
        })
    }

    fn time(&self, name: &'static str) -> Result<i64, ParseError> {
        let found = self.text(name)?;
        parse_time(&found).ok_or(ParseError::Value {
            name,
            found,
            expected: "a time such as 2026-01-31T02:00:31.800Z",
        })
    }
}

/// Writes milliseconds since the Unix epoch as RFC 3339, or as they are where that has no place for them.
pub(crate) fn time_text(time_ms: i64) -> String {
    u64::try_from(time_ms)
        .ok()
        .filter(|_| time_ms < YEAR_10000_MS)
        .and_then(|ms| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(ms)))
        .map_or_else(
            || time_ms.to_string(),
            |time| humantime::format_rfc3339_millis(time).to_string(),
        )
}

/// Reads what [`time_text`] writes.
fn parse_time(text: &str) -> Option<i64> {
    if let Ok(time_ms) = text.parse() {
        return Some(time_ms);
    }
    let time = humantime::parse_rfc3339(text).ok()?;
    unix_ms(time)
}

/// Returns a time as milliseconds since the Unix epoch, `None` before it.
pub(crate) fn unix_ms(time: SystemTime) -> Option<i64> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok()
}

#[cfg(test)]
mod tests;
