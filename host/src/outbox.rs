//! The emits of one invocation, held until it is known whether they may be sent.
//!
//! Handed records by the guest's `emit` import; lends them to the flow afterwards. All bytes lie in one buffer
//! that is reused for the next invocation, so a record costs no allocation of its own.
//! **Invariant:** never holds more records or bytes than it was made for.

use std::borrow::Cow;
use std::ops::Range;

use crate::record::{Emit, Header};

/// Why an outbox takes no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The limit of records is reached.
    #[error("the outbox holds at most {max} records of one invocation")]
    Records {
        /// Records allowed.
        max: usize,
    },
    /// The limit of bytes is reached.
    #[error("the outbox holds at most {max} bytes of one invocation")]
    Bytes {
        /// Bytes allowed.
        max: usize,
    },
}

/// A stretch of the buffer; `None` is null.
type Span = Option<Range<usize>>;

#[derive(Debug, Clone)]
struct Stored {
    topic: Range<usize>,
    key: Span,
    value: Span,
    /// Which entries of `headers` are this record's.
    headers: Range<usize>,
    partition: Option<i32>,
    timestamp_ms: Option<i64>,
}

/// How much an outbox held at some time.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    stored: usize,
    headers: usize,
    bytes: usize,
}

/// The emits of one invocation, in order.
#[derive(Debug, Clone)]
pub struct Outbox {
    records_max: usize,
    bytes_max: usize,
    buffer: Vec<u8>,
    headers: Vec<(Range<usize>, Span)>,
    stored: Vec<Stored>,
}

/// A buffer larger than this is given back after use, so that one large invocation does not hold memory for good.
const KEEP_BYTES_MAX: usize = 256 * 1024;

impl Outbox {
    /// Makes an outbox for at most `records_max` records of `bytes_max` bytes together.
    pub fn new(records_max: usize, bytes_max: usize) -> Self {
        Self {
            records_max,
            bytes_max,
            buffer: Vec::new(),
            headers: Vec::new(),
            stored: Vec::new(),
        }
    }

    /// Takes what is in it; its bounds stay.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let empty = Self::new(self.records_max, self.bytes_max);
        std::mem::replace(self, empty)
    }

    /// Returns how many records wait.
    pub fn len(&self) -> usize {
        self.stored.len()
    }

    /// Returns whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.stored.is_empty()
    }

    /// Returns the bytes that wait.
    pub fn size_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Copies a record to the end of the outbox.
    pub fn push(&mut self, emit: &Emit<'_>) -> Result<(), Full> {
        if self.stored.len() >= self.records_max {
            return Err(Full::Records {
                max: self.records_max,
            });
        }
        let wanted = self.buffer.len() + emit.topic.len() + emit.size_bytes();
        if wanted > self.bytes_max {
            return Err(Full::Bytes {
                max: self.bytes_max,
            });
        }
        let topic = self.append(emit.topic.as_bytes());
        let key = emit.key.map(|key| self.append(key));
        let value = emit.value.map(|value| self.append(value));
        let first_header = self.headers.len();
        for header in &emit.headers {
            let key = self.append(header.key.as_bytes());
            let value = header.value.map(|value| self.append(value));
            self.headers.push((key, value));
        }
        let headers = first_header..self.headers.len();
        let (partition, timestamp_ms) = (emit.partition, emit.timestamp_ms);
        self.stored.push(Stored {
            topic,
            key,
            value,
            headers,
            partition,
            timestamp_ms,
        });
        Ok(())
    }

    /// Lends the records in the order in which they were taken.
    pub fn iter(&self) -> impl Iterator<Item = Emit<'_>> {
        self.stored.iter().map(|stored| self.view(stored))
    }

    /// Remembers what the outbox holds now, for [`Self::rewind`].
    pub fn mark(&self) -> Mark {
        Mark {
            stored: self.stored.len(),
            headers: self.headers.len(),
            bytes: self.buffer.len(),
        }
    }

    /// Forgets what was taken since `mark`.
    pub fn rewind(&mut self, mark: Mark) {
        self.stored.truncate(mark.stored);
        self.headers.truncate(mark.headers);
        self.buffer.truncate(mark.bytes);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.stored.clear();
        self.headers.clear();
        if self.buffer.capacity() > KEEP_BYTES_MAX {
            self.buffer = Vec::new();
        } else {
            self.buffer.clear();
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(bytes);
        start..self.buffer.len()
    }

    fn bytes(&self, range: &Range<usize>) -> &[u8] {
        self.buffer.get(range.clone()).unwrap_or_default()
    }

    fn text(&self, range: &Range<usize>) -> &str {
        // Was copied from a `str` of the same range, so the check never fails.
        std::str::from_utf8(self.bytes(range)).unwrap_or_default()
    }

    fn view(&self, stored: &Stored) -> Emit<'_> {
        let headers = self.headers.get(stored.headers.clone()).unwrap_or_default();
        Emit {
            topic: self.text(&stored.topic),
            key: stored.key.as_ref().map(|range| self.bytes(range)),
            value: stored.value.as_ref().map(|range| self.bytes(range)),
            headers: headers
                .iter()
                .map(|(key, value)| Header {
                    key: Cow::Borrowed(self.text(key)),
                    value: value.as_ref().map(|range| self.bytes(range)),
                })
                .collect(),
            partition: stored.partition,
            timestamp_ms: stored.timestamp_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Plain = (
        String,
        Option<Vec<u8>>,
        Option<Vec<u8>>,
        Vec<(String, Option<Vec<u8>>)>,
    );

    fn emit(plain: &Plain) -> Emit<'_> {
        let (topic, key, value, headers) = plain;
        Emit {
            topic,
            key: key.as_deref(),
            value: value.as_deref(),
            headers: headers
                .iter()
                .map(|(key, value)| Header {
                    key: Cow::Borrowed(key),
                    value: value.as_deref(),
                })
                .collect(),
            partition: None,
            timestamp_ms: Some(5),
        }
    }

    fn any_plain() -> impl Strategy<Value = Plain> {
        let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20));
        (
            "[a-z]{1,8}",
            bytes(),
            bytes(),
            proptest::collection::vec((".{0,4}", bytes()), 0..3),
        )
    }

    #[test]
    fn a_full_outbox_refuses_and_keeps_what_it_has() {
        let record = ("out".to_owned(), None, Some(vec![0; 10]), vec![]);
        let mut outbox = Outbox::new(2, 100);
        outbox.push(&emit(&record)).unwrap();
        outbox.push(&emit(&record)).unwrap();
        assert_eq!(outbox.push(&emit(&record)), Err(Full::Records { max: 2 }));
        assert_eq!(outbox.len(), 2);
        let mut outbox = Outbox::new(10, 20);
        outbox.push(&emit(&record)).unwrap();
        assert_eq!(outbox.push(&emit(&record)), Err(Full::Bytes { max: 20 }));
        assert_eq!(outbox.size_bytes(), 13);
    }

    #[test]
    fn a_rewound_outbox_forgets_only_what_came_later() {
        let record = (
            "out".to_owned(),
            None,
            Some(vec![7; 10]),
            vec![("h".to_owned(), None)],
        );
        let mut outbox = Outbox::new(10, 1000);
        outbox.push(&emit(&record)).unwrap();
        let mark = outbox.mark();
        let size = outbox.size_bytes();
        outbox.push(&emit(&record)).unwrap();
        outbox.rewind(mark);
        assert_eq!((outbox.len(), outbox.size_bytes()), (1, size));
        assert_eq!(outbox.iter().next().unwrap().headers.len(), 1);
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_unchanged(
            rounds in proptest::collection::vec(proptest::collection::vec(any_plain(), 0..10), 1..4),
        ) {
            let mut outbox = Outbox::new(1000, 1 << 20);
            for plains in rounds {
                outbox.clear();
                for plain in &plains {
                    outbox.push(&emit(plain)).unwrap();
                }
                let got: Vec<Plain> = outbox.iter().map(|e| (
                    e.topic.to_owned(),
                    e.key.map(<[u8]>::to_vec),
                    e.value.map(<[u8]>::to_vec),
                    e.headers.iter().map(|h| (h.key.to_string(), h.value.map(<[u8]>::to_vec))).collect(),
                )).collect();
                prop_assert_eq!(got, plains);
            }
        }
    }
}
