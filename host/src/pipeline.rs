//! What a manifest has done with a record step by step.
//!
//! Handed tables of the manifest, holds steps; what each of them does to a message that needs no guest and no Kafka is
//! decided here: the built-in steps, the event that a message is sent on with, where the next attempt begins.
//! **Invariant:** a step that exists can be run: its arguments were read, and its topics have names.

mod builtin;
mod event;
mod message;
mod progress;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use self::builtin::{BUILT_INS, BuiltIn, BuiltInError};
pub use self::event::{EventError, with_event};
pub use self::progress::Progress;
use crate::ids::TopicName;
use crate::manifest::Masked;
use crate::record::Changed;
use crate::route::Rule;
use crate::secrets::Secrets;

/// One pipeline of a handler.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    /// Its name, which no other one of the handler has.
    pub name: Arc<str>,
    /// Which records it takes.
    pub rule: Rule,
    /// How many records may be in it at once, on each host; none where that is not said.
    pub max_concurrent: Option<usize>,
    /// What is done, in this order.
    pub steps: Vec<Step>,
}

/// One step of a pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its name, which no other one of the pipeline has.
    pub name: Arc<str>,
    /// What changes the message.
    pub work: Option<Work>,
    /// Where it is sent on to afterwards.
    pub pipe: Option<Pipe>,
    /// Whether an attempt may do it again after it has succeeded.
    pub is_repeatable: bool,
    /// What becomes of the record when it fails.
    pub on_error: OnStepError,
}

/// What changes a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// A component.
    Component(ComponentWork),
    /// What the host does itself.
    BuiltIn(BuiltIn),
}

/// A component at work in a step.
#[derive(Clone, PartialEq, Eq)]
pub struct ComponentWork {
    /// Its file, beside the manifest.
    pub file: String,
    /// Its arguments, as JSON.
    pub arguments: String,
    /// Texts for it, by name.
    pub config: BTreeMap<String, String>,
    /// Texts for it that are said by name; they are among the others once they are read.
    pub secrets: Secrets,
}

impl fmt::Debug for ComponentWork {
    /// Prints the names of settings without their values: some are passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComponentWork")
            .field("file", &self.file)
            .field("arguments", &self.arguments)
            .field("config", &Masked(&self.config))
            .field("secrets", &self.secrets)
            .finish()
    }
}

/// Where a message is sent on to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipe {
    /// The topic.
    pub topic: TopicName,
    /// The event that the message gets; none leaves it as it is.
    pub event: Option<String>,
    /// The answer that takes its place, if one is waited for.
    pub response: Option<Awaited>,
}

/// An answer that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaited {
    /// The topic by which it comes.
    pub topic: TopicName,
    /// For how long.
    pub timeout: Duration,
}

/// What becomes of a record when a step fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnStepError {
    /// What becomes of a record that a handler fails for: attempts, and what the manifest says of the last one.
    #[default]
    Retry,
    /// The step is left out, and the record goes on as it was before.
    GoOn,
    /// The record is left behind.
    Skip,
    /// The record goes to the dead-letter topic.
    DeadLetter,
    /// The record's partition stops before it.
    Halt,
}

impl Pipeline {
    /// Lists the steps that are done by components, with their places.
    pub fn components(&self) -> impl Iterator<Item = (usize, &Step, &ComponentWork)> {
        let steps = self.steps.iter().enumerate();
        steps.filter_map(|(place, step)| match &step.work {
            Some(Work::Component(work)) => Some((place, step, work)),
            _ => None,
        })
    }
}

/// What a component that decides has done with a message as it is when it is the action's turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It is sent on.
    Pipe {
        /// The topic, as the component has it.
        topic: String,
        /// The event that it gets; none leaves it as it is.
        event: Option<String>,
    },
    /// It is sent as a request and replaced by the answer.
    Ask(Question),
    /// It is replaced by this one.
    Replace(Changed),
    /// The pipeline ends here, well.
    Finish,
    /// The pipeline ends here, and the record counts as filtered.
    Drop,
}

/// A request that is made of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The topic of the request.
    pub topic: String,
    /// Its event; none leaves the message as it is.
    pub event: Option<String>,
    /// The topic that the answer is asked to come by; none is the first of the manifest.
    pub response_topic: Option<String>,
    /// How long to wait for it.
    pub timeout: Duration,
}

impl Pipe {
    /// Returns what is done by it.
    pub fn action(&self) -> Action {
        let (topic, event) = (self.topic.to_string(), self.event.clone());
        match &self.response {
            None => Action::Pipe { topic, event },
            Some(awaited) => Action::Ask(Question {
                topic,
                event,
                response_topic: Some(awaited.topic.to_string()),
                timeout: awaited.timeout,
            }),
        }
    }
}
