//! The names that tell tenants, handlers, topics and groups apart.
//!
//! Each is a newtype that only parses into existence, so a name that reached the flow is valid.
//! **Invariant:** a value of these types never holds an empty or over-long name.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("the name is empty")]
    Empty,
    /// The text has more bytes than the kind of name may have.
    #[error("the name has {len} bytes, at most {max} are allowed")]
    TooLong {
        /// Bytes of the text.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A character that the kind of name may not have.
    #[error("the character {found:?} is not allowed, only {allowed}")]
    Character {
        /// The first offending character.
        found: char,
        /// What is allowed, in words.
        allowed: &'static str,
    },
    /// The names "." and "..".
    #[error("\".\" and \"..\" are not names")]
    Dots,
}

fn checked(
    text: &str,
    max: usize,
    allowed: &'static str,
    is_allowed: impl Fn(char) -> bool,
) -> Result<Arc<str>, NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > max {
        return Err(NameError::TooLong {
            len: text.len(),
            max,
        });
    }
    if let Some(found) = text.chars().find(|&c| !is_allowed(c)) {
        return Err(NameError::Character { found, allowed });
    }
    if text == "." || text == ".." {
        return Err(NameError::Dots);
    }
    Ok(Arc::from(text))
}

/// Letters that Kafka allows in topic names, see `org.apache.kafka.common.internals.Topic`.
fn is_topic_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $max:expr, $allowed:expr, $is_allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                checked(text, $max, $allowed, $is_allowed).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

name!(
    /// Who owns handlers: the first folder level of the handlers folder, or `default`.
    TenantId, 64, "ASCII letters, digits, '_' and '-'",
    |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
);
name!(
    /// The name of a handler within its tenant.
    HandlerName, 64, "ASCII letters, digits, '_' and '-'",
    |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
);
name!(
    /// The name of a pipeline of a handler, or of one of its steps.
    PipelineName, 64, "ASCII letters, digits, '.', '_' and '-'", is_topic_char
);
name!(
    /// A Kafka topic.
    TopicName, 249, "ASCII letters, digits, '.', '_' and '-'", is_topic_char
);
name!(
    /// A Kafka consumer group.
    GroupId, 249, "visible characters",
    |c| !c.is_control() && !c.is_whitespace()
);

impl Default for TenantId {
    /// The tenant of handlers that lie at the top of the handlers folder.
    fn default() -> Self {
        Self(Arc::from("default"))
    }
}

impl TopicName {
    /// Appends `suffix`; fails where the result is no topic name.
    pub fn with_suffix(group: &GroupId, suffix: &str) -> Result<Self, NameError> {
        format!("{group}{suffix}").parse()
    }

    /// Returns whether Kafka itself owns the topic (`__consumer_offsets` and its like).
    pub fn is_internal(text: &str) -> bool {
        text.starts_with("__")
    }
}

/// A handler of a tenant, written `tenant/handler`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HandlerId {
    /// Who owns it.
    pub tenant: TenantId,
    /// Its name there.
    pub name: HandlerName,
}

impl HandlerId {
    /// Returns the consumer group of a handler whose manifest names none: `<tenant>.<handler>`.
    pub fn default_group(&self) -> GroupId {
        GroupId(Arc::from(format!("{}.{}", self.tenant, self.name)))
    }
}

impl fmt::Display for HandlerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.name)
    }
}

impl FromStr for HandlerId {
    type Err = NameError;

    /// Parses `tenant/handler`, or `handler` for the tenant `default`.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let (tenant, name) = match text.split_once('/') {
            Some((tenant, name)) => (tenant.parse()?, name),
            None => (TenantId::default(), text),
        };
        Ok(Self {
            tenant,
            name: name.parse()?,
        })
    }
}

/// One build of a handler: the first 12 hexadecimal digits of the SHA-256 over component and manifest.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Revision(Arc<str>);

impl TryFrom<String> for Revision {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        let is_digit = |c: char| matches!(c, '0'..='9' | 'a'..='f');
        checked(&text, 12, "hexadecimal digits", is_digit).map(Self)
    }
}

impl From<Revision> for String {
    fn from(revision: Revision) -> Self {
        revision.as_str().to_owned()
    }
}

/// Writes bytes in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

impl Revision {
    /// Takes the revision from a SHA-256 digest.
    pub fn from_digest(digest: &[u8]) -> Self {
        let digest = digest.get(..6).unwrap_or(digest);
        Self(Arc::from(hex(digest)))
    }

    /// Returns the revision as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether a text could be one.
    pub fn is_name(text: &str) -> bool {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        text.len() == 12 && text.bytes().all(is_digit)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_or_say_what_is_wrong() {
        assert_eq!(
            "orders.v1".parse::<TopicName>().map(|t| t.to_string()),
            Ok("orders.v1".to_owned())
        );
        assert_eq!("".parse::<TopicName>(), Err(NameError::Empty));
        assert!(matches!(
            "a b".parse::<TopicName>(),
            Err(NameError::Character { found: ' ', .. })
        ));
        assert_eq!("..".parse::<TopicName>(), Err(NameError::Dots));
        assert!(matches!(
            "x".repeat(250).parse::<TopicName>(),
            Err(NameError::TooLong { len: 250, max: 249 })
        ));
    }

    #[test]
    fn a_handler_id_without_a_tenant_belongs_to_default() {
        let id: HandlerId = "quakes".parse().unwrap();
        assert_eq!(id.to_string(), "default/quakes");
        assert_eq!(id.default_group().as_str(), "default.quakes");
    }
}
