//! The WIT types of the interfaces of steps.

use std::time::Duration;

use wasmtime::component::{ComponentType, Lift};

use super::MessageResult;
use crate::pipeline::{Action, Question};
use crate::prefix::TopicPrefix;

/// `decider.destination`.
#[derive(ComponentType, Lift, Debug)]
#[component(record)]
pub(in crate::guest) struct DestinationResult {
    topic: String,
    event: Option<String>,
}

/// `decider.question`.
#[derive(ComponentType, Lift, Debug)]
#[component(record)]
pub(in crate::guest) struct QuestionResult {
    topic: String,
    event: Option<String>,
    #[component(name = "response-topic")]
    response_topic: Option<String>,
    #[component(name = "timeout-ms")]
    timeout_ms: u64,
}

/// `decider.action`.
#[derive(ComponentType, Lift, Debug)]
#[component(variant)]
pub(in crate::guest) enum ActionResult {
    #[component(name = "pipe")]
    Pipe(DestinationResult),
    #[component(name = "ask")]
    Ask(QuestionResult),
    #[component(name = "replace")]
    Replace(MessageResult),
    #[component(name = "finish")]
    Finish,
    #[component(name = "drop")]
    Drop,
}

impl ActionResult {
    /// Returns the action, its topics by their full names.
    pub(in crate::guest) fn action(self, prefix: &TopicPrefix) -> Action {
        let full = |topic: String| prefix.full(&topic).into_owned();
        match self {
            Self::Pipe(DestinationResult { topic, event }) => Action::Pipe {
                topic: full(topic),
                event,
            },
            Self::Ask(question) => Action::Ask(Question {
                topic: full(question.topic),
                event: question.event,
                response_topic: question.response_topic.map(full),
                timeout: Duration::from_millis(question.timeout_ms),
            }),
            Self::Replace(message) => Action::Replace(message.into()),
            Self::Finish => Action::Finish,
            Self::Drop => Action::Drop,
        }
    }
}
