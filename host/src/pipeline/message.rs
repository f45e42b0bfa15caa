//! A message on its way through a pipeline: what a step is handed and what it returns.
//!
//! **Invariant:** the place in Kafka stays that of the record that the pipeline was begun with.

use crate::record::{Changed, Emit, RecordView, lend_headers, own_headers};

impl From<&RecordView<'_>> for Changed {
    fn from(record: &RecordView<'_>) -> Self {
        Self {
            timestamp_ms: record.timestamp_ms,
            key: record.key.map(Vec::from),
            value: record.value.map(Vec::from),
            headers: own_headers(&record.headers),
        }
    }
}

impl Changed {
    /// Lends the message as a record to be written to `topic`; its key decides about the partition.
    pub fn emit<'a>(&'a self, topic: &'a str) -> Emit<'a> {
        Emit {
            topic,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: lend_headers(&self.headers),
            partition: None,
            timestamp_ms: self.timestamp_ms,
        }
    }

    /// Gives the message a header, in place of all of that name.
    pub fn set_header(&mut self, name: &str, value: &[u8]) {
        self.headers.retain(|(key, _)| key != name);
        self.headers.push((name.to_owned(), Some(value.to_vec())));
    }
}
