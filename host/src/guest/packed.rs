//! A batch laid out in one block of bytes, as `packed-bulk-handler` has it.
//!
//! Handed records as views; copies their bytes one after the other and notes where they lie.
//! **Invariant:** every span lies within the data, and null stays apart from empty.

use super::bindings::{Entry, PackedBatch, PackedHeader, Span};
use crate::outcome::{Failure, FailureKind};
use crate::prefix::TopicPrefix;
use crate::record::RecordView;

/// What stands for null.
const NULL: Span = Span {
    start: 0,
    length: -1,
};
/// What stands for no timestamp.
const NO_TIMESTAMP: i64 = -1;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Packed<'a> {
    topics: Vec<&'a str>,
    entries: Vec<Entry>,
    headers: Vec<PackedHeader>,
    data: Vec<u8>,
}

impl<'a> Packed<'a> {
    /// Packs a batch. One beyond what places of 32 bits reach is a failure: no guest has memory for it.
    pub(super) fn new(
        records: &'a [RecordView<'a>],
        prefix: &TopicPrefix,
    ) -> Result<Self, Failure> {
        let bytes = records.iter().map(RecordView::size_bytes).sum();
        if i32::try_from(bytes).is_err() {
            let what = format!("a batch of {bytes} bytes is more than a component can hold");
            return Err(Failure::new(FailureKind::Memory, what));
        }
        let mut packed = Self {
            entries: Vec::with_capacity(records.len()),
            data: Vec::with_capacity(bytes),
            ..Self::default()
        };
        for record in records {
            packed.add(record, prefix);
        }
        Ok(packed)
    }

    /// Lends it as the parameter of the hook.
    pub(super) fn param(&self) -> PackedBatch<'_> {
        PackedBatch {
            topics: &self.topics,
            entries: &self.entries,
            headers: &self.headers,
            data: &self.data,
        }
    }

    fn add(&mut self, record: &RecordView<'a>, prefix: &TopicPrefix) {
        let headers_start = small(self.headers.len());
        for header in &record.headers {
            let key = self.copy(Some(header.key.as_bytes()));
            let value = self.copy(header.value);
            self.headers.push(PackedHeader { key, value });
        }
        let entry = Entry {
            offset: record.offset.cast_unsigned(),
            timestamp: record.timestamp_ms.unwrap_or(NO_TIMESTAMP),
            topic: self.topic(prefix.short(record.topic)),
            partition: record.partition.cast_unsigned(),
            key: self.copy(record.key),
            value: self.copy(record.value),
            headers_start,
            headers_count: small(record.headers.len()),
        };
        self.entries.push(entry);
    }

    /// Returns the place of a topic's name. The last one is nearly always the one.
    fn topic(&mut self, topic: &'a str) -> u32 {
        let known = self.topics.iter().rposition(|known| *known == topic);
        small(known.unwrap_or_else(|| {
            self.topics.push(topic);
            self.topics.len() - 1
        }))
    }

    fn copy(&mut self, bytes: Option<&[u8]>) -> Span {
        let Some(bytes) = bytes else {
            return NULL;
        };
        let start = small(self.data.len());
        self.data.extend_from_slice(bytes);
        Span {
            start,
            length: i32::try_from(bytes.len()).unwrap_or(i32::MAX),
        }
    }
}

/// A count of what a batch has, of which [`Packed::new`] knows that it is small.
fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::Header;

    type Bytes = Option<Vec<u8>>;

    /// Topic, timestamp, key, value, headers.
    type Naive = (usize, Option<i64>, Bytes, Bytes, Vec<(String, Bytes)>);

    const TOPICS: [&str; 3] = ["a", "", "longer"];

    fn naive() -> impl Strategy<Value = Naive> {
        let bytes = || prop::option::of(prop::collection::vec(any::<u8>(), 0..5));
        let headers = prop::collection::vec(("[a-z\u{e9}]{0,3}", bytes()), 0..4);
        (
            0..TOPICS.len(),
            prop::option::of(0..i64::MAX),
            bytes(),
            bytes(),
            headers,
        )
    }

    fn view((nth, naive): (usize, &Naive)) -> RecordView<'_> {
        let (topic, timestamp_ms, key, value, headers) = naive;
        RecordView {
            topic: TOPICS[*topic],
            partition: 3,
            offset: i64::try_from(nth).unwrap() + 7,
            timestamp_ms: *timestamp_ms,
            key: key.as_deref(),
            value: value.as_deref(),
            headers: headers
                .iter()
                .map(|(key, value)| Header {
                    key: key.as_str().into(),
                    value: value.as_deref(),
                })
                .collect(),
        }
    }

    /// Reads a record back as a guest does.
    fn unpacked(batch: &PackedBatch<'_>, entry: &Entry) -> Naive {
        let bytes = |span: Span| {
            let length = usize::try_from(span.length).ok()?;
            let start = span.start as usize;
            Some(batch.data[start..start + length].to_vec())
        };
        let first = entry.headers_start as usize;
        let headers = &batch.headers[first..first + entry.headers_count as usize];
        let header = |header: &PackedHeader| {
            let key = String::from_utf8(bytes(header.key).unwrap()).unwrap();
            (key, bytes(header.value))
        };
        let topic = batch.topics[entry.topic as usize];
        (
            TOPICS.iter().position(|known| *known == topic).unwrap(),
            (entry.timestamp >= 0).then_some(entry.timestamp),
            bytes(entry.key),
            bytes(entry.value),
            headers.iter().map(header).collect(),
        )
    }

    proptest! {
        /// Against the records themselves.
        #[test]
        fn what_is_packed_is_read_back_as_it_was(records in prop::collection::vec(naive(), 0..20)) {
            let views: Vec<_> = records.iter().enumerate().map(view).collect();
            let packed = Packed::new(&views, &TopicPrefix::default()).unwrap();
            let batch = packed.param();
            let read: Vec<_> = batch.entries.iter().map(|entry| unpacked(&batch, entry)).collect();
            prop_assert_eq!(&read, &records);
            for (nth, entry) in batch.entries.iter().enumerate() {
                prop_assert_eq!((entry.offset, entry.partition), (nth as u64 + 7, 3));
            }
            let bytes: usize = views.iter().map(RecordView::size_bytes).sum();
            prop_assert_eq!(batch.data.len(), bytes);
            let mut topics = batch.topics.to_vec();
            topics.sort_unstable();
            topics.dedup();
            prop_assert_eq!(topics.len(), batch.topics.len());
        }
    }
}
