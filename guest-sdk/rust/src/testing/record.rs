//! A stand-in for the record in hand, and for the host's reading and changing of its value.
//!
//! It is handed the record of a delivery and owns it for that time, per thread. It reads by
//! `serde_json`, so that raw parts and changed values have no spaces and are ordered by name, where
//! the host keeps what is written.
//!
//! **Invariant:** as with the host, there is a record in hand in hooks of single records only.

use std::cell::RefCell;

use serde_json::Value as Tree;

use super::{or_forget, take_emit};
use crate::bindings::imports::kafka::handler::current::CurrentError;
use crate::bindings::imports::kafka::handler::json::{
    Change, ChangeError, Fault, Misplaced, ReadError, SelectionError, Value,
};
use crate::bindings::imports::kafka::handler::producer::{self, Outgoing};
use crate::bindings::view::exports::kafka::handler::view_handler::MessageHead;
use crate::{EmitError, Error, FromView, Header, Message, Result, View};

type Answer<T, E = ReadError> = std::result::Result<T, E>;

thread_local! {
    static IN_HAND: RefCell<Option<Message>> = const { RefCell::new(None) };
}

/// Calls `on_view` as the host would: the record stays here, and what was emitted is dropped when
/// the hook fails.
///
/// The head of the record is never freed, so that a hook may borrow from it for as long as its test
/// likes.
pub fn deliver_view<T, E>(
    hook: impl FnOnce(T) -> std::result::Result<(), E>,
    message: Message,
) -> Result
where
    T: FromView<'static>,
    E: Into<Error>,
{
    let size = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| bytes.len() as u64);
    let head: &'static MessageHead = Box::leak(Box::new(MessageHead {
        topic: message.topic.clone(),
        partition: message.partition,
        offset: message.offset,
        timestamp: message.timestamp,
        key_size: size(&message.key),
        value_size: size(&message.value),
        headers_count: super::small(message.headers.len()),
    }));
    in_hand(message, || {
        or_forget(|| hook(T::from_view(View::new(head))?).map_err(Into::into))
    })
}

/// Calls a hook of a single record.
pub(super) fn in_hand<T>(message: Message, call: impl FnOnce() -> T) -> T {
    IN_HAND.set(Some(message));
    let result = call();
    IN_HAND.set(None);
    result
}

fn with<T>(read: impl FnOnce(&Message) -> T) -> Answer<T, CurrentError> {
    let none = Err(CurrentError::NoMessage);
    IN_HAND.with_borrow(|it| it.as_ref().map_or(none, |message| Ok(read(message))))
}

pub(crate) fn key() -> Answer<Option<Vec<u8>>, CurrentError> {
    with(|message| message.key.clone())
}

pub(crate) fn value() -> Answer<Option<Vec<u8>>, CurrentError> {
    with(|message| message.value.clone())
}

pub(crate) fn headers() -> Answer<Vec<Header>, CurrentError> {
    with(|message| message.headers.clone())
}

pub(crate) fn forward(topic: &str, extra: &[&Header]) -> Answer<(), producer::EmitError> {
    let forwarded = with(|message| forward_value(message, topic, message.value(), extra));
    forwarded.unwrap_or(Err(producer::EmitError::NotNow))
}

fn forward_value(
    message: &Message,
    topic: &str,
    value: Option<&[u8]>,
    extra: &[&Header],
) -> Answer<(), producer::EmitError> {
    let headers: Vec<&Header> = message
        .headers
        .iter()
        .chain(extra.iter().copied())
        .collect();
    take(&Outgoing {
        topic,
        key: message.key(),
        value,
        headers: &headers,
        partition: None,
        timestamp: message.timestamp,
    })
}

/// The value of the record in hand.
fn tree() -> Answer<Tree> {
    let value = value().map_err(|_| ReadError::NoMessage)?;
    let value = value.ok_or(ReadError::Tombstone)?;
    serde_json::from_slice(&value).map_err(|error| {
        let before = value.split(|byte| *byte == b'\n').take(error.line() - 1);
        let lines: usize = before.map(|line| line.len() + 1).sum();
        ReadError::Invalid(Fault {
            at: (lines + error.column().saturating_sub(1)) as u64,
            reason: error.to_string(),
        })
    })
}

fn check(pointer: &str) -> Answer<(), Misplaced> {
    let slash = pointer.is_empty() || pointer.starts_with('/');
    let tildes = || {
        let mut after = pointer.split('~').skip(1);
        after.all(|rest| rest.starts_with(['0', '1']))
    };
    let wrong = |reason: &str| Misplaced {
        pointer: pointer.to_owned(),
        reason: reason.to_owned(),
    };
    if !slash {
        return Err(wrong("it does not begin with '/'"));
    }
    tildes()
        .then_some(())
        .ok_or_else(|| wrong("'~' must be written '~0', or '~1' where '/' is meant"))
}

fn read_one<T>(pointer: &str, read: impl FnOnce(Option<&Tree>) -> T) -> Answer<T> {
    check(pointer).map_err(ReadError::Pointer)?;
    Ok(read(tree()?.pointer(pointer)))
}

fn value_of(found: Option<&Tree>) -> Value {
    match found {
        None => Value::Absent,
        Some(Tree::Null) => Value::Null,
        Some(Tree::Bool(boolean)) => Value::Boolean(*boolean),
        Some(Tree::Number(number)) => number
            .as_i64()
            .map_or_else(|| Value::Number(number.to_string()), Value::Integer),
        Some(Tree::String(text)) => Value::Text(text.clone()),
        Some(tree) => Value::Raw(tree.to_string()),
    }
}

pub(crate) fn select(pointers: &[&str]) -> Answer<Vec<String>, SelectionError> {
    for pointer in pointers {
        check(pointer).map_err(SelectionError::Pointer)?;
    }
    Ok(pointers.iter().map(|&pointer| pointer.to_owned()).collect())
}

pub(crate) fn read(pointers: &[String]) -> Answer<Vec<Value>> {
    let tree = tree()?;
    let values = pointers.iter().map(|it| value_of(tree.pointer(it)));
    Ok(values.collect())
}

pub(crate) fn get(pointer: &str) -> Answer<Value> {
    read_one(pointer, value_of)
}

pub(crate) fn raw(pointer: &str) -> Answer<Option<String>> {
    read_one(pointer, |found| found.map(ToString::to_string))
}

pub(crate) fn exists(pointer: &str) -> Answer<bool> {
    read_one(pointer, |found| found.is_some())
}

pub(crate) fn length(pointer: &str) -> Answer<Option<u64>> {
    read_one(pointer, |found| match found {
        Some(Tree::Array(items)) => Some(items.len() as u64),
        Some(Tree::Object(members)) => Some(members.len() as u64),
        _ => None,
    })
}

pub(crate) fn items(pointer: &str) -> Answer<Option<Vec<Value>>> {
    read_one(pointer, |found| {
        let items = found.and_then(Tree::as_array)?;
        Some(items.iter().map(|item| value_of(Some(item))).collect())
    })
}

pub(crate) fn emit_with_changes(
    outgoing: &Outgoing<'_>,
    changes: &[Change<'_>],
) -> Answer<(), ChangeError> {
    let value = changed(changes)?;
    let outgoing = Outgoing {
        topic: outgoing.topic,
        key: outgoing.key,
        value: Some(&value),
        headers: outgoing.headers,
        partition: outgoing.partition,
        timestamp: outgoing.timestamp,
    };
    take(&outgoing).map_err(ChangeError::Emit)
}

pub(crate) fn forward_with_changes(
    topic: &str,
    extra: &[&Header],
    changes: &[Change<'_>],
) -> Answer<(), ChangeError> {
    let value = changed(changes)?;
    let forwarded = with(|message| forward_value(message, topic, Some(&value), extra));
    let forwarded = forwarded.unwrap_or(Err(producer::EmitError::NotNow));
    forwarded.map_err(ChangeError::Emit)
}

/// Takes an emit, and refuses as the host does.
fn take(outgoing: &Outgoing<'_>) -> Answer<(), producer::EmitError> {
    take_emit(outgoing).map_err(|error| match error {
        EmitError::TooLarge { limit_bytes } => producer::EmitError::TooLarge(limit_bytes),
        EmitError::Denied(reason) => producer::EmitError::Denied(reason),
        EmitError::QuotaExceeded(limit) => producer::EmitError::QuotaExceeded(limit),
        EmitError::NotNow => producer::EmitError::NotNow,
    })
}

fn changed(changes: &[Change<'_>]) -> Answer<Vec<u8>, ChangeError> {
    let mut root = tree().map_err(ChangeError::Read)?;
    for change in changes {
        let (pointer, value) = match change {
            Change::Set(setting) => (setting.pointer, Some(setting.value)),
            Change::Remove(pointer) => (*pointer, None),
        };
        check(pointer).map_err(ChangeError::Change)?;
        make(&mut root, pointer, value).map_err(|reason| {
            ChangeError::Change(Misplaced {
                pointer: pointer.to_owned(),
                reason,
            })
        })?;
    }
    Ok(root.to_string().into_bytes())
}

/// Makes one change; `None` removes.
fn make(root: &mut Tree, pointer: &str, value: Option<&str>) -> Answer<(), String> {
    let value: Option<Tree> = match value {
        Some(value) => Some(serde_json::from_str(value).map_err(|error| error.to_string())?),
        None => None,
    };
    let Some((above, token)) = pointer.rsplit_once('/') else {
        *root = value.ok_or("the whole document cannot be removed")?;
        return Ok(());
    };
    let token = token.replace("~1", "/").replace("~0", "~");
    match (root.pointer_mut(above), value) {
        (Some(Tree::Object(members)), Some(value)) => {
            members.insert(token, value);
        }
        (Some(Tree::Object(members)), None) => {
            members.remove(&token);
        }
        (Some(Tree::Array(items)), Some(value)) => {
            let end = items.len();
            match token.parse::<usize>() {
                Ok(place) if place < end => items.splice(place..=place, [value]).for_each(drop),
                Ok(place) if place == end => items.push(value),
                Err(_) if token == "-" => items.push(value),
                _ => return Err("the array has no such place".to_owned()),
            }
        }
        (Some(Tree::Array(items)), None) => {
            if let Ok(place) = token.parse::<usize>()
                && place < items.len()
            {
                items.remove(place);
            }
        }
        (_, Some(_)) => {
            return Err("there is no array or object to set it in".to_owned());
        }
        (_, None) => {}
    }
    Ok(())
}
