//! Names of topics and groups, as the tenant's prefix makes them.
//!
//! **Invariant:** every name that leaves this file begins with the prefix.

use super::Reader;
use super::lists::parsed;
use crate::ids::{GroupId, NameError, TopicName};
use crate::manifest::key::Key;
use crate::pattern::TopicPattern;
use crate::policy::PatternError;
use crate::prefix::TopicPrefix;
use crate::publish::LetterTopic;
use crate::route::Matcher;

impl Reader<'_> {
    /// Reads the name of a topic.
    pub(crate) fn topic(&mut self, key: &'static Key) -> Option<TopicName> {
        let name = self.parsed(key)?;
        let full = full_topic(&self.prefix, &name);
        self.noted(key, full)
    }

    /// Reads a list of names of topics; refuses an empty list and repetitions.
    pub(crate) fn topics(&mut self, key: &'static Key) -> Option<Vec<TopicName>> {
        let prefix = self.prefix.clone();
        self.items(key, |item, list: &[TopicName]| {
            let topic = full_topic(&prefix, &parsed(item)?)?;
            if list.contains(&topic) {
                return Err(format!("{topic} is in the list twice"));
            }
            Ok(topic)
        })
    }

    /// Reads the name of a group, or takes this one.
    pub(crate) fn group(&mut self, key: &'static Key, default: &GroupId) -> GroupId {
        let name = self.parsed(key);
        let name = name.as_ref().unwrap_or(default);
        let full = self.prefix.group(name);
        let full = full.map_err(|error| beyond(&self.prefix, name.as_str(), &error));
        self.noted(key, full).unwrap_or_else(|| name.clone())
    }

    /// Puts a pattern of topics behind the prefix.
    pub(crate) fn behind_prefix(
        &self,
        pattern: &TopicPattern,
    ) -> Result<TopicPattern, PatternError> {
        pattern.behind(self.prefix.as_str())
    }

    /// Reads what topics of records are compared with.
    pub(crate) fn topic_matcher(&mut self, key: &'static Key) -> Option<Matcher> {
        let text = self.text(key)?.text;
        let full = Matcher::pattern(&text).and_then(|_| Matcher::pattern(&self.prefix.full(&text)));
        self.noted(key, full.map_err(|error| error.to_string()))
    }

    /// Reads where outputs go that Kafka refuses.
    pub(crate) fn letter_topic(&mut self, key: &'static Key) -> Option<LetterTopic> {
        let topic = self.parsed(key)?;
        let full = match topic {
            LetterTopic::One(topic) => full_topic(&self.prefix, &topic).map(LetterTopic::One),
            // The name that stands there is a full one.
            LetterTopic::Each { before, behind } => Ok(LetterTopic::Each {
                before: self.prefix.full(&before).into_owned(),
                behind,
            }),
        };
        self.noted(key, full)
    }

    fn noted<T>(&mut self, key: &'static Key, result: Result<T, String>) -> Option<T> {
        let offset = self.offset(key);
        let result = result.map_err(|what| self.problem(key, offset, &what));
        result.ok()
    }
}

fn full_topic(prefix: &TopicPrefix, name: &TopicName) -> Result<TopicName, String> {
    let full = prefix.topic(name);
    full.map_err(|error| beyond(prefix, name.as_str(), &error))
}

fn beyond(prefix: &TopicPrefix, name: &str, error: &NameError) -> String {
    format!(
        "{name:?} cannot stand behind topic-prefix {:?} of the tenant: {error}",
        prefix.as_str()
    )
}
