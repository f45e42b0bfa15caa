//! Which handlers of one subscription take a record, by its topic, its event and its headers.
//!
//! Handed the rules of all handlers when they are loaded, gives a table; handed a record, the table gives the targets,
//! the most specific first, or the reason why there is none.
//! **Invariant:** the table answers as if it asked each rule, in the order of [`Specificity`] and then of declaration.

mod glob;
mod loops;
mod matcher;
mod routing;
mod shelf;
mod sieve;
mod specificity;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;

use smallvec::SmallVec;

pub use self::loops::{
    HOPS_HEADER, HOPS_KEY, MAX_HOPS, TooManyHops, hops_of, may_take, next_hop, way_back, with_hops,
    with_later_hops, within,
};
pub use self::matcher::{HeaderMatcher, Matcher, MatcherError};
pub use self::routing::{
    EventCall, EventSource, EventSourceError, Named, NamedEvent, OnUnmatched, OwnRule, OwnTarget,
    Routing, Share, ValuePlace, contested, is_choosy, joined,
};
use self::shelf::{Asked, Found, Shelf};
pub use self::specificity::{Class, Specificity};
use crate::record::Header;

/// Bytes that the text of an event may have, and that of a matcher.
pub const TEXT_BYTES_MAX: usize = 256;

/// The targets of a record, the most specific first. Most records have few, for which nothing is allocated.
pub type Targets = SmallVec<[usize; 4]>;

/// Which records a handler takes. All that is asked must be so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The index of the handler. Several rules may name the same.
    pub target: usize,
    /// The topic, `None` for any.
    pub topic: Option<Matcher>,
    /// The event, `None` for any record, also one without an event. The pattern `*` asks for some event.
    pub event: Option<Matcher>,
    /// Conditions on headers, by name, in which case counts. If a record has a header several times, one of its values
    /// must be as asked.
    pub headers: Vec<(String, HeaderMatcher)>,
}

impl Rule {
    /// Returns whether it asks for nothing.
    pub fn is_any(&self) -> bool {
        self.topic.is_none() && self.event.is_none() && self.headers.is_empty()
    }

    /// Returns the different conditions on headers. They are few, so that each is compared with those before.
    fn conditions(&self) -> Vec<&(String, HeaderMatcher)> {
        let mut conditions = Vec::with_capacity(self.headers.len());
        for condition in &self.headers {
            if !conditions.contains(&condition) {
                conditions.push(condition);
            }
        }
        conditions
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_any() {
            return f.write_str("every record");
        }
        let topic = self.topic.iter().map(|it| format!("topic {it}"));
        let event = self.event.iter().map(|it| format!("event {it}"));
        let headers = self
            .headers
            .iter()
            .map(|(name, condition)| match condition {
                HeaderMatcher::Present => format!("header {name}"),
                HeaderMatcher::Text(it) => format!("header {name}={it}"),
            });
        let asked: Vec<String> = topic.chain(event).chain(headers).collect();
        f.write_str(&asked.join(", "))
    }
}

/// How many of the rules that match a record count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Multi {
    /// The most specific one.
    #[default]
    First,
    /// All.
    All,
}

/// What event a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// None is given.
    None,
    /// This one. More than [`TEXT_BYTES_MAX`] bytes count as [`Event::TooLong`].
    Text(&'a str),
    /// One that is longer than [`TEXT_BYTES_MAX`] bytes, which no rule for an event takes.
    TooLong,
    /// One that is no UTF-8 text, or none at all, which no rule for an event takes.
    NotText,
}

/// Why no rule takes a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unmatched {
    /// The rules for its topic ask for an event, and it has none.
    #[error("the record has no event")]
    NoEvent,
    /// The rules for its topic ask for an event, and that of the record is over-long.
    #[error("the record's event is longer than {TEXT_BYTES_MAX} bytes")]
    EventTooLong,
    /// The rules for its topic ask for an event, and that of the record is no text.
    #[error("the record's event is not text")]
    EventNotText,
    /// No rule is for its topic, its event and its headers.
    #[error("no rule matches the record")]
    NoRule,
}

/// Why rules make no table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// Two rules ask for the same, and only one handler can take the record.
    #[error("the rules {first} and {second} match the same records and name different targets")]
    Conflict {
        /// The index of the rule that was declared first.
        first: usize,
        /// The index of the other.
        second: usize,
    },
}

/// See the module.
///
/// Rules that name their topic in the same way stand on one shelf, and the shelves are asked one after the other: that
/// is the first point in which the specificity of rules is compared.
#[derive(Debug, Clone)]
pub struct RouteTable {
    exact_topics: HashMap<Box<str>, Shelf>,
    topic_patterns: Shelf,
    any_topic: Shelf,
    multi: Multi,
}

impl RouteTable {
    /// Makes the table of `rules`, in the order in which they were declared.
    ///
    /// # Errors
    /// [`RouteError::Conflict`] with [`Multi::First`] if two rules with different targets have the same matchers. Rules
    /// that are equally specific, but not the same, may match a common record; of these the first one takes it.
    pub fn new(rules: &[Rule], multi: Multi) -> Result<Self, RouteError> {
        if multi == Multi::First {
            check_conflicts(rules)?;
        }
        let ranked = rules.iter().map(|rule| (Specificity::of(rule), rule));
        let mut ranked: Vec<_> = ranked.collect();
        // The sort is stable: what is equally specific stays in the order of declaration.
        ranked.sort_by(|(a, _), (b, _)| b.cmp(a));
        let mut table = Self {
            exact_topics: HashMap::new(),
            topic_patterns: Shelf::default(),
            any_topic: Shelf::default(),
            multi,
        };
        for (_, rule) in ranked {
            table.shelf_for(rule.topic.as_ref()).push(rule);
        }
        Ok(table)
    }

    fn shelf_for(&mut self, topic: Option<&Matcher>) -> &mut Shelf {
        match topic.map(Matcher::as_exact) {
            None => &mut self.any_topic,
            Some(None) => &mut self.topic_patterns,
            Some(Some(exact)) => self.exact_topics.entry(exact.into()).or_default(),
        }
    }

    /// Returns the targets of a record, or why there is none.
    ///
    /// # Errors
    /// The first [`Unmatched`] that applies.
    pub fn route(
        &self,
        topic: &str,
        event: Event<'_>,
        headers: &[Header<'_>],
    ) -> Result<Targets, Unmatched> {
        let event = event_text(event);
        let asked = Asked::new(topic, event.ok(), headers);
        let shelves = || {
            let exact = self.exact_topics.get(topic);
            exact
                .into_iter()
                .chain([&self.topic_patterns, &self.any_topic])
        };
        let mut found = Found::new(self.multi);
        shelves().for_each(|shelf| shelf.find(&asked, &mut found));
        let targets = found.targets();
        match event {
            _ if !targets.is_empty() => Ok(targets),
            Err(why) if shelves().any(|shelf| shelf.wants_event(topic)) => Err(why),
            _ => Err(Unmatched::NoRule),
        }
    }
}

/// Returns the text of an event, or why rules for events cannot take the record.
fn event_text(event: Event<'_>) -> Result<&str, Unmatched> {
    match event {
        Event::Text(text) if text.len() <= TEXT_BYTES_MAX => Ok(text),
        Event::Text(_) | Event::TooLong => Err(Unmatched::EventTooLong),
        Event::None => Err(Unmatched::NoEvent),
        Event::NotText => Err(Unmatched::EventNotText),
    }
}

/// Looks for two rules with the same matchers and different targets.
fn check_conflicts(rules: &[Rule]) -> Result<(), RouteError> {
    let mut seen: HashMap<_, Vec<(usize, &Rule)>> = HashMap::new();
    for (second, rule) in rules.iter().enumerate() {
        let others = seen.entry((&rule.topic, &rule.event)).or_default();
        let mut with_other_targets = others
            .iter()
            .filter(|(_, other)| other.target != rule.target);
        if let Some((first, _)) = with_other_targets.find(|(_, other)| asks_alike(other, rule)) {
            let first = *first;
            return Err(RouteError::Conflict { first, second });
        }
        others.push((second, rule));
    }
    Ok(())
}

/// Returns whether the rules have the same conditions on headers, in whatever order.
fn asks_alike(a: &Rule, b: &Rule) -> bool {
    let has_all = |a: &Rule, b: &Rule| b.headers.iter().all(|asked| a.headers.contains(asked));
    has_all(a, b) && has_all(b, a)
}
