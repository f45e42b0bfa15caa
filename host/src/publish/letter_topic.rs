//! Where outputs go that Kafka refused for good: a topic, or one for each topic that they were for.
//!
//! **Invariant:** a topic that is given has a valid name, is not Kafka's own, and is not the one that the output was for.

use std::fmt;
use std::str::FromStr;

use crate::ids::TopicName;

/// What stands for the name of the topic that refused the output.
const PLACE: &str = "{topic}";

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LetterTopic {
    /// All go to this one.
    One(TopicName),
    /// Each goes to one of its own.
    Each {
        /// What stands before the name of the topic that refused it.
        before: String,
        /// What stands behind it.
        behind: String,
    },
}

/// A text names no topics for refused outputs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LetterTopicError {
    /// A name is not valid.
    #[error("{0}")]
    Name(String),
    /// The topics are Kafka's own.
    #[error("topics that begin with __ belong to Kafka itself")]
    Internal,
    /// It is the topic that refused the output.
    #[error("this is the topic that refuses the output (write \"{PLACE}.dlq\")")]
    Same,
    /// The topic's name is there twice.
    #[error("{PLACE} may stand there once")]
    Twice,
}

impl LetterTopic {
    /// Returns the topic for outputs that `refused_by` refused; none where there can be none of that name.
    pub fn of(&self, refused_by: &str) -> Option<String> {
        let name = match self {
            Self::One(topic) => topic.as_str().to_owned(),
            Self::Each { before, behind } => format!("{before}{refused_by}{behind}"),
        };
        let is_fit = name != refused_by
            && !TopicName::is_internal(&name)
            && name.parse::<TopicName>().is_ok();
        is_fit.then_some(name)
    }

    /// Returns the only topic, where there is only one.
    pub fn only(&self) -> Option<&TopicName> {
        match self {
            Self::One(topic) => Some(topic),
            Self::Each { .. } => None,
        }
    }
}

impl FromStr for LetterTopic {
    type Err = LetterTopicError;

    fn from_str(text: &str) -> Result<Self, LetterTopicError> {
        let parsed = |name: &str| {
            let topic = name.parse::<TopicName>();
            let topic = topic.map_err(|error| LetterTopicError::Name(error.to_string()))?;
            if TopicName::is_internal(name) {
                return Err(LetterTopicError::Internal);
            }
            Ok(topic)
        };
        let Some((before, behind)) = text.split_once(PLACE) else {
            return parsed(text).map(Self::One);
        };
        if behind.contains(PLACE) {
            return Err(LetterTopicError::Twice);
        }
        if before.is_empty() && behind.is_empty() {
            return Err(LetterTopicError::Same);
        }
        // What is wrong with it is wrong for every topic.
        parsed(&format!("{before}t{behind}"))?;
        Ok(Self::Each {
            before: before.to_owned(),
            behind: behind.to_owned(),
        })
    }
}

impl fmt::Display for LetterTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(topic) => write!(f, "{topic}"),
            Self::Each { before, behind } => write!(f, "{before}{PLACE}{behind}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<LetterTopic, String> {
        let parsed = text.parse::<LetterTopic>();
        parsed.map_err(|error| error.to_string())
    }

    #[test]
    fn a_text_is_a_name_or_one_for_each_topic() {
        let each = parse("dlq.{topic}.x").unwrap();
        assert_eq!(each.of("orders").as_deref(), Some("dlq.orders.x"));
        assert_eq!(each.only(), None);
        let one = parse("refused").unwrap();
        assert_eq!(one.of("orders").as_deref(), Some("refused"));
        // It does not go round in a circle.
        assert_eq!(one.of("refused"), None);
        // A name that Kafka cannot have.
        assert_eq!(each.of(&"x".repeat(249)), None);
        assert_eq!(parse("_{topic}").unwrap().of("_x"), None);
    }

    #[test]
    fn what_is_no_topic_is_refused_with_the_reason() {
        for (text, why) in [
            (
                "{topic}",
                "this is the topic that refuses the output (write \"{topic}.dlq\")",
            ),
            ("{topic}{topic}", "{topic} may stand there once"),
            ("__x", "topics that begin with __ belong to Kafka itself"),
            (
                "__{topic}",
                "topics that begin with __ belong to Kafka itself",
            ),
            ("", "the name is empty"),
            (
                "{name}.dlq",
                "the character '{' is not allowed, only ASCII letters, digits, '.', '_' and '-'",
            ),
        ] {
            assert_eq!(parse(text), Err(why.to_owned()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_template_is_filled_as_by_replacing(
            text in "[a-z.]{0,5}([{]topic[}])?[a-z.]{0,5}", topic in "[a-z._-]{1,6}",
        ) {
            let Ok(letters) = parse(&text) else { return Ok(()) };
            prop_assert_eq!(letters.to_string(), text.as_str());
            let naive = text.replace(PLACE, &topic);
            let is_fit = naive != topic && naive.parse::<TopicName>().is_ok() && !naive.starts_with("__");
            prop_assert_eq!(letters.of(&topic), is_fit.then_some(naive));
        }
    }
}
