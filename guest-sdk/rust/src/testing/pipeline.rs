//! Steps of pipelines as the host calls them.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{or_forget, record};
use crate::pipeline::arguments;
use crate::{Action, Error, Message, Result, other};

/// Calls `transform` as the host would: the arguments are read from JSON, and what was emitted is dropped when the
/// hook fails.
pub fn transform<A, E>(
    hook: impl FnOnce(Message, A) -> std::result::Result<Option<Message>, E>,
    message: Message,
    args: &impl Serialize,
) -> Result<Option<Message>>
where
    A: DeserializeOwned,
    E: Into<Error>,
{
    step(hook, message, args)
}

/// Calls `decide` as [`transform`] is called.
pub fn decide<A, E>(
    hook: impl FnOnce(Message, A) -> std::result::Result<Vec<Action>, E>,
    message: Message,
    args: &impl Serialize,
) -> Result<Vec<Action>>
where
    A: DeserializeOwned,
    E: Into<Error>,
{
    step(hook, message, args)
}

fn step<A, R, E>(
    hook: impl FnOnce(Message, A) -> std::result::Result<R, E>,
    message: Message,
    args: &impl Serialize,
) -> Result<R>
where
    A: DeserializeOwned,
    E: Into<Error>,
{
    let json = serde_json::to_string(args).map_err(|error| other(error.to_string()))?;
    let args = arguments(&json)?;
    record::in_hand(message.clone(), || {
        or_forget(|| hook(message, args).map_err(Into::into))
    })
}
