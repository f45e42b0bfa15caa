//! What the names of a tenant's topics and groups begin with.
//!
//! Handed a name as a manifest or a component has it, gives the name in Kafka, and back.
//! **Invariant:** a full name begins with the prefix, and what is short for it means it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::ids::{GroupId, NameError, TopicName};

/// Bytes of a prefix, so that there is room behind it.
const BYTES_MAX: usize = 128;

/// See the module. The default is empty and changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicPrefix(Arc<str>);

/// Why a text is no prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// No name can begin with it.
    #[error("no name of a topic begins so: {0}")]
    Name(#[from] NameError),
    /// Names that begin with it are Kafka's own.
    #[error("topics that begin with __ belong to Kafka itself")]
    Internal,
    /// It leaves no room.
    #[error("it has more than {BYTES_MAX} bytes, which leaves too few for names")]
    TooLong,
}

impl TopicPrefix {
    /// Returns the full name of what a component or a manifest calls `name`. Only a name that lacks the prefix is copied.
    pub fn full<'a>(&self, name: &'a str) -> Cow<'a, str> {
        // No name is none with a prefix either.
        if name.is_empty() || name.starts_with(&*self.0) {
            return Cow::Borrowed(name);
        }
        Cow::Owned(format!("{}{name}", self.0))
    }

    /// Returns what is short for a full name. Where that would mean another one, it is the full name itself.
    pub fn short<'a>(&self, full: &'a str) -> &'a str {
        match full.strip_prefix(&*self.0) {
            Some(rest) if !rest.is_empty() && !rest.starts_with(&*self.0) => rest,
            _ => full,
        }
    }

    /// Returns the full name of a topic.
    ///
    /// # Errors
    /// What keeps it from being one: it is too long.
    pub fn topic(&self, name: &TopicName) -> Result<TopicName, NameError> {
        self.full(name.as_str()).parse()
    }

    /// Returns the full name of a group.
    ///
    /// # Errors
    /// What keeps it from being one: it is too long.
    pub fn group(&self, name: &GroupId) -> Result<GroupId, NameError> {
        self.full(name.as_str()).parse()
    }

    /// Returns the prefix itself, empty where there is none.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TopicPrefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        if text.is_empty() {
            return Err(NameError::Empty.into());
        }
        format!("{text}t").parse::<TopicName>()?;
        if TopicName::is_internal(text) {
            return Err(PrefixError::Internal);
        }
        if text.len() > BYTES_MAX {
            return Err(PrefixError::TooLong);
        }
        Ok(Self(Arc::from(text)))
    }
}

impl fmt::Display for TopicPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_gets_the_prefix_that_it_lacks() {
        let prefix: TopicPrefix = "acme.".parse().unwrap();
        assert_eq!(prefix.full("orders"), "acme.orders");
        assert_eq!(prefix.full("acme.orders"), "acme.orders");
        assert_eq!(prefix.full("acme"), "acme.acme");
        assert_eq!(prefix.short("acme.orders"), "orders");
        assert_eq!(prefix.short("acme.acme.orders"), "acme.acme.orders");
        assert_eq!(prefix.short("acme."), "acme.");
        assert_eq!(prefix.full(""), "");
        let none = TopicPrefix::default();
        assert_eq!(
            (&*none.full("orders"), none.short("orders")),
            ("orders", "orders")
        );
    }

    #[test]
    fn what_no_topic_begins_with_is_no_prefix() {
        let error = |text: &str| text.parse::<TopicPrefix>().unwrap_err().to_string();
        assert_eq!(error(""), "no name of a topic begins so: the name is empty");
        assert!(error("a/").contains("'/' is not allowed"));
        assert!(error("__a").contains("belong to Kafka itself"));
        assert!(error(&"a".repeat(129)).contains("more than 128 bytes"));
    }

    proptest! {
        #[test]
        fn every_full_name_has_the_prefix_once_added_and_its_short_name_leads_back(
            prefix in "[a.]{1,3}", name in "[ab.]{1,6}",
        ) {
            let prefix: TopicPrefix = prefix.parse().unwrap();
            let full = prefix.full(&name).into_owned();
            prop_assert!(full.starts_with(prefix.as_str()));
            let naive = if name.starts_with(prefix.as_str()) { name } else { format!("{prefix}{name}") };
            prop_assert_eq!(&full, &naive);
            prop_assert_eq!(prefix.full(&full), full.as_str());
            prop_assert_eq!(prefix.full(prefix.short(&full)), full.as_str());
        }
    }
}
