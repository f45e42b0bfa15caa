//! How a handler's outputs are written, as its manifest says it.
//!
//! Handed an output that Kafka refused, says what becomes of it.
//! **Invariant:** plain data and pure decisions: nothing here sends or waits.

mod key_from;
mod letter_topic;
mod repeat;
mod writable;

pub use self::key_from::{KeyFrom, NoKey};
pub use self::letter_topic::LetterTopic;
pub use self::repeat::Repeat;
pub use self::writable::{Unwritable, key_for};

/// The header of a refused output that says why Kafka refused it.
pub const ERROR_HEADER: &str = "original_error";
/// The header of a refused output that says which topic it was for.
pub const TOPIC_HEADER: &str = "original_topic";

/// See the module. The default is what holds where the manifest says nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Publish {
    /// Where the key of a record stands that is emitted without one; none where such a record has no key.
    pub key_from: Option<KeyFrom>,
    /// How often an output is sent; none where once is enough.
    pub retry: Option<Repeat>,
    /// Where an output goes that Kafka refuses for good; none where the record is given up that emitted it.
    pub dead_letter: Option<LetterTopic>,
}

/// What becomes of an output that Kafka refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// It is sent again.
    Again,
    /// It goes to this topic, with the reason.
    Letter(String),
}

impl Publish {
    /// Returns whether a refused output may be more than the end of its record.
    pub fn has_remedy(&self) -> bool {
        self.retry.is_some() || self.dead_letter.is_some()
    }

    /// Returns what becomes of an output that `topic` refused when it was sent for the `sent`th time; none where its record
    /// is to be given up.
    pub fn remedy(&self, topic: &str, sent: u32, may_pass: bool) -> Option<Remedy> {
        let is_repeated = self.retry.as_ref().is_some_and(|retry| retry.allows(sent));
        if may_pass && is_repeated {
            return Some(Remedy::Again);
        }
        let letters = self.dead_letter.as_ref()?;
        letters.of(topic).map(Remedy::Letter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_as_often_as_allowed_and_then_goes_where_the_rest_goes() {
        let retry = Repeat {
            attempts: 3,
            ..Repeat::DEFAULT
        };
        let publish = Publish {
            key_from: None,
            retry: Some(retry),
            dead_letter: "{topic}.dlq".parse().ok(),
        };
        let letter = || Some(Remedy::Letter("a.dlq".to_owned()));
        assert_eq!(publish.remedy("a", 1, true), Some(Remedy::Again));
        assert_eq!(publish.remedy("a", 2, true), Some(Remedy::Again));
        assert_eq!(publish.remedy("a", 3, true), letter());
        assert_eq!(publish.remedy("a", 1, false), letter());
        let only_retry = Publish {
            dead_letter: None,
            ..publish.clone()
        };
        assert_eq!(only_retry.remedy("a", 2, true), Some(Remedy::Again));
        assert_eq!(only_retry.remedy("a", 3, true), None);
        assert_eq!(only_retry.remedy("a", 1, false), None);
        assert!(publish.has_remedy() && only_retry.has_remedy());
        assert!(!Publish::default().has_remedy());
        assert_eq!(Publish::default().remedy("a", 1, true), None);
    }
}
