//! Records that come back to their handler by a topic of its own: dead letters that are replayed, and retries whose wait
//! is passed in Kafka.
//!
//! Handed the headers of such a record; tells where the record was first, what was tried, and when it is due.
//! **Invariant:** the handler is shown the record as it was first: its own headers, its first place and timestamp.

use std::time::Duration;

use crate::letter::{
    Letter, ParseError, REPLAY_SESSION, optional_text, optional_time, split, time_text,
};
use crate::record::Header;

/// When the next attempt is due.
const DUE: &str = "retry.due";
/// When the first attempt began.
const BEGUN: &str = "retry.begun";

/// A record's life until it came back. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Returned {
    /// Where the record was first, and what was tried.
    pub(crate) letter: Letter,
    /// How many of its headers, from the first on, are the record's own.
    pub(crate) own_headers: usize,
    /// When its next attempt is due; none where it is not waited for.
    pub(crate) due_ms: Option<i64>,
    /// When its first attempt began; none where its age begins anew.
    pub(crate) begun_ms: Option<i64>,
    /// The session of the replay of a whole key; none where the letter alone is replayed.
    pub(crate) session: Option<String>,
}

impl Returned {
    /// Reads the headers of a record that came back.
    pub(crate) fn parse(headers: &[Header<'_>]) -> Result<Self, ParseError> {
        let letter = Letter::parse(headers)?;
        let (own, block) = split(headers).ok_or(ParseError::NoBlock)?;
        Ok(Self {
            letter,
            own_headers: own.len(),
            due_ms: optional_time(block, DUE)?,
            begun_ms: optional_time(block, BEGUN)?,
            session: optional_text(block, REPLAY_SESSION),
        })
    }

    /// Returns how long the record has still to wait at `now_ms`, in milliseconds since the Unix epoch; none where it is
    /// due.
    ///
    /// Who wrote it down had a clock of its own. However far that is from this one, no record waits for longer than it was
    /// to wait when it was written down.
    pub(crate) fn wait(&self, now_ms: i64) -> Option<Duration> {
        let due_ms = self.due_ms?;
        let whole_ms = due_ms.saturating_sub(self.letter.time_ms);
        let left_ms = due_ms.saturating_sub(now_ms).min(whole_ms);
        u64::try_from(left_ms).ok().map(Duration::from_millis)
    }
}

/// When a record is to be tried again that waits in a topic, and since when it is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deferral {
    /// When the next attempt is due, in milliseconds since the Unix epoch.
    pub(crate) due_ms: i64,
    /// When the first attempt began, in milliseconds since the Unix epoch.
    pub(crate) begun_ms: i64,
}

impl Deferral {
    /// Returns the headers that follow the block of the letter.
    pub(crate) fn headers(&self) -> [(&'static str, String); 2] {
        [
            (DUE, time_text(self.due_ms)),
            (BEGUN, time_text(self.begun_ms)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::*;
    use crate::outcome::FailureKind;

    fn letter(offset: i64, attempts: u32) -> Letter {
        Letter {
            topic: "orders".to_owned(),
            partition: 3,
            offset,
            timestamp_ms: Some(1_517_364_031_800),
            handler: "acme/bill".parse().unwrap(),
            revision: "r1".to_owned(),
            attempts,
            kind: FailureKind::Other,
            error: "no".to_owned(),
            time_ms: 1_517_364_031_900,
        }
    }

    fn headers<'a>(all: &'a [(&'static str, String)]) -> Vec<Header<'a>> {
        all.iter()
            .map(|(key, value)| Header {
                key: Cow::Borrowed(*key),
                value: Some(value.as_bytes()),
            })
            .collect()
    }

    proptest! {
        #[test]
        fn what_a_deferral_says_is_read_back(
            due_ms in 0..253_402_300_800_000i64, begun_ms in 0..253_402_300_800_000i64,
            own in 0usize..4, offset in 0i64.., attempts in 1u32..,
        ) {
            let letter = letter(offset, attempts);
            let mut all = vec![("own", "value".to_owned()); own];
            all.extend(letter.block());
            all.extend(Deferral { due_ms, begun_ms }.headers());
            let returned = Returned::parse(&headers(&all)).unwrap();
            let expected = Returned { letter, own_headers: own, due_ms: Some(due_ms), begun_ms: Some(begun_ms), session: None };
            prop_assert_eq!(returned, expected);
        }
    }

    proptest! {
        #[test]
        fn a_record_waits_until_it_is_due_and_no_longer_than_it_was_told_to(
            written_ms in 0..1i64 << 42, whole_ms in 0..1i64 << 32, passed_ms in 0..1i64 << 32, skew_ms in -(1i64 << 40)..1 << 40,
        ) {
            let returned = Returned {
                letter: Letter { time_ms: written_ms, ..letter(7, 1) },
                own_headers: 0,
                due_ms: Some(written_ms + whole_ms),
                begun_ms: Some(written_ms),
                session: None,
            };
            let wait_ms = |now_ms| returned.wait(now_ms).map_or(0, |wait| i64::try_from(wait.as_millis()).unwrap());
            prop_assert_eq!(wait_ms(written_ms + passed_ms), (whole_ms - passed_ms).max(0));
            prop_assert!(wait_ms(written_ms + passed_ms + skew_ms) <= whole_ms);
        }
    }

    #[test]
    fn a_replayed_letter_is_due_at_once() {
        let letter = letter(7, 5);
        let mut all = vec![("retry.due", "the record's own".to_owned())];
        all.extend(letter.block());
        all.push(("replay.session", "s-1".to_owned()));
        all.push(("replay.of", "orders.dead-letter[0]@3".to_owned()));
        let returned = Returned::parse(&headers(&all)).unwrap();
        assert_eq!(returned.session.as_deref(), Some("s-1"));
        assert_eq!((returned.due_ms, returned.begun_ms), (None, None));
        assert_eq!(returned.own_headers, 1);
    }

    #[test]
    fn a_time_that_is_none_is_told() {
        let mut all = Vec::from(letter(7, 5).block());
        all.push(("retry.due", "soon".to_owned()));
        let error = Returned::parse(&headers(&all)).unwrap_err();
        assert!(error.to_string().contains("retry.due"), "{error}");
        assert_eq!(Returned::parse(&[]), Err(ParseError::NoBlock));
    }
}
