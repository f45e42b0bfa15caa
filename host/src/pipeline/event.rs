//! The event that a message is sent on with.
//!
//! Handed a message and an event, writes that where the manifest says that events stand.
//! **Invariant:** read where it was written, the event is the one that was written.

use crate::json::{Change, JsonError, edit};
use crate::record::Changed;
use crate::route::EventSource;

/// Why a message cannot have the event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// It is a tombstone, and events stand in the value.
    #[error("the event stands in the value, and the record has none")]
    NoValue,
    /// The value does not take it.
    #[error("the event cannot be written into the value: {0}")]
    Json(#[from] JsonError),
}

/// Gives a message its event.
pub fn with_event(
    message: &mut Changed,
    source: &EventSource,
    event: &str,
) -> Result<(), EventError> {
    match source {
        EventSource::Key => message.key = Some(event.as_bytes().to_vec()),
        EventSource::Header(name) => message.set_header(name, event.as_bytes()),
        EventSource::Value(place) => {
            let value = message.value.as_deref().ok_or(EventError::NoValue)?;
            let text = serde_json::Value::from(event).to_string();
            let change = Change::Set(place.pointer().clone(), text);
            message.value = Some(edit(value, &[change])?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::route::Named;

    proptest! {
        #[test]
        fn an_event_is_read_where_it_was_written(
            event in "\\PC{1,12}",
            source in prop::sample::select(vec!["key", "header:kind", "value:/event", "value:/meta/kind"]),
        ) {
            let source: EventSource = source.parse().unwrap();
            let mut message = Changed {
                value: Some(br#"{"event":"old","meta":{"kind":7},"x":1.0}"#.to_vec()),
                headers: vec![("kind".to_owned(), None), ("other".to_owned(), None)],
                ..Changed::default()
            };
            with_event(&mut message, &source, &event).unwrap();
            let record = crate::record::RecordView {
                topic: "t",
                partition: 0,
                offset: 0,
                timestamp_ms: None,
                key: message.key.as_deref(),
                value: message.value.as_deref(),
                headers: message.emit("t").headers,
            };
            prop_assert_eq!(source.read(&record), Named::Text(event.into()));
            prop_assert!(record.headers.iter().any(|header| header.key == "other"));
        }
    }

    #[test]
    fn a_value_that_takes_no_event_says_why() {
        let source = EventSource::default();
        let with = |value: Option<&str>| {
            let mut message = Changed {
                value: value.map(Into::into),
                ..Changed::default()
            };
            let fault = with_event(&mut message, &source, "e").unwrap_err();
            fault.to_string()
        };
        assert_eq!(
            with(None),
            "the event stands in the value, and the record has none"
        );
        let what = with(Some("[]"));
        assert!(
            what.starts_with("the event cannot be written into the value: nothing can be set at"),
            "{what}"
        );
    }
}
