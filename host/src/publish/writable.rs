//! Whether a record may be written that a component or a pipeline hands over, and by which key.
//!
//! **Invariant:** to find that a record may be written allocates nothing, unless its key is a text with escapes.

use std::borrow::Cow;

use super::{KeyFrom, NoKey};
use crate::grants::Grants;
use crate::ids::TopicName;
use crate::record::Emit;

/// Why a record may not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unwritable {
    /// Nothing may be written to a topic of this name; why.
    #[error("{0}")]
    Topic(String),
    /// Its value gives no key.
    #[error("{0}")]
    NoKey(#[from] NoKey),
    /// It is larger than the producer may send.
    #[error("the record for {topic} has {bytes} bytes, the limit is {max}")]
    TooLarge {
        /// Where it was to go.
        topic: String,
        /// What it has.
        bytes: usize,
        /// What it may have.
        max: usize,
    },
}

/// Returns the key that a record gets from its value, if it has none and is to have one; or why it may not be written.
pub fn key_for<'a>(
    emit: &Emit<'a>,
    key_from: Option<&KeyFrom>,
    max_bytes: usize,
    grants: &Grants,
) -> Result<Option<Cow<'a, [u8]>>, Unwritable> {
    if let Some(why) = refusal(emit.topic, grants) {
        return Err(Unwritable::Topic(why));
    }
    let key = match key_from {
        Some(place) if emit.key.is_none() => Some(place.read(emit.value)?),
        _ => None,
    };
    let bytes = emit.size_bytes() + key.as_deref().map_or(0, <[u8]>::len);
    if bytes > max_bytes {
        return Err(Unwritable::TooLarge {
            topic: emit.topic.to_owned(),
            bytes,
            max: max_bytes,
        });
    }
    Ok(key)
}

/// Returns why nothing may be written to a topic of this name. No allocation when it may.
fn refusal(topic: &str, grants: &Grants) -> Option<String> {
    let valid = !topic.is_empty()
        && topic.len() <= 249
        && topic != "."
        && topic != ".."
        && topic
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    if !valid {
        return Some(match topic.parse::<TopicName>() {
            Err(error) => format!("{topic:?} is no topic name: {error}"),
            Ok(_) => format!("{topic:?} is no topic name"),
        });
    }
    if TopicName::is_internal(topic) {
        return Some(format!("{topic} belongs to Kafka itself"));
    }
    let is_granted = grants.may_produce(topic);
    (!is_granted).then(|| format!("{topic} is not among the topics that the tenant may write"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emit<'a>(topic: &'a str, key: Option<&'a [u8]>, value: &'a str) -> Emit<'a> {
        Emit {
            topic,
            key,
            value: Some(value.as_bytes()),
            headers: Vec::new(),
            partition: None,
            timestamp_ms: None,
        }
    }

    #[test]
    fn a_record_gets_the_key_in_its_value_where_it_has_none() {
        let place: KeyFrom = "/id".parse().unwrap();
        let value = r#"{"id":"k7"}"#;
        let of = |key, place| key_for(&emit("t", key, value), place, 99, &Grants::All).unwrap();
        assert_eq!(of(None, Some(&place)).as_deref(), Some(&b"k7"[..]));
        assert_eq!(of(Some(b"own"), Some(&place)), None);
        assert_eq!(of(None, None), None);
        let nothing = key_for(&emit("t", None, "{}"), Some(&place), 99, &Grants::All);
        assert!(matches!(nothing, Err(Unwritable::NoKey(_))), "{nothing:?}");
    }

    #[test]
    fn the_key_counts_among_the_bytes_that_a_record_may_have() {
        let place: KeyFrom = "/id".parse().unwrap();
        let record = emit("t", None, r#"{"id":"k7"}"#);
        assert!(key_for(&record, Some(&place), 13, &Grants::All).is_ok());
        let large = key_for(&record, Some(&place), 12, &Grants::All).unwrap_err();
        assert_eq!(
            large.to_string(),
            "the record for t has 13 bytes, the limit is 12"
        );
        assert!(key_for(&record, None, 11, &Grants::All).is_ok());
    }

    #[test]
    fn nothing_is_written_to_a_topic_of_no_valid_name_or_to_one_of_kafka_itself() {
        let long = "x".repeat(250);
        for topic in ["", ".", "..", "a b", "__offsets", &long] {
            let refused = key_for(&emit(topic, None, "v"), None, 99, &Grants::All);
            assert!(matches!(refused, Err(Unwritable::Topic(_))), "{topic}");
        }
        assert_eq!(
            key_for(&emit("a.b_c-D9", None, "v"), None, 99, &Grants::All),
            Ok(None)
        );
    }
}
