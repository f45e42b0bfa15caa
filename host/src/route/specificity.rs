//! Which of two rules that match the same record is the more specific one.
//!
//! Handed what a rule asks for, gives a value that compares; the order in which rules are declared has no part in it.
//! **Invariant:** the order is total, and the same for every record.

use super::{Matcher, Rule};

/// How closely a rule says which topic or event it is for, the least close first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// It does not say.
    Any,
    /// By a prefix or a glob.
    Pattern,
    /// By the whole text.
    Exact,
}

/// How specific a rule is; the greater one wins.
///
/// Two rules are compared point by point, and the first point in which they differ decides:
///
/// 1. The topic: an exact one before a pattern, a pattern before none.
/// 2. The event, in the same way.
/// 3. The number of conditions on headers: the more, the more specific. The same condition twice counts once.
/// 4. The characters of the topic that are not wildcards: the more, the more specific.
/// 5. Those of the event.
///
/// So on the topic `orders` the rule with the event `order.created` comes before that with `order.cr*`, this before
/// `order.*`, and this before the rule that names only the topic. Where all five are equal, the rule that was declared
/// first wins, or the rules are a [conflict](super::RouteError::Conflict).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Specificity {
    /// How the rule names its topic.
    pub topic: Class,
    /// How it names its event.
    pub event: Class,
    /// How many different conditions on headers it has.
    pub headers: usize,
    /// Characters of the topic that are not wildcards.
    pub topic_chars: usize,
    /// Characters of the event that are not wildcards.
    pub event_chars: usize,
}

impl Specificity {
    /// Returns that of a rule.
    pub fn of(rule: &Rule) -> Self {
        Self {
            topic: class(rule.topic.as_ref()),
            event: class(rule.event.as_ref()),
            headers: rule.conditions().len(),
            topic_chars: literal_chars(rule.topic.as_ref()),
            event_chars: literal_chars(rule.event.as_ref()),
        }
    }
}

fn class(matcher: Option<&Matcher>) -> Class {
    match matcher {
        None => Class::Any,
        Some(matcher) if matcher.as_exact().is_some() => Class::Exact,
        Some(_) => Class::Pattern,
    }
}

fn literal_chars(matcher: Option<&Matcher>) -> usize {
    let literals = matcher.into_iter().flat_map(Matcher::literals);
    literals.map(|literal| literal.chars().count()).sum()
}
