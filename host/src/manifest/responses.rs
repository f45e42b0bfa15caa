//! Reads where responses arrive.

use crate::ids::TopicName;
use crate::manifest::keys::response as keys;
use crate::manifest::{INTERNAL_PREFIX, Key, Reader, Text};
use crate::policy::{Delivery, ResponseRoute};

/// The longest name of an event, in bytes.
const EVENT_BYTES_MAX: usize = 256;

/// Reads the tables `[[response]]`.
pub(super) fn responses(
    reader: &mut Reader<'_>,
    delivery: Delivery,
    side_effects: bool,
) -> Vec<ResponseRoute> {
    let offset = reader.offset(&keys::RESPONSE);
    let mut routes: Vec<ResponseRoute> = Vec::new();
    reader.each_row(&keys::RESPONSE, |row, start| {
        let (topic, event) = (
            topic(row, &keys::TOPIC, start, "name the topic of the responses"),
            event(row, &keys::EVENT),
        );
        let Some(topic) = topic else {
            return;
        };
        let route = ResponseRoute { topic, event };
        if routes.contains(&route) {
            row.problem(&keys::TOPIC, Some(start), "this response is there twice");
        }
        routes.push(route);
    });
    if !routes.is_empty() && delivery != Delivery::AtLeastOnce && !side_effects {
        let what = "a request is written at once and no transaction takes it back, which delivery = \"exactly-once\" is \
                    meant to exclude (write side-effects = \"allowed\", or leave [[response]] out)";
        reader.problem(&keys::RESPONSE, offset, what);
    }
    routes
}

/// Reads the name of a topic that must be given; `missing` says what it is to name.
pub(super) fn topic(
    row: &mut Reader<'_>,
    key: &'static Key,
    start: usize,
    missing: &str,
) -> Option<TopicName> {
    let Some(offset) = row.offset(key) else {
        row.problem(key, Some(start), &format!("missing ({missing})"));
        return None;
    };
    let topic = row.topic(key)?;
    if topic.as_str().starts_with(INTERNAL_PREFIX) {
        let what = format!("{topic} has the name of one of Kafka's internal topics");
        row.problem(key, Some(offset), &what);
    }
    Some(topic)
}

/// Reads the name of an event.
pub(super) fn event(row: &mut Reader<'_>, key: &'static Key) -> Option<String> {
    let Text { text, offset } = row.text(key)?;
    if text.is_empty() || text.len() > EVENT_BYTES_MAX {
        let what = format!("the name of an event has 1 to {EVENT_BYTES_MAX} bytes");
        row.problem(key, Some(offset), &what);
    }
    Some(text)
}
