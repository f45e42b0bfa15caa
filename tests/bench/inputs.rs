//! The records that all variants read.
//!
//! **Invariant:** a record depends on its number and size only, so two runs of this program read the same.

use anyhow::Result;
use clap::ValueEnum;
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
    pub(crate) shape: Shape,
}

/// What the values look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    /// Orders with items, as many as there is room for: much to parse.
    Order,
    /// Three fields, of which one fills the value: little to parse.
    Flat,
}

impl Input {
    /// Creates the topic and fills it.
    pub(crate) fn write(
        kafka: &Kafka,
        topic: &str,
        records: u64,
        (size, shape): (usize, Shape),
    ) -> Result<Self> {
        kafka.create_topic(topic, PARTITIONS, &[])?;
        let all = (0..records).map(|nth| (Some(key(nth)), Some(value(nth, size, shape))));
        clients::produce(kafka.bootstrap(), topic, all)?;
        Ok(Self {
            topic: topic.to_owned(),
            records,
            size,
            shape,
        })
    }
}

/// A key of ten bytes; there are 100,000 different ones.
pub(crate) fn key(nth: u64) -> String {
    // A factor without common divisors scatters neighbours.
    format!("key-{:06}", nth * 7919 % 100_000)
}

/// A JSON object of exactly `size` bytes; a note fills what is left.
pub(crate) fn value(nth: u64, size: usize, shape: Shape) -> String {
    let text = match shape {
        Shape::Order => order(nth, size),
        Shape::Flat => format!(
            "{{\"id\":{nth},\"name\":\"customer {:06}\"",
            nth % 1_000_000
        ),
    };
    let room = size.saturating_sub(text.len() + ",\"note\":\"\"}".len());
    format!("{text},\"note\":\"{:.<room$}\"}}", "")
}

/// The fields of an order before its note: one item, and more where there is room.
fn order(nth: u64, size: usize) -> String {
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
    text.push(']');
    text
}

#[cfg(test)]
mod tests {
    use super::{Shape, key, value};

    #[test]
    fn a_value_is_json_of_the_size_that_was_asked_for() {
        for nth in [0, 17, 999_999] {
            for (size, shape) in [
                (200, Shape::Order),
                (1024, Shape::Order),
                (200, Shape::Flat),
            ] {
                let text = value(nth, size, shape);
                assert_eq!(text.len(), size);
                let json: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert!(json["name"].is_string());
            }
            assert_eq!(key(nth).len(), 10);
        }
    }
}
