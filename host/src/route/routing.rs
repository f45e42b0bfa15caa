//! What a handler says of the records that it takes: where their event stands, its rules, and what becomes of the others.
//!
//! Handed a record, gives its event. Which rule takes it is the table's business.
//! **Invariant:** an event is read from the record alone, so that it is the same at each attempt.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Event, Matcher, Multi, RouteError, RouteTable, Rule};
use crate::json::{Kind, Pointer, PointerError, PointerSet, pick};
use crate::record::RecordView;

/// Where the event of a record stands.
#[derive(Debug, Clone, PartialEq)]
pub enum EventSource {
    /// In its value, a JSON document, under this pointer.
    Value(Box<ValuePlace>),
    /// Its key is the event.
    Key,
    /// In the header of this name; of several the last one counts, as Kafka's clients have it.
    Header(String),
}

impl Default for EventSource {
    /// Where events stand unless the manifest says it: under `event` in the value.
    fn default() -> Self {
        "value:/event".parse().unwrap_or(Self::Key)
    }
}

/// A place in a JSON document.
#[derive(Debug, Clone)]
pub struct ValuePlace {
    pointer: Pointer,
    set: PointerSet,
}

impl ValuePlace {
    /// Makes the place that a pointer names (RFC 6901).
    pub fn new(pointer: &str) -> Result<Self, EventSourceError> {
        let refused = |error: PointerError| EventSourceError::Pointer(error.to_string());
        let pointer = Pointer::parse(pointer).map_err(refused)?;
        let set = PointerSet::new([&pointer]).map_err(refused)?;
        Ok(Self { pointer, set })
    }

    /// Returns the pointer that names it.
    pub fn pointer(&self) -> &Pointer {
        &self.pointer
    }

    /// Reads the event that stands there in a value.
    pub fn read<'a>(&self, value: Option<&'a [u8]>) -> Named<'a> {
        let picked = value.and_then(|value| pick(value, &self.set).ok());
        let Some(found) = picked.as_ref().and_then(|picked| picked.get(0)) else {
            return Named::Not;
        };
        match found.kind() {
            Kind::Null => Named::Not,
            Kind::String => match found.as_str() {
                Ok(text) if text.is_empty() => Named::Not,
                Ok(text) => Named::Text(text),
                Err(_) => Named::Otherwise,
            },
            _ => Named::Otherwise,
        }
    }
}

impl PartialEq for ValuePlace {
    fn eq(&self, other: &Self) -> bool {
        self.pointer == other.pointer
    }
}

/// A text names no place for events.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventSourceError {
    /// It begins with none of the three words.
    #[error("expected \"value:/json/pointer\", \"key\" or \"header:name\"")]
    Form,
    /// What follows `value:` is no JSON pointer.
    #[error("{0}")]
    Pointer(String),
    /// Nothing follows `header:`.
    #[error("the name of the header is missing after header:")]
    NoHeader,
}

impl std::str::FromStr for EventSource {
    type Err = EventSourceError;

    fn from_str(text: &str) -> Result<Self, EventSourceError> {
        if text == "key" {
            return Ok(Self::Key);
        }
        match text.split_once(':') {
            Some(("value", pointer)) => Ok(Self::Value(Box::new(ValuePlace::new(pointer)?))),
            Some(("header", "")) => Err(EventSourceError::NoHeader),
            Some(("header", name)) => Ok(Self::Header(name.to_owned())),
            _ => Err(EventSourceError::Form),
        }
    }
}

/// The event of a record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named<'a> {
    /// None: the place is not there, null or empty, or the value is no JSON.
    Not,
    /// This one.
    Text(Cow<'a, str>),
    /// Something that is no text.
    Otherwise,
}

impl Named<'_> {
    /// Returns the event's text, if it has one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Not | Self::Otherwise => None,
        }
    }

    /// Returns what the table is asked with.
    pub fn event(&self) -> Event<'_> {
        match self {
            Self::Not => Event::None,
            Self::Text(text) => Event::Text(text),
            Self::Otherwise => Event::NotText,
        }
    }
}

impl EventSource {
    /// Reads the event of a record.
    pub fn read<'a>(&self, record: &RecordView<'a>) -> Named<'a> {
        match self {
            Self::Value(place) => place.read(record.value),
            Self::Key => text(record.key),
            Self::Header(name) => {
                let mut headers = record.headers.iter().rev();
                text(
                    headers
                        .find(|header| header.key == *name)
                        .and_then(|it| it.value),
                )
            }
        }
    }
}

fn text(bytes: Option<&[u8]>) -> Named<'_> {
    match bytes.map(str::from_utf8) {
        None | Some(Ok("")) => Named::Not,
        Some(Ok(text)) => Named::Text(text.into()),
        Some(Err(_)) => Named::Otherwise,
    }
}

/// A record of an event that a component names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventCall {
    /// The pattern that matches, as the component has it.
    pub pattern: Arc<str>,
    /// The event.
    pub event: String,
}

/// What becomes of a record that no rule takes. It is counted in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnUnmatched {
    /// It is left behind.
    #[default]
    Skip,
    /// It is written to the dead-letter topic.
    DeadLetter,
    /// Its partition stops before it, until a handler is deployed that takes it.
    Halt,
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Routing {
    /// Where the event of a record stands.
    pub source: EventSource,
    /// How many of the rules that match count.
    pub multi: Multi,
    /// What becomes of a record that no rule takes.
    pub unmatched: OnUnmatched,
    /// How often handlers may have passed a record on that it takes.
    pub max_hops: u32,
    /// The rules of the manifest, without a target.
    pub rules: Vec<Rule>,
}

/// What of a handler takes a record. Each share of it has the record once, with attempts of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Share {
    /// The hook for records whatever their event.
    Record,
    /// The hook for the events that match this pattern of its component.
    Event(Arc<str>),
    /// The pipeline of this name.
    Pipeline(Arc<str>),
}

/// A rule of a handler, with what of the handler takes the records that match it.
pub type OwnRule = (Rule, Share);

/// A pattern of events that a component names, and its text.
pub type NamedEvent = (Matcher, Arc<str>);

impl Routing {
    /// Returns the rules by which records are the handler's: those of the manifest, those of the events that its
    /// component names, and those of its pipelines. Without any in the manifest every record is, if the component `takes_any`.
    pub fn own_rules<'p>(
        &self,
        events: &[NamedEvent],
        takes_any: bool,
        pipelines: impl IntoIterator<Item = (&'p Arc<str>, &'p Rule)>,
    ) -> Vec<OwnRule> {
        let any = Rule {
            target: 0,
            topic: None,
            event: None,
            headers: Vec::new(),
        };
        let takes_all = self.rules.is_empty() && takes_any;
        let events = events.iter().map(|(matcher, pattern)| {
            let event = Some(matcher.clone());
            let rule = Rule {
                event,
                ..any.clone()
            };
            (rule, Share::Event(Arc::clone(pattern)))
        });
        let pipelines = pipelines.into_iter();
        let pipelines =
            pipelines.map(|(name, rule)| (rule.clone(), Share::Pipeline(Arc::clone(name))));
        let named = self
            .rules
            .iter()
            .cloned()
            .chain(takes_all.then(|| any.clone()));
        let named = named.map(|rule| (rule, Share::Record));
        named.chain(events).chain(pipelines).collect()
    }
}

/// Returns whether a handler with these rules takes only some of the records that it reads, or not all by the same share.
pub fn is_choosy(rules: &[OwnRule]) -> bool {
    !matches!(rules, [(rule, Share::Record)] if rule.is_any())
}

/// Which of several handlers, by its place among them, and what of it.
pub type OwnTarget = (usize, Share);

/// Returns the rules of several handlers for one table, and what each target of it is.
pub fn joined<'a>(
    handlers: impl IntoIterator<Item = &'a [OwnRule]>,
) -> (Vec<Rule>, Vec<OwnTarget>) {
    let (mut rules, mut targets) = (Vec::new(), Vec::new());
    for (place, own) in handlers.into_iter().enumerate() {
        for (rule, share) in own {
            let asked = (place, share.clone());
            let known = targets.iter().position(|target| *target == asked);
            let target = known.unwrap_or_else(|| {
                targets.push(asked);
                targets.len() - 1
            });
            rules.push(Rule {
                target,
                ..rule.clone()
            });
        }
    }
    (rules, targets)
}

/// Returns a rule that two of these handlers have, or one of them both in its manifest and among the events of its component,
/// where only one can have the record.
pub fn contested<'a>(
    handlers: impl IntoIterator<Item = &'a [OwnRule]>,
    multi: Multi,
) -> Option<Rule> {
    let (rules, _) = joined(handlers);
    let RouteError::Conflict { first, .. } = RouteTable::new(&rules, multi).err()?;
    rules.into_iter().nth(first)
}
