//! The records that all variants read.
//!
//! **Invariant:** a record depends on its number and size only, so two runs of this program read the same.

use std::fmt::Write as _;

use anyhow::Result;
use harness::{Kafka, clients};

/// Partitions of the input and of each output.
pub(crate) const PARTITIONS: i32 = 4;

/// A topic that is filled.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) topic: String,
    pub(crate) records: u64,
    /// Bytes of a value.
    pub(crate) size: usize,
}

impl Input {
    /// Creates the topic and fills it.
    pub(crate) fn write(kafka: &Kafka, topic: &str, records: u64, size: usize) -> Result<Self> {
        kafka.create_topic(topic, PARTITIONS, &[])?;
        let all = (0..records).map(|nth| (Some(key(nth)), Some(value(nth, size))));
        clients::produce(kafka.bootstrap(), topic, all)?;
        Ok(Self {
            topic: topic.to_owned(),
            records,
            size,
        })
    }
}

/// A key of ten bytes; there are 100,000 different ones.
pub(crate) fn key(nth: u64) -> String {
    // A factor without common divisors scatters neighbours.
    format!("key-{:06}", nth * 7919 % 100_000)
}

/// A JSON object of exactly `size` bytes, with fields as orders have them: more items where there is room,
/// and a note that fills the rest.
pub(crate) fn value(nth: u64, size: usize) -> String {
    const END: usize = "],\"note\":\"\"}".len();
    let mut text = format!(
        "{{\"id\":{nth},\"name\":\"customer {:06}\",\"country\":\"NL\",\"paid\":{},\"total\":{}.{:02},\"items\":[",
        nth % 1_000_000,
        nth.is_multiple_of(3),
        nth % 900,
        nth % 100,
    );
    for item in 0.. {
        let comma = if item == 0 { "" } else { "," };
        let next = format!(
            "{comma}{{\"sku\":\"sku-{:05}\",\"count\":{},\"price\":{}.25}}",
            (nth + item) % 100_000,
            item + 1,
            10 + item,
        );
        if text.len() + next.len() + END > size {
            break;
        }
        text.push_str(&next);
    }
    let room = size.saturating_sub(text.len() + END);
    let _ = write!(text, "],\"note\":\"{:.<room$}\"}}", "");
    text
}

#[cfg(test)]
mod tests {
    use super::{key, value};

    #[test]
    fn a_value_is_json_of_the_size_that_was_asked_for() {
        for nth in [0, 17, 999_999] {
            for size in [200, 1024] {
                let text = value(nth, size);
                assert_eq!(text.len(), size);
                let json: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert!(json["name"].is_string());
            }
            assert_eq!(key(nth).len(), 10);
        }
    }
}
