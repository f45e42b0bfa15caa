//! The rules whose topics are named in the same way: all by the same text, all by patterns, or not at all.
//!
//! Handed the rules in the order of their specificity, gives the targets of a record in that order.
//! **Invariant:** a rule is left out only if it cannot match.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::ops::BitOr as _;

use super::sieve::{Marks, Part};
use super::{HeaderMatcher, Matcher, Multi, Rule, Targets};
use crate::record::Header;

/// What a record is asked for. Its marks are taken when they are first needed.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    topic: &'a str,
    event: Option<&'a str>,
    headers: &'a [Header<'a>],
    topic_marks: OnceCell<Marks>,
    event_marks: OnceCell<Marks>,
    headers_marks: OnceCell<Marks>,
}

impl<'a> Asked<'a> {
    /// Makes one without marks.
    pub(super) fn new(topic: &'a str, event: Option<&'a str>, headers: &'a [Header<'a>]) -> Self {
        Self {
            topic,
            event,
            headers,
            topic_marks: OnceCell::new(),
            event_marks: OnceCell::new(),
            headers_marks: OnceCell::new(),
        }
    }

    /// Returns the marks of those parts of the record for which a row has matchers.
    fn marks(&self, row: &Row) -> Marks {
        let mut marks = Marks::default();
        if row.has_topics {
            let topic = || Marks::of_text(Part::Topic, self.topic);
            marks = marks | *self.topic_marks.get_or_init(topic);
        }
        if row.has_events {
            let event = || Marks::of_text(Part::Event, self.event.unwrap_or_default());
            marks = marks | *self.event_marks.get_or_init(event);
        }
        if row.has_headers {
            let headers = || Marks::of_headers(self.headers);
            marks = marks | *self.headers_marks.get_or_init(headers);
        }
        marks
    }
}

/// The targets that are found, each once.
#[derive(Debug)]
pub(super) struct Found {
    targets: Targets,
    multi: Multi,
}

impl Found {
    /// Makes one without targets.
    pub(super) fn new(multi: Multi) -> Self {
        let targets = Targets::new();
        Self { targets, multi }
    }

    /// Returns the targets in the order in which they were found.
    pub(super) fn targets(self) -> Targets {
        self.targets
    }

    fn add(&mut self, target: usize) {
        if !self.targets.contains(&target) {
            self.targets.push(target);
        }
    }

    /// Returns whether no more are wanted.
    fn is_enough(&self) -> bool {
        self.multi == Multi::First && !self.targets.is_empty()
    }
}

/// See the module. Rules are asked by the second point of their specificity, the way in which they name the event.
#[derive(Debug, Clone, Default)]
pub(super) struct Shelf {
    exact_events: HashMap<Box<str>, Row>,
    event_patterns: Row,
    any_event: Row,
}

impl Shelf {
    /// Adds a rule that is not more specific than those before.
    pub(super) fn push(&mut self, rule: &Rule) {
        let row = match rule.event.as_ref().map(Matcher::as_exact) {
            None => &mut self.any_event,
            Some(None) => &mut self.event_patterns,
            Some(Some(exact)) => self.exact_events.entry(exact.into()).or_default(),
        };
        row.push(rule);
    }

    /// Adds the targets of the rules that match, the most specific first, while more are wanted.
    pub(super) fn find(&self, asked: &Asked<'_>, found: &mut Found) {
        if let Some(event) = asked.event {
            if let Some(row) = self.exact_events.get(event) {
                row.find(asked, found);
            }
            self.event_patterns.find(asked, found);
        }
        self.any_event.find(asked, found);
    }

    /// Returns whether a rule for this topic asks for an event.
    pub(super) fn wants_event(&self, topic: &str) -> bool {
        let mut rows = self.exact_events.values().chain([&self.event_patterns]);
        rows.any(|row| row.places.iter().any(|place| place.takes_topic(topic)))
    }
}

/// Rules in the order of their specificity.
#[derive(Debug, Clone, Default)]
struct Row {
    /// The marks that each of the places needs, by themselves: most places are passed over without being looked at.
    needs: Vec<Marks>,
    places: Vec<Place>,
    has_topics: bool,
    has_events: bool,
    has_headers: bool,
}

/// A rule, without what the way to it has answered already.
#[derive(Debug, Clone)]
struct Place {
    target: usize,
    topic: Option<Matcher>,
    event: Option<Matcher>,
    headers: Box<[(String, HeaderMatcher)]>,
}

impl Row {
    fn push(&mut self, rule: &Rule) {
        let open = |matcher: &Option<Matcher>| {
            let matcher = matcher.as_ref();
            matcher
                .filter(|matcher| matcher.as_exact().is_none())
                .cloned()
        };
        let place = Place {
            target: rule.target,
            topic: open(&rule.topic),
            event: open(&rule.event),
            headers: rule.conditions().into_iter().cloned().collect(),
        };
        self.has_topics |= place.topic.is_some();
        self.has_events |= place.event.is_some();
        self.has_headers |= !place.headers.is_empty();
        self.needs.push(place.needs());
        self.places.push(place);
    }

    fn find(&self, asked: &Asked<'_>, found: &mut Found) {
        if self.places.is_empty() || found.is_enough() {
            return;
        }
        let marks = asked.marks(self);
        for (needs, place) in self.needs.iter().zip(&self.places) {
            if needs.are_in(&marks) && place.takes(asked) {
                found.add(place.target);
                if found.is_enough() {
                    return;
                }
            }
        }
    }
}

impl Place {
    fn needs(&self) -> Marks {
        let text = |part: Part, matcher: &Option<Matcher>| {
            let matcher = matcher.as_ref();
            matcher.map_or_else(Marks::default, |matcher| {
                Marks::needed_by_text(part, matcher)
            })
        };
        let conditions = self.headers.iter();
        let conditions =
            conditions.map(|(name, condition)| Marks::needed_by_header(name, condition));
        let texts = text(Part::Topic, &self.topic) | text(Part::Event, &self.event);
        conditions.fold(texts, Marks::bitor)
    }

    fn takes(&self, asked: &Asked<'_>) -> bool {
        self.takes_topic(asked.topic)
            && self.takes_event(asked.event)
            && self
                .headers
                .iter()
                .all(|(name, condition)| has(asked.headers, name, condition))
    }

    fn takes_topic(&self, topic: &str) -> bool {
        self.topic
            .as_ref()
            .is_none_or(|matcher| matcher.matches(topic))
    }

    fn takes_event(&self, event: Option<&str>) -> bool {
        self.event
            .as_ref()
            .is_none_or(|matcher| event.is_some_and(|event| matcher.matches(event)))
    }
}

fn has(headers: &[Header<'_>], name: &str, condition: &HeaderMatcher) -> bool {
    let mut named = headers.iter().filter(|header| header.key == name);
    named.any(|header| condition.matches(header.value))
}
