//! The calls from the generated exports to the user's functions.
//!
//! It is handed a hook's function and the parameters that the host passed, and owns the
//! conversions between both. The `handler!` macro is its only caller.
//!
//! **Invariant:** every call installs the panic hook before it runs the user's code.

use serde::de::DeserializeOwned;

use crate::bindings::decide::exports::kafka::handler::decider::Action as WireAction;
use crate::bindings::imports::kafka::handler::types::{self, HandlerError};
use crate::bindings::packed_bulk::exports::kafka::handler::packed_bulk_handler::PackedBatch;
use crate::bindings::view::exports::kafka::handler::view_handler::MessageHead;
use crate::pipeline::{Action, arguments};
use crate::{
    Config, Error, Failure, FromBatch, FromMessage, FromView, IntoBulkResult, Message, MessageView,
    Outcome, Verdict, View, batch,
};

type HookResult<T = ()> = Result<T, HandlerError>;

/// What every call does first.
#[inline]
fn enter() {
    #[cfg(target_arch = "wasm32")]
    crate::stderr::name_panics();
}

fn to_host<T, E: Into<Error>>(result: Result<T, E>) -> HookResult<T> {
    result.map_err(|error| HandlerError::from(error.into()))
}

/// `on-message` and `on-tombstone`.
pub fn one<T, E>(hook: impl FnOnce(T) -> Result<(), E>, mut message: Message) -> HookResult
where
    T: FromMessage,
    E: Into<Error>,
{
    enter();
    let payload = to_host(T::from_message(&mut message))?;
    to_host(hook(payload))
}

/// `on-view`.
pub fn on_view<'a, T, E>(hook: impl FnOnce(T) -> Result<(), E>, head: &'a MessageHead) -> HookResult
where
    T: FromView<'a>,
    E: Into<Error>,
{
    enter();
    let shown = to_host(T::from_view(View::new(head)))?;
    to_host(hook(shown))
}

/// `on-packed-bulk`.
pub fn bulk<'a, T, R>(
    hook: impl FnOnce(Vec<T>) -> R,
    batch: &'a PackedBatch,
) -> HookResult<Vec<types::BulkFailure>>
where
    T: FromBatch<'a>,
    R: IntoBulkResult,
{
    enter();
    let records = MessageView::all(batch).map(T::from_batch);
    to_host(batch::call(hook, records)).map(batch::to_wire)
}

/// `on-bulk`.
pub fn bulk_list<T, R>(
    hook: impl FnOnce(Vec<T>) -> R,
    messages: Vec<Message>,
) -> HookResult<Vec<types::BulkFailure>>
where
    T: FromMessage,
    R: IntoBulkResult,
{
    enter();
    let messages = messages.into_iter();
    let records = messages.map(|mut message| T::from_message(&mut message));
    to_host(batch::call(hook, records)).map(batch::to_wire)
}

/// `did-receive`, of handlers and of middleware, and `did-receive-bulk`.
pub fn receive<T, R, E: Into<Error>>(
    hook: impl FnOnce(T) -> Result<R, E>,
    received: T,
) -> HookResult<R> {
    enter();
    to_host(hook(received))
}

/// `check-arguments` of a step.
pub fn check_arguments<A: DeserializeOwned, R>(
    _hook: impl FnOnce(Message, A) -> R,
    json: &str,
) -> Result<(), String> {
    enter();
    serde_json::from_str::<A>(json)
        .map(drop)
        .map_err(|error| error.to_string())
}

/// `transform`.
pub fn transform<A: DeserializeOwned, E: Into<Error>>(
    hook: impl FnOnce(Message, A) -> Result<Option<Message>, E>,
    message: Message,
    json: &str,
) -> HookResult<Option<Message>> {
    enter();
    to_host(hook(message, to_host(arguments(json))?))
}

/// `decide`.
pub fn actions<A: DeserializeOwned, E: Into<Error>>(
    hook: impl FnOnce(Message, A) -> Result<Vec<Action>, E>,
    message: Message,
    json: &str,
) -> HookResult<Vec<WireAction>> {
    enter();
    let actions = to_host(hook(message, to_host(arguments(json))?))?;
    Ok(actions.into_iter().map(WireAction::from).collect())
}

/// `on-error`.
pub fn decide(
    hook: impl FnOnce(&Failure, &Message) -> Verdict,
    failure: &Failure,
    message: &Message,
) -> Verdict {
    enter();
    hook(failure, message)
}

/// `on-bulk-error`.
pub fn decide_bulk(
    hook: impl FnOnce(&Failure, &[Message]) -> Verdict,
    failure: &Failure,
    messages: &[Message],
) -> Verdict {
    enter();
    hook(failure, messages)
}

/// `on-finished`.
pub fn finish(hook: impl FnOnce(&[Message], Outcome), messages: &[Message], outcome: Outcome) {
    enter();
    hook(messages, outcome);
}

/// `define-context`.
pub fn define<E: Into<Error>>(
    hook: impl FnOnce(Config) -> Result<(), E>,
    config: Vec<(String, String)>,
) -> Result<(), String> {
    enter();
    hook(Config::new(config)).map_err(|error| error.into().to_string())
}

/// `on-assigned` and `on-revoked`.
pub fn partition(hook: impl FnOnce(&str, u32), topic: &str, partition: u32) {
    enter();
    hook(topic, partition);
}

/// The half of the partition hook that a handler did not name.
pub fn no_partition_hook(_topic: &str, _partition: u32) {}
