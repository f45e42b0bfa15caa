//! Whether handlers of one group go together.
//!
//! **Invariant:** among the handlers of a group each topic has one handler, and all agree on how the group is read.

use std::collections::BTreeMap;

use crate::ids::HandlerId;
use crate::manifest::Manifest;
use crate::policy::{Delivery, OnExhausted, Subscription};

/// A handler by its name and what its manifest says.
pub(super) type Named<'a> = (&'a HandlerId, &'a Manifest);

/// Returns why a handler cannot serve beside another one, if it cannot.
pub(super) fn obstacle((id, new): Named<'_>, (other, old): Named<'_>) -> Option<String> {
    if id.tenant != other.tenant || new.group != old.group {
        return None;
    }
    conflict(new, old).map(|why| format!("does not go together with {other}: {why}"))
}

/// Returns why `new` cannot join `old` in one group, if it cannot.
fn conflict(new: &Manifest, old: &Manifest) -> Option<String> {
    if let Some(topic) = shared_topic(&new.subscription, &old.subscription) {
        return Some(format!("both read {topic} in group {}", new.group));
    }
    if new.return_topics.has_retries() || old.return_topics.has_retries() {
        return Some(format!(
            "retry.topic-delays-ms needs a group that no other handler reads, and this one shares {}",
            new.group
        ));
    }
    if [new, old]
        .iter()
        .any(|it| it.on_exhausted == OnExhausted::Park)
    {
        return Some(format!(
            "on-exhausted = \"park\" needs a group that no other handler reads, and this one shares {} (give one of them \
             another group)",
            new.group
        ));
    }
    if new.start != old.start {
        return Some(format!(
            "start is \"{}\" here and \"{}\" there, and group {} can only begin at one place",
            new.start, old.start, new.group
        ));
    }
    if new.delivery != old.delivery {
        return Some(format!(
            "delivery or transaction-interval-ms differ, and group {} has one transaction for all",
            new.group
        ));
    }
    if new.delivery != Delivery::AtLeastOnce
        && let Some(key) = different_key(&new.kafka_producer, &old.kafka_producer)
    {
        return Some(format!(
            "they set {key} in [kafka.producer] differently, and with delivery = \"exactly-once\" group {} has one \
             producer",
            new.group
        ));
    }
    different_key(&new.kafka_consumer, &old.kafka_consumer).map(|key| {
        format!(
            "they set {key} in [kafka.consumer] differently for group {}",
            new.group
        )
    })
}

/// Two patterns may always share a topic that does not exist yet.
fn shared_topic(new: &Subscription, old: &Subscription) -> Option<String> {
    match (new, old) {
        (Subscription::Topics(topics), other) | (other, Subscription::Topics(topics)) => topics
            .iter()
            .find(|topic| other.matches(topic.as_str()))
            .map(ToString::to_string),
        (Subscription::Pattern(_), Subscription::Pattern(_)) => {
            Some("topics by pattern".to_owned())
        }
    }
}

fn different_key<'a>(
    new: &'a BTreeMap<String, String>,
    old: &'a BTreeMap<String, String>,
) -> Option<&'a String> {
    new.iter()
        .find(|(key, value)| old.get(*key) != Some(value))
        .or_else(|| old.iter().find(|(key, _)| !new.contains_key(*key)))
        .map(|(key, _)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(text: &str) -> Manifest {
        Manifest::parse(&format!("group = \"g\"\n{text}"), &"a/b".parse().unwrap()).unwrap()
    }

    #[test]
    fn handlers_of_one_group_must_agree() {
        let orders = manifest("topics = [\"orders\"]");
        assert_eq!(conflict(&manifest("topics = [\"bills\"]"), &orders), None);
        assert_eq!(
            conflict(&manifest("topics = [\"x\", \"orders\"]"), &orders).unwrap(),
            "both read orders in group g"
        );
        assert!(
            conflict(&manifest("pattern = \"ord*\""), &orders)
                .unwrap()
                .contains("orders")
        );
        assert!(conflict(&manifest("pattern = \"a*\""), &manifest("pattern = \"b*\"")).is_some());
        assert_eq!(
            conflict(&manifest("topics = [\"x\"]\nstart = \"latest\""), &orders).unwrap(),
            "start is \"latest\" here and \"earliest\" there, and group g can only begin at one place"
        );
        let waits = "ordering = \"none\"\nretry.topic-delays-ms = [1000]";
        let waits = manifest(&format!("topics = [\"x\"]\n{waits}"));
        let why = conflict(&waits, &orders).unwrap();
        assert!(
            why.contains("topic-delays-ms") && why.ends_with("shares g"),
            "{why}"
        );
        assert_eq!(conflict(&orders, &waits), Some(why));
        let once = "topics = [\"x\"]\ndelivery = \"exactly-once\"";
        let why = conflict(&manifest(once), &orders).unwrap();
        assert!(why.contains("delivery") && why.contains("group g"), "{why}");
        let linger = format!("{once}\n[kafka.producer]\n\"linger.ms\" = 1");
        let why = conflict(
            &manifest(&linger.replace("\"x\"", "\"y\"")),
            &manifest(once),
        );
        assert!(why.as_ref().unwrap().contains("linger.ms"), "{why:?}");
        let parks = manifest("topics = [\"x\"]\nordering = \"key\"\non-exhausted = \"park\"");
        let why = conflict(&parks, &orders).unwrap();
        assert!(
            why.contains("\"park\"") && why.contains("another group"),
            "{why}"
        );
        assert_eq!(conflict(&orders, &parks), Some(why));
        let tuned = manifest("topics = [\"x\"]\n[kafka.consumer]\n\"fetch.min.bytes\" = 5");
        assert!(
            conflict(&tuned, &orders)
                .unwrap()
                .contains("fetch.min.bytes")
        );
        assert!(
            conflict(&orders, &tuned)
                .unwrap()
                .contains("fetch.min.bytes")
        );
    }
}
