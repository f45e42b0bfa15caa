//! Makes a dead letter: the record as it was, and in headers that a person can read where it came from and why. A record
//! that waits in a topic for its next attempt is written alike.
//!
//! The names of the headers, and their readers, are in `letter` and `returned`.
//! **Invariant:** key, value and headers of the record are kept unchanged; ours come after them.

use std::borrow::Cow;

use crate::catalog::Deployed;
use crate::ids::TopicName;
use crate::letter::{Letter, STEP};
use crate::moment::now_ms;
use crate::outbox::{Full, Outbox};
use crate::outcome::Failure;
use crate::record::{Emit, Header, RecordView};
use crate::returned::Deferral;

/// Why a record becomes a dead letter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reason<'a> {
    pub(crate) failure: &'a Failure,
    /// How many attempts were made.
    pub(crate) attempts: u32,
    /// Where it waits for its next attempt, if there is one.
    pub(crate) wait: Option<(&'a TopicName, Deferral)>,
}

impl<'a> Reason<'a> {
    /// The failure of the last attempt.
    pub(crate) fn last(failure: &'a Failure, attempts: u32) -> Self {
        Self {
            failure,
            attempts,
            wait: None,
        }
    }
}

/// Appends the dead letter of a record to `letters`.
pub(crate) fn write(
    letters: &mut Outbox,
    handler: &Deployed,
    record: &RecordView<'_>,
    reason: Reason<'_>,
) -> Result<(), Full> {
    let letter = Letter {
        topic: record.topic.to_owned(),
        partition: record.partition,
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
        handler: handler.id.clone(),
        revision: handler.revision.to_string(),
        attempts: reason.attempts,
        kind: reason.failure.kind,
        error: reason.failure.excerpt().to_owned(),
        time_ms: now_ms(),
    };
    let mut ours = Vec::from(letter.block());
    ours.extend(reason.failure.step.clone().map(|step| (STEP, step)));
    if let Some((_, deferral)) = reason.wait {
        ours.extend(deferral.headers());
    }
    let mut headers = record.headers.clone();
    headers.extend(ours.iter().map(|(key, value)| Header {
        key: Cow::Borrowed(*key),
        value: Some(value.as_bytes()),
    }));
    let topic = match reason.wait {
        Some((topic, _)) => topic,
        None => &handler.manifest.dead_letter_topic,
    };
    letters.push(&Emit {
        topic: topic.as_str(),
        key: record.key,
        value: record.value,
        headers,
        partition: None,
        // That of writing: Kafka forgets by it, and an old record is not to be forgotten before anybody has seen it.
        timestamp_ms: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{EXCERPT_BYTES_MAX, FailureKind};

    #[test]
    fn a_long_error_is_cut_between_characters() {
        let cut = |text: &str| {
            let failure = Failure::new(FailureKind::Other, text);
            failure.excerpt().len()
        };
        let text = "é".repeat(EXCERPT_BYTES_MAX);
        assert_eq!(cut(&text), EXCERPT_BYTES_MAX);
        assert_eq!(cut(&format!("x{text}")), EXCERPT_BYTES_MAX - 1);
    }
}
