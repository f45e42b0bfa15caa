//! Reads how a handler's outputs are written.

use std::time::Duration;

use crate::manifest::key::Key;
use crate::manifest::keys::publish as keys;
use crate::manifest::{Manifest, Reader};
use crate::marker::parked_topic;
use crate::policy::{Backoff, BackoffKind, Delivery};
use crate::publish::{Publish, Repeat};
use crate::route::Multi;

/// Reads the table `[publish]`.
pub(super) fn publish(reader: &mut Reader<'_>, delivery: Delivery, multi: Multi) -> Publish {
    let publish = Publish {
        key_from: reader.parsed(&keys::KEY_FROM),
        retry: retry(reader),
        dead_letter: reader.letter_topic(&keys::DEAD_LETTER_TOPIC),
    };
    let given = publish.retry.as_ref().map(|_| &keys::ATTEMPTS);
    let given = given.or(publish
        .dead_letter
        .as_ref()
        .map(|_| &keys::DEAD_LETTER_TOPIC));
    if let Some(key) = given {
        fits(reader, key, delivery, multi);
    }
    publish
}

fn retry(reader: &mut Reader<'_>) -> Option<Repeat> {
    let is_given = reader.has_table("publish.retry");
    let (delay_at, max_at) = (
        reader.offset(&keys::DELAY_MS),
        reader.offset(&keys::MAX_DELAY_MS),
    );
    let backoff = Backoff {
        kind: match reader.choice(&keys::BACKOFF) {
            Some("fixed") => BackoffKind::Fixed,
            Some("fibonacci") => BackoffKind::Fibonacci,
            _ => BackoffKind::Exponential,
        },
        initial: Duration::from_millis(reader.whole(&keys::DELAY_MS)),
        max: Duration::from_millis(reader.whole(&keys::MAX_DELAY_MS)),
        ..Repeat::DEFAULT.backoff
    };
    if let Some(offset) = max_at
        .or(delay_at)
        .filter(|_| backoff.initial > backoff.max)
    {
        let what = format!(
            "expected at least {}, which is {}, found {}",
            keys::DELAY_MS.path,
            backoff.initial.as_millis(),
            backoff.max.as_millis(),
        );
        reader.problem(&keys::MAX_DELAY_MS, Some(offset), &what);
    }
    let attempts = u32::try_from(reader.whole(&keys::ATTEMPTS)).unwrap_or(u32::MAX);
    is_given.then_some(Repeat { attempts, backoff })
}

/// Refuses what does not go together with outputs that are mended after their record's hook is over.
fn fits(reader: &mut Reader<'_>, key: &'static Key, delivery: Delivery, multi: Multi) {
    let offset = reader.offset(key);
    if delivery != Delivery::AtLeastOnce {
        let what = "a refused output aborts its transaction, and with it the record is handled again, which \
                    delivery = \"exactly-once\" is meant for (leave [publish.retry] and publish.dead-letter-topic out)";
        reader.problem(key, offset, what);
    }
    if multi == Multi::All {
        let what = "the outputs of a record that several take are sent together, and each handler has its own idea of them \
                    (leave multi = \"all\", or [publish.retry] and publish.dead-letter-topic out)";
        reader.problem(key, offset, what);
    }
}

/// Refuses a topic for refused outputs that the handler reads itself, or that is for something else.
pub(super) fn stays_away(reader: &mut Reader<'_>, manifest: Option<&Manifest>) {
    let key = &keys::DEAD_LETTER_TOPIC;
    let letters = manifest
        .and_then(|manifest| Some((manifest, manifest.publish.dead_letter.as_ref()?.only()?)));
    let Some((manifest, topic)) = letters else {
        return;
    };
    let is_taken = manifest.subscription.matches(topic.as_str())
        || manifest.dead_letter_topic == *topic
        || manifest.return_topics.contains(topic.as_str())
        || parked_topic(&manifest.group).is_ok_and(|parked| parked == *topic);
    if is_taken {
        let what = format!(
            "{topic} is read by the handler, or is for its own dead letters or for what comes back to it (name another one)"
        );
        let offset = reader.offset(key);
        reader.problem(key, offset, &what);
    }
}
