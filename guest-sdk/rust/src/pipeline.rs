//! Steps of pipelines: what a `decide` hook answers, and the arguments that a step is given.
//!
//! It is handed a record and the arguments of a `[[pipeline.step]]` as JSON, and gives the host what becomes of the record.
//!
//! **Invariant:** arguments that a step cannot read refuse the deployment, so its hook never sees any.

use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::bindings::decide::exports::kafka::handler::decider::{
    Action as WireAction, Destination, Question,
};
use crate::{Message, Result, other};

/// What is done with a record as it is when it is the action's turn.
///
/// ```
/// use std::time::Duration;
/// use kafka_wasm_guest::{Action, Message, Result, testing};
///
/// #[derive(serde::Deserialize)]
/// struct Limits {
///     large: f64,
/// }
///
/// fn decide(order: Message, limits: Limits) -> Result<Vec<Action>> {
///     let total: f64 = order.text()?.parse()?;
///     Ok(if total < limits.large {
///         vec![Action::pipe("orders.small").event("order.small"), Action::Finish]
///     } else {
///         vec![Action::ask("approvals", Duration::from_secs(5))]
///     })
/// }
///
/// let small = testing::message("orders").text("7.50").build();
/// let actions = testing::decide(decide, small, &serde_json::json!({ "large": 100 }))?;
/// assert_eq!(actions[1], Action::Finish);
/// # Ok::<(), kafka_wasm_guest::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is sent on, once the whole pipeline has succeeded.
    Pipe {
        /// The topic.
        topic: String,
        /// The event that the record gets; `None` leaves the record as it is.
        event: Option<String>,
    },
    /// It is sent as a request, at once, and replaced by the answer. Without one the step has failed.
    Ask {
        /// The topic of the request.
        topic: String,
        /// Its event; `None` leaves the record as it is.
        event: Option<String>,
        /// The topic that the answer is asked to come by; `None` is the first that the manifest names.
        response_topic: Option<String>,
        /// How long to wait for the answer, in whole milliseconds.
        timeout: Duration,
    },
    /// It is replaced by this one. Topic, partition and offset stay those of the original.
    Replace(Message),
    /// The pipeline ends here, well.
    Finish,
    /// The pipeline ends here, and the record counts as filtered.
    Drop,
}

impl Action {
    /// Sends the record on to a topic.
    pub fn pipe(topic: impl Into<String>) -> Self {
        Self::Pipe {
            topic: topic.into(),
            event: None,
        }
    }

    /// Sends the record as a request, and replaces it by the answer.
    pub fn ask(topic: impl Into<String>, timeout: Duration) -> Self {
        Self::Ask {
            topic: topic.into(),
            event: None,
            response_topic: None,
            timeout,
        }
    }

    /// Gives what is sent an event. Of no effect where nothing is sent.
    #[must_use]
    pub fn event(mut self, name: impl Into<String>) -> Self {
        if let Self::Pipe { event, .. } | Self::Ask { event, .. } = &mut self {
            *event = Some(name.into());
        }
        self
    }

    /// Says by which topic the answer is to come. Of no effect where nothing is asked.
    #[must_use]
    pub fn response_topic(mut self, topic: impl Into<String>) -> Self {
        if let Self::Ask { response_topic, .. } = &mut self {
            *response_topic = Some(topic.into());
        }
        self
    }
}

impl From<Action> for WireAction {
    fn from(action: Action) -> Self {
        match action {
            Action::Pipe { topic, event } => Self::Pipe(Destination { topic, event }),
            Action::Ask {
                topic,
                event,
                response_topic,
                timeout,
            } => Self::Ask(Question {
                topic,
                event,
                response_topic,
                timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            }),
            Action::Replace(message) => Self::Replace(message),
            Action::Finish => Self::Finish,
            Action::Drop => Self::Drop,
        }
    }
}

/// Reads the arguments of a step.
pub(crate) fn arguments<A: DeserializeOwned>(json: &str) -> Result<A> {
    serde_json::from_str(json)
        .map_err(|error| other(format!("the arguments do not fit the component: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{emit, reject, testing};

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Suffix {
        suffix: String,
    }

    fn transform(mut message: Message, Suffix { suffix }: Suffix) -> Result<Option<Message>> {
        emit("seen").send()?;
        let text = message.text()?.to_owned();
        if text == "bad" {
            return Err(reject(text));
        }
        message.value = Some(format!("{text}{suffix}").into_bytes());
        Ok((text != "drop").then_some(message))
    }

    #[test]
    fn a_step_gets_its_arguments_and_gives_a_record_or_none() {
        let arguments = serde_json::json!({ "suffix": "!" });
        let step = |text: &str| {
            let message = testing::message("t").text(text).build();
            testing::transform(transform, message, &arguments)
        };
        assert_eq!(step("a").unwrap().unwrap().text(), Ok("a!"));
        assert_eq!(step("drop"), Ok(None));
        assert_eq!(testing::emitted().len(), 2);
        assert_eq!(step("bad"), Err(reject("bad")));
        assert!(testing::emitted().is_empty());
    }

    #[test]
    fn arguments_of_another_type_are_refused() {
        let message = testing::message("t").build();
        let arguments = serde_json::json!({ "suffix": 7 });
        let error = testing::transform(transform, message, &arguments).unwrap_err();
        let expected =
            "the arguments do not fit the component: invalid type: integer `7`, expected a string";
        assert!(error.reason().starts_with(expected), "{error}");
    }

    #[test]
    fn an_action_says_what_the_host_shall_do() {
        let ask = Action::ask("q", Duration::from_millis(7))
            .event("e")
            .response_topic("r");
        let WireAction::Ask(question) = WireAction::from(ask) else {
            panic!("no question");
        };
        assert_eq!((question.topic.as_str(), question.timeout_ms), ("q", 7));
        assert_eq!(question.event.as_deref(), Some("e"));
        assert_eq!(question.response_topic.as_deref(), Some("r"));
        assert_eq!(
            Action::Finish.event("e").response_topic("r"),
            Action::Finish
        );
    }
}
