//! The WIT types of the interfaces of steps.

use std::time::Duration;

use wasmtime::component::{ComponentType, Lift};

use super::MessageResult;
use crate::pipeline::{Action, Question};

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

impl From<ActionResult> for Action {
    fn from(action: ActionResult) -> Self {
        match action {
            ActionResult::Pipe(DestinationResult { topic, event }) => Self::Pipe { topic, event },
            ActionResult::Ask(question) => Self::Ask(Question {
                topic: question.topic,
                event: question.event,
                response_topic: question.response_topic,
                timeout: Duration::from_millis(question.timeout_ms),
            }),
            ActionResult::Replace(message) => Self::Replace(message.into()),
            ActionResult::Finish => Self::Finish,
            ActionResult::Drop => Self::Drop,
        }
    }
}
